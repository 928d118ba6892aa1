"""The part of a run's store that one generation's rows stand on, and the rows: `--with-store`.

    run/rows/     the source rows as they were (rows.py)
    run/store/    an ordinary store (docs/store.md) of the generation's outcomes and of every answer
                  that replaying its finished rows asks for, and of nothing else

Which answers these are is found by replaying each finished row against the store, which proves at
the same time that they are all there: what an outcome names is not all that was asked for it (the
words said instead of an option, a prompt that did not fit). Records lie in the source's order, those
of a row by digest, each with the labels of the request that its row would make: equal runs give
equal bytes, whatever kills and earlier generations they saw. One row is held in memory at a time.

What this module does not know: the rest of what is published, who reads it.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cai.errors import PublishError
from cai.outcome import outcome_digest
from cai.publish.file import PublishedFile
from cai.publish.rows import write_rows
from cai.reading import ReadRun
from cai.source import Excluded, SourceItem
from cai.store import SEGMENT_BYTES, Store
from cai.trace import trace_row

_log = logging.getLogger("cai")

COMMIT_RECORDS = 1000
TOLD_ROWS = 10_000
"""After so many rows a line is told."""


@dataclass
class StorePart:
    """What was written: finished rows, records, and the rows whose answers are not all in the store."""

    rows: int = 0
    records: int = 0
    incomplete: list[str] = field(default_factory=list)


def store_files(
    run: ReadRun, place: Path, told: Callable[[str], None] = lambda line: None
) -> list[PublishedFile]:
    """The rows and the part of the store, made in the folder `place`, where they must stay.

    Rows whose answers are not all there any more (damage) are told; making the dataset again
    needs none of these. `told` is given a line now and then. Raises: PublishError where no row is finished, SourceError, StoreError, OSError.
    """
    files = write_rows(run.source, place / "rows")
    seen = 0

    def count() -> None:
        nonlocal seen
        seen += 1
        if seen % TOLD_ROWS == 0:
            told(f"The answers of {seen:,} rows are gathered.")

    part = write_store(run, place / "store", count)
    if not part.rows:
        raise PublishError(f"No row of {run.run.name} is finished.", f"Type: cai run {run.run.shown}")
    if part.incomplete:
        _log.warning(
            "of %s rows, %s lack answers in the store (row %s, say): a fork would ask these again; "
            "`cai store verify %s` tells what is damaged",
            f"{part.rows:,}",
            f"{len(part.incomplete):,}",
            part.incomplete[0],
            run.run.shown,
        )
    files += sorted((place / "store").glob("segment-*.jsonl"))
    return [PublishedFile(f"run/{path.parent.name}/{path.name}", path) for path in files]


def write_store(
    run: ReadRun,
    folder: Path,
    on_row: Callable[[], None] = lambda: None,
    segment_bytes: int = SEGMENT_BYTES,
) -> StorePart:
    """Write the part of a run's store that its generation stands on into a new folder.

    Raises: PublishError where the folder holds something; SourceError, StoreError, OSError.
    """
    if folder.exists() and any(folder.iterdir()):
        raise PublishError(f"{folder} is not empty.", "Choose another folder.")
    return asyncio.run(_write(run, folder, on_row, segment_bytes))


async def _write(run: ReadRun, folder: Path, on_row: Callable[[], None], segment_bytes: int) -> StorePart:
    part = StorePart()
    waiting = 0
    with Store(folder, writable=True, segment_bytes=segment_bytes) as store:
        for item in run.source.items():
            on_row()
            waiting += await _add(item, run, store, part)
            if waiting >= COMMIT_RECORDS:
                store.commit()
                waiting = 0
    shutil.rmtree(folder / "index", ignore_errors=True)  # derived; the reader makes it again
    (folder / "lock").unlink()
    return part


async def _add(item: SourceItem, run: ReadRun, store: Store, part: StorePart) -> int:
    """Add what a row stands on; returns how many records that were."""
    key = outcome_digest(item.id, run.generation.digest)
    outcome = run.store.get(key)
    if outcome is None:
        return 0
    before = part.records
    if not isinstance(item, Excluded) and (plan := run.plan(item.subset)) is not None:
        exchanges, replayed = await trace_row(item, plan, run.store, run.identities)
        if replayed is None:
            part.incomplete.append(item.id)
        for exchange in sorted(exchanges, key=lambda one: one.digest):
            if exchange.answer is not None and exchange.digest not in store:
                labels = {**exchange.request.labels, "row": item.id}
                store.put(exchange.digest, exchange.answer.record(), labels)
                part.records += 1
    store.put(key, outcome.answer, {"row": item.id, "stage": "outcome"})
    part.rows += 1
    part.records += 1
    return part.records - before
