"""`cai dataset`: build a run's dataset from its store.

What this module does not know: the configs and their columns (cai/dataset).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from cai.cli.console import err
from cai.errors import RunError


def enter(app: typer.Typer) -> None:
    """Enter the verb."""
    app.command("dataset")(dataset)


def dataset(
    target: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
) -> None:
    """Build the dataset from what is finished."""
    build_run(target, console=err())


def build_run(target: Path, console: Console) -> None:
    """Build a run's dataset and say what is in it. Raises: CaiError."""
    from cai.dataset import build_dataset
    from cai.reading import ReadRun
    from cai.run_folder import open_run

    with ReadRun(open_run(target)) as run:
        summary = build_dataset(
            run.run.path, run.recipe, run.generation.digest, run.source.items(), run.store
        )
        counts = ", ".join(f"{name} {sum(splits.values()):,}" for name, splits in summary.configs.items())
        place = escape(str(run.run.dataset))
        if summary.finished == 0 and summary.not_finished:
            raise RunError(
                f"No row of {run.run.name} is finished yet, so the dataset is empty.",
                f"Type: cai run {target}",
            )
        console.print(f"Dataset in {place}: {counts}", soft_wrap=True)
        if summary.excluded:
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in summary.excluded.most_common())
            console.print(f"Excluded: {reasons}; each line stands in {place}/excluded.jsonl", soft_wrap=True)
        if summary.shortened:
            console.print(
                f"{summary.shortened:,} rows did not fit whole: judged without their oldest turns, which are in "
                "the dataset all the same (flag oldest_turns_dropped).",
                soft_wrap=True,
            )
        if summary.not_finished:
            console.print(f"{summary.not_finished:,} rows are not finished and not in it.", soft_wrap=True)
