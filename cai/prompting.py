"""The prompts, one for each stage: each a template with its input.

A folder of templates holds `critique.j2`, `revision.j2`, `judgement.j2`, `reasoned-judgement.j2`,
`harm.j2` and `response.j2` (chat form), and the same in `base/` (completion form). A run reads those
of the stages that it uses, so a folder need not hold the others.

What this module does not know: engines, when each prompt is used, what is done with the answer.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from cai.conversation import Turn
from cai.digest import digest
from cai.errors import TemplateError
from cai.parts import Part, Value
from cai.principle import FORMS, Constitution, Principle
from cai.template import TEMPLATE_MAX_BYTES, Rendered, Template

Form = Literal["chat", "completion"]
Stage = Literal["critique", "revision", "judgement", "reasoned-judgement", "harm", "response"]

OPTIONS = ("A", "B")
"""The names of the two responses in a judgement, in the order shown."""

HARM_OPTIONS = ("True", "False")
"""What can be said of the statement that a response is harmful."""

VARIABLES: dict[Stage, dict[str, bool]] = {
    "critique": {"turns": True, "response": True, "principle": True},
    "revision": {"turns": True, "response": True, "principle": True, "critique": True},
    "judgement": {"turns": True, "response_a": True, "response_b": True, "principle": True},
    "reasoned-judgement": {
        "turns": True,
        "response_a": True,
        "response_b": True,
        "principle": True,
        "reasoning": True,
    },
    "harm": {"turns": True, "response": True},
    "response": {"turns": True},
}
"""What each template is given; True where it must use it."""

STOPS: dict[Form, tuple[str, ...]] = {
    "chat": (),
    "completion": (
        "\n\nHuman:",
        "\n\nAssistant:",
        "\n\nCritique request:",
        "\n\nRevision request:",
        "\n\n---",
    ),
}
"""Where an answer ends: a chat model says so itself, a base model goes on with the next label."""

REASONING_STOPS: dict[Form, tuple[str, ...]] = {
    "chat": (),
    "completion": (*STOPS["completion"], "\n\nAnswer:", "\n\nQuestion:"),
}
"""Where the reasoning before a judgement ends: for a base model, also before the answer's label."""

_SCORED: dict[Stage, str] = {
    "judgement": "the letter of the option",
    "reasoned-judgement": "the letter of the option",
    "harm": "True or False",
}
"""The stages whose answer is read from probabilities, and what the answer block stands before."""

_SPEAKER = {"user": "User", "assistant": "Assistant", "system": "System"}


def turn_values(turns: Sequence[Turn], row: str) -> list[dict[str, Any]]:
    """The turns as a template sees them: role, speaker, text. `row` names the row in origins."""
    return [
        {
            "role": turn.role,
            "speaker": _SPEAKER[turn.role],
            "text": Value(turn.text, "row", f"{row} prompt[{index}]"),
        }
        for index, turn in enumerate(turns)
    ]


class Prompts:
    """The templates of one form, ready to be rendered.

    Raises: TemplateError when one is missing or wrong; each is run once on sample input.
    """

    def __init__(self, sources: Mapping[Stage, tuple[str, str]], form: Form, folder: Path | None) -> None:
        self.form: Form = form
        self.templates = {
            stage: Template(name, source, folder, VARIABLES[stage])
            for stage, (name, source) in sources.items()
        }
        self._beginnings: Mapping[str, Part] = {}
        for stage, template in self.templates.items():
            rehearse(template, stage)

    def begun(self, beginnings: Mapping[str, Part]) -> Prompts:
        """The same templates, with answers that begin so: by stage; `reasoning` is a reasoning's, and
        `judgement` also what stands after it."""
        other = copy.copy(self)
        other._beginnings = dict(beginnings)
        return other

    @property
    def beginnings(self) -> Mapping[str, Part]:
        """How answers begin where that is not for the templates to say."""
        return self._beginnings

    @property
    def digest(self) -> str:
        """The digest of all templates, what they include among it, and of how answers begin otherwise."""
        texts = {stage: t.digest for stage, t in self.templates.items()}
        begun = {stage: part.text for stage, part in self._beginnings.items()}
        return digest("cai.prompts.v1", texts) if not begun else digest("cai.prompts.v2", [texts, begun])

    def _begin(self, stage: str, rendered: Rendered) -> Rendered:
        part = self._beginnings.get(stage)
        return rendered if part is None else replace(rendered, answer=(part,) if part.text else ())

    def _begin_each(self, stage: str, rendered: list[Rendered]) -> list[Rendered]:
        return [self._begin(stage, each) for each in rendered] if stage in self._beginnings else rendered

    def _begin_after(self, reasoning: Value, rendered: Rendered) -> Rendered:
        """The judgement after a reasoning: what stands before that and what stands after it may be set."""
        before, after = self._beginnings.get("reasoning"), self._beginnings.get("judgement")
        place = next(
            (
                i
                for i, part in enumerate(rendered.answer)
                if (part.kind, part.origin) == (reasoning.kind, reasoning.origin)
            ),
            None,
        )
        if place is None or (before is None and after is None):
            return rendered
        first, last = rendered.answer[:place], rendered.answer[place + 1 :]
        if before is not None:
            first = (before,) if before.text else ()
        if after is not None:
            template = "".join(part.text for part in last)
            gap = template[: len(template) - len(template.lstrip())] or "\n\n"
            last = (replace(last[0], text=gap) if last else Part(gap, "template", ""), after)
        return replace(rendered, answer=(*first, rendered.answer[place], *last))

    def critique(
        self, turns: list[dict[str, Any]], response: Value, principle: Mapping[str, Value]
    ) -> Rendered:
        """Ask what is wrong with a response."""
        values = {"turns": turns, "response": response, "principle": principle}
        return self._begin("critique", self.templates["critique"].render(values))

    def revision(
        self, turns: list[dict[str, Any]], response: Value, principle: Mapping[str, Value], critique: Value
    ) -> Rendered:
        """Ask for the rewrite; `critique` is empty where none was asked for."""
        values = {"turns": turns, "response": response, "principle": principle, "critique": critique}
        return self._begin("revision", self.templates["revision"].render(values))

    def judgement(
        self, turns: list[dict[str, Any]], a: Value, b: Value, principle: Mapping[str, Value]
    ) -> Rendered:
        """Ask which of two responses is better; the answer begins right before the option's name."""
        values = {"turns": turns, "response_a": a, "response_b": b, "principle": principle}
        return self._begin("judgement", self.templates["judgement"].render(values))

    def judgements(
        self, turns: list[dict[str, Any]], a: Value, b: Value, principles: Sequence[dict[str, Value]]
    ) -> list[Rendered]:
        """`judgement` under each principle; what they share is set once."""
        shared = {"turns": turns, "response_a": a, "response_b": b}
        rendered = self.templates["judgement"].render_each(shared, "principle", principles)
        return self._begin_each("judgement", rendered)

    def reasonings(
        self, turns: list[dict[str, Any]], a: Value, b: Value, principles: Sequence[dict[str, Value]]
    ) -> list[Rendered]:
        """Ask for the reasoning before a judgement, under each principle."""
        shared = {"turns": turns, "response_a": a, "response_b": b, "reasoning": Value("", "model", "")}
        rendered = self.templates["reasoned-judgement"].render_each(shared, "principle", principles)
        return self._begin_each("reasoning", rendered)

    def reasoned_judgement(
        self,
        turns: list[dict[str, Any]],
        a: Value,
        b: Value,
        principle: Mapping[str, Value],
        reasoning: Value,
    ) -> Rendered:
        """The judgement that follows a reasoning (not empty)."""
        values = {
            "turns": turns,
            "response_a": a,
            "response_b": b,
            "principle": principle,
            "reasoning": reasoning,
        }
        return self._begin_after(reasoning, self.templates["reasoned-judgement"].render(values))

    def harms(self, turns: list[dict[str, Any]], responses: Sequence[Value]) -> list[Rendered]:
        """Ask of each response alone whether it is harmful; what they share is set once."""
        rendered = self.templates["harm"].render_each({"turns": turns}, "response", responses)
        return self._begin_each("harm", rendered)

    def response(self, turns: list[dict[str, Any]]) -> Rendered:
        """Ask for a response of the model's own."""
        return self._begin("response", self.templates["response"].render({"turns": turns}))


def principle_values(constitution: Constitution, principle: Principle) -> dict[str, Value]:
    """A principle as a template sees it: one text for each form."""
    return {form: constitution.value(principle, form) for form in FORMS}


def load_prompts(folder: Path, form: Form, stages: Iterable[Stage] | None = None) -> Prompts:
    """Read the templates of one form from a folder: those of `stages`, or all.

    Raises: TemplateError, naming the file, when one is missing, too large or wrong.
    """
    place = folder / "base" if form == "completion" else folder
    sources: dict[Stage, tuple[str, str]] = {}
    for stage in VARIABLES if stages is None else stages:
        path = place / f"{stage}.j2"
        name = path.relative_to(folder.parent).as_posix() if folder.parent != folder else path.name
        sources[stage] = (name, _read(path))
    return Prompts(sources, form, place)


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > TEMPLATE_MAX_BYTES:
            raise TemplateError(
                f"{path} is larger than {TEMPLATE_MAX_BYTES:,} bytes.", "Is it the right file?"
            )
        return path.read_text("utf-8")
    except FileNotFoundError as error:
        raise TemplateError(f"There is no template {path}.", "`cai init` writes the whole set.") from error
    except UnicodeDecodeError as error:
        raise TemplateError(f"{path} is not UTF-8 (byte {error.start}).", "Save it as UTF-8.") from error
    except OSError as error:
        raise TemplateError(
            f"{path} cannot be read: {error.strerror}.", "Check that you may read it."
        ) from error


def rehearse(template: Template, stage: Stage) -> Rendered:
    """Run a template once on sample input, so that its mistakes show before a run does.

    Raises: TemplateError as `Template.render`; and where a judgement does not say how its answer
    begins, or does not let its reasoning begin the answer.
    """
    sample = {form: Value(f"sample {form}", "principle", "sample") for form in FORMS}
    turns = turn_values([Turn("user", " sample question")], "sample")
    texts = {name: Value(f"sample {name}", "model", "sample") for name in VARIABLES[stage]}
    values = {**texts, "turns": turns, "principle": sample}
    rendered = template.render(values)
    if stage in _SCORED and not rendered.answer_text.strip():
        raise TemplateError(
            f"{template.name}:1: it does not say how the answer begins.",
            f"End it with {{% answer %}}...{{% endanswer %}}, right before {_SCORED[stage]}.",
        )
    if rendered.messages and rendered.messages[-1].role == "assistant":
        raise TemplateError(
            f"{template.name}:1: its last message is the assistant's.", "Use {% answer %} for that."
        )
    if stage == "reasoned-judgement":
        _rehearse_reasoning(template, rendered, values)
    return rendered


def _rehearse_reasoning(template: Template, rendered: Rendered, values: dict[str, Any]) -> None:
    """Hold a template to the two uses of it: the second goes on from what the first makes."""
    reasoning = values["reasoning"].text
    first = template.render({**values, "reasoning": Value("", "model", "sample")})
    same = [message.text for message in first.messages] == [message.text for message in rendered.messages]
    begins = rendered.answer_text.startswith(first.answer_text + reasoning)
    ends = rendered.answer_text.removeprefix(first.answer_text + reasoning).strip()
    if not (same and begins and ends):
        raise TemplateError(
            f"{template.name}:1: the judgement does not go on from the reasoning.",
            "Place {{ reasoning }} in {% answer %}, at once after what stands there when it is empty, and "
            "the beginning of the judgement after it; all else is the same in both cases.",
        )
