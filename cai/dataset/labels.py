"""What a probability says: which response is better, a tie, or nothing.

What this module does not know: where probabilities come from, what becomes of a label.
"""

from __future__ import annotations

from typing import Literal

Label = Literal["first", "second", "tie"]

ROUNDING = 1e-9
"""How far rounding may carry a probability: means of judgements that cancel exactly can come out
an ulp beside 0.5, and 0.55 is not quite 0.05 above it. Whoever asks on which side of 0.5 one lies, or
ranks by it, takes what is within ROUNDING as 0.5."""


def label(probability: float | None, tie_threshold: float) -> Label | None:
    """Which response of a pair is better, or `tie`; None for an abstention (no probability).

    `probability`: that the first response is better, 0 to 1. `tie_threshold`: how close to 0.5
    is a tie, 0 to 0.5; exactly 0.5 always is.
    """
    if probability is None:
        return None
    if abs(probability - 0.5) <= tie_threshold + ROUNDING:
        return "tie"
    return "first" if probability > 0.5 else "second"
