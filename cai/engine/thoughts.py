"""Thinking that comes with an answer nobody asked to think: kept beside the text, taken out of it.

A server with a reasoning parser gives it in a field of its own (`reasoning`; `reasoning_content` in
older and other servers). One without leaves it in the text, between the model's marks. Either way the
text that goes on is the answer alone, and the thinking is kept with it, with its tokens where they
are known: as the server says, or else as the tokenizer here counts them.

A block that was cut by the token budget leaves no text. Where the prompt itself ends with the mark
that opens the block (`enable_thinking: true` with some chat templates), all before the mark that closes
it was thought. Where the server renders the prompt, nobody here knows whether it does: there such a mark
counts, unless it is quoted.

What this module does not know: judges that are asked to think (cai/reasoning.py): theirs is the text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

from cai.request import Completion, GenerateRequest, MarkPair

FIELDS = ("reasoning", "reasoning_content")
"""Where servers put what was thought, in the message beside its content."""


Opened = Literal["no", "maybe", "yes"]
"""Whether the prompt ended inside a block of thinking."""

_QUOTES = ("`", "'", '"', "\u2018", "\u201c")


def thoughts_in(message: dict[str, Any]) -> str:
    """What a chat's message says was thought, under whichever name, in one text or in pieces."""
    for name in FIELDS:
        thought = message.get(name)
        if isinstance(thought, list):
            pieces = [piece.get("text") if isinstance(piece, dict) else piece for piece in thought]
            thought = "".join(piece for piece in pieces if isinstance(piece, str))
        if isinstance(thought, str) and thought:
            return thought
    return ""


def thought_tokens(usage: dict[str, Any]) -> int | None:
    """How many of an answer's tokens were thought, where a server says so."""
    details = usage.get("completion_tokens_details")
    tokens = details.get("reasoning_tokens") if isinstance(details, dict) else None
    return tokens if isinstance(tokens, int) and not isinstance(tokens, bool) and tokens > 0 else None


def split(text: str, marks: Sequence[MarkPair], opened: Opened) -> tuple[str, str]:
    """What was thought at the beginning of a text, and the text without it.

    `opened`: whether a block of thinking was open before the text began.
    """
    thoughts: list[str] = []
    rest = text
    again = any(text.lstrip().startswith(begin) for begin, _ in marks)  # some write the mark once more
    if opened != "no" and not again:
        ends = [(place, end) for _, end in marks if (place := _closed(text, end)) >= 0]
        place, end = min(ends, default=(len(text), ""))
        if opened == "yes" or (ends and not any(begin in text[:place] for begin, _ in marks)):
            thoughts, rest = [text[:place]], text[place + len(end) :].lstrip("\n")
    while block := next((pair for pair in marks if rest.lstrip().startswith(pair[0])), None):
        begin, end = block
        thought, _, rest = rest.lstrip()[len(begin) :].partition(end)
        thoughts.append(thought)
        rest = rest.lstrip("\n")
    return "\n\n".join(filter(None, (thought.strip("\n") for thought in thoughts))), rest


def _closed(text: str, end: str) -> int:
    """Where a block that was open before a text is closed in it, or -1; a mark in quotes closes nothing."""
    place = text.find(end)
    while place > 0 and text[place - 1] in _QUOTES:
        place = text.find(end, place + 1)
    return place


def answered(
    completion: Completion,
    request: GenerateRequest,
    marks: Sequence[MarkPair],
    opened: Opened,
    count: Callable[[str], int] | None,
) -> Completion:
    """A completion with its thinking beside its text; as it is where thinking was asked for.

    `opened`: whether the prompt, where its answer is free, ends inside a block of thinking.
    """
    if request.rendered.thinking is not None or completion.finish == "too_long":
        return completion
    thought, text = split(completion.text, marks, "no" if request.rendered.answer_text else opened)
    thoughts = dict.fromkeys(filter(None, (completion.reasoning.strip("\n"), thought)))  # some send it twice
    whole = "\n\n".join(thoughts)
    tokens = completion.reasoning_tokens
    if whole and tokens is None and count is not None:
        tokens = count(whole)
    return replace(completion, text=text, reasoning=whole, reasoning_tokens=tokens)
