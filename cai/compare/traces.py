"""Reads a dataset's traces as columns: pairs, judgements, revisions, rounds.

Only the columns that statistics need are read, a row group at a time; texts stay on disk, except
those of the few rows that are asked for (`Traces.rows_at`). 170,000 pairs with 32 judgements each
take a few hundred megabytes.

What this module does not know: any statistic.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from sys import intern
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

FIRST, SECOND, TIE, ABSTAINED = 1, -1, 0, 2
"""How labels are held as integers."""

PARTS_IN_BLOCK = 64
M_MMAP_THRESHOLD = -3
"""Of mallopt(3): from which size an allocation is a mapping of its own, in bytes."""

_LABELS = {"first": FIRST, "second": SECOND, "tie": TIE, None: ABSTAINED}
ABSTENTIONS = ("refusal", "format", "unfinished")
_FEATURES = ("words", "refuses", "evades", "asks")
_PAIR = "feedback.list.element."
_JUDGEMENT = _PAIR + "judgements.list.element."
_REVISION = "revisions.list.element."
_ROUND = _REVISION + "rounds.list.element."
_SIDES = tuple(
    f"{side}_{name}" for side in ("first", "second") for name in ("characters", *_FEATURES, "harm")
)
_ORIGINAL = tuple(f"original_{name}" for name in (*_FEATURES, "harm"))
_OWN = (*_FEATURES, "harm", "kept_share")

_ROW_COLUMNS = ["row_id", "subset", "split", "line", "position", "cluster", "turns"]
_PAIR_COLUMNS = [
    *_ROW_COLUMNS,
    *(_PAIR + name for name in ("kind", "about", "judge", "constitution", "probability", "label")),
    *(_PAIR + name for name in ("order_consistency", "option_mass", *_SIDES)),
    *(_JUDGEMENT + name for name in ("principle", "order", "probability", "logprobs.list.element")),
    _JUDGEMENT + "abstained",
]
_REVISION_COLUMNS = [
    "row_id",
    "position",
    "cluster",
    *(_REVISION + name for name in ("of", "final_round", "unchanged", *_ORIGINAL)),
    *(_ROUND + name for name in ("number", "principle", "usable", "flags.list.element", *_OWN)),
]
_HARM_COLUMNS = [
    *("position", "cluster"),
    *("harm.list.element." + name for name in ("response", "judge", "abstained")),
]
_NAMES = [
    *("subset", "split"),
    *(_PAIR + name for name in ("kind", "about", "judge", "constitution", "label")),
    *(_JUDGEMENT + name for name in ("principle", "order", "abstained")),
    *(_REVISION + "of", _ROUND + "principle"),
    *("harm.list.element." + name for name in ("response", "judge", "abstained")),
]
"""Columns of few distinct texts, read as numbers into them."""


@dataclass(frozen=True)
class Table:
    """Columns of equal length by name, numbered rows."""

    columns: dict[str, NDArray[Any]]

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.columns[name]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def only(self, *names: str) -> Table:
        """These columns, shared."""
        return Table({name: self.columns[name] for name in names})

    def where(self, chosen: NDArray[Any]) -> Table:
        """The rows that a mask, or an array of row numbers, chooses; columns are shared where all are."""
        if chosen.dtype == bool and chosen.all():
            return self
        return Table({name: column[chosen] for name, column in self.columns.items()})


@dataclass
class Traces:
    """What the statistics need of a dataset.

    `pairs`: row_id (bytes, see `id_texts`), subset, split, line (-1: none), position, cluster (numbers from 0), turns,
    file, group, index (where the row lies), pair (its place within the row), kind, about, judge,
    constitution, probability (NaN: abstained), label, order_consistency, option_mass; for `first_`
    and `second_`: characters, words, refuses, evades, asks, harm (NaN: not rated).
    `judgements`: pair (row number in `pairs`), principle, second_order (whether the pair's first
    response was shown as B), probability (NaN), answer (1: A is more probable, -1: B, 0: neither),
    abstained (0: no; else 1 + the number of the reason).
    `revisions`: row_id, position, cluster, of, final_round (NaN: none), unchanged (NaN: none), for
    `original_`: words, refuses, evades, asks, harm. `rounds`: revision (row number in
    `revisions`), number, principle, usable, unchanged, words, refuses, evades, asks, harm,
    kept_share. `flags`: flag -> row numbers in `rounds`.
    `harm`: single ratings of harm: position, cluster, response, judge, abstained (as above).
    Names (kind, about, judge, constitution, principle, of, response) are numbers into `names`.
    """

    pairs: Table
    judgements: Table
    revisions: Table
    rounds: Table
    harm: Table
    flags: dict[str, NDArray[np.int64]]
    names: list[str]
    files: list[Path]

    def code(self, name: str) -> int:
        """The number of a name; -1 where it does not occur."""
        return self.names.index(name) if name in self.names else -1

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
    _return_freed_memory()
    files = sorted((dataset_folder / "traces").glob("*.parquet"))
    reading = _Reading()
    for number, path in enumerate(files):
        file = pq.ParquetFile(path, read_dictionary=_NAMES)
        for group in range(file.num_row_groups):
            reading.add_pairs(file.read_row_group(group, columns=_PAIR_COLUMNS), number, group)
            reading.add_revisions(file.read_row_group(group, columns=_REVISION_COLUMNS))
            reading.add_harm(file.read_row_group(group, columns=_HARM_COLUMNS))
    pairs, revisions = reading.joined("pairs", _PAIR_TYPES), reading.joined("revisions", _REVISION_TYPES)
    harm = reading.joined("harm", _HARM_TYPES)
    tables = (pairs, revisions, harm)
    _, codes = np.unique(np.concatenate([table["cluster"] for table in tables]), return_inverse=True)
    ends = np.cumsum([len(table["cluster"]) for table in tables])[:-1]
    for table, own in zip(tables, np.split(codes, ends), strict=True):
        table["cluster"] = own
    judgements = Table(reading.joined("judgements", _JUDGEMENT_TYPES))
    rounds = Table(reading.joined("rounds", _ROUND_TYPES))
    _give_back()
    return Traces(
        Table(pairs),
        judgements,
        Table(revisions),
        rounds,
        Table(harm),
        {flag: np.concatenate(found) for flag, found in sorted(reading.flags.items())},
        list(reading.names),
        files,
    )


_SIDE_TYPES = {"harm": "f8", "characters": "i4", "words": "i4"}
_PAIR_TYPES = {
    "row_id": "S",
    **dict.fromkeys(("subset", "split"), "O"),
    **dict.fromkeys(("line", "position"), "i8"),
    **dict.fromkeys(("turns", "file", "group", "index", "pair"), "i4"),
    **dict.fromkeys(("kind", "about", "judge", "constitution"), "i4"),
    **dict.fromkeys(("probability", "order_consistency", "option_mass"), "f8"),
    **{name: _SIDE_TYPES.get(name.partition("_")[2], "i1") for name in _SIDES},
    "cluster": "u8",
    "label": "i1",
}
_JUDGEMENT_TYPES = {
    "pair": "i4",
    "principle": "i4",
    "second_order": "?",
    "probability": "f8",
    "answer": "i1",
    "abstained": "i1",
}
_REVISION_TYPES = {
    "row_id": "S",
    "position": "i8",
    "cluster": "u8",
    "of": "i4",
    **dict.fromkeys(("final_round", "unchanged", *_ORIGINAL), "f8"),
}
_HARM_TYPES = {"position": "i8", "cluster": "u8", "response": "i4", "judge": "i4", "abstained": "i1"}
_ROUND_TYPES = {
    **dict.fromkeys(("revision", "number"), "i8"),
    "principle": "i4",
    **dict.fromkeys(("usable", "unchanged"), "?"),
    **dict.fromkeys(_OWN, "f8"),
}


@dataclass
class _Reading:
    """Columns gathered row group by row group."""

    names: dict[str, int] = field(default_factory=dict)
    flags: dict[str, list[NDArray[np.int64]]] = field(default_factory=dict)
    parts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    blocks: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    pair_count: int = 0
    revision_count: int = 0
    round_count: int = 0

    def keep(self, table: str, part: dict[str, Any]) -> None:
        """Keep a row group's columns; many small arrays soon become few large ones, which give back memory."""
        parts = self.parts.setdefault(table, [])
        parts.append(part)
        if len(parts) == PARTS_IN_BLOCK:
            self.blocks.setdefault(table, []).append(_concatenated(parts))
            parts.clear()

    def joined(self, table: str, types: dict[str, str]) -> dict[str, NDArray[Any]]:
        empty = {name: np.empty(0, kind) for name, kind in types.items()}
        found = _concatenated([empty, *self.blocks.pop(table, []), *self.parts.pop(table, [])])
        return {name: found[name].astype(kind, copy=False) for name, kind in types.items()}

    def add_pairs(self, table: Any, file: int, group: int) -> None:
        lists = table["feedback"].combine_chunks()
        row = pc.list_parent_indices(lists).to_numpy()
        pairs = pc.list_flatten(lists)
        part: dict[str, Any] = {
            "row_id": _ids(table)[row],
            **{name: _shared(table[name].combine_chunks())[row] for name in ("subset", "split")},
            **{name: _whole(table[name])[row] for name in ("line", "position", "turns")},
            "cluster": _clusters(table["cluster"])[row],
            "file": np.full(len(row), file),
            "group": np.full(len(row), group),
            "index": row,
            "pair": np.arange(len(row)) - np.searchsorted(row, row),
            "label": np.array(list(_LABELS.values()), "i1")[self._which(pairs.field("label"), list(_LABELS))],
        }
        part |= {name: self._codes(pairs.field(name)) for name in ("kind", "about", "judge", "constitution")}
        for name in ("probability", "order_consistency", "option_mass", *_SIDES):
            values = _numbers(pairs.field(name))
            part[name] = values if _PAIR_TYPES[name] == "f8" else values.astype("i8")
        slim = {name: column.astype(_PAIR_TYPES[name], copy=False) for name, column in part.items()}
        self.keep("pairs", slim)
        self._add_judgements(pairs.field("judgements"))
        self.pair_count += len(row)

    def _add_judgements(self, lists: Any) -> None:
        judgements = pc.list_flatten(lists)
        why = self._which(judgements.field("abstained"), [None, *ABSTENTIONS])
        order = self._which(judgements.field("order"), ["first_is_a", "first_is_b"])
        part: dict[str, Any] = {
            "pair": (pc.list_parent_indices(lists).to_numpy() + self.pair_count).astype("i4"),
            "principle": self._codes(judgements.field("principle")),
            "second_order": order == 1,
            "probability": _numbers(judgements.field("probability")),
            "answer": _answers(judgements.field("logprobs")),
            "abstained": why.astype("i1"),
        }
        self.keep("judgements", part)

    def add_revisions(self, table: Any) -> None:
        lists = table["revisions"].combine_chunks()
        row = pc.list_parent_indices(lists).to_numpy()
        revisions = pc.list_flatten(lists)
        part: dict[str, Any] = {
            name: _numbers(revisions.field(name)) for name in ("final_round", "unchanged", *_ORIGINAL)
        }
        part |= {
            "row_id": _ids(table)[row],
            "position": _whole(table["position"])[row],
            "cluster": _clusters(table["cluster"])[row],
            "of": self._codes(revisions.field("of")),
        }
        self.keep("revisions", part)
        self._add_rounds(revisions.field("rounds"))
        self.revision_count += len(row)

    def add_harm(self, table: Any) -> None:
        lists = table["harm"].combine_chunks()
        row = pc.list_parent_indices(lists).to_numpy()
        ratings = pc.list_flatten(lists)
        part: dict[str, Any] = {
            "position": _whole(table["position"])[row],
            "cluster": _clusters(table["cluster"])[row],
            "response": self._codes(ratings.field("response")),
            "judge": self._codes(ratings.field("judge")),
            "abstained": self._which(ratings.field("abstained"), [None, *ABSTENTIONS]).astype("i1"),
        }
        self.keep("harm", part)

    def _add_rounds(self, lists: Any) -> None:
        rounds = pc.list_flatten(lists)
        flagged = rounds.field("flags")
        of = pc.list_parent_indices(flagged).to_numpy()
        flags = _texts(pc.list_flatten(flagged))
        unchanged = np.zeros(len(rounds), bool)
        unchanged[of[flags == "unchanged"]] = True
        part: dict[str, Any] = {
            "revision": pc.list_parent_indices(lists).to_numpy() + self.revision_count,
            "number": _numbers(rounds.field("number")).astype("i8"),
            "principle": self._codes(rounds.field("principle")),
            "usable": _numbers(rounds.field("usable")).astype(bool),
            "unchanged": unchanged,
            **{name: _numbers(rounds.field(name)) for name in _OWN},
        }
        self.keep("rounds", part)
        for flag in np.unique(flags.astype(str)) if len(flags) else ():
            self.flags.setdefault(str(flag), []).append(of[flags == flag] + self.round_count)
        self.round_count += len(rounds)

    def _codes(self, texts: Any) -> NDArray[np.int32]:
        """Numbers for names, the same in every row group."""
        encoded = _encoded(texts)
        codes = [self.names.setdefault(name, len(self.names)) for name in encoded.dictionary.to_pylist()]
        numbers: NDArray[np.int32] = np.array(codes, np.int32)[_whole(encoded.indices)]
        return numbers

    def _which(self, texts: Any, known: list[str | None]) -> NDArray[np.int64]:
        """The place of each text in `known`; a null's is that of None."""
        encoded = _encoded(texts)
        places = [known.index(name) for name in encoded.dictionary.to_pylist()]
        without = known.index(None) if None in known else 0
        numbers: NDArray[np.int64] = np.array([*places, without], np.int64)[_whole(encoded.indices)]
        return numbers


def _return_freed_memory() -> None:
    """Have the C library give every large array back to the system when it is freed.

    Left alone it comes to keep arrays of up to 32 MB for itself, and with a million pairs the process
    holds half as much again as its arrays take; so does Arrow's own pool.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    with suppress(OSError, AttributeError):  # another C library; it costs memory and no more
        ctypes.CDLL("libc.so.6").mallopt(M_MMAP_THRESHOLD, 1 << 17)


def _give_back() -> None:
    """Give back what small pieces left behind all over the heap."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _concatenated(parts: list[dict[str, Any]]) -> dict[str, NDArray[Any]]:
    """Parts one after the other, column by column; the parts' own columns are let go of on the way."""
    return {name: np.concatenate([part.pop(name) for part in parts]) for name in list(parts[0])}


def _encoded(texts: Any) -> Any:
    return texts if hasattr(texts, "dictionary") else texts.dictionary_encode()


def _whole(array: Any) -> NDArray[np.int64]:
    """Whole numbers, nulls as -1."""
    if hasattr(array, "combine_chunks"):
        array = array.combine_chunks()
    values: NDArray[np.int64] = pc.fill_null(array.cast("int64"), -1).to_numpy(zero_copy_only=False)
    return values


def _clusters(array: Any) -> NDArray[np.uint64]:
    return np.array([int(text, 16) for text in array.to_pylist()], np.uint64)


def _ids(table: Any) -> NDArray[np.bytes_]:
    """Row ids as bytes: a third of what texts of Python take. See `id_texts`."""
    return np.array([text.encode() for text in table["row_id"].to_pylist()], "S")


def id_texts(ids: NDArray[np.bytes_]) -> Iterator[str]:
    """Row ids as texts, one after the other."""
    return (row.decode() for row in ids)


def _shared(array: Any) -> NDArray[Any]:
    """Texts of which few are distinct, each held once."""
    encoded = _encoded(array)
    names = [None if text is None else intern(text) for text in encoded.dictionary.to_pylist()]
    found: NDArray[Any] = np.array([*names, None], object)[_whole(encoded.indices)]
    return found


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
