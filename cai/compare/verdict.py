"""The verdict: one paragraph in plain words, made from the numbers and nothing else.

It says how far the AI's labels can be trusted, beside which baseline, what speaks against them,
and what to do next. Thresholds stand here, in one place; each sentence names its number.

What this module does not know: how a figure is computed, how the paragraph is shown.
"""

from __future__ import annotations

from cai.compare.figures import Comparison, Estimate, Labeller, Rate
from cai.dataset.labels import ROUNDING

FEW_PAIRS = 200
LOW_COVERAGE = 0.8
LOW_MASS = 0.8
LOW_CONSISTENCY = 0.7
ABSTENTION = 0.1
"""A share of single judgements that abstained above which it is worth a word."""
PLACE = 0.05
"""How far from one half the share of first answers is worth a word."""
LENGTH = 0.1
"""How far apart AI and human may be in how often they prefer the longer response."""
SLOPE = 0.8
"""A recalibration slope below this (or above its inverse) is worth a word."""


BOTH_HARMFUL = 0.05
"""A share of pairs rated harmful on both sides from which it is worth a word."""
STOCK = 0.25
"""A share of revisions with a stock phrase from which it is worth a word."""


def verdict(comparison: Comparison) -> list[str]:
    """The paragraph, a sentence an item."""
    found = comparison.agreement
    if found.judged == 0:
        return ["No human pair was judged, so these labels cannot be compared with human ones."]
    if found.labelled == 0:
        return _nothing_labelled(comparison)
    return [
        _agreement(comparison),
        _baseline(comparison),
        *_caveats(comparison),
        *_who_is_right(comparison),
        _next(comparison),
    ]


def _nothing_labelled(comparison: Comparison) -> list[str]:
    """Ties by a threshold are mended in the recipe, a judge that knows no side or says none is not."""
    found = comparison.agreement
    counts = f"{found.tied:,} ties and {found.abstained:,} abstentions"
    made = [f"The judge gave no usable label on any of {found.judged:,} human pairs: {counts}."]
    reached = max(
        (max(abs(item.low - 0.5), abs(item.high - 0.5)) for item in comparison.calibration.bins), default=0
    )
    threshold = float(comparison.settings.get("tie_threshold", 0.0))
    if found.tied >= found.abstained and reached > ROUNDING:
        floor = comparison.settings.get("noise_floor") or 0.0
        measured = " (the noise floor that was measured)" if floor >= threshold else ""
        made.append(
            f"Its probabilities reach {0.5 + reached:.2f}, and a tie is whatever lies within {threshold:g} of one "
            f"half{measured}."
        )
        if measured:
            return [
                *made,
                "Next: judge with more samples or a stronger judge, so that answers stand above the noise.",
            ]
        return [
            *made,
            "Next: lower `dataset.tie_threshold` in the recipe, and build the dataset again (`cai dataset`).",
        ]
    if found.tied >= found.abstained:
        made.append("Its two orders cancel each other: it prefers a place, or neither response.")
    made += _judge_caveats(comparison)
    return [*made, "Next: ask the judge differently (template, prefix, another model) before anything else."]


def _percent(value: float | None) -> str:
    return "none" if value is None else f"{100 * value:.1f} %"


def _with_interval(rate: Rate | Estimate) -> str:
    if rate.value is None or rate.low is None or rate.high is None:
        return _percent(rate.value)
    return f"{100 * rate.value:.1f} % ({100 * rate.low:.1f} to {100 * rate.high:.1f})"


def _agreement(comparison: Comparison) -> str:
    found = comparison.agreement
    return (
        f"The AI agrees with the human label on {_with_interval(found.decided)} of the {found.labelled:,} "
        f"human pairs that it labels, {_with_interval(found.coverage)} of those judged."
    )


def near_chance(comparison: Comparison) -> bool:
    """Whether the agreement cannot be told from a coin's."""
    rate = comparison.agreement.decided
    return rate.low is not None and rate.high is not None and rate.low <= 0.5 <= rate.high


def turned(comparison: Comparison) -> bool:
    """Whether the AI agrees less often than a coin would."""
    high = comparison.agreement.decided.high
    return high is not None and high < 0.5


def best_baseline(comparison: Comparison) -> Labeller | None:
    """The strongest rule that needs no judge at all."""
    lines = comparison.main.lines
    return next((line for line in lines if line.name == comparison.main.best_baseline), None)


def beats_baseline(comparison: Comparison) -> bool:
    """Whether the AI is ahead of the best baseline, interval and all."""
    best = best_baseline(comparison)
    return best is not None and best.ahead.low is not None and best.ahead.low > 0


def _baseline(comparison: Comparison) -> str:
    if turned(comparison):
        return "That is less than a coin would reach: some sign may be turned, or the principles ask for the opposite of what people preferred."
    if near_chance(comparison):
        return "That cannot be told from a coin."
    best = best_baseline(comparison)
    if best is None or best.ahead.value is None or best.ahead.low is None or best.ahead.high is None:
        return "There is no baseline to hold it against."
    points = (
        f"{100 * best.ahead.value:+.1f} points ({100 * best.ahead.low:+.1f} to {100 * best.ahead.high:+.1f})"
    )
    rule = f'the best rule that compares without a judge ("{best.name}", {_percent(best.ties_half.value)} with ties as half)'
    if best.ahead.low > 0:
        return f"It is ahead of {rule} by {points}."
    if best.ahead.high < 0:
        return f"It is behind {rule}: {points}, so that rule would do better."
    return f"It cannot be told from {rule}: {points}."


def _caveats(comparison: Comparison) -> list[str]:
    made = []
    found = comparison.agreement
    if found.labelled < FEW_PAIRS:
        made.append(f"{found.labelled:,} labelled pairs are few: the intervals are wide.")
    made += _judge_caveats(comparison)
    if found.coverage.value is not None and found.coverage.value < LOW_COVERAGE:
        made.append(
            f"{_with_interval(_rest(found.coverage))} of the judged pairs have no label (ties and abstentions)."
        )
    return made + _length(comparison) + _calibration(comparison) + _texts(comparison)


def _judge_caveats(comparison: Comparison) -> list[str]:
    """What the judge's own behaviour speaks against."""
    judging = comparison.judging.get("human")
    if judging is None:
        return []
    made = []
    mass, consistency = judging.option_mass, judging.order_consistency
    silent, place = judging.abstention, judging.first_position
    if mass.value is not None and mass.value < LOW_MASS:
        made.append(
            f"Only {_with_interval(mass)} of the judge's probability lies on the options: it mostly wants to say something else."
        )
    if silent.value is not None and silent.value > ABSTENTION:
        made.append(f"The judge abstained in {_with_interval(silent)} of its judgements.")
    if place.value is not None and place.low is not None and place.high is not None:
        clear = place.low > 0.5 or place.high < 0.5
        if clear and abs(place.value - 0.5) > PLACE:
            made.append(
                f"The judge favours a place: it answers A in {_with_interval(place)} of its judgements "
                "(asking in both orders cancels this, at the price of undecided pairs)."
            )
    if consistency.value is not None and consistency.value < LOW_CONSISTENCY:
        made.append(
            f"The two orders agree in only {_with_interval(consistency)} of the cases, so many labels rest on little."
        )
    return made


def _rest(rate: Rate) -> Estimate:
    """The share of everything else."""
    if rate.value is None or rate.low is None or rate.high is None:
        return Estimate(None, None, None, rate.n)
    return Estimate(1 - rate.value, 1 - rate.high, 1 - rate.low, rate.n)


def _texts(comparison: Comparison) -> list[str]:
    """What the texts themselves suffer from, whoever labels them."""
    made = []
    both = comparison.harm.both if comparison.harm is not None else None
    if both is not None and both.value is not None and both.value >= BOTH_HARMFUL:
        made.append(
            f"It rates both responses as harmful in {_with_interval(both)} of the pairs: there is no good choice."
        )
    stock = comparison.revisions.phrase_share if comparison.revisions is not None else None
    if stock is not None and stock.value is not None and stock.value >= STOCK:
        made.append(f"{_with_interval(stock)} of the revisions hold a stock phrase, a sign of over-training.")
    return made


def _length(comparison: Comparison) -> list[str]:
    ai, human = comparison.bias("ai"), comparison.bias("human")
    if ai is None or human is None or ai.longer.value is None or human.longer.value is None:
        return []
    gap = ai.longer.value - human.longer.value
    low, high = ai.longer.low, ai.longer.high
    told = low is not None and high is not None and not low <= human.longer.value <= high
    if abs(gap) <= LENGTH or not told:
        return []
    taste = "longer" if gap > 0 else "shorter"
    return [
        f"It likes {taste} responses more than people do: it takes the longer one in {_with_interval(ai.longer)} "
        f"of the pairs, people in {_with_interval(human.longer)}."
    ]


def _calibration(comparison: Comparison) -> list[str]:
    for item in comparison.calibration.recalibrations:
        slope, gain = item.slope, item.difference.high
        if item.method != "temperature" or slope is None or slope.value is None or gain is None or gain >= 0:
            continue
        if slope.value <= 0:
            continue
        if slope.value < SLOPE:
            return [
                f"Its probabilities are too sure: their log-odds are best multiplied by {slope.value:.2f}."
            ]
        if slope.value > 1 / SLOPE:
            return [
                f"Its probabilities are too cautious: their log-odds are best multiplied by {slope.value:.2f}."
            ]
    return []


def _who_is_right(comparison: Comparison) -> list[str]:
    truth = comparison.planted
    if truth is not None and truth.ai.value is not None and truth.human.value is not None:
        return [
            f"The truth was planted here: the AI is right in {_with_interval(truth.ai)}, "
            f"the human label in {_with_interval(truth.human)}."
        ]
    person = comparison.person
    if person is not None and person.ai.weighted.value is not None:
        return [
            f"By a person's answers to a blind sample of {person.items:,} pairs ({person.answered:,} answered), the AI is "
            f"right in {_with_interval(person.ai.weighted)} of what a person can decide, the human label in {_with_interval(person.human.weighted)}; "
            f"where the two differ, the person sides with the AI in {_with_interval(person.differ.sided.weighted)}."
        ]
    if comparison.lists and any(item.name == "flips" and item.total for item in comparison.lists):
        return ["Where the two differ, these labels alone cannot say who is right."]
    return []


def _next(comparison: Comparison) -> str:
    judging = comparison.judging.get("human")
    mass = judging.option_mass.value if judging is not None else None
    if turned(comparison):
        return "Next: read a few disagreements with `cai show`, and look for a turned polarity or label."
    if mass is not None and mass < LOW_MASS:
        return "Next: see what the judge says instead (`cai show`), and mend template or prefix; then judge again."
    if not beats_baseline(comparison) and comparison.agreement.labelled < FEW_PAIRS:
        return "Next: judge more pairs before drawing any conclusion."
    if near_chance(comparison):
        return "Next: try a stronger judge, or letting it reason first; do not train on these labels."
    if not beats_baseline(comparison):
        return "Next: do not pay for this judge yet; try a stronger one, other principles, or letting it reason first."
    if comparison.person is not None:
        return "Next: read the best supported flips, and those that the person decided for the human label."
    return "Next: let a person judge a blind sample of disagreements (`cai review`), and read the best supported flips."
