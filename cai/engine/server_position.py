"""What a server says of the position where an answer goes on, and which paths it offers.

Asked by `cai doctor` and once at the start of a run; never on the way of a row.

What this module does not know: which faults there are; retries: what a server does not answer
here stays unknown.
"""

from __future__ import annotations

import math
import re
from typing import Any

import orjson

from cai.engine.breaker import Place
from cai.engine.chat_template import thinking_at
from cai.engine.connection import Connection
from cai.engine.encoded_position import encoded_position
from cai.engine.encoding import Encoder
from cai.engine.fault_kinds import Status
from cai.engine.position import SHOWN_TOKENS, TOP_TOKENS, Position, Token
from cai.engine.wire import chat_body, token_text, top_body
from cai.errors import EngineError
from cai.recipe import EngineSection
from cai.request import ScoreRequest

TOKEN_IDS = "/v1/completions with token ids"
OPTION_IDS = "logprob_token_ids"
TOKENIZE = "/tokenize"
CHAT = "/v1/chat/completions"
_SPECIAL = re.compile(r"<[^<>\s]+>|\[[A-Z_]+\]")


class ServerProbe:
    """Looks at the first server of an engine. `encoder` None: requests go as chats.

    `offers`: what is known by now of the paths that the server has.
    """

    def __init__(
        self,
        connection: Connection,
        section: EngineSection,
        encoder: Encoder | None,
        offers: dict[str, bool],
    ) -> None:
        self._connection = connection
        self._section = section
        self._encoder = encoder
        self._offers = dict(offers)

    async def position(self, request: ScoreRequest) -> Position:
        """What is known of a request's position. Raises: EngineError."""
        place = self._connection.places[0]
        chat = await self._ask(place, CHAT, self._chat_body(request))
        self._offers[CHAT] = chat is not None
        if self._encoder is None:
            known = await self._server_rendering(place, request)
            return Position(CHAT, self._offers, top=_top_of_chat(chat), rendered_by="server", **known)
        known = encoded_position(self._encoder, request)
        body = top_body(self._section.model, self._encoder.encode(request), TOP_TOKENS)
        got = await self._ask(place, "/v1/completions", body)
        return Position(TOKEN_IDS, self._offers, top=_top_of_completion(got, self._encoder), **known)

    async def _ask(self, place: Place, path: str, body: bytes | None) -> dict[str, Any] | None:
        """An answer, or None where the server has none to give."""
        try:
            return await self._connection.ask(place, path, body)
        except (Status, EngineError):
            return None

    def _chat_body(self, request: ScoreRequest) -> bytes:
        fields = orjson.loads(chat_body(self._section, request))
        return orjson.dumps({**fields, "max_tokens": 1})

    async def _server_rendering(self, place: Place, request: ScoreRequest) -> dict[str, Any]:
        """What the server makes of a request's messages, where it has `/tokenize` and `/detokenize`."""
        fields = orjson.loads(chat_body(self._section, request))
        names = (
            "model",
            "messages",
            "add_generation_prompt",
            "continue_final_message",
            "chat_template_kwargs",
        )
        wanted = {name: fields[name] for name in names if name in fields}
        made = await self._ask(place, TOKENIZE, orjson.dumps(wanted))
        self._offers[TOKENIZE] = made is not None and isinstance(made.get("tokens"), list)
        if made is None or not made.get("tokens"):
            return {}
        ids = [int(token) for token in made["tokens"]]
        whole = await self._text(place, ids)
        known: dict[str, Any] = {"prompt_tokens": len(ids), **await self._beginning(place, ids)}
        if whole is None:
            return known
        answer = request.rendered.answer_text
        last = [Token(await self._text(place, [token]) or "", token) for token in ids[-SHOWN_TOKENS:]]
        return {
            **known,
            "text": whole,
            "last": tuple(last),
            "prefix_stands": "".join(whole.split()).endswith("".join(answer.split())),
            "thinking": thinking_at(whole, self._section.thinking.known),
        }

    async def _beginning(self, place: Place, ids: list[int]) -> dict[str, Any]:
        """The BOS, as far as it shows: what the tokenizer puts before a text, or two like special tokens."""
        first = await self._text(place, ids[:1])
        bos = await self._bos(place)
        if first is None or (bos is None and not _SPECIAL.fullmatch(first)):
            return {}
        if bos is not None and bos != ids[0]:
            return {"bos": 0, "bos_text": await self._text(place, [bos]) or ""}
        count = next((at for at, token in enumerate(ids) if token != ids[0]), len(ids))
        return {"bos": count, "bos_text": first} if bos is not None or count > 1 else {}

    async def _bos(self, place: Place) -> int | None:
        """The token that the server's tokenizer puts before a text, or None where it puts none."""
        bodies = [
            {"model": self._section.model, "prompt": "word", "add_special_tokens": special}
            for special in (True, False)
        ]
        dressed, bare = [
            (await self._ask(place, TOKENIZE, orjson.dumps(body)) or {}).get("tokens") or []
            for body in bodies
        ]
        added = len(dressed) - len(bare)
        return int(dressed[0]) if added == 1 and dressed[1:] == bare else None

    async def _text(self, place: Place, ids: list[int]) -> str | None:
        body = orjson.dumps({"model": self._section.model, "tokens": ids})
        text = (await self._ask(place, "/detokenize", body) or {}).get("prompt")
        return text if isinstance(text, str) else None


def _top_of_completion(answer: dict[str, Any] | None, encoder: Encoder) -> tuple[Token, ...]:
    try:
        [choice] = (answer or {})["choices"]
        given = choice["logprobs"]["top_logprobs"][0].items()
        found = [(int(name.removeprefix("token_id:")), float(value)) for name, value in given]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return ()
    tokens = [Token(encoder.token_text(token), token, _probability(value)) for token, value in found]
    return tuple(sorted(tokens, key=lambda token: -(token.probability or 0))[:TOP_TOKENS])


def _top_of_chat(answer: dict[str, Any] | None) -> tuple[Token, ...]:
    try:
        [choice] = (answer or {})["choices"]
        top = choice["logprobs"]["content"][0]["top_logprobs"]
        return tuple(Token(token_text(entry), None, _probability(float(entry["logprob"]))) for entry in top)
    except (KeyError, IndexError, TypeError, ValueError):
        return ()


def _probability(logprob: float) -> float:
    return min(1.0, math.exp(min(0.0, logprob)))
