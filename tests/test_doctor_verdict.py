"""The doctor's rules by hand: from pairs to a verdict, with no model in between."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cai.doctor.faults import Fault, Warned
from cai.doctor.patients import shipped_probes
from cai.doctor.probes import load_probes
from cai.doctor.verdict import EARLY, LATE, PairAnswer, Verdict, figures_of, verdict
from cai.share import Share

PROBES = load_probes(shipped_probes()).pairs


def _pairs(right: list[bool], count: int = 32) -> list[PairAnswer]:
    """The shipped pairs, each judged right or wrong in both orders with 0.8."""
    found = []
    for probe, is_right in zip(PROBES[:count], right, strict=True):
        turned = probe.polarity == "worse"
        names_a_first = is_right != turned  # in the first order the better response is A
        letters = (0.8, 0.2) if names_a_first else (0.2, 0.8)
        found.append(PairAnswer(letters, 0.8 if is_right else 0.2, turned, probe.better_is_longer))
    return found


def _with_wrong(straight: int, turned: int, count: int = 32) -> list[PairAnswer]:
    """So many straight and turned questions are wrong, the first ones of each."""
    left = {"better": straight, "worse": turned}
    right = []
    for probe in PROBES[:count]:
        left[probe.polarity] -= 1
        right.append(left[probe.polarity] < 0)
    return _pairs(right, count)


def _coin_tail(k: int, n: int) -> float:
    from scipy.stats import binom

    return float(binom.sf(k - 1, n, 0.5))


def test_fourteen_of_sixteen_settle_it_and_thirteen_do_not() -> None:
    assert _coin_tail(14, 16) < EARLY < _coin_tail(13, 16)
    assert verdict(_with_wrong(2, 0, 16), asks_turned=True, final=False) == Verdict()
    assert not verdict(_with_wrong(3, 0, 16), asks_turned=True, final=False).settled


def test_twenty_three_of_thirty_two_are_enough_in_the_end_and_twenty_two_are_not() -> None:
    assert _coin_tail(23, 32) < LATE < _coin_tail(22, 32)
    assert verdict(_with_wrong(6, 3), asks_turned=True, final=True).fault is None
    assert verdict(_with_wrong(7, 3), asks_turned=True, final=True).fault is Fault.AT_CHANCE


def test_nothing_is_settled_early_where_the_turned_questions_are_worse_than_even() -> None:
    assert verdict(_with_wrong(0, 2, 16), asks_turned=True, final=False).settled
    few = [replace(pair, turned=number < 3) for number, pair in enumerate(_pairs([True] * 16, 16))]
    wrong = [replace(pair, right=0.2) if number < 2 else pair for number, pair in enumerate(few)]
    assert figures_of(wrong).right == Share(14, 16)
    assert figures_of(wrong).turned == Share(1, 3)
    assert not verdict(wrong, asks_turned=True, final=False).settled


@pytest.mark.parametrize(
    "turned_wrong, asks, fault",
    [
        (10, True, Fault.POLARITY_TURNED),
        (9, True, Fault.POLARITY_TURNED),  # 23 of 32 are right, and yet
        (8, True, Fault.POLARITY_TURNED),
        (6, True, None),
        (10, False, None),
    ],
)
def test_wrong_turned_questions_are_a_fault_where_a_run_asks_such(
    turned_wrong: int, asks: bool, fault: Fault | None
) -> None:
    found = verdict(_with_wrong(0, turned_wrong), asks_turned=asks, final=True)
    assert found.fault is fault
    assert (Warned.POLARITY_UNSURE in found.warnings) == (not asks)


def test_the_best_explanation_gives_the_name() -> None:
    def final(pairs: list[PairAnswer]) -> Fault | None:
        return verdict(pairs, asks_turned=True, final=True).fault

    def named(longer: bool) -> list[bool]:
        """Right where the response that is named has the wanted length."""
        return [(p.better_is_longer == longer) != (p.polarity == "worse") for p in PROBES]

    assert final(_pairs([False] * 32)) is Fault.LABELS_SWAPPED
    assert final(_with_wrong(20, 8)) is Fault.LABELS_SWAPPED
    assert final(_pairs(named(longer=True))) is Fault.LONGER_WINS
    assert final(_pairs(named(longer=False))) is Fault.SHORTER_WINS
    assert final(_pairs([number % 2 == 0 for number in range(32)])) is Fault.AT_CHANCE


def _letters(first: float, second: float) -> list[PairAnswer]:
    """Every pair with these P(A); right as the letters say."""
    return [
        PairAnswer(
            (first, second),
            (first + 1 - second) / 2 if probe.polarity == "better" else (1 - first + second) / 2,
            probe.polarity == "worse",
            probe.better_is_longer,
        )
        for probe in PROBES[:16]
    ]


@pytest.mark.parametrize(
    "letters, fault",
    [
        ((0.97, 0.97), Fault.ALWAYS_A),
        ((0.02, 0.03), Fault.ALWAYS_B),
        ((0.6, 0.6), Fault.IGNORES_TEXT),
        ((0.5, 0.5), Fault.IGNORES_TEXT),
        ((0.45, 0.455), Fault.IGNORES_TEXT),
        ((0.99, 0.6), Fault.ALWAYS_A),  # A in every judgement, and only the straight ones are right
        ((0.4, 0.01), Fault.ALWAYS_B),
    ],
)
def test_the_same_letter_whatever_stands_there(letters: tuple[float, float], fault: Fault) -> None:
    assert verdict(_letters(*letters), asks_turned=True, final=False).fault is fault


def test_letters_that_go_with_the_question_alone_ignore_the_text() -> None:
    """A in both orders of every other pair, B in both orders of the others, with some play."""
    pairs = [
        replace(pair, p_a=(0.9, 0.7) if number % 2 else (0.1, 0.3))
        for number, pair in enumerate(_pairs([number % 4 < 2 for number in range(16)], 16))
    ]
    assert figures_of(pairs).swing == pytest.approx(0.2)
    assert verdict(pairs, asks_turned=True, final=False).fault is Fault.IGNORES_TEXT


def test_ties_decide_nothing() -> None:
    pair = PairAnswer((0.7, 0.7), 0.5, False, True)
    assert not pair.decided
    assert figures_of([pair] * 4).right == Share(0, 0)
    assert figures_of([pair] * 4).consistent == Share(0, 4)
