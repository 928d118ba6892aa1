"""The shape of preference rows: columns `chosen` and `rejected`, with or without `prompt`.

Three ways of writing are read, and may be mixed:
  - transcripts: text in hh-rlhf's format, the whole conversation on each side;
  - plain text beside a `prompt` column: `chosen` is the response alone;
  - conversations: lists of {role, content}, whole or continuing the prompt.

A side continues the prompt column where it opens with the assistant's turn (or is plain text);
otherwise it is the whole conversation, and the prompt column must be part of it: where it is not,
the contexts differ.

What this module does not know: files, ids.
Source: TRL, docs/source/dataset_formats.md (preference, implicit and explicit prompt).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cai.conversation import (
    Irregularity,
    Pair,
    Role,
    Transcript,
    Turn,
    parse_transcript,
    read_pair,
    split_pair,
)
from cai.source.rows import Content

_COLUMNS = frozenset({"prompt", "chosen", "rejected"})
_ROLES: dict[str, Role] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
}


class PairShape:
    """Rows with `chosen` and `rejected`."""

    wanted = "the columns chosen and rejected, each a text or a list of {role, content}"

    def fits(self, value: dict[str, Any]) -> bool:
        """Whether both columns are there, each a text or a list of turns, and `prompt` too if it is there."""
        sides = [value.get("chosen"), value.get("rejected")]
        if value.get("prompt") is not None:
            sides.append(value["prompt"])
        return all(isinstance(side, str) or _is_turns(side) for side in sides)

    def turns(self, value: dict[str, Any]) -> Sequence[int]:
        """A record is one row."""
        return (0,)

    def read(self, value: dict[str, Any], turn: int) -> Content | Irregularity:
        """The prompt that both sides share, and the two responses."""
        if not self.fits(value):
            return Irregularity.UNREADABLE
        pair = self._pair(value["chosen"], value["rejected"], value.get("prompt"))
        if not isinstance(pair, Pair):
            return pair
        fields = {key: item for key, item in value.items() if key not in _COLUMNS}
        responses = {"chosen": pair.chosen, "rejected": pair.rejected}
        return Content(pair.prompt, responses, tuple(flag.value for flag in pair.flags), fields)

    def _pair(self, chosen: Any, rejected: Any, prompt: Any) -> Pair | Irregularity:
        if prompt is None and isinstance(chosen, str) and isinstance(rejected, str):
            return read_pair(chosen, rejected)
        sides = []
        for side in (chosen, rejected):
            whole = _transcript(side) if prompt is None else _join(prompt, side)
            if whole is None:
                return Irregularity.CONTEXTS_DIFFER
            sides.append(whole)
        return split_pair(*sides)


def _is_turns(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(turn, dict) and str(turn.get("role")) in _ROLES and isinstance(turn.get("content"), str)
        for turn in value
    )


def _transcript(side: Any) -> Transcript:
    """A whole conversation: text in hh-rlhf's format, or a list of turns."""
    if isinstance(side, str):
        return parse_transcript(side)
    return Transcript("", tuple(_spoken(_ROLES[turn["role"]], turn["content"]) for turn in side))


def _spoken(role: Role, text: str) -> Turn:
    return Turn(role, f" {text}")  # a turn's text is what follows the one space after a marker


def _join(prompt: Any, side: Any) -> Transcript | None:
    """A side and the prompt column as one conversation; None where they contradict each other."""
    before = _transcript(prompt)
    opened = bool(before.turns) and isinstance(prompt, str) and prompt.endswith("\n\nAssistant:")
    if opened:  # the prompt ends with the marker of the turn that the side writes
        before = Transcript(before.preamble, before.turns[:-1])
    elif not before.turns and isinstance(prompt, str):
        before = Transcript("", (_spoken("user", prompt),))
    whole = _transcript(side)
    if isinstance(side, str) and (not whole.turns or whole.preamble.strip()):
        reply = Turn("assistant", side) if opened else _spoken("assistant", side)
        return Transcript(before.preamble, (*before.turns, reply))
    if whole.turns and whole.turns[0].role == "assistant":
        return Transcript(before.preamble, before.turns + whole.turns)
    return whole if _part_of(before.turns, whole.turns) else None


def _part_of(few: tuple[Turn, ...], many: tuple[Turn, ...]) -> bool:
    """Whether `few` stand one after the other in `many`; white space at a turn's ends does not count."""
    wanted = [(turn.role, turn.raw.strip()) for turn in few]
    found = [(turn.role, turn.raw.strip()) for turn in many]
    return any(found[start : start + len(wanted)] == wanted for start in range(len(found)))
