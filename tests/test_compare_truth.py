"""Truth tests of the comparison: independent implementations, hand-worked values, planted truths.

Planted-truth simulations: 2,000 of each, at least 200 pairs, rates between 0.1 and 0.9; a nominal
95 % interval must cover the truth in 93 to 97 of 100.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from cleanlab.filter import find_label_issues
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, rankdata
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import cohen_kappa_score, roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportions_ztest

from cai.compare import bootstrap, calibration, confident, contest, regression, statistics
from cai.compare.agreement import clustered_kappa, score
from cai.compare.bias import terms
from cai.compare.estimates import Estimate, Rate, Scanned
from cai.compare.traces import FIRST, SECOND, TIE

SIMULATIONS = 2000
PAIRS = 240


def generator(seed: int = 17) -> np.random.Generator:
    return np.random.default_rng(seed)


def coverage(draw: Callable[[np.random.Generator], tuple[Estimate | Rate, float]]) -> float:
    """How often the interval holds the truth; `draw` gives one of each."""
    source = generator()
    covered = []
    for _ in range(SIMULATIONS):
        found, truth = draw(source)
        assert found.low is not None
        assert found.high is not None
        covered.append(found.low <= truth <= found.high)
    return float(np.mean(covered))


def clusters(source: np.random.Generator, n: int) -> NDArray[np.int64]:
    """Clusters of one to four pairs, as prompts that are asked more than once."""
    sizes = source.choice([1, 1, 1, 2, 3, 4], n)
    return np.repeat(np.arange(n), sizes)[:n]


def correlated(source: np.random.Generator, p: float, cluster: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Yes or no with probability p, half of the time the same for the whole cluster."""
    own, shared = source.random(len(cluster)) < p, (source.random(cluster.max() + 1) < p)[cluster]
    return np.where(source.random(len(cluster)) < 0.5, shared, own)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half as many resamples, for simulations that make thousands of intervals."""
    monkeypatch.setattr(bootstrap, "RESAMPLES", 2000)


# ---------------------------------------------------------------- coverage of planted truths


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_the_interval_of_a_share_covers_it_where_prompts_are_shared(p: float) -> None:
    def draw(source: np.random.Generator) -> tuple[Rate, float]:
        cluster = clusters(source, PAIRS)
        return statistics.clustered_share(correlated(source, p, cluster), cluster), p

    assert 0.93 <= coverage(draw) <= 0.97


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_the_interval_of_a_share_with_ties_as_half_covers_it(p: float) -> None:
    def draw(source: np.random.Generator) -> tuple[Rate, float]:
        values = source.choice([0.0, 0.5, 1.0], PAIRS, p=[(1 - p) * 0.8, 0.2, p * 0.8])
        return statistics.clustered_share(values, np.arange(PAIRS)), 0.8 * p + 0.1

    assert 0.93 <= coverage(draw) <= 0.97


def test_the_interval_of_a_clustered_mean_covers_it() -> None:
    def draw(source: np.random.Generator) -> tuple[Estimate, float]:
        cluster = clusters(source, PAIRS)
        values = source.exponential(1.0, PAIRS) + source.normal(0, 1, PAIRS)[cluster]
        return statistics.clustered_mean(values, cluster), 1.0

    assert 0.93 <= coverage(draw) <= 0.97


@pytest.mark.parametrize("before, after", [(0.1, 0.1), (0.02, 0.02), (0.005, 0.005), (0.1, 0.02)])
def test_the_intervals_of_a_rare_event_and_of_its_change_cover_them(before: float, after: float) -> None:
    source, covered = generator(), []
    for _ in range(1000):
        cluster = clusters(source, PAIRS)
        first = correlated(source, before, cluster).astype(float)
        last = correlated(source, after, cluster).astype(float)
        share = statistics.bounded_mean(first, cluster)
        change = statistics.bounded_difference(last, first, cluster)
        assert share.low is not None
        assert share.high is not None
        assert change.low is not None
        assert change.high is not None
        covered.append((share.low <= before <= share.high, change.low <= after - before <= change.high))
    assert np.min(np.mean(covered, axis=0)) >= 0.925


@pytest.mark.parametrize("count", [10, 240])
def test_the_intervals_of_a_mean_between_0_and_1_and_of_its_change_cover_them(count: int) -> None:
    source, covered = generator(), []
    for _ in range(1000):
        before, after = source.beta(8, 2, count), source.beta(2, 5, count)
        mean = statistics.bounded_mean(before, np.arange(count))
        change = statistics.bounded_difference(after, before, np.arange(count))
        assert mean.low is not None
        assert mean.high is not None
        assert change.low is not None
        assert change.high is not None
        covered.append((mean.low <= 0.8 <= mean.high, change.low <= 2 / 7 - 0.8 <= change.high))
    assert np.min(np.mean(covered, axis=0)) >= 0.925


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("ai, other", [(0.7, 0.55), (0.9, 0.1)])
def test_the_interval_of_the_lead_over_a_baseline_covers_it(ai: float, other: float) -> None:
    def draw(source: np.random.Generator) -> tuple[Estimate, float]:
        cluster = clusters(source, PAIRS)
        mine = np.where(correlated(source, ai, cluster), FIRST, SECOND)
        its = np.where(correlated(source, other, cluster), FIRST, SECOND)
        return contest.ahead(mine, its, cluster, int(source.integers(2**30)), "it"), ai - other

    assert 0.93 <= coverage(draw) <= 0.97


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("agree", [0.75])
def test_the_interval_of_kappa_covers_it(agree: float) -> None:
    def draw(source: np.random.Generator) -> tuple[Estimate, float]:
        cluster = clusters(source, PAIRS)
        one = source.random(PAIRS) < 0.5
        other = one == correlated(source, agree, cluster)
        # with even sides, chance agreement is one half
        return clustered_kappa(one, other, cluster, int(source.integers(2**30)), "k"), 2 * agree - 1

    assert 0.93 <= coverage(draw) <= 0.97


def test_the_interval_of_the_auroc_covers_it() -> None:
    def draw(source: np.random.Generator) -> tuple[Estimate, float]:
        yes = source.random(PAIRS) < 0.5
        values = source.normal(0, 1, PAIRS) + yes
        return statistics.auroc(values, yes, np.arange(PAIRS)), 0.5 * math.erfc(-0.5)

    assert 0.93 <= coverage(draw) <= 0.97


def test_the_interval_of_a_bias_coefficient_covers_it() -> None:
    def draw(source: np.random.Generator) -> tuple[Estimate, float]:
        cluster = clusters(source, PAIRS)
        features = np.stack([source.normal(0, 1, PAIRS), source.integers(-1, 2, PAIRS)], axis=1)
        first = source.random(PAIRS) < regression.sigmoid(features @ np.array([0.6, -0.4]))
        return terms(["length", "refusal"], features, first, cluster)[0].coefficient, 0.6

    assert 0.93 <= coverage(draw) <= 0.97


def test_the_temperature_that_was_planted_is_found_and_its_interval_covers_it() -> None:
    def draw(source: np.random.Generator) -> tuple[Estimate, float]:
        odds = source.normal(0, 2, 300)
        happened = source.random(300) < regression.sigmoid(odds / 2)  # twice as sure as it should be
        found = calibration.calibration(regression.sigmoid(odds), happened, np.arange(300), 1)
        slope = found.recalibrations[0].slope
        assert slope is not None
        return slope, 0.5

    assert 0.93 <= coverage(draw) <= 0.97


# ---------------------------------------------------------------- independent implementations


def test_the_bootstrap_of_patterns_is_the_bootstrap_of_clusters() -> None:
    source = generator()
    cluster = clusters(source, 300)
    halves = source.integers(-2, 3, 300)
    found = bootstrap.interval(
        [halves, np.ones(300)], cluster, lambda sums: sums[..., 0] / sums[..., 1], 3, "test"
    )
    totals, sizes = np.bincount(cluster, halves), np.bincount(cluster)
    plain = []
    for _ in range(4000):
        drawn = source.integers(0, len(sizes), len(sizes))
        plain.append(totals[drawn].sum() / sizes[drawn].sum())
    assert found.value == pytest.approx(halves.mean())
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(plain, [0.025, 0.975])), abs=0.02)


def test_the_bootstrap_repeats_itself_from_its_seed_and_name() -> None:
    columns = [generator().integers(0, 1000, 100), np.ones(100)]

    def made(seed: int, name: str) -> Estimate:
        return bootstrap.interval(
            columns, np.arange(100), lambda sums: sums[..., 0] / sums[..., 1], seed, name
        )

    assert made(1, "a") == made(1, "a")
    assert made(1, "a") != made(2, "a")
    assert made(1, "a") != made(1, "b")


def test_regression_is_statsmodels_with_cluster_robust_errors() -> None:
    source = generator()
    cluster = clusters(source, 400)
    features = np.stack([source.normal(0, 1, 400), source.integers(-1, 2, 400)], axis=1)
    label = source.random(400) < regression.sigmoid(features @ np.array([0.8, -0.5]))
    found = regression.fit(features, label, cluster)
    reference = sm.Logit(label.astype(float), features).fit(
        disp=0, cov_type="cluster", cov_kwds={"groups": cluster}
    )
    assert found is not None
    assert list(found.coefficients) == pytest.approx(list(reference.params), abs=1e-6)
    errors = np.sqrt(np.diag(found.covariance))
    assert list(errors) == pytest.approx(list(reference.bse), rel=0.01)
    made = terms(["length", "refusal"], features, label, cluster)
    assert [item.p for item in made] == pytest.approx(list(reference.pvalues), rel=0.1)


def test_turning_pairs_round_changes_no_coefficient() -> None:
    source = generator()
    features = source.normal(0, 1, (200, 2))
    label = source.random(200) < regression.sigmoid(features @ np.array([1.0, -1.0]))
    turned = source.random(200) < 0.5
    straight = regression.logistic(features, label)
    other = regression.logistic(np.where(turned[:, None], -features, features), label ^ turned)
    assert straight is not None
    assert other is not None
    assert list(straight) == pytest.approx(list(other))


def test_perfectly_separated_labels_have_no_coefficient() -> None:
    values = np.linspace(-1, 1, 40)[:, None]
    assert regression.logistic(values, values[:, 0] > 0) is None


def test_the_auroc_is_scikit_learns_and_its_error_delongs() -> None:
    source = generator()
    happened = source.random(500) < 0.4
    values = np.round(source.normal(0, 1, 500) + happened, 1)  # with ties
    found = statistics.auroc(values, happened, np.arange(500))
    assert found.value == pytest.approx(roc_auc_score(happened, values))
    yes, no = values[happened], values[~happened]
    over = (yes[:, None] > no[None, :]) + 0.5 * (yes[:, None] == no[None, :])
    variance = over.mean(axis=1).var(ddof=1) / len(yes) + over.mean(axis=0).var(ddof=1) / len(no)
    assert found.low is not None
    assert found.high is not None
    logit_error = (math.log(found.high / (1 - found.high)) - math.log(found.low / (1 - found.low))) / 2 / 1.96
    area = found.value or 0.0
    assert logit_error * area * (1 - area) == pytest.approx(math.sqrt(variance), rel=0.01)
    assert list(statistics.ranks(values)) == list(rankdata(values))


@pytest.mark.parametrize("b, c", [(3, 12), (0, 5), (7, 7), (40, 25), (200, 300)])
def test_mcnemars_test_is_statsmodels(b: int, c: int) -> None:
    reference = mcnemar([[10, b], [c, 10]], exact=b + c < 25, correction=False)
    assert statistics.mcnemar(b, c) == pytest.approx(reference.pvalue)


def scan(groups: list[tuple[int, int]]) -> tuple[Scanned, ...]:
    """How groups of (yes, n) independent values differ from each other."""
    yes = np.concatenate([np.arange(n) < count for count, n in groups])
    group = np.repeat(np.arange(len(groups)), [n for _, n in groups])
    return statistics.apart(yes, group, np.arange(len(yes)), len(groups), 30)


def test_a_group_is_held_against_the_rest_as_statsmodels_does() -> None:
    found = scan([(70, 100), (50, 100), (9, 10)])
    assert found[0].p == pytest.approx(proportions_ztest([70, 59], [100, 110])[1])
    assert found[1].p == pytest.approx(proportions_ztest([50, 79], [100, 110])[1])
    assert (found[2].small, found[2].p, found[2].q, found[2].rank) == (True, None, None, None)
    assert [item.rank for item in found] == [2, 1, None]


def test_groups_of_shared_prompts_that_are_alike_are_rarely_called_different() -> None:
    """100 prompts of 20 pairs each, every prompt of one group: the pairs of a prompt go together."""
    source, cluster = generator(), np.repeat(np.arange(100), 20)
    differs, beaten = [], []
    for _ in range(400):
        share = source.beta(3, 2, 100)[cluster]
        yes = source.random(2000) < share
        differs.append(statistics.apart(yes, cluster % 2, cluster, 2, 30)[0].p)
        other = source.random(2000) < source.beta(3, 2, 100)[cluster]
        beaten.append(statistics.clustered_mcnemar(yes, other, cluster))
    assert 0.01 <= np.mean([p is not None and p < 0.05 for p in differs]) <= 0.08
    assert 0.01 <= np.mean([p is not None and p < 0.05 for p in beaten]) <= 0.08


def test_a_group_that_differs_is_found_where_prompts_are_shared() -> None:
    source, cluster = generator(), np.repeat(np.arange(100), 20)
    share = np.where(np.arange(100) % 2, 0.8, 0.5)[cluster]
    found = statistics.apart(source.random(2000) < share, cluster % 2, cluster, 2, 30)
    assert [item.rank for item in found] == [1, 2]
    assert found[0].p is not None
    assert found[0].p < 0.001


def test_one_prompt_asked_often_is_no_evidence_of_a_group() -> None:
    cluster = np.concatenate([np.zeros(40, int), np.arange(1, 101)])
    found = statistics.apart(np.arange(140) < 80, (cluster > 0).astype(int), cluster, 2, 30)
    assert [item.p for item in found] == [None, None]


def test_labellers_whose_pairs_share_no_prompt_are_compared_as_mcnemar_does() -> None:
    one, other = np.arange(60) < 40, np.arange(60) < 28
    assert statistics.clustered_mcnemar(one, other, np.arange(60)) == statistics.mcnemar(12, 0)


def test_adjusting_for_many_tests_is_benjamini_and_hochbergs() -> None:
    p = [0.01, 0.04, 0.03, 0.005, 0.5, 1.0]
    found = statistics.adjusted([p[0], None, *p[1:]])
    assert found[1] is None
    kept = [item for item in found if item is not None]
    assert kept == pytest.approx(list(false_discovery_control(p)))
    assert kept == pytest.approx(list(multipletests(p, method="fdr_bh")[1]))


def test_of_many_groups_alike_few_are_called_different() -> None:
    source = generator()
    wrong = 0
    for _ in range(200):
        groups = [(int(source.binomial(60, 0.6)), 60) for _ in range(20)]
        wrong += any(item.q is not None and item.q < 0.05 for item in scan(groups))
    assert wrong / 200 <= 0.1


def test_the_rising_curve_is_scikit_learns_on_both_ways_round() -> None:
    source = generator()
    known = np.round(source.random(300), 2)
    happened = source.random(300) < known**2 / (known**2 + (1 - known) ** 2)
    wanted = np.linspace(0, 1, 21)
    both, told = np.concatenate([known, 1 - known]), np.concatenate([happened, ~happened])
    reference = IsotonicRegression(y_min=1 / 302, y_max=1 - 1 / 302, out_of_bounds="clip").fit(both, told)
    found = calibration._rising(known, happened, wanted)
    assert list(found) == pytest.approx(list(reference.predict(wanted)), abs=1e-9)
    assert list(found) == pytest.approx(list(1 - found[::-1]))


def test_suspect_labels_are_cleanlabs() -> None:
    source = generator()
    for _ in range(5):
        truth = source.random(400) < 0.5
        probability = np.clip(np.where(truth, 0.75, 0.25) + source.normal(0, 0.2, 400), 0.01, 0.99)
        label = truth ^ (source.random(400) < 0.15)
        reference = find_label_issues(
            label.astype(int),
            np.stack([1 - probability, probability], axis=1),
            filter_by="confident_learning",
            n_jobs=1,
        )
        assert set(confident.suspects(probability, label)) == set(np.flatnonzero(reference))


def test_no_label_is_suspect_where_there_is_one_kind_of_label() -> None:
    assert len(confident.suspects(np.full(10, 0.2), np.ones(10, bool))) == 0


# ---------------------------------------------------------------- hand-worked


def test_kappa_with_clusters_is_scikit_learns_value() -> None:
    source = generator()
    one, cluster = source.random(300) < 0.4, clusters(source, 300)
    other = np.where(source.random(300) < 0.2, ~one, one)
    found = clustered_kappa(one, other, cluster, 1, "k")
    assert found.value == pytest.approx(cohen_kappa_score(one, other))
    assert found.low is not None
    assert found.high is not None
    assert found.low < (found.value or 0.0) < found.high


def test_calibration_error_beside_what_chance_would_show() -> None:
    # two bins would be needed for two forecasts; ten equal forecasts make one
    forecast, happened = np.full(10, 0.8), np.array([True] * 6 + [False] * 4)
    found = calibration.calibration(forecast, happened, np.arange(10))
    assert found.ece == pytest.approx(0.2)
    assert found.ece_by_chance == pytest.approx(math.sqrt(2 / math.pi) * math.sqrt(10 * 0.16) / 10)
    assert found.rms_debiased == pytest.approx(math.sqrt(0.04 - 0.24 / 9))


def test_a_calibrated_forecast_shows_about_the_error_that_chance_gives() -> None:
    source = generator()
    shown, expected, debiased = [], [], []
    for _ in range(200):
        forecast = source.random(500)
        found = calibration.calibration(forecast, source.random(500) < forecast, np.arange(500))
        shown.append(found.ece)
        expected.append(found.ece_by_chance)
        debiased.append((found.rms_debiased or 0.0) ** 2)
    assert np.mean(np.array(shown, float)) == pytest.approx(np.mean(np.array(expected, float)), rel=0.05)
    assert np.mean(debiased) < 0.0005


def test_recalibration_never_sees_the_clusters_that_it_is_applied_to() -> None:
    cluster = np.repeat(np.arange(60), 3)
    fold = regression.folds(cluster, 1, "test")
    assert all(len(set(fold[cluster == number])) == 1 for number in range(60))
    assert set(fold) == set(range(regression.FOLDS))
    seen: list[tuple[set[Any], set[Any]]] = []

    def make(fitted: NDArray[np.bool_], applied: NDArray[np.bool_]) -> NDArray[np.float64]:
        seen.append((set(cluster[fitted]), set(cluster[applied])))
        return np.zeros(np.count_nonzero(applied))

    regression.cross_fitted(fold, make)
    assert all(not fitted & applied for fitted, applied in seen)
    assert set().union(*(applied for _, applied in seen)) == set(range(60))


def test_recalibrating_an_overconfident_forecast_lowers_its_loss_and_a_sound_one_gains_nothing() -> None:
    source = generator()
    odds = source.normal(0, 2, 2000)
    for factor, better in ((0.4, True), (1.0, False)):
        happened = source.random(2000) < regression.sigmoid(factor * odds)
        found = calibration.calibration(regression.sigmoid(odds), happened, np.arange(2000), 1)
        for item in found.recalibrations:
            assert item.uses_human_labels
            assert item.difference.value == pytest.approx((item.after.value or 0) - (item.before.value or 0))
            assert ((item.difference.high or 0.0) < 0) is better


def test_scores_say_one_for_the_humans_choice_and_half_for_silence() -> None:
    assert list(score(np.array([FIRST, SECOND, TIE, 2]))) == [1.0, 0.0, 0.5, 0.5]
    assert (
        contest.ahead(np.array([FIRST, FIRST]), np.array([SECOND, TIE]), np.arange(2), 0, "x").value == 0.75
    )


def test_a_lead_over_silence_stays_within_half() -> None:
    ai, cluster = np.full(20, FIRST), np.arange(20)
    found, own = contest.ahead(ai, np.full(20, TIE), cluster, 0, "chance"), statistics.rate(20, 20)
    assert own.low is not None
    assert (found.value, found.low, found.high) == pytest.approx((0.5, own.low - 0.5, 0.5))
    turned = contest.ahead(np.full(20, SECOND), np.full(20, TIE), cluster, 0, "chance")
    assert (turned.value, turned.low, turned.high) == pytest.approx((-0.5, -0.5, 0.5 - own.low))


def test_a_lead_without_exception_on_a_few_pairs_is_no_certainty() -> None:
    found = contest.ahead(np.full(8, FIRST), np.full(8, SECOND), np.arange(8), 0, "x")
    assert (found.value, found.high) == (1.0, 1.0)
    # Wilson's lower end for 8 of 8 is 0.6756, and the lead is twice the share less one
    assert found.low == pytest.approx(2 * 0.675592 - 1, abs=1e-5)
