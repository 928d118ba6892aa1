"""The rows of a published run, as they were: a snapshot of its sources that needs none of them.

`run/rows/rows-00000.jsonl.gz` ...: one record of the original sources a line, in their order,

    {"position":0,"ids":["…"],"turns":[0],"occurrence":0,"source":"harmless-base/train.jsonl.gz",
     "subset":"harmless-base","split":"train","shape":"pairs","line":1,"value":{…}}

`position` is the record's first row, over all sources; `ids` and `turns` its rows; `occurrence`
how many equal records came before; `shape` is `pairs`, or `attempts` for red-team attempts; `value`
the record's fields, untouched, or null where the line was no JSON object; `original` is the line as
text where its row was excluded, since the text then travels with the dataset.

An id is the hash of subset, split, value, occurrence and turn (identity.py), so every line is held
to its ids as it is read, and to its position: a line that was changed, cut or lost is named.

What this module does not know: who publishes, runs, stores.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from cai.digest import canonical
from cai.errors import SourceError
from cai.mistake import likeliest
from cai.recipe import SourceSection
from cai.source.attempts import AttemptShape
from cai.source.blocks import DamagedError, read_blocks
from cai.source.identity import RowHash, row_id
from cai.source.lines import MAX_LINE_BYTES, numbered_lines
from cai.source.pairs import PairShape
from cai.source.parts import Part, file_stamp
from cai.source.rows import Record, Shape

SUFFIX = ".jsonl.gz"
_SHAPES: dict[str, Shape] = {"pairs": PairShape(), "attempts": AttemptShape("all")}


class _Key(NamedTuple):
    """What makes a part: the record's source, subset, split and shape."""

    source: str
    subset: str
    split: str
    shape: str


def snapshot_line(
    key: tuple[str, str, str, Shape],
    record: Record,
    turns: tuple[int, ...],
    occurrence: int,
    ids: tuple[str, ...],
    position: int,
    excluded: bool,
) -> bytes:
    """A record as a line of the snapshot, newline included; `key`: source, subset, split and shape.

    Raises: SourceError for a line that is too long to be read again.
    """
    source, subset, split, shape = key
    line: dict[str, Any] = {
        "position": position,
        "ids": ids,
        "turns": turns,
        "occurrence": occurrence,
        "source": source,
        "subset": subset,
        "split": split,
        "shape": "attempts" if isinstance(shape, AttemptShape) else "pairs",
        "line": record.line,
        "value": record.value,
    }
    if excluded and (record.original is not None or record.value is None):
        line["original"] = record.text()
    data = orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
    if len(data) > MAX_LINE_BYTES:
        raise SourceError(
            f"{source}, line {record.line} is too long to be kept with its row's id "
            f"({len(data) >> 20} MiB; at most {MAX_LINE_BYTES >> 20}).",
            "Leave that row out of the source.",
        )
    return data


def open_published(place: Path, section: SourceSection) -> PublishedSection:
    """The snapshot in a folder (or in one file of it). Raises: SourceError where there is none."""
    files = [place] if place.is_file() else sorted(place.glob(f"*{SUFFIX}"))
    if not files:
        raise SourceError(
            f"{place} holds no rows of a published run (files that end in {SUFFIX}).",
            "Give the folder `run/rows` of a dataset that was published with its store.",
        )
    wanted = [frozenset(names) if names else None for names in (section.subsets, section.splits)]
    return PublishedSection(tuple(files), wanted[0], wanted[1], section.limit)


@dataclass(frozen=True, slots=True)
class PublishedSection:
    """A snapshot; `subsets` and `splits`: those that are read, None for all."""

    files: tuple[Path, ...]
    subsets: frozenset[str] | None
    splits: frozenset[str] | None
    limit: int | None

    def parts(self) -> Iterator[Part]:
        """One part for each run of records of one source, subset, split and shape.

        Raises: SourceError for a line that is not as it was published, and at the end for a subset
        or split that never came.
        """
        seen: tuple[set[str], set[str]] = (set(), set())
        for key, records in groupby(self._records(), key=lambda item: item[0]):
            seen[0].add(key.subset)
            seen[1].add(key.split)
            if self.subsets is not None and key.subset not in self.subsets:
                continue
            if self.splits is not None and key.split not in self.splits:
                continue
            yield PublishedPart(key, self.files[0].parent, (record for _, record in records))
        for what, wanted, there in zip(("subset", "split"), (self.subsets, self.splits), seen, strict=True):
            for name in sorted((wanted or frozenset()) - there):
                raise SourceError(
                    f"{self.files[0].parent} has no {what} {name!r}{likeliest(name, sorted(there))}; "
                    f"there: {', '.join(sorted(there))}.",
                    f"Mend the recipe's `{what}s`.",
                )

    def _records(self) -> Iterator[tuple[_Key, Record]]:
        position = 0
        for path in self.files:
            for number, data in _lines(path):
                key, record, rows = _read_line(path, number, data, position)
                position += rows
                yield key, record

    def fingerprint(self) -> list[Any]:
        """Path, size in bytes and modification time in ns of each file, and what is read of them."""
        chosen = [sorted(names) if names is not None else None for names in (self.subsets, self.splits)]
        return [*(file_stamp(path) for path in self.files), chosen]


@dataclass(frozen=True, slots=True)
class PublishedPart:
    """Records of one source, subset, split and shape, one after the other."""

    key: _Key
    folder: Path
    found: Iterator[Record] = field(repr=False)

    @property
    def source(self) -> str:
        """The original's display name."""
        return self.key.source

    @property
    def subset(self) -> str:
        """The subset."""
        return self.key.subset

    @property
    def split(self) -> str:
        """The split."""
        return self.key.split

    @property
    def shape(self) -> Shape:
        """The kind of columns."""
        return _SHAPES[self.key.shape]

    @property
    def place(self) -> str:
        """The snapshot and the original's name."""
        return f"{self.folder} ({self.key.source})"

    def records(self) -> Iterator[Record]:
        """The records, once: they come from one stream over all parts. Raises: SourceError."""
        return self.found


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file by number. Raises: SourceError where it is damaged, after all before that."""
    blocks = read_blocks(path)
    last = 0
    try:
        for number, data in numbered_lines(path, next(blocks, b""), blocks):
            last = number
            yield number, data
    except DamagedError as damage:
        raise SourceError(
            f"{path} is damaged after line {last}: {damage}.", "Fetch the published dataset again."
        ) from damage


def _read_line(path: Path, number: int, data: bytes, position: int) -> tuple[_Key, Record, int]:
    """A line's record, held to its position and its rows' ids."""
    try:
        line = orjson.loads(data)
        key = _Key(*(str(line[name]) for name in ("source", "subset", "split", "shape")))
        value, original = line["value"], line.get("original")
        turns, ids = tuple(line["turns"]), line["ids"]
        text = original.encode() if original is not None else None
        body = canonical(value if value is not None else original)
        state = RowHash(key.subset, key.split).of(body)
        made = [row_id(state, line["occurrence"], turn) for turn in turns]
        record = Record(int(line["line"]), value, body, text, turns)
        came, known = line["position"], _makes(key.shape, value, turns)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _not_as_published(path, number, "it is no line of such a file") from error
    if not known:
        raise _not_as_published(path, number, f"the shape {key.shape!r} makes no such rows of it")
    if made != ids or not ids:
        raise _not_as_published(path, number, f"its row's id is {ids}, and what it holds gives {made}")
    if came != position:
        raise _not_as_published(path, number, f"it is for row {came}, where row {position} should stand")
    return key, record, len(ids)


def _makes(shape: str, value: Any, turns: tuple[int, ...]) -> bool:
    """Whether a shape makes rows of these turns out of a value."""
    if value is None:
        return shape in _SHAPES and turns == (0,)
    return shape in _SHAPES and isinstance(value, dict) and set(turns) <= set(_SHAPES[shape].turns(value))


def _not_as_published(path: Path, number: int, why: str) -> SourceError:
    return SourceError(
        f"{path}, line {number} is not as it was published: {why}.", "Fetch the published dataset again."
    )
