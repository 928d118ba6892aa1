"""Shows a comparison on one screen, in plain words, at 80 columns or more.

Not everything: the verdict, the main table, where agreement is higher and lower, the principles,
biases, revisions. The rest is in comparison.json.

What this module does not know: how figures are computed.
"""

from __future__ import annotations

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cai.compare.figures import Comparison, Estimate, Group, PlantedFigures, Rate

GROUPS_SHOWN = 8
PRINCIPLES_SHOWN = 20


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Print the page."""
    _verdict(console, comparison)
    _accounts(console, comparison)
    if comparison.agreement.judged:
        _main(console, comparison)
        _groups(console, comparison)
        _principles(console, comparison)
        _biases(console, comparison)
    _revisions(console, comparison)
    if comparison.planted is not None:
        _planted(console, comparison.planted)
    _rows(console, comparison)


def percent(rate: Rate) -> str:
    """A share as text: `61.2 % (59.0 to 63.3, n 1,873)`, or `none` where nothing was counted."""
    if rate.value is None or rate.low is None or rate.high is None:
        return "none"
    return f"{100 * rate.value:.1f} % ({100 * rate.low:.1f} to {100 * rate.high:.1f}, n {rate.n:,})"


def _interval(rate: Rate) -> str:
    """A share with its interval, for a table that has the count in a column of its own."""
    if rate.value is None or rate.low is None or rate.high is None:
        return "none"
    return f"{100 * rate.value:.1f} % ({100 * rate.low:.1f} to {100 * rate.high:.1f})"


def figure(estimate: Estimate, digits: int = 3) -> str:
    """A figure as text: `0.221 (0.180 to 0.262)`."""
    if estimate.value is None:
        return "none"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.{digits}f}"
    return f"{estimate.value:.{digits}f} ({estimate.low:.{digits}f} to {estimate.high:.{digits}f})"


def _points(estimate: Estimate) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return ""
    return f"{100 * estimate.value:+.1f} ({100 * estimate.low:+.1f} to {100 * estimate.high:+.1f})"


def _short(rate: Rate) -> str:
    return "none" if rate.value is None else f"{100 * rate.value:.0f} %"


def plain(text: str, style: str = "") -> Text:
    """A name that others wrote, which must not speak to the terminal."""
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return Text(shown, style=style)


def _title(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, style="bold"))


def _note(console: Console, meaning: str) -> None:
    console.print(Padding(Text(meaning, style="dim"), (0, 0, 0, 2), expand=False))


def _line(console: Console, name: str, value: str) -> None:
    console.print(Padding(Text.assemble(f"{name}: ", (value, "bold")), (0, 0, 0, 2), expand=False))


def _table(*names: str, right: tuple[int, ...]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 1))
    for index, name in enumerate(names):
        table.add_column(name, justify="right" if index in right else "left", overflow="fold")
    return table


def _verdict(console: Console, comparison: Comparison) -> None:
    _title(console, "Verdict")
    console.print(Padding(Text(" ".join(comparison.verdict)), (0, 0, 0, 2), expand=False))


def _accounts(console: Console, comparison: Comparison) -> None:
    found = comparison.agreement
    excluded = sum(comparison.excluded.values())
    shortened = f" ({comparison.shortened:,} without their oldest turns)" if comparison.shortened else ""
    text = (
        f"{comparison.rows:,} rows: {comparison.finished:,} finished{shortened}, {comparison.not_finished:,} not, "
        f"{excluded:,} excluded. {found.judged:,} human pairs judged: {found.labelled:,} labelled, "
        f"{found.tied:,} tied, {found.abstained:,} abstained."
    )
    console.print()
    console.print(Padding(Text(text), (0, 0, 0, 2), expand=False))


def _main(console: Console, comparison: Comparison) -> None:
    _title(console, "Agreement with the human labels, ties as half (95 % intervals)")
    table = _table("", "agreement", "says", "kappa", "AI ahead by", right=(1, 2, 3, 4))
    for line in comparison.main.lines:
        kappa = "" if line.kappa.value is None else f"{line.kappa.value:.2f}"
        name = plain(line.name, "bold" if line.kind == "ai" else "")
        table.add_row(name, _interval(line.ties_half), _short(line.coverage), kappa, _points(line.ahead))
    console.print(table)
    found = comparison.calibration
    ece = "none" if found.ece is None else f"{found.ece:.3f} (by chance {found.ece_by_chance or 0:.3f})"
    _note(console, "says: share of pairs on which it prefers one; ahead: in points, paired")
    _line(console, "Kappa of the AI", figure(comparison.kappa))
    _line(console, "Soft label, log-loss (a coin: 0.693)", figure(found.log_loss))
    _line(console, "AUROC (a coin: 0.5)", f"{figure(found.auroc)}; calibration error {ece}")


def _groups(console: Console, comparison: Comparison) -> None:
    shown = [
        (by, group)
        for by in ("subset and split", "confidence")
        for group in comparison.breakdown(by)[:GROUPS_SHOWN]
    ]
    if not shown:
        return
    _title(console, "Agreement on labelled pairs, by group")
    table = _table("", "pairs", "agreement", "", right=(1, 2))
    for by, group in shown:
        name = plain(f"|p-0.5| {group.name}" if by == "confidence" else group.name)
        table.add_row(name, f"{group.agreement.labelled:,}", _interval(group.agreement.decided), _mark(group))
    console.print(table)


def _mark(group: Group) -> str:
    """What a reader must know of a group: too small to rank, or unlike the rest."""
    if group.scan.small:
        return "few"
    return "differs" if group.scan.q is not None and group.scan.q < 0.05 else ""


def _principles(console: Console, comparison: Comparison) -> None:
    if not comparison.principles:
        return
    _title(console, "By principle, each alone")
    table = _table("principle", "decided", "consistent", "|p-0.5|", "agreement", right=(1, 2, 3, 4))
    constitution = None
    for item in comparison.principles[:PRINCIPLES_SHOWN]:
        if item.constitution != constitution:
            constitution = item.constitution
            table.add_row(plain(constitution, "italic"))
        distance = "" if item.distance.value is None else f"{item.distance.value:.3f}"
        shares = (_short(item.decided), _short(item.order_consistency))
        table.add_row(plain(f"  {item.principle}"), *shares, distance, _interval(item.agreement))
    console.print(table)
    more = len(comparison.principles) - PRINCIPLES_SHOWN
    rest = f"; {more} more in comparison.json" if more > 0 else ""
    _note(console, f"consistent: both orders prefer the same; |p-0.5|: how sure it is, 0 to 0.5{rest}")


def _biases(console: Console, comparison: Comparison) -> None:
    human, ai = comparison.bias("human"), comparison.bias("ai")
    if human is None or ai is None:
        return
    _title(console, "What the AI and the human tend to prefer, on the same pairs")
    table = _table("", "AI", "human", right=(1, 2))
    for name in ("longer", "refusal", "evasion", "question"):
        rates: tuple[Rate, Rate] = (getattr(ai, name), getattr(human, name))
        if rates[0].n:
            what = "the longer response" if name == "longer" else f"the one with a {name}"
            table.add_row(what.replace("a evasion", "an evasion"), *(_interval(rate) for rate in rates))
    console.print(table)
    judging = comparison.judging.get("human")
    if judging is not None:
        text = (
            f"answers A {_interval(judging.first_position)}; orders agree "
            f"{figure(judging.order_consistency, 2)}; mass on the options {figure(judging.option_mass, 2)}"
        )
        _line(console, "The judge", text)


def _revisions(console: Console, comparison: Comparison) -> None:
    found = comparison.revisions
    if found is None:
        return
    _title(console, f"Revisions of {found.revised:,} responses")
    _line(
        console, "Preferred to the original", f"{percent(found.preferred)}; usable {_interval(found.usable)}"
    )
    last = max((change.round for change in found.changes), default=0)
    named = {"harm": "P(harmful)", "refuses": "refusals", "evades": "evasions", "words": "words"}
    for change in found.changes:
        if change.round == last and change.measure in named and change.before.value is not None:
            digits = 1 if change.measure == "words" else 3
            text = f"{figure(change.before, digits)} -> {figure(change.after, digits)}"
            _line(console, f"{named[change.measure]}, after round {last}", text)
    if found.phrases:
        phrases = "; ".join(f'"{phrase.text}" {_interval(phrase.revisions)}' for phrase in found.phrases[:3])
        _line(console, "Stock phrases", phrases)
    flags = ", ".join(f"{flag.flag} {flag.rounds.count:,.0f}" for flag in found.flags) or "none"
    _line(console, "Flags, in rounds", flags)


def _planted(console: Console, found: PlantedFigures) -> None:
    _title(console, f"Against the planted truth ({found.n:,} pairs, {found.flipped:,} human labels flipped)")
    _line(console, "AI is right", percent(found.ai))
    _line(console, "Human is right", percent(found.human))
    _line(
        console, "Flips found", f"{percent(found.recall)}; of finds, flips are {_interval(found.precision)}"
    )


def _rows(console: Console, comparison: Comparison) -> None:
    lists = [item for item in comparison.lists if item.total]
    if not lists:
        return
    _title(console, "Rows to read (cai show RUN --row ID)")
    for item in lists:
        ids = ", ".join(row.row_id[:12] for row in item.rows[:3])
        truth = ""
        if item.precision is not None and item.recall is not None and item.recall.n:
            truth = f"; planted: {_interval(item.precision)} of them true, {_interval(item.recall)} of the true ones"
        _line(console, f"{item.name} ({item.total:,})", ids + truth)
    _note(console, "who is right cannot be told from these labels alone; all figures: comparison.json")
