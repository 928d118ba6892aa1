"""Where each row lies in a dataset's traces, and the whole of the few that a page shows.

What this module does not know: which rows are wanted, how they are shown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_IDENTITY = ("row_id", "source", "subset", "split", "line", "flags")
_WANTED = (
    *_IDENTITY,
    *("prompt", "responses"),
    *(f"samples.list.element.{name}" for name in ("name", "text")),
    *(f"revisions.list.element.{name}" for name in ("of", "original")),
    *(
        f"revisions.list.element.rounds.list.element.{name}"
        for name in ("number", "principle", "critique", "text", "flags", "usable")
    ),
    *(
        f"feedback.list.element.{name}"
        for name in ("kind", "about", "judge", "first", "second", "probability", "label")
    ),
    *(f"feedback.list.element.{name}" for name in ("order_consistency", "option_mass")),
    *(
        f"feedback.list.element.judgements.list.element.{name}"
        for name in ("principle", "order", "probability", "abstained", "sample", "said", "reasoning")
    ),
    *(f"harm.list.element.{name}" for name in ("response", "judge", "probability", "abstained")),
)
"""The columns of a row that a page shows; requests are left to `cai show`."""


@dataclass
class Places:
    """`at`: row id -> file, row group, place in it. `agreeing`: rows on which the first judge and
    the human agree; `unpaired`: rows without a judged human pair. All in the dataset's order."""

    files: list[Path]
    at: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    agreeing: list[str] = field(default_factory=list)
    unpaired: list[str] = field(default_factory=list)


def find_rows(dataset_folder: Path, judge: str | None) -> Places:
    """Read where the rows of a dataset lie; `judge`: whose labels count."""
    import pyarrow.parquet as pq

    places = Places(sorted((dataset_folder / "traces").glob("*.parquet")))
    columns = ["row_id", *(f"feedback.list.element.{name}" for name in ("kind", "judge", "label"))]
    for number, path in enumerate(places.files):
        file = pq.ParquetFile(path)
        for group in range(file.num_row_groups):
            _add(places, number, group, file.read_row_group(group, columns=columns), judge)
    return places


def _add(places: Places, file: int, group: int, table: Any, judge: str | None) -> None:
    import pyarrow.compute as pc

    ids = table["row_id"].to_pylist()
    lists = table["feedback"].combine_chunks()
    parents = pc.list_parent_indices(lists).to_pylist()
    pairs = pc.list_flatten(lists)
    labels: dict[int, str | None] = {}
    found = zip(parents, *(pairs.field(name).to_pylist() for name in ("kind", "judge", "label")), strict=True)
    for row, kind, own, label in found:
        if kind == "human" and (judge is None or own == judge):
            labels.setdefault(row, label)
    for index, row_id in enumerate(ids):
        places.at[row_id] = (file, group, index)
        if index not in labels:
            places.unpaired.append(row_id)
        elif labels[index] == "first":
            places.agreeing.append(row_id)


def read_rows(places: Places, rows: Iterable[str]) -> dict[str, dict[str, Any]]:
    """These rows of the traces by id, a row group at a time."""
    import pyarrow.parquet as pq

    by_group: dict[tuple[int, int], list[tuple[int, str]]] = defaultdict(list)
    for row in rows:
        file, group, index = places.at[row]
        by_group[file, group].append((index, row))
    found = {}
    for (file, group), wanted in sorted(by_group.items()):
        table = pq.ParquetFile(places.files[file]).read_row_group(group, columns=list(_WANTED))
        for index, row in wanted:
            found[row] = table.slice(index, 1).to_pylist()[0]
    return found
