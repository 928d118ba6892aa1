"""Parquet files, written as rows come: one folder a config, one file a split.

    <config>/<split>-00000.parquet     zstd, row groups of ROW_GROUP_ROWS rows

Equal rows give equal bytes: every option of the writer is pinned, and nothing in a file depends
on time or place. (Another version of pyarrow may write other bytes: it signs its files.)

What this module does not know: what a row holds, which configs there are.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from cai.dataset.schema import Column, arrow_schema

ROW_GROUP_ROWS = 1000
"""Rows of a group; so many rows of each config and split are held in memory at most."""

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


class ConfigWriter:
    """One config's files. A split's file is made with its first row, so no file is empty."""

    def __init__(self, folder: Path, columns: tuple[Column, ...]) -> None:
        self.counts: dict[str, int] = {}
        self._folder = folder
        self._schema = arrow_schema(columns)
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._files: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            for split in self._rows:
                self._flush(split)
        for file in self._files.values():
            file.close()

    def add(self, split: str, row: dict[str, Any]) -> None:
        """Write a row; it may wait in memory until its row group is full."""
        name = split_name(split)
        rows = self._rows.setdefault(name, [])
        rows.append(row)
        self.counts[name] = self.counts.get(name, 0) + 1
        if len(rows) >= ROW_GROUP_ROWS:
            self._flush(name)

    def _flush(self, split: str) -> None:
        rows = self._rows[split]
        if not rows:
            return
        if split not in self._files:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / f"{split}-00000.parquet"
            self._files[split] = pq.ParquetWriter(path, self._schema, **_OPTIONS)
        self._files[split].write_table(pa.Table.from_pylist(rows, schema=self._schema))
        rows.clear()
