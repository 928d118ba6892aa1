"""Markdown from texts that others wrote: what they wrote is shown, and does nothing else.

`Markdown` marks what is markup already; every other text is escaped where it is placed, so that no
principle, model name or row can become a heading, a link, a formula or HTML.

What this module does not know: what is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from cai.report.markup import escape as escape_html
from cai.report.markup import visible

_ESCAPED = str.maketrans(
    {
        **{letter: f"\\{letter}" for letter in "`*_{}[]#|~!"},
        # as numbers: before brackets a backslash begins a formula on the Hub, a dollar sign always does
        **{letter: f"&#{ord(letter)};" for letter in "\\&<>$"},
    }
)
_BLOCK = re.compile(r"^([-+=])(?![0-9])|^([0-9]{1,9})([.)])(?=\s|$)")


class Markdown(str):
    """Text that is Markdown already."""

    __slots__ = ()


def plain(text: str) -> Markdown:
    """Text as one line of Markdown that shows it, wherever in a line or a cell it stands."""
    line = " ".join(visible(text).split())
    escaped = line.translate(_ESCAPED)
    return Markdown(_BLOCK.sub(lambda m: f"\\{m[1]}" if m[1] else f"{m[2]}\\{m[3]}", escaped))


def word(text: str) -> Markdown:
    """A name as code, which shows every character as it is."""
    line = " ".join(visible(text).split())
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if line[:1] == "`" or line[-1:] == "`" else ""
    return Markdown(f"{fence}{pad}{line}{pad}{fence}".replace("|", "\\|")) if line else Markdown("")


def code(text: str, language: str = "") -> Markdown:
    """A text as a block, with a fence that it cannot close."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    shown = "\n".join(visible(line) for line in text.rstrip("\n").split("\n"))
    return Markdown(f"{fence}{language}\n{shown}\n{fence}")


def summary(text: str) -> Markdown:
    """The line that opens a folded part, where Markdown does not hold and HTML does."""
    return Markdown(f"<summary>{escape_html(' '.join(text.split()))}</summary>")


def link(text: str, address: str) -> Markdown:
    """A link; the address is one that this program made of checked parts."""
    return Markdown(f"[{plain(text)}]({address})")


def sentences(*parts: str) -> Markdown:
    """Parts one after the other, those escaped that are no Markdown."""
    return Markdown(" ".join(placed(part) for part in parts if part))


def placed(value: Any) -> str:
    """A value as it may stand in Markdown: what is no Markdown is escaped, nothing at all is no text."""
    if value is None:
        return ""
    if isinstance(value, Markdown):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return plain(str(value))


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]], numbers: Iterable[int] = ()) -> Markdown:
    """A table; `numbers`: the columns that hold them. Without rows there is none."""
    right = set(numbers)
    body = [[placed(cell) for cell in row] for row in rows]
    if not body:
        return Markdown("")
    rule = ["---:" if index in right else "---" for index in range(len(heads))]
    return Markdown("\n".join(f"| {' | '.join(line)} |" for line in [list(heads), rule, *body]))
