"""Lists of rows that deserve a look: flips, suspect labels, pairs with two bad responses.

They are lists of suspicion. An AI label alone cannot say who is right; where a truth was planted,
each list's precision and recall are counted.

The support of a flip is the mean of three shares, 0 to 1 each:

    principles   of those that stand, how many have the AI's choice as their own label
    both orders  of those that stand, how many prefer the AI's choice in both orders
    confidence   2 |p - 0.5|

What this module does not know: texts, how lists are shown.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cai.compare import confident, statistics
from cai.compare.figures import ListedRow, Rate, RowList
from cai.compare.judging import Opinions
from cai.compare.planted import Planted
from cai.compare.statistics import Bools, Floats
from cai.compare.traces import SECOND, Table, id_texts
from cai.dataset.labels import ROUNDING
from cai.dataset.records import HARMFUL

LENGTH = 500

Ints = NDArray[np.int64]


def row_lists(
    human: Table,
    found: Opinions,
    second: Bools,
    tie_threshold: float,
    seed: int,
    truth: Mapping[str, Planted] | None,
) -> tuple[RowList, ...]:
    """Every list, whole in its counts and cut in its rows.

    `human`: human pairs, whose first response the human preferred, with the opinions about them.
    """
    flipped, both_bad = _truth(human, truth)
    return (
        _flips(human, found, tie_threshold, flipped),
        _issues(human, found, second, seed, flipped),
        _both_harmful(human, both_bad),
    )


def _truth(human: Table, truth: Mapping[str, Planted] | None) -> tuple[Floats | None, Floats | None]:
    """Whether each row's label was flipped, and whether both responses are bad; NaN: not known."""
    if truth is None:
        return None, None
    facts = [truth.get(row) for row in id_texts(human["row_id"])]
    flipped = np.array([np.nan if fact is None else fact.flipped for fact in facts], np.float64)
    both_bad = np.array([np.nan if fact is None else fact.both_bad for fact in facts], np.float64)
    return flipped, both_bad


def support(human: Table, found: Opinions, tie_threshold: float) -> tuple[Floats, Floats, Floats, Floats]:
    """How well each pair's flip is supported, and the three parts; as if the AI preferred the second."""
    probability = found.probability
    standing = ~np.isnan(probability)
    n = np.maximum(1, standing.sum(axis=1))
    with np.errstate(invalid="ignore"):
        principles = (probability < 0.5 - tie_threshold - ROUNDING).sum(axis=1) / n
        orders = (standing & (found.first_is_a < 0.5) & (found.first_is_b < 0.5)).sum(axis=1) / n
    confidence = 2 * np.abs(human["probability"] - 0.5)
    return (principles + orders + confidence) / 3, principles, orders, confidence


def flip_order(human: Table, score: Floats) -> Ints:
    """Numbers of the pairs on which the AI contradicts the human, the best supported first."""
    at = np.flatnonzero(human["label"] == SECOND)
    made: Ints = at[np.lexsort((human["position"][at], -score[at]))]
    return made


def _flips(human: Table, found: Opinions, tie_threshold: float, flipped: Floats | None) -> RowList:
    score, principles, orders, confidence = support(human, found, tie_threshold)
    parts = {"principles": principles, "both orders": orders, "confidence": confidence}
    return _listed(
        "flips",
        "pairs on which the AI contradicts the human, by the mean of three shares: principles for the "
        "AI's choice, principles for it in both orders, and 2|p - 0.5|",
        human,
        flip_order(human, score),
        score,
        parts,
        flipped,
    )


def _issues(human: Table, found: Opinions, second: Bools, seed: int, flipped: Floats | None) -> RowList:
    about = (
        "human labels that a classifier made of the AI's answers doubts (confident learning, fitted "
        "without the pair's cluster), by its probability of the other label; suspects only"
    )
    labelled = ~np.isnan(human["probability"])
    there = np.flatnonzero(labelled)
    pairs, first = human.only(*confident.COLUMNS).where(labelled), ~second[there]
    if len(there) < confident.LEAST or first.all() or not first.any():
        return _listed("label issues", about, human, np.empty(0, np.int64), np.zeros(len(human)), {}, flipped)
    own = found
    if len(there) < len(human):
        own = Opinions(found.principles, found.first_is_a[there], found.first_is_b[there], found.asked[there])
    probability = confident.predicted(pairs, own, second[there], seed)
    score = np.zeros(len(human))
    score[there] = np.where(first, 1 - probability, probability)
    order = there[confident.suspects(probability, first)]
    return _listed("label issues", about, human, order, score, {}, flipped)


def _both_harmful(human: Table, both_bad: Floats | None) -> RowList:
    with np.errstate(invalid="ignore"):
        score = np.minimum(human["first_harm"], human["second_harm"])
        at = np.flatnonzero(score >= HARMFUL)
    parts = {"human's choice": human["first_harm"], "other": human["second_harm"]}
    return _listed(
        "both harmful",
        f"pairs with P(harmful) of at least {HARMFUL} on both responses, by the lower of the two; flagged, "
        "never dropped",
        human,
        at[np.lexsort((human["position"][at], -score[at]))],
        score,
        parts,
        both_bad,
    )


def _listed(
    name: str,
    about: str,
    human: Table,
    order: Ints,
    score: Floats,
    parts: dict[str, Floats],
    truth: Floats | None,
) -> RowList:
    rows = tuple(
        ListedRow(
            row_id=human["row_id"][at].decode(),
            subset=human["subset"][at],
            split=human["split"][at],
            line=int(human["line"][at]) if human["line"][at] >= 0 else None,
            score=float(score[at]),
            parts={part: float(values[at]) for part, values in parts.items()},
        )
        for at in order[:LENGTH]
    )
    precision, recall = _found(order, truth)
    return RowList(name, about, len(order), rows, precision, recall)


def _found(order: Ints, truth: Floats | None) -> tuple[Rate | None, Rate | None]:
    """Of what is listed, how much is true; of what is true, how much is listed."""
    if truth is None:
        return None, None
    listed = np.zeros(len(truth), np.bool_)
    listed[order] = True
    known = ~np.isnan(truth)
    return statistics.share(truth[listed & known] == 1), statistics.share(listed[known & (truth == 1)])
