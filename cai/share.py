"""k of n: a share with its 95 % interval, by Wilson's formula.

What this module does not know: what is counted, how a share is written.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

Z = 1.959963984540054
"""The normal distribution's 97.5th percentile."""


def wilson(count: float, n: float) -> tuple[float, float]:
    """The 95 % interval of a share `count` / `n`, within 0 and 1; `n` is above 0.

    Both may be fractional: halves for ties, an effective sample size.
    Source: Wilson 1927; Brown, Cai, DasGupta 2001, eq. 4.
    """
    share = count / n
    middle = share + Z**2 / (2 * n)
    half = Z * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return max(0.0, (middle - half) / (1 + Z**2 / n)), min(1.0, (middle + half) / (1 + Z**2 / n))


@dataclass(frozen=True, slots=True)
class Share:
    """k of n."""

    k: int
    n: int

    @property
    def share(self) -> float | None:
        """k / n, None where n is 0."""
        return self.k / self.n if self.n else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's 95 % interval, None where n is 0."""
        return wilson(self.k, self.n) if self.n else None
