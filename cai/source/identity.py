"""Row ids, and how often an equal row came before.

A row's id is the digest `cai.row.v1` of [subset, split, the record's value, occurrence], with the
turn's number after it where one record makes several rows. `occurrence` is 0 for the first of
equal rows, 1 for the second, and so on over all sources of a run; so an inserted line changes the
ids of the rows equal to it and of no others.

Occurrences are counted in a temporary database on disk, by the first 64 bits of the digest of all
but the occurrence: memory stays constant. (Two different rows of equal 64 bits would be counted
as equal: their ids still differ.)

What this module does not know: files, columns.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from hashlib import blake2b

from cai.digest import DIGEST_BYTES, canonical

ROW_TAG = "cai.row.v1"
CACHE_KIB = 16 * 1024


class RowHash:
    """The digest of a row up to its occurrence, of a given subset and split."""

    def __init__(self, subset: str, split: str) -> None:
        self._base = blake2b(ROW_TAG.encode(), digest_size=DIGEST_BYTES)
        self._base.update(b"\0[" + canonical(subset) + b"," + canonical(split) + b",")

    def of(self, body: bytes) -> blake2b:
        """The unfinished digest of a row; `body`: the canonical form of its value."""
        state = self._base.copy()
        state.update(body)
        return state


def seen_key(state: blake2b) -> int:
    """The signed 64 bits by which equal rows are counted."""
    return int.from_bytes(state.digest()[:8], "big", signed=True)


def row_id(state: blake2b, occurrence: int, turn: int = 0) -> str:
    """The row's id; equal to `digest(ROW_TAG, [subset, split, value, occurrence])`, the turn after it."""
    state = state.copy()
    state.update(b",%d,%d]" % (occurrence, turn) if turn else b",%d]" % occurrence)
    return state.hexdigest()


class Occurrences:
    """Counts equal keys in constant memory; close it when done."""

    def __init__(self) -> None:
        self._batch = 0
        self._data = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{CACHE_KIB}"):
            self._data.execute(f"PRAGMA {pragma}")
        self._data.execute("CREATE TABLE seen (key INTEGER PRIMARY KEY, number INTEGER, batch INTEGER)")
        self._data.execute("BEGIN")

    def number(self, keys: Sequence[int]) -> Sequence[int]:
        """For each key, how often it came before, in earlier calls and earlier in this one."""
        self._batch += 1
        before = self._data.total_changes
        fresh = ((key, self._batch) for key in sorted(keys))
        self._data.executemany("INSERT OR IGNORE INTO seen VALUES (?, 0, ?)", fresh)
        if self._data.total_changes - before == len(keys):
            return bytes(len(keys))  # the usual case: all are new, so all numbers are 0
        return [self._count(key) for key in keys]

    def _count(self, key: int) -> int:
        # A key that this batch has just entered stands at 0 once; from then on each visit adds one.
        found = self._data.execute(
            "UPDATE seen SET number = number + (batch <> ?), batch = 0 WHERE key = ? RETURNING number",
            (self._batch, key),
        ).fetchall()
        return int(found[0][0])

    def close(self) -> None:
        """Give the temporary database back."""
        self._data.close()
