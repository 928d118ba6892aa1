"""What stands around the place where an answer goes on: the position that is scored.

A person who doubts a judge wants to see the exact text and token ids that it is sent, how many
BOS tokens there are, how each option can be spelt there, and which tokens the model itself finds
most probable. Some of that is known before anything is sent (cai/engine/encoded_position.py), the
rest an engine adds.

What this module does not know: how any of it is found; whether it is a fault (cai/doctor).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Thinking = Literal["none", "closed", "open"]

TOP_TOKENS = 20
"""How many of the most probable tokens are looked at: what vLLM gives without being started otherwise."""

SHOWN_TOKENS = 12
"""How many of the last tokens before the answer are kept one by one."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token: its text, its id where ids are known, its probability where one was asked for."""

    text: str
    id: int | None = None
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Spelling:
    """One way to write an option at the position. `counted`: its first token means that option alone."""

    option: str
    written: str
    first: Token
    counted: bool


@dataclass(frozen=True, slots=True)
class Position:
    """What is known of the position; None wherever an engine cannot tell.

    `path`: how requests travel; `offers`: what the server can do, by name. `text`: all that is
    tokenised; `last`: its last tokens. `bos`: how many BOS tokens it begins with. `prefix_stands`:
    whether the beginning of the answer stands at its end as it was written. `opens_thinking`:
    whether the chat template begins an answer with a block of thinking; `thinking`: whether such
    a block is open where the answer goes on. `system_role`: whether the template takes one.
    """

    path: str
    offers: dict[str, bool]
    text: str | None = None
    prompt_tokens: int | None = None
    last: tuple[Token, ...] = ()
    bos: int | None = None
    bos_text: str = ""
    prefix_stands: bool | None = None
    opens_thinking: bool | None = None
    thinking: Thinking | None = None
    system_role: bool | None = None
    spellings: tuple[Spelling, ...] = ()
    top: tuple[Token, ...] = ()
    rendered_by: Literal["here", "server", "nobody"] = "here"
