"""A dataset's summary, and its Parquet files held to it before anybody reads them.

A file that is missing, cut or left over from elsewhere would change every figure in silence.

What this module does not know: configs, columns, who reads the files.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import orjson

from cai.errors import RunError


def read_summary(dataset: Path, *needed: str) -> dict[str, Any]:
    """What a dataset's `summary.json` holds: its settings, and what else is needed.

    Raises: RunError where it is not there, or damaged.
    """
    path = dataset / "summary.json"
    try:
        summary: Any = orjson.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise RunError(f"There is no dataset in {dataset}.", f"Type: cai dataset {dataset.parent}") from error
    except orjson.JSONDecodeError:
        summary = {}
    settings = summary.get("settings") if isinstance(summary, dict) else None
    if not isinstance(settings, dict) or not summary.keys() >= set(needed):
        raise RunError(
            f"{path} is damaged.",
            f"Build the dataset again (it is made from the store). Type: cai dataset {dataset.parent}",
        )
    made: dict[str, Any] = summary
    return made


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
    for split, rows in read_summary(dataset).get("configs", {}).get(config, {}).items():
        if found[split] != rows:
            raise RunError(
                f"{dataset / config} holds {found[split]:,} rows of {split}, and its summary says {rows:,}.",
                again,
            )
    return files
