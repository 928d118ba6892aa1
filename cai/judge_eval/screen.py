"""Shows an evaluation on a terminal, in plain words, at 80 columns or more.

What this module does not know: how figures are computed.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from cai.compare.estimates import Estimate, Rate
from cai.compare.screen import plain
from cai.judge_eval.figures import (
    GroupFigures,
    HarmGroup,
    HarmRatings,
    JudgeEvaluation,
    LineFault,
    WayFigures,
)

FAULTS_SHOWN = 5
WAYS_ABREAST = 3


def print_evaluation(console: Console, evaluation: JudgeEvaluation) -> None:
    """Print every figure that a person needs; the rest is in the JSON."""
    _print_what(console, evaluation)
    asked = [way for way in evaluation.ways if way.overall.asked]
    if asked:
        _print_right(console, asked)
        _print_sure(console, asked)
        _print_abstentions(console, asked)
        _print_differences(console, evaluation)
        _print_categories(console, asked)
    if evaluation.harm is not None and evaluation.harm.overall.asked:
        _print_harm(console, evaluation.harm)


def _print_what(console: Console, evaluation: JudgeEvaluation) -> None:
    file, judge = evaluation.file, evaluation.judge
    _title(console, f"How good a judge is {judge.model}{f' ({judge.revision})' if judge.revision else ''}?")
    part = "" if file.asked == file.items else f", {file.asked:,} of them asked"
    _note(console, f"{file.name}: {file.items:,} labelled items{part}")
    _print_faults(console, "could not be read", file.unreadable)
    _print_faults(console, "could not be asked", evaluation.failed)
    for way in evaluation.ways:
        left = f" ({way.not_for:,} items cannot be asked so)" if way.not_for else ""
        _note(console, f"{way.way}: {way.asks}{left}")
    if evaluation.harm is not None and evaluation.harm.not_for:
        _note(console, f"harm: {evaluation.harm.not_for:,} items have no label for it")


def _print_faults(console: Console, what: str, faults: Sequence[LineFault]) -> None:
    if not faults:
        return
    shown = "; ".join(f"line {fault.line}: {fault.reason}" for fault in faults[:FAULTS_SHOWN])
    more = f"; {len(faults) - FAULTS_SHOWN:,} more in the JSON" if len(faults) > FAULTS_SHOWN else ""
    _note(console, f"{len(faults):,} {'line' if len(faults) == 1 else 'lines'} {what}: {shown}{more}")


def _print_right(console: Console, ways: Sequence[WayFigures]) -> None:
    _title(console, "Right how often (95 % intervals)")
    table = _table("way", "right", "n", "chance", "agree", "first", "options")
    for way in ways:
        group = way.overall
        table.add_row(
            plain(way.way),
            interval(group.accuracy),
            f"{group.accuracy.n:,}",
            _share(group.chance),
            _share(group.orders_agree.value),
            _share(group.first_position.value),
            _share(group.option_mass.value),
        )
    _show(console, table)
    _note(console, "right: the label's option is the most probable; a tie counts one half.")
    _note(console, "agree: both orders prefer the same. first: single judgements that prefer what")
    _note(console, "is shown first; 50 % is fair. options: the probability that lies on them.")


def _print_sure(console: Console, ways: Sequence[WayFigures]) -> None:
    _title(console, "Sure how rightly")
    table = _table("way", "log-loss", "Brier", "ECE", "by chance", "sorts")
    for way in ways:
        made = way.overall.calibration
        table.add_row(
            plain(way.way),
            _about(way.overall.log_loss),
            _about(way.overall.brier),
            _three(made.ece),
            _three(made.ece_by_chance),
            _three(made.auroc_confidence.value),
        )
    _show(console, table)
    _note(console, "Of two options, saying one half always gives log-loss 0.693 and Brier 0.250.")
    _note(console, "ECE: distance of probability and truth; a perfect judge shows `by chance`.")
    _note(console, "sorts: how often it is surer of a right answer than of a wrong one; 0.5 is chance.")


def _print_abstentions(console: Console, ways: Sequence[WayFigures]) -> None:
    lines = [(way.way, _set_aside(way.overall)) for way in ways]
    if any(said for _, said in lines):
        _title(console, "Ties, and items without an answer")
        for name, said in lines:
            if said:
                _note(console, f"{name}: {said}")


def _set_aside(group: GroupFigures) -> str:
    """Items that count one half or not at all, and why."""
    said = []
    if group.tied:
        said.append(f"{group.tied:,} tied (right without them: {interval(group.decided)})")
    if group.too_long:
        said.append(f"{group.too_long:,} too long")
    if group.abstained:
        said.append(f"{group.abstained:,} abstained")
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in group.abstentions.items())
    return ", ".join(said) + (f" (of {group.judgements:,} judgements: {kinds})" if kinds else "")


def _print_differences(console: Console, evaluation: JudgeEvaluation) -> None:
    found = [item for item in evaluation.differences if item.difference.value is not None]
    if not found:
        return
    _title(console, "One way less another, on the same items (points)")
    table = _table("ways", "difference", "n", "McNemar p")
    for item in found:
        value, low, high = (
            100 * x if x is not None else None
            for x in (item.difference.value, item.difference.low, item.difference.high)
        )
        said = f"{value:+.1f}" + (f" ({low:+.1f} to {high:+.1f})" if low is not None else "")
        p = "" if item.mcnemar_p is None else f"{item.mcnemar_p:.3f}"
        table.add_row(plain(f"{item.one} - {item.other}"), said, f"{item.difference.n:,}", p)
    _show(console, table)


def _print_categories(console: Console, ways: Sequence[WayFigures]) -> None:
    names = list(dict.fromkeys(group.category for way in ways for group in way.categories))
    if not names:
        return
    _title(console, "By category: right, a tie one half")
    for start in range(0, len(ways), WAYS_ABREAST):
        some = ways[start : start + WAYS_ABREAST]
        table = _table("category", "items", *(way.way for way in some))
        for name in names:
            groups = [{group.category: group for group in way.categories}.get(name) for way in some]
            there = [group for group in groups if group is not None]
            if not there:
                continue
            small = " *" if there[0].small else ""
            cells = ["" if group is None else _short(group.accuracy) for group in groups]
            table.add_row(plain(name or "(none)"), f"{max(group.asked for group in there):,}{small}", *cells)
        _show(console, table)
    if any(group.small for way in ways for group in way.categories):
        _note(console, "* few items: the interval says more than the figure.")


def _print_harm(console: Console, harm: HarmRatings) -> None:
    _title(console, "Is this response harmful? (P(True), each response alone)")
    groups = [harm.overall, *harm.categories]
    if harm.overall.labelled:
        table = _table("category", "n", "harmful", "AUROC", "right at 0.5", "ECE")
        for group in groups:
            if group.labelled:
                table.add_row(
                    plain(group.category or "(none)"),
                    f"{group.labelled:,}{' *' if group.small else ''}",
                    f"{group.harmful:,}",
                    number(group.auroc),
                    _short(group.right),
                    _three(group.calibration.ece),
                )
        _show(console, table)
    if harm.overall.pairs:
        table = _table("category", "pairs", "the lower rating wins", "AUROC over responses")
        for group in groups:
            if group.pairs:
                count = f"{group.pairs:,}{' *' if group.small else ''}"
                table.add_row(
                    plain(group.category or "(none)"),
                    count,
                    interval(group.lower_wins),
                    number(group.pair_auroc),
                )
        _show(console, table)
        _note(console, "A pair's label says which response is better, not that either is harmful.")
    said = _without_rating(harm.overall)
    if said:
        _note(console, said)


def _without_rating(group: HarmGroup) -> str:
    parts = [
        f"{count:,} {what}"
        for count, what in ((group.too_long, "too long"), (group.abstained, "abstained"))
        if count
    ]
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in group.abstentions.items())
    return "without a rating: " + ", ".join(parts) + (f" ({kinds})" if kinds else "") if parts else ""


# ---------------------------------------------------------------------- pieces


def _title(console: Console, text: str) -> None:
    console.print()
    console.print(plain(text, style="bold"))


def _note(console: Console, text: str) -> None:
    console.print(Padding(plain(text, style="dim"), (0, 0, 0, 2), expand=False))


def _table(first: str, *rest: str) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim", show_edge=False)
    table.add_column(first, max_width=30)
    for name in rest:
        table.add_column(plain(name), justify="right", no_wrap=True)
    return table


def _show(console: Console, table: Table) -> None:
    console.print(Padding(table, (0, 0, 0, 2), expand=False))


def interval(rate: Rate) -> str:
    """A share with its interval: `61.2 % (59 to 63)`, or `none` where nothing was counted."""
    if rate.value is None or rate.low is None or rate.high is None:
        return "none"
    return f"{100 * rate.value:.1f} % ({100 * rate.low:.0f} to {100 * rate.high:.0f})"


def _short(rate: Rate) -> str:
    if rate.value is None or rate.low is None or rate.high is None:
        return "none"
    return f"{100 * rate.value:.0f} % ({100 * rate.low:.0f} to {100 * rate.high:.0f})"


def number(estimate: Estimate) -> str:
    """A figure with its interval: `0.221 (0.18 to 0.26)`."""
    if estimate.value is None:
        return "none"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ({estimate.low:.2f} to {estimate.high:.2f})"


def _about(estimate: Estimate) -> str:
    """A figure whose interval is symmetric: `0.221 ± 0.041`."""
    if estimate.value is None or estimate.high is None:
        return number(estimate)
    return f"{estimate.value:.3f} ± {estimate.high - estimate.value:.3f}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.0f} %"


def _three(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
