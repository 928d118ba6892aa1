"""Revisions against the responses that they revise.

What this module does not know: files, how figures are shown.
"""

from __future__ import annotations

import numpy as np

from cai.compare import statistics
from cai.compare.figures_v1 import RevisionFigures, RoundFigures
from cai.compare.traces import FIRST, SECOND, TIE, Table, Traces


def revision_figures(traces: Traces, pairs: Table) -> RevisionFigures | None:
    """The figures of all revisions, or None where nothing was revised.

    `pairs`: those of kind `revised`, whose first response is the revision.
    """
    if len(traces.revisions) == 0:
        return None
    usable = ~np.isnan(traces.revisions["final_round"])
    label = pairs["label"]
    better = int(np.count_nonzero(label == FIRST))
    labelled = better + int(np.count_nonzero(label == SECOND))
    tied = int(np.count_nonzero(label == TIE))
    return RevisionFigures(
        revised=len(usable),
        usable=statistics.share(usable),
        unchanged=statistics.share(traces.revisions["unchanged"][usable] == 1),
        preferred=statistics.rate(better, labelled),
        preferred_ties_half=statistics.rate(better + tied / 2, labelled + tied),
        rounds=_rounds(traces.rounds),
        flags=dict(sorted(traces.flags.items())),
    )


def _rounds(rounds: Table) -> tuple[RoundFigures, ...]:
    made = []
    for number in np.unique(rounds["number"]):
        own = rounds.where(rounds["number"] == number)
        made.append(
            RoundFigures(
                number=int(number),
                n=len(own),
                usable=statistics.share(own["usable"]),
                unchanged=statistics.share(own["unchanged"]),
            )
        )
    return tuple(made)
