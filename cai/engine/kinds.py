"""Making an engine from a recipe's section; torch and HTTP are imported only for the kind asked for.

`LazyEngine` opens at the first request, so that a run whose answers are all in the store needs
neither a server nor a model, and holds the engine to the identity that was frozen.

What this module does not know: how any kind works inside.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cai.engine import Engine, Guarded, Streaming
from cai.engine.fingerprint import Fingerprint
from cai.engine.identity import Identity
from cai.engine.position import Position
from cai.engine.supervisor import Restartable, Supervisor
from cai.recipe import EngineSection
from cai.request import Completion, GenerateRequest, ScoreRequest, Scores

if TYPE_CHECKING:
    from cai.engine.serve import VllmServer

_log = logging.getLogger("cai")


def make_engine(name: str, section: EngineSection, date: str, run: str = "RUN") -> Engine:
    """An engine, not yet open. `date`: the ISO date that templates asking for the day are told;
    `run`: how a person names its run.

    Raises: MissingExtraError where an optional dependency is missing.
    """
    if section.kind == "server":
        from cai.engine.server import ServerEngine

        return ServerEngine(name, section, date, run)
    if section.kind == "local":
        from cai.engine.local import LocalEngine

        return LocalEngine(name, section, date)
    from cai.engine.scripted import ScriptedEngine

    return ScriptedEngine(name, section)


class LazyEngine:
    """An engine that is opened by its first request, or by `open`.

    `make` makes it; `settle` is handed its identity once it is open, and refuses it by raising;
    `settle_fingerprint` gives the fingerprint that the run knows it by.
    """

    def __init__(
        self,
        name: str,
        section: EngineSection,
        make: Callable[[], Engine],
        settle: Callable[[Identity], Identity],
        known: Identity | None,
        settle_fingerprint: Callable[[Fingerprint], Fingerprint] = lambda fingerprint: fingerprint,
    ) -> None:
        self.name = name
        self.section = section
        self.context_tokens: int | None = None
        self.concurrency = 2 * section.batch_size if section.kind == "local" else section.concurrency
        self._make = make
        self._settle = settle
        self._known = known
        self._settle_fingerprint = settle_fingerprint
        self._engine: Engine | None = None
        self._opening = asyncio.Lock()
        self._serving: VllmServer | Supervisor | None = None
        self.on_late: Callable[[], None] = lambda: None
        """Called once a request that waited for the engine to open has reached it."""

    @property
    def identity(self) -> Identity:
        """Who it is: as frozen, or as settled when it opened."""
        assert self._known is not None, "open the engine first"
        return self._known

    @property
    def is_open(self) -> bool:
        """Whether it has been needed."""
        return self._engine is not None

    @property
    def inner(self) -> Engine | None:
        """The engine itself, once open."""
        return self._engine

    async def open(self) -> None:
        """Start its server where the recipe says so, connect or load, and settle who it is.

        Raises: EngineError, MissingExtraError, RecipeError (not the engine this run began with).
        """
        async with self._opening:
            if self._engine is not None:
                return
            server: VllmServer | None = None
            if self.section.serve is not None and self.section.serve.with_run:
                from cai.engine.serve import VllmServer

                if self._serving is not None:  # of an earlier try
                    await self._serving.stop()
                self._serving = server = VllmServer(self.section)
                await server.start()
                _log.warning("Starting vLLM for %s; its log goes to %s", self.section.model, server.log_path)
                await server.wait_ready()
            engine = self._make()
            await engine.open()
            try:
                self._known = self._settle(engine.identity)
                if isinstance(engine, Guarded):
                    engine.hold_to(self._settle_fingerprint(engine.fingerprint))
            except BaseException:  # a Ctrl-C too: an open engine is not left behind
                await engine.close()
                raise
            self.context_tokens = engine.context_tokens
            if server is not None and isinstance(engine, Restartable):
                self._serving = Supervisor(server, engine)
            self._engine = engine

    async def close(self) -> None:
        """Close the engine, and stop its server where it was started here."""
        if self._engine is not None:
            await self._engine.close()
        if self._serving is not None:
            await self._serving.stop()
            self._serving = None

    async def _ready(self) -> Engine:
        await self.open()
        assert self._engine is not None
        asyncio.get_running_loop().call_soon(self.on_late)
        return self._engine

    async def position(self, request: ScoreRequest) -> Position:
        """What is known of the place where an answer goes on. Raises: EngineError."""
        engine = self._engine or await self._ready()
        return await engine.position(request)

    async def generate(self, request: GenerateRequest, priority: int = 0) -> Completion:
        """Answer one request. Raises: EngineError."""
        engine = self._engine or await self._ready()
        return await engine.generate(request, priority)

    async def stream(
        self, request: GenerateRequest, on_text: Callable[[str], None], priority: int = 0
    ) -> Completion:
        """Answer one request, with `on_text` called for each piece as it comes: at once, where the
        engine cannot give pieces. Raises: EngineError."""
        engine = self._engine or await self._ready()
        if isinstance(engine, Streaming):
            return await engine.stream(request, on_text, priority)
        completion = await engine.generate(request, priority)
        on_text(completion.text)
        return completion

    async def score(self, requests: Sequence[ScoreRequest], priority: int = 0) -> list[Scores]:
        """Answer requests that share a prefix. Raises: EngineError."""
        engine = self._engine or await self._ready()
        return await engine.score(requests, priority)

    def flush(self) -> None:
        """Send what waits for a batch to fill."""
        if self._engine is not None:
            self._engine.flush()
