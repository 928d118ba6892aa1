"""`cai status`: how far a run is, read from its store while it may be going on.

What this module does not know: engines, how a row is worked on.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from cai.cli.console import out
from cai.errors import RunError

if TYPE_CHECKING:
    from rich.console import Console

    from cai.reading import ReadRun


def enter(app: typer.Typer) -> None:
    """Enter the verb."""
    app.command("status")(status)


def status(
    target: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """How far a run is: rows by fate, answers, tokens.

    Requests and faults of all goes are there too. Accounts that do not balance are an error.
    """
    import orjson

    from cai.reading import ReadRun
    from cai.run_folder import open_run

    with ReadRun(open_run(target)) as run:
        figures = read_status(run)
    if as_json:
        sys.stdout.write(orjson.dumps(figures, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        print_status(out(), figures)
    if figures["unbalanced"]:
        raise RunError(
            f"The accounts of {figures['run']} do not balance: {'; '.join(figures['unbalanced'])}.",
            f"`cai store verify {target}` looks for damage; without any this is a mistake of the program: report it.",
        )


def print_status(console: Console, figures: dict[str, Any]) -> None:
    """The figures, for people."""
    rows = figures["rows"]
    total = f" of {rows['total']:,}" if rows["total"] is not None else ""
    console.print(f"run {escape(figures['run'])}, generation {figures['generation'][:12]}")
    console.print(f"rows      {rows['finished']:,}{total} finished, {rows['quarantined']:,} in quarantine")
    if rows["shortened"]:
        console.print(f"          {rows['shortened']:,} did not fit whole: judged without their oldest turns")
    for reason, count in rows["excluded"].items():
        console.print(f"          {count:,} excluded: {reason}")
    for kind, account in figures["pairs"].items():
        label = "pairs" if kind == next(iter(figures["pairs"])) else ""
        counts = ", ".join(f"{account[name]:,} {name}" for name in ("labelled", "tied", "abstained"))
        without = f", {account['without_pair']:,} rows without" if account["without_pair"] else ""
        console.print(f"{label:<10}{kind}: {counts}{without}")
    console.print("answers in the store, all generations together")
    for stage, figure in figures["stages"].items():
        console.print(
            f"  {stage:<10} {figure['answers']:>9,}   {figure['prompt_tokens']:>13,} tokens read"
            f"   {figure['completion_tokens']:>12,} written{_thought(figure)}{_unfit(figure)}",
            soft_wrap=True,
        )
    _print_tally(console, figures)
    if figures["damaged_records"]:
        console.print(f"{figures['damaged_records']:,} damaged records; they are asked again when needed")


def _unfit(figure: dict[str, int]) -> str:
    return f"; {figure['too_long']:,} did not fit" if figure["too_long"] else ""


def _thought(figure: dict[str, int]) -> str:
    return f", of which {figure['reasoning_tokens']:,} thought" if figure["reasoning_tokens"] else ""


def _print_tally(console: Console, figures: dict[str, Any]) -> None:
    """Requests and faults of all goes."""
    goes = f"{figures['goes']:,} go{'es' if figures['goes'] != 1 else ''}"
    if figures["requests"]:
        console.print(f"requests of {goes}{_for_so_long(figures['seconds'])}")
    for name, counts in figures["requests"].items():
        parts = [(counts["from_store"], "from the store"), (counts["shared"], "asked twice at once")]
        parts += [(counts["answered"], "answered"), (counts["stopped"], "not sent when stopped")]
        parts += [(count, f"failed: {kind}") for kind, count in counts["failed"].items()]
        parts += [(counts["under_way"], "under way (or when a go was killed)")]
        said = ", ".join(f"{count:,} {escape(word)}" for count, word in parts if count)
        console.print(f"  {escape(name)}: {counts['asked']:,} = {said}", soft_wrap=True)
    for engine, kinds in figures["faults"].items():
        said = ", ".join(f"{escape(kind)} {count:,}" for kind, count in kinds.items())
        console.print(f"faults    {escape(engine)}: {said}", soft_wrap=True)


def _for_so_long(seconds: float | None) -> str:
    if not seconds:
        return ""
    minutes = round(seconds / 60)
    told = f"{seconds:.0f} s" if seconds < 120 else f"{minutes // 60} h {minutes % 60:02} min"
    return f", under way for {told}"


def read_status(run: ReadRun) -> dict[str, Any]:
    """The figures, by a walk over what the store holds more than at the last one.

    `rows.excluded` counts exclusions that a step decided; those of the source are counted when
    the dataset is built.
    """
    from cai.accounts import COUNTED, accounts_of
    from cai.dataset import tie_threshold
    from cai.job import in_quarantine
    from cai.outcome import outcome_digest
    from cai.pilot import read_pilot
    from cai.tally import read_tally, unbalanced

    generation = run.generation.digest
    choice = read_pilot(run.run)
    total = choice.total if choice is not None else None
    kinds = run.recipe.feedback.pairs if run.recipe.feedback is not None else ()
    accounts = accounts_of(run.store, generation, kinds, tie_threshold(run.run.path, run.recipe))
    failed = {outcome_digest(row, generation) for row in in_quarantine(run.run)}
    fates = accounts.outcomes.fates(failed, total)
    if fates.unfinished < 0:  # rows have been taken from the source since
        there = {outcome_digest(row, generation) for row, _ in run.source.ids()}
        fates = accounts.outcomes.fates(failed & there, total, there)
    tally = read_tally(run.run.tally)
    rows_in = total if total is not None else fates.finished + fates.excluded.total() + fates.quarantined
    return {
        "run": run.run.name,
        "generation": run.generation.digest,
        "rows": {
            "total": total,
            "finished": fates.finished + fates.excluded.total(),
            "shortened": fates.shortened,
            "excluded": dict(fates.excluded),
            "quarantined": fates.quarantined,
            "unfinished": fates.unfinished,
        },
        "pairs": {kind: asdict(account) for kind, account in fates.pairs.items()},
        "stages": {
            name: {key: figures[key] for key in COUNTED} for name, figures in sorted(accounts.stages.items())
        },
        "goes": tally.goes,
        "seconds": tally.seconds,
        "requests": tally.requests,
        "faults": tally.faults,
        "unbalanced": fates.mistakes(rows_in) + unbalanced(tally.requests),
        "damaged_records": len(run.store.damage),
    }
