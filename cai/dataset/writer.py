"""Parquet files, written as rows come: one folder a config, one or more files a split.

    <config>/<split>-00000.parquet, <split>-00001.parquet ...

zstd, with a page index; a row group ends at ROW_GROUP_ROWS rows or ROW_GROUP_BYTES bytes in memory,
a file at the first row group that brings it to SHARD_BYTES on disk, so that the Hub's viewer can
read any part of it (it wants row groups below 300 MB), or at SHARD_GROUPS row groups: what a file's
footer will say of each stays in memory until the file ends (0.17 MB a group of `traces`).

Equal rows give equal bytes: every option of the writer is pinned, and nothing in a file depends
on time or place. (Another version of pyarrow may write other bytes: it signs its files.)

What this module does not know: what a row holds, which configs there are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from cai.dataset.column import Column, arrow_schema
from cai.errors import StoreError

ROW_GROUP_ROWS = 1000
ROW_GROUP_BYTES = 20_000_000
"""A group ends at so many rows, or bytes in memory; no more of each config and split wait there."""
SHARD_BYTES = 400_000_000
SHARD_GROUPS = 200
_BATCH_ROWS = 100

_OPTIONS: dict[str, Any] = {
    "compression": "zstd",
    "compression_level": 3,
    "version": "2.6",
    "data_page_version": "1.0",
    "data_page_size": 1 << 20,
    "use_dictionary": True,
    "dictionary_pagesize_limit": 1 << 20,
    "write_statistics": True,
    "write_page_index": True,
    "store_schema": True,
    "use_compliant_nested_type": True,
}


def split_name(split: str) -> str:
    """A split's name as `datasets` accepts it: letters, digits and underscores, never empty."""
    return re.sub(r"\W", "_", split) or "train"


@dataclass
class _Split:
    """A split under way: rows that wait, batches of a row group under way, the file that is open."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    batches: list[Any] = field(default_factory=list)
    files: int = 0
    groups: int = 0
    sink: Any = None
    writer: Any = None


class ConfigWriter:
    """One config's files. A split's file is made with its first row, so no file is empty.

    `counts`: rows by split.
    """

    def __init__(self, folder: Path, columns: tuple[Column, ...], shard_bytes: int = SHARD_BYTES) -> None:
        self.counts: dict[str, int] = {}
        self._folder = folder
        self._labels = [column for column in columns if column.names]
        self._schema = arrow_schema(columns)
        self._shard_bytes = shard_bytes
        self._splits: dict[str, _Split] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        for name, split in self._splits.items():
            if kind is None:
                self._batch(split)
                self._write(name, split)
            self._close(split)

    def add(self, split: str, row: dict[str, Any]) -> None:
        """Write a row; it may wait in memory until its row group is full.

        Raises: StoreError for a label that is none of its column's names.
        """
        name = split_name(split)
        own = self._splits.setdefault(name, _Split())
        own.rows.append(self._stored(row))
        self.counts[name] = self.counts.get(name, 0) + 1
        if len(own.rows) >= _BATCH_ROWS:
            self._batch(own)
            self._write_full(name, own)

    def add_table(self, split: str, table: Any) -> None:
        """Write the rows of an Arrow table of this config's schema."""
        name = split_name(split)
        own = self._splits.setdefault(name, _Split())
        for start in range(0, table.num_rows, _BATCH_ROWS):
            own.batches.append(table.slice(start, _BATCH_ROWS))
            self._write_full(name, own)
        self.counts[name] = self.counts.get(name, 0) + table.num_rows

    def _stored(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            return row | {column.name: column.stored(row[column.name]) for column in self._labels}
        except ValueError as error:
            raise StoreError(
                f"The outcome of row {row.get('row_id')} has a value that this version does not know "
                f"({error}).",
                "Build the dataset with the version of the program that did the run.",
            ) from error

    def _batch(self, split: _Split) -> None:
        if split.rows:
            split.batches.append(pa.Table.from_pylist(split.rows, schema=self._schema))
            split.rows.clear()

    def _write_full(self, name: str, split: _Split) -> None:
        """Write a row group if it is full."""
        rows = sum(batch.num_rows for batch in split.batches)
        if rows >= ROW_GROUP_ROWS or sum(batch.nbytes for batch in split.batches) >= ROW_GROUP_BYTES:
            self._write(name, split)

    def _write(self, name: str, split: _Split) -> None:
        """Write what waits as one row group, and end the file where it is large enough."""
        if not split.batches:
            return
        if split.writer is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / f"{name}-{split.files:05d}.parquet"
            split.sink = pa.OSFile(str(path), "wb")
            split.writer = pq.ParquetWriter(split.sink, self._schema, **_OPTIONS)
            split.files += 1
            split.groups = 0
        table = pa.concat_tables(split.batches).combine_chunks()
        split.batches.clear()
        split.writer.write_table(table, row_group_size=table.num_rows)
        split.groups += 1
        if split.sink.tell() >= self._shard_bytes or split.groups >= SHARD_GROUPS:
            self._close(split)

    def _close(self, split: _Split) -> None:
        if split.writer is not None:
            split.writer.close()
            split.sink.close()
            split.writer = split.sink = None
