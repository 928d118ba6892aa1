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
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cai.compare import confident, statistics
from cai.compare.columns import Table
from cai.compare.figures import ListedRow, Rate, RowList
from cai.compare.opinions import probability as opinion
from cai.compare.opinions import summed
from cai.compare.planted import Planted
from cai.compare.statistics import Bools, Floats
from cai.compare.traces import SECOND, Part, Traces, id_texts
from cai.dataset.labels import ROUNDING
from cai.dataset.records import HARMFUL

LENGTH = 500

Ints = NDArray[np.int64]


def row_lists(
    traces: Traces,
    human: Part,
    second: Bools,
    supported: Support,
    seed: int,
    truth: Mapping[str, Planted] | None,
) -> tuple[RowList, ...]:
    """Every list, whole in its counts and cut in its rows.

    `human`: the human pairs; the first response of each is the one that the human preferred.
    `supported`: how well their flips are supported (`support`).
    """
    flipped, both_bad = _truth(human.pairs, truth)
    return (
        _flips(traces, human.pairs, supported, flipped),
        _issues(traces, human, second, seed, flipped),
        _both_harmful(traces, human.pairs, both_bad),
    )


def _truth(human: Table, truth: Mapping[str, Planted] | None) -> tuple[Floats | None, Floats | None]:
    """Whether each row's label was flipped, and whether both responses are bad; NaN: not known."""
    if truth is None:
        return None, None
    facts = [truth.get(row) for row in id_texts(human["row_id"])]
    flipped = np.array([np.nan if fact is None else fact.flipped for fact in facts], np.float64)
    both_bad = np.array([np.nan if fact is None else fact.both_bad for fact in facts], np.float64)
    return flipped, both_bad


@dataclass(frozen=True)
class Support:
    """How well each pair's flip is supported, 0 to 1, and the three shares whose mean that is."""

    score: Floats
    principles: Floats
    orders: Floats
    confidence: Floats


def support(human: Part, tie_threshold: float) -> Support:
    """The support of each pair's flip, as if the AI preferred the second response."""

    def counts(opinions: Table) -> dict[str, Bools]:
        one, other, probability = opinions["first_is_a"], opinions["first_is_b"], opinion(opinions)
        standing = ~np.isnan(probability)
        return {
            "standing": standing,
            "principles": probability < 0.5 - tie_threshold - ROUNDING,
            "orders": standing & (one < 0.5) & (other < 0.5),
        }

    found = summed(human.opinions, len(human.pairs), counts)
    n = np.maximum(1, found["standing"])
    principles, orders = found["principles"] / n, found["orders"] / n
    confidence = 2 * np.abs(human.pairs["probability"] - 0.5)
    return Support((principles + orders + confidence) / 3, principles, orders, confidence)


def flip_order(human: Table, score: Floats) -> Ints:
    """Numbers of the pairs on which the AI contradicts the human, the best supported first."""
    at = np.flatnonzero(human["label"] == SECOND)
    made: Ints = at[np.lexsort((human["position"][at], -score[at]))]
    return made


def _flips(traces: Traces, human: Table, supported: Support, flipped: Floats | None) -> RowList:
    parts = {
        "principles": supported.principles,
        "both orders": supported.orders,
        "confidence": supported.confidence,
    }
    return _listed(
        "flips",
        "pairs on which the AI contradicts the human, by the mean of three shares: principles for the "
        "AI's choice, principles for it in both orders, and 2|p - 0.5|",
        traces,
        human,
        flip_order(human, supported.score),
        supported.score,
        parts,
        flipped,
    )


def _issues(traces: Traces, human: Part, second: Bools, seed: int, flipped: Floats | None) -> RowList:
    about = (
        "human labels that a classifier made of the AI's answers doubts (confident learning, fitted "
        "without the pair's cluster), by its probability of the other label; suspects only"
    )
    pairs = human.pairs
    labelled = ~np.isnan(pairs["probability"])
    there = np.flatnonzero(labelled)
    first, score = ~second[there], np.zeros(len(pairs))
    order = np.empty(0, np.int64)
    if len(there) >= confident.LEAST and first.any() and not first.all():
        probability = confident.predicted(human, labelled, second, seed, traces.scratch)
        score[there] = np.where(first, 1 - probability, probability)
        order = there[confident.suspects(probability, first)]
    return _listed("label issues", about, traces, pairs, order, score, {}, flipped)


def _both_harmful(traces: Traces, human: Table, both_bad: Floats | None) -> RowList:
    with np.errstate(invalid="ignore"):
        score = np.minimum(human["first_harm"], human["second_harm"])
        at = np.flatnonzero(score >= HARMFUL)
    parts = {"human's choice": human["first_harm"], "other": human["second_harm"]}
    return _listed(
        "both harmful",
        f"pairs with P(harmful) of at least {HARMFUL} on both responses, by the lower of the two; flagged, "
        "never dropped",
        traces,
        human,
        at[np.lexsort((human["position"][at], -score[at]))],
        score,
        parts,
        both_bad,
    )


def _listed(
    name: str,
    about: str,
    traces: Traces,
    human: Table,
    order: Ints,
    score: Floats,
    parts: dict[str, Floats],
    truth: Floats | None,
) -> RowList:
    shown = order[:LENGTH]
    own = human.where(shown)
    rows = tuple(
        ListedRow(
            row_id=row_id,
            subset=traces.names[subset],
            split=traces.names[split],
            line=int(line) if line >= 0 else None,
            score=float(score[at]),
            parts={part: float(values[at]) for part, values in parts.items()},
        )
        for at, row_id, subset, split, line in zip(
            shown, id_texts(own["row_id"]), own["subset"], own["split"], own["line"], strict=True
        )
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
