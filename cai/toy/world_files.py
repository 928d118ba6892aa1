"""The toy world on disk: rows as a local hh-rlhf, the truth about them beside it.

    folder/hh-rlhf/harmless-base/train.jsonl.gz    rows: `chosen`, `rejected`, nothing else
    folder/truth.jsonl                             one object a row, keyed by the row's texts

Equal arguments give equal bytes. The truth lies outside of the source's folder, so that a job
that reads the source cannot see it.

What this module does not know: how rows are made (cai/toy/world.py), who reads them.
"""

from __future__ import annotations

import gzip
import io
from dataclasses import asdict
from pathlib import Path

import orjson

from cai.digest import digest
from cai.errors import InputError
from cai.toy.world import Truth, generate

SOURCE_FOLDER = "hh-rlhf"
SOURCE_FILE = "hh-rlhf/harmless-base/train.jsonl.gz"
TRUTH_FILE = "truth.jsonl"


def truth_key(chosen: str, rejected: str) -> str:
    """The key of a row's truth: a digest of its two exact transcripts, human label first."""
    return digest("cai.toy.row.v1", [chosen, rejected])


def write_world(folder: Path, seed: int, pairs: int) -> Path:
    """Write `pairs` rows of the demo split and their truth under `folder`; returns the source's folder."""
    source = folder / SOURCE_FILE
    source.parent.mkdir(parents=True, exist_ok=True)
    rows, truths = io.BytesIO(), io.BytesIO()
    for row, truth in generate(seed, pairs, "demo"):
        rows.write(orjson.dumps({"chosen": row.chosen, "rejected": row.rejected}) + b"\n")
        key = truth_key(row.chosen, row.rejected)
        truths.write(orjson.dumps({"key": key, **asdict(truth)}) + b"\n")
    source.write_bytes(gzip.compress(rows.getvalue(), mtime=0))
    (folder / TRUTH_FILE).write_bytes(truths.getvalue())
    return folder / SOURCE_FOLDER


def read_truth(folder: Path) -> dict[str, Truth]:
    """The truth about each row that `write_world` wrote under `folder`, by `truth_key`.

    Raises: InputError where there is none, or where the file is of another form.
    """
    path = folder / TRUTH_FILE
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.", "`cai demo` writes it.") from error
    found: dict[str, Truth] = {}
    for number, line in enumerate(lines, start=1):
        try:
            record = orjson.loads(line)
            key = record.pop("key")
            for name in ("chosen_flaws", "rejected_flaws"):
                record[name] = tuple(record[name])
            found[key] = Truth(**record)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path}:{number}: this is no line of toy truth.", "`cai demo` writes it anew."
            ) from error
    return found
