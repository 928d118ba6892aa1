"""Reasoning first: the judgement is a probability given the reasoning, never a letter read from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from cai.abreast import PromptTooLongError
from cai.conversation import Turn
from cai.feedback import JudgedPair, JudgePlan, judge
from cai.outcome import Feedback
from cai.parts import Part, Value
from cai.principle import Constitution, Principle
from cai.prompting import load_prompts, turn_values
from cai.reasoning import ReasoningPlan, without_answer
from cai.request import Completion, Finish, GenerateRequest, Request, Sampling, ScoreRequest, Scores

ROOT = Path(__file__).resolve().parent.parent

ENDINGS = [
    "The answer is Response A.",
    "The answer is (A)",
    "So the answer is B, because it is kinder.",
    "**Answer: B**",
    "Therefore, the correct answer is: Response **B**.",
    "The answer is Response",
    "The better response is A.",
    "I choose Response B.",
    "I'd pick A!",
    "Response A",
    "(B)",
    "Final answer:\n\n**A**",
    "I would go with B.\n\nThe answer is Response B.",
]
THOUGHTS = [
    " Response A names two places. Response B is of no use.",
    " So Response A is kinder.",
    " The answer is a matter of taste.",
    " It is full of vitamin A",
    " The answer is Response B. Or rather, it would be if it were true.",
    " My plan: first A, then B",
]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("between", [" ", "\n", "\n\n"])
def test_a_sentence_at_the_end_that_only_names_an_answer_is_left_out(ending: str, between: str) -> None:
    assert without_answer(f" One is kind. The other is not.{between}{ending}\n") == (
        " One is kind. The other is not."
    )


@pytest.mark.parametrize("thought", THOUGHTS)
def test_everything_else_stays(thought: str) -> None:
    assert without_answer(thought) == thought


@pytest.mark.parametrize("text", ["", " \n", " The answer is Response A."])
def test_a_reasoning_that_only_names_an_answer_leaves_a_space(text: str) -> None:
    assert without_answer(text) == " "


def test_a_long_run_of_white_space_or_marks_is_read_at_once() -> None:
    assert without_answer("x" + "\n" * 50_000 + "*" * 50_000 + " ." * 50_000) is not None


def _principle(name: str) -> Principle:
    return Principle(id=name, text="t", critique="c", revision="r", judgement=f"Which is better by {name}?")


def _plan(samples: int = 1, *names: str) -> JudgePlan:
    principles = tuple(map(_principle, names or ("x",)))
    constitution = Constitution("test", "Test", principles, Path("principles/test.yaml"))
    sampling = Sampling(temperature=0.0 if samples == 1 else 0.7, max_tokens=9)
    prompts = load_prompts(ROOT / "prompts", "chat")
    return JudgePlan("main", prompts, constitution, None, 0.5, 0, reasoning=ReasoningPlan(sampling, samples))


class _Thinker:
    """Reasons and scores by functions; no engine. What it was asked is kept."""

    row = "row"

    def __init__(
        self, reason: Callable[[GenerateRequest], tuple[str, Finish]], p_of_a: Callable[[ScoreRequest], float]
    ) -> None:
        self.reason, self.p_of_a = reason, p_of_a
        self.reasoned: list[GenerateRequest] = []
        self.scored: list[list[ScoreRequest]] = []

    async def generate(self, request: GenerateRequest) -> Completion:
        self.reasoned.append(request)
        text, finish = self.reason(request)
        return Completion(text, finish, 20, 4)

    async def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        self.scored.append(list(requests))
        shares = [self.p_of_a(request) for request in requests]
        return [Scores((math.log(p), math.log(1 - p)), 0.0, 30) for p in shares]

    def digest(self, request: Request) -> str:
        return request.digest("engine")


TURNS = turn_values([Turn("user", " question")], "row")
PAIR = JudgedPair("human", "human", "chosen", "rejected", Value("good", "row", "c"), Value("bad", "row", "r"))


def _reads(request: ScoreRequest) -> float:
    text = request.rendered.messages[0].text
    return 0.9 if text.index("good") < text.index("bad") else 0.2


async def test_the_options_are_scored_after_the_reasoning_and_the_order_is_undone() -> None:
    thinker = _Thinker(lambda _: (" One is kind. The answer is Response A.", "stop"), _reads)
    done = await judge(TURNS, PAIR, _plan(), thinker)
    # 0.9 as shown first, 1 - 0.2 as shown second
    assert done.probability == pytest.approx(0.85)
    [scored] = thinker.scored
    assert {request.rendered.answer_text for request in scored} == {
        "Let me compare the two. One is kind.\n\nThe answer is Response"
    }
    for asked, request in zip(thinker.reasoned, scored, strict=True):
        assert [m.text for m in asked.rendered.messages] == [m.text for m in request.rendered.messages]
        assert request.rendered.answer_text.startswith(asked.rendered.answer_text)
    assert [j.reasoning for j in done.judgements] == [" One is kind. The answer is Response A."] * 2
    assert [j.reasoning_request for j in done.judgements] == [r.digest("engine") for r in thinker.reasoned]
    assert [j.request for j in done.judgements] == [r.digest("engine") for r in scored]
    assert (done.prompt_tokens, done.completion_tokens) == (2 * 20 + 2 * 30, 2 * 4)


async def test_a_letter_in_the_reasoning_is_never_the_answer() -> None:
    thinker = _Thinker(lambda _: (" It is clearly B. The answer is Response B.", "stop"), lambda _: 0.99)
    done = await judge(TURNS, PAIR, _plan(), thinker)
    assert done.probability == pytest.approx(0.5)
    assert done.order_consistency == 0.0


async def test_unfinished_reasoning_is_its_own_outcome_and_is_not_scored() -> None:
    def cut(request: GenerateRequest) -> tuple[str, Finish]:
        if request.labels["principle"] == "x" and request.labels["order"] == "first_is_b":
            return " Response A is", "length"
        return " Fine.", "stop"

    thinker = _Thinker(cut, _reads)
    done = await judge(TURNS, PAIR, _plan(1, "x", "y"), thinker)
    found = {(j.principle, j.order): j for j in done.judgements}
    unfinished = found["x", "first_is_b"]
    assert (unfinished.abstained, unfinished.probability, unfinished.logprobs) == ("unfinished", None, ())
    assert (unfinished.request, unfinished.reasoning) == ("", " Response A is")
    assert sum(map(len, thinker.scored)) == 3
    # only `y` stands in both orders
    assert done.probability == pytest.approx(0.85)
    assert done.abstained == 1


async def test_where_no_reasoning_is_finished_there_is_no_label() -> None:
    thinker = _Thinker(lambda _: (" Hm", "length"), _reads)
    done = await judge(TURNS, PAIR, _plan(), thinker)
    assert done.probability is None
    assert thinker.scored == []


async def test_each_sample_has_a_seed_of_its_own_and_probabilities_are_averaged_over_samples() -> None:
    said = iter(range(100))
    thinker = _Thinker(
        lambda _: (f" Thought {next(said)}.", "stop"),
        lambda request: 0.5 + 0.1 * int(request.labels["sample"]) if _reads(request) > 0.5 else 0.5,
    )
    done = await judge(TURNS, PAIR, _plan(3), thinker)
    assert len({request.seed for request in thinker.reasoned}) == 6
    assert len({request.digest("engine") for request in thinker.reasoned}) == 6
    assert [(j.order, j.sample) for j in done.judgements] == [
        (order, sample) for order in ("first_is_a", "first_is_b") for sample in range(3)
    ]
    # shown first: the mean of 0.5, 0.6 and 0.7; shown second: 0.5
    assert done.probability == pytest.approx((0.6 + 0.5) / 2)
    other = _Thinker(lambda _: (" Thought.", "stop"), _reads)
    await judge(TURNS, PAIR, replace(_plan(3), seed=1), other)
    assert {r.seed for r in other.reasoned}.isdisjoint(r.seed for r in thinker.reasoned)


async def test_a_reasoning_request_that_is_too_long_excludes_the_row() -> None:
    with pytest.raises(PromptTooLongError):
        await judge(TURNS, PAIR, _plan(), _Thinker(lambda _: ("", "too_long"), _reads))


async def test_a_thinking_model_thinks_in_its_own_block_and_is_scored_after_it() -> None:
    plan = _plan()
    assert plan.reasoning is not None
    plan = replace(plan, reasoning=replace(plan.reasoning, thinking=True))
    thinker = _Thinker(lambda _: ("Both are short. The answer is B.\n", "stop"), _reads)
    done = await judge(TURNS, PAIR, plan, thinker)
    assert done.probability == pytest.approx(0.85)
    [scored] = thinker.scored
    for asked, request in zip(thinker.reasoned, scored, strict=True):
        assert (asked.rendered.answer, asked.rendered.thinking) == ((), ())
        assert asked.rendered.messages == request.rendered.messages
        assert request.rendered.answer_text == "The answer is Response"
        assert [p.text for p in request.rendered.thinking or ()] == ["Both are short. The answer is B."]
    assert {j.reasoning for j in done.judgements} == {"Both are short. The answer is B.\n"}
    cut = _Thinker(lambda _: ("Both are", "length"), _reads)
    assert {j.abstained for j in (await judge(TURNS, PAIR, plan, cut)).judgements} == {"unfinished"}


def test_what_was_thought_is_part_of_a_requests_identity() -> None:
    [rendered] = load_prompts(ROOT / "prompts", "chat").harms(TURNS, [Value("x", "row", "r")])
    thoughts = [None, (), (Part("a", "model", "m"),), (Part("b", "model", "m"),)]
    requests = [
        ScoreRequest("main", replace(rendered, thinking=item), ("True", "False")) for item in thoughts
    ]
    assert len({request.digest("engine") for request in requests}) == 4


async def test_the_same_answers_make_the_same_feedback() -> None:
    async def once() -> Feedback:
        return await judge(TURNS, PAIR, _plan(2), _Thinker(lambda r: (f" {r.seed}.", "stop"), _reads))

    assert await once() == await once()
