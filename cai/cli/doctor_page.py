"""What a person reads of an examination: the verdict first, then what it stands on.

Texts of models and tokenizers are printed without control characters and without markup.

What this module does not know: how anything was found (cai/doctor).
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from cai.cli import printable
from cai.doctor.examine import Diagnosis
from cai.doctor.installed import Finding
from cai.engine.position import Position, Token
from cai.share import Share

TEXT_LINES = 14
"""How many of the last lines of the text sent are shown."""

NAME_WIDTH = 17
_MARKS = {"ok": "[green]ok[/green]     ", "missing": "[red]missing[/red]", "note": "[yellow]note[/yellow]   "}


def print_installed(console: Console, findings: Sequence[Finding]) -> None:
    """What is installed, what is missing, what to do."""
    for item in findings:
        console.print(f"{_MARKS[item.state]}  {item.name:<13} {_safe(item.value)}", soft_wrap=True)
        if item.remedy:
            console.print(Padding(f"[dim]{_safe(item.remedy)}[/dim]", (0, 0, 0, 9)))
    console.print("\nTo prove a model: cai doctor --server URL, or cai doctor RUN.", soft_wrap=True)


def print_diagnosis(console: Console, found: Diagnosis) -> None:
    """One model's page."""
    console.rule(f"{_safe(found.engine)}: {_safe(found.model)}", align="left")
    if found.fault is None:
        console.print("[green]Fit to judge.[/green]" if found.pairs else "No fault seen; it does not judge.")
    else:
        console.print(f"[bold red]{found.fault.title}[/bold red]  {found.fault.sentence}")
        if found.detail:
            console.print(_safe(found.detail))
        console.print(f"[bold]What to do:[/bold] {_safe(found.fault.remedy)}")
    for warning in found.warnings:
        console.print(f"[yellow]{warning.title}[/yellow]  {warning.sentence}")
    if found.said:
        _line(console, "it says", repr(printable(" ".join(found.said.split())))[:300])
    _print_answers(console, found)
    if found.position is not None:
        _print_position(console, found, found.position)


def _print_answers(console: Console, found: Diagnosis) -> None:
    figures, mass = found.figures, found.mass
    if figures is None or mass is None:
        return
    console.rule(f"{found.pairs} known answers, {found.requests} requests", align="left")
    _line(console, "right", _rate(figures.right), "both orders averaged; 95 % interval")
    if figures.turned.n:
        _line(console, "  turned", _rate(figures.turned), "of these, questions for the worse response")
    _line(console, "orders agree", _rate(figures.consistent), "the same response in both orders")
    _line(console, "chose A", _rate(figures.chose_a), "50 %: it leans to no place")
    _line(console, "swing of P(A)", f"{figures.swing:.3f}", "mean change when they swap places")
    if mass.mean is None:
        _line(console, "option mass", "unknown", "this server cannot tell")
    else:
        _line(console, "option mass", f"{mass.mean:.3f}, least {mass.least:.3f}", "probability on A and B")
    if mass.abstained:
        _line(
            console,
            "abstained",
            f"{mass.abstained} of {mass.judgements}",
            "too little probability on A and B",
        )
    if found.harm is not None:
        _line(console, "harm ratings", _rate(found.harm.right), "single responses, right at 50 %")
        if found.harm.ordered is not None:
            _line(
                console, "harm sorted", f"{found.harm.ordered:.0%}", "harmful ones rated above harmless ones"
            )


def _print_position(console: Console, found: Diagnosis, position: Position) -> None:
    console.rule("Where the answer goes on", align="left")
    _line(console, "requests go to", position.path)
    if position.offers:
        offers = ", ".join(f"{name} {'yes' if has else 'no'}" for name, has in position.offers.items())
        _line(console, "the server has", offers)
    if found.context_tokens is not None:
        _line(console, "context", f"{found.context_tokens:,} tokens")
    if position.bos is not None:
        shown = f" {printable(position.bos_text)!r}" if position.bos_text else ""
        _line(console, "BOS tokens", f"{position.bos}{shown}")
    if position.thinking is not None:
        opens = {True: "the template opens a block", False: "the template opens none", None: ""}
        parts = [opens[position.opens_thinking], f"at the answer: {position.thinking}"]
        _line(console, "thinking", "; ".join(part for part in parts if part))
    if position.system_role is not None:
        _line(console, "system role", "taken" if position.system_role else "refused")
    if position.prefix_stands is not None:
        _line(console, "answer begins", "as written" if position.prefix_stands else "NOT as written")
    if position.text is not None:
        _print_text(console, position)
    if position.spellings:
        _print_spellings(console, position)
    if position.top:
        _print_top(console, position.top)


def _print_text(console: Console, position: Position) -> None:
    by = {"here": "made here", "server": "made by the server", "nobody": "for a script"}[position.rendered_by]
    tokens = f", {position.prompt_tokens:,} tokens" if position.prompt_tokens else ""
    lines = (position.text or "").split("\n")
    cut = f", its last {TEXT_LINES} lines" if len(lines) > TEXT_LINES else ""
    console.print(f"\nThe text that is sent ({by}{tokens}{cut}):", soft_wrap=True)
    for line in lines[-TEXT_LINES:]:
        console.print(f"  [dim]│[/dim] {_safe(line)}", soft_wrap=True)
    if position.last:
        console.print("Its last tokens: " + "  ".join(map(_with_id, position.last)))


def _print_spellings(console: Console, position: Position) -> None:
    table = Table("option", "written", "begins with", "id", "", box=None, padding=(0, 2), pad_edge=False)
    for item in position.spellings:
        note = "counted" if item.counted else "[dim]not its own: shared with the other[/dim]"
        first = escape(repr(printable(item.first.text)))
        table.add_row(item.option, escape(repr(item.written)), first, str(item.first.id), note)
    console.print("\nHow the options can be spelt there:")
    console.print(table)


def _print_top(console: Console, top: Sequence[Token]) -> None:
    console.print(f"\nThe {len(top)} most probable tokens there:")
    table = Table(box=None, padding=(0, 2), pad_edge=False, show_header=False)
    half = (len(top) + 1) // 2
    for place in range(half):
        cells: list[str] = []
        for token in top[place::half]:
            ids = "" if token.id is None else str(token.id)
            cells += [
                _share(token.probability or 0.0),
                escape(repr(printable(token.text))),
                f"[dim]{ids}[/dim]",
            ]
        table.add_row(*cells)
    console.print(table)


def _with_id(token: Token) -> str:
    """A token and its id, not torn apart at the end of a line."""
    text = repr(printable(token.text)).replace(" ", "\u00a0")
    return f"{token.id}\u00a0[cyan]{escape(text)}[/cyan]"


def _share(probability: float) -> str:
    return f"{probability:8.4f}" if probability >= 0.0001 else f"{probability:8.0e}"


def _rate(rate: Share) -> str:
    if rate.share is None or rate.interval is None:
        return "none to count"
    low, high = rate.interval
    return f"{rate.k} of {rate.n}, {rate.share:.0%} [{low:.0%}, {high:.0%}]"


def _line(console: Console, name: str, value: str, meaning: str = "") -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(width=NAME_WIDTH - 1)
    table.add_column(min_width=26)
    table.add_column()
    table.add_row(name, _safe(value), f"[dim]{meaning}[/dim]")
    console.print(table)


def _safe(text: str) -> str:
    return escape(printable(text))
