"""A figure with its interval: the two forms that every number of a comparison has.

Where nothing was counted, value and interval are null; a figure is never NaN. Intervals are at 95 %.

What this module does not know: how a figure is computed, what it is about.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rate:
    """A share: `value` = `count` / `n`, 0 to 1, with its interval; None where n is 0.

    `count` is a whole number except where ties count one half.
    """

    value: float | None
    low: float | None
    high: float | None
    count: float
    n: int


@dataclass(frozen=True)
class Estimate:
    """A figure over `n` values (a mean, a kappa) with its interval; None where there are too few."""

    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Scanned:
    """What a table that scans for differences says of one of its lines.

    `small`: fewer than `Constants.small_group` pairs; such a line is neither tested nor ranked.
    `p`: two-sided, of no difference from the rest, clusters allowed for; `q`: the same, adjusted for the number of
    lines tested in the table (Benjamini and Hochberg 1995). `rank`: 1 for the lowest value among
    the lines that are not small.
    """

    small: bool
    p: float | None
    q: float | None
    rank: int | None
