"""Which rows a report shows: a rule that is written on the page, the same rows every time.

Each list has places: the first rows of the comparison's lists, rows that stand as examples of a
flag or a phrase, and agreements and rows without a human label drawn by a hash of the run's seed
and the row's id. Where the texts are too long for the page, all lists give up their
last places alike.

What this module does not know: how a row is written, how it is shown.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from cai.compare.figures import Comparison
from cai.digest import draw
from cai.report.traces import Places

PLACES = {
    "flips": 100,
    "label issues": 60,
    "both harmful": 40,
    "examples": 40,
    "agreements": 40,
    "unpaired": 20,
}
"""Rows of each list, in this order; 300 in all. Examples are of flags and phrases; agreements and
unpaired rows are drawn."""
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
    for name, rows in (("agreements", places.agreeing), ("unpaired", places.unpaired)):
        members[name] = heapq.nsmallest(PLACES[name], rows, key=lambda row: draw(seed, "report", row))
    return {
        name: [row for row in dict.fromkeys(members.get(name, ())) if row in places.at] for name in PLACES
    }


def rule() -> str:
    """The rule, in words."""
    listed = ", ".join(f"{PLACES[name]} {name}" for name in ("flips", "label issues", "both harmful"))
    return (
        f"At most {sum(PLACES.values())} rows stand here: the first {listed}, up to {PLACES['examples']} "
        f"examples of flags and phrases, {PLACES['agreements']} agreements and {PLACES['unpaired']} rows that "
        "are not compared with a human label, drawn by the run's seed. Fewer where their texts are long."
    )
