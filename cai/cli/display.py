"""The progress of a job: a live display on a terminal, plain lines elsewhere.

What this module does not know: how the job works; it reads counters.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from cai.ask import Account, Ask
from cai.job import Progress

LIVE_EVERY_S = 0.5
PLAIN_EVERY_S = 10.0


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
    """The figures of one moment; `eta_s` is None where nothing can be said yet."""

    stage: str
    seen: int
    total: int | None
    rows_per_s: float
    eta_s: float | None
    answered: int
    from_store: int
    prompt_tokens: int
    completion_tokens: int
    tokens_per_s: float
    in_flight: int
    excluded: int
    quarantined: int
    retries: int

    def line(self) -> str:
        """One plain line."""
        total = f" of {self.total:,}" if self.total is not None else ""
        eta = f", about {duration(self.eta_s)} left" if self.eta_s is not None else ""
        extra = "".join(
            f", {count:,} {name}"
            for name, count in (
                ("excluded", self.excluded),
                ("in quarantine", self.quarantined),
                ("retries", self.retries),
            )
            if count
        )
        return (
            f"{self.stage}: {self.seen:,}{total} rows, {self.rows_per_s:.1f} rows/s{eta}; "
            f"{self.answered:,} answers and {self.from_store:,} from the store, "
            f"{self.prompt_tokens:,} + {self.completion_tokens:,} tokens, {self.tokens_per_s:,.0f} tokens/s"
            f"{extra}"
        )


def snapshot(stage: str, progress: Progress, ask: Ask) -> Snapshot:
    """Read the counters."""
    elapsed = max(progress.elapsed_s(), 1e-9)
    done = progress.finished + progress.excluded.total() + progress.quarantined.total()
    rate = done / elapsed
    left = progress.total - progress.seen if progress.total is not None else None
    accounts: list[Account] = list(ask.accounts.values())
    prompt = sum(account.prompt_tokens for account in accounts)
    completion = sum(account.completion_tokens for account in accounts)
    return Snapshot(
        stage=stage,
        seen=progress.seen,
        total=progress.total,
        rows_per_s=rate,
        eta_s=left / rate if left is not None and left > 0 and done >= 3 else None,
        answered=sum(account.answered for account in accounts),
        from_store=sum(account.from_store for account in accounts),
        prompt_tokens=prompt,
        completion_tokens=completion,
        tokens_per_s=(prompt + completion) / elapsed,
        in_flight=progress.in_flight,
        excluded=progress.excluded.total(),
        quarantined=progress.quarantined.total(),
        retries=_retries(ask),
    )


def _retries(ask: Ask) -> int:
    total = 0
    for engine in ask.engines.values():
        faults = getattr(getattr(engine, "inner", engine), "faults", {})
        total += sum(faults.values())
    return total


class Display:
    """Shows a job while it works; use it as an asynchronous context manager."""

    def __init__(self, stage: str, progress: Progress, ask: Ask, console: Console) -> None:
        self._stage = stage
        self._progress = progress
        self._ask = ask
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
                self._console.print(self._now().line(), soft_wrap=True)

    def _now(self) -> Snapshot:
        return snapshot(self._stage, self._progress, self._ask)

    def _table(self) -> Table:
        now = self._now()
        table = Table.grid(padding=(0, 2))
        total = f" of {now.total:,}" if now.total is not None else ""
        share = f"  ({now.seen / now.total:.1%})" if now.total else ""
        table.add_row(now.stage, f"{now.seen:,}{total} rows{share}")
        eta = f", about {duration(now.eta_s)} left" if now.eta_s is not None else ""
        table.add_row("speed", f"{now.rows_per_s:.1f} rows/s{eta}")
        table.add_row(
            "tokens",
            f"{now.prompt_tokens:,} read, {now.completion_tokens:,} written, {now.tokens_per_s:,.0f} a second",
        )
        table.add_row(
            "requests",
            f"{now.answered:,} answered, {now.from_store:,} from the store, {now.in_flight:,} rows under way",
        )
        if now.excluded or now.quarantined or now.retries:
            table.add_row(
                "set aside",
                f"{now.excluded:,} excluded, {now.quarantined:,} in quarantine, {now.retries:,} retries",
            )
        return table

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
        if self._live is not None:
            self._live.stop()
        self._console.print(self._now().line(), soft_wrap=True)
