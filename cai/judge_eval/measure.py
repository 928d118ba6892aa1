"""Figures from verdicts: how often the judge is right, how sure it is, and how that fits together.

What this module does not know: how a judge is asked, how figures are shown.
Source: 2212.08073, section 4.1 and figure 9 (accuracy and calibration on labelled comparisons);
2309.00267, section 3 (the judge's alignment with labels, both orders).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cai.compare import bootstrap, statistics
from cai.compare.calibration import FLOOR, calibration
from cai.compare.estimates import Estimate
from cai.compare.figures import Calibration
from cai.compare.statistics import Floats
from cai.dataset.labels import ROUNDING
from cai.digest import draw
from cai.judge_eval.figures import Difference, GroupFigures, WayFigures
from cai.judge_eval.item import Item
from cai.judge_eval.verdict import Verdict
from cai.judge_eval.ways import Way

ALL = "all"
NONE = Estimate(None, None, None, 0)
Ints = NDArray[np.int64]

_PARTS = 2520
"""A right answer in whole parts, so that one of up to ten options that tie is whole too."""


def clusters(items: Sequence[Item]) -> Ints:
    """A number for each item; those whose conversations begin with the same human turn share it."""
    names: dict[str, int] = {}
    found = []
    for item in items:
        said = next((turn.text for turn in item.prompt if turn.role == "user"), f"\0{item.id}")
        found.append(names.setdefault(" ".join(said.casefold().split()), len(names)))
    return np.array(found, np.int64)


@dataclass(frozen=True)
class Asked:
    """One way's verdicts in the order of their items. `score`: 1 right, 0 wrong, a half, or NaN."""

    items: tuple[Item, ...]
    verdicts: tuple[Verdict, ...]
    cluster: Ints
    score: Floats

    def where(self, chosen: Sequence[int]) -> Asked:
        """Some of them."""
        return Asked(
            tuple(self.items[number] for number in chosen),
            tuple(self.verdicts[number] for number in chosen),
            self.cluster[list(chosen)],
            self.score[list(chosen)],
        )


def asked(items: Sequence[Item], verdicts: Mapping[int, Any], cluster: Ints) -> Asked:
    """One way's verdicts; `verdicts` and `cluster` by the item's number."""
    numbers = sorted(verdicts)
    chosen = tuple(items[number] for number in numbers)
    found = tuple(verdicts[number] for number in numbers)
    scores = [score(item, verdict) for item, verdict in zip(chosen, found, strict=True)]
    return Asked(chosen, found, cluster[numbers], np.array(scores, np.float64))


def score(item: Item, verdict: Verdict) -> float:
    """1 where the label's option is the most probable, a share where several are, else 0; NaN: no answer."""
    if verdict.probabilities is None or item.right is None:
        return math.nan
    top = max(verdict.probabilities)
    best = [index for index, p in enumerate(verdict.probabilities) if top - p <= ROUNDING]
    return 1.0 / len(best) if item.right in best else 0.0


def by_category(items: Sequence[Item]) -> dict[str, list[int]]:
    """Numbers of the items of each category, in the order of their names; none where there is only one."""
    found: dict[str, list[int]] = {}
    for number, item in enumerate(items):
        found.setdefault(item.category, []).append(number)
    return dict(sorted(found.items())) if len(found) > 1 else {}


def way_figures(way: Way, found: Asked, not_for: int, seed: int) -> WayFigures:
    """All figures of one way."""
    categories = by_category(found.items)
    return WayFigures(
        way=way.name,
        asks=way.asks,
        not_for=not_for,
        overall=_group(ALL, found, seed),
        categories=tuple(_group(name, found.where(own), seed) for name, own in categories.items()),
    )


def _group(category: str, found: Asked, seed: int) -> GroupFigures:
    there = np.flatnonzero(~np.isnan(found.score))
    tied = np.array([_ties(found.verdicts[number]) for number in there], np.bool_)
    scores, cluster = found.score[there], found.cluster[there]
    too_long = sum(verdict.too_long for verdict in found.verdicts)
    standing = found.where(there.tolist())
    losses = [_losses(item, verdict) for item, verdict in zip(standing.items, standing.verdicts, strict=True)]
    log_loss, brier = (np.array([loss[place] for loss in losses], np.float64) for place in (0, 1))
    return GroupFigures(
        category=category,
        small=len(found.items) < statistics.SMALL_GROUP,
        asked=len(found.items),
        answered=int(np.count_nonzero(~tied)),
        tied=int(np.count_nonzero(tied)),
        abstained=len(found.items) - len(there) - too_long,
        too_long=too_long,
        accuracy=statistics.clustered_share(scores, cluster),
        decided=statistics.clustered_share(scores[~tied], cluster[~tied]),
        chance=math.fsum(1 / item.options for item in standing.items) / len(there) if len(there) else None,
        orders_agree=_mean([verdict.orders_agree for verdict in found.verdicts], found.cluster),
        first_position=_first_position(found),
        option_mass=_mean([verdict.option_mass for verdict in found.verdicts], found.cluster),
        judgements=sum(verdict.judgements for verdict in found.verdicts),
        abstentions=kinds([verdict.abstained for verdict in found.verdicts]),
        log_loss=statistics.clustered_mean(log_loss, cluster),
        brier=statistics.clustered_mean(brier, cluster),
        calibration=_calibration(standing, seed),
    )


def kinds(abstained: Sequence[Sequence[str]]) -> dict[str, int]:
    """How many abstentions there are of each kind."""
    return dict(sorted(Counter(kind for each in abstained for kind in each).items()))


def _mean(values: Sequence[float | None], cluster: Ints) -> Estimate:
    known = np.array([math.nan if value is None else value for value in values], np.float64)
    return statistics.clustered_mean(known, cluster)


def _first_position(found: Asked) -> Any:
    decided = [verdict.decided for verdict in found.verdicts]
    first = [[True] * v.first + [False] * (v.decided - v.first) for v in found.verdicts]
    return statistics.clustered_share(
        np.array([one for each in first for one in each], np.bool_), np.repeat(found.cluster, decided)
    )


def _ties(verdict: Verdict) -> bool:
    top, second, *_ = sorted(verdict.probabilities or (1.0, 0.0), reverse=True)
    return top - second <= ROUNDING


def _losses(item: Item, verdict: Verdict) -> tuple[float, float]:
    """The log-loss of the label's option, and half the sum of squared errors over all options."""
    assert verdict.probabilities is not None
    assert item.right is not None
    squares = math.fsum((p - (index == item.right)) ** 2 for index, p in enumerate(verdict.probabilities))
    return -math.log(max(FLOOR, verdict.probabilities[item.right])), squares / 2


def _calibration(found: Asked, seed: int) -> Calibration:
    """How probabilities compare with labels; of answered and tied items."""
    if all(item.options == 2 for item in found.items):
        shown = [draw(seed, "judge-eval first", item.id) & 1 for item in found.items]
        forecast = [v.probabilities[first] for v, first in zip(found.verdicts, shown, strict=True)]  # type: ignore[index]
        happened = [item.right == first for item, first in zip(found.items, shown, strict=True)]
        return calibration(np.array(forecast, np.float64), np.array(happened, np.bool_), found.cluster, seed)
    sure = [max(verdict.probabilities or (0.0,)) for verdict in found.verdicts]
    made = calibration(np.array(sure, np.float64), found.score == 1.0, found.cluster, seed)
    return replace(made, auroc=NONE, auroc_confidence=made.auroc)


# ---------------------------------------------------------------------- between ways


def differences(ways: Mapping[str, Asked], seed: int) -> tuple[Difference, ...]:
    """Each two ways, the later one minus the earlier one."""
    return tuple(
        _difference(one, ways[one], other, ways[other], seed) for other, one in combinations(ways, 2)
    )


def _difference(one: str, first: Asked, other: str, second: Asked, seed: int) -> Difference:
    numbers = {item.id: number for number, item in enumerate(second.items)}
    both = [
        (mine, numbers[item.id])
        for mine, item in enumerate(first.items)
        if item.id in numbers
        and not math.isnan(first.score[mine])
        and not math.isnan(second.score[numbers[item.id]])
    ]
    mine, its = (np.array([pair[side] for pair in both], np.int64) for side in (0, 1))
    a, b = first.score[mine], second.score[its]
    parts = np.rint(_PARTS * (a - b))
    estimate = bootstrap.interval(
        [parts, np.ones(len(a))], first.cluster[mine], _mean_of_parts, seed, f"{one} and {other}"
    )
    if len(a) and not parts.any():
        estimate = _none_seen(first.cluster[mine])
    only_one = int(np.count_nonzero((a == 1) & (b == 0)))
    only_other = int(np.count_nonzero((a == 0) & (b == 1)))
    return Difference(one, other, estimate, statistics.mcnemar(only_one, only_other))


def _none_seen(cluster: Ints) -> Estimate:
    """No item on which two ways differ: they may still differ on as many as Wilson's bound for none seen.

    Resampling, which sees only what was seen, would give an interval without width.
    """
    most = statistics.rate(0, len(np.unique(cluster))).high
    return Estimate(0.0, None if most is None else -most, most, len(cluster))


def _mean_of_parts(sums: Floats) -> Floats:
    made: Floats = sums[..., 0] / _PARTS / sums[..., 1]
    return made
