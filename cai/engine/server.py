"""The server engine: a model behind HTTP, vLLM first, any OpenAI-compatible server as far as it can.

A request is made to exact token ids here (cai/engine/encoding.py) and goes to `/v1/completions`;
requests that are scored together go in one call. A prompt that does not fit into the context is
answered `too_long` without travelling, because one such prompt would spoil its whole call.

When it opens, the engine finds out what the server can do: which model and context it has,
whether it takes token ids and gives the log-probabilities of given tokens, and whether its
tokenizer makes the same ids of the same text. Where ids are not taken, or no tokenizer is at
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
from pathlib import Path
from typing import Any

import orjson

from cai.engine.breaker import Place
from cai.engine.connection import Connection
from cai.engine.encoding import Encoder, load_encoder
from cai.engine.fault_kinds import Status
from cai.engine.fingerprint import Fingerprint
from cai.engine.identity import Identity
from cai.engine.position import Position
from cai.engine.server_fingerprint import Canaries
from cai.engine.server_position import OPTION_IDS, TOKEN_IDS, TOKENIZE, ServerProbe
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
from cai.parts import Message, Part
from cai.recipe import EngineSection
from cai.request import Completion, GenerateRequest, Sampling, ScoreRequest, Scores
from cai.template import Rendered

_log = logging.getLogger("cai")

_PROBE_TEXT = (
    "This sentence's words, 12 or more of them, have to be cut into tokens; isn't that so?\n\n"
    "    def f(x): return x[0] + 3.14  # naïve, größer, 日本語, Привет, “quoted” … 😀\n"
    "Which response is more honest, harmless and helpful? Consider privacy, illegality, evasiveness."
)
PROBE_TOKENS = 64
"""The length of the probe: vLLM 0.32 on some CPUs dies of a first prompt of a few tokens."""


class ServerEngine:
    """The model of a recipe's `section`, at its `urls`.

    `date`: the ISO date that a chat template asking for the day is told; `run`: how a person names
    the run, for hints. `faults` counts what
    went wrong on the wire, by kind, what was tried again included.
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
            models = [await self._model_at(place) for place in self._connection.places]
            lengths = [m["max_model_len"] for m in models if isinstance(m.get("max_model_len"), int)]
            self.context_tokens = min(lengths) if lengths else None
            self._encoder = await asyncio.to_thread(self._find_encoder, models[0].get("root"))
            if self._encoder is not None:
                await self._check(self._encoder)
            self._canaries = Canaries(
                self.name, self._connection, self._section, self._encoder, self.context_tokens
            )
            self.fingerprint = await self._canaries.begin()
        except BaseException:
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
            body = generate_body(self._section.model, ids, request)
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
                async for event in self._connection.stream(stream_body(self._section.model, ids, request)):
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
        here = self._encoder
        return answered(
            done,
            request,
            self._section.thinking.known,
            here is not None,
            here.count if here is not None else None,
        )

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

    async def _model_at(self, place: Place) -> dict[str, Any]:
        """What a server says of the model. Raises: EngineError, listing what it has instead."""
        try:
            answer = await self._connection.ask(place, "/v1/models")
        except Status as error:
            raise self._connection.mapped(error, place) from error
        data = answer.get("data")
        models = [model for model in data if isinstance(model, dict)] if isinstance(data, list) else []
        for model in models:
            if model.get("id") == self._section.model:
                return model
        offered = ", ".join(str(model.get("id")) for model in models) or "none"
        raise EngineRefusedError(
            f"The server at {place.url} has no model {self._section.model!r}; it has: {offered}.",
            f"Set `model` of engine {self.name!r} to one of these, or start the server with another.",
        )

    def _find_encoder(self, root: Any) -> Encoder | None:
        """The encoder of the section's tokenizer, or of the model's folder, or none within reach."""
        section = self._section
        place = section.tokenizer or section.path
        if place is None and isinstance(root, str) and (Path(root) / "tokenizer_config.json").is_file():
            place = root
        known = place is not None
        try:
            files_of = place or section.model
            return load_encoder(
                files_of, section.revision, section.form, section.template_args, self._date, section.thinking
            )
        except EngineRefusedError as error:
            if known:
                raise
            if section.form == "completion":
                raise EngineRefusedError(
                    f"Engine {self.name!r} needs its model's tokenizer: {error.problem}", error.remedy
                ) from error
            self._say_chat(f"no tokenizer is at hand ({error.problem})")
            return None

    async def _check(self, encoder: Encoder) -> None:
        """Find out whether token ids mean the same to every server, and are taken.

        Raises: EngineRefusedError where they mean something else.
        """
        probe = _probe("text" if self._section.form == "completion" else "user")
        ids = encoder.encode(probe)
        for place in self._connection.places:
            await self._check_tokenizer(place, encoder, probe, ids)
        short = ids[: min(PROBE_TOKENS, (self.context_tokens or PROBE_TOKENS) - 1)]
        tokens = sorted(set(ids))[:2]
        body = score_body(self._section.model, [short, short], tokens)
        for place in self._connection.places:
            why = ""
            try:
                if not _tells(await self._connection.ask(place, "/v1/completions", body), tokens):
                    why = "it does not give what `logprob_token_ids` asks for"
            except Status as error:
                refusal = self._connection.mapped(error, place)
                if error.status in (401, 403):
                    raise refusal from error
                why = refusal.problem
            self._offers[TOKEN_IDS] = self._offers[OPTION_IDS] = not why
            if why and self._section.form == "completion":
                raise EngineRefusedError(
                    f"The server at {place.url} does not take token ids and `logprob_token_ids`: {why}",
                    "A base model needs vLLM 0.32 or newer.",
                )
            if why:
                self._encoder = None
                self._say_chat(f"{place.url} does not take token ids and `logprob_token_ids` ({why})")
                return

    async def _check_tokenizer(
        self, place: Place, encoder: Encoder, probe: GenerateRequest, ids: list[int]
    ) -> None:
        """Hold our ids against the server's, where it has `/tokenize`. Raises: EngineRefusedError."""
        body = {"model": self._section.model, "prompt": encoder.text(probe), "add_special_tokens": False}
        theirs = await self._tokenized(place, body)
        self._offers[TOKENIZE] = theirs is not None
        if theirs is not None and theirs != ids[-len(theirs) :]:
            raise EngineRefusedError(
                f"The server at {place.url} makes other tokens of the same text than the tokenizer here does.",
                f"Set `tokenizer` of engine {self.name!r} to that of the model that the server has.",
            )
        if theirs is None or self._section.form != "chat":
            return
        del body["prompt"]
        chat = await self._tokenized(
            place,
            {
                **body,
                "messages": [{"role": "user", "content": _PROBE_TEXT}],
                "add_generation_prompt": True,
                "chat_template_kwargs": self._section.template_args,
            },
        )
        # Ours may begin with a BOS and end with the closing of a block of thinking where theirs does not.
        if chat is not None and chat not in (ids[: len(chat)], ids[1 : len(chat) + 1]):
            _log.warning(
                "engine %s: %s has another chat template than the tokenizer here; the one here is used.",
                self.name,
                place.url,
            )

    async def _tokenized(self, place: Place, body: dict[str, Any]) -> list[int] | None:
        """What a server's `/tokenize` gives, or None where it has none."""
        try:
            tokens = (await self._connection.ask(place, "/tokenize", orjson.dumps(body))).get("tokens")
        except Status:
            return None
        return tokens if isinstance(tokens, list) and tokens else None

    def _say_chat(self, why: str) -> None:
        _log.warning(
            "engine %s: %s, so requests go to /v1/chat/completions. The server renders them: beginnings of"
            " answers, special tokens inside texts and options beyond the 20 most probable tokens are up to it.",
            self.name,
            why,
        )


def _probe(role: Any) -> GenerateRequest:
    message = Message(role, (Part(_PROBE_TEXT, "template", "probe"),))
    return GenerateRequest("probe", Rendered((message,), ()), Sampling(max_tokens=1))


def _tells(answer: dict[str, Any], tokens: list[int]) -> bool:
    """Whether an answer holds the log-probability of each token, by its id, for two prompts."""
    try:
        return all(
            f"token_id:{token}" in choice["logprobs"]["top_logprobs"][0]
            for choice in (answer["choices"][0], answer["choices"][1])
            for token in tokens
        )
    except (KeyError, IndexError, TypeError):
        return False


def _served_at(section: EngineSection) -> str:
    """Where the server that `cai serve` starts answers on this machine."""
    assert section.serve is not None, "a server engine has urls or a serve section"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(section.serve.host, section.serve.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{section.serve.port}"
