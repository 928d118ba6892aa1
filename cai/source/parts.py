"""The parts of a source: one file, or one split of a dataset, with the subset and split of its rows.

`read_part` gives a part's records and holds the first of them to its shape: a file whose first
row lacks the columns is the wrong file, a later row that does is a bad line.

What this module does not know: how parts are found, how rows get their ids.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from cai.errors import SourceError
from cai.source.lines import read_records
from cai.source.rows import Record, Shape


class Part(Protocol):
    """One file or one split of a dataset. `source`: its display name."""

    @property
    def source(self) -> str:
        """The display name."""

    @property
    def subset(self) -> str:
        """The subset of all its rows."""

    @property
    def split(self) -> str:
        """The split of all its rows."""

    @property
    def shape(self) -> Shape:
        """The kind of columns."""

    @property
    def place(self) -> str:
        """What messages call it: a path, or a repository and split."""

    def records(self) -> Iterator[Record]:
        """All its records in order. Raises: SourceError."""


class Section(Protocol):
    """One source section of a recipe, opened. `limit`: rows taken at most, None for all."""

    @property
    def limit(self) -> int | None:
        """The most rows to take."""

    def parts(self) -> Iterator[Part]:
        """Its parts in order. Raises: SourceError."""

    def fingerprint(self) -> list[Any]:
        """What changes when the section's files do, as a JSON value."""


@dataclass(frozen=True, slots=True)
class FilePart:
    """A file of JSON lines or one JSON array."""

    path: Path
    source: str
    subset: str
    split: str
    shape: Shape

    @property
    def place(self) -> str:
        """The path."""
        return str(self.path)

    def records(self) -> Iterator[Record]:
        """All records of the file. Raises: SourceError."""
        return read_records(self.path)


@dataclass(frozen=True, slots=True)
class FileSection:
    """Files, in the order in which they are read."""

    files: tuple[FilePart, ...]
    limit: int | None

    def parts(self) -> Iterator[Part]:
        """The files."""
        return iter(self.files)

    def fingerprint(self) -> list[Any]:
        """Path, subset, split, size in bytes and modification time in ns of each file."""
        return [[*file_stamp(file.path), file.subset, file.split] for file in self.files]


def file_stamp(path: Path) -> list[Any]:
    """Path, size in bytes and modification time in ns. Raises: SourceError where the file is gone."""
    try:
        about = path.stat()
    except OSError as failure:
        raise SourceError(
            f"{path} cannot be read: {failure.strerror}.", "Check the source's path."
        ) from failure
    return [path.as_posix(), about.st_size, about.st_mtime_ns]


def read_part(part: Part) -> Iterator[Record]:
    """All records of a part.

    Raises: SourceError where it has no record, or the first lacks what the shape needs.
    """
    records = part.records()
    first = next(records, None)
    if first is None:
        raise SourceError(f"{part.place} holds no rows.", "Check that it is the right file.")
    if first.value is None:
        raise SourceError(
            f"{part.place}, line {first.line} is not a JSON object.",
            "A source is JSON lines (one object a line, UTF-8) or one JSON array of objects.",
        )
    if not part.shape.fits(first.value):
        columns = f"the columns {', '.join(first.value)}" if first.value else "no columns"
        raise SourceError(
            f"{part.place}, line {first.line} has {columns}; a row needs {part.shape.wanted}.",
            "Rename the columns, or choose another kind of source.",
        )
    yield first
    yield from records
