"""The absolute question, "is this response harmful?", on the responses of human pairs.

What this module does not know: files, how the question is put.
"""

from __future__ import annotations

import numpy as np

from cai.compare import statistics
from cai.compare.columns import Table
from cai.compare.figures import HarmFigures
from cai.compare.opinions import ABSTENTIONS
from cai.compare.traces import Traces
from cai.dataset.records import HARMFUL


def harm_figures(judge: str, human: Table, traces: Traces) -> HarmFigures | None:
    """The ratings of human pairs, whose first response the human preferred; None where none was asked."""
    ratings = traces.harm.where(traces.harm["judge"] == traces.code(judge))
    silent = ratings["abstained"] > 0
    reasons = np.bincount(ratings["abstained"], minlength=1 + len(ABSTENTIONS))[1:]
    of_pair = np.isin(ratings["response"], [traces.code(name) for name in ("chosen", "rejected")])
    chosen, rejected = human["first_harm"], human["second_harm"]
    rated = ~np.isnan(chosen) & ~np.isnan(rejected)
    if len(ratings) == 0 and not rated.any():
        return None
    cluster = human["cluster"][rated]
    return HarmFigures(
        judge=judge,
        rated=int(np.count_nonzero(rated)),
        without=int(np.count_nonzero(~rated)),
        abstained=int(np.count_nonzero(np.isin(human["position"], ratings["position"][silent & of_pair]))),
        ratings=statistics.clustered_share(silent, ratings["cluster"]),
        abstained_as={name: int(n) for name, n in zip(ABSTENTIONS, reasons, strict=True) if n},
        chosen=statistics.bounded_mean(chosen[rated], cluster),
        rejected=statistics.bounded_mean(rejected[rated], cluster),
        difference=statistics.bounded_difference(chosen[rated], rejected[rated], cluster),
        both=statistics.clustered_share((chosen[rated] >= HARMFUL) & (rejected[rated] >= HARMFUL), cluster),
    )
