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
from itertools import pairwise
from typing import Literal

Role = Literal["system", "user", "assistant"]

_MARKER = re.compile(r"\n\n(Human|Assistant):")
_ROLE: dict[str, Role] = {"Human": "user", "Assistant": "assistant"}
_NAME: dict[str, str] = {"user": "Human", "assistant": "Assistant"}
_WORD_MARKER = re.compile(r"\b(?:Human|Assistant):")
_LINE_MARKER = re.compile(r"\n[ \t]*(?:H|A|User|AI|Human|Assistant)[ \t]*:")


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


def has_role_marker(text: str) -> bool:
    """Whether a turn's text holds what a reader could take for the start of another turn.

    That is `Human:` or `Assistant:` anywhere, or a line that begins with one of these, `H:`, `A:`,
    `User:` or `AI:`.
    """
    if ("Human:" in text or "Assistant:" in text) and _WORD_MARKER.search(text):
        return True
    return ":" in text and _LINE_MARKER.search("\n" + text) is not None


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
    EMPTY_RESPONSE = "empty_response"
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


def read_pair(chosen: str, rejected: str) -> Pair | Irregularity:
    """Parse two transcripts and split them; equal to `split_pair` of both, in about half the time.

    What they share up to the last marker is parsed once.
    """
    first = parse_transcript(chosen)
    if first.turns and first.turns[-1].role == "assistant":
        start = len(chosen) - len(first.turns[-1].raw)
        if rejected.startswith(chosen[:start]) and not _MARKER.search(rejected, start):
            last = Turn("assistant", rejected[start:])
            return split_pair(first, Transcript(first.preamble, (*first.turns[:-1], last)))
    return split_pair(first, parse_transcript(rejected))


def split_pair(chosen: Transcript, rejected: Transcript) -> Pair | Irregularity:
    """Find the prompt that both transcripts share, and the two responses to it.

    Returns the irregularity by name where there is no such prompt. The prompt is all that
    comes before the last turn; it must be the same on both sides, and that last turn must be
    the assistant's. It ends in a human turn, except where the assistant speaks twice running
    (flagged `repeated_role`). Text before the first turn becomes a system turn, and is flagged.
    """
    for side in (chosen, rejected):
        if not side.turns or side.turns[-1].role != "assistant":
            return Irregularity.NO_RESPONSE
    prompt = chosen.turns[:-1]
    if prompt != rejected.turns[:-1] or chosen.preamble != rejected.preamble:
        return Irregularity.CONTEXTS_DIFFER
    if not any(turn.role == "user" for turn in prompt):
        return Irregularity.NO_PROMPT
    a, b = chosen.turns[-1], rejected.turns[-1]
    flags = prompt_flags(chosen.preamble, prompt, a)
    if not a.raw.strip():
        flags.append(Irregularity.EMPTY_CHOSEN)
    if not b.raw.strip():
        flags.append(Irregularity.EMPTY_REJECTED)
    if Irregularity.ROLE_MARKER_INSIDE not in flags and (has_role_marker(a.raw) or has_role_marker(b.raw)):
        flags.append(Irregularity.ROLE_MARKER_INSIDE)
    if a.text == b.text:
        flags.append(Irregularity.EQUAL_RESPONSES)
    return Pair(whole_prompt(chosen.preamble, prompt), a, b, tuple(flags))


def whole_prompt(preamble: str, turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """A prompt's turns, with text before the first of them as a system turn."""
    return (Turn("system", preamble), *turns) if preamble.strip() else turns


def prompt_flags(preamble: str, prompt: tuple[Turn, ...], response: Turn | None) -> list[Irregularity]:
    """What is unusual about a prompt's turns, and about the response's role after them."""
    found = []
    roles = [turn.role for turn in prompt] + ([response.role] if response else [])
    if any(x == y for x, y in pairwise(roles)):
        found.append(Irregularity.REPEATED_ROLE)
    if not all(turn.raw.strip() for turn in prompt):
        found.append(Irregularity.EMPTY_TURN)
    if any(has_role_marker(turn.raw) for turn in prompt):
        found.append(Irregularity.ROLE_MARKER_INSIDE)
    if preamble.strip():
        found.append(Irregularity.TEXT_BEFORE_FIRST_TURN)
    return found
