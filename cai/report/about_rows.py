"""The sections that lead to rows: the lists, who was right, the table of rows, what to do next.

The table itself is filled by the page's script (assets/), which also reads the address.

What this module does not know: how a figure is computed; a row's texts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from cai.compare.figures import Comparison, PersonFigures, PlantedFigures
from cai.report import charts, numbers
from cai.report.links import command, rows_link
from cai.report.markup import Child, Html, join, tag
from cai.report.selection import rule
from cai.report.tables import Head, below, note, paragraph, section, table

LIST_NAMES = {
    "flips": "flip",
    "label issues": "label issue",
    "both harmful": "both harmful",
    "examples": "example",
    "agreements": "agreement",
    "unpaired": "not compared",
}
"""What a row of each list is called."""
_OPTION_LONGEST = 200


def next_steps(comparison: Comparison, run: str) -> Html:
    """What a reader can do now, as commands."""
    row = next((item.rows[0].row_id for item in comparison.lists if item.rows), "ROW")
    steps: list[Child] = [
        tag(
            "li",
            "One row's whole story, every request and answer: ",
            _typed(command("show", run, "--row", row)),
        )
    ]
    if comparison.person is None:
        steps.append(
            tag(
                "li",
                "An AI label alone cannot say who is right. Let a person judge a blind sample: ",
                _typed(command("review", run)),
            )
        )
    if comparison.not_finished:
        steps.append(
            tag("li", f"{comparison.not_finished:,} rows are not finished. ", _typed(command("run", run)))
        )
    return section("next", "What to do next", tag("ul", steps))


def _typed(text: str) -> Html:
    return tag("code", text, data_command=True)


def right(comparison: Comparison) -> Html:
    """Who was right, as far as anybody can say."""
    parts: list[Child] = []
    if comparison.planted is not None:
        parts.append(_planted(comparison.planted))
    if comparison.person is not None:
        parts.append(_person(comparison.person))
    elif comparison.planted is None:
        parts.append(
            paragraph(
                "Not known: these labels alone cannot say who is right where the AI and the human differ. "
                "A person's review of a blind sample can."
            )
        )
    return section("right", "Who was right", parts)


def _planted(found: PlantedFigures) -> Html:
    heads = [Head("figure", "words"), Head("value"), Head("95 % interval"), Head("n"), Head("", "chart")]
    lines = (
        ("the AI is right", found.ai),
        ("the human label is right", found.human),
        ("the AI is right where both responses are bad", found.ai_both_bad),
        ("of contradictions, the human label was flipped (precision)", found.precision),
        ("of flipped labels, contradicted (recall)", found.recall),
    )
    rows: list[list[Child]] = [
        [name, numbers.share(rate.value), numbers.rate_interval(rate), f"{rate.n:,}", charts.strip(rate)]
        for name, rate in lines
    ]
    caption = (
        f"Against the planted truth: {found.n:,} pairs, {found.flipped:,} human labels flipped on purpose"
    )
    return table(caption, heads, rows)


def _person(found: PersonFigures) -> Html:
    heads = [
        Head("figure", "words"),
        Head("weighted"),
        Head("95 % interval"),
        Head("answers"),
        Head("", "chart"),
    ]
    lines = (
        ("the AI label is the person's choice", found.ai),
        ("the human label is the person's choice", found.human),
        ("where they differ, the person sides with the AI", found.differ.sided),
        ("where they agree, the person agrees with both", found.agree.sided),
        ("where the AI is undecided, the person agrees with the human label", found.undecided.sided),
    )
    rows: list[list[Child]] = [
        [
            name,
            numbers.share(item.weighted.value),
            _percents(item.weighted.low, item.weighted.high),
            f"{item.counted.n:,}",
            charts.strip(item.weighted),
        ]
        for name, item in lines
    ]
    caption = f"As people judged a blind sample: {found.answered:,} of {found.items:,} pairs answered"
    meaning = (
        f"Weighted by the sample's design. {found.equal:,} called equal, {found.both_bad:,} both bad, "
        f"{found.skipped:,} skipped. The AI's share minus the human labels': {numbers.points(found.ahead)}."
    )
    return table(caption, heads, rows, meaning)


def _percents(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return numbers.NONE
    return f"{100 * low:.1f} to {100 * high:.1f}"


def lists(comparison: Comparison) -> Html | None:
    """The lists, each with what is on it."""
    if not comparison.lists:
        return None
    known = any(item.precision is not None or item.recall is not None for item in comparison.lists)
    heads = [Head("list", "words"), Head("rows"), Head("what is on it", "words")]
    if known:
        heads += [Head("precision"), Head("recall")]
    rows: list[list[Child]] = []
    for item in comparison.lists:
        line: list[Child] = [rows_link(item.name, list=item.name), f"{item.total:,}", item.about]
        if known:
            for rate in (item.precision, item.recall):
                line.append(numbers.NONE if rate is None else below(numbers.share_text(rate)))
        rows.append(line)
    meaning = "Precision and recall: of the whole list, against the planted truth." if known else None
    return table("Lists of rows that deserve a look", heads, rows, meaning)


def rows(comparison: Comparison, data: Mapping[str, Any], run: str) -> Html:
    """The place of the table, its filters, and the rule by which its rows were chosen."""
    title = "The rows"
    count = len(data["rows"])
    if not count:
        return section("rows", title, lists(comparison), paragraph("There is no row to show."))
    return section(
        "rows",
        title,
        lists(comparison),
        note(rule(), " Any other row: ", tag("code", command("show", run, "--row", "ID")), "."),
        tag("noscript", paragraph("The table of rows needs this page's own script, which is switched off.")),
        tag("div", _filters(data), _table(), hidden=True, data_scripted=True),
    )


def _filters(data: Mapping[str, Any]) -> Html:
    rows = data["rows"]
    lists_of = Counter(name for row in rows for name in row["lists"])
    subsets = Counter(row["subset"] for row in rows)
    flags = Counter(flag for row in rows for flag in _flags(row))
    names = data["principles"]
    against = Counter(names[number] for row in rows for number in row["against"])
    revised = Counter(names[number] for row in rows for number in row["revised"])
    ordered = [
        (name, f"{LIST_NAMES.get(name, name)} ({lists_of[name]})") for name in LIST_NAMES if lists_of[name]
    ]
    principles = [
        ("contradicts the human label", _options(against, "j:")),
        ("led a revision", _options(revised, "r:")),
    ]
    return tag(
        "form",
        _select("list", "List", [("", ordered)]),
        _select("subset", "Subset", [("", _options(subsets))]),
        _select("principle", "A principle that", principles),
        _select("flag", "Flag", [("", _options(flags))]),
        tag(
            "label",
            tag("span", "Search ids and names", id="sought"),
            tag("input", type="search", id="choose-q", autocomplete="off", spellcheck="false"),
            for_="choose-q",
        ),
        class_="filters",
        role="search",
        aria_label="Which rows are shown",
    )


def _flags(row: Mapping[str, Any]) -> set[str]:
    return {
        *row["flags"],
        *(flag for item in row["revisions"] for turn in item["rounds"] for flag in turn["flags"]),
    }


def _options(counts: Counter[str], prefix: str = "") -> list[tuple[str, str]]:
    """Values and names, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_OPTION_LONGEST]
    return [(prefix + name, f"{name} ({count})") for name, count in ordered]


def _select(name: str, title: str, groups: Sequence[tuple[str, Sequence[tuple[str, str]]]]) -> Html:
    options: list[Html] = [tag("option", "all", value="")]
    for label, items in groups:
        made = [tag("option", shown, value=value) for value, shown in items]
        if made:
            options += [tag("optgroup", made, label=label)] if label else made
    control = tag("select", options, id=f"choose-{name}", autocomplete="off")
    return tag("label", title, control, for_=f"choose-{name}")


def _table() -> Html:
    heads = (
        ("row", "Row", "row"),
        ("ai", "AI’s choice, P", "number"),
        ("principles", "Principles for it", "number"),
    )
    cells = [_sorter(*head) for head in (*heads, ("orders", "Orders agree", "number"))]
    status = tag(
        "div",
        tag("p", id="count", role="status", aria_live="polite"),
        tag("button", "Clear filters", type="button", id="clear"),
        tag("button", "Show texts", type="button", data_show_texts=True, aria_pressed="false"),
        class_="status",
    )
    caption = "Rows. Enter opens one, Escape closes it, the arrow keys go from row to row."
    body = tag("tbody", role="rowgroup")
    head = tag("thead", tag("tr", cells, role="row"), role="rowgroup")
    return join(
        [
            status,
            tag("table", tag("caption", caption), head, body, id="rows-table", class_="lines", role="table"),
            tag("p", tag("button", "Show more rows", type="button", id="more-rows", hidden=True)),
        ]
    )


def _sorter(key: str, name: str, kind: str) -> Html:
    button = tag(
        "button", name, tag("span", aria_hidden="true"), type="button", class_="plain", data_sort=key
    )
    return tag("th", button, scope="col", role="columnheader", class_=kind, aria_sort="none")
