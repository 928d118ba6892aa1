"""Logistic regression without an intercept: differences between two responses in, log-odds out.

Features are differences (first minus second), so turning a pair turns its features and its label,
and nothing depends on which response stands first. Coefficients by Newton's method, covariance by
the cluster-robust sandwich. Also maps fitted without the clusters that they are applied to.

What this module does not know: what a feature is, whose labels these are.
Source: McCullagh & Nelder 1989, section 4.4; Liang & Zeger 1986 (sandwich).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cai.compare.statistics import Bools, Floats
from cai.digest import draw

FOLDS = 5
_STEPS = 50
_TOLERANCE = 1e-9
_BLOCK = 1 << 16
"""Pairs that are multiplied at once: memory beyond the features stays small."""
_FARTHEST = 30.0
"""A log-odds beyond this says that the labels can be told apart perfectly."""

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Fit:
    """Coefficients and their cluster-robust covariance."""

    coefficients: Floats
    covariance: Floats


def logistic(
    features: Floats,
    label: Bools,
    ridge: float = 0.0,
    start: Floats | None = None,
    chosen: Bools | None = None,
) -> Floats | None:
    """The coefficients; None where they do not exist (perfect separation, dependent features).

    `features`: (pairs, features). `ridge`: penalty on half the squared length of the coefficients.
    `start`: where to begin; it saves time and changes nothing else. `chosen`: the pairs that count.
    """
    width = features.shape[1]
    beta: Floats = np.zeros(width) if start is None else start
    for _ in range(_STEPS):
        gradient: Floats = -ridge * beta
        information: Floats = ridge * np.eye(width)
        for at in _blocks(len(features)):
            own = slice(None) if chosen is None else chosen[at]
            part = features[at][own]
            probability = sigmoid(part @ beta)
            gradient += part.T @ (label[at][own] - probability)
            information += part.T @ (part * (probability * (1 - probability))[:, None])
        try:
            step = np.linalg.solve(information, gradient).astype(np.float64)
        except np.linalg.LinAlgError:
            return None
        beta = beta + np.clip(step, -5, 5)
        if not np.all(np.isfinite(beta)) or np.max(np.abs(beta), initial=0) > _FARTHEST:
            return None
        if np.max(np.abs(step), initial=0) < _TOLERANCE:
            return beta
    return None


def times(features: Floats, coefficients: Floats, chosen: Bools | None = None) -> Floats:
    """The log-odds of every pair, or of those that are chosen."""
    made = [
        features[at][slice(None) if chosen is None else chosen[at]] @ coefficients
        for at in _blocks(len(features))
    ]
    return np.concatenate([np.empty(0), *made])


def _blocks(pairs: int) -> Iterator[slice]:
    return (slice(start, start + _BLOCK) for start in range(0, pairs, _BLOCK))


def fit(features: Floats, label: Bools, cluster: Ints) -> Fit | None:
    """Coefficients with their cluster-robust covariance; None as for `logistic`.

    The covariance carries the factor C/(C-1) (n-1)/(n-k) for C clusters, as statsmodels has it.
    """
    beta = logistic(features, label)
    if beta is None:
        return None
    probability = sigmoid(times(features, beta))
    off = label - probability
    sizes = np.bincount(cluster)
    sums = np.empty((int(np.count_nonzero(sizes)), features.shape[1]))
    for place in range(features.shape[1]):
        sums[:, place] = np.bincount(cluster, weights=features[:, place] * off)[sizes > 0]
    clusters, n = len(sums), len(label)
    if clusters < 2 or n <= features.shape[1]:
        return None
    try:
        bread = np.linalg.inv(_information(features, probability * (1 - probability)))
    except np.linalg.LinAlgError:
        return None
    factor = clusters / (clusters - 1) * (n - 1) / (n - features.shape[1])
    return Fit(beta, factor * bread @ (sums.T @ sums) @ bread)


def _information(features: Floats, weight: Floats) -> Floats:
    made: Floats = np.zeros((features.shape[1], features.shape[1]))
    for at in _blocks(len(features)):
        made += features[at].T @ (features[at] * weight[at, None])
    return made


def sigmoid(values: Floats) -> Floats:
    """1 / (1 + exp(-x)), for any size of x."""
    made: Floats = np.clip(values, -700, 700)
    np.exp(np.negative(made, out=made), out=made)
    made += 1
    return np.divide(1, made, out=made)


def logit(probability: Floats, floor: float = 1e-6) -> Floats:
    """log(p / (1 - p)), with p kept `floor` away from 0 and 1."""
    kept = np.clip(probability, floor, 1 - floor)
    made: Floats = np.log(kept / (1 - kept))
    return made


def folds(cluster: Ints, seed: int, name: str) -> Ints:
    """A fold from 0 to FOLDS - 1 for each pair, the same for pairs of one cluster."""
    clusters = int(cluster.max()) + 1 if len(cluster) else 0
    generator = np.random.default_rng(draw(seed, "folds", name))
    made: Ints = (generator.permutation(clusters) % FOLDS)[cluster]
    return made


def cross_fitted(fold: Ints, make: Callable[[Bools, Bools], Floats]) -> Floats:
    """Values for every pair from a map that was fitted without the pair's fold.

    `make`: from masks (fitted on, applied to) to the values of the latter.
    """
    values = np.full(len(fold), np.nan)
    for number in range(FOLDS):
        applied = fold == number
        if applied.any():
            values[applied] = make(~applied, applied)
    return values
