"""AI feedback: which of two responses is better, under each principle, in both orders.

A judgement is read from the probabilities of the options A and B at the answer position,
normalised over the two. Each principle is asked twice, with the responses swapped; the swap is
undone, a question that asks for the *worse* response is turned, and the two are averaged. A
principle counts only where both of its judgements stand: one order alone carries the judge's
preference for a place. Where the options hold less than `min_option_mass` of the probability, the
model was saying something else, and the judgement abstains; it never becomes a label.

    p(order)     = exp(l_A) / (exp(l_A) + exp(l_B)), of the response shown as A
    p(principle) = mean over both orders of p(first response is better)
    p(pair)      = sum_i w_i p_i / sum_i w_i over the principles that stand

What this module does not know: ties and thresholds of the dataset (cai/dataset), which pairs
there are (steps.py), engines.
Source: 2212.08073, section 4.1 (normalised log-probabilities of the options); 2309.00267,
section 2 (both orders, averaged).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cai.outcome import Abstention, Feedback, Judgement, Order, PairKind
from cai.parts import Value
from cai.principle import Constitution, Principle
from cai.prompting import OPTIONS, Prompts, principle_values
from cai.request import Request, ScoreRequest, Scores

STEP_VERSION = 2
"""Raised whenever this module would make other outcomes from the same answers."""

ORDERS: tuple[Order, Order] = ("first_is_a", "first_is_b")


class AskScores(Protocol):
    """The part of `ask` that this step needs."""

    row: str

    async def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        """Ask for option probabilities."""

    def digest(self, request: Request) -> str:
        """A request's identity."""


@dataclass(frozen=True)
class JudgePlan:
    """How pairs are judged; the same for all rows of a constitution. `count` None: all principles."""

    engine: str
    prompts: Prompts
    constitution: Constitution
    count: int | None
    min_option_mass: float
    seed: int


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """Two responses to one prompt: `kind` and `about` say which pair, names say which is which."""

    kind: PairKind
    about: str
    first: str
    second: str
    first_value: Value
    second_value: Value


class PromptTooLongError(Exception):
    """A judgement did not fit into the judge's context; the row is excluded. Not a CaiError: it
    never leaves steps.py."""


async def judge(turns: list[dict[str, Any]], pair: JudgedPair, plan: JudgePlan, ask: AskScores) -> Feedback:
    """Judge one pair under its principles in both orders.

    Raises: PromptTooLongError; EngineError, StoreError.
    """
    principles = plan.constitution.choose(plan.seed, ask.row, plan.count)
    requests = _requests(turns, pair, plan, principles)
    scores = await ask.score(requests)
    if any(score.finish == "too_long" for score in scores):
        raise PromptTooLongError
    judgements = []
    for index, (request, score) in enumerate(zip(requests, scores, strict=True)):
        principle = principles[index % len(principles)]
        order = ORDERS[index // len(principles)]
        judgements.append(read_judgement(principle, order, score, plan.min_option_mass, ask.digest(request)))
    return combine(pair, plan.constitution, principles, judgements, scores, plan.engine)


def _requests(
    turns: list[dict[str, Any]], pair: JudgedPair, plan: JudgePlan, principles: Sequence[Principle]
) -> list[ScoreRequest]:
    """One request for each order and principle; all of one order share all but the question."""
    requests = []
    forms = [principle_values(plan.constitution, principle) for principle in principles]
    for order in ORDERS:
        shown = (pair.first_value, pair.second_value)
        a, b = shown if order == "first_is_a" else reversed(shown)
        prompts = plan.prompts.judgements(turns, a, b, forms)
        for principle, rendered in zip(principles, prompts, strict=True):
            labels: dict[str, str | int] = {
                "stage": "judgement",
                "pair": pair.kind,
                "about": pair.about,
                "principle": principle.id,
                "order": order,
            }
            requests.append(ScoreRequest(plan.engine, rendered, OPTIONS, labels))
    return requests


def read_judgement(
    principle: Principle, order: Order, score: Scores, min_option_mass: float, request: str
) -> Judgement:
    """The probability that the pair's first response is better, from one answer.

    Undoes the order and the polarity; abstains where the options hold too little probability.
    """
    abstained: Abstention | None = None
    probability: float | None = None
    if score.outside is not None and 1.0 - score.outside < min_option_mass:
        abstained = "format"
    else:
        log_a, log_b = score.logprobs
        shown_as_a = 1.0 / (1.0 + math.exp(min(700.0, max(-700.0, log_b - log_a))))
        probability = shown_as_a if order == "first_is_a" else 1.0 - shown_as_a
        if principle.polarity == "worse":
            probability = 1.0 - probability
    return Judgement(principle.id, order, score.logprobs, score.outside, probability, abstained, request)


def combine(
    pair: JudgedPair,
    constitution: Constitution,
    principles: Sequence[Principle],
    judgements: Sequence[Judgement],
    scores: Sequence[Scores],
    judge: str,
) -> Feedback:
    """Put a pair's judgements together: over orders, then over principles by weight."""
    standing: list[tuple[float, float]] = []
    agreeing = 0
    by_key = {(item.principle, item.order): item.probability for item in judgements}
    for principle in principles:
        one, two = (by_key[principle.id, order] for order in ORDERS)
        if one is None or two is None:
            continue
        standing.append((principle.weight, (one + two) / 2))
        agreeing += (one - 0.5) * (two - 0.5) > 0
    total = math.fsum(weight for weight, _ in standing)
    outside = [score.outside for score in scores if score.outside is not None]
    return Feedback(
        kind=pair.kind,
        about=pair.about,
        first=pair.first,
        second=pair.second,
        first_text=pair.first_value.text,
        second_text=pair.second_value.text,
        constitution=constitution.name,
        judge=judge,
        judgements=tuple(judgements),
        probability=math.fsum(weight * p for weight, p in standing) / total if standing else None,
        order_consistency=agreeing / len(standing) if standing else None,
        option_mass=1.0 - math.fsum(outside) / len(outside) if outside else None,
        abstained=len(principles) - len(standing),
        prompt_tokens=sum(score.prompt_tokens for score in scores),
    )
