"""What an encoder knows of the position where an answer goes on, before anything is sent.

What this module does not know: what is asked and why; servers and models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cai.engine.chat_template import thinking_at
from cai.engine.encoding import Encoder, spellings_of
from cai.engine.position import SHOWN_TOKENS, Spelling, Token
from cai.request import ScoreRequest


def encoded_position(encoder: Encoder, request: ScoreRequest) -> dict[str, Any]:
    """The fields of a `Position` that an encoder knows. Raises: EngineRefusedError, EngineAnswerError."""
    text = encoder.text(request)
    ids = encoder.encode(request)
    answer = request.rendered.answer_text
    tail = encoder.decoded(ids[-min(len(ids), len(answer) + 1) :])
    bos_text, bos = encoder.bos_of(ids)
    opens, system = encoder.habits()
    return {
        "text": text,
        "prompt_tokens": len(ids),
        "last": tokens_of(encoder, ids[-SHOWN_TOKENS:]),
        "bos": bos,
        "bos_text": bos_text,
        "prefix_stands": text.endswith(answer) and _letters(tail).endswith(_letters(answer)),
        "opens_thinking": opens,
        "thinking": thinking_at(text, encoder.marks),
        "system_role": system,
        "spellings": spellings(encoder, request),
    }


def spellings(encoder: Encoder, request: ScoreRequest) -> tuple[Spelling, ...]:
    """Every way to write every option at the position, with the token that begins it there."""
    counted = encoder.options(request)
    found = []
    for option, ids in zip(request.options, counted, strict=True):
        for written in spellings_of(option):
            first = encoder.first_token(request, written)
            if first is not None:
                token = Token(encoder.token_text(first), first)
                found.append(Spelling(option, written, token, first in ids))
    return tuple(found)


def tokens_of(encoder: Encoder, ids: Sequence[int]) -> tuple[Token, ...]:
    """Tokens with their texts."""
    return tuple(Token(encoder.token_text(token), token) for token in ids)


def _letters(text: str) -> str:
    """A text without white space: some tokenizers write spaces in ways of their own."""
    return "".join(text.split())
