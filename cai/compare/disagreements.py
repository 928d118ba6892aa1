"""The best supported of the pairs on which the AI contradicts the human, with their texts.

What this module does not know: statistics, how a text is shown.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from cai.compare.figures import Disagreement
from cai.compare.lists import flip_order
from cai.compare.statistics import Floats
from cai.compare.traces import Part, Traces
from cai.dataset.labels import label

SHOWN = 10
_COLUMNS = ["row_id", "source", "subset", "split", "line", "prompt", "feedback"]


def disagreements(
    traces: Traces, human: Part, score: Floats, tie_threshold: float, count: int = SHOWN
) -> tuple[Disagreement, ...]:
    """The best supported ones first; equals in the source's order.

    `human`: the human pairs; the first response of each is the one that the human preferred. `score`:
    how well each pair's flip is supported (`lists.support`).
    """
    places = flip_order(human.pairs, score)[:count]
    rows, pair = human.pairs["row"][places].tolist(), human.pairs["pair"][places].tolist()
    return tuple(
        _disagreement(row, row["feedback"][own], float(score[place]), tie_threshold)
        for place, own, row in zip(places, pair, traces.rows_at(rows, _COLUMNS), strict=True)
    )


def _disagreement(
    row: dict[str, Any], feedback: dict[str, Any], score: float, tie_threshold: float
) -> Disagreement:
    opinions: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for judgement in feedback["judgements"]:
        if judgement["probability"] is not None:
            opinions[judgement["principle"]][judgement["order"]].append(judgement["probability"])
    sides: dict[str | None, list[str]] = defaultdict(list)
    for principle, orders in opinions.items():
        means = [sum(said) / len(said) for said in orders.values()]
        sides[label(sum(means) / 2 if len(means) == 2 else None, tie_threshold)].append(principle)
    return Disagreement(
        row_id=row["row_id"],
        source=row["source"],
        subset=row["subset"],
        split=row["split"],
        line=row["line"],
        support=score,
        ai_probability=1 - feedback["probability"],
        prompt=tuple(row["prompt"]),
        human_choice=feedback["first_text"],
        ai_choice=feedback["second_text"],
        for_ai=tuple(sides["second"]),
        for_human=tuple(sides["first"]),
    )
