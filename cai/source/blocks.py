"""The bytes of a file in blocks of bounded size, unpacked where the file is gzip.

Whether a file is gzip is read from its first bytes; a name that ends in `.gz` must be true.

What this module does not know: lines, JSON.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from cai.errors import SourceError

PACKED_BYTES = 1 << 16
BLOCK_BYTES = 1 << 20
_GZIP = b"\x1f\x8b"
_LFS = b"version https://git-lfs"


class DamagedError(Exception):
    """The file ends early or cannot be unpacked any further; the text says which."""


def read_blocks(path: Path) -> Iterator[bytes]:
    """The file's content, in blocks of at most `BLOCK_BYTES`.

    Raises: SourceError for a file that cannot be read or is not what its name says; DamagedError,
    after everything before the damage, for gzip that ends early or is broken.
    """
    try:
        with path.open("rb", buffering=0) as file:
            packed = file.read(PACKED_BYTES)
            _check_start(path, packed)
            if packed.startswith(_GZIP):
                yield from _unpacked(file.read, packed)
                return
            while packed:
                yield packed
                packed = file.read(BLOCK_BYTES)
    except FileNotFoundError as missing:
        raise SourceError(f"There is no file {path}.", "Check the source's path in the recipe.") from missing
    except OSError as failure:
        raise SourceError(
            f"{path} cannot be read: {failure.strerror or failure}.", "Check that it is a file you may read."
        ) from failure


def _check_start(path: Path, start: bytes) -> None:
    if start.startswith(_LFS):
        raise SourceError(
            f"{path} is a Git LFS pointer, not the data.", "Type `git lfs pull` in that repository."
        )
    if path.suffix == ".gz" and not start.startswith(_GZIP):
        raise SourceError(
            f"{path} is not gzip, though its name ends in .gz.",
            "Download it again, or take .gz off its name if it is plain text.",
        )


def _unpacked(read: Callable[[int], bytes], packed: bytes) -> Iterator[bytes]:
    """Unpack gzip, several members one after the other too; each block is bounded, so a bomb is harmless."""
    member = zlib.decompressobj(wbits=31)
    while True:
        try:
            block = member.decompress(packed, BLOCK_BYTES)
        except zlib.error as broken:
            raise DamagedError("its gzip data are broken") from broken
        if block:
            yield block
        if member.eof:
            packed = member.unused_data.lstrip(b"\0")  # padding is allowed
            while not packed:
                if not (more := read(PACKED_BYTES)):
                    return
                packed = more.lstrip(b"\0")
            member = zlib.decompressobj(wbits=31)
            continue
        packed = member.unconsumed_tail or read(PACKED_BYTES)
        if not packed and not block:
            raise DamagedError("its gzip data end early")
