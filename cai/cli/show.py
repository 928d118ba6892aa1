"""`cai show`: one row's story, or its exact requests.

What this module does not know: how the story is found (cai/trace.py), how it looks
(show_story.py, show_requests.py).
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from cai.cli.console import out
from cai.cli.rows import find_row
from cai.errors import RunError

if TYPE_CHECKING:
    from cai.outcome import Outcome
    from cai.reading import ReadRun
    from cai.source import Row
    from cai.trace import Exchange


def enter(app: typer.Typer) -> None:
    """Enter the verb."""
    app.command("show")(show)


def show(
    target: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    row: Annotated[
        str,
        typer.Option("--row", help="The row: its number from 1, its id or the id's beginning, or FILE:LINE."),
    ],
    request: Annotated[
        str, typer.Option("--request", metavar="DIGEST", help="One exact request, by its digest's beginning.")
    ] = "",
    full: Annotated[bool, typer.Option("--full", help="All exact requests, in order.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, the requests included.")] = False,
) -> None:
    """One row's whole story: every request and answer.

    In an exact request (--request, --full) each line stands beside the file and line, or the row
    and field, it came from.
    """
    from cai.reading import ReadRun
    from cai.run_folder import open_run

    with ReadRun(open_run(target)) as run:
        found = find_row(run.source, run.run.name, row)
        exchanges, outcome = asyncio.run(trace(run, found))
        outcome = outcome or run.outcomes([found.id]).get(found.id)
        if as_json:
            _print_json(found, exchanges, outcome)
        elif request:
            _print_one(out(), exchanges, request, found)
        else:
            _print_story(out(), run, found, outcome)
            _print_requests(out(), exchanges, full=full or outcome is None)
            if exchanges and not full:
                digest = _shown_first(exchanges).digest
                out().print(
                    f"[dim]{len(exchanges)} requests; one exactly, each line with where it came from "
                    f"(all of them: --full):[/dim]\n"
                    f"  cai show {escape(str(target))} --row {escape(row)} --request {digest[:12]}",
                    soft_wrap=True,
                )


async def trace(run: ReadRun, row: Row) -> tuple[list[Exchange], Outcome | None]:
    """A row's exchanges and its outcome, as found in the store."""
    from cai.trace import trace_row

    plan = run.plan(row.subset)
    if plan is None:
        return [], None
    return await trace_row(row, plan, run.store, run.identities)


def _print_story(console: Console, run: ReadRun, row: Row, outcome: Outcome | None) -> None:
    from cai.cli.show_story import print_outcome, print_row, print_stages

    print_row(console, row)
    if outcome is None:
        console.print("This row is not finished.")
        return
    print_outcome(console, outcome)
    print_stages(console, outcome, run.inputs.constitution_for(row.subset))


def _print_requests(console: Console, exchanges: list[Exchange], *, full: bool) -> None:
    from cai.cli.show_requests import print_exchange

    if not exchanges:
        console.print("Nothing has been asked about this row yet.")
    if full:
        for before, exchange in zip([None, *exchanges], exchanges, strict=False):
            print_exchange(console, exchange, before)


def _shown_first(exchanges: list[Exchange]) -> Exchange:
    """The request to show as an example: a judgement that fits, where there is one."""
    fitting = [item for item in exchanges if item.answer is None or item.answer.finish != "too_long"]
    return next((item for item in fitting if "pair" in item.request.labels), (fitting or exchanges)[0])


def _print_one(console: Console, exchanges: list[Exchange], wanted: str, row: Row) -> None:
    from cai.cli.show_requests import print_exchange

    found = {item.digest: item for item in exchanges if item.digest.startswith(wanted)}
    if len(found) != 1:
        many = f"{len(found)} requests" if found else "No request"
        raise RunError(
            f"{many} of row {row.id[:12]} begin{'' if found else 's'} with {wanted!r}.",
            f"Digests stand in: cai show RUN --row {row.id[:12]}",
        )
    print_exchange(console, next(iter(found.values())), None)


def _print_json(row: Row, exchanges: list[Exchange], outcome: Outcome | None) -> None:
    import orjson

    from cai.parts import join

    content = {
        "row": row.id,
        "source": row.source,
        "subset": row.subset,
        "split": row.split,
        "line": row.line,
        "flags": list(row.flags),
        "exchanges": [
            {
                "digest": exchange.digest,
                "engine": exchange.request.engine,
                "labels": exchange.request.labels,
                "messages": [
                    {
                        "role": m.role,
                        "parts": [{"text": p.text, "kind": p.kind, "origin": p.origin} for p in m.parts],
                    }
                    for m in exchange.request.rendered.messages
                ],
                "thinking": join(exchange.request.rendered.thinking or ()),
                "answer_begins": exchange.request.rendered.answer_text,
                "answer": exchange.answer.record() if exchange.answer is not None else None,
            }
            for exchange in exchanges
        ],
        "outcome": outcome.record() if outcome is not None else None,
    }
    sys.stdout.write(orjson.dumps(content, option=orjson.OPT_INDENT_2).decode() + "\n")
