"""Text that knows where it came from, and the one place where foreign text is escaped.

A request is put together from parts: literal text of a template (file and line), a form of a
principle (file and line), text of a worked example (file and line), words of the recipe (file and
line), text of a row (row and field), or an earlier answer of a model. `cai show` prints them, accounting counts them, and escaping happens
here and nowhere else.

Escaping: text of a row, a model or an example that stands inside a message beside other text is
quoted there, and must not be able to imitate the marks around it: a speaker label at the start of a
line (`Human:`, `Assistant:`, and every label that the template itself uses) and every
`<tag>` that the template itself uses. Such a mark gets a backslash in front; nothing else changes.
A message that consists of one value alone is not quoted, hence not escaped: there it is the
engine that keeps special tokens inside it from being read as such.

What this module does not know: templates, engines, tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

PartKind = Literal["template", "principle", "example", "recipe", "row", "model"]
MessageRole = Literal["system", "user", "assistant", "text"]

FOREIGN: frozenset[str] = frozenset({"row", "model", "example"})
"""Kinds of part whose text may be anything: a row's, a model's, or one that somebody took for an example."""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a request's text, and its origin as `file:line` or `row field`."""

    text: str
    kind: PartKind
    origin: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message before any chat template; role `text` means plain text for a base model."""

    role: MessageRole
    parts: tuple[Part, ...]
    joined: str | None = None

    @property
    def text(self) -> str:
        """The message's text: all parts joined, by whoever made the message or now."""
        return self.joined if self.joined is not None else join(self.parts)


def join(parts: Iterable[Part]) -> str:
    """The text of parts, one after the other."""
    return "".join([part.text for part in parts])


class Value:
    """A text that a template may place, whole and unchanged, with its origin.

    Raises TypeError where a template tries to look into it: a template arranges texts, it
    does not alter or compare them. Whether it is empty can be asked (`{% if critique %}`).
    """

    __slots__ = ("_plain", "_quoted", "kind", "origin", "text")

    def __init__(self, text: str, kind: PartKind, origin: str) -> None:
        self.text = text
        self.kind: PartKind = kind
        self.origin = origin
        self._plain: Part | None = None
        self._quoted: tuple[Marks, Part] | None = None

    def part(self) -> Part:
        """The text as a part that stands alone in its message."""
        if self._plain is None:
            self._plain = Part(self.text, self.kind, self.origin)
        return self._plain

    def quoted(self, marks: Marks) -> Part:
        """The text as a part that is quoted between these marks: escaped where it is foreign."""
        if self.kind not in FOREIGN:
            return self.part()
        if self._quoted is None or self._quoted[0] is not marks:
            self._quoted = (marks, Part(marks.escape(self.text), self.kind, self.origin))
        return self._quoted[1]


_TAG = re.compile(r"</?([A-Za-z][\w-]*)>")
_LABEL = re.compile(r"(?m)^[ \t]*([A-Z]\w*(?: \w+)?)[ \t]*:")
_RULE = re.compile(r"(?m)^[ \t]*([-=*_#~])\1{2,}[ \t]*$")
_LINE_START = "(?:(?m:^)|(?<=[\r\v\f\x85\u2028\u2029]))"
_BLANK = "[ \t\u00a0]*"
_SPEAKERS = ("Human", "Assistant", "H", "A", "User", "AI", "System")


class Marks:
    """The marks that a template sets around quoted text, found in its literal text."""

    def __init__(self, literal_text: str) -> None:
        tags = sorted(set(_TAG.findall(literal_text)))
        labels = sorted({*_SPEAKERS, *_LABEL.findall(literal_text)}, key=lambda label: (-len(label), label))
        label = "|".join(re.escape(name) for name in labels)
        alternatives = [rf"{_LINE_START}(?={_BLANK}(?:{label}){_BLANK}:)"]
        if tags:
            alternatives.append("(?i:(?=</?(?:" + "|".join(map(re.escape, tags)) + r")\s*>))")
        rules = "|".join(sorted({re.escape(found[1]) + "{3,}" for found in _RULE.finditer(literal_text)}))
        if rules:
            alternatives.append(rf"{_LINE_START}(?={_BLANK}(?:{rules}){_BLANK}(?m:$))")
        self._mark = re.compile("|".join(alternatives))

    def escape(self, text: str) -> str:
        """The text with a backslash before each mark."""
        return self._mark.sub(r"\\", text)
