"""Asking an engine without a run: nothing is kept, every answer is a new one.

What this module does not know: what is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from cai.engine import Engine
from cai.request import Completion, GenerateRequest, Request, ScoreRequest, Scores

Result = TypeVar("Result")


class DirectAsk:
    """What the doctor asks with, over one engine that is open."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        """Ask for option probabilities. Raises: EngineError."""
        return await self._flushed(self._engine.score(requests))

    async def generate(self, request: GenerateRequest) -> Completion:
        """Ask for a text. Raises: EngineError."""
        return await self._flushed(self._engine.generate(request))

    def digest(self, request: Request) -> str:
        """A request's identity."""
        return request.digest(self._engine.identity.digest)

    async def _flushed(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Wait for an answer; nobody else is coming, so no batch waits to be filled."""
        task = asyncio.ensure_future(work)
        await asyncio.sleep(0)
        self._engine.flush()
        return await task
