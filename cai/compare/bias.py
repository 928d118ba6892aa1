"""What labellers tend to prefer, whatever the responses say: the longer, the refusing, the asking one.

Human labels and AI labels are held to the same measures on the same pairs, so that a taste which
the humans share is not laid at the judge's door.

What this module does not know: files, how figures are shown.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cai.compare import regression, statistics
from cai.compare.columns import Table
from cai.compare.figures import Bias, Estimate, Rate, Term
from cai.compare.statistics import Floats
from cai.compare.traces import FIRST
from cai.share import Z

LEAST_PER_TERM = 10
"""Fewer pairs for each coefficient, of the rarer kind, are not regressed."""

_FEATURES = ("refuses", "evades", "asks")
_NAMES = ("refusal", "evasion", "question")

Ints = NDArray[np.int64]


def biases(human: Table, others: dict[str, NDArray[Any]]) -> tuple[Bias, ...]:
    """The human's, the AI's, the AI's given the human label, and each other judge's.

    `human`: human pairs, whose first response the human preferred; `others`: labels of the other
    judges on them. Only pairs that the labeller (for the human: the AI) labelled.
    """
    labelled = np.abs(human["label"]) == 1
    if not labelled.any():
        return ()
    pairs = human.where(labelled)
    made = [
        _bias("human", pairs, np.full(len(pairs), FIRST, np.int8)),
        _bias("ai", pairs, pairs["label"]),
        _bias("ai given human", pairs, pairs["label"], given_human=True),
    ]
    for name, label in others.items():
        own = np.abs(label) == 1
        if own.any():
            made.append(_bias(name, human.where(own), label[own]))
    return tuple(made)


def _bias(labeller: str, pairs: Table, label: NDArray[Any], given_human: bool = False) -> Bias:
    cluster = pairs["cluster"]
    names = ["length", *_NAMES, *(["human label"] if given_human else [])]
    features = np.ones((len(pairs), len(names)))
    features[:, 0] = pairs["first_characters"] - pairs["second_characters"]
    unit = float(features[:, 0].std())
    features[:, 0] /= unit or 1.0
    for place, name in enumerate(_FEATURES, start=1):
        features[:, place] = _difference(pairs, name)
    longer, refusal, evasion, question = (
        _prefers(label, np.sign(features[:, place]), cluster) for place in range(1 + len(_FEATURES))
    )
    return Bias(
        labeller=labeller,
        longer=longer,
        refusal=refusal,
        evasion=evasion,
        question=question,
        regression_n=len(pairs),
        length_unit_characters=unit or None,
        terms=terms(names, features, label == FIRST, cluster),
    )


def _difference(pairs: Table, name: str) -> Floats:
    """1 where only the first response does it, -1 where only the second does."""
    made: Floats = pairs[f"first_{name}"].astype(np.float64) - pairs[f"second_{name}"].astype(np.float64)
    return made


def _prefers(label: NDArray[Any], sign: Floats, cluster: Ints) -> Rate:
    """How often the label goes to the response that `sign` points to, where it points."""
    points = sign != 0
    return statistics.clustered_share((label == FIRST)[points] == (sign[points] > 0), cluster[points])


def terms(names: list[str], features: Floats, first: NDArray[np.bool_], cluster: Ints) -> tuple[Term, ...]:
    """The coefficients of a logistic regression of "the first is better" on differences.

    Features that never vary from 0 on fewer than LEAST_PER_TERM pairs are left out.
    """
    kept = [index for index in range(len(names)) if np.count_nonzero(features[:, index]) >= LEAST_PER_TERM]
    if not kept or len(first) < LEAST_PER_TERM * len(kept):
        return ()
    chosen = features if len(kept) == len(names) else features[:, kept]
    found = regression.fit(chosen, first, cluster)
    if found is None:
        return ()
    made = []
    for place, index in enumerate(kept):
        value = float(found.coefficients[place])
        error = math.sqrt(float(found.covariance[place, place]))
        half = Z * error
        p = statistics.two_sided(value / error) if error > 0 else None
        made.append(Term(names[index], Estimate(value, value - half, value + half, len(first)), p))
    return tuple(made)
