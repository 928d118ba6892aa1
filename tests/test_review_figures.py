"""Promises of the figures from a review: hand-worked values, and intervals that cover.

What this module does not know: sheets and files (test_review.py).
"""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from cai.compare.figures import PersonFigures
from cai.compare.person import Sums, accuracy, parts_of, person_figures, person_of_run, ratio, share_interval
from cai.review import Answers, Item, Key, Stratum, write_answers
from cai.review.key import ANSWERS, Answer, write_whole

CELLS = {"differ": (2, 1), "agree": (1, 1), "undecided": (None, 1)}
"""What the AI and the human label say of an item here: the human's choice is always shown first."""


def key(*strata: Stratum) -> Key:
    """A key with these strata; items are named by stratum and number."""
    items = tuple(
        Item(
            item=f"{stratum.name}{number}",
            row_id=f"{stratum.name}{number}",
            subset="s",
            split="train",
            line=1,
            first="chosen",
            human=1,
            ai=CELLS[stratum.cell][0],
            ai_probability=0.5,
            stratum=stratum.name,
            weight=stratum.weight,
        )
        for stratum in strata
        for number in range(stratum.items)
    )
    return Key("5" * 32, "knit", "0" * 32, 0.05, "toy", 0, strata, items)


def said(made: Key, name: str = "ann", **answers: str) -> Answers:
    """Answers by stratum, one letter an item: h(uman's choice), a (the other), = , b(oth bad), s(kip), . (blank)."""
    words: dict[str, Answer] = {"h": "1", "a": "2", "=": "equal", "b": "both-bad", "s": "skip"}
    given = {
        f"{stratum}{number}": words[letter]
        for stratum, letters in answers.items()
        for number, letter in enumerate(letters)
        if letter != "."
    }
    return Answers(made.sheet, name, given, len(made.items) - len(given))


TWO = key(Stratum("D", "differ", 100, 10), Stratum("A", "agree", 300, 10))


def test_the_weighted_shares_are_the_hand_worked_ones() -> None:
    """D: 100 pairs, 10 answers, 4 with the AI, 4 with the human, 2 equal; A: 300 pairs, 9 of 10 agree.

    Decided: 100 * 0.8 + 300 = 380. The AI is right on 100 * 0.4 + 300 * 0.9 = 310, the human on
    100 * 0.4 + 270 = 310; ahead by 0. One more answer for the AI instead of the human: 320 and 300.
    """
    found = person_figures(TWO, [said(TWO, D="aaaahhhh==", A="hhhhhhhhha")])
    assert found.differ.sided.weighted.value == pytest.approx(0.5)
    assert (found.differ.sided.counted.count, found.differ.sided.counted.n) == (4, 8)
    assert found.agree.sided.weighted.value == pytest.approx(0.9)
    assert found.ai.weighted.value == pytest.approx(310 / 380)
    assert found.human.weighted.value == pytest.approx(310 / 380)
    assert found.ahead.value == pytest.approx(0)
    found = person_figures(TWO, [said(TWO, D="aaaaahhh==", A="hhhhhhhhha")])
    assert found.ai.weighted.value == pytest.approx(320 / 380)
    assert found.human.weighted.value == pytest.approx(300 / 380)
    assert found.ahead.value == pytest.approx(20 / 380)
    assert found.ai.counted.value == pytest.approx(14 / 18)
    assert (found.answered, found.equal, found.differ.pairs, found.agree.pairs) == (20, 2, 100, 300)


def test_the_variance_is_the_hand_worked_one() -> None:
    """One stratum of 40, 10 asked, all decided, 6 with the AI: s^2 = 10/9 * 0.24 = 0.2667,
    variance = (1 - 10/40) * 0.2667 / 10 = 0.02; effective size 0.24 / 0.02 = 12, times
    (1.960 / 2.262)^2 = 0.7507 gives 9.0085; Wilson of 0.6 at 9.0085: 0.3006 to 0.8396."""
    one = key(Stratum("D", "differ", 40, 10))
    found = person_figures(one, [said(one, D="aaaaaahhhh")]).differ.sided.weighted
    n, z = 12 * (1.959964 / 2.262157) ** 2, 1.959964
    centre = (0.6 + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(0.24 / n + z * z / (4 * n * n))
    assert found.low == pytest.approx(centre - half, abs=1e-6)
    assert found.high == pytest.approx(centre + half, abs=1e-6)
    assert (found.low, found.high) == pytest.approx((0.3006, 0.8396), abs=5e-5)


def test_unequal_weights_against_a_general_survey_estimate() -> None:
    """Two strata of 10 and 90 pairs, two and three asked: R = (10 * 1/2 + 90 * 1/3) / 100 = 0.35;
    variance = (10 * 8 * 0.5 / 2 + 90 * 87 * (1/3) / 3) / 100^2 = (20 + 870) / 10,000 = 0.089."""
    sums = Sums(*(np.array(v, float) for v in ([10, 90], [2, 3], [1, 1], [2, 3], [1, 1], [1, 1])))
    value, variance, freedom = ratio(sums)
    assert float(value) == pytest.approx(0.35)
    assert float(variance) == pytest.approx(0.089)
    assert float(freedom) == 3


def test_where_every_pair_was_asked_the_interval_is_the_value() -> None:
    whole = key(Stratum("D", "differ", 4, 4))
    for letters, value in (("aaah", 0.75), ("aaaa", 1.0)):
        found = person_figures(whole, [said(whole, D=letters)]).differ.sided.weighted
        assert (found.value, found.low, found.high) == pytest.approx((value, value, value))


def test_where_all_answers_are_alike_the_interval_is_still_wide() -> None:
    found = person_figures(TWO, [said(TWO, D="a" * 10, A="h" * 10)])
    assert found.differ.sided.weighted.value == 1
    assert found.differ.sided.weighted.low is not None
    assert 0.6 < found.differ.sided.weighted.low < 0.8


def test_turning_every_answer_turns_every_share() -> None:
    straight = person_figures(TWO, [said(TWO, D="aaahhhhhhh", A="hhhhhhhhha")])
    turned = person_figures(TWO, [said(TWO, D="hhhaaaaaaa", A="aaaaaaaaah")])
    for name in ("differ", "agree"):
        a, b = getattr(straight, name).sided.weighted, getattr(turned, name).sided.weighted
        assert (a.value, a.low, a.high) == pytest.approx((1 - b.value, 1 - b.high, 1 - b.low))
    assert straight.differ.sided.weighted.value == pytest.approx(0.3)


def test_a_missing_answer_is_no_answer_and_never_a_verdict() -> None:
    found = person_figures(TWO, [said(TWO, D="aass......", A="hhhhhhhhhb")])
    assert (found.answered, found.skipped, found.blank, found.both_bad) == (12, 2, 6, 1)
    assert found.answered + found.skipped + found.blank == found.items
    assert (found.differ.answered, found.differ.sided.counted.n) == (2, 2)


def test_without_an_answer_nothing_is_claimed() -> None:
    found = person_figures(TWO, [said(TWO)])
    assert found.ai.weighted.value is None
    assert found.ahead.value is None
    assert found.differ.sided.counted.value is None
    assert "NaN" not in str(asdict(found))
    only = person_figures(TWO, [said(TWO, D="aaaaahhhhh")])
    assert only.differ.sided.weighted.value == pytest.approx(0.5)
    assert only.ai.weighted.value is None, "nothing is known of the pairs on which they agree"


def test_a_stratum_with_one_answer_is_put_together_with_the_next_of_its_cell() -> None:
    made = key(Stratum("A", "agree", 50, 4), Stratum("B", "agree", 50, 4), Stratum("D", "differ", 9, 2))
    found = person_figures(made, [said(made, A="h", B="hhaa", D="aa")])
    assert found.agree.sided.weighted.value == pytest.approx(3 / 5)
    assert found.agree.sided.weighted.low is not None


def test_of_pairs_without_an_ai_label_only_the_human_label_is_judged() -> None:
    made = key(Stratum("D", "differ", 9, 2), Stratum("A", "agree", 9, 2), Stratum("U", "undecided", 80, 5))
    found = person_figures(made, [said(made, D="aa", A="hh", U="hha==")])
    assert found.undecided.sided.counted.count == 2
    assert (found.undecided.decided, found.undecided.equal) == (3, 2)
    assert found.ai.counted.n == 4, "ties are not part of the AI's share"


# ---------------------------------------------------------------- several people


def test_of_several_people_more_than_half_decide_and_a_stalemate_is_split() -> None:
    made = key(Stratum("D", "differ", 100, 4))
    people = [said(made, "a", D="aahs"), said(made, "b", D="ahhs"), said(made, "c", D="h=a.")]
    found = person_figures(made, people)
    assert (found.differ.decided, found.split, found.skipped) == (2, 1, 1)
    assert found.differ.sided.counted.count == 1, "item 0: the AI; item 1: split; item 2: the human"


def test_of_two_people_who_differ_neither_counts() -> None:
    made = key(Stratum("D", "differ", 100, 4))
    found = person_figures(made, [said(made, "a", D="aaah"), said(made, "b", D="hass")])
    assert (found.split, found.differ.decided, found.differ.sided.counted.count) == (1, 3, 2)


def test_agreement_between_people_and_kappa_are_the_hand_worked_ones() -> None:
    """Over 8 items: same on 6. One says h 5 times and a 3 times, the other h 5, a 3:
    expected (25 + 9) / 64 = 0.53125; kappa = (0.75 - 0.53125) / 0.46875 = 0.4667."""
    made = key(Stratum("D", "differ", 100, 10))
    one, other = said(made, "a", D="hhhhhaaas."), said(made, "b", D="hhhhahaahh")
    (found,) = person_figures(made, [one, other]).between
    assert (found.same.count, found.same.n) == (6, 8)
    assert found.kappa.value == pytest.approx(0.46667, abs=1e-5)
    assert found.kappa.value == pytest.approx(cohen_kappa_score(list("hhhhhaaa"), list("hhhhahaa")))
    assert (found.same_choice.count, found.same_choice.n) == (6, 8)


def test_kappa_over_four_answers_is_scikit_learns() -> None:
    made = key(Stratum("D", "differ", 100, 40))
    rng = np.random.default_rng(0)
    one = "".join(rng.choice(list("ah=b"), 40))
    other = "".join(a if rng.random() < 0.6 else str(rng.choice(list("ah=b"))) for a in one)
    (found,) = person_figures(made, [said(made, "a", D=one), said(made, "b", D=other)]).between
    assert found.kappa.value == pytest.approx(cohen_kappa_score(list(one), list(other)))
    value, low, high = found.kappa.value, found.kappa.low, found.kappa.high
    assert value is not None and low is not None and high is not None  # noqa: PT018
    assert low < value < high


def test_how_often_the_response_shown_first_wins_is_shown_by_person() -> None:
    (found,) = person_figures(TWO, [said(TWO, D="hhhaa==bb.", A="hs........")]).reviewers
    assert (found.first_shown.count, found.first_shown.n) == (4, 6)
    assert (found.answered, found.equal, found.both_bad, found.skipped, found.blank) == (10, 2, 2, 1, 9)


# ---------------------------------------------------------------- in a comparison


def test_a_run_without_answers_has_no_figures_and_a_review_of_other_labels_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert person_of_run(tmp_path, TWO.generation, 0.05) is None
    write_whole(tmp_path / "key.json", TWO.as_bytes())
    assert person_of_run(tmp_path, TWO.generation, 0.05) is None
    write_answers(tmp_path, said(TWO, D="aaaaaaaaah"))
    found = person_of_run(tmp_path, TWO.generation, 0.05)
    assert isinstance(found, PersonFigures)
    assert found.differ.sided.counted.count == 9
    assert not caplog.records
    assert person_of_run(tmp_path, TWO.generation, 0.1) is None
    assert "have changed since" in caplog.text
    write_answers(tmp_path, replace(said(TWO), sheet="6" * 32, reviewer="eve"))
    assert person_of_run(tmp_path, TWO.generation, 0.05) is None
    assert "answers another sheet" in caplog.text


def test_the_answers_are_the_ones_that_the_sheet_offers() -> None:
    assert ANSWERS == ("1", "2", "equal", "both-bad", "skip")


# ---------------------------------------------------------------- coverage

SIMULATIONS = 4000


def simulated(
    pairs: list[int], items: list[int], right: list[float], decided: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`SIMULATIONS` samples without replacement of one fixed population: n by stratum of y and d, and the truth."""
    both = [round(n * decided * p) for n, p in zip(pairs, right, strict=True)]
    other = [round(n * decided) - b for n, b in zip(pairs, both, strict=True)]
    y, d = np.zeros((2, SIMULATIONS, len(pairs)))
    for h, (n, m) in enumerate(zip(pairs, items, strict=True)):
        drawn = rng.multivariate_hypergeometric([both[h], other[h], n - both[h] - other[h]], m, SIMULATIONS)
        y[:, h], d[:, h] = drawn[:, 0], drawn[:, 0] + drawn[:, 1]
    return y, d, np.array([sum(both), sum(both) + sum(other)])


@pytest.mark.parametrize(
    ("pairs", "items", "right", "decided"),
    [
        ([2000, 1500, 1000, 500], [80, 60, 40, 20], [0.5, 0.5, 0.5, 0.5], 0.8),
        ([2000, 1500, 1000, 500], [80, 60, 40, 20], [0.3, 0.6, 0.4, 0.7], 0.9),
        ([2000, 1500, 1000, 500], [80, 60, 40, 20], [0.1, 0.2, 0.1, 0.15], 0.8),
        ([2000, 1500, 1000, 500], [80, 60, 40, 20], [0.9, 0.8, 0.9, 0.9], 1.0),
        ([1000, 9000], [100, 100], [0.4, 0.9], 0.8),
        ([300, 200], [120, 80], [0.3, 0.6], 0.9),
        ([3000] * 11, [4] * 11, [0.25, 0.3, 0.35, 0.4, 0.2, 0.3, 0.3, 0.4, 0.25, 0.35, 0.3], 0.9),
        ([3000, 900, 500, 300, 200, 100], [20, 10, 8, 6, 3, 3], [0.4, 0.5, 0.6, 0.3, 0.5, 0.4], 0.8),
    ],
)
def test_the_interval_of_a_share_covers_the_truth_of_the_whole_dataset(
    pairs: list[int], items: list[int], right: list[float], decided: float
) -> None:
    y, d, truth = simulated(pairs, items, right, decided, np.random.default_rng(5))
    n = np.array(items, float)
    _, low, high = share_interval(Sums(np.array(pairs, float), n, y, d, y, y))
    covered = float(np.mean((low <= truth[0] / truth[1]) & (truth[0] / truth[1] <= high)))
    assert 0.93 <= covered <= 0.97, covered


@pytest.mark.parametrize("label", ["ai", "human", "ahead"])
@pytest.mark.parametrize(
    ("pairs", "items", "with_ai", "with_both", "decided"),
    [
        ((800, 3000), (100, 100), 0.1, 0.9, 0.8),
        ((800, 3000), (100, 100), 0.35, 0.7, 0.9),
        ((2000, 3000), (100, 100), 0.8, 0.9, 0.7),
        ((40000, 130000), (100, 100), 0.6, 0.8, 0.6),
        ((300, 200), (150, 100), 0.4, 0.6, 0.8),
    ],
)
def test_the_intervals_over_all_labelled_pairs_cover_the_truth(
    pairs: tuple[int, int],
    items: tuple[int, int],
    with_ai: float,
    with_both: float,
    decided: float,
    label: str,
) -> None:
    """In differ the AI is right on y decided pairs and the human label on the others; in agree both or none."""
    rng = np.random.default_rng(6)
    truths, cells = [], []
    for n, m, right in zip(pairs, items, (with_ai, with_both), strict=True):
        halves, asked = [n - n // 3, n // 3], [m - m // 3, m // 3]
        y, d, truth = simulated(halves, asked, [right, right], decided, rng)
        cells.append(Sums(np.array(halves, float), np.array(asked, float), y, d, y, y))
        truths.append(truth)
    (differ_ai, differ), (agree_both, agree) = truths
    ai = (differ_ai + agree_both) / (differ + agree)
    human = (differ - differ_ai + agree_both) / (differ + agree)
    true = {"ai": ai, "human": human, "ahead": ai - human}[label]
    _, low, high = accuracy(parts_of(*cells), label)
    covered = float(np.mean((low <= true) & (true <= high)))
    assert 0.93 <= covered <= 0.97, covered


def test_an_accuracy_keeps_its_width_where_all_answers_are_alike() -> None:
    """The AI is right in every answer: how far it is ahead is still not known to the point."""
    found = person_figures(TWO, [said(TWO, D="a" * 10, A="h" * 10)])
    assert (found.ai.weighted.value, found.ahead.value) == pytest.approx((1.0, 0.25))
    assert found.ahead.low is not None
    assert found.ahead.low < 0.2
    assert found.human.weighted.high is not None
    assert found.human.weighted.high > 0.78
