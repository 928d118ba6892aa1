"""The job: rows stream through their steps, a bounded number at a time, without stage barriers.

A fixed number of workers each take the next row from the source, run all its steps, and
remember the outcome in the store. Older rows go first wherever an engine has a queue. A row
that was finished under the same generation is skipped before it is parsed.

A row whose engine fails for good goes into quarantine and the job goes on; an engine that is
down, refuses every request, or a store that cannot be written stops it. `stop` ends the job
gently: no new request is sent, those under way are answered and kept.

What this module does not know: how a step works, what a request is, how progress is shown.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

import orjson

from cai.abreast import by_workers
from cai.ask import Ask, StoppedError
from cai.errors import (
    CaiError,
    EngineDownError,
    EngineError,
    EngineRefusedError,
    InputError,
    RunError,
)
from cai.outcome import Outcome, outcome_digest
from cai.run_folder import RunFolder
from cai.source import Excluded, Row, Source, SourceItem
from cai.steps import RowPlan, run_row
from cai.store import Store

ROWS_IN_FLIGHT_MAX = 8192
SKIPPED_AT_ONCE = 1000
"""Finished rows that are skipped before the event loop gets a turn."""


@contextmanager
def rare_collections() -> Iterator[None]:
    """Look for reference cycles seldom: a run's many short-lived objects hold hardly any.

    With Python's own thresholds the collector takes 15 to 20 % of the client's time
    (docs/performance.md). What was set before is put back.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


@dataclass
class Progress:
    """How far a job is; counts of rows, of this process unless it says otherwise.

    `total`: rows that the job will look at, None where unknown; `before`: finished earlier.
    `requests`: those of the rows that were finished by now, whoever paid for them;
    `requests_per_row`: what to expect of a row before any is finished, None where nothing is known.
    """

    total: int | None = None
    before: int = 0
    finished: int = 0
    excluded: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    requests: int = 0
    requests_per_row: float | None = None
    started_s: float = field(default_factory=time.monotonic)

    @property
    def seen(self) -> int:
        """All rows dealt with."""
        return self.before + self.finished + self.excluded.total() + self.quarantined.total()

    @property
    def expected_requests(self) -> float | None:
        """About how many requests all rows need that were not finished before, or None."""
        per_row = self.requests / self.finished if self.finished else self.requests_per_row
        return None if per_row is None or self.total is None else per_row * (self.total - self.before)

    def elapsed_s(self) -> float:
        """Seconds since the job began."""
        return time.monotonic() - self.started_s


class Unfinished:
    """The rows of a source that are not finished, in its order: one pass, of which `any` may look ahead.

    Iterating gives rows, and None now and then while finished rows are passed over: then everything
    else that waits on the event loop should get its turn. `passed`: finished rows passed over by now.
    """

    def __init__(
        self, source: Source, finished: Callable[[str], bool], only: Callable[[str], bool] | None = None
    ) -> None:
        self.passed = 0
        self._finished = finished
        self._items = source.items(skip=self._skip, only=only)
        self._let_through = ""
        self._ahead: SourceItem | None = None

    def _skip(self, row: str) -> bool:
        """Whether a row is finished. Every so often one is let through all the same, to end in `__next__`."""
        if not self._finished(row):
            return False
        self.passed += 1
        if self.passed % SKIPPED_AT_ONCE == 0:
            self._let_through = row
            return False
        return True

    def any(self) -> bool:
        """Whether a row is left; looks no further than the first, which is kept for who iterates."""
        if self._ahead is None:
            self._ahead = next((item for item in self if item is not None), None)
        return self._ahead is not None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> SourceItem | None:
        item, self._ahead = self._ahead, None
        if item is not None:
            if not self._finished(item.id):
                return item
            self.passed += 1  # since it was looked at
            return None
        item = next(self._items)
        return None if item.id == self._let_through else item


class Job:
    """One go at a run: takes rows, runs their steps, remembers their outcomes."""

    def __init__(
        self,
        run: RunFolder,
        source: Source,
        plans: Callable[[str], RowPlan | None],
        ask: Ask,
        store: Store,
        generation: str,
    ) -> None:
        self.progress = Progress()
        self._run = run
        self._source = source
        self._plans = plans
        self._ask = ask
        self._store = store
        self._generation = generation
        self._admitted = 0
        self._stopping = False
        self._fatal: CaiError | None = None
        self._retry_too_long = False
        self._rest = Unfinished(source, self.finished)

    def stop(self) -> None:
        """End gently: admit no row, send no request; what is under way is answered and kept."""
        self._stopping = True
        self._ask.stop()

    def finished(self, row: str) -> bool:
        """Whether a row was finished under this generation, now or earlier."""
        key = outcome_digest(row, self._generation)
        if not self._retry_too_long:
            return key in self._store
        record = self._store.get(key)
        if record is None or record.answer["excluded"] == "prompt_too_long":
            return False
        return not record.answer.get("turns_dropped")

    def any_left(self) -> bool:
        """Whether any row is not finished. The pass over the source that finds it out is that of `work`."""
        return self._rest.any()

    def retry_too_long(self) -> None:
        """From now on rows that did not fit whole count as not finished."""
        self._retry_too_long = True
        self._rest = Unfinished(self._source, self.finished)

    async def work(self, rows_in_flight: int, only: Callable[[str], bool] | None = None) -> None:
        """Take all rows (or those that `only` names by id) through their steps.

        Raises: EngineDownError, EngineRefusedError, StoreError, SourceError; what was answered
        by then is kept.
        """
        rows = self._rest
        if only is None:
            self._rest = Unfinished(self._source, self.finished)
        else:
            rows = Unfinished(self._source, self.finished, only)
        with rare_collections():
            await by_workers(min(rows_in_flight, ROWS_IN_FLIGHT_MAX), lambda: self._worker(rows))
        if self._fatal is not None:
            raise self._fatal
        await self._store.synced()

    async def _worker(self, rows: Unfinished) -> None:
        """Take rows until there are none, or the job ends; the first fatal error ends it gently."""
        try:
            await self._take(rows)
        except (EngineDownError, EngineRefusedError, RunError, InputError) as error:
            if self._fatal is None:
                self._fatal = error
            self.stop()

    async def _take(self, rows: Unfinished) -> None:
        for item in rows:
            self.progress.before = rows.passed
            if self._stopping:
                return
            if item is None:
                await asyncio.sleep(0)
            elif isinstance(item, Excluded):
                self._remember(Outcome(item.id, item.reason, (), (), ()))
            else:
                await self._row(item)
            if self._stopping:
                return
        self.progress.before = rows.passed

    async def _row(self, row: Row) -> None:
        self._admitted += 1
        number = self._admitted
        plan = self._plans(row.subset)
        self.progress.in_flight += 1
        try:
            if plan is None:
                outcome = Outcome(row.id, "no_constitution", (), (), ())
            else:
                outcome = await run_row(row, plan, self._ask.for_row(row.id, number))
        except StoppedError:
            return
        except (EngineDownError, EngineRefusedError):
            raise
        except EngineError as error:
            self._quarantine(row, error)
            return
        finally:
            self.progress.in_flight -= 1
            self._ask.leave(number)
        self._remember(outcome)

    def _remember(self, outcome: Outcome) -> None:
        key = outcome_digest(outcome.row, self._generation)
        self._store.put(key, outcome.record(), {"row": outcome.row, "stage": "outcome"})
        if outcome.excluded is not None:
            self.progress.excluded[outcome.excluded] += 1
        else:
            self.progress.finished += 1
            self.progress.requests += requests_of(outcome)

    def _quarantine(self, row: Row, error: EngineError) -> None:
        self.progress.quarantined[type(error).__name__] += 1
        line = {
            "row": row.id,
            "source": row.source,
            "line": row.line,
            "error": type(error).__name__,
            "problem": error.problem,
        }
        with self._run.quarantine.open("ab") as file:
            file.write(orjson.dumps(line) + b"\n")


def in_quarantine(run: RunFolder) -> dict[str, bytes]:
    """The rows in quarantine, and the line of each. Raises: RunError."""
    try:
        lines = run.quarantine.read_bytes().splitlines() if run.quarantine.exists() else []
        return {str(orjson.loads(line)["row"]): line for line in lines if line.strip()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{run.quarantine} cannot be used: {error}.",
            "Delete it: the rows it names are not finished, and `cai run` takes them up all the same.",
        ) from error


@contextmanager
def quarantine_taken_up(
    run: RunFolder, waiting: Mapping[str, bytes], finished: Callable[[str], bool]
) -> Iterator[None]:
    """A go that takes up all rows in quarantine: those that it does not come to stay there, and one that
    fails twice (in the pilot, then in the run) stands there once, with its last error."""
    run.quarantine.unlink(missing_ok=True)
    try:
        yield
    finally:
        kept = {row: line for row, line in waiting.items() if not finished(row)}
        lines = {**kept, **in_quarantine(run)}
        once = b"".join(line + b"\n" for line in lines.values())
        if lines and (kept or once != run.quarantine.read_bytes()):
            draft = run.quarantine.with_suffix(".draft")
            draft.write_bytes(once)
            draft.replace(run.quarantine)


def requests_of(outcome: Outcome) -> int:
    """How many requests a finished row took, less those that asked what was said instead of an option."""
    judgements = [item for feedback in outcome.feedback for item in feedback.judgements]
    asked = sum(bool(item.request) + bool(item.reasoning_request) for item in judgements)
    rounds = sum(len(item.requests) for revision in outcome.revisions for item in revision.rounds)
    return asked + rounds + len(outcome.samples) + len(outcome.harm)


def rows_in_flight(wanted: int, engines: Mapping[str, int]) -> int:
    """How many rows to have under way: as asked, or enough to fill every engine.

    `engines`: requests that each engine in use wants in flight.
    """
    return wanted or min(ROWS_IN_FLIGHT_MAX, max(1, sum(engines.values())))
