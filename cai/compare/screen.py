"""Shows a comparison on a terminal, in plain words, at 80 columns or more.

What this module does not know: how figures are computed.
"""

from __future__ import annotations

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cai.compare.figures_v1 import Agreement, Comparison, Disagreement, Estimate, PlantedFigures, Rate

EXCERPT_CHARACTERS = 300


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Print every figure, each with a line that says what it means."""
    _print_accounts(console, comparison)
    if comparison.agreement.judged:
        _print_agreement(console, comparison)
        _print_calibration(console, comparison)
        _print_groups(console, comparison)
        _print_principles(console, comparison)
    _print_judging(console, comparison)
    _print_revisions(console, comparison)
    if comparison.planted is not None:
        _print_planted(console, comparison.planted)
    for number, item in enumerate(comparison.disagreements, start=1):
        _print_disagreement(console, number, item)


def percent(rate: Rate) -> str:
    """A share as text: `61.2 % (59.0 to 63.3, n 1,873)`, or `none` where nothing was counted."""
    if rate.value is None or rate.low is None or rate.high is None:
        return "none"
    return f"{100 * rate.value:.1f} % ({100 * rate.low:.1f} to {100 * rate.high:.1f}, n {rate.n:,})"


def _interval(rate: Rate) -> str:
    """A share with its interval, for a table that has the count in a column of its own."""
    if rate.value is None or rate.low is None or rate.high is None:
        return "none"
    return f"{100 * rate.value:.1f} % ({100 * rate.low:.0f} to {100 * rate.high:.0f})"


def figure(estimate: Estimate) -> str:
    """A figure as text: `0.221 (0.180 to 0.262)`."""
    if estimate.value is None:
        return "none"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def _title(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, style="bold"))


def _lines(console: Console, lines: list[tuple[str, str, str]]) -> None:
    """Name, figure, and under them what it means."""
    for name, value, meaning in lines:
        console.print(Padding(Text.assemble(f"{name}: ", (value, "bold")), (0, 0, 0, 2), expand=False))
        if meaning:
            _note(console, meaning, 4)


def _note(console: Console, meaning: str, indent: int = 2) -> None:
    console.print(Padding(Text(meaning, style="dim"), (0, 0, 0, indent), expand=False))


def _print_accounts(console: Console, comparison: Comparison) -> None:
    found = comparison.agreement
    _title(console, "Rows")
    excluded = ", ".join(f"{reason} {count:,}" for reason, count in comparison.excluded.items()) or "none"
    _lines(
        console,
        [
            ("Source rows", f"{comparison.rows:,}", ""),
            ("Finished", f"{comparison.finished:,} (not finished: {comparison.not_finished:,})", ""),
            ("Excluded", excluded, ""),
            (
                "Human pairs judged",
                f"{found.judged:,}: {found.labelled:,} labelled, {found.tied:,} tied, {found.abstained:,} abstained",
                "tied: too close to one half to call; abstained: the judge gave no readable answer",
            ),
        ],
    )


def _print_agreement(console: Console, comparison: Comparison) -> None:
    found, length = comparison.agreement, comparison.length
    _title(console, "Agreement with the human labels (95 % intervals)")
    _lines(
        console,
        [
            ("Agreement", percent(found.decided), "of labelled pairs, AI and human prefer the same response"),
            ("With ties as half", percent(found.ties_half), "the same, a tie counting as half an agreement"),
            ("Coverage", percent(found.coverage), "of judged pairs got a label"),
            ("Cohen's kappa", figure(comparison.kappa), "agreement beyond chance: 0 is chance, 1 is perfect"),
            (
                "AI prefers the longer",
                percent(length.ai),
                "of labelled pairs whose responses differ in length",
            ),
            ("Human prefers the longer", percent(length.human), "on the same pairs"),
        ],
    )


def _print_calibration(console: Console, comparison: Comparison) -> None:
    found = comparison.calibration
    _title(console, "Calibration of the soft label, as a forecast of the human label")
    table = _table("the AI says", "on average", "humans agree", right=(0, 1, 2))
    for item in found.bins:
        table.add_row(f"{item.low:.2f} to {item.high:.2f}", f"{item.mean:.3f}", percent(item.human))
    console.print(table)
    ece = "none" if found.ece is None else f"{found.ece:.3f}"
    _lines(
        console,
        [
            (
                "Calibration error (ECE)",
                ece,
                "mean gap between the two columns; 0 is perfect, small bins inflate it",
            ),
            ("Brier score", figure(found.brier), "mean squared error; always saying one half gives 0.25"),
            ("Log-loss", figure(found.log_loss), "in nats; always saying one half gives 0.693"),
        ],
    )


def _print_groups(console: Console, comparison: Comparison) -> None:
    _title(console, "By subset and split")
    table = _table("subset", "split", "labelled", "tied", "abst.", "agreement", right=(2, 3, 4, 5))
    for group in comparison.groups:
        found: Agreement = group.agreement
        counts = (f"{found.labelled:,}", f"{found.tied:,}", f"{found.abstained:,}")
        table.add_row(group.subset, group.split, *counts, _interval(found.decided))
    console.print(table)
    _note(console, "agreement: of labelled pairs; abst.: the judge gave no readable answer")


def _print_principles(console: Console, comparison: Comparison) -> None:
    _title(console, "By principle, each alone")
    table = _table("principle", "decided", "consistent", "|p-0.5|", "agreement", right=(1, 2, 3, 4))
    constitution = None
    for item in comparison.principles:
        if item.constitution != constitution:
            constitution = item.constitution
            table.add_row(Text(constitution, style="italic"))
        distance = "" if item.distance.value is None else f"{item.distance.value:.3f}"
        shares = (_short(item.decided), _short(item.order_consistency))
        table.add_row(f"  {item.principle}", *shares, distance, percent(item.agreement))
    console.print(table)
    _note(console, "consistent: both orders prefer the same response; |p-0.5|: how sure it is, 0 to 0.5")


def _print_judging(console: Console, comparison: Comparison) -> None:
    for kind, found in comparison.judging.items():
        _title(console, f"How the judge behaved on {kind} pairs ({found.judged:,})")
        judgements = f"{found.judgements:,} (abstained: {found.abstained_judgements:,})"
        _lines(
            console,
            [
                ("Single judgements", judgements, ""),
                (
                    "Order consistency",
                    figure(found.order_consistency),
                    "share of principles whose orders agree",
                ),
                (
                    "Answers A",
                    percent(found.first_position),
                    "far from 50 %: it favours a place, not a response",
                ),
                (
                    "Option mass",
                    figure(found.option_mass),
                    "probability on A and B; the rest was another answer",
                ),
            ],
        )


def _print_revisions(console: Console, comparison: Comparison) -> None:
    found = comparison.revisions
    if found is None:
        return
    _title(console, f"Revisions of {found.revised:,} responses")
    flags = ", ".join(f"{flag} {count:,}" for flag, count in found.flags.items()) or "none"
    _lines(
        console,
        [
            ("Usable", percent(found.usable), "of responses have a usable revision at the end"),
            ("Unchanged", percent(found.unchanged), "of those say what the original said"),
            ("Preferred to the original", percent(found.preferred), "of labelled pairs, by the judge"),
            ("With ties as half", percent(found.preferred_ties_half), ""),
            *((f"Usable in round {item.number}", percent(item.usable), "") for item in found.rounds),
            ("Flags, in rounds", flags, ""),
        ],
    )


def _print_planted(console: Console, found: PlantedFigures) -> None:
    _title(console, f"Against the planted truth ({found.n:,} pairs, {found.flipped:,} human labels flipped)")
    _lines(
        console,
        [
            ("AI is right", percent(found.ai), "where one response is truly better and the AI has a label"),
            ("Human is right", percent(found.human), "where one response is truly better"),
            ("AI, both responses bad", percent(found.ai_both_bad), ""),
            ("Flips found", percent(found.recall), "of flipped labels, the AI contradicts so many (recall)"),
            (
                "Finds that are flips",
                percent(found.precision),
                "of contradictions, so many are flips (precision)",
            ),
        ],
    )


def _print_disagreement(console: Console, number: int, item: Disagreement) -> None:
    if number == 1:
        _title(console, "The most confident disagreements")
        _note(console, "who is right cannot be told from these labels alone")
    where = f"{item.subset}, {item.split}, line {item.line}" if item.line is not None else item.subset
    console.print()
    console.print(Text(f"{number}. {where} (row {item.row_id})", style="bold"))
    prompt = item.prompt[-1]["content"] if item.prompt else ""
    sides = f"{', '.join(item.for_ai) or 'none'}; for the human: {', '.join(item.for_human) or 'none'}"
    _lines(
        console,
        [
            ("Last prompt turn", _excerpt(prompt), ""),
            ("Human's choice", _excerpt(item.human_choice), ""),
            (f"AI's choice (p {item.ai_probability:.3f})", _excerpt(item.ai_choice), ""),
            ("Principles for the AI", sides, ""),
        ],
    )


def _excerpt(text: str) -> str:
    shown = " ".join(text.split())
    shown = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in shown
    )
    return shown if len(shown) <= EXCERPT_CHARACTERS else f"{shown[:EXCERPT_CHARACTERS]} ..."


def _short(rate: Rate) -> str:
    return "" if rate.value is None else f"{100 * rate.value:.0f} %"


def _table(*names: str, right: tuple[int, ...]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 1))
    for index, name in enumerate(names):
        table.add_column(name, justify="right" if index in right else "left", overflow="fold")
    return table
