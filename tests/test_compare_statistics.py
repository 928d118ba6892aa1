"""Each statistic against scikit-learn, statsmodels, or a value worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, cohen_kappa_score, log_loss
from statsmodels.api import OLS
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.proportion import proportion_confint

from cai.compare import calibration as calibrating
from cai.compare import statistics
from cai.compare.calibration import calibration
from cai.compare.figures import Estimate, Rate

GENERATOR = np.random.default_rng(7)


def test_a_rate_carries_its_count_and_wilsons_interval() -> None:
    # by hand: p = 0.8, n = 10, z = 1.96: (0.8 + 0.19207 -+ 1.96 sqrt(0.016 + 0.009604)) / 1.38415
    found = statistics.rate(8, 10)
    assert (found.value, found.count, found.n) == (0.8, 8, 10)
    assert found.low == pytest.approx(0.4901625, abs=1e-6)
    assert found.high == pytest.approx(0.9433178, abs=1e-6)
    assert (found.low, found.high) == pytest.approx(proportion_confint(8, 10, method="wilson"))


@pytest.mark.parametrize("count", [0, 5])
def test_a_rate_of_none_or_all_has_an_interval_with_a_width(count: int) -> None:
    found = statistics.rate(count, 5)
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low < found.high <= 1


def test_nothing_counted_gives_null_and_never_nan() -> None:
    empty = np.empty(0)
    assert statistics.rate(0, 0) == Rate(None, None, None, 0, 0)
    assert statistics.clustered_share(empty.astype(bool), empty.astype(int)) == Rate(None, None, None, 0, 0)
    none = np.array([np.nan])
    assert statistics.clustered_mean(none, np.zeros(1, int)) == Estimate(None, None, None, 0)
    assert statistics.clustered_mean(np.array([2.0]), np.zeros(1, int)) == Estimate(2.0, None, None, 1)
    assert statistics.kappa(empty.astype(bool), empty.astype(bool)) == Estimate(None, None, None, 0)
    assert calibration(empty, empty.astype(bool), empty.astype(int)).ece is None


def test_a_mean_over_clusters_carries_statsmodels_interval() -> None:
    cluster = GENERATOR.integers(0, 60, 300)
    values = GENERATOR.normal(3, 2, 300) + cluster % 5
    found = statistics.clustered_mean(np.append(values, np.nan), np.append(cluster, 0))
    fit = OLS(values, np.ones(300)).fit(cov_type="cluster", cov_kwds={"groups": cluster}, use_t=True)
    assert found.value == pytest.approx(values.mean())
    assert found.n == 300
    assert (found.low, found.high) == pytest.approx(tuple(fit.conf_int()[0]), rel=1e-3)


def test_kappa_is_scikit_learns() -> None:
    one = GENERATOR.random(400) < 0.5
    other = np.where(GENERATOR.random(400) < 0.3, ~one, one)
    found = statistics.kappa(one, other)
    table = np.array(
        [[np.sum(one & other), np.sum(one & ~other)], [np.sum(~one & other), np.sum(~one & ~other)]]
    )
    reference = cohens_kappa(table)
    assert found.value == pytest.approx(cohen_kappa_score(one, other))
    assert found.low == pytest.approx(reference.kappa_low, abs=0.02)
    assert found.high == pytest.approx(reference.kappa_upp, abs=0.02)


def test_kappa_by_hand_and_where_it_has_no_meaning() -> None:
    one, other = np.array([1, 1, 0, 0], bool), np.array([1, 0, 0, 0], bool)
    # agreement 3/4, by chance 1/2 * 1/4 + 1/2 * 3/4 = 1/2
    assert statistics.kappa(one, other).value == pytest.approx(0.5)
    assert statistics.kappa(one, ~one).value == pytest.approx(-1.0)
    always = np.ones(4, bool)
    assert statistics.kappa(always, always) == Estimate(None, None, None, 4)


def test_calibration_is_scikit_learns() -> None:
    forecast = GENERATOR.random(1000)
    happened = GENERATOR.random(1000) < forecast**2
    found = calibration(forecast, happened, np.arange(1000))
    rates, means = calibration_curve(happened, forecast, n_bins=10, strategy="quantile")
    assert [item.mean for item in found.bins] == pytest.approx(list(means))
    assert [item.human.value for item in found.bins] == pytest.approx(list(rates))
    assert [item.human.n for item in found.bins] == [100] * 10
    assert found.ece == pytest.approx(np.mean(np.abs(rates - means)))
    assert found.brier.value == pytest.approx(brier_score_loss(happened, forecast))
    assert found.log_loss.value == pytest.approx(log_loss(happened, forecast))


def test_calibration_by_hand() -> None:
    found = calibration(np.array([0.8, 0.8, 0.8, 0.8, 0.8]), np.array([1, 1, 1, 1, 0], bool), np.arange(5))
    assert len(found.bins) == 1
    assert found.ece == pytest.approx(0.0)
    assert found.brier.value == pytest.approx((4 * 0.04 + 0.64) / 5)
    assert found.log_loss.value == pytest.approx(-(4 * math.log(0.8) + math.log(0.2)) / 5)


def test_a_certain_forecast_that_fails_has_a_finite_loss() -> None:
    found = calibration(np.array([1.0, 0.0]), np.array([False, True]), np.arange(2))
    assert found.log_loss.value == pytest.approx(-math.log(calibrating.FLOOR))


def test_equal_forecasts_are_never_parted() -> None:
    values = np.array([0.1] * 30 + [0.5] * 50 + [0.9] * 20)
    parts = statistics.equal_mass(GENERATOR.permutation(values), 10)
    assert [len(part) for part in parts] == [30, 50, 20]


def test_judgements_of_one_pair_count_as_one_cluster() -> None:
    cluster = np.repeat(np.arange(200), 16)
    centre = GENERATOR.random(200)
    yes = GENERATOR.random(3200) < centre[cluster]
    found = statistics.clustered_share(yes, cluster)
    fit = OLS(yes.astype(float), np.ones(3200)).fit(cov_type="cluster", cov_kwds={"groups": cluster})
    naive = statistics.share(yes)
    assert (found.value, found.count, found.n) == (naive.value, naive.count, naive.n)
    assert found.low is not None
    assert found.high is not None
    assert naive.low is not None
    assert naive.high is not None
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * fit.bse[0], rel=0.02)
    assert found.high - found.low > 1.5 * (naive.high - naive.low)


def test_judgements_that_are_all_alike_count_once_for_each_pair() -> None:
    found = statistics.clustered_share(np.ones(160, bool), np.repeat(np.arange(10), 16))
    assert (found.value, found.n) == (1.0, 160)
    assert found.low == pytest.approx(statistics.rate(10, 10).low)


@pytest.mark.parametrize("truth", [0.1, 0.3, 0.5, 0.8])
def test_intervals_cover_a_planted_rate_about_95_times_in_100(truth: float) -> None:
    counts = np.random.default_rng(11).binomial(400, truth, 2000)
    found = [statistics.rate(int(count), 400) for count in counts]
    covered = np.mean(
        [item.low <= truth <= item.high for item in found if item.low is not None and item.high is not None]
    )
    assert 0.93 <= covered <= 0.97


def test_the_mean_of_zeros_and_ones_has_a_shares_interval() -> None:
    one_of_twenty = np.arange(20) == 0
    found = statistics.bounded_mean(one_of_twenty.astype(float), np.arange(20))
    share = statistics.clustered_share(one_of_twenty, np.arange(20))
    assert (found.value, found.low, found.high, found.n) == (0.05, share.low, share.high, 20)
    assert (share.low, share.high) == pytest.approx(
        (statistics.rate(1, 20).low, statistics.rate(1, 20).high), abs=0.01
    )
    assert found.low is not None
    assert found.low > 0


def test_values_that_are_all_alike_leave_a_doubt() -> None:
    cluster = np.arange(10)
    none, alike = np.zeros(10), np.full(10, 0.9)
    found = statistics.bounded_mean(none, cluster)
    assert (found.low, found.high) == pytest.approx((0.0, statistics.rate(0, 10).high))
    found = statistics.bounded_mean(alike, cluster)
    assert (found.low, found.high) == pytest.approx((statistics.rate(9, 10).low, statistics.rate(9, 10).high))
    change = statistics.bounded_difference(none, none, cluster)
    # nothing rose and nothing fell: each share at most 3.84/(10 + 3.84), taken together
    end = 3.8414588 / 13.8414588
    assert (change.value, change.low, change.high) == pytest.approx((0.0, -end, end))
    assert statistics.clustered_mean(np.full(10, 2.0), cluster) == Estimate(2.0, None, None, 10)


def test_a_change_is_after_minus_before_within_its_range() -> None:
    after, before = np.array([1.0, 1.0, 1.0, 0.0]), np.array([0.0, 0.0, 0.0, 0.0])
    found = statistics.bounded_difference(after, before, np.arange(4))
    turned = statistics.bounded_difference(before, after, np.arange(4))
    assert (found.value, turned.value) == (0.75, -0.75)
    assert found.low is not None
    assert found.high is not None
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))
    assert 0 < found.high <= 1
    assert statistics.bounded_difference(np.empty(0), np.empty(0), np.empty(0, int)) == Estimate(
        None, None, None, 0
    )
