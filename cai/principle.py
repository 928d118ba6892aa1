"""Principles and constitutions: the rules, in the forms that the stages need.

A constitution is one YAML file in principles/: a name, a title, and a list of principles. A
principle has an id and four texts: the rule itself (`text`), what asks for a critique
(`critique`), what asks for a rewrite (`revision`), and the judgement question (`judgement`).
`polarity: worse` marks a question that asks for the *worse* response; its probability is
turned in `cai.feedback`.

What this module does not know: templates, models, which rows a constitution is for (cai/recipe.py).
Source: 2212.08073, sections 3.1 and 4.1 (a critique and a revision request, and a comparison
question, for each principle).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from cai.digest import digest, draw
from cai.errors import ConstitutionError
from cai.parts import Value
from cai.yaml_file import YamlFile, check, read_yaml

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(?:-[a-z0-9]+)*$", max_length=60)]
Form = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000)]
FORMS = ("text", "critique", "revision", "judgement")


class Principle(BaseModel):
    """One rule in its forms. Equal content means an equal principle, wherever it stands."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: Name
    text: Form
    critique: Form
    revision: Form
    judgement: Form
    tags: list[Name] = Field(default_factory=list)
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False, strict=False)
    polarity: Literal["better", "worse"] = "better"
    source: str = ""
    licence: str = ""


class _ConstitutionFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    constitution: Name
    title: Form
    description: str = ""
    licence: str = ""
    principles: list[Principle] = Field(min_length=1)


class Constitution:
    """A named list of principles, and where each of their texts stands."""

    def __init__(self, name: str, title: str, principles: tuple[Principle, ...], file: YamlFile) -> None:
        self.name = name
        self.title = title
        self.principles = principles
        self.path = file.path
        self.source = file.text
        self._values = {
            (principle.id, form): _value(principle, form, _line(file, index, form))
            for index, principle in enumerate(principles)
            for form in FORMS
        }

    @property
    def digest(self) -> str:
        """The digest of what the principles say; comments and order do not count."""
        content = {p.id: p.model_dump(exclude={"source", "licence"}) for p in self.principles}
        return digest("cai.constitution.v1", content)

    def value(self, principle: Principle, form: str) -> Value:
        """A form of a principle, as a text that knows its file and line."""
        return self._values[(principle.id, form)]

    def draw(self, seed: int, row: str, origin: str, round_number: int) -> Principle:
        """The principle for one round of critique and revision.

        Rendezvous hashing: the highest draw wins, so that adding a principle to n moves about
        1/(n+1) of the rows and reordering the file moves none.
        """
        return max(
            self.principles, key=lambda p: (draw(seed, "principle", row, origin, round_number, p.id), p.id)
        )

    def choose(self, seed: int, row: str, count: int | None) -> tuple[Principle, ...]:
        """The principles that judge one row: all (None), or `count` drawn for the row, in file order."""
        if count is None or count >= len(self.principles):
            return self.principles
        ranked = sorted(self.principles, key=lambda p: (draw(seed, "judge", row, p.id), p.id))
        kept = {principle.id for principle in ranked[:count]}
        return tuple(principle for principle in self.principles if principle.id in kept)


def load_constitution(path: Path) -> Constitution:
    """Read a constitution file.

    Raises: ConstitutionError, which lists every mistake with file, line and column.
    """
    file = read_yaml(path, ConstitutionError)
    content = check(file, _ConstitutionFile, ConstitutionError)
    mistakes = _double_ids(file, content.principles)
    if content.constitution != path.stem:
        mistakes.append(
            f"{file.where(('constitution',))}: the file is called {path.stem!r}, the constitution {content.constitution!r}"
        )
    for index, principle in enumerate(content.principles):
        for form in FORMS:
            if re.search(r"\{\{|\{%", getattr(principle, form)):
                where = file.where(("principles", index, form))
                mistakes.append(f"{where}: {form} holds template marks; a principle is plain text")
    if mistakes:
        raise ConstitutionError("; ".join(mistakes) + ".", "Mend those lines.")
    return Constitution(content.constitution, content.title, tuple(content.principles), file)


def _double_ids(file: YamlFile, principles: list[Principle]) -> list[str]:
    first: dict[str, int] = {}
    mistakes = []
    for index, principle in enumerate(principles):
        if principle.id in first:
            earlier, _ = file.place(("principles", first[principle.id], "id"))
            where = file.where(("principles", index, "id"))
            mistakes.append(f"{where}: the id {principle.id!r} is taken by the principle at line {earlier}")
        first.setdefault(principle.id, index)
    return mistakes


def _line(file: YamlFile, index: int, form: str) -> str:
    line, _ = file.place(("principles", index, form))
    return f"{file.path.parent.name}/{file.path.name}:{line}"


def _value(principle: Principle, form: str, origin: str) -> Value:
    text: Any = getattr(principle, form)
    return Value(text, "principle", origin)
