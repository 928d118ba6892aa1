"""What a judge said where it did not say an option, and whether it declined or missed the form.

Where the options hold too little probability at the answer position, the judge is asked once more
with the same prompt, for a few words and greedily. They tell two kinds of abstention apart:
`refusal` (it will not judge, or will not choose) and `format` (it would answer, in another form).
Neither is ever a label.

The kinds are told by word patterns (cai/text_features.py, and those below for a judge that declines
to choose), in English; whatever they miss counts as `format`. The words are kept, so that
everybody can look.

What this module does not know: judgements, pairs, where the answer position is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from cai.abreast import abreast
from cai.outcome import Abstention
from cai.prompting import STOPS, Form
from cai.request import Completion, GenerateRequest, Sampling, ScoreRequest
from cai.text_features import features

SAID_MAX_TOKENS = 32
"""How much of what the judge says is looked at."""

_NAMES_AN_OPTION = re.compile(r"[\s(\[*_\"'`]*(?:A|B|True|False)[\s)\]*_\"'`]*(?:[.,;:)\n]|$)")
_DECLINES = re.compile(
    r"""
    \b(?:neither|none\ of\ (?:them|these|the))\b
  | \b(?:can(?:not|'t|\ not)|could(?:n't|\ not)|won't|will\ not|unable\ to|not\ able\ to|refuse\ to|decline\ to
        |rather\ not|prefer\ not\ to|must\ decline|should\ not|do\ not\ want\ to|don't\ want\ to)\b
      [^.!?\n]{0,40}?
      \b(?:choos|pick|select|decid|judg|say\b|tell\b|answer|determin|compar|recommend|rank|rat(?:e|ing)\b|name\b
        |help|assist|engage|evaluat|endors|prefer)
  | \bboth\b[^.!?\n]{0,30}?\b(?:harmful|inappropriate|unacceptable|bad|wrong|unsafe|offensive|problematic)\b
  | \b(?:not|in)\s?appropriate\ (?:for\ me|to\ (?:choose|pick|judge|compare|answer))
    """,
    re.VERBOSE | re.IGNORECASE,
)
_STRAIGHT = str.maketrans({"\u2019": "'", "\u2018": "'"})


class AskText(Protocol):
    """The part of `ask` that this needs."""

    async def generate(self, request: GenerateRequest) -> Completion:
        """Ask for a text."""


async def words_instead(requests: Sequence[ScoreRequest], form: Form, ask: AskText) -> list[Completion]:
    """What the judge says at the answer position of each of these requests, most probable words first.

    An answer that does not fit into the context comes back empty.
    """
    if not requests:
        return []
    sampling = Sampling(temperature=0.0, max_tokens=SAID_MAX_TOKENS, stop=STOPS[form])
    return await abreast(
        [
            ask.generate(
                GenerateRequest(
                    request.engine,
                    request.rendered,
                    sampling,
                    labels={**request.labels, "stage": "abstention", "of": request.labels.get("stage", "")},
                )
            )
            for request in requests
        ]
    )


def kind_of(said: str) -> Abstention:
    """`refusal` where the words decline to judge or to choose, else `format`."""
    if _NAMES_AN_OPTION.match(said):
        return "format"
    plain = said.translate(_STRAIGHT)
    return "refusal" if _DECLINES.search(plain) or features(plain.strip()).refuses else "format"
