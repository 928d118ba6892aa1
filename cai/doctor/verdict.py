"""From answers to known-answer pairs to a verdict, by rules that are written down here.

A pair is *right* where the mean over both orders favours the better response, *decided* where it
favours either; k of n decided pairs are right. The test is the sign test: how probable k or more
would be of a coin, P(K >= k | n, 1/2).

In this order:

 1. Half or more of the judgements abstain (less than `min_option_mass` on the options): the answer
    position is not one. `low_option_mass`, or its cause (examine.py).
 2. Swapping the responses moves P(A) by less than SWING on average: `always_a` or `always_b` where A
    or B holds more than 80 %, else `ignores_text`.
 3. A (or B) is chosen in nine of ten judgements, or the same letter in both orders of nine of ten
    pairs, and the pairs are not right beyond doubt (p < BEYOND_DOUBT): `always_a`, `always_b`,
    `ignores_text`.
 4. After the first 16 pairs: sound where p < EARLY and the turned questions are no worse than even;
    else the other pairs are asked too.
 5. In the end: sound where p < LATE. Turned questions that are wrong (at most LATE_TURNED of a coin)
    are `polarity_turned` all the same: a fault if the run asks such questions, else a warning.
 6. What is left is named by what explains the pairs best, if it does so 20 times better than a coin
    does: `labels_swapped`, `polarity_turned`, `longer_wins`, `shorter_wins` (each taken to hold in
    85 % of the pairs); else `at_chance`.

Simulated (3,000 judges each, single judgements with independent errors): with these 32 pairs a judge
that is right in 85 % of single judgements is stopped less than once in a thousand times, one that is
right in 80 % in three to six of a thousand, in 75 % in three to six of a hundred (as `at_chance`,
never as swapped); a coin passes about once in a hundred times.

What this module does not know: engines, templates, how anything was asked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cai.doctor.faults import Fault, Warned
from cai.share import Share

SWING = 0.02
ALWAYS_SHARE = 0.9
SATURATED = 0.8
BEYOND_DOUBT = 0.001
EARLY = 0.0025
LATE = 0.011
LATE_TURNED = 0.06
LEANS_SHARE = 0.8
HOLDS = 0.85
"""How often an explanation such as `longer wins` is taken to hold."""
LEAST_RATIO = 20.0
"""How much better than a coin an explanation must be."""


@dataclass(frozen=True, slots=True)
class PairAnswer:
    """Both judgements of one pair. `p_a`: P(A) where the better response is A, and where it is B.

    `right`: the mean probability that the better response is better, order and polarity undone.
    """

    p_a: tuple[float, float]
    right: float
    turned: bool
    longer_is_better: bool

    @property
    def decided(self) -> bool:
        """Whether the mean favours either response."""
        return abs(self.right - 0.5) > 1e-9

    @property
    def is_right(self) -> bool:
        """Whether it favours the better one."""
        return self.decided and self.right > 0.5


@dataclass(frozen=True, slots=True)
class Figures:
    """What the pairs show.

    `right`: right of decided pairs, and the same for questions as they are and turned ones;
    `chose_a`: judgements that favour A; `consistent`: pairs whose orders agree; `swing`: mean
    change of P(A) when the responses change places; `mean_a`: mean P(A).
    """

    right: Share
    straight: Share
    turned: Share
    chose_a: Share
    consistent: Share
    swing: float
    mean_a: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """`fault` None: sound. `settled` False: the other pairs are needed."""

    fault: Fault | None = None
    warnings: tuple[Warned, ...] = ()
    settled: bool = True


def figures_of(pairs: Sequence[PairAnswer]) -> Figures:
    """Count."""
    decided = [pair for pair in pairs if pair.decided]
    letters = [p for pair in pairs for p in pair.p_a]
    count = max(1, len(pairs))
    return Figures(
        right=_rate(decided),
        straight=_rate([pair for pair in decided if not pair.turned]),
        turned=_rate([pair for pair in decided if pair.turned]),
        chose_a=Share(sum(p > 0.5 for p in letters), sum(p != 0.5 for p in letters)),
        consistent=Share(sum((pair.p_a[0] - 0.5) * (pair.p_a[1] - 0.5) < 0 for pair in pairs), len(pairs)),
        swing=math.fsum(abs(pair.p_a[0] - pair.p_a[1]) for pair in pairs) / count,
        mean_a=math.fsum(letters) / max(1, len(letters)),
    )


def verdict(pairs: Sequence[PairAnswer], asks_turned: bool, final: bool) -> Verdict:
    """Hold pairs to the rules 2 to 6.

    `asks_turned`: whether the judge's own constitution has questions that ask for the worse
    response; `final`: whether there are no more pairs to ask.
    """
    figures = figures_of(pairs)
    chance = _coin(figures.right)
    fault = _same_whatever(pairs, figures, chance)
    if fault is not None:
        return Verdict(fault)
    turned_bad = _is_turned(figures.turned) and (figures.straight.share or 0) > 0.5
    if not final:
        even = 2 * figures.turned.k >= figures.turned.n
        sound = chance < EARLY and even
        return Verdict(warnings=_leaning(figures), settled=sound)
    if chance < LATE and not turned_bad:
        return Verdict(warnings=_leaning(figures))
    if not asks_turned and figures.turned.n and _coin(figures.straight) < LATE:
        return Verdict(warnings=(*_leaning(figures), Warned.POLARITY_UNSURE))
    return Verdict(Fault.POLARITY_TURNED if turned_bad else _best_explanation(pairs))


def _same_whatever(pairs: Sequence[PairAnswer], figures: Figures, chance: float) -> Fault | None:
    """Rules 2 and 3: the letter says nothing of the responses."""
    if figures.swing < SWING:
        if figures.mean_a > SATURATED:
            return Fault.ALWAYS_A
        return Fault.ALWAYS_B if figures.mean_a < 1 - SATURATED else Fault.IGNORES_TEXT
    if chance < BEYOND_DOUBT:
        return None
    chose_a = figures.chose_a.share
    if chose_a is not None and chose_a >= ALWAYS_SHARE:
        return Fault.ALWAYS_A
    if chose_a is not None and chose_a <= 1 - ALWAYS_SHARE:
        return Fault.ALWAYS_B
    same_letter = sum((pair.p_a[0] - 0.5) * (pair.p_a[1] - 0.5) > 0 for pair in pairs)
    return Fault.IGNORES_TEXT if same_letter >= ALWAYS_SHARE * len(pairs) else None


def _is_turned(rate: Share) -> bool:
    return rate.n >= 4 and _coin(Share(rate.n - rate.k, rate.n)) < LATE_TURNED


def _leaning(figures: Figures) -> tuple[Warned, ...]:
    share = figures.chose_a.share
    leans = share is not None and not 1 - LEANS_SHARE < share < LEANS_SHARE
    return (Warned.LEANS_TO_A_PLACE,) if leans else ()


def _best_explanation(pairs: Sequence[PairAnswer]) -> Fault:
    """Rule 6."""
    decided = [pair for pair in pairs if pair.decided]
    predicted = {
        Fault.LABELS_SWAPPED: [not pair.is_right for pair in decided],
        Fault.POLARITY_TURNED: [pair.is_right != pair.turned for pair in decided],
        Fault.LONGER_WINS: [_prefers_longer(pair) for pair in decided],
        Fault.SHORTER_WINS: [not _prefers_longer(pair) for pair in decided],
    }
    coin = len(decided) * math.log(0.5)
    likelihoods = {
        fault: sum(math.log(HOLDS if hit else 1 - HOLDS) for hit in hits) - coin
        for fault, hits in predicted.items()
    }
    best = max(likelihoods, key=lambda fault: likelihoods[fault])
    return best if likelihoods[best] >= math.log(LEAST_RATIO) else Fault.AT_CHANCE


def _prefers_longer(pair: PairAnswer) -> bool:
    """Whether the response that was named is the longer one. Of a turned question, too, what counts
    is the response named, not the one preferred in the end."""
    named_better = pair.is_right != pair.turned
    return named_better == pair.longer_is_better


def _rate(decided: Sequence[PairAnswer]) -> Share:
    return Share(sum(pair.is_right for pair in decided), len(decided))


def _coin(rate: Share) -> float:
    """How probable so many or more would be of a coin; 1 of none."""
    tail: int = sum(math.comb(rate.n, k) for k in range(rate.k, rate.n + 1))
    return tail / int(2**rate.n)
