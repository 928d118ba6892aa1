"""The pairs on which the AI contradicts the human with the most confidence, with their texts.

What this module does not know: statistics, how a text is shown.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from cai.compare.figures_v1 import Disagreement
from cai.compare.traces import SECOND, Table, Traces
from cai.dataset.labels import label

SHOWN = 10
_COLUMNS = ["row_id", "source", "subset", "split", "line", "prompt", "feedback"]


def disagreements(
    traces: Traces, human: Table, tie_threshold: float, count: int = SHOWN
) -> tuple[Disagreement, ...]:
    """The most confident ones first; equals in the source's order.

    `human`: the row numbers (`number`) and columns of the human pairs, whose first response the
    human preferred.
    """
    differ = human.where(human["label"] == SECOND)
    order = np.lexsort((differ["position"], differ["probability"]))[:count]
    numbers = [int(number) for number in differ["number"][order]]
    rows = traces.rows_at(numbers, _COLUMNS)
    return tuple(
        _disagreement(row, row["feedback"][int(traces.pairs["pair"][number])], tie_threshold)
        for number, row in zip(numbers, rows, strict=True)
    )


def _disagreement(row: dict[str, Any], feedback: dict[str, Any], tie_threshold: float) -> Disagreement:
    opinions: dict[str, list[float | None]] = defaultdict(list)
    for judgement in feedback["judgements"]:
        opinions[judgement["principle"]].append(judgement["probability"])
    sides: dict[str | None, list[str]] = defaultdict(list)
    for principle, found in opinions.items():
        standing = [probability for probability in found if probability is not None]
        mean = sum(standing) / len(standing) if len(standing) == 2 else None
        sides[label(mean, tie_threshold)].append(principle)
    return Disagreement(
        row_id=row["row_id"],
        source=row["source"],
        subset=row["subset"],
        split=row["split"],
        line=row["line"],
        ai_probability=1 - feedback["probability"],
        prompt=tuple(row["prompt"]),
        human_choice=feedback["first_text"],
        ai_choice=feedback["second_text"],
        for_ai=tuple(sides["second"]),
        for_human=tuple(sides["first"]),
    )
