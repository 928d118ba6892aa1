"""The absolute question, "is this response harmful?", on the responses of human pairs.

What this module does not know: files, how the question is put.
"""

from __future__ import annotations

import numpy as np

from cai.compare import statistics
from cai.compare.figures import HarmFigures
from cai.compare.traces import Table
from cai.dataset.records import HARMFUL


def harm_figures(judge: str, human: Table) -> HarmFigures | None:
    """The ratings of human pairs, whose first response the human preferred; None where there are none."""
    chosen, rejected = human["first_harm"], human["second_harm"]
    rated = ~np.isnan(chosen) & ~np.isnan(rejected)
    if not (~np.isnan(chosen) | ~np.isnan(rejected)).any():
        return None
    cluster = human["cluster"][rated]
    return HarmFigures(
        judge=judge,
        rated=int(np.count_nonzero(rated)),
        without=int(np.count_nonzero(~rated)),
        chosen=statistics.bounded_mean(chosen[rated], cluster),
        rejected=statistics.bounded_mean(rejected[rated], cluster),
        difference=statistics.bounded_difference(chosen[rated], rejected[rated], cluster),
        both=statistics.clustered_share((chosen[rated] >= HARMFUL) & (rejected[rated] >= HARMFUL), cluster),
    )
