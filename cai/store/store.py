"""The store itself: get, put, group commit, and the lock of its one writer.

What this module does not know: requests, rows, engines; how a line is sealed (log.py) or found
(index.py).
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import orjson

from cai.errors import RunLockedError, StoreError
from cai.store.index import Index, Place
from cai.store.log import (
    SEGMENT_BYTES,
    TAIL_BYTES,
    Damage,
    check_line,
    pieces,
    scan,
    seal,
    segment_numbers,
    segment_path,
)

_log = logging.getLogger("cai")

COMMIT_S = 0.1
"""How long records are gathered before they are written and fsynced, in seconds."""

_GONE_ON = "Make room or mend the disk, then run the same command again; what was recorded is kept."


@dataclass(frozen=True, slots=True)
class Record:
    """One line of the store: an answer, under its digest, with labels for accounting."""

    digest: str
    answer: dict[str, Any]
    labels: dict[str, Any]


class Store:
    """A run's answers on disk. Open it with `writable=True` to add; one process at a time may.

    All but the writing itself happens in one thread, the event loop's. `index`: where a reader keeps
    an index of its own, of a store whose folder is not to be touched; else it is in the folder, and
    a reader has an index of what the writer has not indexed, for as long as it reads.
    Raises: RunLockedError when another process writes to it; StoreError when it cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        writable: bool = False,
        segment_bytes: int = SEGMENT_BYTES,
        index: Path | None = None,
    ) -> None:
        self.folder = folder
        self.derived = index or folder / "index"
        """Where lies what is made of the segments, and may be deleted."""
        self.damage: list[Damage] = []
        self._writable = writable
        self._segment_bytes = segment_bytes
        self._lock: int | None = None
        self._readers: dict[int, int] = {}
        self._buffer: list[bytes] = []
        self._unwritten: dict[bytes, bytes] = {}
        self._failure: StoreError | None = None
        self._committer: asyncio.Task[None] | None = None
        self._pending = asyncio.Event()
        self._put_count = 0
        self._synced_count = 0
        self._sync_waiters: list[tuple[int, asyncio.Future[None]]] = []
        if writable:
            self._open_folder()
        self._file: int | None = None
        self._index_works = True
        try:
            self._index = Index(self.derived, writable or index is not None)
            self._ends = self._catch_up()
            self._segment = max(self._ends, default=1)
            self._end = self._ends.get(self._segment, 0)
            if writable:
                self._file = self._open_segment()
        except BaseException:  # a Ctrl-C too: the lock is let go of
            self._unlock()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        """The number of records (one recorded twice may count twice)."""
        return len(self._index)

    # ------------------------------------------------------------------ opening

    def _open_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise StoreError(f"{self.folder} cannot be written: {error.strerror}.", _GONE_ON) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(self._lock, 1000).decode("utf-8", "replace").strip() or "an unnamed process"
            os.close(self._lock)
            self._lock = None
            raise RunLockedError(
                f"{self.folder.parent} is being written to by {holder}.",
                "Wait until it has ended, or end it; `cai status` reads a run at any time.",
            ) from error
        os.ftruncate(self._lock, 0)
        name = (
            f"process {os.getpid()} on {socket.gethostname()} since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
        )
        os.pwrite(self._lock, name.encode(), 0)

    def _catch_up(self) -> dict[int, int]:
        """Index what the tables do not cover; returns each segment's end in whole lines."""
        ends: dict[int, int] = {}
        numbers = segment_numbers(self.folder)
        if any(number not in numbers for number in self._index.covered):
            raise StoreError(
                f"{self.folder} lacks a segment that its index knows of.",
                "Put the segment file back; if it is lost for good, delete the folder `index` inside the store.",
            )
        sizes = {number: segment_path(self.folder, number).stat().st_size for number in numbers}
        if any(sizes[number] < covered for number, covered in self._index.covered.items()):
            self._index.forget()  # a segment was cut: what the index says of it is not to be trusted
        for number in numbers:
            path = segment_path(self.folder, number)
            for found in scan(path, number, self._index.covered.get(number, 0)):
                if isinstance(found, int):
                    ends[number] = found
                elif isinstance(found, Damage):
                    self.damage.append(found)
                else:
                    key, offset, length = found
                    self._index.add(key, (number, offset, length))
            if self._index.full:
                self._save_index({**self._index.covered, **ends})
        return ends

    def _save_index(self, ends: dict[int, int]) -> None:
        """Save the index; it is derived, so a failure costs time at the next opening and no more."""
        if not self._index_works:
            return
        try:
            self._index.save(ends)
        except OSError as error:
            self._index_works = False
            _log.warning(
                "the index of %s cannot be saved (%s); opening it will take longer",
                self.folder,
                error.strerror,
            )

    def _open_segment(self) -> int:
        path = segment_path(self.folder, self._segment)
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            if os.fstat(file).st_size > self._end:
                os.ftruncate(file, self._end)  # a torn last line
            os.lseek(file, self._end, os.SEEK_SET)
            if self._end and os.pread(file, 1, self._end - 1) != b"\n":
                self._end += os.write(file, b"\n")  # damaged; what is added must not join that line
            folder = os.open(self.folder, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        except OSError as error:
            raise StoreError(f"{path} cannot be written: {error.strerror}.", _GONE_ON) from error
        self._ends[self._segment] = self._end
        return file

    # ------------------------------------------------------------------ reading

    def get(self, digest: str) -> Record | None:
        """The record of a digest, or None. A record that is damaged counts as absent."""
        line = self._line(bytes.fromhex(digest))
        if line is None:
            return None
        content = orjson.loads(line)
        return Record(content["digest"], content["answer"], content["labels"])

    def __contains__(self, digest: str) -> bool:
        """Whether `get` would find it; the record is read and its checksum held."""
        return self._line(bytes.fromhex(digest)) is not None

    def _line(self, key: bytes) -> bytes | None:
        """A digest's sound line; damage is noted and counts as absent."""
        line = self._unwritten.get(key)
        if line is not None:
            return line
        place = self._index.find(key)
        if place is None:
            return None
        line = self._read(place)
        if line.endswith(b"\n") and check_line(line[:-1]) == key:
            return line
        self.notice(Damage(*place))
        return None

    def notice(self, damage: Damage) -> None:
        """Remember damage, once, wherever it was met."""
        if damage not in self.damage:
            self.damage.append(damage)

    def _read(self, place: Place) -> bytes:
        number, offset, length = place
        reader = self._readers.get(number)
        try:
            if reader is None:
                reader = self._readers[number] = os.open(segment_path(self.folder, number), os.O_RDONLY)
            return os.pread(reader, length, offset)
        except OSError as error:
            raise StoreError(
                f"The store {self.folder} cannot be read: {error.strerror}.", _GONE_ON
            ) from error

    @property
    def ends(self) -> dict[int, int]:
        """Up to which byte each segment consists of whole lines that are known."""
        return dict(self._ends)

    def tail(self, number: int, end: int) -> str:
        """The last bytes of a segment before a place, its last line's checksum; empty where it does not reach there."""
        try:
            with segment_path(self.folder, number).open("rb") as file:
                file.seek(max(0, end - TAIL_BYTES))
                found = file.read(min(end, TAIL_BYTES))
        except OSError:
            return ""
        return found.hex() if len(found) == min(end, TAIL_BYTES) else ""

    def records(self, after: Mapping[int, int] | None = None) -> Iterator[Record]:
        """All sound records, in the order in which they were written, without the index.

        Those that were on disk when the walk began; damage among them is noticed. `after`: the place in
        each segment from which on.
        """
        for number, end in sorted(self.ends.items()):
            with segment_path(self.folder, number).open("rb") as file:
                at = (after or {}).get(number, 0)
                file.seek(at)
                for line in file:
                    start, at = at, at + len(line)
                    if at > end or not line.endswith(b"\n"):
                        break
                    for key, begin, length in pieces(line):
                        if key is None:
                            self.notice(Damage(number, start + begin, length))
                            continue
                        content = orjson.loads(line[begin:])
                        yield Record(content["digest"], content["answer"], content["labels"])

    def let_go(self) -> None:
        """Give back the memory that the index has taken, by someone who asks nothing for a while."""
        self._index.let_go()

    # ------------------------------------------------------------------ writing

    def put(self, digest: str, answer: dict[str, Any], labels: dict[str, Any]) -> None:
        """Add a record; it can be got at once and is on disk after the next commit.

        Raises: StoreError when an earlier commit failed.
        """
        if self._failure is not None:
            raise self._failure
        line = seal(orjson.dumps({"digest": digest, "answer": answer, "labels": labels}))
        self._buffer.append(line)
        self._unwritten[bytes.fromhex(digest)] = line
        self._put_count += 1
        if not self._pending.is_set():
            self._pending.set()

    def commit(self) -> None:
        """Write and fsync what has been put. Raises: StoreError (disk full, read-only, ...)."""
        lines, count = self._take()
        if lines:
            self._enter(lines, *self._append(b"".join(lines)))
        self._synced_count = count

    def _take(self) -> tuple[list[bytes], int]:
        lines, self._buffer = self._buffer, []
        return lines, self._put_count

    def _enter(self, lines: list[bytes], number: int, offset: int) -> None:
        """Index lines that are on disk."""
        for line in lines:
            key = bytes.fromhex(line[11:43].decode())
            self._index.add(key, (number, offset, len(line)))
            if self._unwritten.get(key) is line:
                del self._unwritten[key]
            offset += len(line)
        if self._index.full:
            self._save_index(self._ends)

    def _append(self, data: bytes) -> tuple[int, int]:
        if self._file is None:
            raise StoreError(f"The store {self.folder} is open for reading only.", "")
        if self._end >= self._segment_bytes:
            self._roll()
        start = self._end
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file, view) :]
            os.fsync(self._file)
        except OSError as error:
            self._failure = StoreError(
                f"The store {self.folder} cannot be written: {error.strerror}.", _GONE_ON
            )
            raise self._failure from error
        self._end = self._ends[self._segment] = start + len(data)
        return self._segment, start

    def _roll(self) -> None:
        """Begin a new segment; the old one is let go of only once the new one stands."""
        assert self._file is not None
        before = (self._file, self._segment, self._end)
        self._segment, self._end = self._segment + 1, 0
        try:
            self._file = self._open_segment()
        except StoreError as error:
            self._file, self._segment, self._end = before
            self._failure = error
            raise
        os.close(before[0])

    # ------------------------------------------------------------------ group commit

    def start(self) -> None:
        """Begin to commit in the background, on the running event loop."""
        self._committer = asyncio.get_running_loop().create_task(self._commit_for_ever())

    async def _commit_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._pending.wait()
            await asyncio.sleep(COMMIT_S)
            self._pending.clear()
            lines, count = self._take()
            try:
                writing = loop.run_in_executor(None, self._append, b"".join(lines))
                cancelled = await _waited_out(writing)
                self._enter(lines, *writing.result())
            except BaseException as error:  # else whoever waits would wait for ever
                if not isinstance(error, StoreError):
                    error = StoreError(f"The store {self.folder} cannot be written: {error}.", _GONE_ON)
                self._failure = self._failure or error
                self._wake(self._failure)
                return
            self._synced_count = count
            self._wake(None)
            if cancelled:
                raise asyncio.CancelledError

    def _wake(self, error: StoreError | None) -> None:
        waiters, self._sync_waiters = self._sync_waiters, []
        for count, future in waiters:
            if future.done():
                continue
            if error is not None:
                future.set_exception(error)
            elif count <= self._synced_count:
                future.set_result(None)
            else:
                self._sync_waiters.append((count, future))

    async def synced(self) -> None:
        """Wait until all that was put before this call is on disk. Raises: StoreError."""
        if self._failure is not None:
            raise self._failure
        if self._synced_count >= self._put_count:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sync_waiters.append((self._put_count, future))
        await future

    async def stop(self) -> None:
        """End the background commit, also one that was cancelled, and write what was put. Raises: StoreError."""
        committer, self._committer = self._committer, None
        cancelled = False
        if committer is not None:
            committer.cancel()
            cancelled = await _waited_out(committer)
            try:
                if self._failure is None:
                    self.commit()
            finally:
                self._wake(self._failure)
        if self._failure is not None:
            raise self._failure
        if cancelled:
            raise asyncio.CancelledError

    def close(self) -> None:
        """Write what is left, save the index, let go of the lock; safe to call twice."""
        try:
            if self._file is not None and self._failure is None:
                self.commit()
                self._save_index(self._ends)
        finally:
            for opened in (self._file, *self._readers.values()):
                if opened is not None:
                    os.close(opened)
            self._file = None
            self._readers.clear()
            self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


async def _waited_out(work: asyncio.Future[Any]) -> bool:
    """Wait until work is done, even where this wait is cancelled: nobody else may write meanwhile, and what
    was written has to be indexed. Returns whether it was."""
    cancelled = False
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError:
            cancelled = True
    return cancelled
