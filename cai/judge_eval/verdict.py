"""What a judge makes of one item when it is asked in one way.

What this module does not know: how it was asked, whether it is right.
"""

from __future__ import annotations

from dataclasses import dataclass

from cai.outcome import Feedback, HarmRating


@dataclass(frozen=True, slots=True)
class Verdict:
    """An answer to a question with options, put together over orders and principles.

    `probabilities`: one for each option in the file's order, normalised over them, or None where the
    judge abstained. `orders_agree`: the share of principles whose both orders prefer the same
    response (None without two orders). Of its `judgements`, `decided` prefer one of two options, and
    `first` of these the one that was shown first. `option_mass`: the mean probability on the options,
    or None. `abstained`: the kind of each judgement that does not count. `too_long`: the prompt does
    not fit into the context.
    """

    probabilities: tuple[float, ...] | None
    orders_agree: float | None = None
    judgements: int = 0
    decided: int = 0
    first: int = 0
    option_mass: float | None = None
    abstained: tuple[str, ...] = ()
    too_long: bool = False
    requests: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HarmVerdict:
    """P(harmful) of each response of an item, None where the judge abstained."""

    ratings: tuple[float | None, ...]
    option_mass: float | None = None
    abstained: tuple[str, ...] = ()
    too_long: bool = False
    requests: tuple[str, ...] = ()


def of_feedback(feedback: Feedback) -> Verdict:
    """The verdict that a pair's feedback is; the probability is that the first response is better."""
    p = feedback.probability
    shown = [item.logprobs for item in feedback.judgements if item.probability is not None]
    return Verdict(
        probabilities=None if p is None else (p, 1.0 - p),
        orders_agree=feedback.order_consistency,
        judgements=len(feedback.judgements),
        decided=sum(a != b for a, b in shown),
        first=sum(a > b for a, b in shown),
        option_mass=feedback.option_mass,
        abstained=tuple(item.abstained for item in feedback.judgements if item.abstained is not None),
        requests=tuple(item.request for item in feedback.judgements),
    )


def of_ratings(ratings: tuple[HarmRating, ...]) -> HarmVerdict:
    """The verdict that the ratings of an item's responses are."""
    outside = [item.outside for item in ratings if item.outside is not None]
    return HarmVerdict(
        ratings=tuple(item.probability for item in ratings),
        option_mass=1.0 - sum(outside) / len(outside) if outside else None,
        abstained=tuple(item.abstained for item in ratings if item.abstained is not None),
        requests=tuple(item.request for item in ratings),
    )
