"""`cai compare`: the AI's labels against the human ones.

What this module does not know: the statistics (cai/compare).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer
from rich.console import Console
from rich.markup import escape

from cai.cli.console import err, out, waiting
from cai.errors import RunError

if TYPE_CHECKING:
    from cai.compare import Comparison, Planted
    from cai.reading import ReadRun
    from cai.run_folder import RunFolder


def enter(app: typer.Typer) -> None:
    """Enter the verb."""
    app.command("compare")(compare)


def compare(
    target: Annotated[Path | None, typer.Argument(metavar="RUN", help="A run's folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the JSON instead.")] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of comparison.json.")
    ] = False,
) -> None:
    """Compare the AI's labels with the human ones.

    Also written to comparison.json.
    """
    if schema:
        from cai.compare.figures import json_schema

        sys.stdout.buffer.write(
            orjson.dumps(json_schema(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        )
        return
    if target is None:
        raise typer.BadParameter("Name a run, or ask for the --schema.")
    path = compare_run(target, console=None if as_json else out())
    if as_json:
        sys.stdout.write(path.read_text("utf-8"))


def compare_run(target: Path, console: Console | None) -> Path:
    """Compare, write comparison.json, print; returns the file. Raises: CaiError."""
    from cai.compare import print_comparison

    run, comparison = compared(target)
    if console is not None:
        print_comparison(console, comparison)
    return run.comparison


def compared(target: Path) -> tuple[RunFolder, Comparison]:
    """Compare and write comparison.json. Raises: CaiError."""
    from cai.compare import compare as compute
    from cai.compare import write_comparison
    from cai.dataset import tie_threshold
    from cai.reading import ReadRun
    from cai.run_folder import RunFolder, open_run

    alone = RunFolder(target.resolve())
    if (alone.dataset / "summary.json").is_file() and not (alone.store.is_dir() and alone.frozen.is_dir()):
        with waiting(f"Comparing the labels of {target}"):
            comparison = compute(alone.dataset)  # a dataset without its run, as it may be handed on
        write_comparison(alone.path, comparison)
        return alone, comparison
    run = open_run(target)
    if not (run.dataset / "summary.json").is_file():
        raise RunError(f"The run {run.name} has no dataset yet.", f"Type: cai dataset {target}")
    with ReadRun(run) as reading:  # says so where the run was edited since
        with waiting(f"Comparing the labels of {run.shown}"):
            comparison = compute(run.dataset, _planted(reading))
        if comparison.generation != reading.generation.digest:
            err().print(
                f"cai: The dataset is of generation {comparison.generation[:12]}, the run has gone on to "
                f"{reading.generation.digest[:12]}. To build it anew, type: cai dataset {escape(str(target))}",
                soft_wrap=True,
            )
        _say_other_ties(comparison, tie_threshold(run.path, reading.recipe), target)
    write_comparison(run.path, comparison)
    return run, comparison


def _say_other_ties(comparison: Comparison, now: float, target: Path) -> None:
    """Say so where recipe or noise floor have another tie threshold since the dataset was built."""
    built = float(comparison.settings["tie_threshold"])
    if built != now:
        err().print(
            f"cai: The labels of the dataset were made with a tie threshold of {built:g}, which by recipe and noise "
            f"floor is {now:g} now. To build it anew, type: cai dataset {escape(str(target))}",
            soft_wrap=True,
        )


def _planted(reading: ReadRun) -> dict[str, Planted] | None:
    """The truth that was planted, where the run is over the toy world; None elsewhere."""
    from cai.toy.demo import planted, truth_by_row
    from cai.toy.world_files import TRUTH_FILE

    if not (reading.run.path / "data" / TRUTH_FILE).is_file():
        return None
    return planted(truth_by_row(reading.run.path, reading.source.items()))
