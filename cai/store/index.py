"""The index: where each digest's record lies, sorted on disk and mapped into memory.

Recent entries live in a dictionary; past `RECENT` of them they become a sorted *table* on disk,
and tables of similar size are merged, so that few remain (about one for each fourfold growth).
A lookup is a dictionary access and a binary search in each table. A table costs 32 bytes an
entry on disk and nothing in Python's memory.

A table file holds n digests' first 8 bytes (big-endian order, stored as native 64-bit
integers, ascending), then n entries of `_REST`. `covered.json` names the tables with their
CRC-32, and says up to which byte each segment is indexed; what lies after it is scanned when the
store opens. Where a checksum disagrees, all is scanned: the index is derived.

What this module does not know: what a record holds.
"""

from __future__ import annotations

import mmap
import os
import sys
from bisect import bisect_left
from collections.abc import Iterable
from pathlib import Path
from struct import Struct
from tempfile import TemporaryDirectory
from typing import Any
from zlib import crc32

import numpy as np
import orjson

RECENT = 50_000
MERGED_MAX = 2_000_000
OPENINGS = 5
"""So often a reader begins anew when the writer has replaced tables that it was about to open."""

_REST = np.dtype([("low", "<u8"), ("segment", "<u4"), ("length", "<u4"), ("offset", "<u8")])
_ENTRY = Struct("<QIIQ")

Place = tuple[int, int, int]
"""Segment number, byte offset, length in bytes."""


def _bytes(mapped: Any) -> memoryview:
    return memoryview(mapped.view(np.uint8))


class _Table:
    """One sorted table, mapped."""

    def __init__(self, path: Path, crc: int) -> None:
        self.path = path
        self.crc = crc
        size = path.stat().st_size
        self.count = size // (8 + _REST.itemsize)
        if size != self.count * (8 + _REST.itemsize) or self.count == 0:
            raise ValueError(f"{path} is not a whole table")
        self.high: Any = np.memmap(path, dtype="<u8", mode="r", shape=(self.count,))
        self.rest: Any = np.memmap(path, dtype=_REST, mode="r", offset=8 * self.count, shape=(self.count,))
        # The same bytes as plain buffers: one entry is read several times faster than through numpy.
        self._high: Any = self.high
        if sys.byteorder == "little":
            self._high = _bytes(self.high).cast("Q")
        self._rest = _bytes(self.rest)

    def let_go(self) -> None:
        """Have nothing of it in memory until it is used again."""
        for mapped in (self.high, self.rest):
            mapped._mmap.madvise(mmap.MADV_DONTNEED)

    def find(self, high: int, low: int) -> Place | None:
        keys = self._high
        at = bisect_left(keys, high)
        while at < self.count and keys[at] == high:
            found, segment, length, offset = _ENTRY.unpack_from(self._rest, at * _ENTRY.size)
            if found == low:
                return segment, offset, length
            at += 1
        return None


class Index:
    """Digest (16 bytes) to place, over any number of entries.

    `folder` is where tables are kept; `writable` whether they may be written: else new ones lie in files
    without a name, where temporary files lie.
    """

    def __init__(self, folder: Path, writable: bool) -> None:
        self._folder = folder
        self._writable = writable
        self._recent: dict[bytes, Place] = {}
        self._tables: list[_Table] = []
        self.covered: dict[int, int] = {}
        self._load()

    def __len__(self) -> int:
        """The number of entries; a digest recorded twice may count twice."""
        return len(self._recent) + sum(table.count for table in self._tables)

    def _load(self) -> None:
        for _ in range(OPENINGS):
            try:
                saved = orjson.loads((self._folder / "covered.json").read_bytes())
                state = saved["state"]
                if saved["crc"] != crc32(orjson.dumps(state)):
                    raise ValueError("the index's state is damaged")
                self._tables = [self._open(name, crc) for name, crc in state["tables"]]
                self.covered = {int(number): int(end) for number, end in state["covered"].items()}
                return
            except FileNotFoundError:
                continue  # the writer has merged tables since: covered.json names others now
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                break
        self._tables, self.covered = [], {}  # derived: made again from the segments

    def _open(self, name: str, crc: int) -> _Table:
        found = 0
        with (self._folder / name).open("rb", buffering=0) as file:
            while block := file.read(1 << 22):
                found = crc32(block, found)
        if found != crc:
            raise ValueError(f"the table {name} is damaged")
        return _Table(self._folder / name, crc)

    def let_go(self) -> None:
        """Have no table in memory until it is used again; nothing is lost but time."""
        for table in self._tables:
            table.let_go()

    def forget(self) -> None:
        """Drop everything, so that the segments are scanned from their beginnings."""
        self._tables, self.covered = [], {}
        self._recent.clear()

    def find(self, key: bytes) -> Place | None:
        """Where a digest's record lies."""
        place = self._recent.get(key)
        if place is not None:
            return place
        high, low = int.from_bytes(key[:8], "big"), int.from_bytes(key[8:], "big")
        for table in reversed(self._tables):
            place = table.find(high, low)
            if place is not None:
                return place
        return None

    def add(self, key: bytes, place: Place) -> None:
        """Enter a record."""
        self._recent[key] = place

    @property
    def full(self) -> bool:
        """Whether recent entries should become a table."""
        return len(self._recent) >= RECENT

    def save(self, ends: dict[int, int]) -> None:
        """Write recent entries as a table; `ends` says up to where each segment is now indexed."""
        if not self._recent:
            return
        if self._writable:
            self._folder.mkdir(parents=True, exist_ok=True)
        keys = np.frombuffer(b"".join(self._recent), dtype=">u8").reshape(-1, 2)
        places = np.array(list(self._recent.values()), dtype=np.uint64)
        rest = np.empty(len(places), dtype=_REST)
        rest["low"], rest["segment"] = keys[:, 1], places[:, 0]
        rest["offset"], rest["length"] = places[:, 1], places[:, 2]
        high = keys[:, 0].astype("<u8")
        order = np.argsort(high, kind="stable")
        self._tables.append(self._write(high[order], rest[order]))
        self._recent.clear()
        self.covered = dict(ends)
        dropped = self._merge()
        if not self._writable:
            return
        self._save_state()
        for table in dropped:
            table.path.unlink(missing_ok=True)

    def _numbers(self) -> Iterable[int]:
        return (int(path.stem.split("-")[1]) for path in self._folder.glob("table-*.bin"))

    def _merge(self) -> list[_Table]:
        """Merge the last two tables while they are of similar size; returns the tables replaced."""
        dropped: list[_Table] = []
        while len(self._tables) >= 2:
            a, b = self._tables[-2:]
            if a.count > 4 * b.count or a.count + b.count > MERGED_MAX:
                break
            high = np.concatenate([b.high, a.high])  # the later record of a digest comes first
            order = np.argsort(high, kind="stable")
            rest = np.concatenate([b.rest, a.rest])[order]
            self._tables[-2:] = [self._write(high[order], rest)]
            dropped += [a, b]
        return dropped

    def _write(self, high: Any, rest: Any) -> _Table:
        if self._writable:
            number = max(self._numbers(), default=0) + 1
            return self._written(self._folder / f"table-{number:06d}.bin", high, rest)
        with TemporaryDirectory(prefix="cai-index-") as folder:  # what is mapped needs no name
            return self._written(Path(folder) / "table.bin", high, rest)

    def _written(self, path: Path, high: Any, rest: Any) -> _Table:
        draft = path.with_suffix(".draft")
        parts = (high.tobytes(), rest.tobytes())
        with draft.open("wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        return _Table(path, crc32(parts[1], crc32(parts[0])))

    def _save_state(self) -> None:
        draft = self._folder / "covered.draft"
        state = {
            "tables": [[table.path.name, table.crc] for table in self._tables],
            "covered": {str(number): end for number, end in self.covered.items()},
        }
        draft.write_bytes(orjson.dumps({"state": state, "crc": crc32(orjson.dumps(state))}))
        draft.replace(self._folder / "covered.json")
