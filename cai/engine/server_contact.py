"""First contact with a server: which model it has, and what it can do.

Which model and context it has, whether it takes token ids and gives the log-probabilities of given
tokens, and whether its tokenizer makes the same ids of the same text as the one here.

What this module does not know: what is asked afterwards (cai/engine/server.py), faults and retries.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from cai.engine.breaker import Place
from cai.engine.connection import Connection
from cai.engine.encoding import Encoder, load_encoder
from cai.engine.fault_kinds import Status
from cai.engine.server_position import OPTION_IDS, TOKEN_IDS, TOKENIZE
from cai.engine.wire import score_body
from cai.errors import EngineRefusedError
from cai.parts import Message, Part
from cai.recipe import EngineSection
from cai.request import GenerateRequest, Sampling
from cai.template import Rendered

_log = logging.getLogger("cai")

_PROBE_TEXT = (
    "This sentence's words, 12 or more of them, have to be cut into tokens; isn't that so?\n\n"
    "    def f(x): return x[0] + 3.14  # naïve, größer, 日本語, Привет, “quoted” … 😀\n"
    "Which response is more honest, harmless and helpful? Consider privacy, illegality, evasiveness."
)
PROBE_TOKENS = 64
"""The length of the probe: vLLM 0.32 on some CPUs dies of a first prompt of a few tokens."""


@dataclass
class Found:
    """What was found out. `encoder` None: requests go as chats. `offers`: by path, what the server has."""

    encoder: Encoder | None = None
    context_tokens: int | None = None
    offers: dict[str, bool] = field(default_factory=dict)


class FirstContact:
    """Looks at every server of an engine once. `name`: the engine's in the recipe; `date`: ISO."""

    def __init__(self, name: str, connection: Connection, section: EngineSection, date: str) -> None:
        self._name = name
        self._connection = connection
        self._section = section
        self._date = date
        self._found = Found()

    async def make(self) -> Found:
        """Find it all out. Raises: EngineError, as `ServerEngine.open`."""
        found = self._found
        models = [await self._model_at(place) for place in self._connection.places]
        lengths = [m["max_model_len"] for m in models if isinstance(m.get("max_model_len"), int)]
        found.context_tokens = min(lengths) if lengths else None
        found.encoder = await asyncio.to_thread(self._find_encoder, models[0].get("root"))
        if found.encoder is not None:
            await self._check(found.encoder)
        return found

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
            f"Set `model` of engine {self._name!r} to one of these, or start the server with another.",
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
                    f"Engine {self._name!r} needs its model's tokenizer: {error.problem}", error.remedy
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
        short = ids[: min(PROBE_TOKENS, (self._found.context_tokens or PROBE_TOKENS) - 1)]
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
            self._found.offers[TOKEN_IDS] = self._found.offers[OPTION_IDS] = not why
            if why and self._section.form == "completion":
                raise EngineRefusedError(
                    f"The server at {place.url} does not take token ids and `logprob_token_ids`: {why}",
                    "A base model needs vLLM 0.32 or newer.",
                )
            if why:
                self._found.encoder = None
                self._say_chat(f"{place.url} does not take token ids and `logprob_token_ids` ({why})")
                return

    async def _check_tokenizer(
        self, place: Place, encoder: Encoder, probe: GenerateRequest, ids: list[int]
    ) -> None:
        """Hold our ids against the server's, where it has `/tokenize`. Raises: EngineRefusedError."""
        body = {"model": self._section.model, "prompt": encoder.text(probe), "add_special_tokens": False}
        theirs = await self._tokenized(place, body)
        self._found.offers[TOKENIZE] = theirs is not None
        if theirs is not None and theirs != ids[-len(theirs) :]:
            raise EngineRefusedError(
                f"The server at {place.url} makes other tokens of the same text than the tokenizer here does.",
                f"Set `tokenizer` of engine {self._name!r} to that of the model that the server has.",
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
                self._name,
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
            self._name,
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
