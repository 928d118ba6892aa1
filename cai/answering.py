"""How one model's answers begin, and how it thinks: what a recipe can say of each engine.

    engines:
      judge:
        answer_prefix:
          judgement: "My answer is ("     # instead of what prompts/judgement.j2 has in its answer block
          harm: "This statement is"
        thinking:
          marks: ["<reasoning>", "</reasoning>"]
          empty_block: true

An answer prefix takes the place of a template's answer block for one engine, word for word; it is
part of the request, so a change asks again what begins with it and nothing else. Where a judge reasons
in its answer, `reasoning` is how that begins, and `judgement` what stands after it.

Thinking settings are part of who the engine is, as its chat template's arguments are. They are for
models whose chat template does not say enough: `marks` where a model thinks between other marks than
those known here (cai.request.THINKING_MARKS), `empty_block` where it thinks unasked and the template
has no switch for that: an empty block of thinking is then written before every answer.

What this module does not know: templates, chat templates, engines.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

from cai.parts import Part
from cai.request import THINKING_MARKS, MarkPair

Beginning = Literal["critique", "revision", "response", "judgement", "reasoning", "harm"]
"""What can be made to begin otherwise."""

BEGINNINGS: tuple[Beginning, ...] = get_args(Beginning)

Mark = Annotated[str, Field(min_length=3, max_length=40)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class AnswerPrefixSection(_Strict):
    """How this engine's answers begin, by what is asked; None: as the template says.

    An empty text lets a critique, a revision, a response or a reasoning begin freely; a judgement and a
    rating of harm need words before their option.
    """

    critique: str | None = None
    revision: str | None = None
    response: str | None = None
    judgement: str | None = None
    reasoning: str | None = None
    harm: str | None = None

    @field_validator("judgement", "harm")
    @classmethod
    def _says_something(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise ValueError("it is empty, and the answer's option has to stand after some words")
        if value is not None and value != value.rstrip():
            raise ValueError("it ends in white space, which belongs to the option's own token")
        return value

    def texts(self) -> dict[str, str]:
        """What is set, by what is asked."""
        return {name: text for name in BEGINNINGS if (text := getattr(self, name)) is not None}

    def parts(self, engine: str, origins: Mapping[str, str]) -> dict[str, Part]:
        """The same with where it stands, `origins` by `engine.stage`."""
        return {
            name: Part(text, "recipe", origins.get(f"{engine}.{name}", "recipe.yaml"))
            for name, text in self.texts().items()
        }


class ThinkingSection(_Strict):
    """How this engine's model thinks, where its chat template does not say enough."""

    marks: Annotated[list[Mark], Field(min_length=2, max_length=2)] | None = None
    empty_block: bool = False

    @field_validator("marks")
    @classmethod
    def _apart(cls, value: list[str] | None) -> list[str] | None:
        if value is not None and (
            value[0] in value[1] or value[1] in value[0] or any(map(str.isspace, value))
        ):
            raise ValueError("the mark that begins thinking and the one that ends it are two different texts")
        return value

    @property
    def known(self) -> tuple[MarkPair, ...]:
        """All marks that are looked for, this model's own first."""
        return ((self.marks[0], self.marks[1]), *THINKING_MARKS) if self.marks else THINKING_MARKS

    @property
    def block(self) -> str:
        """The empty block of thinking that is written before every answer, or nothing."""
        if not self.empty_block:
            return ""
        begin, end = self.known[0]
        return f"{begin}\n\n{end}\n\n"

    def record(self) -> dict[str, Any]:
        """What is part of the engine's identity; nothing where nothing is set."""
        return self.model_dump(exclude_defaults=True)


AS_KNOWN = ThinkingSection()
"""No settings: the marks that are known, and what the chat template does."""
