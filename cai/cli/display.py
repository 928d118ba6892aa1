"""The progress of a job: a live display on a terminal, plain lines elsewhere.

All rows may be under way at once, so finished rows alone say little: what moves is the number of
requests answered, of about as many as the rows are expected to need.

What this module does not know: how the job works; it reads counters.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from dataclasses import dataclass
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from cai.ask import Account, Ask
from cai.job import Progress
from cai.tally import faults_of

LIVE_EVERY_S = 0.5
PLAIN_EVERY_S = 10.0
RATE_OVER_S = 60.0
"""Rates are those of the last minute: what comes out of the store at the beginning is no speed."""


def duration(seconds: float) -> str:
    """`2 h 05 min`, `3 min 20 s`, `12 s`."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    if whole >= 60:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole} s"


@dataclass(frozen=True)
class Snapshot:
    """The figures of one moment; `expected` and `eta_s` are None where nothing can be said yet.

    `done`: requests answered or found in the store; `expected`: about how many there will be.
    """

    stage: str
    seen: int
    total: int | None
    in_flight: int
    done: int
    expected: float | None
    from_store: int
    rows_per_s: float
    requests_per_s: float
    eta_s: float | None
    prompt_tokens: int
    completion_tokens: int
    tokens_per_s: float
    excluded: int
    quarantined: int
    retries: int
    faults: str = ""

    @property
    def rows(self) -> str:
        """`12 of 24 rows`."""
        return f"{self.seen:,} of {self.total:,} rows" if self.total is not None else f"{self.seen:,} rows"

    @property
    def requests(self) -> str:
        """`1,240 of about 4,000 requests (31 %)`, or only how many where no more is known."""
        if self.expected is None or self.expected < self.done:
            return f"{self.done:,} requests"
        return f"{self.done:,} of about {about(self.expected)} requests ({100 * self.done / max(1.0, self.expected):.0f} %)"

    @property
    def left(self) -> str:
        """`, about 33 s left`, or nothing."""
        return f", about {duration(self.eta_s)} left" if self.eta_s is not None else ""

    @property
    def set_aside(self) -> str:
        """`3 excluded, 1 in quarantine`, or nothing."""
        counts = (
            (self.excluded, "excluded"),
            (self.quarantined, "in quarantine"),
            (self.retries, "retries"),
        )
        return ", ".join(f"{count:,} {name}" for count, name in counts if count)

    def line(self) -> str:
        """One plain line."""
        under_way = f", {self.in_flight:,} under way" if self.in_flight else ""
        store = f" ({self.from_store:,} from the store)" if self.from_store else ""
        aside = f"; {self.set_aside}" if self.set_aside else ""
        return (
            f"{self.stage}: {self.rows} finished{under_way}; {self.requests}{store}, "
            f"{self.requests_per_s:,.0f} a second{self.left}; "
            f"{self.prompt_tokens:,} tokens read, {self.completion_tokens:,} written{aside}"
        )

    def last_line(self, elapsed_s: float) -> str:
        """The line that stays when a job has ended."""
        store = f", {self.from_store:,} from the store" if self.from_store else ""
        aside = f"; {self.set_aside}" if self.set_aside else ""
        return (
            f"{self.stage}: {self.rows} finished in {duration(elapsed_s)}; "
            f"{self.done - self.from_store:,} requests answered{store}; "
            f"{self.prompt_tokens:,} tokens read, {self.completion_tokens:,} written{aside}{self.faults}"
        )


def about(number: float) -> str:
    """A number to two digits: `4,300` of 4,321.5."""
    digits = max(0, len(str(round(number))) - 2)
    return f"{round(number / 10**digits) * 10**digits:,}"


class Meter:
    """Reads a job's counters and remembers those of the last minute, for rates."""

    def __init__(self, stage: str, progress: Progress, ask: Ask) -> None:
        self._stage = stage
        self._progress = progress
        self._ask = ask
        self._before = self._counts()
        self._seen: deque[tuple[float, int, int, int]] = deque([(0.0, 0, 0, 0)])

    def _counts(self) -> tuple[int, int, int, int, int]:
        """Requests answered, those from the store, requests, tokens read and written, of this process."""
        accounts: list[Account] = list(self._ask.accounts.values())
        answered = sum(account.answered for account in accounts)
        stored = sum(account.from_store + account.shared for account in accounts)
        read = sum(account.prompt_tokens for account in accounts)
        written = sum(account.completion_tokens for account in accounts)
        return answered, stored, answered + stored, read, written

    def read(self) -> Snapshot:
        """The figures of this moment, of this stage."""
        progress = self._progress
        answered, stored, done, read, written = (
            now - before for now, before in zip(self._counts(), self._before, strict=True)
        )
        rows = progress.finished + progress.excluded.total() + progress.quarantined.total()
        now_s = progress.elapsed_s()
        while len(self._seen) > 1 and now_s - self._seen[0][0] > RATE_OVER_S:
            self._seen.popleft()
        then_s, then_rows, then_answered, then_tokens = self._seen[0]
        passed = max(now_s - then_s, 1e-9)
        rate = (answered - then_answered) / passed
        if now_s - self._seen[-1][0] >= LIVE_EVERY_S / 2:
            self._seen.append((now_s, rows, answered, read + written))
        expected = progress.expected_requests
        left = expected - done if expected is not None else None
        return Snapshot(
            stage=self._stage,
            seen=progress.seen,
            total=progress.total,
            in_flight=progress.in_flight,
            done=done,
            expected=expected,
            from_store=stored,
            rows_per_s=(rows - then_rows) / passed,
            requests_per_s=rate,
            eta_s=left / rate if left is not None and left > 0 and rate > 0 and answered >= 20 else None,
            prompt_tokens=read,
            completion_tokens=written,
            tokens_per_s=(read + written - then_tokens) / passed,
            excluded=progress.excluded.total(),
            quarantined=progress.quarantined.total(),
            retries=sum(sum(kinds.values()) for kinds in faults_of(self._ask).values()),
            faults=_in_words(faults_of(self._ask)),
        )


def _in_words(faults: dict[str, dict[str, int]]) -> str:
    """` (busy 3, reset 1)`, all engines together, or nothing."""
    kinds: Counter[str] = Counter()
    for found in faults.values():
        kinds.update(found)
    said = ", ".join(f"{kind} {count:,}" for kind, count in sorted(kinds.items()))
    return f" ({said})" if said else ""


class Display:
    """Shows a job while it works; use it as an asynchronous context manager."""

    def __init__(self, stage: str, progress: Progress, ask: Ask, console: Console) -> None:
        self._meter = Meter(stage, progress, ask)
        self._progress = progress
        self._console = console
        self._task: asyncio.Task[None] | None = None
        self._live: Live | None = None

    async def __aenter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(self._table(), console=self._console, refresh_per_second=4, transient=True)
            self._live.start()
        self._task = asyncio.get_running_loop().create_task(self._show())
        return self

    async def _show(self) -> None:
        while True:
            await asyncio.sleep(LIVE_EVERY_S if self._live is not None else PLAIN_EVERY_S)
            if self._live is not None:
                self._live.update(self._table())
            else:
                self._console.print(self._meter.read().line(), soft_wrap=True)

    def _table(self) -> Table:
        now = self._meter.read()
        table = Table.grid(padding=(0, 2))
        table.add_row(now.stage, f"{now.rows} finished, {now.in_flight:,} under way")
        table.add_row("requests", f"{now.requests}{now.left}")
        table.add_row(
            "speed",
            f"{now.requests_per_s:,.0f} requests, {now.rows_per_s:,.1f} rows, {now.tokens_per_s:,.0f} tokens a second",
        )
        store = f"; {now.from_store:,} requests from the store" if now.from_store else ""
        table.add_row("tokens", f"{now.prompt_tokens:,} read, {now.completion_tokens:,} written{store}")
        if now.set_aside:
            table.add_row("set aside", now.set_aside)
        return table

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
        if self._live is not None:
            self._live.stop()
        self._console.print(
            self._meter.read().last_line(self._progress.elapsed_s()), soft_wrap=not self._console.is_terminal
        )
