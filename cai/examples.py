"""Worked judgements that a judge is shown before each of its own: few-shot prompting in chat form.

A file of them is strict YAML:

    judgements:
      - conversation:
          - {role: user, text: "Is it safe to ...?"}
        response_a: ...
        response_b: ...
        question: Which response is ...?
        answer: A                # or B
        reasoning: ...           # needed where the recipe lets the judge reason first

Each becomes two messages, made by the very template that asks the judge: the user's asks, the
assistant's answers. All judgements of a run begin with the same examples, so a server computes
them once. In the completion form the worked examples stand in the templates (prompts/base).

Texts of an example are quoted like a row's, so that they cannot imitate the marks around them.

What this module does not know: recipes, engines, which pair is judged after the examples.
Source: 2212.08073, section 4.1 (few-shot examples before the multiple choice).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from cai.conversation import Turn
from cai.digest import digest
from cai.errors import RecipeError
from cai.parts import Message, Value
from cai.principle import FORMS, Form
from cai.prompting import Prompts, turn_values
from cai.template import Rendered
from cai.yaml_file import YamlFile, check, read_yaml

_OPENS = re.compile(r"""[(\["'*]$""")
"""A beginning after which a letter stands at once, without a space."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ExampleTurn(_Strict):
    """One turn of an example's conversation."""

    role: Literal["user", "assistant"]
    text: Form


class WorkedJudgement(_Strict):
    """One worked judgement; `answer` names the response that the question asks for."""

    conversation: list[ExampleTurn] = Field(min_length=1)
    response_a: Form
    response_b: Form
    question: Form
    answer: Literal["A", "B"]
    reasoning: Form | None = None

    @field_validator("conversation")
    @classmethod
    def _takes_turns(cls, turns: list[ExampleTurn]) -> list[ExampleTurn]:
        roles = [turn.role for turn in turns]
        if roles != [("user", "assistant")[place % 2] for place in range(len(roles))] or len(roles) % 2 == 0:
            raise ValueError("user and assistant take turns, and the user has the first and the last word")
        return turns


class _ExampleFile(_Strict):
    judgements: list[WorkedJudgement] = Field(min_length=1)


class Examples:
    """A file of worked judgements, read."""

    def __init__(self, judgements: Sequence[WorkedJudgement], file: YamlFile) -> None:
        self.judgements = tuple(judgements)
        self.path = file.path
        self.source = file.text
        self._file = file

    @property
    def digest(self) -> str:
        """The digest of what the examples say; comments do not count."""
        return digest("cai.examples.v1", [item.model_dump() for item in self.judgements])

    def messages(self, prompts: Prompts, *, reasoned: bool) -> tuple[Message, ...]:
        """The examples as a chat that went before, asked and answered as these prompts do it."""
        return tuple(
            message
            for number in range(len(self.judgements))
            for message in self._exchange(number, prompts, reasoned)
        )

    def _exchange(self, number: int, prompts: Prompts, reasoned: bool) -> list[Message]:
        item = self.judgements[number]
        turns: list[dict[str, Any]] = turn_values(
            [Turn(turn.role, turn.text) for turn in item.conversation], "example"
        )
        for place, turn in enumerate(turns):
            turn["text"] = self._value(item.conversation[place].text, number, "conversation", place, "text")
        a, b = (self._value(getattr(item, name), number, name) for name in ("response_a", "response_b"))
        question = self._value(item.question, number, "question")
        forms = dict.fromkeys(FORMS, question)
        if reasoned:
            reasoning = self._value(f" {item.reasoning}", number, "reasoning")
            rendered = prompts.reasoned_judgement(turns, a, b, forms, reasoning)
        else:
            rendered = prompts.judgement(turns, a, b, forms)
        gap = (
            ""
            if rendered.answer
            and rendered.answer[-1].kind == "recipe"
            and _OPENS.search(rendered.answer_text)
            else " "
        )
        answer = self._value(f"{gap}{item.answer}", number, "answer").part()
        asked = [message for message in rendered.messages if message.role != "system"]
        return [*asked, Message("assistant", (*rendered.answer, answer))]

    def _value(self, text: str, number: int, *keys: str | int) -> Value:
        line, _ = self._file.place(("judgements", number, *keys))
        return Value(text, "example", f"{self.path.parent.name}/{self.path.name}:{line}")


def after_examples(examples: tuple[Message, ...], rendered: Rendered) -> Rendered:
    """A prompt with the chat of examples before it; a system message stays first."""
    if not examples:
        return rendered
    system: tuple[Message, ...] = tuple(takewhile(_is_system, rendered.messages))
    return replace(rendered, messages=(*system, *examples, *rendered.messages[len(system) :]))


def _is_system(message: Message) -> bool:
    return message.role == "system"


def load_examples(path: Path, *, reasoned: bool) -> Examples:
    """Read a file of worked judgements; `reasoned`: each has to have a reasoning.

    Raises: RecipeError, which lists every mistake with file, line and column.
    """
    file = read_yaml(path, RecipeError)
    content = check(file, _ExampleFile, RecipeError)
    without = [
        file.where(("judgements", number))
        for number, item in enumerate(content.judgements)
        if item.reasoning is None
    ]
    if reasoned and without:
        raise RecipeError(
            f"{', '.join(without)}: there is no reasoning, and the recipe lets the judge reason first.",
            "Add `reasoning` to each example, or leave `feedback.reasoning` out.",
        )
    return Examples(content.judgements, file)


__all__ = ["Examples", "WorkedJudgement", "after_examples", "load_examples"]
