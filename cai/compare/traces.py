"""A dataset's traces as columns: pairs, what principles say of them, revisions, rounds, ratings of harm.

What this module does not know: how they are read, any statistic.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cai.compare.columns import Scratch, Table
from cai.compare.opinions import OPINION_TYPES

FIRST, SECOND, TIE, ABSTAINED = 1, -1, 0, 2
"""How labels are held as integers."""

ID_BYTES = 32
"""Of a row's id, which is a digest in hexadecimal."""
FEATURES = ("words", "refuses", "evades", "asks")
SIDES = tuple(f"{side}_{name}" for side in ("first", "second") for name in ("characters", *FEATURES, "harm"))
_SIDE_TYPES = {"harm": "f8", "characters": "i4", "words": "i4"}
PAIR_TYPES = {
    "row_id": f"S{ID_BYTES}",
    **dict.fromkeys(("line", "position"), "i8"),
    **dict.fromkeys(("row", "turns", "subset", "split", "about", "constitution"), "i4"),
    **dict.fromkeys(("probability", "order_consistency", "option_mass"), "f8"),
    **{name: _SIDE_TYPES.get(name.partition("_")[2], "i1") for name in SIDES},
    "pair": "i2",
    "label": "i1",
}


@dataclass(frozen=True)
class Group:
    """A row group of a file, and the number of its first row among all rows."""

    path: Path
    number: int
    start: int


@dataclass(frozen=True)
class Part:
    """The pairs of one kind that one judge judged, and what each principle says of them.

    `pairs`: row_id (bytes, see `id_texts`), line (-1: none), position, cluster (numbers from 0),
    turns, row (number of the source's row, see `Traces.rows_at`), pair (its place within the row),
    probability (NaN: abstained), label, order_consistency, option_mass; for `first_` and `second_`:
    characters, words, refuses, evades, asks, harm (NaN: not rated); as numbers into the names:
    subset, split, about, constitution. `opinions`: see `OPINION_TYPES`.
    """

    pairs: Table
    opinions: Table


@dataclass
class Traces:
    """What the statistics need of a dataset.

    `parts`: by kind and judge, those that occur, each in the order of the source.
    `revisions`: row_id, row (as of pairs), position, cluster, of, final_round (NaN: none), unchanged (NaN: none), for
    `original_`: words, refuses, evades, asks, harm. `rounds`: revision (row number in
    `revisions`), number, principle, usable, unchanged, words, refuses, evades, asks, harm,
    kept_share. `flags`: flag -> row numbers in `rounds`.
    `harm`: single ratings of harm: row, position, cluster, response, judge, abstained (0: no; else 1 +
    the number of the reason in `ABSTENTIONS`).
    Names (constitution, principle, of, response, judge) are numbers into `names`. `scratch`: for
    columns that are made of these.
    """

    parts: dict[tuple[str, str], Part]
    revisions: Table
    rounds: Table
    harm: Table
    flags: dict[str, NDArray[np.int32]]
    names: list[str]
    scratch: Scratch
    groups: list[Group]

    def code(self, name: str) -> int:
        """The number of a name; -1 where it does not occur."""
        return self.names.index(name) if name in self.names else -1

    def part(self, kind: str, judge: str) -> Part:
        """The pairs of a kind that this judge judged; empty tables where there are none."""
        return self.parts.get((kind, judge)) or Part(
            _empty({**PAIR_TYPES, "cluster": "i4"}), _empty(OPINION_TYPES)
        )

    def judges(self) -> list[str]:
        """Whoever judged any pair, in the order of their first judgement."""
        return sorted({judge for _, judge in self.parts}, key=self.names.index)

    def rows_at(self, numbers: list[int], columns: list[str]) -> list[dict[str, Any]]:
        """The source rows of these numbers, in the order given, with these columns of the traces."""
        found = []
        for number in numbers:
            group = self.groups[bisect_right(self.groups, number, key=lambda item: item.start) - 1]
            table = pq.ParquetFile(group.path).read_row_group(group.number, columns=columns)
            found.append(table.slice(number - group.start, 1).to_pylist()[0])
        return found


def _empty(kinds: dict[str, str]) -> Table:
    return Table({name: np.empty(0, kind) for name, kind in kinds.items()})


def id_texts(ids: NDArray[np.bytes_]) -> Iterator[str]:
    """Row ids as texts, one after the other."""
    return (row.decode() for row in ids)
