"""`cai dataset`: build a run's dataset from its store, and write it in other formats.

What this module does not know: the configs and their columns, the formats (cai/dataset).
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from cai.cli.console import err, waiting
from cai.errors import RunError

if TYPE_CHECKING:
    from cai.dataset import DatasetSummary
    from cai.dataset.formats import Written


class Format(StrEnum):
    """The formats of cai/dataset/formats.py."""

    JSONL = "jsonl"
    CSV = "csv"
    OPENRLHF = "openrlhf"
    AXOLOTL = "axolotl"


def enter(app: typer.Typer) -> None:
    """Enter the verb."""
    app.command("dataset")(dataset)


def dataset(
    target: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    form: Annotated[
        Format | None, typer.Option("--format", help="Write it in this format too.", show_default=False)
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(help="With --format: this config only; by default every one that the format takes."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="With --format: where to; by default RUN/exports/FORMAT."),
    ] = None,
) -> None:
    """Build the dataset from what is finished.

    With --format it is then written as JSON lines, as CSV, or as pairs for OpenRLHF or Axolotl.
    """
    if form is None and (config is not None or out is not None):
        raise typer.BadParameter("--config and --out are for --format", param_hint="--format")
    if form is not None:
        from cai.dataset.formats import configs_taken

        configs_taken(form, config)  # before minutes are spent on the dataset
    alone = _dataset_alone(target)
    if alone is not None and form is None:
        raise RunError(
            f"{target} holds a dataset, and no run to build it from.",
            f"To write it in another format, add --format {', '.join(Format)}.",
        )
    if out is not None:
        _refuse_inside(out, alone or target / "dataset", made_anew=alone is None)
    place = alone or build_run(target, console=err())
    if form is not None:
        from cai.dataset.formats import remove_others

        beside = place.parent if place.name == "dataset" else place
        made = _export(place, form, config, out or beside / "exports" / form, err())
        if out is None and config is None:
            remove_others(beside / "exports" / form, made)


def _refuse_inside(out: Path, dataset: Path, made_anew: bool) -> None:
    """Raises: RunError where an export would lie among the dataset's files, or be lost with them."""
    from cai.dataset import CONFIGS

    if not out.resolve().is_relative_to(dataset.resolve()):
        return
    parts = out.resolve().relative_to(dataset.resolve()).parts
    if made_anew or not parts or parts[0] in CONFIGS:
        raise RunError(
            f"{out} lies in the dataset {dataset}, which holds what `cai dataset` and nobody else puts there.",
            "Give --out another folder, or leave it out.",
        )


def _dataset_alone(target: Path) -> Path | None:
    """The dataset of a folder that holds no run to build it from, or is itself one, as published."""
    from cai.run_folder import RunFolder

    run = RunFolder(target.resolve())
    if run.store.is_dir() and run.frozen.is_dir():
        return None
    return next((place for place in (run.dataset, run.path) if (place / "summary.json").is_file()), None)


def _export(place: Path, form: str, config: str | None, out: Path, console: Console) -> list[Written]:
    from cai.dataset.formats import export

    made = export(place, form, out, config)
    for written in made:
        console.print(
            f"{written.config}, {written.split}: {written.rows:,} rows in {escape(str(written.path))}",
            soft_wrap=True,
        )
    return made


def build_run(target: Path, console: Console) -> Path:
    """Build a run's dataset and say what is in it; its folder. Raises: CaiError."""
    from cai.dataset import build_dataset
    from cai.reading import ReadRun
    from cai.run_folder import open_run

    with ReadRun(open_run(target)) as run:
        with waiting(f"Building the dataset of {run.run.shown}"):
            summary = build_dataset(
                run.run.path,
                run.recipe,
                run.generation.digest,
                run.source.items(),
                run.store,
                even_unbegun=False,
            )
        counts = ", ".join(f"{name} {sum(splits.values()):,}" for name, splits in summary.configs.items())
        place = escape(str(run.run.dataset))
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
            console.print(
                f"{summary.not_finished:,} row{' is' if summary.not_finished == 1 else 's are'} not finished and not in it.",
                soft_wrap=True,
            )
        _say_leaks(summary, place, console)
        _say_over_ratio(summary, place, console)
        return run.run.dataset


def _say_leaks(summary: DatasetSummary, place: str, console: Console) -> None:
    if not summary.leaks.leaks:
        return
    done = "dropped from" if summary.settings["leakage"] == "drop" else "left in"
    console.print(
        f"{len(summary.leaks.leaks):,} rows of train have a prompt of another split, or nearly, and are {done} "
        f"the configs to train on; each is named in {place}/leaked.jsonl",
        soft_wrap=True,
    )


def _say_over_ratio(summary: DatasetSummary, place: str, console: Console) -> None:
    """Rows that a ratio leaves out are many, and all there are in a split that has no others."""
    counts = {
        config: sum(out.get("over_ratio", 0) for out in splits.values())
        for config, splits in summary.withheld.items()
    }
    said = ", ".join(f"{config} {count:,}" for config, count in counts.items() if count)
    if said:
        console.print(
            f"Left out beyond the ratios of the recipe's `mix`: {said}; by split in {place}/summary.json, `withheld`",
            soft_wrap=True,
        )
