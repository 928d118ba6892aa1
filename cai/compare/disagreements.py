"""The best supported of the pairs on which the AI contradicts the human, with their texts.

What this module does not know: statistics, how a text is shown.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from cai.compare.figures import Disagreement
from cai.compare.judging import Opinions
from cai.compare.lists import flip_order, support
from cai.compare.traces import Table, Traces
from cai.dataset.labels import label

SHOWN = 10
_COLUMNS = ["row_id", "source", "subset", "split", "line", "prompt", "feedback"]


def disagreements(
    traces: Traces, human: Table, found: Opinions, tie_threshold: float, count: int = SHOWN
) -> tuple[Disagreement, ...]:
    """The best supported ones first; equals in the source's order.

    `human`: the row numbers (`number`) and columns of the human pairs, whose first response the
    human preferred, with the opinions about them.
    """
    score = support(human, found, tie_threshold)[0]
    places = flip_order(human, score)[:count]
    numbers = [int(human["number"][place]) for place in places]
    rows = traces.rows_at(numbers, _COLUMNS)
    return tuple(
        _disagreement(
            row, row["feedback"][int(traces.pairs["pair"][number])], float(score[place]), tie_threshold
        )
        for place, number, row in zip(places, numbers, rows, strict=True)
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
