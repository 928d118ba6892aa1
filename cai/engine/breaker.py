"""Whether the servers of an engine are up: a circuit breaker, a watchdog, and what ends an engine.

A server is down after one refused connection, or after several resets and 5xx in a row. No call
goes to it then; a probe looks after it, at growing intervals, until it answers. While no server
is up, calls wait, which costs none of their own time for retries; after `retry_s` without any the
engine ends. It ends too where calls are under way, none has been answered for `stall_s`, and
a probe is not answered either: such a server says that it is healthy, and does nothing.

An engine that has ended raises the same error to every caller, and stays so.

What this module does not know: how a call travels, what a probe asks.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from yarl import URL

from cai.engine.fault_kinds import DOWN_KINDS
from cai.errors import EngineDownError, EngineError, EngineRefusedError

_log = logging.getLogger("cai")

COOLING_S = 1.0
"""How long a server that failed is passed over, if there is another."""

FAILURES_IN_A_ROW = 5
FIRST_PROBE_S = 0.2
LONGEST_PROBE_PAUSE_S = 5.0
LONGEST_TICK_S = 15.0


@dataclass(slots=True, eq=False)
class Place:
    """One server: its address, how many requests it has, and how it has fared lately.

    `checked_at`: when it was last seen to be the model that the run began with.
    """

    url: str
    completions: URL
    chat: URL
    in_flight: int = 0
    cooling_until: float = 0.0
    failures: int = 0
    down: bool = False
    checked_at: float = 0.0
    checking: asyncio.Lock = field(default_factory=asyncio.Lock)


class Breaker:
    """Keeps calls from servers that are down.

    `probe` raises an EngineError where a server does not answer, and an EngineRefusedError where
    it must not be asked any more; `ended` is called once when the engine ends;
    `under_way`: how many requests are being answered or tried again.
    `patient`: while it is set, no time limit counts for servers that are down (one is being started).
    """

    def __init__(
        self,
        places: Sequence[Place],
        retry_s: float,
        stall_s: float,
        probe: Callable[[Place], Awaitable[None]],
        ended: Callable[[], Coroutine[Any, Any, None]],
        under_way: Callable[[], int],
    ) -> None:
        self.fatal: EngineError | None = None
        self.patient = False
        self.progress_at = time.monotonic()
        self._places = places
        self._retry_s = retry_s
        self._stall_s = stall_s
        self._probe = probe
        self._ended = ended
        self._under_way = under_way
        self._up = asyncio.Event()
        self._up.set()
        self._down_since = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to watch; needs a running event loop."""
        self._spawn(self._watch())

    async def stop(self) -> None:
        """End what runs in the background."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def wait(self) -> float:
        """Wait until a server is up; the seconds that it took. Raises: EngineError where the engine ended."""
        began = time.monotonic()
        await self._up.wait()
        self.raise_if_ended()
        return time.monotonic() - began

    @property
    def is_closed(self) -> bool:
        """Whether calls may go out at once (a closed circuit)."""
        return self.fatal is None and self._up.is_set()

    def raise_if_ended(self) -> None:
        """Raises: EngineError where the engine ended; each caller gets an error of its own."""
        if self.fatal is not None:
            raise type(self.fatal)(self.fatal.problem, self.fatal.remedy)

    def end(self, error: EngineError) -> None:
        """The engine answers nothing any more: every caller, now and later, gets this error."""
        if self.fatal is None:
            self.fatal = error
            self._up.set()
            self._spawn(self._ended())

    def failed(self, place: Place, kind: str) -> None:
        """A call to a server went wrong in a way that may pass."""
        place.cooling_until = time.monotonic() + COOLING_S
        if kind not in DOWN_KINDS:
            return
        place.failures += 1
        if place.down or (kind != "refused" and place.failures < FAILURES_IN_A_ROW):
            return
        place.down = True
        if all(each.down for each in self._places) and self.fatal is None:
            self._up.clear()
            self._down_since = time.monotonic()
            _log.warning("No server answers (%s); requests wait until one does.", place.url)
        self._spawn(self._bring_back(place))

    async def _bring_back(self, place: Place) -> None:
        """Probe a server until it is up, or the engine ends."""
        pause = FIRST_PROBE_S
        while self.fatal is None:
            if not self._up.is_set() and not self.patient:
                left = self._down_since + self._retry_s - time.monotonic()
                await asyncio.sleep(max(0.01, min(pause, left)))
            else:
                await asyncio.sleep(pause)
            try:
                await self._probe(place)
            except EngineRefusedError as error:
                self.end(error)
            except EngineError as error:
                pause = min(1.6 * pause, LONGEST_PROBE_PAUSE_S)
                counts = not self._up.is_set() and not self.patient
                if counts and time.monotonic() - self._down_since >= self._retry_s:
                    self.end(EngineDownError(error.problem, error.remedy))
            else:
                self._back(place)
                return

    def _back(self, place: Place) -> None:
        place.down, place.failures, place.cooling_until = False, 0, 0.0
        self.progress_at = time.monotonic()
        if not self._up.is_set():
            _log.warning("The server at %s answers again; requests go on.", place.url)
        self._up.set()

    async def _watch(self) -> None:
        """End the engine where it makes no progress."""
        tick_s = min(LONGEST_TICK_S, self._stall_s / 4)
        while self.fatal is None:
            await asyncio.sleep(tick_s)
            now = time.monotonic()
            if not self._up.is_set() or not self._under_way():
                self.progress_at = now
            elif now - self.progress_at >= self._stall_s:
                await self._look_at_stalled()

    async def _look_at_stalled(self) -> None:
        """Nothing was answered for long: do the servers answer anything at all?"""
        for place in [place for place in self._places if not place.down]:
            try:
                await self._probe(place)
            except EngineRefusedError as error:
                self.end(error)
                return
            except EngineError:
                continue
            self.progress_at = time.monotonic()
            return
        names = ", ".join(place.url for place in self._places)
        self.end(
            EngineDownError(
                f"The server at {names} has answered none of {self._under_way():,} requests for {self._stall_s:g} s, "
                "and not a small one either: it makes no progress.",
                "Look at its log and restart it, then type the same command again; if it is only slow, "
                "raise the engine's `stall_s`.",
            )
        )

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        """A watcher that ends by an error that nobody expects ends the engine: else callers would wait for ever."""
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log.error("What watches the servers failed.", exc_info=error)
            self.end(
                EngineDownError(
                    f"What watches the servers failed ({type(error).__name__}: {error}).",
                    "That is a mistake of the program: report it. The same command goes on with the run.",
                )
            )
