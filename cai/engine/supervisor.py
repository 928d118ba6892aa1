"""Keeping a server that the run has started alive: one that crashes is started again, a few times.

While it comes up again its engine waits, with no limit but the server's own `ready_timeout_s`. One that
crashes RESTARTS_MAX times, or does not come up, ends the engine with the last lines of its log.

What this module does not know: which server it is, what it is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Protocol, runtime_checkable

from cai.errors import CaiError, EngineDownError, EngineError

_log = logging.getLogger("cai")

RESTARTS_MAX = 3


class Server(Protocol):
    """A server as a child process (cai/engine/serve.py)."""

    async def wait_ended(self) -> int:
        """Wait until it ends; its exit code."""

    async def restart(self) -> None:
        """Start it once more, and wait until it answers. Raises: EngineError."""

    async def stop(self) -> None:
        """End it."""

    def ended_with(self, code: int, before: str) -> EngineError:
        """The error of a server that has ended."""


@runtime_checkable
class Restartable(Protocol):
    """An engine whose server may come up again."""

    def restarting(self, is_so: bool) -> None:
        """While its server is being started again, no time limit counts for its being down."""

    def give_up(self, error: EngineError) -> None:
        """Its server will not come back: every request, now and later, gets this error."""


class Supervisor:
    """Watches one server for one engine; `stop` ends both the watching and the server."""

    def __init__(self, server: Server, engine: Restartable) -> None:
        self._server = server
        self._engine = engine
        self._task = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        for restart in range(RESTARTS_MAX + 1):
            code = await self._server.wait_ended()
            ended = self._server.ended_with(code, "while the run was using it")
            if restart == RESTARTS_MAX:
                problem = f"{ended.problem.rstrip()}\nIt was started again {RESTARTS_MAX} times before."
                self._engine.give_up(EngineDownError(problem, ended.remedy))
                return
            _log.warning("%s It is started again (%d of %d).", ended.problem, restart + 1, RESTARTS_MAX)
            self._engine.restarting(True)
            try:
                await self._server.restart()
            except CaiError as error:
                self._engine.give_up(
                    error if isinstance(error, EngineError) else EngineDownError(error.problem, error.remedy)
                )
                return
            finally:
                self._engine.restarting(False)

    async def stop(self) -> None:
        """Stop watching, then stop the server."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self._server.stop()
