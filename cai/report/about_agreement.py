"""The sections about agreement: key figures, baselines, groups, calibration, the literature.

What this module does not know: how a figure is computed; rows.
"""

from __future__ import annotations

from collections.abc import Sequence

from cai.compare.figures import Breakdown, Comparison, Group, Labeller, Recalibration, Scanned
from cai.report import charts, numbers
from cai.report.links import rows_link
from cai.report.markup import Child, Html, join, tag
from cai.report.tables import Head, below, more, note, paragraph, section, table

_TITLES = {
    "subset": "by subset",
    "split": "by split",
    "subset and split": "by subset and split",
    "turns": "by length of the conversation, in turns",
    "length difference": "by length difference (characters: the human's choice minus the other)",
    "confidence": "by the AI's confidence (its probability of its own choice)",
    "constitution": "by constitution",
}
_LINES = {"ai": "the AI", "chance": "a coin"}
_TAG = 0.05
"""Lines whose adjusted p is below this are marked."""


def key_figures(comparison: Comparison) -> Html:
    """The few figures to read first."""
    found = comparison.agreement
    if not found.judged:
        return paragraph("No human pair was judged, so there is nothing to compare with human labels here.")
    heads = [Head("figure", "words"), Head("value"), Head("95 % interval"), Head("n"), Head("", "chart")]
    rows: list[list[Child]] = []
    for name, rate in (
        ("agreement with the human labels", found.decided),
        ("the same, a tie counting half", found.ties_half),
        ("coverage: judged pairs with a label", found.coverage),
    ):
        value = tag("strong", numbers.share(rate.value))
        rows.append([name, value, numbers.rate_interval(rate), f"{rate.n:,}", charts.strip(rate)])
    kappa = comparison.kappa
    rows.append(
        [
            "Cohen's kappa (0 is chance, 1 perfect)",
            tag("strong", numbers.number(kappa.value)),
            numbers.interval(kappa),
            f"{kappa.n:,}",
            charts.strip(kappa, -1.0, 1.0, 0.0),
        ]
    )
    judging = comparison.judging.get("human")
    if judging is not None:
        rate = judging.first_position
        rows.append(
            [
                "the judge answers A (50 %: no favourite place)",
                tag("strong", numbers.share(rate.value)),
                numbers.rate_interval(rate),
                f"{rate.n:,}",
                charts.strip(rate),
            ]
        )
    counts = (
        f"{found.judged:,} human pairs judged: {found.labelled:,} labelled, {found.tied:,} tied "
        f"(too close to one half to call), {found.abstained:,} abstained (no readable answer)."
    )
    return table("Key figures", heads, rows, counts)


def agreement(comparison: Comparison) -> Html | None:
    """Agreement beside what is cheaper, and in groups."""
    if not comparison.agreement.judged:
        return None
    return section("agreement", "Agreement with the human labels", _main(comparison), _groups(comparison))


def _main(comparison: Comparison) -> Html:
    lines = comparison.main.lines
    if not lines:
        return note("No table of baselines was computed.")
    heads = [
        Head("way to label", "words"),
        Head("agreement, ties half"),
        Head("95 % interval"),
        Head("says something"),
        Head("the AI is ahead by"),
        Head("", "chart"),
    ]
    rows = [_line(item) for item in lines]
    best = comparison.main.best_baseline
    said = "" if best is None else f" The best of the cheap ways: {_LINES.get(best, best)}."
    return table(
        "The AI beside cheaper ways to label, on the same pairs",
        heads,
        rows,
        "Whoever says nothing about a pair counts half there. “Ahead” is paired, in percentage points."
        + said,
    )


def _line(item: Labeller) -> list[Child]:
    return [
        _LINES.get(item.name, item.name),
        numbers.share(item.ties_half.value),
        numbers.rate_interval(item.ties_half),
        numbers.share(item.coverage.value, 0),
        numbers.NONE if item.kind == "ai" else numbers.points(item.ahead),
        charts.strip(item.ties_half),
    ]


def _groups(comparison: Comparison) -> Html:
    shown = ("subset", "confidence")
    first: list[Child] = []
    for by in shown:
        breakdown = next(
            (item for item in comparison.breakdowns if item.by == by and len(item.groups) > 1), None
        )
        if breakdown is not None:
            first.append(_breakdown(breakdown))
    rest = [item for item in comparison.breakdowns if item.by not in shown and len(item.groups) > 1]
    if not first and not rest:
        return Html("")
    names = ", ".join(item.by for item in rest)
    folded = more(f"Agreement by {names}", [_breakdown(item) for item in rest]) if rest else None
    return join([first, folded, note(_scan_note(comparison))])


def _breakdown(breakdown: Breakdown) -> Html:
    title = _TITLES.get(breakdown.by, f"by {breakdown.by}")
    heads = [
        Head(breakdown.by, "words"),
        Head("agreement"),
        Head("95 % interval"),
        Head("n"),
        Head("differs from the rest"),
        Head("", "chart"),
    ]
    rows: list[list[Child]] = [
        [
            _name(breakdown.by, item),
            numbers.share(item.agreement.decided.value),
            numbers.rate_interval(item.agreement.decided),
            f"{item.agreement.decided.n:,}",
            scanned(item.scan),
            charts.strip(item.agreement.decided),
        ]
        for item in breakdown.groups
    ]
    chart = None
    if breakdown.by == "confidence" and len(rows) > 1:
        about = "Agreement with the human label by the AI's probability of its own choice; the table below says the same."
        shown = "Agreement by the AI's probability of its own choice; dashed: a coin."
        chart = tag("figure", tag("figcaption", shown), charts.by_confidence(breakdown.groups, about))
    return join([chart, table(f"Agreement, {title}", heads, rows)])


def _name(by: str, group: Group) -> Child:
    if group.low is not None and group.high is not None:
        if by == "confidence":
            return f"{50 + 100 * group.low:.1f} to {50 + 100 * group.high:.1f} %"
        low, high = (f"{value:,.0f}".replace("-", "−") for value in (group.low, group.high))
        return low if low == high else f"{low} to {high}"
    return rows_link(group.name, subset=group.name) if by == "subset" else group.name


def scanned(scan: Scanned) -> str:
    """What a scan says of a line: `too few`, or its adjusted p."""
    if scan.small:
        return "too few"
    if scan.q is None:
        return numbers.NONE
    return f"{'yes' if scan.q < _TAG else 'no'} (q {numbers.p_value(scan.q)})"


def _scan_note(comparison: Comparison) -> str:
    """What `differs` means."""
    small = comparison.constants.small_group
    return (
        "Differs from the rest: q is the p-value of no difference, adjusted for all lines tested "
        f"(Benjamini and Hochberg); fewer than {small} pairs are too few to test or rank."
    )


def calibration(comparison: Comparison) -> Html | None:
    """How the AI's probability does as a forecast of the human label."""
    found = comparison.calibration
    if not found.bins:
        return None
    about = "Reliability: the AI's probability beside how often the human preferred that response; on the dashed line both are the same."
    heads = [
        Head("the AI says", "words"),
        Head("mean"),
        Head("the human preferred it"),
        Head("95 % interval"),
        Head("n"),
    ]
    bins: list[list[Child]] = [
        [
            f"{numbers.share(item.low)} to {numbers.share(item.high)}",
            numbers.share(item.mean),
            numbers.share(item.human.value),
            numbers.rate_interval(item.human),
            f"{item.human.n:,}",
        ]
        for item in found.bins
    ]
    figures: list[list[Child]] = [
        ["log-loss (a coin: 0.693)", numbers.number(found.log_loss.value), numbers.interval(found.log_loss)],
        ["Brier score (a coin: 0.250)", numbers.number(found.brier.value), numbers.interval(found.brier)],
        ["calibration error, ECE", numbers.number(found.ece), _by_chance(found.ece_by_chance)],
        [
            "calibration error, debiased (root mean square)",
            numbers.number(found.rms_debiased),
            "not computed",
        ],
        [
            "AUROC: ranks pairs (chance: 0.5)",
            numbers.number(found.auroc.value),
            numbers.interval(found.auroc),
        ],
        [
            "AUROC of the confidence: tells agreement from disagreement",
            numbers.number(found.auroc_confidence.value),
            numbers.interval(found.auroc_confidence),
        ],
    ]
    return section(
        "calibration",
        "Does the probability mean what it says?",
        tag("figure", tag("figcaption", about), charts.reliability(found.bins, about)),
        more("The same as a table", table("Reliability, in bins of equal size", heads, bins)),
        table(
            "Calibration of the raw probability as a forecast of the human label",
            [Head("figure", "words"), Head("value"), Head("95 % interval")],
            figures,
            "For each pair a draw decides which response the forecast is about, so that the human label is no constant. "
            "Calibration errors have no interval: they are biased upwards, and resampling them would not cover the truth; "
            "what chance alone would show stands beside.",
        ),
        _recalibrated(found.recalibrations),
    )


def _by_chance(value: float | None) -> str:
    return "" if value is None else f"{numbers.number(value)} by chance alone"


def _recalibrated(found: Sequence[Recalibration]) -> Html | None:
    if not found:
        return None
    heads = [
        Head("method", "words"),
        Head("log-loss before"),
        Head("after"),
        Head("difference"),
        Head("ECE after"),
    ]
    rows: list[list[Child]] = []
    for item in found:
        slope = "" if item.slope is None else f", slope {numbers.estimate_text(item.slope, 2)}"
        rows.append(
            [
                f"{item.method}{slope}",
                below(numbers.estimate_text(item.before)),
                below(numbers.estimate_text(item.after)),
                f"{numbers.signed(item.difference.value)} ({numbers.interval(item.difference)})",
                numbers.number(item.ece_after),
            ]
        )
    return table(
        "What recalibration would do (it uses the human labels)",
        heads,
        rows,
        "Fitted without the pair's own cluster. A slope below 1: the judge is over-confident.",
    )


def literature(comparison: Comparison) -> Html | None:
    """Figures of others, for context."""
    if not comparison.literature:
        return None
    heads = [Head("what", "words"), Head("value"), Head("source", "words")]
    rows: list[list[Child]] = [
        [item.what, numbers.share(item.value, 0), item.source] for item in comparison.literature
    ]
    return more(
        "Figures of the literature, for context only",
        table("Other models, other pairs: not comparable one to one", heads, rows),
    )
