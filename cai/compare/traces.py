"""Reads a dataset's traces as columns: pairs, judgements, revisions, rounds.

Only the columns that statistics need are read, a row group at a time; texts stay on disk, except
those of the few rows that are asked for (`Traces.rows_at`). 170,000 pairs with 32 judgements each
take a few hundred megabytes.

What this module does not know: any statistic.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

FIRST, SECOND, TIE, ABSTAINED = 1, -1, 0, 2
"""How labels are held as integers."""

_LABELS = {"first": FIRST, "second": SECOND, "tie": TIE, None: ABSTAINED}
_PAIR = "feedback.list.element."
_JUDGEMENT = _PAIR + "judgements.list.element."
_REVISION = "revisions.list.element."
_ROUND = _REVISION + "rounds.list.element."

_COLUMNS = [
    *("row_id", "subset", "split", "line", "position"),
    *(_PAIR + name for name in ("kind", "constitution", "probability", "label")),
    *(_PAIR + name for name in ("order_consistency", "option_mass", "first_characters", "second_characters")),
    *(_JUDGEMENT + name for name in ("principle", "order", "probability", "logprobs.list.element")),
    *(_REVISION + name for name in ("final_round", "unchanged")),
    *(_ROUND + name for name in ("number", "usable", "flags.list.element")),
]


@dataclass(frozen=True)
class Table:
    """Columns of equal length by name, numbered rows."""

    columns: dict[str, NDArray[Any]]

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.columns[name]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def where(self, chosen: NDArray[Any]) -> Table:
        """The rows that a mask, or an array of row numbers, chooses."""
        return Table({name: column[chosen] for name, column in self.columns.items()})


@dataclass
class Traces:
    """What the statistics need of a dataset.

    `pairs`: row_id, subset, split, position, file, group, index (where the row lies), pair (its
    place within the row), kind, constitution, probability (NaN: abstained), label, order_consistency,
    option_mass, first_characters, second_characters.
    `judgements`: pair (row number in `pairs`), principle, second_order (whether the pair's first
    response was shown as B), probability (NaN), answer (1: A is more probable, -1: B, 0: neither).
    `revisions`: final_round (NaN: none), unchanged (NaN: none). `rounds`: number, usable, unchanged.
    `flags`: flag -> rounds. Names (kind, constitution, principle) are numbers into `names`.
    """

    pairs: Table
    judgements: Table
    revisions: Table
    rounds: Table
    flags: dict[str, int]
    names: list[str]
    files: list[Path]

    def rows_at(self, numbers: list[int], columns: list[str]) -> list[dict[str, Any]]:
        """The source rows of these pairs, in the order given, with these columns of the traces."""
        found = []
        for number in numbers:
            path = self.files[int(self.pairs["file"][number])]
            group = pq.ParquetFile(path).read_row_group(int(self.pairs["group"][number]), columns=columns)
            found.append(group.slice(int(self.pairs["index"][number]), 1).to_pylist()[0])
        return found


def read_traces(dataset_folder: Path) -> Traces:
    """Read the traces of a dataset; one without rows gives empty tables."""
    files = sorted((dataset_folder / "traces").glob("*.parquet"))
    reading = _Reading()
    for number, path in enumerate(files):
        file = pq.ParquetFile(path)
        for group in range(file.num_row_groups):
            reading.add(file.read_row_group(group, columns=_COLUMNS), number, group)
    return Traces(
        Table(reading.joined("pairs", _PAIR_TYPES)),
        Table(reading.joined("judgements", _JUDGEMENT_TYPES)),
        Table(reading.joined("revisions", {"final_round": "f8", "unchanged": "f8"})),
        Table(reading.joined("rounds", {"number": "i8", "usable": "?", "unchanged": "?"})),
        reading.flags,
        list(reading.names),
        files,
    )


_PAIR_TYPES = {
    **dict.fromkeys(("row_id", "subset", "split"), "O"),
    **dict.fromkeys(("position", "file", "group", "index", "pair", "kind", "constitution"), "i8"),
    **dict.fromkeys(("probability", "order_consistency", "option_mass"), "f8"),
    **dict.fromkeys(("first_characters", "second_characters"), "i8"),
    "label": "i1",
}
_JUDGEMENT_TYPES = {"pair": "i8", "principle": "i4", "second_order": "?", "probability": "f8", "answer": "i1"}


@dataclass
class _Reading:
    """Columns gathered row group by row group."""

    names: dict[str, int] = field(default_factory=dict)
    flags: dict[str, int] = field(default_factory=dict)
    parts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    pair_count: int = 0

    def joined(self, table: str, types: dict[str, str]) -> dict[str, NDArray[Any]]:
        parts = self.parts.get(table, [])
        return {
            name: np.concatenate([np.empty(0, kind), *(part[name] for part in parts)]).astype(
                kind, copy=False
            )
            for name, kind in types.items()
        }

    def add(self, table: Any, file: int, group: int) -> None:
        self._add_pairs(table, file, group)
        self._add_revisions(table)

    def _add_pairs(self, table: Any, file: int, group: int) -> None:
        lists = table["feedback"].combine_chunks()
        row = pc.list_parent_indices(lists).to_numpy()
        pairs = pc.list_flatten(lists)
        starts = np.searchsorted(row, row)
        part = {name: _texts(table[name].combine_chunks())[row] for name in ("row_id", "subset", "split")}
        part |= {
            "position": table["position"].combine_chunks().to_numpy(zero_copy_only=False)[row],
            "file": np.full(len(row), file),
            "group": np.full(len(row), group),
            "index": row,
            "pair": np.arange(len(row)) - starts,
            "kind": self._codes(pairs.field("kind")),
            "constitution": self._codes(pairs.field("constitution")),
            "label": np.array([_LABELS[name] for name in pairs.field("label").to_pylist()], "i1"),
        }
        for name in (
            "probability",
            "order_consistency",
            "option_mass",
            "first_characters",
            "second_characters",
        ):
            part[name] = _numbers(pairs.field(name))
        self.parts.setdefault("pairs", []).append(part)
        self._add_judgements(pairs.field("judgements"))
        self.pair_count += len(row)

    def _add_judgements(self, lists: Any) -> None:
        judgements = pc.list_flatten(lists)
        part = {
            "pair": pc.list_parent_indices(lists).to_numpy() + self.pair_count,
            "principle": self._codes(judgements.field("principle")),
            "second_order": _numbers(pc.equal(judgements.field("order"), "first_is_b")).astype(bool),
            "probability": _numbers(judgements.field("probability")),
            "answer": _answers(judgements.field("logprobs")),
        }
        self.parts.setdefault("judgements", []).append(part)

    def _add_revisions(self, table: Any) -> None:
        revisions = pc.list_flatten(table["revisions"].combine_chunks())
        part = {name: _numbers(revisions.field(name)) for name in ("final_round", "unchanged")}
        self.parts.setdefault("revisions", []).append(part)
        rounds = pc.list_flatten(revisions.field("rounds"))
        lists = rounds.field("flags")
        flags = pc.list_flatten(lists)
        same = pc.list_parent_indices(lists).to_numpy()[_texts(flags) == "unchanged"]
        unchanged = np.zeros(len(rounds), bool)
        unchanged[same] = True
        part = {
            "number": _numbers(rounds.field("number")),
            "usable": _numbers(rounds.field("usable")).astype(bool),
            "unchanged": unchanged,
        }
        self.parts.setdefault("rounds", []).append(part)
        for item in pc.value_counts(flags).to_pylist():
            self.flags[item["values"]] = self.flags.get(item["values"], 0) + item["counts"]

    def _codes(self, texts: Any) -> NDArray[np.int64]:
        """Numbers for names, the same in every row group."""
        encoded = texts.dictionary_encode()
        codes = [self.names.setdefault(name, len(self.names)) for name in encoded.dictionary.to_pylist()]
        numbers: NDArray[np.int64] = np.array(codes, np.int64)[encoded.indices.to_numpy(zero_copy_only=False)]
        return numbers


def _texts(array: Any) -> NDArray[Any]:
    values: NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return values.astype(object, copy=False)


def _numbers(array: Any) -> NDArray[np.float64]:
    """Numbers or truth values as doubles, nulls as NaN."""
    values: NDArray[np.float64] = array.cast("float64").to_numpy(zero_copy_only=False)
    return values


def _answers(lists: Any) -> NDArray[np.int8]:
    """Which option each judgement finds more probable: 1 for A, -1 for B, 0 for neither or none."""
    parents = pc.list_parent_indices(lists).to_numpy()
    values = _numbers(pc.list_flatten(lists))
    first = np.searchsorted(parents, np.arange(len(lists)))
    answers = np.zeros(len(lists), np.int8)
    whole = np.bincount(parents, minlength=len(lists)) == 2
    at = first[whole]
    answers[whole] = np.sign(values[at] - values[at + 1]).astype(np.int8)
    return answers
