"""What a person reads after the pilot: figures, the cost of the rest, and ten rows.

What this module does not know: how the figures are computed (cai/pilot.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from cai.cli import printable
from cai.cli.display import duration
from cai.outcome import Outcome, outcome_digest, read_outcome
from cai.pilot import PilotChoice, PilotSummary, Share, summarise

if TYPE_CHECKING:
    from cai.live import LiveRun

ROWS_SHOWN = 10
TEXT_SHOWN = 320


def print_pilot(console: Console, live: LiveRun, choice: PilotChoice, left: int) -> PilotSummary:
    """Print the pilot's page and return its figures; `left`: rows of the run that are not finished."""
    outcomes = pilot_outcomes(live, choice)
    summary = summarise(outcomes, len(choice.rows) - len(outcomes))
    console.rule(f"Pilot: {summary.rows:,} of {choice.total:,} rows", align="left")
    for name, value, meaning in _figures(summary):
        console.print(f"{name:<20} {value:<28} [dim]{meaning}[/dim]", soft_wrap=True)
    for line in _cost(live, summary, left):
        console.print(line, soft_wrap=True)
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
    """`71.2 % [64.6, 77.0], n = 200`."""
    if share.share is None or share.interval is None:
        return "none to count"
    low, high = share.interval
    return f"{share.share:.1%} [{low:.1%}, {high:.1%}], n={share.n:,}"


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3f}"


def _figures(summary: PilotSummary) -> list[tuple[str, str, str]]:
    flags = ", ".join(f"{name} {count}" for name, count in summary.flags.most_common())
    rows = [
        (
            "option mass",
            _number(summary.option_mass),
            "probability on A or B; near 1 means the judge answers the question",
        ),
        (
            "order consistency",
            _number(summary.order_consistency),
            "share of principles whose verdict survives swapping the two",
        ),
        ("agreement", share_text(summary.agreement), "AI = human, before ties are set; 95 % interval"),
        ("usable revisions", share_text(summary.usable), "not empty, cut, refused or broken"),
        ("unchanged revisions", share_text(summary.unchanged), "the model saw nothing to change"),
    ]
    if flags:
        rows.append(("revision flags", flags, ""))
    if summary.ties or summary.abstained:
        rows.append(("ties, abstentions", f"{summary.ties}, {summary.abstained}", "pairs without a label"))
    if summary.missing:
        rows.append(
            ("without outcome", f"{summary.missing:,} pilot rows", "in quarantine, or left out by the source")
        )
    if summary.excluded:
        text = ", ".join(f"{name} {count}" for name, count in summary.excluded.most_common())
        rows.append(("excluded", text, "rows that the data leave out"))
    return rows


def _cost(live: LiveRun, summary: PilotSummary, left: int) -> list[str]:
    """The cost of the rest, from the pilot's own tokens and speed."""
    if not summary.rows or left <= 0:
        return ["Nothing is left to pay for."]
    factor = left / summary.rows
    prompt, completion = summary.prompt_tokens * factor, summary.completion_tokens * factor
    line = (
        f"cost of the rest     {left:,} rows, about {prompt:,.0f} tokens read and {completion:,.0f} written"
    )
    progress = live.job.progress
    if progress.finished >= 3:
        accounts = live.ask.accounts.values()
        asked, anew = sum(a.asked for a in accounts), sum(a.answered for a in accounts)
        seconds = progress.elapsed_s() / progress.finished * left * asked / max(1, anew)
        section = live.recipe.run
        hours = seconds / 3600 * section.gpus
        line += f", {duration(seconds)} at the pilot's speed ({hours:.1f} GPU-hours on {section.gpus:g} GPUs"
        line += (
            f", {hours * section.gpu_hour_price:,.2f} at the recipe's price)"
            if section.gpu_hour_price
            else ")"
        )
    return [line]


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
        console.print(
            f"[bold]{escape(row.source)}:{row.line}[/bold]  cai show {escape(live.run.shown)} --row {row.id[:12]}",
            soft_wrap=True,
        )
        _line(console, "human", prompt[-1].text)
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
    console.print(f"  [dim]{name:>11}[/dim]  {escape(printable(short))}", soft_wrap=True)
