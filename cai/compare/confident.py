"""Label issues by confident learning: labels that the other labels of their kind speak against.

A classifier is fitted without the pair's cluster; a label is suspect where the classifier finds
the other label at least as probable as it does, on average, on pairs that carry it. Suspects only:
the classifier may be wrong, and shares the judge's biases.
Source: Northcutt, Jiang, Chuang 2021, Confident learning (counting off the diagonal of the
confident joint, `confident_learning` in the package cleanlab).

What this module does not know: rows, how suspects are listed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cai.compare import regression
from cai.compare.judging import Opinions
from cai.compare.statistics import Bools, Floats
from cai.compare.traces import Table

RIDGE = 1.0
COLUMNS = (
    *("probability", "cluster", "first_characters", "second_characters"),
    *("first_refuses", "second_refuses"),
)
"""What of a pair the classifier looks at."""
LEAST = 50
"""Of fewer pairs nothing is learnt."""


def predicted(pairs: Table, found: Opinions, second: Bools, seed: int) -> Floats:
    """P(the response that stands first is better), from a classifier that never saw the pair's cluster.

    Features: log-odds of the AI's label and of each principle, the difference in length (standard
    deviations) and in refusal. `second`: which pairs show the human's choice second.
    """
    with np.errstate(invalid="ignore"):
        principles = np.nan_to_num(regression.logit(found.probability, 1e-3))
        whole = np.nan_to_num(regression.logit(pairs["probability"], 1e-3))
    length = (pairs["first_characters"] - pairs["second_characters"]).astype(np.float64)
    refusal = pairs["first_refuses"].astype(np.float64) - pairs["second_refuses"].astype(np.float64)
    unit = length.std() or 1.0
    features = np.column_stack([whole, principles, length / unit, refusal])
    del whole, principles, length, refusal  # a million pairs have 8 MB a column
    fold = regression.folds(pairs["cluster"], seed, "label issues")
    first = ~second
    shown = np.negative(features, out=features, where=second[:, None])

    whole_fit = regression.logistic(shown, first, RIDGE)

    def make(fitted: Bools, applied: Bools) -> Floats:
        beta = regression.logistic(shown[fitted], first[fitted], RIDGE, whole_fit)
        weights = beta if beta is not None else np.zeros(shown.shape[1])
        return regression.sigmoid(shown[applied] @ weights)

    return regression.cross_fitted(fold, make)


def suspects(probability: Floats, label: Bools) -> NDArray[np.int64]:
    """Numbers of the pairs whose label is suspect, the most suspect first.

    `probability`: that the label is true (1), from a classifier that did not see it.
    """
    if label.all() or not label.any():
        return np.empty(0, np.int64)
    of_one, of_zero = probability, 1 - probability
    threshold_one, threshold_zero = of_one[label].mean(), of_zero[~label].mean()
    against = np.where(label, of_zero, of_one)
    enough = against >= np.where(label, threshold_zero, threshold_one)
    found = np.flatnonzero(enough & (against > 0.5))
    made: NDArray[np.int64] = found[np.argsort(-against[found], kind="stable")]
    return made
