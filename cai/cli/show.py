"""`cai show`: one row's whole story.

What this module does not know: how the story is found (cai/trace.py).
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from cai.cli.console import out
from cai.errors import RunError

if TYPE_CHECKING:
    from cai.outcome import Feedback, Outcome
    from cai.parts import Part
    from cai.reading import ReadRun
    from cai.source import Row
    from cai.template import Rendered
    from cai.trace import Exchange

_COLOURS = {"template": "cyan", "principle": "magenta", "example": "blue", "row": "white", "model": "green"}


def enter(app: typer.Typer) -> None:
    """Enter the verb."""
    app.command("show")(show)


def show(
    target: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    row: Annotated[str, typer.Option("--row", help="The row's id (or its beginning), or its number from 1.")],
    brief: Annotated[bool, typer.Option("--brief", help="Leave the requests out.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """One row's whole story: every request and answer.

    Each part of a request stands beside the file and line, or the row and field, it came from.
    """
    from cai.reading import ReadRun
    from cai.run_folder import open_run

    with ReadRun(open_run(target)) as run:
        found = find_row(run, row)
        exchanges, outcome = asyncio.run(trace(run, found))
        if as_json:
            _print_json(found, exchanges, outcome)
            return
        console = out()
        _print_row(console, found)
        for before, exchange in zip([None, *exchanges], exchanges, strict=False):
            _print_exchange(console, exchange, before, brief=brief)
        if not exchanges:
            console.print("Nothing has been asked about this row yet.")
        if outcome is not None:
            print_outcome(console, outcome)


def find_row(run: ReadRun, wanted: str) -> Row:
    """The row that a person names. Raises: RunError for none, or several."""
    from cai.source import Excluded

    if not wanted:
        raise RunError("No row is named.", "Give --row a row's id, or its number from 1.")
    number = int(wanted) if wanted.isascii() and wanted.isdigit() and len(wanted) < 9 else None
    matches: list[Any] = []

    def fits(row: str) -> bool:
        return row.startswith(wanted)

    for item in run.source.items(only=None if number is not None else fits):
        if number is None or item.position + 1 == number:
            matches.append(item)
            if number is not None:
                break
    if not matches:
        raise RunError(
            f"There is no row {wanted!r} in {run.run.name}.", "Ids stand in the column row_id of the dataset."
        )
    if len(matches) > 1:
        raise RunError(f"{len(matches)} rows begin with {wanted!r}.", "Give more of the id.")
    if isinstance(matches[0], Excluded):
        item = matches[0]
        raise RunError(f"Row {wanted} ({item.source}:{item.line}) was excluded: {item.reason}.", "")
    found: Row = matches[0]
    return found


async def trace(run: ReadRun, row: Row) -> tuple[list[Exchange], Outcome | None]:
    from cai.trace import trace_row

    plan = run.plan(row.subset)
    if plan is None:
        return [], None
    return await trace_row(row, plan, run.store, run.identities)


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


def _text(text: str) -> str:
    from cai.cli import printable

    return escape(printable(text))


def _print_row(console: Console, row: Row) -> None:
    console.rule(f"row {row.id}", align="left")
    flags = f"   flags: {', '.join(row.flags)}" if row.flags else ""
    console.print(
        f"{_text(row.source)}:{row.line}   {_text(row.subset)}/{_text(row.split)}{flags}", soft_wrap=True
    )
    for turn in row.prompt:
        console.print(
            f"[bold]{'Human' if turn.role == 'user' else turn.role.capitalize()}:[/bold] {_text(turn.text)}"
        )
    for name, turn in row.responses.items():
        console.print(f"[bold]{name}:[/bold] {_text(turn.text)}")


def _print_exchange(console: Console, exchange: Exchange, before: Exchange | None, *, brief: bool) -> None:
    labels = exchange.request.labels
    title = " · ".join(str(value) for key, value in labels.items() if key != "row")
    console.rule(f"{title} · {exchange.digest[:12]}", align="left")
    if not brief:
        _print_request(console, exchange, before)
    _print_answer(console, exchange)


def _print_request(console: Console, exchange: Exchange, before: Exchange | None) -> None:
    """The request, line by line beside its origins; what it shares with the one before is left out."""
    lines = request_lines(exchange.request.rendered)
    shown = request_lines(before.request.rendered) if before is not None else []
    same = 0
    while same < min(len(lines), len(shown)) and lines[same] == shown[same]:
        same += 1
    if same > 3:
        console.print(f"[dim]{'':>{GUTTER}} … {same} lines as in the request above[/dim]")
        lines = lines[same:]
    for origin, text in lines:
        console.print(f"[dim]{_text(origin):>{GUTTER}} │[/dim] {text}", soft_wrap=True)


GUTTER = 28


def request_lines(rendered: Rendered) -> list[tuple[str, str]]:
    """A request as (origin, text with colour marks) for each line.

    A line's origin is that of its first part that is no literal text of a template, or else of
    its first part.
    """
    lines: list[tuple[str, str]] = []
    for message in rendered.messages:
        lines.append(("", f"[bold]── {message.role}[/bold]"))
        lines += _lines(message.parts)
    if rendered.thinking is not None:
        lines.append(("", "[bold]── the model thinks[/bold]"))
        lines += _lines(rendered.thinking) if rendered.thinking else []
    if rendered.answer:
        lines.append(("", "[bold]── the answer begins[/bold]"))
        lines += _lines(rendered.answer)
    return lines


def _lines(parts: Sequence[Part]) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    text, origin, kind = "", "", ""
    here = ""  # the origin of a line without text: the part that it lies in
    for part in parts:
        for number, piece in enumerate(part.text.split("\n")):
            if number:
                lines.append((origin or here, text))
                text, origin, kind = "", "", ""
            here = _origin(part, number)
            if piece or (number == 0 and not part.text):
                colour = _COLOURS[part.kind]
                text += f"[{colour}]{_text(piece)}[/{colour}]"
                if not origin or (kind == "template" and part.kind != "template"):
                    origin, kind = here, part.kind
    lines.append((origin or here, text))
    return lines


def _origin(part: Part, line: int) -> str:
    """Where a part's line (0: its first) stands; a template's text stands there as it is shown."""
    file, _, first = part.origin.rpartition(":")
    return f"{file}:{int(first) + line}" if part.kind == "template" and first.isdigit() else part.origin


def _print_answer(console: Console, exchange: Exchange) -> None:
    from cai.request import Scores

    answer = exchange.answer
    if answer is None:
        console.print("[yellow]not asked yet[/yellow]")
    elif isinstance(answer, Scores):
        import math

        options = exchange.request.options if hasattr(exchange.request, "options") else ()
        shown = ", ".join(
            f"P({name}) = {math.exp(value):.4f}"
            for name, value in zip(options, answer.logprobs, strict=False)
        )
        outside = "unknown" if answer.outside is None else f"{answer.outside:.4f}"
        console.print(f"[bold]answer:[/bold] {shown}; outside the options {outside}")
    else:
        console.print(
            f"[bold]answer[/bold] ({answer.finish}, {answer.prompt_tokens} + {answer.completion_tokens} tokens):"
        )
        console.print(f"[green]{_text(answer.text)}[/green]")


def print_outcome(console: Console, outcome: Outcome) -> None:
    """Print what became of a row."""
    console.rule("outcome", align="left")
    if outcome.excluded is not None:
        console.print(f"excluded: {outcome.excluded}")
    for revision in outcome.revisions:
        for item in revision.rounds:
            flags = ", ".join(item.flags) or "none"
            state = "usable" if item.usable else "not usable"
            console.print(
                f"revision {item.number} of {revision.of} ({item.principle}): {state}; flags: {flags}"
            )
            console.print(f"    {_text(item.text)}")
    judges = len({feedback.judge for feedback in outcome.feedback})
    for feedback in outcome.feedback:
        by = f" (by {_text(feedback.judge)})" if judges > 1 else ""
        if feedback.probability is None:
            console.print(
                f"{feedback.first} against {feedback.second}{by}: no label, {_abstentions(feedback)}",
                soft_wrap=True,
            )
            continue
        console.print(
            f"{feedback.first} against {feedback.second}{by}: P({feedback.first} is better) = {feedback.probability:.4f}, "
            f"order consistency {feedback.order_consistency or 0:.2f}, {len(feedback.judgements)} judgements"
            + (f", {_abstentions(feedback)}" if feedback.abstained else ""),
            soft_wrap=True,
        )
    for rating in outcome.harm:
        value = "no rating" if rating.probability is None else f"P(True) = {rating.probability:.4f}"
        why = f" ({rating.abstained}: {_text(rating.said.strip())})" if rating.abstained else ""
        console.print(f"harmful? {rating.response}: {value}{why}", soft_wrap=True)


def _abstentions(feedback: Feedback) -> str:
    """How many principles abstained, and how many judgements by kind."""
    kinds = Counter(item.abstained for item in feedback.judgements if item.abstained is not None)
    shown = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
    return f"{feedback.abstained} principles abstained (judgements: {shown})"
