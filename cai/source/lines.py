"""The records of one file: JSON lines, or one JSON array, in constant memory.

A file whose first character is `[` is an array, all others are lines. Blank lines are no records
(they count as lines). NaN and infinities, which JSON lacks and some writers write all the same,
become the texts `NaN`, `Infinity`, `-Infinity`.

What this module does not know: columns, ids.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from cai.digest import canonical
from cai.errors import SourceError
from cai.source.blocks import DamagedError, read_blocks
from cai.source.rows import Record

MAX_LINE_BYTES = 32 << 20
"""A longer line is an error: no transcript comes near it, and memory must stay bounded."""

_BOM = b"\xef\xbb\xbf"
_SPACE = " \t\r\n"
_DECODER = json.JSONDecoder(parse_constant=str)


def read_records(path: Path) -> Iterator[Record]:
    """All records of a file, in order.

    Raises: SourceError, after all records before it, where the file is missing, damaged, ends
    early, or has a line above `MAX_LINE_BYTES`.
    """
    blocks = read_blocks(path)
    last = 0
    array = False
    try:
        first = next(blocks, b"").removeprefix(_BOM)
        array = first.lstrip().startswith(b"[")
        for line, data in (
            _Array(path, first, blocks).entries() if array else numbered_lines(path, first, blocks)
        ):
            last = line
            yield make_record(line, data)
    except DamagedError as damage:
        what = "entry" if array else "line"
        raise SourceError(
            f"{path} is damaged after {what} {last}: {damage}.", "Download or copy the file again."
        ) from damage


def make_record(line: int, data: bytes) -> Record:
    """The record of one line's bytes."""
    try:
        value = _read_json(data)
        if isinstance(value, dict):
            return Record(line, value, canonical(value), data)
    except (ValueError, TypeError, RecursionError):
        pass  # not JSON, not UTF-8, lone surrogates, or nested too deeply
    return Record(line, None, canonical(data.decode("utf-8", "backslashreplace")), data)


def _read_json(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        if b"NaN" not in data and b"Infinity" not in data:
            raise
        return json.loads(data.decode("utf-8"), parse_constant=str)


def numbered_lines(path: Path, first: bytes, blocks: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    """Numbers (from 1) and bytes of the lines that are not blank; `first`: the first of the blocks."""
    line = 0
    rest = b""
    block: bytes | None = first
    while block is not None:
        whole = (rest + block).split(b"\n")
        rest = whole.pop()
        for data in whole:
            line += 1
            if data and not data.isspace():
                yield line, data
        if len(rest) > MAX_LINE_BYTES:
            raise _too_long(path, f"line {line + 1}")
        block = next(blocks, None)
    if rest and not rest.isspace():
        yield line + 1, rest


def _too_long(path: Path, what: str) -> SourceError:
    return SourceError(
        f"{path}: {what} is longer than {MAX_LINE_BYTES >> 20} MiB.",
        "A source is JSON lines (one object a line) or one JSON array; is it the right file?",
    )


class _Array:
    """Reads one JSON array entry by entry; holds one entry and one block at a time."""

    def __init__(self, path: Path, first: bytes, blocks: Iterator[bytes]) -> None:
        self._path = path
        self._blocks = blocks
        # Bytes that are not UTF-8 stay recognisable, so that one entry is unreadable, not the file.
        self._utf8 = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._text = self._utf8.decode(first)
        self._at = 0
        self._ended = False
        self._entry = 0

    def entries(self) -> Iterator[tuple[int, bytes]]:
        """Numbers (from 1) and bytes of the array's entries."""
        self._take("[")
        if self._peek() == "]":
            return
        while True:
            self._entry += 1
            self._peek()
            end = self._entry_end()
            yield self._entry, self._text[self._at : end].encode("utf-8", "surrogateescape")
            self._at = end
            if self._peek() == "]":
                break
            self._take(",")
        self._take("]")
        if self._peek():
            raise self._error("text goes on after the array's end")

    def _more(self) -> bool:
        """Add a block to the text; False at the file's end."""
        if self._ended:
            return False
        block = next(self._blocks, None)
        self._ended = block is None
        self._text = self._text[self._at :] + self._utf8.decode(block or b"", final=self._ended)
        self._at = 0
        return True

    def _peek(self) -> str:
        """The next character that is no white space, '' at the end; `_at` moves to it."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _SPACE:
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                return ""

    def _take(self, wanted: str) -> None:
        found = self._peek()
        if found == "":
            raise DamagedError("the array ends early")
        if found != wanted:
            raise self._error(f"{wanted!r} should stand where {found!r} does")
        self._at += 1

    def _entry_end(self) -> int:
        """Where the entry that begins at `_at` ends. The text is tried again with twice as much each time."""
        while True:
            try:
                end = _DECODER.raw_decode(self._text, self._at)[1]
                if end < len(self._text) or self._ended:
                    return end
            except RecursionError as deep:
                raise self._error("it is nested too deeply") from deep
            except ValueError as bad:
                if self._ended:
                    raise self._error("it is not JSON, or the file ends inside it") from bad
            length = len(self._text) - self._at
            if length > MAX_LINE_BYTES:
                raise _too_long(self._path, f"entry {self._entry} (or it is not JSON)")
            while len(self._text) - self._at < 2 * length and self._more():
                pass

    def _error(self, problem: str) -> SourceError:
        return SourceError(
            f"{self._path} is not a JSON array: entry {self._entry}: {problem}.",
            "Mend the file, or write it as JSON lines (one object a line).",
        )
