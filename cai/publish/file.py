"""One file as it is published: its name in the repository, its bytes, their digests.

What this module does not know: which files are published, where to.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

CARD = "README.md"
MANIFEST = "cai.json"
_CHUNK = 1 << 20
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def is_plain(path: str) -> bool:
    """Whether a path stays inside its folder on every machine; what is fetched may have no other."""
    parts = path.split("/")
    return all(part not in ("", ".", "..") for part in parts) and not (
        "\\" in path or ":" in path or _CONTROL.search(path)
    )


@dataclass(frozen=True)
class PublishedFile:
    """One file: `path` in the repository, with slashes; `content`: its bytes, or where they lie."""

    path: str
    content: bytes | Path

    @cached_property
    def size(self) -> int:
        """Bytes."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size

    @cached_property
    def sha256(self) -> str:
        """The digest of the bytes, 64 hexadecimal digits. Raises: OSError."""
        if isinstance(self.content, bytes):
            return hashlib.sha256(self.content).hexdigest()
        with self.content.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @cached_property
    def git_oid(self) -> str:
        """The digest that git names the bytes by, 40 hexadecimal digits. Raises: OSError."""
        digest = hashlib.sha1(f"blob {self.size}\0".encode(), usedforsecurity=False)
        for chunk in self._chunks():
            digest.update(chunk)
        return digest.hexdigest()

    def read(self) -> bytes:
        """The bytes. Raises: OSError."""
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()

    def _chunks(self) -> Iterator[bytes]:
        source = io.BytesIO(self.content) if isinstance(self.content, bytes) else self.content.open("rb")
        with source as file:
            while chunk := file.read(_CHUNK):
                yield chunk
