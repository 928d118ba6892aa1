"""Charts as SVG, made of numbers alone: every one stands beside a table that says the same.

Colours are classes of report.css, so that a chart follows light, dark and print.

What this module does not know: what a figure means, the page around it.
"""

from __future__ import annotations

from collections.abc import Sequence

from cai.compare.figures import Bin, Estimate, Group, Rate
from cai.report.markup import Html, tag

WIDTH, HEIGHT = 340.0, 300.0
LEFT, RIGHT, TOP, BOTTOM = 42.0, 20.0, 10.0, 40.0
STRIP = 120.0


def strip(figure: Rate | Estimate, low: float = 0.0, high: float = 1.0, reference: float = 0.5) -> Html:
    """A dot with its interval on a scale from `low` to `high`, a line at `reference`."""
    if figure.value is None or high <= low:
        return Html("")
    x = _scale(low, high, 4.0, STRIP - 4.0)
    ends = (figure.low if figure.low is not None else figure.value, figure.high)
    start, end = x(ends[0]), x(ends[1] if ends[1] is not None else figure.value)
    return tag(
        "svg",
        tag("line", x1=4.0, x2=STRIP - 4, y1=8, y2=8, class_="axis"),
        tag("line", x1=x(reference), x2=x(reference), y1=2, y2=14, class_="reference"),
        tag("line", x1=start, x2=end, y1=8, y2=8, class_="interval"),
        tag("circle", cx=x(figure.value), cy=8, r=3.5, class_="dot"),
        class_="strip",
        viewBox=f"0 0 {STRIP:.0f} 16",
        aria_hidden="true",
        focusable="false",
    )


def dumbbell(before: float | None, after: float | None, low: float = 0.0, high: float = 1.0) -> Html:
    """From a hollow dot (before) to a full one (after)."""
    if before is None or after is None or high <= low:
        return Html("")
    x = _scale(low, high, 4.0, STRIP - 4.0)
    return tag(
        "svg",
        tag("line", x1=4.0, x2=STRIP - 4, y1=8, y2=8, class_="axis"),
        tag("line", x1=x(before), x2=x(after), y1=8, y2=8, class_="interval"),
        tag("circle", cx=x(before), cy=8, r=3.5, class_="dot hollow"),
        tag("circle", cx=x(after), cy=8, r=3.5, class_="dot"),
        class_="strip",
        viewBox=f"0 0 {STRIP:.0f} 16",
        aria_hidden="true",
        focusable="false",
    )


def reliability(bins: Sequence[Bin], about: str) -> Html:
    """What the AI said (across) beside how often the human agreed (up), with intervals.

    `about`: the same in words, for those who do not see it.
    """
    x = _scale(0.0, 1.0, LEFT, WIDTH - RIGHT)
    y = _scale(0.0, 1.0, HEIGHT - BOTTOM, TOP)
    marks = [
        tag("line", x1=x(0), y1=y(0), x2=x(1), y2=y(1), class_="reference"),
        *(_point(x(item.mean), item.human, y) for item in bins),
    ]
    names = ("the AI's probability", "the human preferred it")
    return _frame([0, 0.25, 0.5, 0.75, 1], [0, 0.25, 0.5, 0.75, 1], x, y, names, marks, about)


def by_confidence(groups: Sequence[Group], about: str) -> Html:
    """Agreement (up) by how sure the AI is of its own choice (across, 50 to 100 %)."""
    x = _scale(0.5, 1.0, LEFT, WIDTH - RIGHT)
    y = _scale(0.0, 1.0, HEIGHT - BOTTOM, TOP)
    placed = [
        (x(0.5 + (item.low + item.high) / 2), item.agreement.decided)
        for item in groups
        if item.low is not None and item.high is not None
    ]
    marks = [
        tag("line", x1=x(0.5), y1=y(0.5), x2=x(1), y2=y(0.5), class_="reference"),
        *(_point(at, rate, y) for at, rate in placed),
    ]
    names = ("the AI's probability of its own choice", "agreement")
    return _frame([0.5, 0.6, 0.7, 0.8, 0.9, 1], [0, 0.25, 0.5, 0.75, 1], x, y, names, marks, about)


class _Scale:
    """A straight map from values to places; values outside are put at the ends."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high, self.start, self.end = low, high, start, end

    def __call__(self, value: float) -> float:
        kept = min(max(value, self.low), self.high)
        return self.start + (kept - self.low) / (self.high - self.low) * (self.end - self.start)


def _scale(low: float, high: float, start: float, end: float) -> _Scale:
    return _Scale(low, high, start, end)


def _point(at: float, rate: Rate, y: _Scale) -> Html | None:
    if rate.value is None or rate.low is None or rate.high is None:
        return None
    return tag(
        "g",
        tag("line", x1=at, x2=at, y1=y(rate.low), y2=y(rate.high), class_="interval"),
        tag("circle", cx=at, cy=y(rate.value), r=4, class_="dot"),
    )


def _frame(
    across: Sequence[float],
    up: Sequence[float],
    x: _Scale,
    y: _Scale,
    names: tuple[str, str],
    marks: Sequence[Html | None],
    about: str,
) -> Html:
    """Axes with ticks in per cent and their names, marks on top."""
    bottom = HEIGHT - BOTTOM
    grid = [tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y(value), y2=y(value), class_="axis") for value in up]
    ups = [tag("text", f"{100 * v:.0f} %", x=LEFT - 6, y=y(v) + 4, text_anchor="end") for v in up]
    acrosses = [tag("text", f"{100 * v:.0f} %", x=x(v), y=bottom + 16, text_anchor="middle") for v in across]
    middle = (LEFT + WIDTH - RIGHT) / 2
    name_across = tag("text", names[0], x=middle, y=HEIGHT - 4, text_anchor="middle", class_="name")
    name_up = tag("text", names[1], x=LEFT + 4, y=TOP + 12, class_="name")
    return tag(
        "svg",
        tag("title", about),
        [grid, ups, acrosses, name_across, name_up],
        list(marks),
        class_="chart",
        viewBox=f"0 0 {WIDTH:.0f} {HEIGHT:.0f}",
        role="img",
        aria_label=about,
    )
