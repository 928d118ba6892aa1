"""Harm ratings: each response by itself, P(True), no order and no principle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from cai.conversation import Turn
from cai.harm import HarmPlan, rate, read_rating
from cai.live import LiveRun
from cai.outcome import Outcome, outcome_digest, read_outcome
from cai.parts import Value
from cai.prompting import load_prompts, turn_values
from cai.request import Completion, GenerateRequest, Request, ScoreRequest, Scores
from cai.run_folder import open_run
from tests.toy_source import write_run

ROOT = Path(__file__).resolve().parent.parent
PLAN = HarmPlan("main", load_prompts(ROOT / "prompts", "chat"), 0.5)
TURNS = turn_values([Turn("user", " question")], "row")


def test_the_rating_is_the_probability_of_true_normalised_over_both() -> None:
    done = read_rating("chosen", Scores((math.log(0.6), math.log(0.2)), 0.2, 10), PLAN, "d")
    assert done.probability == pytest.approx(0.75)
    assert (done.response, done.judge, done.outside, done.abstained) == ("chosen", "main", 0.2, None)


def test_below_the_least_option_mass_a_rating_abstains() -> None:
    done = read_rating("chosen", Scores((math.log(0.4), math.log(0.05)), 0.55, 10), PLAN, "d")
    assert (done.probability, done.abstained) == (None, "format")


class _Rater:
    """Says True of what contains "poison"; no engine."""

    row = "row"

    def __init__(self) -> None:
        self.asked: list[list[ScoreRequest]] = []

    async def generate(self, request: GenerateRequest) -> Completion:
        raise AssertionError("it is asked for no text")

    async def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        self.asked.append(list(requests))
        shares = [0.8 if "poison" in request.rendered.messages[0].text else 0.1 for request in requests]
        return [Scores((math.log(p), math.log(1 - p)), 0.0, 10) for p in shares]

    def digest(self, request: Request) -> str:
        return request.digest("engine")


async def test_responses_of_one_part_travel_together_and_keep_their_names() -> None:
    rater = _Rater()
    responses = [("chosen", Value("bread", "row", "c")), ("rejected", Value("poison", "row", "r"))]
    done = await rate(TURNS, responses, PLAN, rater)
    assert [(item.response, round(item.probability or 0, 9)) for item in done] == [
        ("chosen", 0.1),
        ("rejected", 0.8),
    ]
    [asked] = rater.asked
    assert [request.options for request in asked] == [("True", "False")] * 2
    assert [item.request for item in done] == [request.digest("engine") for request in asked]
    assert await rate(TURNS, [], PLAN, rater) == ()


SCRIPT = """
def generate(request):
    if request.labels["stage"] == "revision" and request.labels["round"] == 2:
        return ""
    return "A kinder answer %s." % (request.labels.get("of", "") or request.labels.get("round", ""))


def score(request):
    return [0.3, 0.7]
"""


async def _outcomes(run: Path) -> tuple[list[Outcome], dict[str, int]]:
    async with LiveRun(open_run(run)) as live:
        await live.job.work(2)
        keys = [outcome_digest(row, live.generation.digest) for row, _ in live.source.ids()]
        records = [live.store.get(key) for key in keys]
        answered = {stage: account.answered for (_, stage), account in live.ask.accounts.items()}
        return [read_outcome(record.answer) for record in records if record is not None], answered


@pytest.mark.parametrize(
    ("sections", "names"),
    [
        ("revise: {of: rejected, rounds: 2}", ["chosen", "rejected", "revision 1 of rejected"]),
        (
            "revise: {of: both, rounds: 1}",
            ["chosen", "rejected", "revision 1 of chosen", "revision 1 of rejected"],
        ),
        ("revise: {of: fresh, rounds: 1}", ["chosen", "rejected", "fresh", "revision 1 of fresh"]),
        (
            "feedback: {pairs: [sampled], samples: 4}\nrevise: null",
            ["chosen", "rejected", "sample 0", "sample 1", "sample 2", "sample 3"],
        ),
        ("feedback: {harm: false}\nrevise: {rounds: 1}", []),
    ],
)
async def test_every_response_that_exists_is_rated_and_every_usable_revision(
    tmp_path: Path, sections: str, names: list[str]
) -> None:
    run = write_run(tmp_path, rows=2)
    (run / "script.py").write_text(SCRIPT)
    recipe = run / "recipe.yaml"
    kept = [line for line in recipe.read_text().splitlines() if not line.startswith("revise:")]
    recipe.write_text("\n".join([*kept, sections]) + "\n")
    outcomes, _ = await _outcomes(run)
    assert len(outcomes) == 2
    for outcome in outcomes:
        assert sorted(item.response for item in outcome.harm) == sorted(names)
        assert all(item.probability == pytest.approx(0.3) for item in outcome.harm)
        assert all(item.prompt_tokens > 0 for item in outcome.harm)


async def test_switching_the_ratings_on_asks_for_nothing_else_again(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=3)
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text() + "feedback: {harm: false}\n")
    _, first = await _outcomes(run)
    assert "harm" not in first
    recipe.write_text(recipe.read_text().replace("harm: false", "harm: true"))
    _, again = await _outcomes(run)
    assert {stage: count for stage, count in again.items() if count} == {"harm": 3 * (2 + 2)}
