"""What a person reads after the pilot: figures, the cost of the rest, and ten rows.

What this module does not know: how the figures are computed (cai/pilot.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cai.cli import printable
from cai.cli.display import about, duration
from cai.compare.figures import Rate
from cai.outcome import Outcome, outcome_digest, read_outcome
from cai.pilot import PilotChoice, PilotSummary, summarise
from cai.share import Share

if TYPE_CHECKING:
    from cai.live import LiveRun

ROWS_SHOWN = 10
TEXT_SHOWN = 260


def print_pilot(console: Console, live: LiveRun, choice: PilotChoice, left: int) -> PilotSummary:
    """Print the pilot's page and return its figures; `left`: rows of the run that are not finished."""
    outcomes = pilot_outcomes(live, choice)
    missing = len(choice.rows) - len(outcomes)
    summary = summarise(outcomes, missing, live.recipe.dataset.tie_threshold)
    console.rule(f"Pilot: {summary.rows:,} of {choice.total:,} rows", align="left")
    for name, value, meaning in (*_figures(summary), *_cost(live, summary, left)):
        console.print(Padding(Text.assemble(f"{name}: ", (value, "bold")), (0, 0, 0, 2), expand=False))
        if meaning:
            console.print(Padding(Text(meaning, style="dim"), (0, 0, 0, 4), expand=False))
    _print_rows(console, live, outcomes)
    return summary


def pilot_outcomes(live: LiveRun, choice: PilotChoice) -> list[Outcome]:
    """The outcomes of the pilot's rows that are finished."""
    found = []
    for row in choice.rows:
        record = live.store.get(outcome_digest(row, live.generation.digest))
        if record is not None:
            found.append(read_outcome(record.answer))
    return found


def share_text(share: Share) -> str:
    """As `cai compare` writes it: `71.2 % (64.6 to 77.0, n 200)`."""
    from cai.compare.screen import percent

    low, high = share.interval or (None, None)
    return percent(Rate(share.share, low, high, share.k, share.n))


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3f}"


def _figures(summary: PilotSummary) -> list[tuple[str, str, str]]:
    """Name, value and meaning; names and definitions are those of `cai compare`."""
    labelled = summary.agreement.n
    judged = labelled + summary.ties + summary.abstained
    rows = [
        (
            "Agreement",
            share_text(summary.agreement),
            "of labelled pairs, AI and human prefer the same response",
        ),
        (
            "Human pairs judged",
            f"{judged:,}: {labelled:,} labelled, {summary.ties:,} tied, {summary.abstained:,} abstained",
            "",
        ),
        (
            "Order consistency",
            _number(summary.order_consistency),
            "share of principles whose verdict survives swapping the responses",
        ),
        ("Option mass", _number(summary.option_mass), "probability on A and B; the rest was another answer"),
    ]
    if summary.usable.n:
        flags = ", ".join(f"{name} {count:,}" for name, count in summary.flags.most_common()) or "none"
        rows += [
            ("Usable", share_text(summary.usable), "of revised responses have a usable revision at the end"),
            ("Unchanged", share_text(summary.unchanged), "of those say what the original said"),
            ("Flags, in rounds", flags, ""),
        ]
    if summary.missing:
        rows.append(
            ("Without outcome", f"{summary.missing:,} pilot rows", "in quarantine, or left out by the source")
        )
    if summary.shortened:
        rows.append(
            ("Did not fit whole", f"{summary.shortened:,} rows", "all was asked without their oldest turns")
        )
    if summary.excluded:
        text = ", ".join(f"{name} {count:,}" for name, count in summary.excluded.most_common())
        rows.append(("Excluded", text, "rows that the data leave out"))
    return rows


def _cost(live: LiveRun, summary: PilotSummary, left: int) -> list[tuple[str, str, str]]:
    """The cost of the rest, from the pilot's own tokens and speed."""
    if not summary.rows or left <= 0:
        return [("Left", "no rows; nothing more to pay for", "")]
    factor = left / summary.rows
    read, written = about(summary.prompt_tokens * factor), about(summary.completion_tokens * factor)
    tokens = f"about {read} tokens read and {written} written"
    progress = live.job.progress
    if progress.finished < 3:
        return [("Left", f"{left:,} rows", tokens)]
    accounts = live.ask.accounts.values()
    asked, anew = sum(a.asked for a in accounts), sum(a.answered for a in accounts)
    seconds = progress.elapsed_s() / progress.finished * left * asked / max(1, anew)
    section = live.recipe.run
    hours = seconds / 3600 * section.gpus
    gpus = f"{section.gpus:g} GPU{'' if section.gpus == 1 else 's'}"
    price = f", {hours * section.gpu_hour_price:,.2f} at the recipe's price" if section.gpu_hour_price else ""
    speed = f"{hours:.1f} GPU-hours on {gpus}{price}, at the pilot's speed"
    return [("Left", f"{left:,} rows, about {duration(seconds)}", f"{tokens}; {speed}")]


def _print_rows(console: Console, live: LiveRun, outcomes: Sequence[Outcome]) -> None:
    done = {outcome.row: outcome for outcome in outcomes if outcome.excluded is None}
    shown = list(done)[:ROWS_SHOWN]
    if not shown:
        return
    console.rule(f"{len(shown)} rows to read", align="left")
    wanted = set(shown)
    for row in live.source.items(only=wanted.__contains__):
        outcome = done.pop(row.id, None)
        prompt = getattr(row, "prompt", ())
        if outcome is None or not prompt:
            continue
        console.print(Text(f"{printable(row.source)}:{row.line}", style="bold"))
        console.print(
            f"  [dim]cai show {escape(live.run.shown)} --row {row.id[:12]}[/dim]",
            soft_wrap=True,
        )
        _line(console, "Human", prompt[-1].text)
        _print_outcome(console, outcome)
        console.print()
        wanted.discard(row.id)
        if not wanted:
            break


def _print_outcome(console: Console, outcome: Outcome) -> None:
    for revision in outcome.revisions:
        _line(console, revision.of, revision.original)
        for item in revision.rounds:
            if item.critique:
                _line(console, f"critique {item.number}", f"({item.principle}) {item.critique}")
            flags = f"({', '.join(item.flags)}) " if item.flags else ""
            _line(console, f"revision {item.number}", flags + (item.text or item.raw))
    for feedback in outcome.feedback:
        if feedback.kind == "human" and not outcome.revisions:
            _line(console, feedback.first, feedback.first_text)
            _line(console, feedback.second, feedback.second_text)
        if feedback.probability is None:
            verdict = f"no label: {feedback.abstained} principles abstained"
        else:
            verdict = f"P({feedback.first} is better than {feedback.second}) = {feedback.probability:.3f}"
        _line(console, "judge", verdict)


def _line(console: Console, name: str, text: str) -> None:
    short = " ".join(text.split())
    if len(short) > TEXT_SHOWN:
        short = short[:TEXT_SHOWN] + " …"
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=13, justify="right", style="dim")
    grid.add_column(overflow="fold")
    grid.add_row(name, Text(printable(short)))
    console.print(grid)
