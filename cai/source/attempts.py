"""The shape of red-team attempts: a column `transcript`, whose human turns become prompts.

Each human turn chosen by `prompts` gives a row: the conversation up to and including it is the
prompt, the assistant's turn after it, if there is one, the response. All other columns are kept.

What this module does not know: files, ids, what the other columns mean.
Source: the hh-rlhf README (red-team attempts).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from cai.conversation import (
    Irregularity,
    Turn,
    has_role_marker,
    parse_transcript,
    prompt_flags,
    whole_prompt,
)
from cai.source.rows import Content

_HUMAN = "\n\nHuman:"


class AttemptShape:
    """Rows with `transcript`; `prompts`: which of its human turns become rows."""

    wanted = "the column transcript, a text with the turns 'Human:' and 'Assistant:'"

    def __init__(self, prompts: Literal["all", "first", "last"]) -> None:
        self._prompts = prompts

    def fits(self, value: dict[str, Any]) -> bool:
        """Whether there is a transcript that is text."""
        return isinstance(value.get("transcript"), str)

    def turns(self, value: dict[str, Any]) -> Sequence[int]:
        """The chosen human turns by number, from 1; (0,) where there is none."""
        count = value["transcript"].count(_HUMAN) if self.fits(value) else 0
        if count == 0:
            return (0,)
        if self._prompts == "all":
            return range(1, count + 1)
        return (1,) if self._prompts == "first" else (count,)

    def read(self, value: dict[str, Any], turn: int) -> Content | Irregularity:
        """The conversation up to human turn `turn`, and the reply to it."""
        if not self.fits(value):
            return Irregularity.UNREADABLE
        if turn == 0:
            return Irregularity.NO_PROMPT
        transcript = parse_transcript(value["transcript"])
        places = [index for index, item in enumerate(transcript.turns) if item.role == "user"]
        end = places[turn - 1] + 1
        prompt, after = transcript.turns[:end], transcript.turns[end : end + 1]
        reply: Turn | None = after[0] if after and after[0].role == "assistant" else None
        flags = prompt_flags(transcript.preamble, prompt, reply)
        if reply is not None and not reply.raw.strip():
            flags.append(Irregularity.EMPTY_RESPONSE)
        if reply is not None and Irregularity.ROLE_MARKER_INSIDE not in flags and has_role_marker(reply.raw):
            flags.append(Irregularity.ROLE_MARKER_INSIDE)
        return Content(
            prompt=whole_prompt(transcript.preamble, prompt),
            responses={} if reply is None else {"response": reply},
            flags=tuple(flag.value for flag in flags),
            fields={key: item for key, item in value.items() if key != "transcript"},
        )
