"""The pairs of a dataset that a person can be asked about, and the texts of those drawn.

A pair: what the human compared, and what the AI's first judge said of it, from the traces. Only
short columns are read for all pairs; texts are read for those drawn, one row group at a time.

What this module does not know: which pairs are drawn, how they are shown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from cai.errors import RunError
from cai.table_files import read_summary, table_files

_PAIR = "feedback.list.element."
_WHICH = [_PAIR + name for name in ("kind", "judge", "first", "second")]
_SHORT = ["row_id", "subset", "split", "line", *_WHICH, _PAIR + "probability", _PAIR + "label"]
_LONG = ["row_id", "prompt.list.element.role", "prompt.list.element.content", *_WHICH]
_LONG += [_PAIR + "first_text", _PAIR + "second_text"]
HUMAN = "chosen"
"""The name of the response that the human preferred."""


@dataclass(frozen=True)
class Labelled:
    """A human pair. `probability`: the AI's, that the human's choice is better (None: an abstention);
    `agrees`: whether its label is the human's (None: a tie or an abstention)."""

    row_id: str
    subset: str
    split: str
    line: int | None
    probability: float | None
    agrees: bool | None
    file: Path
    group: int


@dataclass(frozen=True)
class Texts:
    """What a person reads: the prompt's turns (role, text) and the responses by name."""

    prompt: tuple[tuple[str, str], ...]
    responses: dict[str, str]


@dataclass(frozen=True)
class Origin:
    """What the dataset says of itself."""

    generation: str
    seed: int
    tie_threshold: float
    judge: str


def origin(dataset_folder: Path) -> Origin:
    """What a dataset was made from. Raises: RunError where there is none, or nothing was judged."""
    summary = read_summary(dataset_folder, "generation")
    settings = summary["settings"]
    if not settings.get("judges"):
        raise RunError(
            f"The dataset in {dataset_folder} names no judge, so it has no AI labels to review.",
            "Give the recipe a `feedback` section with human pairs, or build the dataset again.",
        )
    seed, threshold = int(settings["seed"]), float(settings["tie_threshold"])
    return Origin(summary["generation"], seed, threshold, settings["judges"][0])


def labelled_pairs(dataset_folder: Path, judge: str) -> list[Labelled]:
    """Every human pair that this judge judged, in source order. Raises: RunError for a damaged dataset."""
    found: list[Labelled] = []
    for path in table_files(dataset_folder, "traces"):
        file = pq.ParquetFile(path)
        for group in range(file.num_row_groups):
            for row in file.read_row_group(group, columns=_SHORT).to_pylist():
                found += [
                    _labelled(row, pair, path, group)
                    for pair in row["feedback"] or ()
                    if _is_human(pair, judge)
                ]
    return found


def _labelled(row: dict[str, Any], pair: dict[str, Any], path: Path, group: int) -> Labelled:
    human = "first" if pair["first"] == HUMAN else "second"
    probability = pair["probability"]
    if probability is not None and human == "second":
        probability = 1 - probability
    agrees = None if pair["label"] in (None, "tie") else pair["label"] == human
    place = (row["row_id"], row["subset"], row["split"], row["line"])
    return Labelled(*place, probability, agrees, path, group)


def texts(pairs: Iterable[Labelled], judge: str) -> dict[str, Texts]:
    """The texts of these pairs as this judge had them, by row id."""
    wanted: dict[tuple[Path, int], set[str]] = defaultdict(set)
    for pair in pairs:
        wanted[pair.file, pair.group].add(pair.row_id)
    made = {}
    for (path, group), rows in wanted.items():
        table = pq.ParquetFile(path).read_row_group(group, columns=_LONG)
        for index, row_id in enumerate(table["row_id"].to_pylist()):
            if row_id in rows:
                made[row_id] = _texts(table.slice(index, 1).to_pylist()[0], judge)
    return made


def _texts(row: dict[str, Any], judge: str) -> Texts:
    prompt = tuple((turn["role"], turn["content"]) for turn in row["prompt"])
    pair = next(item for item in row["feedback"] if _is_human(item, judge))
    return Texts(prompt, {pair["first"]: pair["first_text"], pair["second"]: pair["second_text"]})


def _is_human(pair: dict[str, Any], judge: str) -> bool:
    return bool(pair["kind"] == "human" and pair["judge"] == judge)
