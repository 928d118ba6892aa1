"""Other ways out of a built dataset: plain files, and what other trainers' documentation asks for.

    jsonl      any config, a row a line, the columns as they are, labels by name
    csv        any config, the same; what is no text or number is JSON text
    openrlhf   pairs: chosen, rejected: whole conversations, the prompt's turns first; margin where there is one
    axolotl    pairs: messages: the prompt's turns; chosen, rejected: one turn each

`TABLES` holds what is written for the last two, key by key. A file is written beside its place and
put there whole; the order of rows is the dataset's.

What this module does not know: how a dataset is built, where the trainers are.
Source: OpenRLHF, openrlhf/datasets/reward_dataset.py and README ("Reward Model Training":
--apply_chat_template --chosen_key chosen --rejected_key rejected); Axolotl, docs/rlhf.qmd
("chat_template.default" under DPO).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from cai.dataset.column import Column
from cai.dataset.schema import CONFIGS, PAIRS, columns
from cai.errors import RunError
from cai.table_files import read_summary, table_files

_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\t", "\r")


@dataclass(frozen=True)
class Key:
    """One key of a line: its name, its type in words, what it holds."""

    name: str
    type: str
    doc: str


TABLES: dict[str, tuple[Key, ...]] = {
    "openrlhf": (
        Key("chosen", "list of {role, content}", "the prompt's turns, then the chosen response"),
        Key("rejected", "list of {role, content}", "the prompt's turns, then the rejected response"),
        Key("margin", "number", "only where the dataset has the column"),
        Key("row_id", "text", "the source row's id; OpenRLHF leaves it aside"),
    ),
    "axolotl": (
        Key("messages", "list of {role, content}", "the prompt's turns"),
        Key("chosen", "{role, content}", "the chosen response"),
        Key("rejected", "{role, content}", "the rejected response"),
        Key("row_id", "text", "the source row's id; Axolotl leaves it aside"),
    ),
}

FORMATS: tuple[str, ...] = ("jsonl", "csv", *TABLES)


@dataclass(frozen=True)
class Written:
    """One file that was written."""

    config: str
    split: str
    path: Path
    rows: int


def export(dataset: Path, form: str, out: Path, config: str | None = None) -> list[Written]:
    """Write a built dataset in a format: `out`/<config>/<split>.jsonl (or .csv).

    `config` None: every config that there is and that the format takes.
    Raises: RunError for a config that is not there or that the format does not take; OSError.
    """
    summary = read_summary(dataset, "configs")
    made = []
    for name in _configs(summary["configs"], form, config):
        table_files(dataset, name)  # before anything is written
        for split in summary["configs"][name]:
            path = out / name / f"{split}.{'csv' if form == 'csv' else 'jsonl'}"
            own = columns(name, summary["settings"])
            rows = _rows(dataset / name, split, own)
            made.append(Written(name, split, path, _write(path, _LINES[form](rows, own))))
    return made


def remove_others(out: Path, made: Sequence[Written]) -> None:
    """Take away what an earlier export left in `out` and this one did not make; never another's files."""
    written = {item.path for item in made}
    for config in CONFIGS:
        for path in sorted((out / config).glob("*")):
            if path.suffix in (".jsonl", ".csv") and path not in written:
                path.unlink()
        if (out / config).is_dir() and not any((out / config).iterdir()):
            (out / config).rmdir()


def configs_taken(form: str, config: str | None) -> list[str]:
    """The configs that a format takes. Raises: RunError where `config` is none of them."""
    takes = list(CONFIGS if form not in TABLES else PAIRS)
    if config is not None and config not in takes:
        known = "is no config" if config not in CONFIGS else f"holds no pairs, and {form} takes pairs"
        raise RunError(f"{config} {known}.", f"Give one of {', '.join(takes)}.")
    return takes


def _configs(there: dict[str, Any], form: str, config: str | None) -> list[str]:
    takes = configs_taken(form, config)
    if config is not None and config not in there:
        held = ", ".join(name for name in there if name in takes) or "none of that kind"
        raise RunError(f"The dataset has no rows in {config}.", f"It has {held}.")
    return [config] if config is not None else [name for name in there if name in takes]


Row = dict[str, Any]


def _rows(folder: Path, split: str, own: Sequence[Column]) -> Iterator[Row]:
    """The rows of a split, labels by name and 32-bit numbers by their shortest decimal."""
    for path in sorted(folder.glob(f"{split}-*.parquet")):
        try:
            file = pq.ParquetFile(path)
            for group in range(file.num_row_groups):
                for row in file.read_row_group(group).to_pylist():
                    yield {column.name: _read(column, row[column.name]) for column in own}
        except (pa.ArrowInvalid, KeyError, IndexError) as error:
            raise RunError(
                f"{path} cannot be read as this version writes it ({error}).", "Build the dataset again."
            ) from error


def _read(column: Column, value: Any) -> Any:
    if value is None:
        return None
    if column.names:
        return column.names[value]
    return float(str(np.float32(value))) if pa.types.is_float32(column.type) else value


def _json(value: Any) -> bytes:
    return orjson.dumps(value)


def _jsonl(rows: Iterator[Row], own: Sequence[Column]) -> Iterator[bytes]:
    for row in rows:
        yield _json(row) + b"\n"


def _csv(rows: Iterator[Row], own: Sequence[Column]) -> Iterator[bytes]:
    """The first line names the columns, so it is no row."""
    yield _csv_line([column.name for column in own])
    for row in rows:
        yield _csv_line([_cell(row[column.name]) for column in own])


def _csv_line(cells: Sequence[str]) -> bytes:
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue().encode("utf-8")


def _cell(value: Any) -> str:
    """A value as one cell: text that a spreadsheet would take for a formula gets an apostrophe."""
    if value is None:
        return ""
    if isinstance(value, str):
        return f"'{value}" if value.lstrip(" ").startswith(_FORMULA) else value
    return _json(value).decode("utf-8")


def _openrlhf(rows: Iterator[Row], own: Sequence[Column]) -> Iterator[bytes]:
    margin = any(column.name == "margin" for column in own)
    for row in rows:
        line = {side: row["prompt"] + row[side] for side in ("chosen", "rejected")}
        yield (
            _json({**line, **({"margin": row["margin"]} if margin else {}), "row_id": row["row_id"]}) + b"\n"
        )


def _axolotl(rows: Iterator[Row], own: Sequence[Column]) -> Iterator[bytes]:
    for row in rows:
        (chosen,), (rejected,) = row["chosen"], row["rejected"]
        line = {"messages": row["prompt"], "chosen": chosen, "rejected": rejected, "row_id": row["row_id"]}
        yield _json(line) + b"\n"


_LINES: dict[str, Callable[[Iterator[Row], Sequence[Column]], Iterator[bytes]]] = {
    "jsonl": _jsonl,
    "csv": _csv,
    "openrlhf": _openrlhf,
    "axolotl": _axolotl,
}


def _write(path: Path, lines: Iterator[bytes]) -> int:
    """Write a file whole; the number of its rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}-new")
    count = 0
    try:
        with new.open("wb") as file:
            for line in lines:
                file.write(line)
                count += 1
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
    return count - (path.suffix == ".csv")
