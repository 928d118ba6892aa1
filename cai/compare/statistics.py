"""The statistics that a comparison is made of; arrays in, figures out.

SciPy is imported when a function first needs it: the command line must start fast.

What this module does not know: rows, labels, files.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cai.compare.estimates import Estimate, Rate, Scanned
from cai.dataset.labels import ROUNDING
from cai.share import Z, wilson

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

CONFIDENCE = 0.95
"""Of every interval; `Z` is the normal quantile that goes with it."""
SMALL_GROUP = 30
"""Fewer pairs make a line of a table `small`: neither tested nor ranked."""


def rate(count: float, n: int) -> Rate:
    """A share with its Wilson interval.

    `count` may be fractional (ties as one half): the interval is then a little too wide, since
    halves vary less than zeros and ones (cai/share.py).
    """
    if n == 0:
        return Rate(None, None, None, 0, 0)
    low, high = wilson(count, n)
    whole = int(count) if float(count).is_integer() else float(count)
    return Rate(float(count) / n, low, high, whole, n)


def share(yes: Bools) -> Rate:
    """The share of true values."""
    return rate(int(np.count_nonzero(yes)), len(yes))


def clustered_share(yes: Bools | Floats, cluster: NDArray[np.int64]) -> Rate:
    """The share of true values (or the mean of values from 0 to 1) where those of one cluster go together.

    `cluster`: number of each value's cluster, not negative; numbers may be left out. The interval
    is Wilson's at the effective sample size r(1-r)/v, with v the larger of the ratio estimator's
    between-cluster variance and that of independent values; all values alike count as one
    observation a cluster.
    Source: Korn & Graubard 1998 (effective sample size); Cochran 1977, section 6.3 (variance).
    """
    n = len(yes)
    if n == 0:
        return rate(0, 0)
    values = yes.astype(np.float64)
    value, low, high = _clustered_wilson(values, cluster)
    total = float(values.sum())
    return Rate(value, low, high, int(total) if total.is_integer() else total, n)


def counted_share(yes: NDArray[Any], n: NDArray[Any]) -> Rate:
    """`clustered_share` of true values of which only the counts are known: of each cluster, how many of its n."""
    there = n > 0
    sizes, sums = n[there].astype(np.float64), yes[there].astype(np.float64)
    total, count = int(sizes.sum()), int(sums.sum())
    if total == 0:
        return rate(0, 0)
    value, effective = count / total, float(len(sizes))
    if len(sizes) > 1 and 0 < count < total:
        independent = value * (1 - value) / total
        variance = max(_ratio_variance(sums - value * sizes, total), independent)
        effective = value * (1 - value) / variance
    return Rate(value, *wilson(value * effective, effective), count, total)


def _clustered_wilson(
    values: Floats, cluster: NDArray[np.int64], floor: bool = True
) -> tuple[float, float, float]:
    """The mean of values from 0 to 1, and Wilson's interval at their effective sample size.

    `floor`: take clusters that differ less than independent values would as if they did not. Without
    it the quantile is Student's, by the number of clusters.
    """
    n = len(values)
    sizes = np.bincount(cluster)
    sums = np.bincount(cluster, weights=values)[sizes > 0]
    sizes = sizes[sizes > 0]
    value = float(sums.sum() / n)
    effective = float(len(sizes))
    if len(sizes) > 1 and float(values.max() - values.min()) > ROUNDING:
        variance = _ratio_variance(sums - value * sizes, n)
        if floor:
            variance = max(variance, float(np.mean((values - value) ** 2)) / n)
        else:
            variance *= (_student(len(sizes)) / Z) ** 2
        effective = value * (1 - value) / variance if variance > 0 else effective
    return value, *wilson(value * effective, effective)


def _student(clusters: int) -> float:
    """Student's quantile with one degree of freedom less than there are clusters."""
    from scipy.special import stdtrit

    return float(stdtrit(clusters - 1, (1 + CONFIDENCE) / 2))


def bounded_mean(values: Floats, cluster: NDArray[np.int64]) -> Estimate:
    """The mean of values from 0 to 1 where those of one cluster go together; NaN values are left out.

    The interval is that of a share: it stays between 0 and 1, holds where nearly all values are 0
    or 1, and has a width where all are alike.
    """
    there = ~np.isnan(values)
    values, cluster = values[there], cluster[there]
    if len(values) == 0:
        return Estimate(None, None, None, 0)
    return Estimate(*_clustered_wilson(values, cluster, _zero_or_one(values)), len(values))


def bounded_difference(after: Floats, before: Floats, cluster: NDArray[np.int64]) -> Estimate:
    """The mean of after - before, paired, of values from 0 to 1 without NaN.

    What rises and what falls are two shares, each with its own interval, put together by the method
    of variance estimates recovery, with their correlation between clusters. So the interval holds
    where changes are rare, and has a width where there are none.
    Source: Newcombe 1998 (paired, method 10); Zou & Donner 2008.
    """
    n = len(after)
    if n == 0:
        return Estimate(None, None, None, 0)
    change = after - before
    change = np.where(np.abs(change) <= ROUNDING, 0.0, change)
    rise, fall = np.maximum(change, 0.0), np.maximum(-change, 0.0)
    floor = _zero_or_one(np.abs(change))
    up, up_low, up_high = _clustered_wilson(rise, cluster, floor)
    down, down_low, down_high = _clustered_wilson(fall, cluster, floor)
    sizes = np.bincount(cluster)
    one = np.bincount(cluster, weights=rise) - up * sizes
    other = np.bincount(cluster, weights=fall) - down * sizes
    spread = math.sqrt(float(np.sum(one**2)) * float(np.sum(other**2)))
    together = float(np.sum(one * other)) / spread if spread > 0 else 0.0

    def reach(a: float, b: float) -> float:
        return math.sqrt(max(0.0, a**2 + b**2 - 2 * together * a * b))

    value = up - down
    low = max(-1.0, value - reach(up - up_low, down_high - down))
    return Estimate(value, low, min(1.0, value + reach(up_high - up, down - down_low)), n)


def _zero_or_one(values: Floats) -> bool:
    return bool(np.all((values == 0) | (values == 1)))


def _ratio_variance(residuals: NDArray[Any], n: int) -> float:
    """The variance of a mean over `n` values from the residual sums of their clusters."""
    clusters = len(residuals)
    return float(np.sum(residuals**2)) / n**2 * clusters / (clusters - 1)


def clustered_mean(values: Floats, cluster: NDArray[np.int64]) -> Estimate:
    """The mean where values of one cluster go together; NaN values are left out.

    The interval is Student's with the ratio estimator's between-cluster variance (Cochran 1977,
    section 6.3) and one degree of freedom less than there are clusters; none where all clusters are
    alike, which tells nothing of their spread. For values from 0 to 1 see `bounded_mean`.
    """
    there = ~np.isnan(values)
    values, cluster = values[there], cluster[there]
    n = len(values)
    if n == 0:
        return Estimate(None, None, None, 0)
    value = float(values.mean())
    sizes = np.bincount(cluster)
    residuals = np.bincount(cluster, weights=values - value)[sizes > 0]
    if len(residuals) < 2:
        return Estimate(value, None, None, n)
    half = _student(len(residuals)) * math.sqrt(_ratio_variance(residuals, n))
    if half <= ROUNDING * max(1.0, abs(value)):
        return Estimate(value, None, None, n)
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
        (agreement - expected) / (1 - expected) for agreement in (observed / n, *wilson(observed, n))
    )
    return Estimate(value, low, high, n)


def equal_mass(values: Floats, bins: int) -> list[NDArray[np.int64]]:
    """Indices of the values in at most `bins` groups of near equal size, in ascending order.

    Equal values are never parted, so there may be fewer groups.
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    ends = [round(len(values) * (index + 1) / bins) for index in range(bins)]
    cuts = sorted({int(np.searchsorted(ordered, ordered[end - 1], side="right")) for end in ends if end > 0})
    return [part for part in np.split(order, cuts) if len(part)]


def apart(
    yes: Floats | Bools, group: NDArray[np.int64], cluster: NDArray[np.int64], groups: int, small: int
) -> tuple[Scanned, ...]:
    """How each of several disjoint groups differs from the rest of them.

    `group`: of each value, a number below `groups`. Groups of fewer than `small` values are neither
    tested nor ranked, nor those that are one cluster. Two-sided test of two proportions with the
    pooled share; where clusters hold several values, with the variance of their sums (never less
    than that of independent values) and Student's distribution by the clusters of the smaller side.
    Source: Cochran 1977, section 6.3; Donald & Donner 1987 (why clusters must count).
    """
    values = yes.astype(np.float64)
    sizes = np.bincount(group, minlength=groups)
    sums = np.bincount(group, weights=values, minlength=groups)
    n, total = len(values), float(values.sum())
    pooled = total / n if n else 0.0
    spread = pooled * (1 - pooled)
    several = n > 0 and int(np.bincount(cluster).max()) > 1
    p: list[float | None] = []
    for place, own in enumerate(sizes.tolist()):
        if own < small or own == n or spread == 0:
            p.append(None)
            continue
        difference = sums[place] / own - (total - sums[place]) / (n - own)
        variance = spread * (1 / own + 1 / (n - own))
        inside = group == place
        p.append(
            _clustered_p(difference, variance, values - pooled, inside, cluster)
            if several
            else two_sided(difference / math.sqrt(variance))
        )
    shares = [float(sums[i] / sizes[i]) if sizes[i] else None for i in range(groups)]
    return scanned(shares, [int(size) for size in sizes], p, small)


def _clustered_p(
    difference: float, variance: float, residuals: Floats, inside: Bools, cluster: NDArray[np.int64]
) -> float | None:
    """The p-value of a difference between the values `inside` and the rest; None for one cluster."""
    own = int(np.count_nonzero(inside))
    weighted = residuals * np.where(inside, 1 / own, -1 / (len(inside) - own))
    sums = np.bincount(cluster, weights=weighted)
    clusters = int(np.count_nonzero(np.bincount(cluster)))
    sides = (np.count_nonzero(np.bincount(cluster[side])) for side in (inside, ~inside))
    freedom = int(min(sides)) - 1
    if freedom < 1:
        return None
    from scipy.special import stdtr

    between = float(np.sum(sums**2)) * clusters / (clusters - 1)
    return 2 * float(stdtr(freedom, -abs(difference) / math.sqrt(max(variance, between))))


def two_sided(z: float) -> float:
    """The chance that a standard normal lies at least as far from 0."""
    return math.erfc(abs(z) / math.sqrt(2))


def scanned(
    values: list[float | None], sizes: list[int], p: list[float | None], small: int
) -> tuple[Scanned, ...]:
    """Adjust a table's p-values for their number, and rank its lines."""
    q = adjusted(p)
    known_values = [
        (value, index)
        for index, (value, n) in enumerate(zip(values, sizes, strict=True))
        if value is not None and n >= small
    ]
    order = {index: rank for rank, (_, index) in enumerate(sorted(known_values), start=1)}
    return tuple(Scanned(sizes[i] < small, p[i], q[i], order.get(i)) for i in range(len(p)))


def adjusted(p: list[float | None]) -> list[float | None]:
    """The p-values adjusted for how many there are; None is not counted. Source: Benjamini & Hochberg 1995."""
    tested = sorted((value, index) for index, value in enumerate(p) if value is not None)
    made: list[float | None] = [None] * len(p)
    least = 1.0
    for rank in range(len(tested), 0, -1):
        value, index = tested[rank - 1]
        least = min(least, value * len(tested) / rank)
        made[index] = least
    return made


def mcnemar(only_one: int, only_other: int) -> float | None:
    """The two-sided p-value of no difference between two labellers on the same pairs.

    `only_one`: pairs that only the one gets right. Exact below 25 discordant pairs, chi-squared
    (b-c)^2/(b+c) from there. Source: McNemar 1947.
    """
    discordant = only_one + only_other
    if discordant == 0:
        return None
    if discordant < 25:
        tail = sum(math.comb(discordant, k) for k in range(min(only_one, only_other) + 1))
        return min(1.0, float(2 * tail) / float(2**discordant))
    return two_sided((only_one - only_other) / math.sqrt(discordant))


def clustered_mcnemar(one: Bools, other: Bools, cluster: NDArray[np.int64]) -> float | None:
    """The p-value of no difference between two labellers, where pairs of one cluster go together.

    `one`, `other`: whether each gets the pair right. McNemar's p-value, or where it is larger the one
    that takes the sums of clusters, not pairs, as independent.
    Source: Durkalski et al. 2003; Obuchowski 1998.
    """
    lead = one.astype(np.int64) - other.astype(np.int64)
    plain = mcnemar(int(np.count_nonzero(lead > 0)), int(np.count_nonzero(lead < 0)))
    if plain is None or int(np.bincount(cluster[lead != 0]).max()) < 2:
        return plain
    sums = np.bincount(cluster, weights=lead)
    spread = math.sqrt(float(np.sum(sums**2)))
    return max(plain, two_sided(float(sums.sum()) / spread)) if spread > 0 else plain


def ranks(values: Floats) -> Floats:
    """Ranks from 1, equal values sharing their mean rank."""
    _, code, counts = np.unique(values, return_inverse=True, return_counts=True)
    made: Floats = (np.cumsum(counts) - (counts - 1) / 2)[code]
    return made


def auroc(score: Floats, happened: Bools, cluster: NDArray[np.int64]) -> Estimate:
    """The area under the ROC curve: how often a score ranks a true case above a false one.

    The interval allows for clusters and is made on the logit, so that it stays within 0 and 1.
    Source: DeLong et al. 1988; Obuchowski 1997 (clusters).
    """
    n, yes = len(score), int(np.count_nonzero(happened))
    no = n - yes
    if yes == 0 or no == 0:
        return Estimate(None, None, None, n)
    overall = ranks(score)
    true_part = (overall[happened] - ranks(score[happened])) / no
    false_part = 1 - (overall[~happened] - ranks(score[~happened])) / yes
    area = float(true_part.mean())
    width = int(cluster.max()) + 1
    residuals = np.bincount(cluster[happened], weights=(true_part - area) / yes, minlength=width)
    residuals += np.bincount(cluster[~happened], weights=(false_part - area) / no, minlength=width)
    clusters = int(np.count_nonzero(np.bincount(cluster)))
    variance = float(np.sum(residuals**2)) * clusters / max(1, clusters - 1)
    if not 0 < area < 1 or variance == 0:
        return Estimate(area, None, None, n)
    half = Z * math.sqrt(variance) / (area * (1 - area))
    middle = math.log(area / (1 - area))
    return Estimate(area, 1 / (1 + math.exp(half - middle)), 1 / (1 + math.exp(-half - middle)), n)


def even(probability: Floats) -> Floats:
    """Probabilities of which those that rounding carried away from one half are put back."""
    made: Floats = np.where(np.abs(probability - 0.5) <= ROUNDING, 0.5, probability)
    return made


def known(values: Any) -> float | None:
    """A float, or None for NaN."""
    number = float(values)
    return None if math.isnan(number) else number
