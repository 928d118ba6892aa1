"""The soft label as a forecast of the human label: calibration, ranking, and what recalibration would do.

What this module does not know: files, where labels come from, how figures are shown.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cai.compare import regression, statistics
from cai.compare.figures import Bin, Calibration, Estimate, Recalibration
from cai.compare.statistics import Bools, Floats
from cai.share import Z

BINS = 10
FLOOR = 1e-6
"""Forecasts are kept this far from 0 and 1 before a logarithm is taken."""
LEAST = 50
"""Fewer pairs, or fewer clusters, are not recalibrated."""

Ints = NDArray[np.int64]


def calibration(forecast: Floats, happened: Bools, cluster: Ints, seed: int = 0) -> Calibration:
    """How forecasts (probabilities) compare with what happened; of one half within rounding: one half.

    `seed`: decides which clusters are left out together where a map is fitted.
    Source: Brier 1950; Naeini et al. 2015 (ECE; here with bins of equal mass, Nguyen & O'Connor
    2015); Kumar et al. 2019 (the debiased root mean square).
    """
    n = len(forecast)
    forecast = statistics.even(forecast)
    parts = statistics.equal_mass(forecast, BINS) if n else []
    bins = tuple(_bin(forecast[part], happened[part], cluster[part]) for part in parts)
    right = (forecast > 0.5) == happened
    decided = forecast != 0.5
    return Calibration(
        n=n,
        bins=bins,
        ece=ece(forecast, happened),
        ece_by_chance=_by_chance(forecast, parts),
        rms_debiased=_debiased(forecast, happened, parts),
        brier=statistics.clustered_mean((forecast - happened) ** 2, cluster),
        log_loss=statistics.clustered_mean(surprise(forecast, happened), cluster),
        auroc=statistics.auroc(forecast, happened, cluster) if n else Estimate(None, None, None, 0),
        auroc_confidence=statistics.auroc(np.abs(forecast - 0.5)[decided], right[decided], cluster[decided])
        if decided.any()
        else Estimate(None, None, None, 0),
        recalibrations=_recalibrations(forecast, happened, cluster, seed),
    )


def surprise(forecast: Floats, happened: Bools) -> Floats:
    """The log-loss of each forecast, in nats."""
    kept = np.clip(forecast, FLOOR, 1 - FLOOR)
    made: Floats = -np.log(np.where(happened, kept, 1 - kept))
    return made


def ece(forecast: Floats, happened: Bools) -> float | None:
    """The expected calibration error in bins of equal mass; biased upwards where they are small."""
    if len(forecast) == 0:
        return None
    parts = statistics.equal_mass(forecast, BINS)
    gaps = (len(part) * abs(forecast[part].mean() - happened[part].mean()) for part in parts)
    return math.fsum(gaps) / len(forecast)


def _bin(forecast: Floats, happened: Bools, cluster: Ints) -> Bin:
    return Bin(
        float(forecast.min()),
        float(forecast.max()),
        float(forecast.mean()),
        statistics.clustered_share(happened, cluster),
    )


def _by_chance(forecast: Floats, parts: list[Ints]) -> float | None:
    """The ECE that these forecasts would show if every one of them were true: of each bin, the
    mean distance of a normal with the bin's variance, sqrt(2/pi) of its standard deviation."""
    if not parts:
        return None
    spreads = (math.sqrt(float(np.sum(forecast[part] * (1 - forecast[part])))) for part in parts)
    return math.sqrt(2 / math.pi) * math.fsum(spreads) / len(forecast)


def _debiased(forecast: Floats, happened: Bools, parts: list[Ints]) -> float | None:
    """The root mean square of the bins' gaps, less what chance adds to it; 0 where that is more."""
    total = 0.0
    for part in parts:
        if len(part) < 2:
            return None
        share = float(happened[part].mean())
        gap = float(forecast[part].mean()) - share
        total += len(part) * (gap**2 - share * (1 - share) / (len(part) - 1))
    return math.sqrt(max(0.0, total / len(forecast))) if parts else None


def _recalibrations(forecast: Floats, happened: Bools, cluster: Ints, seed: int) -> tuple[Recalibration, ...]:
    clusters = int(np.count_nonzero(np.bincount(cluster))) if len(cluster) else 0
    if clusters < LEAST or happened.all() or not happened.any():
        return ()
    fold = regression.folds(cluster, seed, "recalibration")
    made = [*_tempered(forecast, happened, cluster, fold)]

    def isotonic(fitted: Bools, applied: Bools) -> Floats:
        return _rising(forecast[fitted], happened[fitted], forecast[applied])

    after = regression.cross_fitted(fold, isotonic)
    made.append(_recalibration("isotonic", forecast, after, happened, cluster, None))
    return tuple(made)


def _tempered(forecast: Floats, happened: Bools, cluster: Ints, fold: Ints) -> Iterator[Recalibration]:
    """The recalibration by a temperature, where there is one."""
    odds = regression.logit(forecast)[:, None]
    whole = regression.fit(odds, happened, cluster)
    if whole is None:
        return
    coefficients = whole.coefficients

    def temperature(fitted: Bools, applied: Bools) -> Floats:
        found = regression.logistic(odds, happened, start=coefficients, chosen=fitted)
        slope = found[0] if found is not None else 1.0
        return regression.sigmoid(odds[applied, 0] * slope)

    half = Z * math.sqrt(float(whole.covariance[0, 0]))
    value = float(coefficients[0])
    slope = Estimate(value, value - half, value + half, len(forecast))
    after = regression.cross_fitted(fold, temperature)
    yield _recalibration("temperature", forecast, after, happened, cluster, slope)


def _rising(known: Floats, happened: Bools, wanted: Floats) -> Floats:
    """The rising curve nearest to what happened, the same both ways round: it does not matter which
    response stands first. Kept away from 0 and 1 by one case in all that are known."""
    from scipy.optimize import isotonic_regression

    both = np.concatenate([known, 1 - known])
    places, code, counts = np.unique(both, return_inverse=True, return_counts=True)
    del both
    told = np.bincount(code, weights=np.concatenate([happened, ~happened])) / counts
    del code
    curve = isotonic_regression(told, weights=counts.astype(np.float64)).x
    least = 1 / (2 + len(known))
    made: Floats = np.interp(wanted, places, np.clip(curve, least, 1 - least))
    return made


def _recalibration(
    method: str, before: Floats, after: Floats, happened: Bools, cluster: Ints, slope: Estimate | None
) -> Recalibration:
    lost, kept = surprise(before, happened), surprise(after, happened)
    return Recalibration(
        method="temperature" if method == "temperature" else "isotonic",
        uses_human_labels=True,
        folds=regression.FOLDS,
        slope=slope,
        before=statistics.clustered_mean(lost, cluster),
        after=statistics.clustered_mean(kept, cluster),
        difference=statistics.clustered_mean(kept - lost, cluster),
        ece_after=ece(after, happened),
    )
