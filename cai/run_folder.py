"""A run's folder: which file is where.

    recipe.yaml          what was asked (people write it)
    principles/, prompts/  what people edit, where a run has its own (a fork does)
    rows/                of a fork: the source rows (cai/source/published.py)
    frozen/              generations of frozen inputs (cai/frozen.py), and who the engines are (cai/settled.py)
    doctor.json          what was found of the engines before the first row (cai/doctor)
    store/               answers (cai/store)
    pilot.json           which rows are the pilot's, how many rows there are, what was approved
    quarantine.jsonl     rows that failed in the last go, with the error
    tally.json           what was asked in all goes, and what went wrong on the way (cai/tally.py)
    dataset/             made from the store
    exports/             the dataset in other formats, where asked for (cai dataset --format)
    comparison.json      made from the dataset
    report.html, report.md  made from the comparison and the dataset
    noise.json           how far the judge's answers move when asked again (cai/noise.py)
    review/              a blind sample for a person, its key, and the answers (cai/review)

What this module does not know: what these files hold.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cai.errors import RecipeError, RunError


@dataclass(frozen=True)
class RunFolder:
    """The places in a run's folder."""

    path: Path

    @property
    def name(self) -> str:
        """The run's name."""
        return self.path.name

    @property
    def shown(self) -> str:
        """How a person names it on the command line, from where they stand."""
        return os.path.relpath(self.path)

    @property
    def recipe(self) -> Path:
        """What was asked."""
        return self.path / "recipe.yaml"

    @property
    def store(self) -> Path:
        """The answers."""
        return self.path / "store"

    @property
    def frozen(self) -> Path:
        """The generations."""
        return self.path / "frozen"

    @property
    def doctor(self) -> Path:
        """What was found of the engines."""
        return self.path / "doctor.json"

    @property
    def pilot(self) -> Path:
        """The pilot's rows and its approval."""
        return self.path / "pilot.json"

    @property
    def quarantine(self) -> Path:
        """The rows that failed."""
        return self.path / "quarantine.jsonl"

    @property
    def tally(self) -> Path:
        """What was asked, and what went wrong on the way."""
        return self.path / "tally.json"

    @property
    def dataset(self) -> Path:
        """The dataset."""
        return self.path / "dataset"

    @property
    def comparison(self) -> Path:
        """The comparison."""
        return self.path / "comparison.json"

    @property
    def noise(self) -> Path:
        """How far the judge's answers move when asked again."""
        return self.path / "noise.json"


def open_run(given: Path) -> RunFolder:
    """The run that a person names by its folder or by its recipe.

    Raises: RecipeError for a recipe that does not lie in a run's folder, RunError where there
    is no such run.
    """
    if given.is_dir():
        run = RunFolder(given.resolve())
        if not run.recipe.is_file():
            raise RunError(
                f"{given} has no recipe.yaml, so it is no run.", "`cai init` writes one to start from."
            )
        return run
    if given.name == "recipe.yaml" and given.is_file():
        return RunFolder(given.resolve().parent)
    if given.is_file():
        raise RecipeError(
            f"{given} does not lie in a run's folder.",
            f"Move it to runs/{given.stem}/recipe.yaml and type: cai run runs/{given.stem}",
        )
    raise RunError(
        f"There is no run {given}.", "Give a folder under runs/; `cai init` writes one to start from."
    )
