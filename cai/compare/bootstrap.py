"""The cluster bootstrap: clusters drawn with replacement, over and over, without drawing each.

Statistics of labels are functions of sums of small whole numbers, so a great many clusters look
alike. Drawing C clusters with replacement is then one multinomial draw over the few patterns that
occur, with the same distribution and at a cost that does not grow with C.
Source: Efron & Tibshirani 1993, chapters 6 (multinomial form) and 13 (percentile interval);
Field & Welsh 2007 (clusters).

What this module does not know: what is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from cai.compare.estimates import Estimate
from cai.compare.statistics import CONFIDENCE, Floats, known
from cai.digest import draw

RESAMPLES = 4000
_CHUNK = 4_000_000

Ints = NDArray[np.int64]


def interval(
    columns: Sequence[NDArray[np.generic]],
    cluster: Ints,
    statistic: Callable[[Floats], Floats],
    seed: int,
    name: str,
) -> Estimate:
    """A statistic of column sums with its percentile interval.

    `columns`: whole numbers, one for each pair. `statistic`: from sums (..., columns) to values
    (...), NaN where it is not defined. `cluster`: numbers from 0 on. Equal seeds and names give
    equal intervals; where every resample gives the same value, the interval has no width.
    """
    n = len(cluster)
    if n == 0:
        return Estimate(None, None, None, 0)
    sums = _cluster_sums(columns, cluster)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = known(statistic(sums.sum(axis=0, dtype=np.float64)))
        if value is None:
            return Estimate(None, None, None, n)
        drawn = statistic(_resampled(sums, seed, name))
    drawn = drawn[~np.isnan(drawn)]
    if len(drawn) < RESAMPLES / 2:
        return Estimate(value, None, None, n)
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(value, float(low), float(high), n)


def _cluster_sums(columns: Sequence[NDArray[np.generic]], cluster: Ints) -> Ints:
    """The sums of each cluster that occurs, (clusters, columns)."""
    sizes = np.bincount(cluster)
    sums = [np.bincount(cluster, weights=column.astype(np.float64))[sizes > 0] for column in columns]
    return np.rint(np.stack(sums, axis=1)).astype(np.int64)


def _resampled(sums: Ints, seed: int, name: str) -> Floats:
    """Sums over clusters drawn with replacement, (RESAMPLES, columns)."""
    patterns, counts = _patterns(sums)
    generator = np.random.default_rng(draw(seed, "bootstrap", name))
    chances = counts / counts.sum()
    step = max(1, _CHUNK // len(patterns))
    made = []
    for start in range(0, RESAMPLES, step):
        times = generator.multinomial(len(sums), chances, size=min(step, RESAMPLES - start))
        made.append(times @ patterns.astype(np.float64))
    return np.concatenate(made)


def _patterns(sums: Ints) -> tuple[Ints, Ints]:
    """The distinct rows, and how often each occurs."""
    low = sums.min(axis=0)
    spans = (sums.max(axis=0) - low + 1).tolist()
    room = 1
    for span in spans:
        room *= span
    if room >= 2**62:
        found, counts = np.unique(sums, axis=0, return_counts=True)
        return found, counts
    key = np.zeros(len(sums), np.int64)
    for column, span in enumerate(spans):
        key = key * span + (sums[:, column] - low[column])
    _, first, counts = np.unique(key, return_index=True, return_counts=True)
    return sums[first], counts
