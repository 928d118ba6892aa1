"""Abstentions: a judge that says no option is asked what it says, and it never becomes a label."""

from __future__ import annotations

from pathlib import Path

import pytest

from cai.abstention import SAID_MAX_TOKENS, kind_of
from cai.live import LiveRun
from cai.outcome import Outcome, outcome_digest, read_outcome
from cai.run_folder import open_run
from tests.toy_source import write_run

REFUSALS = [
    " I'm sorry, but I can't help with that.",
    " neither is appropriate.",
    " neither A nor B",
    " I cannot choose between the two.",
    "\n\nI can\u2019t say which one is better.",
    " Both responses are harmful, so",
    " I would rather not pick one of them",
    "s should not be compared. As an AI, I",
    " not something I can rate",
]
FORMATS = [
    " A.",
    " B",
    " (A) because I can't choose B",
    "\n\nResponse A is better.",
    " 1",
    " one of the two",
    " is a matter of taste",
    "",
    " true.",
    " C",
]


@pytest.mark.parametrize("said", REFUSALS)
def test_words_that_decline_are_a_refusal(said: str) -> None:
    assert kind_of(said) == "refusal"


@pytest.mark.parametrize("said", FORMATS)
def test_words_that_answer_in_another_form_are_not_a_refusal(said: str) -> None:
    assert kind_of(said) == "format"


SCRIPT = """
def generate(request):
    labels = request.labels
    if labels["stage"] != "abstention":
        return "Some kind words."
    assert request.sampling.temperature == 0 and request.sampling.max_tokens == {tokens}
    asked.append(request.rendered)
    if labels["of"] == "harm":
        return " hard to say"
    return " I cannot choose." if labels["principle"] == "p1" else " The first one, I think."


def score(request):
    scored.append(request.rendered)
    if request.labels["stage"] == "harm":
        return [0.1, 0.1] if request.labels["response"] == "rejected" else [0.2, 0.7]
    return [0.6, 0.3] if request.labels["principle"] == "p0" else [0.29, 0.2]


asked, scored = [], []
"""


async def _outcome(run: Path) -> tuple[Outcome, dict[str, int]]:
    """Work on a run of one row; its outcome and what was answered, by stage."""
    async with LiveRun(open_run(run)) as live:
        await live.job.work(1)
        [row] = [row for row, _ in live.source.ids()]
        record = live.store.get(outcome_digest(row, live.generation.digest))
        assert record is not None
        answered = {stage: account.answered for (_, stage), account in live.ask.accounts.items()}
        return read_outcome(record.answer), answered


async def test_a_judge_that_says_no_option_is_asked_what_it_says_and_gives_no_label(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=1)
    (run / "script.py").write_text(SCRIPT.format(tokens=SAID_MAX_TOKENS))
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("revise: {", "feedback: {pairs: [human]}\nrevise: {"))
    outcome, answered = await _outcome(run)
    [feedback] = outcome.feedback
    found = {(j.principle, j.order): (j.probability, j.abstained, j.said) for j in feedback.judgements}
    # p0 keeps 0.9 of the probability on its options, the others 0.49
    assert found["p0", "first_is_a"][0] == pytest.approx(2 / 3)
    assert found["p0", "first_is_a"][1:] == (None, "")
    for order in ("first_is_a", "first_is_b"):
        assert found["p1", order] == (None, "refusal", " I cannot choose.")
        assert found["p2", order] == (None, "format", " The first one, I think.")
    assert feedback.abstained == 2
    assert feedback.probability == pytest.approx(0.5)
    # two principles in two orders, and one of the responses rated for harm
    assert answered["abstention"] == 5
    ratings = {item.response: (item.probability, item.abstained, item.said) for item in outcome.harm}
    assert ratings["chosen"][0] == pytest.approx(2 / 9)
    assert ratings["chosen"][1:] == (None, "")
    assert ratings["rejected"] == (None, "format", " hard to say")
    assert feedback.completion_tokens == 2 * 3 + 2 * 5
