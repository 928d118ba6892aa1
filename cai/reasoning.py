"""Reasoning before a judgement: what the judge thinks, and what of it the judgement is asked after.

The judge is asked twice. First it reasons, in words, from the beginning that the template gives
its answer; then the options are scored at the place where its answer would stand after that
reasoning. So the judgement is a probability, conditional on the reasoning, and no letter is ever
read out of prose.

A judge often ends by naming its answer ("The answer is Response A."). The template ends so too, so
that sentence is left out of what the judgement is asked after: else the text would hold it twice,
and the score would do no more than copy a letter. Left out are, from the end backwards and only as
long as each names nothing but an answer: "The answer is (A)" with whatever reason follows in the
same sentence, "I choose B", "Answer: A", "Response A", a lone "A". A sentence that compares the two
("So Response A is kinder.") is reasoning and stays. The record keeps the whole text.

Reasoning that reaches its token budget is unfinished: the judgement abstains, for a score in the
middle of a thought would say how the sentence goes on, not what the judge thinks.

A thinking model reasons in plain words like any other: the engines close its own block of thinking
before the answer begins (cai/engine/chat_template.py). With `thinking` the block is used instead:
the prompt of the judgement ends with the block open, the model thinks until it closes it, and the
options are scored after the closed block and the words that begin the answer. Thinking is taken
as it is, for nothing in it is doubled. Models that think on a channel of their own, rather than
between marks (cai.request.THINKING_MARKS), are refused.

What this module does not know: pairs, how judgements are put together.
Source: 2212.08073, section 4.1 (chain of thought before the multiple choice); 2309.00267, section 2
(the two steps: reasoning, then the scores given it).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cai.abreast import PromptTooLongError, abreast
from cai.answering import ThinkingSection
from cai.request import Completion, GenerateRequest, Sampling

_SENTENCE_END = re.compile(r"[.!?][\"')*_]*\s+(?=\S)")
_EDGE = " \t\r\n*_#>\"'`()[].!"
_OPTION = r"(?:(?:response|option)\s?)?[*_(\[\"'`\s]{0,4}(?-i:[AB])\b"
_NAMES_AN_ANSWER = re.compile(
    rf"""
    (?:(?:so|thus|therefore|hence|overall|in\ conclusion|in\ short|finally|then)\b,?\ )?
    (?: (?:(?:my|the)\ )?(?:final\ |best\ |right\ |correct\ )?(?:answer|choice|verdict|(?:better|best)\ response)\s?
            (?:is:?|would\ be:?|:)[*_\s]{{0,4}} (?:{_OPTION}[^\n]* | (?:response|option)?:?)
      | (?:(?:my|the)\ )?(?:final\ |best\ |right\ |correct\ )?(?:answer|choice|verdict)\s?:?
      | i(?:'d|\ would|\ will|'ll)?\ (?:therefore\ )?(?:choose|pick|select|answer|go\ with)\ {_OPTION}
      | {_OPTION}
    )
    """,
    re.VERBOSE | re.IGNORECASE,
)


class AskText(Protocol):
    """The part of `ask` that this needs."""

    async def generate(self, request: GenerateRequest) -> Completion:
        """Ask for a text."""


@dataclass(frozen=True)
class ReasoningPlan:
    """How reasonings are drawn, and how many for each judgement; `thinking`: in a block of the model's own."""

    sampling: Sampling
    samples: int = 1
    thinking: bool = False


def thinking_stops(thinking: ThinkingSection) -> tuple[str, ...]:
    """Where a model's own thinking ends."""
    return tuple(end for _, end in thinking.known)


async def reason(requests: Sequence[GenerateRequest], ask: AskText) -> list[Completion]:
    """All reasonings, side by side.

    Raises: PromptTooLongError; EngineError, StoreError.
    """
    done = await abreast([ask.generate(request) for request in requests])
    if any(item.finish == "too_long" for item in done):
        raise PromptTooLongError
    return done


def without_answer(reasoning: str) -> str:
    """A reasoning less the sentences at its end that only name an answer; never empty.

    One that consists of nothing else becomes a single space.
    """
    kept = reasoning.rstrip()
    while kept:
        start = kept.rfind("\n") + 1
        for end in _SENTENCE_END.finditer(kept, start):
            start = end.end()
        if _NAMES_AN_ANSWER.fullmatch(kept[start:].strip(_EDGE)) is None:
            return kept
        kept = kept[:start].rstrip()
    return " "
