"""One exact request on a terminal: each line beside the file and line, or row and field, it came from.

What this module does not know: the row, the outcome, how the story is found.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from cai.parts import Part
    from cai.template import Rendered
    from cai.trace import Exchange

GUTTER = 28
_COLOURS = {
    "template": "cyan",
    "principle": "magenta",
    "example": "blue",
    "recipe": "yellow",
    "row": "white",
    "model": "green",
}
_FIRST = {"human": "chosen", "revised": "the revision"}


def pair_words(kind: str, about: str) -> str:
    """A pair in words: `chosen against rejected (the human pair)`, `revision of rejected against its original`."""
    if kind == "human":
        return "chosen against rejected (the human pair)"
    if kind == "sampled":
        return f"samples {' and '.join(about.split())} of the model's own"
    return f"revision of {about} against its original"


def title(labels: Mapping[str, str | int]) -> str:
    """What a request is for, in words."""
    stage, about = str(labels.get("stage", "")), str(labels.get("about", ""))
    words = [stage]
    if "pair" in labels:
        words = [f"{stage}, {pair_words(str(labels['pair']), about)}"]
    elif "of" in labels:
        words = [f"{stage} of {labels['of']}"]
    if "response" in labels:
        words.append(str(labels["response"]))
    if "round" in labels:
        words.append(f"round {labels['round']}")
    if "principle" in labels:
        words.append(f"principle {labels['principle']}")
    if "order" in labels:
        first = _FIRST.get(str(labels.get("pair")), f"sample {about.split()[0] if about else 0}")
        words.append(f"{first} shown as {'A' if labels['order'] == 'first_is_a' else 'B'}")
    if "sample" in labels:
        words.append(f"sample {labels['sample']}")
    if "turns_dropped" in labels:
        words.append(f"without the {labels['turns_dropped']} oldest turns")
    return ", ".join(words)


def print_exchange(console: Console, exchange: Exchange, before: Exchange | None) -> None:
    """A request whole, then its answer; what it shares with the one `before` is left out."""
    console.rule(f"{_text(title(exchange.request.labels))} · {exchange.digest[:12]}", align="left")
    _print_request(console, exchange, before)
    _print_answer(console, exchange)


def _text(text: str) -> str:
    from cai.cli import printable

    return escape(printable(text))


def _print_request(console: Console, exchange: Exchange, before: Exchange | None) -> None:
    """The request, line by line beside its origins; what it shares with the one before is left out."""
    lines = request_lines(exchange.request.rendered)
    shown = request_lines(before.request.rendered) if before is not None else []
    same = 0
    while same < min(len(lines), len(shown)) and lines[same] == shown[same]:
        same += 1
    if same > 3:
        console.print(f"[dim]{'':>{GUTTER}} … {same} lines as in the request above[/dim]")
        lines = lines[same:]
    for origin, text in lines:
        console.print(f"[dim]{_text(origin):>{GUTTER}} │[/dim] {text}", soft_wrap=True)


def request_lines(rendered: Rendered) -> list[tuple[str, str]]:
    """A request as (origin, text with colour marks) for each line.

    A line's origin is that of its first part that is no literal text of a template, or else of
    its first part.
    """
    lines: list[tuple[str, str]] = []
    for message in rendered.messages:
        lines.append(("", f"[bold]── {message.role}[/bold]"))
        lines += _lines(message.parts)
    if rendered.thinking is not None:
        lines.append(("", "[bold]── the model thinks[/bold]"))
        lines += _lines(rendered.thinking) if rendered.thinking else []
    if rendered.answer:
        lines.append(("", "[bold]── the answer begins[/bold]"))
        lines += _lines(rendered.answer)
    return lines


def _lines(parts: Sequence[Part]) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    text, origin, kind = "", "", ""
    here = ""  # the origin of a line without text: the part that it lies in
    for part in parts:
        for number, piece in enumerate(part.text.split("\n")):
            if number:
                lines.append((origin or here, text))
                text, origin, kind = "", "", ""
            here = _origin(part, number)
            if piece or (number == 0 and not part.text):
                colour = _COLOURS[part.kind]
                text += f"[{colour}]{_text(piece)}[/{colour}]"
                if not origin or (kind == "template" and part.kind != "template"):
                    origin, kind = here, part.kind
    lines.append((origin or here, text))
    return lines


def _origin(part: Part, line: int) -> str:
    """Where a part's line (0: its first) stands; a template's text stands there as it is shown."""
    file, _, first = part.origin.rpartition(":")
    return f"{file}:{int(first) + line}" if part.kind == "template" and first.isdigit() else part.origin


def _print_answer(console: Console, exchange: Exchange) -> None:
    from cai.request import Scores

    answer = exchange.answer
    if answer is None:
        console.print("[yellow]not asked yet[/yellow]")
    elif answer.finish == "too_long":
        context = "" if answer.context_tokens is None else f" of {answer.context_tokens:,} tokens"
        console.print(f"[yellow]it does not fit into the context{context}[/yellow]")
    elif isinstance(answer, Scores):
        options = exchange.request.options if hasattr(exchange.request, "options") else ()
        shown = ", ".join(
            f"P({name}) = {math.exp(value):.4f}"
            for name, value in zip(options, answer.logprobs, strict=False)
        )
        outside = "unknown" if answer.outside is None else f"{answer.outside:.4f}"
        console.print(f"[bold]answer:[/bold] {shown}; outside the options {outside}")
    else:
        if answer.reasoning:
            known = (
                ""
                if answer.reasoning_tokens is None
                else f" ({answer.reasoning_tokens} tokens of the answer's)"
            )
            console.print(f"[bold]thought first[/bold]{known}:")
            console.print(f"[dim]{_text(answer.reasoning)}[/dim]")
        console.print(
            f"[bold]answer[/bold] ({answer.finish}, {answer.prompt_tokens} + {answer.completion_tokens} tokens):"
        )
        console.print(f"[green]{_text(answer.text)}[/green]")
