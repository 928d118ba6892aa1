"""`cai status`: how far a run is, read from its store while it may be going on.

What this module does not know: engines, the job.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from cai.cli.console import out

if TYPE_CHECKING:
    from cai.reading import ReadRun


def enter(app: typer.Typer) -> None:
    """Enter the verb."""
    app.command("status")(status)


def status(
    target: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """How far a run is: rows by fate, answers, tokens."""
    import orjson

    from cai.reading import ReadRun
    from cai.run_folder import open_run

    with ReadRun(open_run(target)) as run:
        figures = read_status(run)
    if as_json:
        sys.stdout.write(orjson.dumps(figures, option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    console = out()
    rows = figures["rows"]
    total = f" of {rows['total']:,}" if rows["total"] is not None else ""
    console.print(f"run {escape(figures['run'])}, generation {figures['generation'][:12]}")
    console.print(f"rows      {rows['finished']:,}{total} finished, {rows['quarantined']:,} in quarantine")
    for reason, count in rows["excluded"].items():
        console.print(f"          {count:,} excluded: {reason}")
    console.print("answers in the store, all generations together")
    for stage, figure in figures["stages"].items():
        console.print(
            f"  {stage:<10} {figure['answers']:>9,}   {figure['prompt_tokens']:>13,} tokens read"
            f"   {figure['completion_tokens']:>12,} written"
        )
    if figures["damaged_records"]:
        console.print(f"{figures['damaged_records']:,} damaged records; they are asked again when needed")


def _open_rows(run: ReadRun, quarantine: Path) -> set[str]:
    """Rows that failed in the last go and are not finished since."""
    import orjson

    from cai.outcome import outcome_digest

    if not quarantine.is_file():
        return set()
    rows = {orjson.loads(line)["row"] for line in quarantine.read_bytes().splitlines()}
    return {row for row in rows if outcome_digest(row, run.generation.digest) not in run.store}


def read_status(run: ReadRun) -> dict[str, Any]:
    """The figures, by one walk over the store.

    `rows.excluded` counts exclusions that a step decided; those of the source are counted when
    the dataset is built.
    """
    from cai.outcome import outcome_digest
    from cai.pilot import read_pilot

    stages: dict[str, Counter[str]] = {}
    excluded: Counter[str] = Counter()
    finished: set[str] = set()
    for record in run.store.records():
        stage = str(record.labels.get("stage", ""))
        if stage == "outcome":
            row = record.answer["row"]
            if record.digest == outcome_digest(row, run.generation.digest) and record.digest not in finished:
                finished.add(record.digest)
                if record.answer["excluded"] is not None:
                    excluded[record.answer["excluded"]] += 1
            continue
        figures = stages.setdefault(stage, Counter())
        figures["answers"] += 1
        figures["prompt_tokens"] += record.answer.get("prompt_tokens", 0)
        figures["completion_tokens"] += record.answer.get("completion_tokens", 0)
    choice = read_pilot(run.run)
    quarantine = run.run.quarantine
    return {
        "run": run.run.name,
        "generation": run.generation.digest,
        "rows": {
            "total": choice.total if choice is not None else None,
            "finished": len(finished),
            "excluded": dict(excluded),
            "quarantined": len(_open_rows(run, quarantine)),
        },
        "stages": {
            name: {key: figures[key] for key in ("answers", "prompt_tokens", "completion_tokens")}
            for name, figures in sorted(stages.items())
        },
        "damaged_records": len(run.store.damage),
    }
