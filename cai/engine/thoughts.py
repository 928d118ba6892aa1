"""Thinking that comes with an answer nobody asked to think: kept beside the text, taken out of it.

A server with a reasoning parser gives it in a field of its own (`reasoning`; `reasoning_content` in
older and other servers). One without leaves it in the text, between the model's marks. Either way the
text that goes on is the answer alone, and the thinking is kept with it, with its tokens where they
are known: as the server says, or else as the tokenizer here counts them.

A block that was cut by the token budget leaves no text. Where the server itself renders the prompt,
it may have opened the block there; then all before the mark that closes it was thought.

What this module does not know: judges that are asked to think (cai/reasoning.py): theirs is the text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from cai.request import Completion, GenerateRequest, MarkPair

FIELDS = ("reasoning", "reasoning_content")
"""Where servers put what was thought, in the message beside its content."""


def thoughts_in(message: dict[str, Any]) -> str:
    """What a chat's message says was thought, under whichever name."""
    for name in FIELDS:
        thought = message.get(name)
        if isinstance(thought, str) and thought:
            return thought
    return ""


def thought_tokens(usage: dict[str, Any]) -> int | None:
    """How many of an answer's tokens were thought, where a server says so."""
    details = usage.get("completion_tokens_details")
    tokens = details.get("reasoning_tokens") if isinstance(details, dict) else None
    return tokens if isinstance(tokens, int) and not isinstance(tokens, bool) and tokens > 0 else None


def split(text: str, marks: Sequence[MarkPair], opened: bool) -> tuple[str, str]:
    """What was thought at the beginning of a text, and the text without it.

    `opened`: whether a block of thinking may have been open before the text began.
    """
    begun = text.lstrip()
    for begin, end in marks:
        if begun.startswith(begin):
            thought, _, rest = begun[len(begin) :].partition(end)
            return thought.strip("\n"), rest.lstrip("\n")
    for begin, end in marks if opened else ():
        thought, closed, rest = text.partition(end)
        if closed and begin not in thought:
            return thought.strip("\n"), rest.lstrip("\n")
    return "", text


def answered(
    completion: Completion,
    request: GenerateRequest,
    marks: Sequence[MarkPair],
    rendered_here: bool,
    count: Callable[[str], int] | None,
) -> Completion:
    """A completion with its thinking beside its text; as it is where thinking was asked for.

    `rendered_here`: whether the prompt was made here, where no block is left open by mistake.
    """
    if request.rendered.thinking is not None or completion.finish == "too_long":
        return completion
    opened = not rendered_here and not request.rendered.answer_text
    thought, text = split(completion.text, marks, opened)
    thought = "\n\n".join(each for each in (completion.reasoning, thought) if each)
    tokens = completion.reasoning_tokens
    if thought and tokens is None and count is not None:
        tokens = count(thought)
    return replace(completion, text=text, reasoning=thought, reasoning_tokens=tokens if thought else None)
