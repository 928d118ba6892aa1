"""The AI's labels of the human pairs against the human ones.

In the source the response that the human preferred always comes first. Left so, the human label
is a constant: kappa is then 0 or undefined whatever the AI says, and a forecast has nothing to
discriminate. So before kappa and calibration each pair draws which of its responses stands
first, from the run's seed and the row's id; both labellers are then asked about that one.

What this module does not know: files, principles, how figures are shown.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cai.compare import statistics
from cai.compare.figures_v1 import Agreement, Calibration, Estimate, Group, Length
from cai.compare.statistics import Bools
from cai.compare.traces import ABSTAINED, FIRST, SECOND, TIE, Table
from cai.digest import draw


def agreement(label: NDArray[Any]) -> Agreement:
    """Agreement over pairs whose first response the human preferred; `label`: the AI's."""
    agree = int(np.count_nonzero(label == FIRST))
    labelled = agree + int(np.count_nonzero(label == SECOND))
    tied = int(np.count_nonzero(label == TIE))
    abstained = int(np.count_nonzero(label == ABSTAINED))
    return Agreement(
        judged=len(label),
        labelled=labelled,
        tied=tied,
        abstained=abstained,
        decided=statistics.rate(agree, labelled),
        ties_half=statistics.rate(agree + tied / 2, labelled + tied),
        coverage=statistics.rate(labelled, len(label)),
    )


def groups(pairs: Table) -> tuple[Group, ...]:
    """Agreement within each subset and split, in the order of their names."""
    keys = sorted(set(zip(pairs["subset"], pairs["split"], strict=True)))
    made = []
    for subset, split in keys:
        chosen = (pairs["subset"] == subset) & (pairs["split"] == split)
        made.append(Group(subset, split, agreement(pairs["label"][chosen])))
    return tuple(made)


def swapped(pairs: Table, seed: int) -> Bools:
    """Which pairs show the human's choice second: a draw from the seed and the row's id."""
    return np.array([draw(seed, "comparison", row) & 1 for row in pairs["row_id"]], np.bool_)


def kappa(pairs: Table, second: Bools) -> Estimate:
    """Cohen's kappa over labelled pairs, of "the response that stands first is better".

    `second`: which pairs show the human's choice second (`swapped`).
    """
    labelled = np.abs(pairs["label"]) == 1
    human_first = ~second[labelled]
    ai_first = (pairs["label"][labelled] == FIRST) == human_first
    return statistics.kappa(ai_first, human_first)


def calibration(pairs: Table, second: Bools) -> Calibration:
    """The soft label of every pair that has one, ties included, as a forecast of the human label.

    `second`: which pairs show the human's choice second (`swapped`).
    """
    there = ~np.isnan(pairs["probability"])
    probability = pairs["probability"]
    forecast = np.where(second, 1 - probability, probability)
    return statistics.calibration(forecast[there], ~second[there])


def length(pairs: Table) -> Length:
    """How often each labeller prefers the longer response."""
    labelled = pairs.where(np.abs(pairs["label"]) == 1)
    difference = labelled["first_characters"] - labelled["second_characters"]
    differ = difference != 0
    first_longer = difference[differ] > 0
    ai_first = labelled["label"][differ] == FIRST
    return Length(
        equal=int(np.count_nonzero(~differ)),
        ai=statistics.share(ai_first == first_longer),
        human=statistics.share(first_longer),
    )
