"""All rows of a recipe's sources, in order, in constant memory.

A row's id needs its JSON and the number of equal rows before it, but not its transcripts. So ids
come first, and whoever reads says by id which rows to skip; only the others are parsed.

What this module does not know: file formats, columns, what rows are for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from cai.conversation import Irregularity
from cai.digest import digest
from cai.errors import SourceError
from cai.recipe import SourceSection
from cai.source.identity import Occurrences, RowHash, row_id, seen_key
from cai.source.parts import Part, Section, read_part
from cai.source.places import open_section
from cai.source.rows import Content, Excluded, Record, Row, SourceItem

BATCH_RECORDS = 1024
BATCH_BYTES = 1 << 20
"""How far reading is ahead of what is given, at most (and one line more)."""

Choice = Callable[[str], bool]


class _Pending(NamedTuple):
    """A record with the turns that become rows, and its digest up to the occurrence."""

    part: Part
    record: Record
    turns: Sequence[int]
    state: blake2b


class _Found(NamedTuple):
    """A row that is known by its id and not parsed yet."""

    id: str
    part: Part
    record: Record
    turn: int
    position: int


class Numbered(NamedTuple):
    """A record with all that the ids of its rows are made of; `position`: the first row's.

    `occurrence`: how many equal records came before it; `ids` and `turns` side by side.
    """

    part: Part
    record: Record
    turns: tuple[int, ...]
    occurrence: int
    ids: tuple[str, ...]
    position: int

    def item(self, place: int) -> SourceItem:
        """One of its rows, parsed; or the line, where it is none."""
        return _read(
            _Found(self.ids[place], self.part, self.record, self.turns[place], self.position + place)
        )


class Source:
    """The rows of several sections. `sections`: as the recipe says; each reading starts afresh.

    Raises, here and while reading: SourceError.
    """

    def __init__(self, sections: Sequence[SourceSection], beside: Path | None) -> None:
        self.sections = tuple(sections)
        self._opened = [open_section(section, beside) for section in sections]

    def items(self, skip: Choice | None = None, only: Choice | None = None) -> Iterator[SourceItem]:
        """Rows and excluded lines in source order.

        `only` and then `skip` are asked with each row's id, before its transcripts are parsed.
        """
        for found in self._found():
            if only is not None and not only(found.id):
                continue
            if skip is not None and skip(found.id):
                continue
            yield _read(found)

    def ids(self) -> Iterator[tuple[str, str]]:
        """Id and subset of every item, excluded lines among them, in source order."""
        for found in self._found():
            yield found.id, found.part.subset

    def fingerprint(self) -> str:
        """A digest that changes when a file (path, size, time) or a repository's name or revision does."""
        return digest("cai.source-files.v1", [opened.fingerprint() for opened in self._opened])

    def records(self) -> Iterator[Numbered]:
        """The records that the rows are made of, in source order, not parsed."""
        position = 0
        for (part, record, turns, state), number in self._numbered():
            ids = tuple(row_id(state, number, turn) for turn in turns)
            yield Numbered(part, record, tuple(turns), number, ids, position)
            position += len(turns)

    def _found(self) -> Iterator[_Found]:
        position = 0
        for (part, record, turns, state), number in self._numbered():
            for turn in turns:
                yield _Found(row_id(state, number, turn), part, record, turn, position)
                position += 1

    def _numbered(self) -> Iterator[tuple[_Pending, int]]:
        """Each record with how many equal ones came before it."""
        with closing(Occurrences()) as seen:
            for batch in _batches(self._records()):
                numbers = seen.number([seen_key(pending.state) for pending in batch])
                yield from zip(batch, numbers, strict=True)

    def _records(self) -> Iterator[_Pending]:
        for opened in self._opened:
            yield from _section_records(opened)


def _section_records(section: Section) -> Iterator[_Pending]:
    """The records of a section, up to its limit of rows."""
    left = section.limit
    for part in section.parts():
        hashes = RowHash(part.subset, part.split)
        for record in read_part(part):
            turns = _turns(part, record)
            if left is not None:
                turns = turns[:left]
                left -= len(turns)
            yield _Pending(part, record, turns, hashes.of(record.body))
            if left == 0:
                return


def _turns(part: Part, record: Record) -> Sequence[int]:
    if record.turns is not None:
        return record.turns
    return (0,) if record.value is None else part.shape.turns(record.value)


def _batches(records: Iterator[_Pending]) -> Iterator[list[_Pending]]:
    """Lists of records, bounded in number and bytes; those before an error come before it."""
    batch: list[_Pending] = []
    size = 0
    error: SourceError | None = None
    try:
        for pending in records:
            batch.append(pending)
            size += len(pending.record.body)
            if len(batch) >= BATCH_RECORDS or size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
    except SourceError as failure:
        error = failure
    if batch:
        yield batch
    if error is not None:
        raise error


def _read(found: _Found) -> SourceItem:
    part, record = found.part, found.record
    content: Content | Irregularity
    if record.value is None:
        content = Irregularity.UNREADABLE
    else:
        content = part.shape.read(record.value, found.turn)
    place = (found.id, part.source, part.subset, part.split, record.line, found.position)
    if isinstance(content, Irregularity):
        return Excluded(*place, content.value, record.text())
    return Row(*place, content.prompt, content.responses, content.flags, content.fields)
