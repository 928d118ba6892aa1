"""The statistics that a comparison is made of; arrays in, figures out.

SciPy, statsmodels and scikit-learn are imported when a function first needs them: the command
line must start fast.

What this module does not know: rows, labels, files.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cai.compare.figures_v1 import Bin, Calibration, Estimate, Rate

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

CONFIDENCE = 0.95
BINS = 10
LOG_LOSS_FLOOR = 1e-6
"""Forecasts are kept this far from 0 and 1 before a logarithm is taken."""


def rate(count: float, n: int) -> Rate:
    """A share with its Wilson interval.

    `count` may be fractional (ties as one half): the interval is then a little too wide, since
    halves vary less than zeros and ones. Source: Wilson 1927; Brown, Cai, DasGupta 2001, eq. 4.
    """
    if n == 0:
        return Rate(None, None, None, 0, 0)
    low, high = _wilson(count, n)
    whole = int(count) if float(count).is_integer() else float(count)
    return Rate(float(count) / n, low, high, whole, n)


def _wilson(count: float, n: float) -> tuple[float, float]:
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(count, n, alpha=1 - CONFIDENCE, method="wilson")
    return max(0.0, float(low)), min(1.0, float(high))


def share(yes: Bools) -> Rate:
    """The share of true values."""
    return rate(int(np.count_nonzero(yes)), len(yes))


def clustered_share(yes: Bools, cluster: NDArray[np.int64]) -> Rate:
    """The share of true values where those of one cluster go together.

    `cluster`: number of each value's cluster, not negative; numbers may be left out. The interval is Wilson's at the effective
    sample size r(1-r)/v, with v the ratio estimator's between-cluster variance; all values alike
    count as one observation a cluster.
    Source: Korn & Graubard 1998 (effective sample size); Cochran 1977, section 6.3 (variance).
    """
    n = len(yes)
    if n == 0:
        return rate(0, 0)
    sizes = np.bincount(cluster)
    hits = np.bincount(cluster, weights=yes.astype(np.float64))[sizes > 0]
    sizes = sizes[sizes > 0]
    clusters = len(sizes)
    value = float(hits.sum() / n)
    effective = float(clusters)
    if clusters > 1 and 0 < value < 1:
        variance = float(np.sum((hits - value * sizes) ** 2)) / n**2 * clusters / (clusters - 1)
        effective = min(float(n), value * (1 - value) / variance) if variance > 0 else float(n)
    low, high = _wilson(value * effective, effective)
    return Rate(value, low, high, int(hits.sum()), n)


def mean(values: Floats) -> Estimate:
    """The mean with Student's interval; values that are NaN (absent) are left out."""
    values = values[~np.isnan(values)]
    n = len(values)
    if n == 0:
        return Estimate(None, None, None, 0)
    value = float(values.mean())
    if n == 1:
        return Estimate(value, None, None, 1)
    from scipy.stats import t

    half = float(t.ppf((1 + CONFIDENCE) / 2, n - 1)) * float(values.std(ddof=1)) / math.sqrt(n)
    return Estimate(value, value - half, value + half, n)


def kappa(one: Bools, other: Bools) -> Estimate:
    """Cohen's kappa of two labellers' yes-or-no labels: (p_o - p_e) / (1 - p_e).

    None where one label is all there is (p_e = 1). The interval is Wilson's for the observed
    agreement p_o, carried through the formula with p_e held fixed, so that it keeps its width at
    perfect agreement. Source: Cohen 1960.
    """
    n = len(one)
    if n == 0:
        return Estimate(None, None, None, 0)
    observed = int(np.count_nonzero(one == other))
    p, q = float(one.mean()), float(other.mean())
    expected = p * q + (1 - p) * (1 - q)
    if expected >= 1:
        return Estimate(None, None, None, n)
    value, low, high = (
        (agreement - expected) / (1 - expected) for agreement in (observed / n, *_wilson(observed, n))
    )
    return Estimate(value, low, high, n)


def calibration(forecast: Floats, happened: Bools) -> Calibration:
    """How forecasts (probabilities) compare with what happened.

    Source: Brier 1950; Naeini et al. 2015 (ECE; here with bins of equal mass, Nguyen & O'Connor 2015).
    """
    n = len(forecast)
    if n == 0:
        return Calibration(0, (), None, mean(np.empty(0)), mean(np.empty(0)))
    bins = tuple(_bin(forecast[chosen], happened[chosen]) for chosen in equal_mass(forecast, BINS))
    ece = math.fsum(item.human.n * abs(item.mean - (item.human.value or 0.0)) for item in bins) / n
    squared = (forecast - happened) ** 2
    kept = np.clip(forecast, LOG_LOSS_FLOOR, 1 - LOG_LOSS_FLOOR)
    surprise = -np.log(np.where(happened, kept, 1 - kept))
    return Calibration(n, bins, ece, mean(squared), mean(surprise))


def equal_mass(values: Floats, bins: int) -> list[NDArray[np.int64]]:
    """Indices of the values in at most `bins` groups of near equal size, in ascending order.

    Equal values are never parted, so there may be fewer groups.
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    ends = [round(len(values) * (index + 1) / bins) for index in range(bins)]
    cuts = sorted({int(np.searchsorted(ordered, ordered[end - 1], side="right")) for end in ends if end > 0})
    return [part for part in np.split(order, cuts) if len(part)]


def _bin(forecast: Floats, happened: Bools) -> Bin:
    return Bin(float(forecast.min()), float(forecast.max()), float(forecast.mean()), share(happened))


def known(values: Any) -> float | None:
    """A float, or None for NaN."""
    number = float(values)
    return None if math.isnan(number) else number
