"""The Parquet files of a dataset, held to its summary before anybody reads them.

A file that is missing, cut or left over from elsewhere would change every figure in silence.

What this module does not know: configs, columns, who reads the files.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import orjson

from cai.errors import RunError


def table_files(dataset: Path, config: str) -> list[Path]:
    """The files of a config in their order; `dataset`: the folder with its `summary.json`.

    Raises: RunError where one cannot be read, or where a split has not the rows that the summary names.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    again = f"Build the dataset again (it is made from the store). Type: cai dataset {dataset.parent}"
    files = sorted((dataset / config).glob("*.parquet"))
    found: Counter[str] = Counter()
    for path in files:
        try:
            found[path.name.rpartition("-")[0]] += pq.read_metadata(path).num_rows
        except pa.ArrowInvalid as error:
            raise RunError(f"{path} cannot be read as this version writes it ({error}).", again) from error
    summary = orjson.loads((dataset / "summary.json").read_bytes())
    for split, rows in summary.get("configs", {}).get(config, {}).items():
        if found[split] != rows:
            raise RunError(
                f"{dataset / config} holds {found[split]:,} rows of {split}, and its summary says {rows:,}.",
                again,
            )
    return files
