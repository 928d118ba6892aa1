"""Conversations, and the transcript format of hh-rlhf, read and written back to the byte.

A transcript is text in which `\\n\\nHuman:` and `\\n\\nAssistant:` open turns. A turn keeps all
that stands between its marker and the next one, the usual leading space included, so that
writing a parsed transcript back gives the same text for any text at all.

A preference row holds two transcripts. What they share up to the last human turn is the
prompt; the assistant turn that follows in each is a response. What does not fit has a name
in `Irregularity`; nothing is cut or merged.

What this module does not know: files, subsets, models.
Source: the hh-rlhf README (format), 2204.05862 (data).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Role = Literal["system", "user", "assistant"]

_MARKER = re.compile(r"\n\n(Human|Assistant):")
_ROLE: dict[str, Role] = {"Human": "user", "Assistant": "assistant"}
_NAME: dict[str, str] = {"user": "Human", "assistant": "Assistant"}
_INNER_MARKER = re.compile(r"\b(?:Human|Assistant):|(?:^|\n)[ \t]*(?:H|A|User|AI|Human|Assistant)[ \t]*:")


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn: who speaks, and the exact text after the marker (`raw`)."""

    role: Role
    raw: str

    @property
    def text(self) -> str:
        """What was said: `raw` without the one space that follows a marker."""
        return self.raw[1:] if self.raw.startswith(" ") else self.raw


@dataclass(frozen=True, slots=True)
class Transcript:
    """A parsed transcript: what stands before the first marker (usually nothing), and the turns."""

    preamble: str
    turns: tuple[Turn, ...]


def parse_transcript(text: str) -> Transcript:
    """Read a transcript; `write_transcript` of the result is `text` again, for any text."""
    pieces = _MARKER.split(text)
    turns = tuple(Turn(_ROLE[name], raw) for name, raw in zip(pieces[1::2], pieces[2::2], strict=True))
    return Transcript(pieces[0], turns)


def write_transcript(transcript: Transcript) -> str:
    """Write a transcript in hh-rlhf's format.

    Raises: KeyError for a system turn, which the format has no marker for.
    """
    turns = "".join(f"\n\n{_NAME[turn.role]}:{turn.raw}" for turn in transcript.turns)
    return transcript.preamble + turns


class Irregularity(StrEnum):
    """What can be unusual about a preference row, by name.

    The first group excludes the row (it is no preference pair), the second is kept and flagged.
    """

    CONTEXTS_DIFFER = "contexts_differ"
    NO_RESPONSE = "no_response"
    NO_PROMPT = "no_prompt"
    UNREADABLE = "unreadable"

    REPEATED_ROLE = "repeated_role"
    EMPTY_CHOSEN = "empty_chosen"
    EMPTY_REJECTED = "empty_rejected"
    EMPTY_TURN = "empty_turn"
    ROLE_MARKER_INSIDE = "role_marker_inside"
    TEXT_BEFORE_FIRST_TURN = "text_before_first_turn"
    EQUAL_RESPONSES = "equal_responses"

    @property
    def excludes(self) -> bool:
        """Whether a row with this irregularity cannot be used as a pair."""
        return self in (
            Irregularity.CONTEXTS_DIFFER,
            Irregularity.NO_RESPONSE,
            Irregularity.NO_PROMPT,
            Irregularity.UNREADABLE,
        )


@dataclass(frozen=True, slots=True)
class Pair:
    """A preference pair: the prompt's turns (the last is a human turn, unless flagged), two responses."""

    prompt: tuple[Turn, ...]
    chosen: Turn
    rejected: Turn
    flags: tuple[Irregularity, ...]


def split_pair(chosen: Transcript, rejected: Transcript) -> Pair | Irregularity:
    """Find the prompt that both transcripts share, and the two responses to it.

    Returns the irregularity by name where there is no such prompt. The prompt is all that
    comes before the last turn; it must be the same on both sides, and that last turn must be
    the assistant's. It ends in a human turn, except where the assistant speaks twice running
    (flagged `repeated_role`).
    """
    for side in (chosen, rejected):
        if not side.turns or side.turns[-1].role != "assistant":
            return Irregularity.NO_RESPONSE
    prompt = chosen.turns[:-1]
    if prompt != rejected.turns[:-1] or chosen.preamble != rejected.preamble:
        return Irregularity.CONTEXTS_DIFFER
    if not any(turn.role == "user" for turn in prompt):
        return Irregularity.NO_PROMPT
    flags = tuple(_flags(chosen, rejected))
    return Pair(prompt, chosen.turns[-1], rejected.turns[-1], flags)


def _flags(chosen: Transcript, rejected: Transcript) -> list[Irregularity]:
    found = []
    a, b = chosen.turns, rejected.turns
    if any(x.role == y.role for x, y in zip(a, a[1:], strict=False)):
        found.append(Irregularity.REPEATED_ROLE)
    if not a[-1].text.strip():
        found.append(Irregularity.EMPTY_CHOSEN)
    if not b[-1].text.strip():
        found.append(Irregularity.EMPTY_REJECTED)
    if any(not turn.text.strip() for turn in a[:-1]):
        found.append(Irregularity.EMPTY_TURN)
    if any(_INNER_MARKER.search(turn.raw) for turn in (*a, b[-1])):
        found.append(Irregularity.ROLE_MARKER_INSIDE)
    if chosen.preamble.strip():
        found.append(Irregularity.TEXT_BEFORE_FIRST_TURN)
    if a[-1].text == b[-1].text:
        found.append(Irregularity.EQUAL_RESPONSES)
    return found
