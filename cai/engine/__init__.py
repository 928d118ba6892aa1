"""Engines: what can be asked. One protocol, three kinds, named in a recipe's `engines:` map.

    server     a model behind HTTP: vLLM first, any OpenAI-compatible server as far as it can
    local      transformers in this process, on CPU or GPU
    scripted   answers from a function, for tests and dry runs

What an engine does not know: rows, stages, the store. It is handed requests, answers them or
raises an EngineError, and retries what is worth retrying.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from cai.engine.fingerprint import Fingerprint
from cai.engine.identity import Identity
from cai.engine.position import Position
from cai.request import Completion, GenerateRequest, ScoreRequest, Scores


class Engine(Protocol):
    """What the rest of the program knows of a model.

    `identity` is known once `open` has returned. `context_tokens` is the longest prompt plus
    answer, or None where the engine does not say. `concurrency` is how many requests it wants
    in flight. `flush` is called when every admitted row waits for an answer: an engine that
    gathers batches must send what it has.
    """

    name: str
    context_tokens: int | None
    concurrency: int

    @property
    def identity(self) -> Identity:
        """Who it is."""

    async def open(self) -> None:
        """Connect or load. Raises: EngineError, MissingExtraError."""

    async def close(self) -> None:
        """Let go of connections and memory; safe to call twice."""

    async def generate(self, request: GenerateRequest, priority: int = 0) -> Completion:
        """Answer one request; lower `priority` (older rows) goes first. Raises: EngineError."""

    async def score(self, requests: Sequence[ScoreRequest], priority: int = 0) -> list[Scores]:
        """Answer requests that share a prefix, in their order. Raises: EngineError."""

    async def position(self, request: ScoreRequest) -> Position:
        """What is known of the place where an answer goes on, for people to read. Raises: EngineError."""

    def flush(self) -> None:
        """Send what waits for a batch to fill."""


@runtime_checkable
class Streaming(Protocol):
    """An engine that can give a text piece by piece."""

    async def stream(
        self, request: GenerateRequest, on_text: Callable[[str], None], priority: int = 0
    ) -> Completion:
        """Answer one request, with `on_text` called for each piece as it comes. Raises: EngineError."""


@runtime_checkable
class Guarded(Protocol):
    """An engine that another model could take the place of, and that can tell."""

    fingerprint: Fingerprint

    def hold_to(self, known: Fingerprint) -> None:
        """From now on be the model with this fingerprint. Raises: EngineRefusedError where it is another."""
