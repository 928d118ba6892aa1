"""The server engine: a model behind HTTP, vLLM first, any OpenAI-compatible server as far as it can.

A request is made to exact token ids here (cai/engine/encoding.py) and goes to `/v1/completions`;
requests that are scored together go in one call. A prompt that does not fit into the context is
answered `too_long` without travelling, because one such prompt would spoil its whole call.

When it opens, the engine finds out what the server can do (cai/engine/server_contact.py). Where ids are not taken, or no tokenizer is at
hand, requests go to `/v1/chat/completions` as messages: the server's own rendering, beginnings of
answers by `continue_final_message`, options among the 20 most probable tokens. The log says so.

What this module does not know: faults and retries (cai/engine/connection.py), the form of
bodies and answers (cai/engine/wire.py), rows, the store.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

from cai.engine.connection import Connection
from cai.engine.encoding import Encoder
from cai.engine.fault_kinds import Status
from cai.engine.fingerprint import Fingerprint
from cai.engine.identity import Identity
from cai.engine.position import Position
from cai.engine.server_contact import FirstContact
from cai.engine.server_fingerprint import Canaries
from cai.engine.server_position import ServerProbe
from cai.engine.thoughts import answered
from cai.engine.wire import (
    MAX_OPTION_TOKENS,
    StreamedCompletion,
    Unreadable,
    chat_body,
    choices_of,
    generate_body,
    is_too_long,
    read_chat_scores,
    read_completion,
    read_scores,
    score_body,
    stream_body,
)
from cai.errors import EngineAnswerError, EngineError, EngineRefusedError
from cai.recipe import EngineSection
from cai.request import Completion, GenerateRequest, ScoreRequest, Scores

_log = logging.getLogger("cai")


class ServerEngine:
    """The model of a recipe's `section`, at its `urls`.

    `date`: the ISO date that a chat template asking for the day is told; `run`: how a person names
    the run, for hints. `faults` counts what went wrong on the wire, by kind, what was tried again included.
    """

    identity: Identity

    def __init__(self, name: str, section: EngineSection, date: str, run: str = "RUN") -> None:
        self.name = name
        self.context_tokens: int | None = None
        self.concurrency = section.concurrency
        self._section = section
        self._date = date
        self._encoder: Encoder | None = None
        self._offers: dict[str, bool] = {}
        self._connection = Connection(
            section.urls or [_served_at(section)],
            section.concurrency,
            section.timeout_s,
            section.retry_s,
            os.environ.get(section.api_key_variable, ""),
            "Is it running?" + (f" `cai serve {run}` starts it." if section.serve is not None else ""),
            section.stall_s,
        )
        self.fingerprint = Fingerprint()

    @property
    def faults(self) -> dict[str, int]:
        """How often each kind of fault happened."""
        return self._connection.faults

    async def open(self) -> None:
        """Connect to every server, and find out what it can do.

        Raises: EngineDownError where one cannot be reached within `retry_s`; EngineRefusedError
        where it has another model or tokenizer, or wants another key.
        """
        self._connection.open()
        try:
            found = await FirstContact(self.name, self._connection, self._section, self._date).make()
            self._encoder, self.context_tokens, self._offers = (
                found.encoder,
                found.context_tokens,
                found.offers,
            )
            self._canaries = Canaries(
                self.name, self._connection, self._section, self._encoder, self.context_tokens
            )
            self.fingerprint = await self._canaries.begin()
        except BaseException:  # a Ctrl-C too: its connections are closed
            await self.close()
            raise
        parts = (
            self._encoder.identity_parts()
            if self._encoder is not None
            else {
                "form": self._section.form,
                "template_args": self._section.template_args,
                "thinking": self._section.thinking.record(),
            }
        )
        self.identity = Identity(self._section.model, self._section.revision, **parts)

    def hold_to(self, known: Fingerprint) -> None:
        """From now on be the model with this fingerprint. Raises: EngineRefusedError where it is another."""
        self.fingerprint = known
        self._canaries.hold(known)

    def restarting(self, is_so: bool) -> None:
        """While its server is being started again, no time limit counts for its being down."""
        self._connection.breaker.patient = is_so

    def give_up(self, error: EngineError) -> None:
        """Its server will not come back: every request, now and later, gets this error."""
        self._connection.breaker.end(error)

    async def close(self) -> None:
        """Close all connections; safe to call twice."""
        await self._connection.stop()

    def flush(self) -> None:
        """Nothing waits here for a batch to fill: the server makes batches itself."""

    async def position(self, request: ScoreRequest) -> Position:
        """What is known of the place where an answer goes on. Raises: EngineError."""
        return await ServerProbe(self._connection, self._section, self._encoder, self._offers).position(
            request
        )

    async def generate(self, request: GenerateRequest, priority: int = 0) -> Completion:
        """Answer one request. Raises: EngineError."""
        async with self._connection.admitted(priority):
            if self._encoder is None:
                return await self._chat_generate(request)
            ids = self._encoder.encode(request)
            if not self._fits(ids, request.sampling.max_tokens):
                return Completion("", "too_long", len(ids), 0, self.context_tokens)
            body = generate_body(self._section.model, ids, request, self._encoder.hides_thinking)
            try:
                done = await self._connection.complete(body, 1, lambda got: read_completion(got, len(ids)))
                return self._without_thoughts(request, done)
            except Status as error:
                self._raise_unless_too_long(error)
                return Completion("", "too_long", len(ids), 0, self.context_tokens)

    async def stream(
        self, request: GenerateRequest, on_text: Callable[[str], None], priority: int = 0
    ) -> Completion:
        """The same as `generate`, with `on_text` called for each piece as it comes. Raises: EngineError."""
        if self._encoder is None:
            return await self.generate(request, priority)
        ids = self._encoder.encode(request)
        if not self._fits(ids, request.sampling.max_tokens):
            return Completion("", "too_long", len(ids), 0, self.context_tokens)
        events = StreamedCompletion(len(ids))
        async with self._connection.admitted(priority):
            try:
                body = stream_body(self._section.model, ids, request, self._encoder.hides_thinking)
                async for event in self._connection.stream(body):
                    on_text(events.add(event))
            except Status as error:
                self._raise_unless_too_long(error)
                return Completion("", "too_long", len(ids), 0, self.context_tokens)
        try:
            return self._without_thoughts(request, events.completion())
        except Unreadable as error:
            raise self._connection.mapped(error) from error

    async def score(self, requests: Sequence[ScoreRequest], priority: int = 0) -> list[Scores]:
        """Answer requests that share a prefix, in their order, in one call. Raises: EngineError."""
        if not requests:
            return []
        async with self._connection.admitted(priority, len(requests)):
            if self._encoder is None:
                return list(await asyncio.gather(*map(self._chat_score, requests)))
            prompts = self._encoder.encode_many(requests)
            fitting = [index for index, ids in enumerate(prompts) if self._fits(ids, 1)]
            answers = [Scores((), None, len(ids), "too_long", self.context_tokens) for ids in prompts]
            if fitting:
                options = [self._encoder.options(requests[index]) for index in fitting]
                scored = await self._score_ids([prompts[index] for index in fitting], options)
                for index, scores in zip(fitting, scored, strict=True):
                    answers[index] = scores
            return answers

    async def _score_ids(
        self, prompts: list[list[int]], options: list[tuple[tuple[int, ...], ...]]
    ) -> list[Scores]:
        tokens = sorted({token for each in set(options) for ids in each for token in ids})
        if len(tokens) > MAX_OPTION_TOKENS:
            raise EngineRefusedError(
                f"These options are spelt by {len(tokens)} tokens; a server tells {MAX_OPTION_TOKENS} at most.",
                "Ask about fewer options at once.",
            )

        def read(got: dict[str, Any]) -> list[Scores]:
            choices = choices_of(got, len(prompts))
            return [
                read_scores(choice, each, len(ids))
                for choice, each, ids in zip(choices, options, prompts, strict=True)
            ]

        body = score_body(self._section.model, prompts, tokens)
        try:
            return await self._connection.complete(body, len(prompts), read)
        except Status as error:
            self._raise_unless_too_long(error)
        if len(prompts) == 1:
            return [Scores((), None, len(prompts[0]), "too_long", self.context_tokens)]
        # The server's context is smaller than it says: ask for each, to learn which are too long.
        apart = [self._score_ids([ids], [each]) for ids, each in zip(prompts, options, strict=True)]
        return [scores for [scores] in await asyncio.gather(*apart)]

    async def _chat_generate(self, request: GenerateRequest) -> Completion:
        body = chat_body(self._section, request)
        try:
            done = await self._connection.complete(body, 1, lambda got: read_completion(got, None), chat=True)
            return self._without_thoughts(request, done)
        except Status as error:
            self._raise_unless_too_long(error)
            return Completion("", "too_long", 0, 0, self.context_tokens)

    def _without_thoughts(self, request: GenerateRequest, done: Completion) -> Completion:
        marks = self._section.thinking.known
        if self._encoder is None:  # the server renders: whether it opens a block is not known
            return answered(done, request, marks, "no" if self._section.thinking.block else "maybe", None)
        opened = self._encoder.leaves_thinking_open(request.rendered)
        return answered(done, request, marks, opened, self._encoder.count)

    async def _chat_score(self, request: ScoreRequest) -> Scores:
        body = chat_body(self._section, request)
        try:
            return await self._connection.complete(
                body, 1, lambda got: read_chat_scores(got, request.options), chat=True
            )
        except Status as error:
            self._raise_unless_too_long(error)
            return Scores((), None, 0, "too_long", self.context_tokens)

    def _fits(self, ids: list[int], answer_tokens: int) -> bool:
        """Whether prompt and answer fit. Raises: EngineAnswerError for a prompt of no tokens."""
        if not ids:
            raise EngineAnswerError(f"Engine {self.name!r} was sent a prompt without any token.")
        return self.context_tokens is None or len(ids) + answer_tokens <= self.context_tokens

    def _raise_unless_too_long(self, error: Status) -> None:
        if not is_too_long(error.status, error.body):
            raise self._connection.mapped(error) from error


def _served_at(section: EngineSection) -> str:
    """Where the server that `cai serve` starts answers on this machine."""
    assert section.serve is not None, "a server engine has urls or a serve section"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(section.serve.host, section.serve.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{section.serve.port}"
