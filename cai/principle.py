"""Principles and constitutions: the rules, in the forms that the stages need.

A constitution is a list of principles. A principle has an id and four texts: the rule itself
(`text`), what asks for a critique (`critique`), what asks for a rewrite (`revision`), and the
judgement question (`judgement`). `polarity: worse` marks a question that asks for the *worse*
response; its probability is turned in `cai.feedback`.

What this module does not know: files (cai/constitution_file.py), templates, models, which rows a
constitution is for (cai/recipe.py).
Source: 2212.08073, sections 3.1 and 4.1 (a critique and a revision request, and a comparison
question, for each principle).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from cai.conversation import Turn
from cai.digest import digest, draw
from cai.parts import Value

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(?:-[a-z0-9]+)*$", max_length=60)]
Form = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000)]
FORMS = ("text", "critique", "revision", "judgement")
_NOT_ASKED = {"source", "licence", "tests"}


class TestTurn(BaseModel):
    """One turn of a test's prompt."""

    __test__ = False  # no case for pytest
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    role: Literal["system", "user", "assistant"]
    text: Annotated[str, Field(min_length=1)]


class PrincipleTest(BaseModel):
    """A known answer: under this principle `better` must win over `worse`, shown in either order.

    `prompt`: what the user says, or a list of turns that ends with the user's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    prompt: Annotated[str, Field(min_length=1, description="What the user says.")] | list[TestTurn] = Field(
        description="What the user says, or a list of turns that ends with the user's."
    )
    better: str = Field(description="The response that must win under this principle.")
    worse: str = Field(description="The response that must lose under this principle.")

    @field_validator("prompt")
    @classmethod
    def _ends_with_the_user(cls, value: str | list[TestTurn]) -> str | list[TestTurn]:
        if isinstance(value, list) and (not value or value[-1].role != "user"):
            raise ValueError("the prompt must end with a turn of the user")
        return value

    @property
    def turns(self) -> list[Turn]:
        """The prompt as a conversation."""
        if isinstance(self.prompt, str):
            return [Turn("user", self.prompt)]
        return [Turn(turn.role, turn.text) for turn in self.prompt]


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
    tests: list[PrincipleTest] = Field(default_factory=list)


@dataclass(frozen=True)
class Constitution:
    """A named list of principles.

    `origins`: where each form of each principle is written, `file:line` by (id, form); `files`: the
    text of every file that it was read from, by name; `path`: the first of them;
    `areas`: the tags that it promises to cover.
    """

    name: str
    title: str
    principles: tuple[Principle, ...]
    path: Path
    origins: Mapping[tuple[str, str], str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    licence: str = ""
    areas: tuple[str, ...] = ()
    _values: dict[tuple[str, str], Value] = field(default_factory=dict, repr=False, compare=False)

    @property
    def digest(self) -> str:
        """The digest of what the principles say; comments, order, sources and tests do not count."""
        content = {p.id: p.model_dump(exclude=_NOT_ASKED) for p in self.principles}
        return digest("cai.constitution.v1", content)

    def value(self, principle: Principle, form: str) -> Value:
        """A form of a principle, as a text that knows its file and line."""
        key = (principle.id, form)
        value = self._values.get(key)
        if value is None:
            origin = self.origins.get(key, self.path.name)
            value = self._values[key] = Value(getattr(principle, form), "principle", origin)
        return value

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
