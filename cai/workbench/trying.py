"""One real row under one principle: critique, revision, and the judgement of its pair, as a run does it.

The steps are the run's own (cai/revise.py, cai/feedback.py), with a constitution that holds the
one principle, so the requests are those of the run wherever the run draws that principle; what the
run or an earlier try has asked already is answered from its store.

What this module does not know: terminals, how answers travel.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cai.abreast import PromptTooLongError
from cai.ask import RowAsk
from cai.errors import RunError
from cai.feedback import JudgedPair, judge
from cai.frozen import row_plans
from cai.outcome import Feedback, Round
from cai.parts import Value
from cai.principle import Constitution, Principle
from cai.prompting import turn_values
from cai.request import Answer, Completion, GenerateRequest, Request, ScoreRequest, Scores
from cai.revise import revise
from cai.shortening import drops_to_try, kept_turns
from cai.source import Row
from cai.steps import RowPlan
from cai.workbench.asking import Asking


@dataclass(frozen=True)
class Asked:
    """One request and its answer; `from_store` where nothing had to be asked; `seconds` it took."""

    request: Request
    digest: str
    answer: Answer
    from_store: bool
    seconds: float


@dataclass
class Trial:
    """What one try gave. `round` None where the recipe revises nothing; `feedback` None where it
    judges nothing or the row has no pair; `too_long` where the row does not fit, `turns_dropped` of its
    oldest turns left out by the recipe's `too_long`."""

    principle: Principle
    row: Row
    asked: list[Asked] = field(default_factory=list)
    of: str = ""
    original: str = ""
    round: Round | None = None
    feedback: tuple[Feedback, ...] = ()
    too_long: bool = False
    turns_dropped: int = 0


class _Noting:
    """An `ask` that notes what was asked, what came back and how long it took."""

    def __init__(self, inner: RowAsk, asking: Asking, trial: Trial) -> None:
        self.row = inner.row
        self._inner = inner
        self._asking = asking
        self._trial = trial

    def digest(self, request: Request) -> str:
        return self._inner.digest(request)

    def _known(self, request: Request) -> bool:
        return self._asking.ask.stored(request, self.digest(request)) is not None

    async def generate(self, request: GenerateRequest) -> Completion:
        known, begun = self._known(request), time.perf_counter()
        answer = await self._inner.generate(request)
        self._note(request, answer, known, time.perf_counter() - begun)
        return answer

    async def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        known, begun = [self._known(request) for request in requests], time.perf_counter()
        answers = await self._inner.score(requests)
        each = (time.perf_counter() - begun) / max(1, len(requests))
        for request, answer, there in zip(requests, answers, known, strict=True):
            self._note(request, answer, there, each)
        return answers

    def _note(self, request: Request, answer: Answer, known: bool, seconds: float) -> None:
        self._trial.asked.append(Asked(request, self.digest(request), answer, known, seconds))


def one_principle(constitution: Constitution, name: str) -> Constitution:
    """The constitution with that principle alone. Raises: RunError, naming the nearest."""
    from cai.yaml_file import nearest

    for principle in constitution.principles:
        if principle.id == name:
            return replace(constitution, principles=(principle,))
    known = [principle.id for principle in constitution.principles]
    raise RunError(
        f"{constitution.name} has no principle {name!r}{nearest(name, known)}.", "Name one it has."
    )


async def try_principle(constitution: Constitution, name: str, row: Row, asking: Asking) -> Trial:
    """Critique, revise and judge one row under one principle, one round.

    Raises: RunError (no such principle); EngineError, StoreError.
    """
    alone = one_principle(constitution, name)
    inputs = replace(asking.inputs, constitutions={constitution.name: alone})
    plan = row_plans(inputs)[constitution.name]
    trial = Trial(alone.principles[0], row)
    inner = asking.for_row(row.id)
    ask = _Noting(inner, asking, trial)
    drops = drops_to_try(row.prompt) if plan.drop_oldest else [0]
    by_the_run = asking.turns_dropped(row.id) if plan.drop_oldest else 0
    try:
        for trial.turns_dropped in [dropped for dropped in drops if dropped >= by_the_run]:
            try:
                await _try(trial, plan, ask, careful=len(drops) > 1)
                break
            except PromptTooLongError:
                trial.round, trial.feedback = None, ()
        else:
            trial.too_long, trial.turns_dropped = True, 0
    finally:
        asking.done(inner)
    return trial


async def _try(trial: Trial, plan: RowPlan, ask: _Noting, careful: bool) -> None:
    """Critique, revise and judge, without the turns that are dropped; `careful`: judge first, as a run does.

    Raises: PromptTooLongError; EngineError, StoreError.
    """
    row = trial.row
    turns = turn_values(row.prompt, "row")
    turns = [turns[place] for place in kept_turns(row.prompt, trial.turns_dropped)]
    responses = {key: Value(turn.text, "row", f"row {key}") for key, turn in row.responses.items()}
    steps = [_revise, _judge]
    for step in reversed(steps) if careful else steps:
        await step(trial, turns, responses, plan, ask)


async def _revise(
    trial: Trial, turns: list[dict[str, Any]], responses: dict[str, Value], plan: RowPlan, ask: _Noting
) -> None:
    if plan.revise is None or not responses:
        return
    trial.of = plan.of if plan.of in responses else next(reversed(responses))
    original = responses[trial.of]
    trial.original = original.text
    revision = await revise(turns, original, trial.of, replace(plan.revise, rounds=1), ask)
    if "too_long" in (revision.rounds[0].finish, revision.rounds[0].critique_finish):
        raise PromptTooLongError
    trial.round = revision.rounds[0]


async def _judge(
    trial: Trial, turns: list[dict[str, Any]], responses: dict[str, Value], plan: RowPlan, ask: _Noting
) -> None:
    if not plan.judges or "chosen" not in responses:
        return
    pair = JudgedPair("human", "human", "chosen", "rejected", responses["chosen"], responses["rejected"])
    trial.feedback = tuple([await judge(turns, pair, replace(each, count=None), ask) for each in plan.judges])
