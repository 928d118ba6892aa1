"""Shares: k of n with Wilson's interval, by hand and by statsmodels."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from cai.share import Share, wilson


def test_eight_of_ten_by_hand() -> None:
    # p = 0.8, n = 10, z = 1.96: (0.8 + 0.19207 -+ 1.96 sqrt(0.016 + 0.009604)) / 1.38415
    assert Share(8, 10).share == 0.8
    assert Share(8, 10).interval == pytest.approx((0.4901625, 0.9433178), abs=1e-6)


def test_none_of_ten_by_hand() -> None:
    # the upper bound is z^2 / (n + z^2) = 3.8415 / 13.8415
    assert Share(0, 10).interval == pytest.approx((0.0, 0.2775328), abs=1e-6)


def test_nothing_counted_is_none_and_never_nan() -> None:
    assert Share(0, 0).share is None
    assert Share(0, 0).interval is None


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_the_one_of_statsmodels(counted: tuple[int, int]) -> None:
    k, n = counted
    expected = proportion_confint(k, n, alpha=0.05, method="wilson")
    assert Share(k, n).interval == pytest.approx(expected, abs=1e-12)


@given(st.floats(0, 1), st.floats(0.5, 1e6))
def test_an_interval_holds_its_share_and_lies_within_0_and_1(share: float, n: float) -> None:
    low, high = wilson(share * n, n)
    assert 0 <= low <= share + 1e-9
    assert share - 1e-9 <= high <= 1
    assert low < high
