"""Columns of many values: in memory while they are few, in nameless files mapped into it when many.

A comparison of a million rows needs a few hundred bytes of each, more than it may hold in memory of
its own. What is mapped from a file the system takes back whenever it needs the room, and reads
again; the files have no names and are gone with the process, however it ends. Each file stays open
as long as its column is there: beyond what the system lets a process open, columns stay in memory.

What this module does not know: what a column means.
"""

from __future__ import annotations

import mmap
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

HELD_BYTES = 1 << 18
"""A column that grows beyond this goes to a file, piece by piece."""
MOST_FILES = 4096
"""So many columns may be in files, where the system allows twice as many files."""
BLOCK = 1 << 18
"""So many rows are worked on at a time where a table may be long."""


@dataclass(frozen=True)
class Table:
    """Columns of equal length by name, numbered rows; or some of these rows, `at`, in that order.

    A choice of rows copies nothing until a column is asked for, and then that column alone: ask once
    where it is used often.
    """

    columns: dict[str, NDArray[Any]]
    at: NDArray[np.integer[Any]] | None = None

    def __getitem__(self, name: str) -> NDArray[Any]:
        column = self.columns[name]
        return column if self.at is None else column[self.at]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())) if self.at is None else self.at)

    def where(self, chosen: NDArray[Any]) -> Table:
        """The rows that a mask, or an array of row numbers, chooses."""
        if chosen.dtype == bool:
            if chosen.all():
                return self
            chosen = np.flatnonzero(chosen)
        if self.at is not None:
            return Table(self.columns, self.at[chosen])
        return Table(self.columns, chosen.astype(np.int32) if len(self) < 2**31 else chosen)

    def between(self, start: int, end: int) -> Table:
        """The rows from number `start` to before `end`, shared."""
        if self.at is not None:
            return Table(self.columns, self.at[start:end])
        return Table({name: column[start:end] for name, column in self.columns.items()})

    def slices(self, size: int = BLOCK) -> Iterator[Table]:
        """The rows in their order, `size` at a time."""
        return (self.between(start, start + size) for start in range(0, len(self), size))


class Growing:
    """A column that values are added to, and that is then had whole, not to be written to."""

    def __init__(self, kind: str, scratch: Scratch) -> None:
        self._kind = np.dtype(kind)
        self._scratch = scratch
        self._parts: list[NDArray[Any]] = []
        self._held = 0
        self._file: IO[bytes] | None = None
        self.length = 0

    def add(self, values: NDArray[Any]) -> None:
        """Add values behind the others, as the column's type. Raises: OSError."""
        part = values.astype(self._kind, copy=False)
        self._parts.append(part)
        self._held += part.nbytes
        self.length += len(part)
        if self._held > HELD_BYTES:
            self._file = self._file or self._scratch.file()
            if self._file is not None:
                with self._scratch.named():
                    self._to_file(self._file)

    def _to_file(self, file: IO[bytes]) -> None:
        for part in self._parts:
            file.write(np.ascontiguousarray(part).data)
        self._parts.clear()
        self._held = 0

    def whole(self) -> NDArray[Any]:
        """All values; nothing can be added any more. Raises: OSError."""
        if self._file is None:
            return np.concatenate([np.empty(0, self._kind), *self._parts])
        with self._scratch.named(), self._file as file:
            self._to_file(file)
            file.flush()
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._scratch.mapped.append(mapped)
        return np.frombuffer(mapped, self._kind)


class Scratch:
    """Makes columns that grow, and puts their files into a folder, or where temporary files lie."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder if os.access(folder, os.W_OK) else Path(gettempdir())
        self._files_left = _files_allowed()
        self.mapped: list[mmap.mmap] = []

    def file(self) -> IO[bytes] | None:
        """An open file without a name; None where the system would soon refuse another. Raises: OSError."""
        if self._files_left <= 0:
            return None
        self._files_left -= 1
        with self.named():
            return self._opened()

    def _opened(self) -> IO[bytes]:
        return TemporaryFile(dir=self._folder)

    @contextmanager
    def named(self) -> Iterator[None]:
        """Where a file cannot be used (a full disk), the error names the folder, as the file has no name."""
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._folder)) from error

    def growing(self, kind: str) -> Growing:
        """An empty column of this type (NumPy's name)."""
        return Growing(kind, self)

    def let_go(self) -> None:
        """Have no mapped column in memory until it is used again."""
        for mapped in self.mapped:
            mapped.madvise(mmap.MADV_DONTNEED)

    def table(self, kinds: dict[str, str]) -> GrowingTable:
        """An empty table with columns of these types."""
        return GrowingTable({name: self.growing(kind) for name, kind in kinds.items()})

    def taken(self, values: NDArray[Any], at: NDArray[Any], kind: str) -> NDArray[Any]:
        """`values[at]`, piece by piece."""
        made = self.growing(kind)
        for start in range(0, len(at), BLOCK):
            made.add(values[at[start : start + BLOCK]])
        return made.whole()


def _files_allowed() -> int:
    """How many files may be for columns: half of what this process may have open, which is made more first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, 2 * MOST_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted // 2
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted // 2
    return soft // 2


@dataclass(frozen=True)
class GrowingTable:
    """Columns that grow together."""

    columns: dict[str, Growing]

    def add(self, part: dict[str, NDArray[Any]], chosen: NDArray[np.bool_] | None = None) -> None:
        """Add the rows, or those that a mask chooses, of a table with these columns (others are not looked at)."""
        for name, column in self.columns.items():
            column.add(part[name] if chosen is None else part[name][chosen])

    def __len__(self) -> int:
        return next(iter(self.columns.values())).length

    def whole(self) -> dict[str, NDArray[Any]]:
        """The columns, which can no longer be added to."""
        return {name: column.whole() for name, column in self.columns.items()}
