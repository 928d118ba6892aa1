"""What a source gives: rows, and lines that cannot be rows.

A `Record` is one line of a file or one row of a dataset before anyone has looked at its columns.
A `Shape` knows one kind of columns: it makes the `Content` of a row out of a record's value, or
names the irregularity that keeps it from being a row.

What this module does not know: where records come from, how ids are made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from cai.conversation import Irregularity, Turn


@dataclass(frozen=True, slots=True)
class Row:
    """One row: a prompt and the responses to it that the source holds.

    `source`: the file's or repository's display name; `line`: its line there, from 1 (of an array
    or dataset: the number of the entry); `position`: its number over all sources, from 0.
    `responses`: `chosen` and `rejected`, or `response`, or nothing (a red-team prompt that was not
    answered). `flags`: values of `Irregularity`. `fields`: all other columns, as they were.
    """

    id: str
    source: str
    subset: str
    split: str
    line: int
    position: int
    prompt: tuple[Turn, ...]
    responses: dict[str, Turn]
    flags: tuple[str, ...] = ()
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Excluded:
    """A line that is no row. `reason`: a value of `Irregularity`; `original`: the line as text.

    Bytes that are not UTF-8 are written as `\\xff` in `original`. The rest as in `Row`.
    """

    id: str
    source: str
    subset: str
    split: str
    line: int
    position: int
    reason: str
    original: str


SourceItem = Row | Excluded


class Record(NamedTuple):
    """One line: its number (from 1), its JSON object, the object's canonical form, and its own bytes.

    `value` is None where the line is no readable JSON object; `body` is then the canonical form of
    the line as text. `original` is None where there is no line (a dataset's row). `turns`: which
    rows it makes, where that was settled before; else the shape says.
    """

    line: int
    value: dict[str, Any] | None
    body: bytes
    original: bytes | None
    turns: tuple[int, ...] | None = None

    def text(self) -> str:
        """The line as text."""
        return (self.body if self.original is None else self.original).decode("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True)
class Content:
    """The part of a row that a shape makes; the fields are those of `Row`."""

    prompt: tuple[Turn, ...]
    responses: dict[str, Turn]
    flags: tuple[str, ...]
    fields: dict[str, Any]


class Shape(Protocol):
    """One kind of columns."""

    @property
    def wanted(self) -> str:
        """The columns that are needed, as the end of the sentence "a row needs ..."."""

    def fits(self, value: dict[str, Any]) -> bool:
        """Whether the needed columns are there with usable types, judged without parsing transcripts."""

    def turns(self, value: dict[str, Any]) -> Sequence[int]:
        """Which rows a record makes: turn numbers from 1, or 0 where a record is one row."""

    def read(self, value: dict[str, Any], turn: int) -> Content | Irregularity:
        """Make one row's content; parses transcripts."""
