"""Tables of the page: a caption, headings, numbers at the right.

On a narrow page the style lays a line's cells out below its name, each under its heading
(`data-name`); the roles keep it a table for those who hear it.

What this module does not know: figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cai.report.markup import Child, Html, join, tag

LONGEST = 60
"""Lines that a table shows at most; what is left out is said."""


@dataclass(frozen=True)
class Head:
    """A column: its name; `kind` words, number or chart (left out on narrow pages)."""

    name: str
    kind: str = "number"


def table(caption: str, heads: Sequence[Head], rows: Sequence[Sequence[Child]], note: Child = None) -> Html:
    """A table whose first column names its lines; `note` stands under it."""
    shown = rows[:LONGEST]
    left = len(rows) - len(shown)
    head = tag("tr", [_heading(item) for item in heads], role="row")
    body = [
        tag("tr", [_cell(heads[i], cell, i == 0) for i, cell in enumerate(row)], role="row") for row in shown
    ]
    more = tag("p", f"{left:,} more lines stand in comparison.json.", class_="note") if left else None
    whole = tag(
        "table",
        tag("caption", caption),
        tag("thead", head, role="rowgroup"),
        tag("tbody", body, role="rowgroup"),
        class_="lines",
        role="table",
    )
    under = tag("p", note, class_="note") if note else None
    return join([tag("div", whole, class_="scroll"), more, under])


def _heading(head: Head) -> Html:
    name = head.name or tag("span", "chart", class_="unseen")
    return tag("th", name, scope="col", role="columnheader", class_=head.kind)


def _cell(head: Head, cell: Child, first: bool) -> Html:
    if first:
        return tag("th", cell, scope="row", role="rowheader", class_=head.kind)
    return tag("td", cell, role="cell", class_=head.kind, data_name=head.name or None)


def below(figure: str) -> Html:
    """`value (interval)` on two lines, so that a table of many figures stays narrow."""
    value, _, interval = figure.partition(" (")
    if not interval:
        return join([value])
    return join([value, tag("br"), tag("span", interval.removesuffix(")"), class_="quiet")])


def more(summary: str, *children: Child) -> Html:
    """Something to open."""
    return tag("details", tag("summary", summary), *children)


def paragraph(*children: Child) -> Html:
    """A paragraph."""
    return tag("p", *children)


def note(*children: Child) -> Html:
    """A paragraph in small type: what a figure means."""
    return tag("p", *children, class_="note")


def section(name: str, title: str, *children: Child) -> Html:
    """A section that can be linked to."""
    return tag(
        "section", tag("h2", title, id=f"{name}-title"), *children, id=name, aria_labelledby=f"{name}-title"
    )
