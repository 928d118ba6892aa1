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
from cai.compare.columns import Scratch, Table
from cai.compare.opinions import blocks, principles_of, probability
from cai.compare.statistics import Bools, Floats
from cai.compare.traces import Part

RIDGE = 1.0
_DIGITS = 9
"""What differs beyond these only differs by how a sum was rounded."""
LEAST = 50
"""Of fewer pairs nothing is learnt."""


def predicted(human: Part, labelled: Bools, second: Bools, seed: int, scratch: Scratch) -> Floats:
    """P(the response that stands first is better), from a classifier that never saw the pair's cluster.

    Features: log-odds of the AI's label and of each principle, the difference in length (standard
    deviations) and in refusal. `labelled`: which pairs; `second`: which of all show the human's
    choice second. Returns one value for each pair that is `labelled`.
    """
    first = ~second[labelled]
    shown = _features(human, labelled, second, scratch)
    fold = regression.folds(human.pairs.where(labelled)["cluster"], seed, "label issues")
    whole_fit = regression.logistic(shown, first, RIDGE)

    def make(fitted: Bools, applied: Bools) -> Floats:
        beta = regression.logistic(shown, first, RIDGE, whole_fit, fitted)
        weights = beta if beta is not None else np.zeros(shown.shape[1])
        return regression.sigmoid(regression.times(shown, weights, applied))

    return regression.cross_fitted(fold, make)


def _features(human: Part, labelled: Bools, second: Bools, scratch: Scratch) -> Floats:
    """(labelled pairs, features), turned round where a pair shows the human's choice `second`."""
    length = _longer(human.pairs.where(labelled))
    unit = length.std() or 1.0
    del length
    principles = principles_of(human.opinions)
    made = scratch.growing("f8")
    for start, end, opinions in blocks(human.opinions, len(human.pairs), len(principles)):
        own = labelled[start:end]
        pairs = human.pairs.between(start, end).where(own)
        said = np.zeros((end - start, len(principles)))
        place = np.searchsorted(principles, opinions["principle"])
        said[opinions["pair"] - start, place] = _log_odds(probability(opinions))
        refusal = pairs["first_refuses"].astype(np.float64) - pairs["second_refuses"]
        columns = [_log_odds(pairs["probability"]), said[own], _longer(pairs) / unit, refusal]
        features = np.column_stack(columns)
        made.add(np.negative(features, out=features, where=second[start:end][own, None]).reshape(-1))
    return made.whole().reshape(-1, 3 + len(principles))


def _longer(pairs: Table) -> Floats:
    made: Floats = (pairs["first_characters"] - pairs["second_characters"]).astype(np.float64)
    return made


def _log_odds(values: Floats) -> Floats:
    """0 where there is no probability."""
    with np.errstate(invalid="ignore"):
        made: Floats = np.nan_to_num(regression.logit(values, 1e-3))
    return made


def suspects(probability: Floats, label: Bools) -> NDArray[np.int64]:
    """Numbers of the pairs whose label is suspect, the most suspect first; equals in their own order.

    `probability`: that the label is true (1), from a classifier that did not see it.
    """
    if label.all() or not label.any():
        return np.empty(0, np.int64)
    of_one, of_zero = probability, 1 - probability
    threshold_one, threshold_zero = of_one[label].mean(), of_zero[~label].mean()
    against = np.where(label, of_zero, of_one)
    enough = against >= np.where(label, threshold_zero, threshold_one)
    found = np.flatnonzero(enough & (against > 0.5))
    made: NDArray[np.int64] = found[np.argsort(-np.round(against[found], _DIGITS), kind="stable")]
    return made
