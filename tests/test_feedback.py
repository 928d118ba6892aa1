"""Feedback: every sign in the chain from log-probabilities to a label, by hand-worked values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cai.conversation import Turn
from cai.feedback import (
    LOG_ODDS_MAX,
    ORDERS,
    JudgedPair,
    JudgePlan,
    Pool,
    combine,
    judge,
    pooled,
    read_judgement,
)
from cai.outcome import Judgement
from cai.parts import Value
from cai.principle import Constitution, Principle
from cai.prompting import load_prompts, turn_values
from cai.request import Completion, GenerateRequest, Request, ScoreRequest, Scores

ROOT = Path(__file__).resolve().parent.parent


def _principle(name: str, **extra: object) -> Principle:
    forms = {"text": f"{name}.", "critique": "c", "revision": "r", "judgement": f"Which is better by {name}?"}
    return Principle(id=name, **forms, **extra)  # type: ignore[arg-type]


def _constitution(*principles: Principle) -> Constitution:
    return Constitution("test", "Test", principles, Path("principles/test.yaml"))


def _scores(p_a: float, outside: float = 0.0) -> Scores:
    inside = 1.0 - outside
    return Scores((math.log(p_a * inside), math.log((1 - p_a) * inside)), outside, 10)


PAIR = JudgedPair("human", "human", "chosen", "rejected", Value("good", "row", "c"), Value("bad", "row", "r"))


def test_a_judgement_shown_first_as_a_is_the_probability_of_a() -> None:
    done = read_judgement(_principle("x"), "first_is_a", _scores(0.9), 0.5, "d")
    assert done.probability == pytest.approx(0.9)


def test_the_swap_is_undone() -> None:
    done = read_judgement(_principle("x"), "first_is_b", _scores(0.9), 0.5, "d")
    assert done.probability == pytest.approx(0.1)


def test_a_question_for_the_worse_response_is_turned() -> None:
    worse = _principle("x", polarity="worse")
    assert read_judgement(worse, "first_is_a", _scores(0.9), 0.5, "d").probability == pytest.approx(0.1)
    assert read_judgement(worse, "first_is_b", _scores(0.9), 0.5, "d").probability == pytest.approx(0.9)


def test_the_probability_is_normalised_over_the_options_and_the_rest_is_kept() -> None:
    done = read_judgement(_principle("x"), "first_is_a", _scores(0.75, outside=0.4), 0.5, "d")
    assert done.probability == pytest.approx(0.75)
    assert done.outside == 0.4


def test_below_the_least_option_mass_a_judgement_abstains_and_is_no_label() -> None:
    done = read_judgement(_principle("x"), "first_is_a", _scores(0.99, outside=0.51), 0.5, "d")
    assert done.probability is None
    assert done.abstained == "format"


def test_a_principle_with_one_order_only_does_not_count() -> None:
    one, two = _principle("one"), _principle("two")
    constitution = _constitution(one, two)
    scores = [_scores(0.9), _scores(0.8), _scores(0.5, outside=0.9), _scores(0.4)]
    judgements = [
        read_judgement(principle, order, score, 0.5, "d")
        for (order, principle), score in zip(
            ((order, p) for order in ORDERS for p in (one, two)), scores, strict=True
        )
    ]
    done = combine(PAIR, constitution, (one, two), judgements, scores, "judge")
    assert done.abstained == 1
    # only `two` stands: (0.8 + (1 - 0.4)) / 2 = 0.7
    assert done.probability == pytest.approx(0.7)
    assert done.order_consistency == 1.0


def test_weights_count() -> None:
    heavy, light = _principle("heavy", weight=3), _principle("light", weight=1)
    judgements = [
        read_judgement(p, order, _scores(p_a), 0.5, "d")
        for order, p, p_a in (
            (ORDERS[0], heavy, 0.8),
            (ORDERS[1], heavy, 0.2),
            (ORDERS[0], light, 0.4),
            (ORDERS[1], light, 0.6),
        )
    ]
    done = combine(PAIR, _constitution(heavy, light), (heavy, light), judgements, [], "judge")
    assert done.probability == pytest.approx((3 * 0.8 + 1 * 0.4) / 4)


def test_log_odds_are_averaged_by_weight() -> None:
    # odds 9 and 1: the mean of their logs is that of sqrt(9 * 1) = 3, and 3 / (1 + 3) = 0.75
    assert pooled([(1, 0.9), (1, 0.5)], "log-odds") == pytest.approx(0.75)
    assert pooled([(1, 0.9), (1, 0.5)], "probability") == pytest.approx(0.7)
    # with weight 2 on odds 8: the cube root of 8 * 8 * 1 is 4
    assert pooled([(2, 8 / 9), (1, 0.5)], "log-odds") == pytest.approx(0.8)


def test_no_single_certain_principle_decides_by_log_odds() -> None:
    # certainty counts as odds of 999 : 1; against three principles at 1 : 10 it is outweighed
    certain, doubtful = (1, 1.0), (1, 1 / 11)
    assert math.exp(LOG_ODDS_MAX) == pytest.approx(0.999 / 0.001)
    assert pooled([certain], "log-odds") == pytest.approx(0.999)
    assert pooled([certain, (1, 0.0)], "log-odds") == pytest.approx(0.5)
    odds = (999 / 1000) ** 0.25
    assert pooled([certain, doubtful, doubtful, doubtful], "log-odds") == pytest.approx(odds / (1 + odds))


@given(st.lists(st.tuples(st.floats(0.1, 10), st.floats(0, 1)), min_size=1, max_size=20))
def test_a_pool_lies_between_its_members_and_turns_with_them(members: list[tuple[float, float]]) -> None:
    turned = [(weight, 1.0 - p) for weight, p in members]
    pools: tuple[Pool, ...] = ("probability", "log-odds")
    for pool in pools:
        found = pooled(members, pool)
        held = [min(0.999, max(0.001, p)) if pool == "log-odds" else p for _, p in members]
        assert min(held) - 1e-9 <= found <= max(held) + 1e-9
        assert found + pooled(turned, pool) == pytest.approx(1.0)


def test_samples_are_averaged_within_an_order_before_the_orders_are() -> None:
    x = _principle("x")
    judgements = [
        replace(read_judgement(x, order, _scores(p_a), 0.5, "d"), sample=sample)
        for order, sample, p_a in (
            (ORDERS[0], 0, 0.9),
            (ORDERS[0], 1, 0.5),
            (ORDERS[0], 2, 0.4),
            (ORDERS[1], 0, 0.2),
        )
    ]
    judgements.append(Judgement("x", ORDERS[1], (), None, None, "unfinished", "", 1))
    done = combine(PAIR, _constitution(x), (x,), judgements, [], "judge")
    # ((0.9 + 0.5 + 0.4) / 3 + (1 - 0.2)) / 2; the mean of all four would be 0.65
    assert done.probability == pytest.approx(0.7)
    assert done.order_consistency == 1.0
    assert done.abstained == 0


class _Judge:
    """Scores by a rule on what is shown; no engine."""

    row = "row"

    def __init__(self, p_of_a: object) -> None:
        self.p_of_a = p_of_a
        self.asked: list[ScoreRequest] = []

    async def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        self.asked += requests
        return [_scores(self.p_of_a(request.rendered.messages[0].text)) for request in requests]  # type: ignore[operator]

    async def generate(self, request: GenerateRequest) -> Completion:
        raise AssertionError("it is asked for no text")

    def digest(self, request: Request) -> str:
        return request.digest("engine")


def _plan(*principles: Principle) -> JudgePlan:
    return JudgePlan("main", load_prompts(ROOT / "prompts", "chat"), _constitution(*principles), None, 0.5, 0)


TURNS = turn_values([Turn("user", " question")], "row")


async def test_a_judge_that_always_says_a_gives_one_half_and_no_consistency() -> None:
    done = await judge(TURNS, PAIR, _plan(_principle("x"), _principle("y")), _Judge(lambda text: 0.97))
    assert done.probability == pytest.approx(0.5)
    assert done.order_consistency == 0.0


async def test_a_judge_that_reads_prefers_the_better_response_in_whichever_place() -> None:
    def reads(text: str) -> float:
        return 0.9 if text.index("good") < text.index("bad") else 0.1

    plan = _plan(_principle("x"))
    done = await judge(TURNS, PAIR, plan, _Judge(reads))
    assert done.probability == pytest.approx(0.9)
    assert done.order_consistency == 1.0
    swapped = JudgedPair("human", "human", "rejected", "chosen", PAIR.second_value, PAIR.first_value)
    done = await judge(TURNS, swapped, plan, _Judge(reads))
    assert done.probability == pytest.approx(0.1)


async def test_both_orders_of_every_principle_are_asked_and_each_has_its_own_digest() -> None:
    asked = _Judge(lambda text: 0.5)
    done = await judge(TURNS, PAIR, _plan(_principle("x"), _principle("y"), _principle("z")), asked)
    assert len({request.digest("e") for request in asked.asked}) == 6
    assert {(j.principle, j.order) for j in done.judgements} == {(p, o) for p in "xyz" for o in ORDERS}
    assert {j.request for j in done.judgements} == {request.digest("engine") for request in asked.asked}


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_exchanging_the_two_responses_turns_the_probability(one: float, two: float) -> None:
    x = _principle("x")
    first = [
        read_judgement(x, "first_is_a", _scores(one), 0.5, "d"),
        read_judgement(x, "first_is_b", _scores(two), 0.5, "d"),
    ]
    second = [
        read_judgement(x, "first_is_a", _scores(two), 0.5, "d"),
        read_judgement(x, "first_is_b", _scores(one), 0.5, "d"),
    ]
    p = combine(PAIR, _constitution(x), (x,), first, [], "judge").probability
    q = combine(PAIR, _constitution(x), (x,), second, [], "judge").probability
    assert p is not None
    assert q is not None
    assert p + q == pytest.approx(1.0)
