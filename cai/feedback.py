"""AI feedback: which of two responses is better, under each principle, in both orders.

A judgement is read from the probabilities of the options A and B at the answer position,
normalised over the two. Each principle is asked twice, with the responses swapped; the swap is
undone, a question that asks for the *worse* response is turned, and the two are averaged. A
principle counts only where both of its orders stand: one order alone carries the judge's
preference for a place. Where the options hold less than `min_option_mass` of the probability, the
model was saying something else, and the judgement abstains; it never becomes a label. What it was
saying is asked for and kept (cai/abstention.py).

With reasoning (cai/reasoning.py) each judgement is one of n samples, conditional on a reasoning of
its own; an order stands where at least one of its samples does.

    p(sample)    = exp(l_A) / (exp(l_A) + exp(l_B)), of the response shown as A, turned to the first
    p(order)     = mean over the samples that stand
    p(principle) = mean over both orders of p(first response is better)
    p(pair)      = sum_i w_i p_i / sum_i w_i over the principles that stand       ("probability")
                 = sigmoid(sum_i w_i logit(p_i) / sum_i w_i)                      ("log-odds")

The second is the logarithmic opinion pool of two outcomes: it keeps a confident judgement from
being drowned by undecided ones. So that no single one decides alone, p_i is first held within
LOG_ODDS_MAX of even odds.

What this module does not know: ties and thresholds of the dataset (cai/dataset), which pairs
there are (steps.py), engines.
Source: 2212.08073, sections 2 (samples of reasoning, averaged) and 4.1 (normalised log-probabilities
of the options); 2309.00267, section 2 (both orders, averaged); Genest and Zidek 1986, Statistical
Science 1(1) (linear and logarithmic pools).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from cai.abreast import PromptTooLongError
from cai.abstention import kind_of, words_instead
from cai.digest import draw
from cai.examples import after_examples
from cai.outcome import Abstention, Feedback, Judgement, Order, PairKind
from cai.parts import Message, Part, Value
from cai.principle import Constitution, Principle
from cai.prompting import OPTIONS, Prompts, principle_values
from cai.reasoning import ReasoningPlan, reason, without_answer
from cai.request import Completion, GenerateRequest, Labels, Request, ScoreRequest, Scores
from cai.template import Rendered

STEP_VERSION = 3
"""Raised whenever this module would make other outcomes from the same answers."""

ORDERS: tuple[Order, Order] = ("first_is_a", "first_is_b")

LOG_ODDS_MAX = math.log(999)
"""Natural log-odds beyond which a principle counts no more: 0.999 and 0.001 as probabilities."""

Pool = Literal["probability", "log-odds"]


class AskFeedback(Protocol):
    """The part of `ask` that this step needs."""

    row: str

    async def generate(self, request: GenerateRequest) -> Completion:
        """Ask for a text: a reasoning, or what was said instead of an option."""

    async def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        """Ask for option probabilities."""

    def digest(self, request: Request) -> str:
        """A request's identity."""


@dataclass(frozen=True)
class JudgePlan:
    """How one judge judges pairs; the same for all rows of a constitution.

    `count` None: all principles. `reasoning` None: it answers at once. `examples`: the chat that
    goes before each judgement.
    """

    engine: str
    prompts: Prompts
    constitution: Constitution
    count: int | None
    min_option_mass: float
    seed: int
    pool: Pool = "probability"
    reasoning: ReasoningPlan | None = None
    examples: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """Two responses to one prompt: `kind` and `about` say which pair, names say which is which."""

    kind: PairKind
    about: str
    first: str
    second: str
    first_value: Value
    second_value: Value


@dataclass(frozen=True, slots=True)
class _Question:
    """One judgement to make: what to ask (None where the reasoning was not finished), after what."""

    principle: Principle
    order: Order
    request: ScoreRequest | None
    sample: int = 0
    reasoning: Completion | None = None
    reasoning_request: str = ""


async def judge(turns: list[dict[str, Any]], pair: JudgedPair, plan: JudgePlan, ask: AskFeedback) -> Feedback:
    """Judge one pair under its principles in both orders.

    Raises: PromptTooLongError; EngineError, StoreError.
    """
    principles = plan.constitution.choose(plan.seed, ask.row, plan.count)
    if plan.reasoning is None:
        questions = _questions(turns, pair, plan, principles)
    else:
        questions = await _reasoned_questions(turns, pair, plan, plan.reasoning, principles, ask)
    requests = [question.request for question in questions if question.request is not None]
    scores = await ask.score(requests) if requests else []
    if any(score.finish == "too_long" for score in scores):
        raise PromptTooLongError
    answers = iter(scores)
    judgements = [
        _judgement(question, next(answers) if question.request is not None else None, plan, ask)
        for question in questions
    ]
    said = await _ask_abstainers(questions, judgements, plan, ask)
    feedback = combine(pair, plan.constitution, principles, judgements, scores, plan.engine, plan.pool)
    texts = [question.reasoning for question in questions if question.reasoning is not None] + said
    return replace(
        feedback,
        prompt_tokens=feedback.prompt_tokens + sum(text.prompt_tokens for text in texts),
        completion_tokens=sum(text.completion_tokens for text in texts),
    )


# ---------------------------------------------------------------------- what is asked


def _questions(
    turns: list[dict[str, Any]], pair: JudgedPair, plan: JudgePlan, principles: Sequence[Principle]
) -> list[_Question]:
    """One question for each order and principle; all of one order share all but the question."""
    questions = []
    forms = [principle_values(plan.constitution, principle) for principle in principles]
    for order in ORDERS:
        prompts = plan.prompts.judgements(turns, *_shown(pair, order), forms)
        for principle, rendered in zip(principles, prompts, strict=True):
            labels = _labels("judgement", pair, principle, order)
            questions.append(_Question(principle, order, _score(plan, rendered, labels)))
    return questions


async def _reasoned_questions(
    turns: list[dict[str, Any]],
    pair: JudgedPair,
    plan: JudgePlan,
    reasoning: ReasoningPlan,
    principles: Sequence[Principle],
    ask: AskFeedback,
) -> list[_Question]:
    """One question for each order, principle and sample, each after a reasoning of its own."""
    forms = [principle_values(plan.constitution, principle) for principle in principles]
    kept: list[tuple[Order, Principle, dict[str, Value], int]] = []
    requests = []
    for order in ORDERS:
        prompts = _thoughtful(turns, pair, order, plan.prompts, forms, reasoning)
        for principle, values, rendered in zip(principles, forms, prompts, strict=True):
            whole = after_examples(plan.examples, rendered)
            for sample in range(reasoning.samples):
                labels = _labels("reasoning", pair, principle, order, sample)
                names = (ask.row, pair.kind, pair.about, principle.id, order, sample)
                seed = draw(plan.seed, "reasoning", *names) >> 1
                kept.append((order, principle, values, sample))
                requests.append(GenerateRequest(plan.engine, whole, reasoning.sampling, seed, labels))
    questions = []
    thoughts = await reason(requests, ask)
    for (order, principle, values, sample), asked, thought in zip(kept, requests, thoughts, strict=True):
        request = None
        if thought.finish == "stop":
            origin = f"reasoning {principle.id} {order} {sample}"
            if reasoning.thinking:
                rendered = plan.prompts.judgement(turns, *_shown(pair, order), values)
                rendered = replace(rendered, thinking=(Part(thought.text.rstrip(), "model", origin),))
            else:
                text = Value(without_answer(thought.text), "model", origin)
                rendered = plan.prompts.reasoned_judgement(turns, *_shown(pair, order), values, text)
            request = _score(plan, rendered, _labels("judgement", pair, principle, order, sample))
        questions.append(_Question(principle, order, request, sample, thought, ask.digest(asked)))
    return questions


def _thoughtful(
    turns: list[dict[str, Any]],
    pair: JudgedPair,
    order: Order,
    prompts: Prompts,
    forms: Sequence[dict[str, Value]],
    reasoning: ReasoningPlan,
) -> list[Rendered]:
    """The prompts that let the judge reason, under each principle."""
    a, b = _shown(pair, order)
    if not reasoning.thinking:
        return prompts.reasonings(turns, a, b, forms)
    return [Rendered(item.messages, (), thinking=()) for item in prompts.judgements(turns, a, b, forms)]


def _shown(pair: JudgedPair, order: Order) -> tuple[Value, Value]:
    """The responses as A and B."""
    shown = (pair.first_value, pair.second_value)
    return shown if order == "first_is_a" else (shown[1], shown[0])


def _labels(
    stage: str, pair: JudgedPair, principle: Principle, order: Order, sample: int | None = None
) -> Labels:
    labels: Labels = {
        "stage": stage,
        "pair": pair.kind,
        "about": pair.about,
        "principle": principle.id,
        "order": order,
    }
    return labels if sample is None else {**labels, "sample": sample}


def _score(plan: JudgePlan, rendered: Rendered, labels: Labels) -> ScoreRequest:
    return ScoreRequest(plan.engine, after_examples(plan.examples, rendered), OPTIONS, labels)


# ---------------------------------------------------------------------- what is made of the answers


def _judgement(question: _Question, score: Scores | None, plan: JudgePlan, ask: AskFeedback) -> Judgement:
    """A question's judgement, as yet without what was said instead of an option."""
    if score is None or question.request is None:
        done = Judgement(question.principle.id, question.order, (), None, None, "unfinished", "")
    else:
        digest = ask.digest(question.request)
        done = read_judgement(question.principle, question.order, score, plan.min_option_mass, digest)
    if question.reasoning is None:
        return done
    return replace(
        done,
        sample=question.sample,
        reasoning=question.reasoning.text,
        reasoning_request=question.reasoning_request,
    )


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
        shown_as_a = of_first_option(score)
        probability = shown_as_a if order == "first_is_a" else 1.0 - shown_as_a
        if principle.polarity == "worse":
            probability = 1.0 - probability
    return Judgement(principle.id, order, score.logprobs, score.outside, probability, abstained, request)


def of_first_option(score: Scores) -> float:
    """The probability of the first of two options, normalised over both."""
    first, second = score.logprobs
    return 1.0 / (1.0 + math.exp(min(700.0, max(-700.0, second - first))))


async def _ask_abstainers(
    questions: Sequence[_Question], judgements: list[Judgement], plan: JudgePlan, ask: AskFeedback
) -> list[Completion]:
    """Ask each judgement that missed the options what it says, and note it (in `judgements`)."""
    missed = [place for place, item in enumerate(judgements) if item.abstained == "format"]
    requests = [request for place in missed if (request := questions[place].request) is not None]
    said = await words_instead(requests, plan.prompts.form, ask)
    for place, words in zip(missed, said, strict=True):
        judgements[place] = replace(judgements[place], said=words.text, abstained=kind_of(words.text))
    return said


def combine(
    pair: JudgedPair,
    constitution: Constitution,
    principles: Sequence[Principle],
    judgements: Sequence[Judgement],
    scores: Sequence[Scores],
    judge: str,
    pool: Pool = "probability",
) -> Feedback:
    """Put a pair's judgements together: over samples, over orders, then over principles by weight."""
    standing: list[tuple[float, float]] = []
    agreeing = 0
    samples: dict[tuple[str, Order], list[float]] = {}
    for item in judgements:
        if item.probability is not None:
            samples.setdefault((item.principle, item.order), []).append(item.probability)
    for principle in principles:
        one, two = (samples.get((principle.id, order)) for order in ORDERS)
        if one is None or two is None:
            continue
        first, second = math.fsum(one) / len(one), math.fsum(two) / len(two)
        standing.append((principle.weight, (first + second) / 2))
        agreeing += (first - 0.5) * (second - 0.5) > 0
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
        probability=pooled(standing, pool) if standing else None,
        order_consistency=agreeing / len(standing) if standing else None,
        option_mass=1.0 - math.fsum(outside) / len(outside) if outside else None,
        abstained=len(principles) - len(standing),
        prompt_tokens=sum(score.prompt_tokens for score in scores),
    )


def pooled(standing: Sequence[tuple[float, float]], pool: Pool) -> float:
    """One probability of several (weight, probability); the formulas stand at the top of this file."""
    total = math.fsum(weight for weight, _ in standing)
    if pool == "probability":
        return math.fsum(weight * p for weight, p in standing) / total
    return 1.0 / (1.0 + math.exp(-math.fsum(weight * _log_odds(p) for weight, p in standing) / total))


def _log_odds(p: float) -> float:
    if p <= 0.0 or p >= 1.0:
        return math.copysign(LOG_ODDS_MAX, p - 0.5)
    return min(LOG_ODDS_MAX, max(-LOG_ODDS_MAX, math.log(p / (1.0 - p))))
