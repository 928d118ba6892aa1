"""Ctrl-C while something is paid for: what is under way is finished and kept.

What this module does not know: what is under way.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from cai.cli.console import err


class Interrupts:
    """The first Ctrl-C (or SIGTERM) ends the job gently, the second at once."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self.seen = 0

    def __enter__(self) -> Interrupts:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._interrupt, task)
        return self

    def _interrupt(self, task: asyncio.Task[object]) -> None:
        self.seen += 1
        if self.seen == 1:
            err().print("Stopping: what is under way is finished and kept. Ctrl-C again stops at once.")
            self._stop()
        else:
            task.cancel()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        return self.seen > 1 and kind is not None and issubclass(kind, asyncio.CancelledError)
