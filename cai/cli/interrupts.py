"""Ctrl-C, SIGTERM and the end of the time given: what is under way is finished and kept.

A SIGTERM (a cluster that takes its machine back) does what one Ctrl-C does, at any moment. Of the time
that `--max-hours` gives, the last part is for what is under way: the job is stopped gently STOP_SHARE of
the time before its end, at most STOP_MAX_S, and what is not answered at the end is left.

What this module does not know: what is under way.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cai.cli.console import err

STOP_SHARE = 0.05
STOP_MAX_S = 300.0


class Deadline:
    """When a run has to have ended; `hours` None: never. It begins to count when it is made."""

    def __init__(self, hours: float | None) -> None:
        self.ends_s = time.monotonic() + 3600.0 * hours if hours is not None else None
        whole_s = 3600.0 * hours if hours is not None else 0.0
        self.margin_s = min(STOP_MAX_S, STOP_SHARE * whole_s)
        self.passed = False
        """Whether it has stopped the run."""


@contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """While this lasts, a SIGTERM is a Ctrl-C."""
    before = signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Interrupts:
    """The first Ctrl-C (or SIGTERM, or a deadline that is near) ends the job gently, the second at once."""

    def __init__(self, stop: Callable[[], None], deadline: Deadline | None = None) -> None:
        self._stop = stop
        self._deadline = deadline or Deadline(None)
        self._timers: list[asyncio.TimerHandle] = []
        self._sigterm_before: Any = signal.SIG_DFL
        self.seen = 0

    def __enter__(self) -> Interrupts:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        self._sigterm_before = signal.getsignal(signal.SIGTERM)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._interrupt, task)
        if self._deadline.ends_s is not None:
            left_s = self._deadline.ends_s - time.monotonic()
            self._timers = [
                loop.call_later(max(0.0, left_s - self._deadline.margin_s), self._nearly_over),
                loop.call_later(max(0.0, left_s), self._over, task),
            ]
        return self

    def _nearly_over(self) -> None:
        if self.seen == 0:
            self._deadline.passed = True
            self.seen = 1
            err().print("The time is nearly over: what is under way is finished and kept.")
            self._stop()

    def _over(self, task: asyncio.Task[object]) -> None:
        """Also where a person or a SIGTERM had stopped it gently before."""
        self._nearly_over()
        if self.seen == 1:
            self.seen = 2
            task.cancel()

    def _interrupt(self, task: asyncio.Task[object]) -> None:
        self.seen += 1
        if self.seen == 1:
            err().print("Stopping: what is under way is finished and kept. Ctrl-C again stops at once.")
            self._stop()
        else:
            task.cancel()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        loop = asyncio.get_running_loop()
        for timer in self._timers:
            timer.cancel()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        signal.signal(signal.SIGTERM, self._sigterm_before)  # asyncio would leave the system's own
        return self.seen > 1 and kind is not None and issubclass(kind, asyncio.CancelledError)
