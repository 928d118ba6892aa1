"""Writes markup: elements whose text is escaped, so that no name can become a tag.

Everything that is not `Html` already is escaped, and characters that would act on the page instead
of being seen (controls, marks of writing direction, characters of no width) are written out.

What this module does not know: what is written.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable
from typing import TypeAlias

VOID = {"br", "col", "meta", "line", "circle", "rect", "path", "polyline"}
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
_PLAIN = {"\n", "\t"}
_SHOWN = {"aria-label", "label", "title"}
"""Attributes that are read by people; the others keep every character, for scripts to compare."""

Child: TypeAlias = str | int | Iterable["Child"] | None
"""What may stand inside an element; a `str` that is not `Html` is escaped."""


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def visible(text: str) -> str:
    """Text with every character that cannot be seen written as its number: `‹U+202E›`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        f"‹U+{ord(c):04X}›" if c not in _PLAIN and unicodedata.category(c) in _INVISIBLE else c for c in text
    )


def escape(text: str) -> Html:
    """Text as markup that shows it."""
    return Html(html.escape(visible(text), quote=True))


def tag(name: str, *children: Child, **attributes: str | int | float | bool | None) -> Html:
    """An element; `class_`, `for_`, `data_x` and `aria_x` are written `class`, `for`, `data-x`, `aria-x`.

    An attribute that is None or False is left out; True is written without a value.
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in VOID:
        return Html(f"<{name}{written}>" if name in ("br", "col", "meta") else f"<{name}{written}/>")
    return Html(f"<{name}{written}>{join(children)}</{name}>")


def join(children: Iterable[Child]) -> Html:
    """Children one after the other; None is nothing, a list is its items."""
    return Html("".join(_child(child) for child in children))


def _child(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, (str, int)):
        return escape(str(child))
    return join(child)


def _attribute(key: str, value: str | int | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_")
    if name.startswith(("data_", "aria_", "stroke_", "text_")):
        name = name.replace("_", "-")
    if value is True:
        return f" {name}"
    if isinstance(value, float):
        value = f"{value:.2f}".rstrip("0").rstrip(".")
    text = visible(str(value)) if name in _SHOWN else str(value)
    return f' {name}="{html.escape(text, quote=True)}"'.replace("\r", "&#13;")
