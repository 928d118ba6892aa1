"""Figures as text, for the page and for Markdown: always the value, its interval, its count.

What this module does not know: where a figure stands, what it is about.
"""

from __future__ import annotations

from cai.compare.figures import Estimate, Rate

NONE = "–"


def share(value: float | None, digits: int = 1) -> str:
    """`88.0 %`"""
    return NONE if value is None else f"{100 * value:.{digits}f} %"


def number(value: float | None, digits: int = 3) -> str:
    """`0.759`; a minus sign where it is negative."""
    return NONE if value is None else f"{value:.{digits}f}".replace("-", "−")


def signed(value: float | None, digits: int = 3) -> str:
    """`+0.120`"""
    return NONE if value is None else f"{value:+.{digits}f}".replace("-", "−")


def rate_interval(rate: Rate, digits: int = 1) -> str:
    """`82.7 to 91.9`, in per cent."""
    if rate.low is None or rate.high is None:
        return NONE
    return f"{100 * rate.low:.{digits}f} to {100 * rate.high:.{digits}f}"


def interval(estimate: Estimate, digits: int = 3) -> str:
    """`0.652 to 0.837`"""
    if estimate.low is None or estimate.high is None:
        return NONE
    return f"{number(estimate.low, digits)} to {number(estimate.high, digits)}"


def points(estimate: Estimate) -> str:
    """A difference of shares: `+3.1 points (+1.0 to +5.2)`."""
    if estimate.value is None:
        return NONE
    value = signed(100 * estimate.value, 1)
    if estimate.low is None or estimate.high is None:
        return f"{value} points"
    return f"{value} points ({signed(100 * estimate.low, 1)} to {signed(100 * estimate.high, 1)})"


def difference_text(estimate: Estimate, digits: int = 3) -> str:
    """A difference of means: `−0.105 (−0.140 to −0.070)`."""
    if estimate.value is None:
        return NONE
    value = signed(estimate.value, digits)
    if estimate.low is None or estimate.high is None:
        return value
    return f"{value} ({signed(estimate.low, digits)} to {signed(estimate.high, digits)})"


def rate_text(rate: Rate) -> str:
    """`88.0 % (82.7 to 91.9, n 192)`, or `none` where nothing was counted."""
    if rate.value is None:
        return "none"
    return f"{share(rate.value)} ({rate_interval(rate)}, n {rate.n:,})"


def share_text(estimate: Estimate | Rate) -> str:
    """A share without its count: `88.0 % (82.7 to 91.9)`."""
    if estimate.value is None:
        return NONE
    if estimate.low is None or estimate.high is None:
        return share(estimate.value)
    return f"{share(estimate.value)} ({100 * estimate.low:.1f} to {100 * estimate.high:.1f})"


def estimate_text(estimate: Estimate, digits: int = 3) -> str:
    """`0.759 (0.652 to 0.837)`, or `none`."""
    if estimate.value is None:
        return "none"
    if estimate.low is None or estimate.high is None:
        return number(estimate.value, digits)
    return f"{number(estimate.value, digits)} ({interval(estimate, digits)})"


def p_value(value: float | None) -> str:
    """`0.03`, `< 0.001`"""
    if value is None:
        return NONE
    return "< 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"
