"""Labels against a truth that was planted: how right each labeller is, and which flips are found.

What this module does not know: who planted the truth, or how.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cai.compare import statistics
from cai.compare.columns import Table
from cai.compare.figures import PlantedFigures
from cai.compare.traces import FIRST, SECOND, id_texts


@dataclass(frozen=True, slots=True)
class Planted:
    """The truth about one row: the better side as the source names it (None: they are equal),
    whether the human label was turned on purpose, whether both responses are bad."""

    better: Literal["chosen", "rejected"] | None
    flipped: bool
    both_bad: bool


def planted_figures(human: Table, truth: Mapping[str, Planted]) -> PlantedFigures:
    """Accuracy of both labellers, and how well the AI's disagreements find flipped labels.

    `human`: human pairs, whose first response the human preferred (`chosen`); `truth`: by row id,
    for some or all rows.
    """
    known = human.where(np.array([row in truth for row in id_texts(human["row_id"])], np.bool_))
    facts = [truth[row] for row in id_texts(known["row_id"])]
    side = {"chosen": FIRST, "rejected": SECOND, None: 0}
    better = np.array([side[fact.better] for fact in facts], np.int8)
    flipped = np.array([fact.flipped for fact in facts], np.bool_)
    both_bad = np.array([fact.both_bad for fact in facts], np.bool_)
    label = known["label"]
    labelled = np.abs(label) == 1
    fair = (better != 0) & labelled
    found = label == SECOND
    return PlantedFigures(
        n=len(known),
        flipped=int(np.count_nonzero(flipped)),
        both_bad=int(np.count_nonzero(both_bad)),
        ai=statistics.share(label[fair] == better[fair]),
        human=statistics.share(better[better != 0] == FIRST),
        ai_both_bad=statistics.share(label[fair & both_bad] == better[fair & both_bad]),
        precision=statistics.share(flipped[found]),
        recall=statistics.share(found[flipped]),
    )
