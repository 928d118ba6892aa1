"""Promises of the figures about revisions: rounds, principles, before and after, stock phrases."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from cai.compare import compare
from cai.compare.figures import RevisionFigures
from cai.compare.phrases import find
from cai.conversation import Turn
from cai.digest import draw
from cai.outcome import Outcome
from cai.recipe import Recipe
from cai.report import about_revisions
from cai.source import Row
from tests.test_dataset_inputs import a_round, build, harm, outcome, revised, revision, row


def figures(run: Path, rows: Iterable[Row], judged: Callable[[Row], Outcome]) -> RevisionFigures:
    found = list(rows)
    build(run, found, [judged(made) for made in found])
    made = compare(run / "dataset").revisions
    assert made is not None
    return made


def with_rejected(number: int, text: str) -> Row:
    responses = {"chosen": Turn("assistant", " fine"), "rejected": Turn("assistant", f" {text}")}
    return row(number, responses=responses)


def test_measures_are_given_before_and_after_each_round_on_the_same_responses(tmp_path: Path) -> None:
    def judged(made: Row) -> Outcome:
        rounds = (
            a_round(1, "one two three four"),
            a_round(2, "I can't help with that.", usable=made.position < 3),
        )
        ratings = [harm("rejected", 0.9), harm("revision 1 of rejected", 0.4)]
        if made.position:
            ratings.append(harm("revision 2 of rejected", 0.1))
        return outcome(made, revisions=(revision(made, *rounds),), harm=tuple(ratings))

    rows = [with_rejected(number, "one two") for number in range(4)]
    found = figures(tmp_path, rows, judged)
    change = {(item.measure, item.round): item for item in found.changes}
    first, second = change["harm", 1], change["harm", 2]
    assert (first.n, second.n) == (4, 2)  # of round 2: not rated in row 0, not usable in row 3
    assert first.difference.value == pytest.approx(-0.5)
    assert second.before.value == pytest.approx(0.9)
    assert second.after.value == pytest.approx(0.1)
    assert second.difference.value == pytest.approx(-0.8)
    assert (change["refuses", 1].after.value, change["refuses", 2].after.value) == (0.0, 1.0)
    assert change["refuses", 1].before.low == 0.0
    assert (change["refuses", 1].before.high or 0.0) > 0.3  # none of 4 is no certainty
    assert change["words", 1].difference.value == pytest.approx(2.0)
    assert found.rounds[0].length_ratio.value == pytest.approx(2.0)
    assert found.rounds[0].kept_share.value == pytest.approx(1.0)
    assert found.rounds[1].kept_share.value == pytest.approx(0.0)


def test_preference_for_revisions_is_told_by_the_round_and_principle_of_the_judged_text(
    tmp_path: Path,
) -> None:
    def judged(made: Row) -> Outcome:
        second = replace(a_round(2, "newest"), usable=made.position < 6)
        p = 0.9 if made.position in (0, 1, 2, 3, 6) else 0.2
        return outcome(made, revised(made, p), revisions=(revision(made, a_round(1, "new"), second),))

    found = figures(tmp_path, map(row, range(10)), judged)
    told = {(item.by, item.name): (item.preferred.count, item.preferred.n) for item in found.preferred_by}
    # the last usable round is the second in rows 0 to 5; a_round names its principle p0, then p1
    assert told == {
        ("round", "2"): (4, 6),
        ("round", "1"): (1, 4),
        ("principle", "p1"): (4, 6),
        ("principle", "p0"): (1, 4),
    }
    assert all(item.scan.small for item in found.preferred_by)


def test_each_judge_is_told_how_often_it_prefers_revisions(tmp_path: Path) -> None:
    def judged(made: Row) -> Outcome:
        mine = 0.9 if made.position < 8 else 0.5 if made.position == 8 else 0.1
        its = 0.9 if made.position < 4 else None if made.position == 9 else 0.1
        found = (revised(made, mine), replace(revised(made, its), judge="other"))
        return outcome(made, *found, revisions=(revision(made, a_round(1, "better")),))

    rows = [row(number) for number in range(10)]
    asked = Recipe.model_validate(
        {
            "sources": [{"kind": "hh-rlhf"}],
            "engines": {name: {"kind": "scripted", "model": name} for name in ("toy", "other")},
            "roles": {"judge": ["toy", "other"]},
            "feedback": {"pairs": ["revised"]},
        }
    )
    build(tmp_path, rows, [judged(made) for made in rows], asked)
    comparison = compare(tmp_path / "dataset")
    assert comparison.revisions is not None
    first, second = comparison.revisions.judges
    assert (first.judge, first.preferred.count, first.preferred.n, first.ahead.value) == ("toy", 8, 9, None)
    assert (second.judge, second.preferred.count, second.preferred.n) == ("other", 4, 9)
    assert first.preferred == comparison.revisions.preferred
    # on the first nine pairs: 8.5 of 9 against 4 of 9
    assert second.ahead.value == pytest.approx(4.5 / 9)
    assert (second.ahead.low or 0.0) > 0
    text = about_revisions.revisions(comparison)
    assert "How often each judge prefers the revision" in text
    assert "Only the last usable text of each response is judged" in text


def test_the_preference_for_revisions_is_told_beside_their_length(tmp_path: Path) -> None:
    # the judge likes whatever is longer, and nothing else
    def judged(made: Row) -> Outcome:
        words = 1 + draw("words", made.position) % 40
        text = "word " * words
        longer = len(text.strip()) > len(made.responses["rejected"].text.strip())
        liked = longer if draw("noise", made.position) % 10 else not longer
        return outcome(
            made,
            revised(made, 0.9 if liked else 0.1, text=text.strip()),
            revisions=(revision(made, a_round(1, text.strip())),),
        )

    rows = [
        with_rejected(number, ("word " * (1 + draw("old", number) % 40)).strip()) for number in range(300)
    ]
    own = figures(tmp_path, rows, judged).own
    assert own.longer.value == pytest.approx(0.9, abs=0.06)
    assert own.shorter.value == pytest.approx(0.1, abs=0.06)
    assert own.same_model is True
    assert own.at_equal_length.low is not None
    assert own.at_equal_length.high is not None
    assert own.at_equal_length.low < 0.5 < own.at_equal_length.high


PHRASE = "you are valid, valued and cared for"


def test_a_phrase_that_revisions_repeat_is_found_whole_with_its_share_and_rows() -> None:
    numbers = range(200)
    originals = [tuple(f"{n} the old text of row number {n} is this".split()) for n in numbers]
    revisions = [
        (
            *(PHRASE.replace(",", "").split() if n % 4 == 0 else ()),
            *f"{n} the old text of row number {n} is that".split(),
        )
        for n in numbers
    ]
    found = find([f"row-{n}" for n in numbers], originals, revisions)
    assert [phrase.text for phrase in found.phrases] == [PHRASE.replace(",", "")]
    [phrase] = found.phrases
    assert (phrase.revisions.count, phrase.originals.count, phrase.revisions.n) == (50, 0, 200)
    assert phrase.rows == ("row-0", "row-4", "row-8")
    assert (found.texts, found.share.value) == (200, 0.25)
    assert phrase.log_odds.low is not None
    assert phrase.log_odds.low > 0


def test_phrases_that_the_originals_have_too_are_not_stock() -> None:
    texts = [tuple(f"i think that you should know {n}".split()) for n in range(100)]
    assert find(["row"] * 100, texts, texts).phrases == ()


def test_phrases_are_read_from_the_dataset_case_and_punctuation_aside(tmp_path: Path) -> None:
    def judged(made: Row) -> Outcome:
        text = (
            f"You\u2019re VALID, valued! Row {made.position}."
            if made.position % 2
            else f"Row {made.position} it is"
        )
        return outcome(made, revisions=(revision(made, a_round(1, text)),))

    found = figures(tmp_path, map(row, range(60)), judged)
    assert found.phrases[0].text == "you're valid valued row"
    assert found.phrases[0].revisions.count == 30
    assert found.phrase_texts == 60
    assert found.phrases[0].rows[0] == "row-000001"
