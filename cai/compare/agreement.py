"""The AI's labels of the human pairs against the human ones, as a whole and by group.

In the source the response that the human preferred always comes first. Left so, the human label
is a constant: kappa is then 0 or undefined whatever the AI says, and a forecast has nothing to
discriminate. So before kappa and calibration each pair draws which of its responses stands
first, from the run's seed and the row's id; both labellers are then asked about that one.

What this module does not know: files, principles, how figures are shown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cai.compare import bootstrap, statistics
from cai.compare.calibration import calibration
from cai.compare.columns import Table
from cai.compare.figures import Agreement, Breakdown, Calibration, Estimate, Group
from cai.compare.statistics import Bools, Floats
from cai.compare.traces import ABSTAINED, FIRST, SECOND, TIE, id_texts
from cai.digest import draw

GROUPS_OF_A_NUMBER = 5

Ints = NDArray[np.int64]


def agreement(label: NDArray[Any], cluster: Ints) -> Agreement:
    """Agreement over pairs whose first response the human preferred; `label`: the AI's."""
    labelled, there = np.abs(label) == 1, label != ABSTAINED
    scores = score(label)
    return Agreement(
        judged=len(label),
        labelled=int(np.count_nonzero(labelled)),
        tied=int(np.count_nonzero(label == TIE)),
        abstained=int(np.count_nonzero(label == ABSTAINED)),
        decided=statistics.clustered_share(label[labelled] == FIRST, cluster[labelled]),
        ties_half=statistics.clustered_share(scores[there], cluster[there]),
        coverage=statistics.clustered_share(labelled, cluster),
    )


def score(label: NDArray[Any]) -> Floats:
    """1 for agreement with the human, who preferred the first response, 0 for contradiction, else 1/2."""
    return np.where(label == FIRST, 1.0, np.where(label == SECOND, 0.0, 0.5))


def swapped(pairs: Table, seed: int) -> Bools:
    """Which pairs show the human's choice second: a draw from the seed and the row's id."""
    return np.array([draw(seed, "comparison", row) & 1 for row in id_texts(pairs["row_id"])], np.bool_)


def kappa(label: NDArray[Any], second: Bools, cluster: Ints, seed: int, name: str = "ai") -> Estimate:
    """Cohen's kappa with the human over labelled pairs, of "the response that stands first is better".

    `second`: which pairs show the human's choice second (`swapped`).
    """
    labelled = np.abs(label) == 1
    human_first = ~second[labelled]
    ai_first = (label[labelled] == FIRST) == human_first
    return clustered_kappa(ai_first, human_first, cluster[labelled], seed, name)


def clustered_kappa(one: Bools, other: Bools, cluster: Ints, seed: int, name: str) -> Estimate:
    """Cohen's kappa of two labellers' yes-or-no labels, with a cluster-bootstrap interval.

    Where every resample gives the same, the interval is the plain one (`statistics.kappa`).
    """
    plain = statistics.kappa(one, other)
    if plain.value is None:
        return plain
    columns = [one & other, one & ~other, ~one & other, np.ones(len(one), np.bool_)]
    found = bootstrap.interval(columns, cluster, _kappa, seed, f"kappa {name}")
    narrow = found.low is None or found.low == found.high
    return plain if narrow else Estimate(plain.value, found.low, found.high, plain.n)


def _kappa(sums: Floats) -> Floats:
    both, one_only, other_only, n = np.moveaxis(sums, -1, 0)
    one, other = (both + one_only) / n, (both + other_only) / n
    expected = one * other + (1 - one) * (1 - other)
    made: Floats = (1 - (one_only + other_only) / n - expected) / (1 - expected)
    return made


def forecast(pairs: Table, second: Bools, seed: int) -> Calibration:
    """The soft label of every pair that has one, ties included, as a forecast of the human label.

    `second`: which pairs show the human's choice second (`swapped`).
    """
    there = ~np.isnan(pairs["probability"])
    probability = np.where(second, 1 - pairs["probability"], pairs["probability"])
    return calibration(probability[there], ~second[there], pairs["cluster"][there], seed)


def breakdowns(pairs: Table, names: list[str]) -> tuple[Breakdown, ...]:
    """Agreement by everything that pairs can be told apart by; breakdowns with one group included."""
    subset, split = pairs["subset"], pairs["split"]
    difference = pairs["first_characters"] - pairs["second_characters"]

    def both(code: int) -> str:
        return f"{names[code // len(names)]} {names[code % len(names)]}"

    return (
        _by_code("subset", pairs, subset, names.__getitem__),
        _by_code("split", pairs, split, names.__getitem__),
        _by_code("subset and split", pairs, subset.astype(np.int64) * len(names) + split, both),
        _by_code("constitution", pairs, pairs["constitution"], names.__getitem__),
        _by_code("turns", pairs, pairs["turns"], int),
        _by_number("length difference", pairs, difference.astype(np.float64)),
        _by_number("confidence", pairs, np.abs(statistics.even(pairs["probability"]) - 0.5)),
    )


def _by_code(by: str, pairs: Table, values: NDArray[Any], name: Callable[[int], Any]) -> Breakdown:
    """Groups of equal whole numbers, in the order of what these stand for."""
    kinds = sorted((name(int(value)), int(value)) for value in np.unique(values))
    groups: list[tuple[str, float | None, float | None, Ints]] = [
        (str(kind), None, None, np.flatnonzero(values == value)) for kind, value in kinds
    ]
    return _breakdown(by, pairs, groups)


def _by_number(by: str, pairs: Table, values: Floats) -> Breakdown:
    """Groups of near equal size; pairs without the number are left out."""
    there = np.flatnonzero(~np.isnan(values))
    groups: list[tuple[str, float | None, float | None, Ints]] = []
    for part in statistics.equal_mass(values[there], GROUPS_OF_A_NUMBER) if len(there) else []:
        low, high = float(values[there[part]].min()), float(values[there[part]].max())
        digits = 2 if abs(high) < 1 else 0
        groups.append((f"{low:.{digits}f} to {high:.{digits}f}", low, high, there[part]))
    return _breakdown(by, pairs, groups)


def _breakdown(
    by: str, pairs: Table, groups: list[tuple[str, float | None, float | None, Ints]]
) -> Breakdown:
    label, cluster = pairs["label"], pairs["cluster"]
    found = [agreement(label[part], cluster[part]) for _, _, _, part in groups]
    place = np.full(len(pairs), -1, np.int64)
    for number, (_, _, _, part) in enumerate(groups):
        place[part] = number
    tested = (place >= 0) & (np.abs(label) == 1)
    scans = statistics.apart(
        label[tested] == FIRST,
        place[tested],
        cluster[tested],
        len(groups),
        statistics.SMALL_GROUP,
    )
    made = zip(groups, found, scans, strict=True)
    return Breakdown(
        by, tuple(Group(name, low, high, item, scan) for (name, low, high, _), item, scan in made)
    )
