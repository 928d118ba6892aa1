"""Segments: append-only files of checksummed JSON lines.

A line is `{"digest":"<32 hex>","answer":...,"labels":...,"crc":"<8 hex>"}`. The checksum covers
the bytes before `,"crc"`, so a line can be checked without parsing it.

What this module does not know: the index, group commit, what an answer is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

SEGMENT_BYTES = 256 * 1024 * 1024
"""A segment that has grown past this is closed and a new one begun."""

DAMAGE_SHOWN = 5
_HEAD = b'{"digest":"'
_DIGEST = slice(len(_HEAD), len(_HEAD) + 32)
TAIL_BYTES = len(b',"crc":"00000000"}')
_NAME = re.compile(r"^segment-(\d{6})\.jsonl$")


@dataclass(frozen=True, slots=True)
class Damage:
    """A line that does not agree with its checksum; `offset` and `length` in bytes."""

    segment: int
    offset: int
    length: int


def segment_path(folder: Path, number: int) -> Path:
    """The file of a segment."""
    return folder / f"segment-{number:06d}.jsonl"


def segment_numbers(folder: Path) -> list[int]:
    """The segments there are, in order."""
    found = (_NAME.match(path.name) for path in folder.glob("segment-*.jsonl"))
    return sorted(int(match.group(1)) for match in found if match)


def seal(body: bytes) -> bytes:
    """A line from a JSON object without its checksum (`{...}`), newline included."""
    return b'%b,"crc":"%08x"}\n' % (body[:-1], crc32(body[:-1]))


def check_line(line: bytes) -> bytes | None:
    """The digest of a whole line (newline left off), as 16 bytes, or None where it is damaged."""
    body, tail = line[:-TAIL_BYTES], line[-TAIL_BYTES:]
    if not line.startswith(_HEAD) or tail != b',"crc":"%08x"}' % crc32(body):
        return None
    try:
        return bytes.fromhex(line[_DIGEST].decode("ascii"))
    except ValueError:
        return None


def pieces(line: bytes) -> Iterator[tuple[bytes | None, int, int]]:
    """What one line of a file (newline included) holds: its digest, offset and length in it.

    That is itself, where it is sound. Where it is not, the newline before it may be what was
    damaged, so that it begins with another record's bytes: (None, 0, n), then the sound end.
    """
    key = check_line(line[:-1])
    if key is None:
        begin = line.rfind(_HEAD)
        if begin > 0 and (key := check_line(line[begin:-1])) is not None:
            yield None, 0, begin
            yield key, begin, len(line) - begin
            return
    yield key, 0, len(line)


def scan(path: Path, number: int, start: int = 0) -> Iterator[tuple[bytes, int, int] | Damage | int]:
    """Walk a segment from a byte offset at a line's beginning.

    Yields (digest, offset, length with newline) for each sound line, Damage for each other, and
    at the end one integer: the offset up to which the file consists of whole lines.
    """
    offset = start
    with path.open("rb") as file:
        file.seek(start)
        for line in file:
            if not line.endswith(b"\n"):
                break
            for key, at, length in pieces(line):
                yield (key, offset + at, length) if key is not None else Damage(number, offset + at, length)
            offset += len(line)
    yield offset
