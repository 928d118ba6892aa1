"""Which rows a report shows: a rule that is written on the page, the same rows every time.

Each list has places: the first rows of the comparison's lists, rows that stand as examples of a
flag or a phrase, and agreements (rows without a human pair where there are none) drawn by a hash of
the run's seed and the row's id. Where the texts are too long for the page, all lists give up their
last places alike.

What this module does not know: how a row is written, how it is shown.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from cai.compare.figures import Comparison
from cai.digest import draw
from cai.report.traces import Places

PLACES = {"flips": 110, "label issues": 60, "both harmful": 50, "examples": 40, "agreements": 40}
"""Rows of each list, in this order; 300 in all."""
DRAWN = 40
EXAMPLES_EACH = 2


@dataclass(frozen=True)
class Selection:
    """Row ids: `order` as the page shows them, `urgency` as they are given up (last first);
    `lists`: the names of the lists that each is on."""

    order: tuple[str, ...]
    urgency: tuple[str, ...]
    lists: dict[str, tuple[str, ...]]


def select(comparison: Comparison, places: Places) -> Selection:
    """The rows of a report: at most the sum of `PLACES`, all of them in the dataset."""
    members = _members(comparison, places)
    order: dict[str, None] = {}
    urgency: list[tuple[float, int, str]] = []
    for number, (name, limit) in enumerate(PLACES.items()):
        for rank, row in enumerate(members[name][:limit]):
            order.setdefault(row)
            urgency.append(((rank + 0.5) / limit, number, row))
    lists = {row: tuple(name for name in PLACES if row in set(members[name])) for row in order}
    return Selection(tuple(order), tuple(dict.fromkeys(row for *_, row in sorted(urgency))), lists)


def _members(comparison: Comparison, places: Places) -> dict[str, list[str]]:
    """Rows of every list, the first ones first."""
    members = {item.name: [row.row_id for row in item.rows] for item in comparison.lists}
    examples: list[str] = []
    if comparison.revisions is not None:
        for flag in comparison.revisions.flags:
            examples += flag.rows[:EXAMPLES_EACH]
        for phrase in comparison.revisions.phrases:
            examples += phrase.rows[:1]
    members["examples"] = list(dict.fromkeys(examples))
    seed = int(comparison.settings.get("seed", 0))
    drawn = places.agreeing or places.unpaired
    members["agreements"] = heapq.nsmallest(DRAWN, drawn, key=lambda row: draw(seed, "report", row))
    return {
        name: [row for row in dict.fromkeys(members.get(name, ())) if row in places.at] for name in PLACES
    }


def rule() -> str:
    """The rule, in words."""
    named = [f"{limit} {name}" for name, limit in PLACES.items() if name not in ("examples", "agreements")]
    return (
        f"At most {sum(PLACES.values())} rows stand here: the first {', '.join(named)}, up to "
        f"{PLACES['examples']} examples of flags and phrases, and {DRAWN} agreements drawn at random "
        "(by the run's seed). Fewer where their texts are long."
    )
