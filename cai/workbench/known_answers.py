"""A principle's own tests on a model: must the better response win, it wins in both orders.

A test is judged as a pair of a run is: through the run's templates, under its one principle, in
both orders, polarity undone. It passes where the better response is more probable in both
orders; one that passes in one order only fails, because the judge's preference for a place
decided it. The margin is how far the mean over both orders lies above one half.

What this module does not know: where tests are written, how results are shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from cai.abreast import PromptTooLongError
from cai.digest import digest
from cai.feedback import JudgedPair, JudgePlan, judge
from cai.parts import Value
from cai.principle import Constitution, Principle, PrincipleTest
from cai.prompting import turn_values
from cai.workbench.asking import Asking

Verdict = Literal["passed", "failed", "one order only", "abstained", "too long"]


@dataclass(frozen=True)
class TestResult:
    """How one test went. `number` counts a principle's tests from 1; probabilities are that the
    better response is better, shown as A and shown as B (None where the judge abstained)."""

    __test__ = False  # no case for pytest

    principle: str
    number: int
    verdict: Verdict
    shown_as_a: float | None = None
    shown_as_b: float | None = None
    abstained: str = ""
    said: str = ""

    @property
    def margin(self) -> float | None:
        """How far the mean over both orders lies above one half, -0.5 to 0.5."""
        if self.shown_as_a is None or self.shown_as_b is None:
            return None
        return (self.shown_as_a + self.shown_as_b) / 2 - 0.5


async def run_tests(
    constitution: Constitution, plan: JudgePlan, asking: Asking, only: Sequence[str] = ()
) -> list[TestResult]:
    """All tests of a constitution (or of the principles in `only`), in the file's order.

    Raises: EngineError, StoreError.
    """
    todo = [
        _one(constitution, principle, number, test, plan, asking)
        for principle in constitution.principles
        if not only or principle.id in only
        for number, test in enumerate(principle.tests, 1)
    ]
    return list(await asyncio.gather(*todo))


async def _one(
    constitution: Constitution,
    principle: Principle,
    number: int,
    test: PrincipleTest,
    plan: JudgePlan,
    asking: Asking,
) -> TestResult:
    name = f"{principle.id} test {number}"
    alone = replace(constitution, principles=(principle,))
    pair = JudgedPair(
        kind="human",
        about=name,
        first="better",
        second="worse",
        first_value=Value(test.better, "row", f"{name} better"),
        second_value=Value(test.worse, "row", f"{name} worse"),
    )
    ask = asking.for_row(digest("cai.principle-test.v1", [principle.id, test.model_dump()]))
    try:
        feedback = await judge(
            turn_values(test.turns, name), pair, replace(plan, constitution=alone, count=None), ask
        )
    except PromptTooLongError:
        return TestResult(principle.id, number, "too long")
    finally:
        asking.done(ask)
    orders: dict[str, list[float]] = {}
    for item in feedback.judgements:
        if item.probability is not None:
            orders.setdefault(item.order, []).append(item.probability)
    means = {order: sum(values) / len(values) for order, values in orders.items()}
    as_a, as_b = means.get("first_is_a"), means.get("first_is_b")
    silent = next((item for item in feedback.judgements if item.abstained), None)
    return TestResult(
        principle.id,
        number,
        _verdict(as_a, as_b),
        as_a,
        as_b,
        silent.abstained or "" if silent else "",
        silent.said if silent else "",
    )


def _verdict(as_a: float | None, as_b: float | None) -> Verdict:
    if as_a is None or as_b is None:
        return "abstained"
    won = (as_a > 0.5) + (as_b > 0.5)
    return "passed" if won == 2 else "one order only" if won == 1 else "failed"
