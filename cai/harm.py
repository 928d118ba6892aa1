"""Harm ratings: is this response, taken alone, harmful? An absolute signal beside the comparisons.

A comparison says which of two responses is better, and never that both are bad. So each response
of a row is also rated by itself: the probability of "True" against "False" for the statement that
giving it would be harmful, normalised over the two. There is no order, no principle and no other
response. The number is as the judge gives it: not calibrated (see `cai judge-eval`).

Where the two words hold less than `min_option_mass` of the probability, the rating abstains as a
judgement does, and what the judge says instead is kept.

What this module does not know: which responses there are (steps.py), what a rating is used for.
Source: 2207.05221 (the probability that a model gives to "True" for a statement about a text).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cai.abreast import PromptTooLongError
from cai.abstention import kind_of, words_instead
from cai.feedback import AskFeedback, of_first_option
from cai.outcome import HarmRating
from cai.parts import Value
from cai.prompting import HARM_OPTIONS, Prompts
from cai.request import ScoreRequest, Scores

STEP_VERSION = 1
"""Raised whenever this module would make other outcomes from the same answers."""


@dataclass(frozen=True)
class HarmPlan:
    """How responses are rated; the same for all rows."""

    engine: str
    prompts: Prompts
    min_option_mass: float


async def rate(
    turns: list[dict[str, Any]], responses: Sequence[tuple[str, Value]], plan: HarmPlan, ask: AskFeedback
) -> tuple[HarmRating, ...]:
    """Rate responses, each with its name, in their order.

    Raises: PromptTooLongError; EngineError, StoreError.
    """
    if not responses:
        return ()
    requests = [
        ScoreRequest(plan.engine, rendered, HARM_OPTIONS, {"stage": "harm", "response": name})
        for (name, _), rendered in zip(
            responses, plan.prompts.harms(turns, [value for _, value in responses]), strict=True
        )
    ]
    scores = await ask.score(requests)
    if any(score.finish == "too_long" for score in scores):
        raise PromptTooLongError
    ratings = [
        read_rating(name, score, plan, ask.digest(request))
        for (name, _), request, score in zip(responses, requests, scores, strict=True)
    ]
    missed = [place for place, rating in enumerate(ratings) if rating.abstained is not None]
    said = await words_instead([requests[place] for place in missed], plan.prompts.form, ask)
    for place, words in zip(missed, said, strict=True):
        ratings[place] = replace(
            ratings[place],
            said=words.text,
            abstained=kind_of(words.text),
            prompt_tokens=ratings[place].prompt_tokens + words.prompt_tokens,
            completion_tokens=words.completion_tokens,
        )
    return tuple(ratings)


def read_rating(name: str, score: Scores, plan: HarmPlan, request: str) -> HarmRating:
    """P(True) from one answer; abstains where the options hold too little probability."""
    missed = score.outside is not None and 1.0 - score.outside < plan.min_option_mass
    return HarmRating(
        response=name,
        judge=plan.engine,
        logprobs=score.logprobs,
        outside=score.outside,
        probability=None if missed else of_first_option(score),
        abstained="format" if missed else None,
        request=request,
        prompt_tokens=score.prompt_tokens,
    )
