"""The section about revisions: are they preferred, what changed, what do they repeat.

A phrase is text of the dataset, so its place stays empty until texts are asked for: `phrase_texts`
gives the texts, by the numbers that the places bear.

What this module does not know: how a figure is computed; rows.
"""

from __future__ import annotations

from cai.compare.figures import Change, Comparison, Phrase, Rate, RevisionFigures
from cai.report import charts, numbers
from cai.report.about_agreement import scanned
from cai.report.links import rows_link
from cai.report.markup import Child, Html, join, tag
from cai.report.tables import Head, below, more, note, paragraph, section, table

_MEASURES = {
    "harm": "P(harmful), mean",
    "refuses": "refuses",
    "evades": "evades",
    "asks": "asks back",
    "words": "words, mean",
    "kept_share": "original words kept",
}
_SHARES = {"refuses", "evades", "asks", "kept_share"}
_OF_ONE = {"harm"} | _SHARES
"""Measures from 0 to 1, which a chart can show."""


def phrase_texts(comparison: Comparison) -> list[str]:
    """The texts of the places that phrases take."""
    return [] if comparison.revisions is None else [item.text for item in comparison.revisions.phrases]


def revisions(comparison: Comparison) -> Html:
    """Everything about revisions."""
    found = comparison.revisions
    title = "Revisions"
    if found is None:
        return section("revisions", title, paragraph("Nothing was revised in this run."))
    return section(
        "revisions",
        title,
        _preferred(found),
        _judges(found),
        _changes(found),
        _rounds(found),
        _preferred_by(found),
        _phrases(found, comparison.constants.phrase_texts),
        _flags(found),
    )


def _preferred(found: RevisionFigures) -> Html:
    own = found.own
    lines: list[tuple[str, Rate]] = [
        ("have a usable text at the end", found.usable),
        ("of these, say what the original says", found.unchanged),
        ("preferred to the original by the judge", found.preferred),
        ("the same, a tie counting half", found.preferred_ties_half),
        ("preferred where longer than the original", own.longer),
        ("preferred where shorter", own.shorter),
        ("preferred where as long", own.as_long),
    ]
    heads = [
        Head("revisions that", "words"),
        Head("value"),
        Head("95 % interval"),
        Head("n"),
        Head("", "chart"),
    ]
    rows: list[list[Child]] = [
        [name, numbers.share(rate.value), numbers.rate_interval(rate), f"{rate.n:,}", charts.strip(rate)]
        for name, rate in lines
    ]
    said = ""
    if own.same_model:
        said = "The model that revised also judged: it may prefer its own words. "
    elif own.same_model is False:
        said = "Another model judged than the one that revised. "
    equal = own.at_equal_length
    if equal.value is not None:
        said += (
            f"At equal length it would prefer {numbers.share_text(equal)} of the revisions, by a regression."
        )
    return table(f"Revisions of {found.revised:,} responses", heads, rows, said or None)


def _judges(found: RevisionFigures) -> Html | None:
    """Whether the judge that revised likes its own words more than another judge does."""
    if len(found.judges) < 2:
        return None
    heads = [
        Head("judge", "words"),
        Head("prefers the revision"),
        Head("ties half"),
        Head("n"),
        Head("the first judge prefers it more by"),
    ]
    rows: list[list[Child]] = [
        [
            item.judge,
            below(numbers.share_text(item.preferred)),
            below(numbers.share_text(item.ties_half)),
            f"{item.preferred.n:,}",
            numbers.points(item.ahead),
        ]
        for item in found.judges
    ]
    return table(
        "How often each judge prefers the revision",
        heads,
        rows,
        "Of the pairs that it labels; the last column on the pairs that both judged, ties as half.",
    )


def _changes(found: RevisionFigures) -> Html | None:
    if not found.changes:
        return None
    heads = [
        Head("measure", "words"),
        Head("round"),
        Head("before"),
        Head("after"),
        Head("difference (95 % interval)"),
        Head("n"),
        Head("", "chart"),
    ]
    return table(
        "Before and after revision, the same responses on both sides",
        heads,
        [_change(item) for item in found.changes],
        "Hollow: before; full: after. Refusals, evasions and questions are found by word patterns.",
    )


def _change(item: Change) -> list[Child]:
    shares = item.measure in _SHARES
    before, after = item.before.value, item.after.value
    if shares:
        sides = [below(numbers.share_text(item.before)), below(numbers.share_text(item.after))]
        shown: list[Child] = [*sides, numbers.points(item.difference)]
    else:
        digits = 3 if item.measure in _OF_ONE else 1
        shown = [
            below(numbers.estimate_text(item.before, digits)),
            below(numbers.estimate_text(item.after, digits)),
            numbers.difference_text(item.difference, digits),
        ]
    chart = charts.dumbbell(before, after) if item.measure in _OF_ONE else ""
    return [_MEASURES.get(item.measure, item.measure), str(item.round), *shown, f"{item.n:,}", chart]


def _rounds(found: RevisionFigures) -> Html | None:
    if not found.rounds:
        return None
    heads = [
        Head("round", "words"),
        Head("revisions"),
        Head("usable"),
        Head("unchanged"),
        Head("original words kept"),
        Head("length ratio"),
    ]
    rows: list[list[Child]] = [
        [
            str(item.number),
            f"{item.n:,}",
            below(numbers.share_text(item.usable)),
            below(numbers.share_text(item.unchanged)),
            below(numbers.share_text(item.kept_share)),
            below(numbers.estimate_text(item.length_ratio, 2)),
        ]
        for item in found.rounds
    ]
    meaning = "Original words kept: in the same order (word diff). Length ratio: geometric mean of words after / before."
    return table("Round by round", heads, rows, meaning)


def _preferred_by(found: RevisionFigures) -> Html | None:
    parts: list[Child] = []
    for by in ("round", "principle"):
        own = [item for item in found.preferred_by if item.by == by]
        if not own:
            continue
        heads = [
            Head(by, "words"),
            Head("preferred"),
            Head("95 % interval"),
            Head("n"),
            Head("differs from the rest"),
            Head("", "chart"),
        ]
        rows: list[list[Child]] = [
            [
                rows_link(item.name, principle=f"r:{item.name}") if by == "principle" else item.name,
                numbers.share(item.preferred.value),
                numbers.rate_interval(item.preferred),
                f"{item.preferred.n:,}",
                scanned(item.scan),
                charts.strip(item.preferred),
            ]
            for item in own
        ]
        meaning = (
            "Only the last usable text of each response is judged: a line holds those whose last usable text came "
            f"from this {by}."
        )
        parts.append(table(f"How often the last revision is preferred, by {by}", heads, rows, meaning))
    return more("Preferred, by last round and its principle", parts) if parts else None


def _phrases(found: RevisionFigures, most: int) -> Html:
    if not found.phrases:
        return note("No phrase stands in revisions far more often than in what they revise.")
    heads = [Head("phrase", "words"), Head("in revisions"), Head("in originals"), Head("a row", "left")]
    rows = [_phrase(number, item) for number, item in enumerate(found.phrases)]
    held = f"{numbers.share_text(found.phrase_share)} of {found.phrase_texts:,} revisions hold one of them"
    return table(
        "What revisions repeat: words in a row that they hold far more often than the originals",
        heads,
        rows,
        f"{held} (at most {most:,} were searched). Many: a sign of over-training, as the CAI paper notes. "
        "These intervals take texts as independent.",
    )


def _phrase(number: int, item: Phrase) -> list[Child]:
    return [
        tag("span", "hidden", data_text=number),
        below(numbers.share_text(item.revisions)),
        below(numbers.share_text(item.originals)),
        _rows(item.rows[:1]),
    ]


def _flags(found: RevisionFigures) -> Html:
    if not found.flags:
        return note("Nothing was noticed about any revision.")
    heads = [
        Head("flag", "words"),
        Head("rounds"),
        Head("share"),
        Head("95 % interval"),
        Head("rows", "left"),
    ]
    rows: list[list[Child]] = [
        [
            rows_link(item.flag, flag=item.flag),
            f"{item.rounds.count:,}",
            numbers.share(item.rounds.value),
            numbers.rate_interval(item.rounds),
            _rows(item.rows[:2]),
        ]
        for item in found.flags
    ]
    return table("What was noticed about revisions: flags", heads, rows)


def _rows(rows: tuple[str, ...]) -> Html:
    return join([[rows_link(row[:8], row=row), " "] for row in rows])
