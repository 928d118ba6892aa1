"""An edit of principles asks again what it touched, what it moved and what follows, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from cai.conversation import Turn
from cai.digest import draw
from cai.feedback import JudgePlan
from cai.parts import Value
from cai.principle import FORMS, Constitution, Principle
from cai.prompting import load_prompts
from cai.request import Completion, GenerateRequest, Request, Sampling, ScoreRequest, Scores
from cai.revise import RevisePlan
from cai.source import Row
from cai.steps import RowPlan, run_row

ROOT = Path(__file__).resolve().parent.parent
PROMPTS = load_prompts(ROOT / "prompts", "chat", ("critique", "revision", "judgement"))
ROUNDS = 2
ROWS = [
    Row(
        id=f"{i:032x}",
        source="s",
        subset="x",
        split="train",
        line=i + 1,
        position=i,
        prompt=(Turn("user", f" Question {i}?"),),
        responses={"chosen": Turn("assistant", f" Good {i}."), "rejected": Turn("assistant", f" Bad {i}.")},
        flags=(),
        fields={},
    )
    for i in range(5)
]


class _Memory:
    """An `ask` with a store that lasts, and a list of what had to be asked."""

    row = ""

    def __init__(self) -> None:
        self.answers: dict[str, Completion | Scores] = {}
        self.asked: list[Request] = []

    def digest(self, request: Request) -> str:
        return request.digest("engine")

    async def generate(self, request: GenerateRequest) -> Completion:
        key = self.digest(request)
        if key not in self.answers:
            self.asked.append(request)
            self.answers[key] = Completion(f"Words {draw(key) % 1000}.", "stop", 1, 1)
        answer = self.answers[key]
        assert isinstance(answer, Completion)
        return answer

    async def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        made = []
        for request in requests:
            key = self.digest(request)
            if key not in self.answers:
                self.asked.append(request)
                self.answers[key] = Scores((-0.5, -1.0), 0.0, 1)
            answer = self.answers[key]
            assert isinstance(answer, Scores)
            made.append(answer)
        return made


def _principle(name: str, words: str) -> Principle:
    return Principle(
        id=name,
        text=f"T {words}.",
        critique=f"C {words}.",
        revision=f"R {words}.",
        judgement=f"J {words}?",
    )


def _plan(principles: Sequence[Principle]) -> RowPlan:
    own = Constitution("own", "Own", tuple(principles), Path("own.yaml"))
    revise = RevisePlan("e", PROMPTS, own, ROUNDS, True, Sampling(), Sampling(), 0)
    judge = JudgePlan("e", PROMPTS, own, None, 0.5, 0)
    return RowPlan(None, revise, "rejected", (judge,), ("human", "revised"), 0)


async def _work(memory: _Memory, principles: Sequence[Principle]) -> list[Request]:
    memory.asked = []
    for row in ROWS:
        memory.row = row.id
        await run_row(row, _plan(principles), memory)
    return memory.asked


def _origin(value: Value | None) -> str:
    return value.text if value else ""


edits = st.lists(
    st.tuples(
        st.sampled_from(["add", "remove", "reword", "rename", "reorder", "reform"]),
        st.integers(0, 30),
        st.sampled_from(FORMS),
    ),
    min_size=1,
    max_size=4,
)


def _edited(principles: list[Principle], steps: list[tuple[str, int, str]]) -> list[Principle]:
    made = list(principles)
    for number, (kind, at, form) in enumerate(steps):
        index = at % len(made)
        if kind == "add":
            made.insert(index, _principle(f"new-{number}-{at}", f"new {number} {at}"))
        elif kind == "remove" and len(made) > 2:
            made.pop(index)
        elif kind == "reword":
            made[index] = made[index].model_copy(update=dict.fromkeys(FORMS, f"Reworded {number} {at}?"))
        elif kind == "reform":
            made[index] = made[index].model_copy(update={form: f"Another {form} {number} {at}?"})
        elif kind == "rename":
            made[index] = made[index].model_copy(update={"id": f"renamed-{number}-{at}"})
        elif kind == "reorder":
            made = made[index:] + made[:index]
    return made


def _drawn(principles: Sequence[Principle], row: str, number: int) -> Principle:
    return Constitution("own", "Own", tuple(principles), Path("own.yaml")).draw(0, row, "rejected", number)


def _same_round(old: Sequence[Principle], new: Sequence[Principle], row: str, number: int) -> bool:
    """Whether a round says the same to the model, as far as its principle goes."""
    one, two = _drawn(old, row, number), _drawn(new, row, number)
    return (one.critique, one.revision) == (two.critique, two.revision)


@settings(max_examples=200, deadline=None)
@given(edits)
async def test_an_edit_asks_again_what_it_touched_moved_or_caused_and_nothing_else(
    steps: list[tuple[str, int, str]],
) -> None:
    old = [_principle(f"p{i}", f"rule {i}") for i in range(6)]
    new = _edited(old, steps)
    memory = _Memory()
    await _work(memory, old)
    before = set(memory.answers)
    asked = await _work(memory, new)
    assert not {memory.digest(request) for request in asked} & before
    questions = {principle.judgement for principle in old}
    for request in asked:
        labels = request.labels
        row = next(row for row in ROWS if row.prompt[0].text in request.rendered.messages[0].text)
        changed_rounds = [n for n in range(1, ROUNDS + 1) if not _same_round(old, new, row.id, n)]
        if labels["stage"] == "judgement" and labels["pair"] == "human":
            question = next(p.judgement for p in new if p.id == labels["principle"])
            assert question not in questions, "a question that was there was asked again"
        elif labels["stage"] == "judgement":
            question = next(p.judgement for p in new if p.id == labels["principle"])
            assert question not in questions or changed_rounds, "no round of this row changed"
        else:
            number = labels["round"]
            assert isinstance(number, int)
            assert any(n <= number for n in changed_rounds), "neither this round nor an earlier one changed"


@settings(max_examples=50, deadline=None)
@given(st.permutations(range(6)))
async def test_reordering_asks_nothing_again(order: list[int]) -> None:
    old = [_principle(f"p{i}", f"rule {i}") for i in range(6)]
    memory = _Memory()
    await _work(memory, old)
    assert await _work(memory, [old[i] for i in order]) == []


async def test_rewording_one_question_of_six_asks_that_question_in_both_orders_of_each_pair() -> None:
    old = [_principle(f"p{i}", f"rule {i}") for i in range(6)]
    new = [*old[:5], old[5].model_copy(update={"judgement": "Another?"})]
    memory = _Memory()
    await _work(memory, old)
    asked = await _work(memory, new)
    pairs = len(ROWS) * 2
    assert len(asked) == pairs * 2
    assert {request.labels["principle"] for request in asked} == {"p5"}
