"""Reads a dataset's traces into columns.

Only what statistics need is read, a row group at a time; texts stay on disk, except those of the
few rows that are asked for (`Traces.rows_at`).

What this module does not know: any statistic.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cai.compare.columns import Growing, Scratch, Table
from cai.compare.opinions import ABSTENTIONS, OPINION_TYPES, fold
from cai.compare.traces import (
    ABSTAINED,
    FEATURES,
    FIRST,
    ID_BYTES,
    PAIR_TYPES,
    SECOND,
    SIDES,
    TIE,
    Group,
    Part,
    Traces,
)
from cai.errors import RunError
from cai.memory import give_back_large_arrays
from cai.table_files import table_files

_LABELS = {"first": FIRST, "second": SECOND, "tie": TIE, None: ABSTAINED}
_PAIR = "feedback.list.element."
_JUDGEMENT = _PAIR + "judgements.list.element."
_REVISION = "revisions.list.element."
_ROUND = _REVISION + "rounds.list.element."
_ORIGINAL = tuple(f"original_{name}" for name in (*FEATURES, "harm"))
_OWN = (*FEATURES, "harm", "kept_share")

_ROW_COLUMNS = ["row_id", "subset", "split", "line", "position", "cluster", "turns"]
_PAIR_COLUMNS = [
    *_ROW_COLUMNS,
    *(_PAIR + name for name in ("kind", "about", "judge", "constitution", "probability", "label")),
    *(_PAIR + name for name in ("order_consistency", "option_mass", *SIDES)),
    *(_JUDGEMENT + name for name in ("principle", "order", "probability", "logprobs.list.element")),
    _JUDGEMENT + "abstained",
]
_REVISION_COLUMNS = [
    *("row_id", "position"),
    *(_REVISION + name for name in ("of", "final_round", "unchanged", *_ORIGINAL)),
    *(_ROUND + name for name in ("number", "principle", "usable", "flags.list.element", *_OWN)),
]
_HARM_COLUMNS = [
    "position",
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


_REVISION_TYPES = {
    "row_id": f"S{ID_BYTES}",
    "position": "i8",
    **dict.fromkeys(("row", "of"), "i4"),
    **dict.fromkeys(("final_round", "unchanged", *_ORIGINAL), "f8"),
}
_HARM_TYPES = {"position": "i8", **dict.fromkeys(("row", "response", "judge"), "i4"), "abstained": "i1"}
_ROUND_TYPES = {
    **dict.fromkeys(("revision", "number", "principle"), "i4"),
    **dict.fromkeys(("usable", "unchanged"), "?"),
    **dict.fromkeys(_OWN, "f8"),
}


def read_traces(dataset_folder: Path) -> Traces:
    """Read the traces of a dataset; one without rows gives empty tables. Raises: RunError, OSError."""
    give_back_large_arrays()
    pa.set_memory_pool(pa.system_memory_pool())  # its own would keep what is freed
    reading = _Reading(Scratch(dataset_folder.parent))
    groups: list[Group] = []
    for path in table_files(dataset_folder, "traces"):
        file = pq.ParquetFile(path, read_dictionary=_NAMES)
        for group in range(file.num_row_groups):
            groups.append(Group(path, group, reading.rows))
            reading.add_pairs(file.read_row_group(group, columns=_PAIR_COLUMNS))
            reading.add_revisions(file.read_row_group(group, columns=_REVISION_COLUMNS))
            reading.add_harm(file.read_row_group(group, columns=_HARM_COLUMNS))
    return reading.made(groups)


class _Growing:
    """A part that pairs are added to."""

    def __init__(self, scratch: Scratch) -> None:
        self._pairs = scratch.table(PAIR_TYPES)
        self._opinions = scratch.table(OPINION_TYPES)

    def add(self, pairs: dict[str, Any], opinions: dict[str, Any], chosen: NDArray[np.bool_]) -> None:
        """Add the pairs that a mask chooses, with the opinions of them (by place among all these pairs)."""
        place = len(self._pairs) + np.cumsum(chosen) - 1
        self._pairs.add(pairs, chosen)
        own = chosen[opinions["pair"]]
        self._opinions.add({**opinions, "pair": place[opinions["pair"]]}, own)

    def whole(self) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
        """The columns of the pairs, and of the opinions."""
        return self._pairs.whole(), self._opinions.whole()


class _Reading:
    """Columns gathered row group by row group."""

    def __init__(self, scratch: Scratch) -> None:
        self.rows = 0
        self._scratch = scratch
        self._names: dict[str, int] = {}
        self._clusters = scratch.growing("u8")
        self._parts: dict[tuple[str, str], _Growing] = {}
        self._revisions = scratch.table(_REVISION_TYPES)
        self._rounds = scratch.table(_ROUND_TYPES)
        self._harm = scratch.table(_HARM_TYPES)
        self._flags: dict[str, Growing] = {}

    def made(self, groups: list[Group]) -> Traces:
        """Everything that was added."""
        parts = {key: part.whole() for key, part in self._parts.items()}
        revisions, harm = self._revisions.whole(), self._harm.whole()
        tables = [*(pairs for pairs, _ in parts.values()), revisions, harm]
        clusters = self._cluster_numbers([table["row"] for table in tables])
        for table in tables:
            table["cluster"] = self._scratch.taken(clusters, table["row"], "i4")
        return Traces(
            {key: Part(Table(pairs), Table(opinions)) for key, (pairs, opinions) in parts.items()},
            Table(revisions),
            Table(self._rounds.whole()),
            Table(harm),
            {flag: found.whole() for flag, found in sorted(self._flags.items())},
            list(self._names),
            self._scratch,
            groups,
        )

    def add_pairs(self, table: Any) -> None:
        """Add a row group's pairs and judgements, and count its rows."""
        lists = table["feedback"].combine_chunks()
        row = pc.list_parent_indices(lists).to_numpy()
        pairs = pc.list_flatten(lists)
        part: dict[str, Any] = {
            "row_id": _ids(table)[row],
            **{name: self._codes(table[name].combine_chunks())[row] for name in ("subset", "split")},
            **{name: _whole(table[name])[row] for name in ("line", "position", "turns")},
            "row": row + self.rows,
            "pair": np.arange(len(row)) - np.searchsorted(row, row),
            "label": np.array(list(_LABELS.values()), "i1")[self._which(pairs.field("label"), list(_LABELS))],
        }
        part |= {name: self._codes(pairs.field(name)) for name in ("about", "constitution")}
        for name in ("probability", "order_consistency", "option_mass", *SIDES):
            values = _numbers(pairs.field(name))
            part[name] = values if PAIR_TYPES[name] == "f8" else values.astype("i8")
        kind, judge = self._codes(pairs.field("kind")), self._codes(pairs.field("judge"))
        opinions = fold(self._judgements(pairs.field("judgements")))
        names = list(self._names)
        for one, other in np.unique(np.stack([kind, judge]), axis=1).T:
            key = (names[one], names[other])
            if key not in self._parts:
                self._parts[key] = _Growing(self._scratch)
            self._parts[key].add(part, opinions, (kind == one) & (judge == other))
        self._clusters.add(_clusters(table["cluster"]))
        self.rows += len(table)

    def _judgements(self, lists: Any) -> dict[str, Any]:
        judgements = pc.list_flatten(lists)
        return {
            "pair": pc.list_parent_indices(lists).to_numpy(),
            "principle": self._codes(judgements.field("principle")),
            "second_order": self._which(judgements.field("order"), ["first_is_a", "first_is_b"]) == 1,
            "probability": _numbers(judgements.field("probability")),
            "answer": _answers(judgements.field("logprobs")),
            "abstained": self._which(judgements.field("abstained"), [None, *ABSTENTIONS]),
        }

    def add_revisions(self, table: Any) -> None:
        """Add the revisions of the row group whose pairs were added last."""
        lists = table["revisions"].combine_chunks()
        row = pc.list_parent_indices(lists).to_numpy()
        revisions = pc.list_flatten(lists)
        part: dict[str, Any] = {
            name: _numbers(revisions.field(name)) for name in ("final_round", "unchanged", *_ORIGINAL)
        }
        part |= {
            "row_id": _ids(table)[row],
            "position": _whole(table["position"])[row],
            "row": row + self.rows - len(table),
            "of": self._codes(revisions.field("of")),
        }
        self._add_rounds(revisions.field("rounds"))
        self._revisions.add(part)

    def add_harm(self, table: Any) -> None:
        """Add the ratings of the row group whose pairs were added last."""
        lists = table["harm"].combine_chunks()
        row = pc.list_parent_indices(lists).to_numpy()
        ratings = pc.list_flatten(lists)
        part: dict[str, Any] = {
            "position": _whole(table["position"])[row],
            "row": row + self.rows - len(table),
            "response": self._codes(ratings.field("response")),
            "judge": self._codes(ratings.field("judge")),
            "abstained": self._which(ratings.field("abstained"), [None, *ABSTENTIONS]),
        }
        self._harm.add(part)

    def _add_rounds(self, lists: Any) -> None:
        rounds = pc.list_flatten(lists)
        flagged = rounds.field("flags")
        of = pc.list_parent_indices(flagged).to_numpy()
        flags = _texts(pc.list_flatten(flagged))
        unchanged = np.zeros(len(rounds), bool)
        unchanged[of[flags == "unchanged"]] = True
        part: dict[str, Any] = {
            "revision": pc.list_parent_indices(lists).to_numpy() + len(self._revisions),
            "number": _numbers(rounds.field("number")),
            "principle": self._codes(rounds.field("principle")),
            "usable": _numbers(rounds.field("usable")),
            "unchanged": unchanged,
            **{name: _numbers(rounds.field(name)) for name in _OWN},
        }
        for flag in np.unique(flags.astype(str)) if len(flags) else ():
            if flag not in self._flags:
                self._flags[str(flag)] = self._scratch.growing("i4")
            self._flags[str(flag)].add(of[flags == flag] + len(self._rounds))
        self._rounds.add(part)

    def _cluster_numbers(self, rows: list[NDArray[np.int32]]) -> NDArray[np.int32]:
        """The number of each source row's cluster, from 0 on over the rows that anything is known of."""
        known = np.zeros(self.rows, np.bool_)
        for numbers in rows:
            known[numbers] = True
        codes = np.full(self.rows, -1, np.int32)
        codes[known] = np.unique(self._clusters.whole()[known], return_inverse=True)[1]
        return codes

    def _codes(self, texts: Any) -> NDArray[np.int32]:
        """Numbers for names, the same in every row group."""
        encoded = _encoded(texts)
        codes = [self._names.setdefault(name, len(self._names)) for name in encoded.dictionary.to_pylist()]
        numbers: NDArray[np.int32] = np.array(codes, np.int32)[_whole(encoded.indices)]
        return numbers

    def _which(self, texts: Any, known: list[str | None]) -> NDArray[np.int64]:
        """The place of each text in `known`; a null's is that of None."""
        encoded = _encoded(texts)
        places = [known.index(name) for name in encoded.dictionary.to_pylist()]
        without = known.index(None) if None in known else 0
        numbers: NDArray[np.int64] = np.array([*places, without], np.int64)[_whole(encoded.indices)]
        return numbers


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
    ids = np.array([text.encode() for text in table["row_id"].to_pylist()], "S")
    if ids.itemsize > ID_BYTES:
        raise RunError(
            f"A row id in the dataset's traces is longer than {ID_BYTES} letters.",
            "Build the dataset again. Type: cai dataset RUN",
        )
    return ids


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
