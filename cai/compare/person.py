"""Who was right how often: figures from people's answers to a blind, stratified sample.

The estimator. A share over the pairs that a sample stands for is a ratio R = Y / D: Y the pairs
with the property, D the decided ones, each estimated by sum over strata of N_h times the stratum's
mean over answered items. Its variance is the linearised one of a stratified sample drawn without
replacement, sum of N_h^2 (1 - n_h / N_h) s_h^2 / n_h of the residuals y - R d, over D^2. Items that
were not answered count as drawn at random within their stratum.

The interval of a share is Wilson's at the effective sample size R (1 - R) / variance, reduced by
(z / t)^2 for the degrees of freedom, items less strata. Where all answers are alike the variance is
unknown and the effective size is (sum w)^2 / sum w (w - 1), which is unbounded where every pair was
asked. Accuracies over both cells, and their difference, are put together from the cells' shares and
the shares that a person can decide (`accuracy`).

A stratum with fewer than two answers, not all of its pairs, is put together with the next of its
cell. Pairs that share a prompt count as independent.

Source: Cochran 1977, sections 5A and 6 (stratified ratio); Korn & Graubard 1998 (effective size).

What this module does not know: how the sample was drawn, or shown (cai/review).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cai.compare.estimates import Estimate
from cai.compare.person_figures import (
    PersonFigures,
    ReviewedCell,
    ReviewerFigures,
    ReviewerPair,
    Sided,
)
from cai.errors import CaiError
from cai.review.key import Answers, Cell, Key, read_key, read_reviewers
from cai.review.verdicts import verdict

Floats = NDArray[np.float64]
CONFIDENCE = 0.95
REVIEW = "review"
"""The folder in a run's folder that holds the sheet and the answers which the comparison shows."""
_log = logging.getLogger("cai.review")


@dataclass(frozen=True)
class Sums:
    """Sums over the answered items of each stratum (last axis; leading axes are independent samples).

    `pairs`: N_h; `items`: n_h; `y`, `d`: sums of the property and of decided; `yy`: sum of y^2;
    `yd`: of y d. Decided is 0 or 1, so that sum of d^2 is `d`.
    """

    pairs: Floats
    items: Floats
    y: Floats
    d: Floats
    yy: Floats
    yd: Floats


def ratio(sums: Sums) -> tuple[Floats, Floats, Floats]:
    """The ratio R, its variance, and the degrees of freedom; NaN where nothing is decided."""
    n, big = sums.items, sums.pairs
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.where(n > 0, big / n, 0.0)
        total = np.sum(weight * sums.d, axis=-1)
        value = np.sum(weight * sums.y, axis=-1) / total
        r = value[..., None]
        squares = sums.yy - 2 * r * sums.yd + r**2 * sums.d
        spread = squares - (sums.y - r * sums.d) ** 2 / n
        within = np.where(n > 1, np.maximum(spread, 0.0) / (n - 1), 0.0)
        term = np.where(n > 0, big * np.maximum(big - n, 0.0) * within / n, 0.0)
        variance = np.sum(term, axis=-1) / total**2
    freedom = np.maximum(np.sum(n, axis=-1) - np.sum(n > 0, axis=-1), 1)
    return value, variance, np.asarray(freedom, np.float64)


def share_interval(sums: Sums) -> tuple[Floats, Floats, Floats]:
    """A weighted share with its interval; NaN where nothing is decided."""
    from scipy.stats import norm, t

    value, variance, freedom = ratio(sums)
    z = float(norm.ppf((1 + CONFIDENCE) / 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.where(sums.items > 0, sums.pairs / sums.items, 0.0)
        decided = np.sum(weight * sums.d, axis=-1)
        alike = decided**2 / np.sum(weight * np.maximum(weight - 1, 0.0) * sums.d, axis=-1)
        n = np.where(variance > 0, value * (1 - value) / variance, alike)
        n = n * (z / t.ppf((1 + CONFIDENCE) / 2, freedom)) ** 2
        centre = (value + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * np.sqrt(value * (1 - value) / n + z**2 / (4 * n**2))
    return value, np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0)


Part = tuple[Floats, Floats, Floats]
"""A share with the bounds of its interval."""


@dataclass(frozen=True)
class Parts:
    """What the accuracy over all labelled pairs is made of, for the cells differ and agree.

    `pairs`: how many there are; `decided`: the share that a person can decide; `sided`: of those,
    how often the person sides with the AI (differ), or with both (agree).
    """

    pairs: tuple[float, float]
    decided: tuple[Part, Part]
    sided: tuple[Part, Part]


def parts_of(differ: Sums, agree: Sums) -> Parts:
    """The parts, from the sums of both cells; what is unknown lies between 0 and 1."""
    decided, sided = [], []
    for sums in (differ, agree):
        if not sums.items.shape[-1]:
            nothing = np.zeros(sums.items.shape[:-1])
            decided.append((nothing, nothing, nothing))
            sided.append((nothing, nothing, nothing))
            continue
        whole = replace(sums, y=sums.d, d=sums.items, yy=sums.d, yd=sums.d)
        decided.append(share_interval(whole))
        value, low, high = share_interval(sums)
        unknown = np.isnan(value)
        sided.append(
            (np.where(unknown, 0.5, value), np.where(unknown, 0.0, low), np.where(unknown, 1.0, high))
        )
    pairs = (float(differ.pairs.sum()), float(agree.pairs.sum()))
    return Parts(pairs, (decided[0], decided[1]), (sided[0], sided[1]))


def accuracy(parts: Parts, label: str) -> Part:
    """How often a label is the person's choice over decidable pairs of both cells, or how far `ahead`
    the AI is (its share less the human labels').

    Each part in turn is put at its bounds, the rest left as they are; the changes add as squares.
    Source: Zou & Donner 2008 (variance estimates recovery), which keeps the width that Wilson's
    intervals have where all answers are alike.
    """
    given = [*parts.decided, *parts.sided]

    def total(at: Sequence[Floats]) -> Floats:
        qd, qa, s, a = at
        differ, agree = parts.pairs[0] * qd, parts.pairs[1] * qa
        with np.errstate(divide="ignore", invalid="ignore"):
            share = differ / (differ + agree)
        ahead = share * (2 * s - 1)
        right = share * s + (1 - share) * a
        return ahead if label == "ahead" else right if label == "ai" else right - ahead

    middle = [part[0] for part in given]
    value = total(middle)
    below, above = np.zeros((2, *np.shape(value)))
    for index, part in enumerate(given):
        moved = [total([*middle[:index], bound, *middle[index + 1 :]]) - value for bound in part[1:]]
        below = below + np.fmax(0.0, np.fmax(-moved[0], -moved[1])) ** 2
        above = above + np.fmax(0.0, np.fmax(moved[0], moved[1])) ** 2
    least = -1.0 if label == "ahead" else 0.0
    return value, np.fmax(value - np.sqrt(below), least), np.fmin(value + np.sqrt(above), 1.0)


def person_figures(key: Key, reviewers: Sequence[Answers]) -> PersonFigures:
    """The figures of a sheet and everybody's answers to it."""
    verdicts = {item.item: verdict(item.item, reviewers) for item in key.items}
    said = Counter(verdicts.values())
    strata = _collapsed(key, verdicts)
    labelled: tuple[Cell, ...] = ("differ", "agree")
    return PersonFigures(
        sheet=key.sheet,
        reviewers=tuple(_reviewer(answers) for answers in reviewers),
        between=tuple(_between(one, other) for one, other in combinations(reviewers, 2)),
        items=len(key.items),
        answered=sum(said[name] for name in ("1", "2", "equal", "both-bad", "split")),
        skipped=said["skip"],
        blank=said["blank"],
        equal=said["equal"],
        both_bad=said["both-bad"],
        split=said["split"],
        differ=_cell(key, "differ", verdicts, strata, "ai"),
        agree=_cell(key, "agree", verdicts, strata, "ai"),
        undecided=_cell(key, "undecided", verdicts, strata, "human"),
        ai=_sided(key, labelled, verdicts, strata, "ai"),
        human=_sided(key, labelled, verdicts, strata, "human"),
        ahead=_overall(key, verdicts, strata, "ahead"),
    )


def person_of_run(review_folder: Path, generation: str, tie_threshold: float) -> PersonFigures | None:
    """The figures of the review in a run's folder; None where nobody has answered.

    A review of other labels (generation or tie threshold) is not used; a warning says so.
    """
    try:
        key = read_key(review_folder)
        reviewers = read_reviewers(review_folder, key) if key else []
    except CaiError as error:
        _log.warning("the review is left out: %s", error)
        return None
    if key is None or not reviewers:
        return None
    if (key.generation, key.tie_threshold) != (generation, tie_threshold):
        _log.warning("the review in %s is of labels that have changed since; it is left out.", review_folder)
        return None
    return person_figures(key, reviewers)


def _collapsed(key: Key, verdicts: Mapping[str, str]) -> dict[str, str]:
    """Stratum -> the group of strata that it is estimated with."""
    answered = Counter(item.stratum for item in key.items if verdicts[item.item] not in ("skip", "blank"))
    groups: dict[str, str] = {}
    for cell in ("differ", "agree", "undecided"):
        held: list[str] = []
        last: str | None = None
        for stratum in sorted((s for s in key.strata if s.cell == cell), key=lambda s: s.name):
            held.append(stratum.name)
            whole = sum(s.pairs for s in key.strata if s.name in held)
            count = sum(answered[name] for name in held)
            if count >= 2 or (count and count == whole):
                last = stratum.name
                groups |= dict.fromkeys(held, last)
                held = []
        groups |= dict.fromkeys(held, last or (held[-1] if held else ""))
    return groups


def _sums(
    key: Key,
    cells: Sequence[Cell],
    verdicts: Mapping[str, str],
    groups: Mapping[str, str],
    label: str,
) -> Sums:
    """Sums of y = whether `label` is the person's choice."""
    names = sorted({groups[stratum.name] for stratum in key.strata if stratum.cell in cells})
    at = {name: index for index, name in enumerate(names)}
    pairs, n, y, d = np.zeros((4, len(names)))
    for stratum in key.strata:
        if stratum.cell in cells:
            pairs[at[groups[stratum.name]]] += stratum.pairs
    for item in key.items:
        index = at.get(groups[item.stratum])
        verdict = verdicts[item.item]
        if index is None or verdict in ("skip", "blank"):
            continue
        n[index] += 1
        if verdict in ("1", "2"):
            d[index] += 1
            y[index] += (item.ai if label == "ai" else item.human) == int(verdict)
    return Sums(pairs, n, y, d, y, y)


def _estimate(found: tuple[Any, Any, Any], n: int) -> Estimate:
    value, low, high = (float(number) for number in found)
    if n == 0 or np.isnan(value):
        return Estimate(None, None, None, n)
    if n == 1:
        return Estimate(value, None, None, n)
    return Estimate(value, low, high, n)


def _sided(
    key: Key, cells: Sequence[Cell], verdicts: Mapping[str, str], groups: Mapping[str, str], label: str
) -> Sided:
    """A share of one cell, or a label's accuracy over differ and agree together."""
    from cai.compare.statistics import rate

    parts = [_sums(key, [cell], verdicts, groups, label) for cell in cells]
    n = int(sum(sums.d.sum() for sums in parts))
    counted = rate(int(sum(sums.y.sum() for sums in parts)), n)
    if len(parts) == 1:
        return Sided(_estimate(share_interval(parts[0]), n), counted)
    return Sided(_overall(key, verdicts, groups, label), counted)


def _overall(key: Key, verdicts: Mapping[str, str], groups: Mapping[str, str], label: str) -> Estimate:
    """A label's accuracy, or `ahead`; nothing where a kind of pair has no answer at all."""
    differ, agree = (_sums(key, [cell], verdicts, groups, "ai") for cell in ("differ", "agree"))
    n = int(differ.d.sum() + agree.d.sum())
    if np.any(differ.items == 0) or np.any(agree.items == 0):
        return Estimate(None, None, None, n)
    return _estimate(accuracy(parts_of(differ, agree), label), n)


def _cell(
    key: Key, cell: Cell, verdicts: Mapping[str, str], groups: Mapping[str, str], label: str
) -> ReviewedCell:
    strata = [stratum for stratum in key.strata if stratum.cell == cell]
    names = {stratum.name for stratum in strata}
    said = Counter(verdicts[item.item] for item in key.items if item.stratum in names)
    decided = said["1"] + said["2"]
    return ReviewedCell(
        pairs=sum(stratum.pairs for stratum in strata),
        items=said.total(),
        answered=decided + said["equal"] + said["both-bad"] + said["split"],
        decided=decided,
        equal=said["equal"],
        both_bad=said["both-bad"],
        split=said["split"],
        sided=_sided(key, (cell,), verdicts, groups, label),
    )


def _reviewer(answers: Answers) -> ReviewerFigures:
    from cai.compare.statistics import rate

    said = Counter(answers.answers.values())
    return ReviewerFigures(
        name=answers.reviewer,
        answered=said.total() - said["skip"],
        equal=said["equal"],
        both_bad=said["both-bad"],
        skipped=said["skip"],
        blank=answers.blank,
        first_shown=rate(said["1"], said["1"] + said["2"]),
    )


def _between(one: Answers, other: Answers) -> ReviewerPair:
    """How two people agree over the items that both answered.

    Kappa's interval is Wilson's of the observed agreement carried through the formula with the
    expected one held, as in statistics.py.
    """
    from cai.compare.statistics import rate

    said = [
        (one.answers[item], other.answers[item])
        for item in one.answers
        if item in other.answers and "skip" not in (one.answers[item], other.answers[item])
    ]
    n = len(said)
    same = rate(sum(a == b for a, b in said), n)
    lefts, rights = Counter(a for a, _ in said), Counter(b for _, b in said)
    expected = sum(lefts[name] * rights[name] for name in lefts) / n**2 if n else 1.0
    kappa = Estimate(None, None, None, n)
    if expected < 1 and same.value is not None:
        a, b, c = ((p - expected) / (1 - expected) for p in (same.value, same.low or 0.0, same.high or 0.0))
        kappa = Estimate(a, b, c, n)
    both = [(a, b) for a, b in said if a in ("1", "2") and b in ("1", "2")]
    return ReviewerPair(
        one.reviewer,
        other.reviewer,
        same,
        kappa,
        rate(sum(a == b for a, b in both), len(both)),
    )
