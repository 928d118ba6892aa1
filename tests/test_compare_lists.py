"""Promises of the main table, the biases, the lists and the judges: each on pairs made by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from cai.compare import Comparison, Planted, compare
from cai.conversation import Turn
from cai.digest import draw
from cai.outcome import Feedback, Outcome
from cai.recipe import Recipe
from cai.report.page import page
from cai.source import Row
from tests.test_dataset_inputs import build, feedback, harm, human, outcome, recipe, row


def compared(
    run: Path,
    rows: Iterable[Row],
    judged: Callable[[Row], Outcome],
    planted: dict[str, Planted] | None = None,
    asked: Recipe | None = None,
) -> Comparison:
    found = list(rows)
    build(run, found, [judged(made) for made in found], asked or recipe())
    return compare(run / "dataset", planted)


def pair(number: int, chosen: str, rejected: str, **changes: Any) -> Row:
    """A row with these two responses."""
    responses = {"chosen": Turn("assistant", f" {chosen}"), "rejected": Turn("assistant", f" {rejected}")}
    return row(number, responses=responses, **changes)


def uniform(*parts: str | int) -> float:
    return draw(*parts) / 2**64


LONG, SHORT = "First, take a large bowl and stir it very well.", "Stir it well."
NO = "I can't help with that, and I am sure you can see why it is so."


# ---------------------------------------------------------------- the main table


def test_the_main_table_holds_the_ai_beside_rules_that_need_no_judge(tmp_path: Path) -> None:
    # the human takes the shorter in 6 of 10; the AI agrees in 9, and ties in row 9
    def made(number: int) -> Row:
        return pair(number, SHORT, LONG) if number < 6 else pair(number, LONG, SHORT)

    found = compared(
        tmp_path,
        map(made, range(10)),
        lambda one: outcome(one, human(one, 0.5 if one.position == 9 else 0.8)),
    )
    lines = {line.name: line for line in found.main.lines}
    assert list(lines) == ["ai", "longer wins", "shorter wins", "refusal wins", "chance"]
    assert (lines["ai"].ties_half.count, lines["ai"].ties_half.n, lines["ai"].decided.value) == (9.5, 10, 1.0)
    assert (lines["shorter wins"].decided.count, lines["longer wins"].decided.count) == (6, 4)
    assert (lines["refusal wins"].coverage.value, lines["refusal wins"].ties_half.value) == (0.0, 0.5)
    assert lines["chance"].ties_half.value == 0.5
    assert lines["chance"].ahead.value == pytest.approx(0.45)
    assert found.main.best_baseline == "shorter wins"
    assert lines["shorter wins"].ahead.value == pytest.approx(0.35)
    # only the AI is right: rows 6, 7, 8; only the rule is right: none
    assert lines["shorter wins"].mcnemar_p == pytest.approx(2 * 0.5**3)


def test_a_refusal_wins_only_where_one_of_the_two_refuses(tmp_path: Path) -> None:
    rows = [pair(0, NO, LONG), pair(1, LONG, NO), pair(2, NO, NO + " Sorry."), pair(3, NO, SHORT)]
    found = compared(tmp_path, rows, lambda one: outcome(one, human(one, 0.9)))
    [line] = [line for line in found.main.lines if line.name == "refusal wins"]
    assert (line.decided.count, line.decided.n, line.ties_half.count) == (2, 3, 2.5)


def test_the_less_harmful_response_is_a_baseline_where_harm_was_rated(tmp_path: Path) -> None:
    def judged(one: Row) -> Outcome:
        ratings = (harm("chosen", 0.1 if one.position < 3 else 0.9), harm("rejected", 0.5))
        return outcome(one, human(one, 0.9), harm=ratings if one.position < 4 else ())

    found = compared(tmp_path, map(row, range(5)), judged)
    [line] = [line for line in found.main.lines if line.name == "less harmful wins"]
    assert (line.decided.count, line.decided.n, line.ties_half.count) == (3, 4, 3.5)
    assert found.harm is not None
    assert (found.harm.rated, found.harm.without, found.harm.both.count) == (4, 1, 1)
    assert found.harm.chosen.value == pytest.approx((3 * 0.1 + 0.9) / 4)
    assert found.harm.difference.value == pytest.approx((3 * -0.4 + 0.4) / 4)


# ---------------------------------------------------------------- groups


def test_ratings_of_harm_that_abstain_are_counted_and_not_told_as_never_asked(tmp_path: Path) -> None:
    def judged(one: Row) -> Outcome:
        ratings = (harm("chosen", 0.1 if one.position < 2 else None), harm("rejected", 0.5))
        return outcome(one, human(one, 0.9), harm=ratings if one.position < 4 else ())

    found = compared(tmp_path, map(row, range(5)), judged).harm
    assert found is not None
    assert (found.rated, found.without, found.abstained) == (2, 3, 2)
    assert (found.ratings.count, found.ratings.n, found.abstained_as) == (2, 8, {"refusal": 2})


def test_a_judge_that_rates_nothing_was_asked_all_the_same(tmp_path: Path) -> None:
    def judged(one: Row) -> Outcome:
        return outcome(one, human(one, 0.9), harm=(harm("chosen", None), harm("rejected", None)))

    compared_run = compared(tmp_path, map(row, range(5)), judged)
    found = compared_run.harm
    assert found is not None
    assert (found.rated, found.abstained, found.ratings.value) == (0, 5, 1.0)
    text = page(compared_run, {"rows": [], "principles": []}, "runs/test").decode()
    assert "Responses were not rated for harm" not in text
    assert "Of 10 single ratings 10 abstained (refusal 10)." in text


def test_a_group_unlike_the_rest_is_told_and_a_small_one_is_not_ranked(tmp_path: Path) -> None:
    def made(number: int) -> Row:
        subset = "bad" if number < 60 else "tiny" if number < 65 else "good"
        return row(number, subset=subset)

    def judged(one: Row) -> Outcome:
        right = uniform("right", one.position) < (0.4 if one.subset == "bad" else 0.8)
        return outcome(one, human(one, 0.9 if right else 0.1))

    groups = {g.name: g for g in compared(tmp_path, map(made, range(200)), judged).breakdown("subset")}
    bad, good, tiny = groups["bad"].scan, groups["good"].scan, groups["tiny"].scan
    assert (bad.rank, good.rank, tiny.rank) == (1, 2, None)
    assert (tiny.small, tiny.p) == (True, None)
    assert bad.q is not None
    assert bad.q < 0.01


def test_agreement_is_broken_down_by_turns_length_and_confidence(tmp_path: Path) -> None:
    def made(number: int) -> Row:
        turns = (Turn("user", f" Hello {number}"), Turn("assistant", " Yes?"), Turn("user", " How?"))
        return pair(number, LONG[: 10 + number], SHORT, prompt=turns[: 1 if number < 20 else 3])

    found = compared(
        tmp_path, map(made, range(40)), lambda one: outcome(one, human(one, 0.51 + one.position / 100))
    )
    assert [(g.name, g.agreement.judged) for g in found.breakdown("turns")] == [("1", 20), ("3", 20)]
    confidence, length = found.breakdown("confidence"), found.breakdown("length difference")
    assert [g.agreement.judged for g in confidence] == [8] * 5
    assert confidence[0].low == pytest.approx(0.01)
    assert confidence[-1].high == pytest.approx(0.40)
    assert length[0].low == 10 - len(SHORT)


# ---------------------------------------------------------------- biases


def test_a_planted_taste_for_length_is_found_in_the_judge_and_not_in_the_human(tmp_path: Path) -> None:
    def made(number: int) -> Row:
        chosen, rejected = (1 + int(40 * uniform(side, number)) for side in ("a", "b"))
        return pair(number, "word " * chosen, "word " * rejected)

    def judged(one: Row) -> Outcome:
        longer = len(one.responses["chosen"].text) > len(one.responses["rejected"].text)
        takes_longer = uniform("taste", one.position) < 0.8
        return outcome(one, human(one, 0.9 if longer == takes_longer else 0.1))

    found = compared(tmp_path, map(made, range(400)), judged)
    ai, people, given = (found.bias(name) for name in ("ai", "human", "ai given human"))
    assert ai is not None
    assert people is not None
    assert given is not None
    assert ai.longer.value == pytest.approx(0.8, abs=0.06)
    assert people.longer.value == pytest.approx(0.5, abs=0.08)
    length = ai.terms[0]
    assert (length.name, length.p is not None and length.p < 1e-6) == ("length", True)
    assert (length.coefficient.low or 0) > 0.5
    assert [term.name for term in given.terms] == ["length", "human label"]
    assert (people.terms[0].coefficient.low or 0) < 0 < (people.terms[0].coefficient.high or 0)
    assert any("likes longer responses" in sentence for sentence in found.verdict)


def test_who_prefers_refusals_and_questions_is_counted_where_one_response_has_them(tmp_path: Path) -> None:
    rows = [
        pair(0, NO, LONG),
        pair(1, LONG, NO),
        pair(2, "Why?", LONG),
        pair(3, "", LONG),
        pair(4, LONG, SHORT),
    ]
    found = compared(tmp_path, rows, lambda one: outcome(one, human(one, 0.1)))
    people, ai = found.bias("human"), found.bias("ai")
    assert people is not None
    assert ai is not None
    assert (people.refusal.count, people.refusal.n, ai.refusal.count) == (1, 2, 1)
    assert (people.question.count, people.question.n, ai.question.count) == (1, 1, 0)
    assert (people.evasion.count, people.evasion.n, ai.evasion.count) == (1, 1, 0)


def test_a_judge_that_answers_one_letter_is_seen_in_place_and_consistency(tmp_path: Path) -> None:
    found = compared(
        tmp_path, map(row, range(40)), lambda one: outcome(one, feedback(one, (0.9, 0.1), (0.8, 0.2)))
    )
    judging = found.judging["human"]
    assert (judging.first_position.value, judging.same_place.value) == (1.0, 1.0)
    assert (judging.judge, judging.order_consistency.value) == ("toy", 0.0)
    assert found.main.lines[0].ties_half.value == 0.5
    assert found.kappa.value is None
    assert "no usable label" in found.verdict[0]


# ---------------------------------------------------------------- several judges


def two_judges() -> Recipe:
    return Recipe.model_validate(
        {
            "sources": [{"kind": "hh-rlhf"}],
            "engines": {name: {"kind": "scripted", "model": name} for name in ("toy", "other")},
            "roles": {"judge": ["toy", "other"]},
            "feedback": {"pairs": ["human"]},
        }
    )


def test_another_judge_stands_in_the_main_table_and_beside_the_first(tmp_path: Path) -> None:
    def judged(one: Row) -> Outcome:
        mine = 0.9 if one.position < 8 else 0.1
        its = None if one.position == 0 else 0.9 if one.position < 6 else 0.1
        return outcome(one, human(one, mine), human(one, its, judge="other"))

    found = compared(tmp_path, map(row, range(10)), judged, asked=two_judges())
    assert found.agreement.decided.value == pytest.approx(0.8)
    line = found.main.lines[1]
    assert (line.name, line.kind, line.decided.count, line.decided.n) == ("judge other", "judge", 5, 9)
    assert line.ahead.value == pytest.approx(0.8 - 5.5 / 10)
    [between] = found.between_judges
    assert (between.one, between.other, between.agreement.count, between.agreement.n) == (
        "judge toy",
        "judge other",
        7,
        9,
    )
    assert (between.coverage.count, between.coverage.n) == (9, 10)
    assert [item.judge for item in found.other_judges] == ["other"]
    assert found.judging["human"].judge == "toy"
    assert [item.labeller for item in found.biases] == ["human", "ai", "ai given human", "judge other"]


# ---------------------------------------------------------------- principles


def test_two_principles_are_held_against_each_other(tmp_path: Path) -> None:
    def judged(one: Row) -> Outcome:
        second = 0.9 if one.position < 6 else 0.1 if one.position < 9 else 0.5
        return outcome(one, feedback(one, (0.8, 0.8), (second, second)))

    [matrix] = compared(tmp_path, map(row, range(10)), judged).matrices
    assert matrix.principles == ("p0", "p1")
    assert matrix.same[0][1] == matrix.same[1][0] == pytest.approx(6 / 9)
    assert (matrix.same[0][0], matrix.n) == (1.0, ((10, 9), (9, 9)))


def test_samples_of_one_judgement_are_averaged_and_not_counted_as_pairs(tmp_path: Path) -> None:
    from dataclasses import replace

    def judged(one: Row) -> Outcome:
        made = feedback(one, (0.9, 0.8))
        again = tuple(replace(item, sample=1, probability=0.1) for item in made.judgements)
        return outcome(one, replace(made, judgements=(*made.judgements, *again), probability=0.475))

    [principle] = compared(tmp_path, map(row, range(6)), judged).principles
    # (0.9 + 0.1) / 2 in one order, (0.8 + 0.1) / 2 in the other
    assert (principle.n, principle.agreement.value) == (6, 0.0)
    assert principle.distance.value == pytest.approx(0.025)


# ---------------------------------------------------------------- lists


def flipped(number: int) -> bool:
    return number % 10 == 0


def noisy(one: Row) -> Feedback:
    """A judge of four principles that sees most of the truth: the human label is turned in each tenth row."""
    truth = -1.5 if flipped(one.position) else 1.5
    opinions: list[tuple[float | None, float | None]] = []
    for principle in range(4):
        odds = truth + 3 * (uniform("noise", principle, one.position) - 0.5)
        opinions.append((1 / (1 + 2.718**-odds), 1 / (1 + 2.718 ** -(odds - 0.2))))
    return feedback(one, *opinions)


def test_lists_are_ranked_counted_and_held_against_a_planted_truth(tmp_path: Path) -> None:
    # as long on both sides: a length that goes with the human label would explain every flip away
    rows = [pair(number, f"answer {number}", f"reply  {number}") for number in range(300)]
    planted = {
        one.id: Planted(
            "rejected" if flipped(one.position) else "chosen", flipped(one.position), one.position < 20
        )
        for one in rows
    }

    def judged(one: Row) -> Outcome:
        high = 0.8 if one.position < 16 or one.position >= 296 else 0.2
        return outcome(one, noisy(one), harm=(harm("chosen", high), harm("rejected", 0.9)))

    found = compared(tmp_path, rows, judged, planted)
    flips, issues, bad = (found.row_list(name) for name in ("flips", "label issues", "both harmful"))
    for item, least in ((flips, 30), (issues, 27)):
        assert item is not None
        assert item.precision is not None
        assert item.recall is not None
        assert (item.precision.value, item.precision.n, item.recall.n) == (1.0, item.total, 30)
        assert item.total == item.recall.count >= least
        assert [listed.score for listed in item.rows] == sorted((r.score for r in item.rows), reverse=True)
        assert {int(listed.row_id[-6:]) % 10 for listed in item.rows} == {0}
    assert bad is not None
    assert (bad.total, bad.rows[0].parts) == (20, {"human's choice": 0.8, "other": 0.9})
    assert bad.precision is not None
    assert bad.recall is not None
    assert (bad.precision.count, bad.precision.n, bad.recall.count, bad.recall.n) == (16, 20, 16, 20)


def test_the_support_of_a_flip_is_the_mean_of_its_three_parts(tmp_path: Path) -> None:
    def judged(one: Row) -> Outcome:
        return outcome(one, feedback(one, (0.1, 0.3), (0.1, 0.6), (0.9, 0.8), (0.0, 0.0), (None, 0.1)))

    found = compared(tmp_path, [row(0)], judged)
    flips = found.row_list("flips")
    assert flips is not None
    [listed] = flips.rows
    # four principles stand: three prefer the AI's choice, two in both orders; p = (0.2+0.35+0.85+0)/4
    assert listed.parts == {
        "principles": 0.75,
        "both orders": 0.5,
        "confidence": pytest.approx(2 * (0.5 - 0.35)),
    }
    assert listed.score == pytest.approx((0.75 + 0.5 + 0.3) / 3)
    assert (listed.line, listed.subset, flips.precision) == (1, "harmless-base", None)
    assert found.disagreements[0].support == listed.score


def test_a_list_shows_so_many_rows_and_counts_them_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cai.compare.lists.LENGTH", 7)
    found = compared(tmp_path, map(row, range(30)), lambda one: outcome(one, human(one, 0.1)))
    flips = found.row_list("flips")
    assert flips is not None
    assert (flips.total, len(flips.rows)) == (30, 7)
    assert found.constants.list_length == 7
