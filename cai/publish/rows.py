"""Writes the snapshot of a run's source rows that is published with its store.

    rows-00000.jsonl.gz ...     the form of cai/source/published.py, a shard each SHARD_BYTES

Equal rows give equal bytes: the gzip header has no name and no time.

What this module does not know: how the snapshot is read back, which runs are published.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cai.source import Excluded, Source
from cai.source.published import SUFFIX, snapshot_line

SHARD_BYTES = 128 << 20
"""A shard that has grown past this, before it is packed, is closed and a new one begun."""

_LEVEL = 6


def write_rows(source: Source, folder: Path, shard_bytes: int = SHARD_BYTES) -> list[Path]:
    """Write all records of a source into a folder; returns the files, in order.

    Raises: SourceError, OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    lines = _lines(source)
    line: bytes | None = next(lines, None)
    while line is not None:
        path = folder / f"rows-{len(files):05d}{SUFFIX}"
        files.append(path)
        with _packed(path) as file:
            written = 0
            while line is not None and written < shard_bytes:
                file.write(line)
                written += len(line)
                line = next(lines, None)
    return files


@contextmanager
def _packed(path: Path) -> Iterator[gzip.GzipFile]:
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=_LEVEL, mtime=0) as file,
    ):
        yield file


def _lines(source: Source) -> Iterator[bytes]:
    """The lines, each record parsed once to see whether any of its rows is excluded."""
    for numbered in source.records():
        record = numbered.record
        excluded = record.value is None or any(
            isinstance(numbered.item(place), Excluded) for place in range(len(numbered.ids))
        )
        part = numbered.part
        yield snapshot_line(
            (part.source, part.subset, part.split, part.shape),
            record,
            numbered.turns,
            numbered.occurrence,
            numbered.ids,
            numbered.position,
            excluded,
        )
