"""The recipe: the YAML file that describes a run, with every default written down.

What decides a row's answers (`seed`, engines, roles, constitutions, templates, `revise`,
`feedback`, `too_long`) is frozen into a generation; what only decides how fast, or what is made of the
answers afterwards (`run`, `pilot`, `dataset`, `publish`, addresses of servers), can change at any time.

Files that a recipe names are looked up by an explicit path, then beside the recipe, then in
the package (cai/shipped.py), never by the working folder alone.

What this module does not know: what stands in a section (cai/recipe_sections.py), how a stage works.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr

from cai.digest import canonical, digest
from cai.errors import RecipeError
from cai.recipe_sections import (
    DatasetSection,
    DoctorSection,
    EngineSection,
    FeedbackSection,
    PilotSection,
    PublishSection,
    ReasoningSection,
    ReviseSection,
    RolesSection,
    RunSection,
    SamplingSection,
    Section,
    ServeSection,
    SourceSection,
)
from cai.yaml_file import YamlFile, check, nearest, read_yaml


class Recipe(Section):
    """A whole recipe. `constitutions` maps subset patterns (`helpful-*`) to constitutions, first match wins.

    `doctor: false` begins a run without proving its judges. `too_long`: what becomes of a row one of
    whose prompts does not fit into an engine's context (cai/shortening.py).
    """

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    sources: list[SourceSection] = Field(min_length=1)
    engines: dict[str, EngineSection] = Field(min_length=1)
    roles: RolesSection = Field(default_factory=RolesSection)
    constitutions: dict[str, str] = Field(default_factory=lambda: {"*": "harmless"}, min_length=1)
    prompts: str = "prompts"
    revise: ReviseSection | None = Field(default_factory=ReviseSection)
    feedback: FeedbackSection | None = Field(default_factory=FeedbackSection)
    too_long: Literal["exclude", "drop-oldest-turns"] = "exclude"
    dataset: DatasetSection = Field(default_factory=DatasetSection)
    pilot: PilotSection = Field(default_factory=PilotSection)
    run: RunSection = Field(default_factory=RunSection)
    publish: PublishSection = Field(default_factory=PublishSection)
    doctor: DoctorSection | Literal[False] = Field(default_factory=DoctorSection)
    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def origins(self) -> dict[str, str]:
        """Where the words of answer prefixes stand: `file:line` by `engine.stage`."""
        return self._origins

    def originating(self, origins: Mapping[str, str]) -> Recipe:
        """The same recipe, its words from elsewhere (a frozen copy has lines of its own)."""
        other = self.model_copy()
        other._origins = dict(origins)
        return other

    def constitution_for(self, subset: str) -> str | None:
        """The constitution of a subset, or None where no pattern fits."""
        for pattern, name in self.constitutions.items():
            if fnmatch.fnmatchcase(subset, pattern):
                return name
        return None

    def engine_for(self, role: Literal["respond", "revise", "judge"]) -> str:
        """The engine's name for a role: the one that `roles` names, or the first engine.

        Of several judges it is the first, which makes the labels.
        """
        return self.judges()[0] if role == "judge" else getattr(self.roles, role) or next(iter(self.engines))

    def judges(self) -> list[str]:
        """The engines that judge, the one that makes the labels first."""
        named = self.roles.judge
        if isinstance(named, str):
            return [named]
        return list(named or [next(iter(self.engines))])

    def engines_used(self) -> list[str]:
        """The engines that this recipe's stages need, each once."""
        names = [self.engine_for(role) for role in self.roles_used()]
        if self.feedback is not None:
            names += self.judges()
        return list(dict.fromkeys(names))

    def has_unanswered(self) -> bool:
        """Whether a row may be a prompt without a response, which the model writes first."""
        return any(source.kind == "red-team" or source.unanswered for source in self.sources)

    def roles_used(self) -> list[Literal["respond", "revise", "judge"]]:
        """The roles that this recipe's stages need."""
        used: list[Literal["respond", "revise", "judge"]] = []
        fresh = self.revise is not None and (self.revise.of == "fresh" or self.has_unanswered())
        if fresh or (self.feedback is not None and "sampled" in self.feedback.pairs):
            used.append("respond")
        if self.revise is not None:
            used.append("revise")
        if self.feedback is not None:
            used.append("judge")
        return used

    def deciding(self) -> dict[str, Any]:
        """The part that decides answers, defaults written out; what a generation is made from.

        A value that decides nothing under the others stands as its default. Keys that came later are
        left out at their defaults, so that earlier generations keep their digests.
        """
        revise, feedback = self.revise, self.feedback
        if revise is not None and not revise.critique:
            revise = revise.model_copy(update={"critique_sampling": _default(revise, "critique_sampling")})
        if feedback is not None:
            idle = ["examples"]  # the file's name; what it says is digested beside this
            idle += [] if "sampled" in feedback.pairs else ["samples"]
            idle += [] if "respond" in self.roles_used() else ["sample_sampling"]
            feedback = feedback.model_copy(update={name: _default(feedback, name) for name in idle})
        begun = self._beginnings()
        return {
            "seed": self.seed,
            "constitutions": [[pattern, name] for pattern, name in self.constitutions.items()],
            "revise": revise.model_dump() if revise else None,
            "feedback": feedback.model_dump() if feedback else None,
            "engines": {role: self.engine_for(role) for role in self.roles_used()},
            "judges": self.judges() if self.feedback else [],
            **({} if self.too_long == "exclude" else {"too_long": self.too_long}),
            **({"answer_prefix": begun} if begun else {}),
        }

    def _beginnings(self) -> dict[str, Any]:
        """The answer prefixes that decide something, by role; of judges one for each."""

        def of(engine: str, *stages: str) -> dict[str, str]:
            return {k: v for k, v in self.engines[engine].answer_prefix.texts().items() if k in stages}

        found: dict[str, Any] = {}
        for role in self.roles_used():
            name = self.engine_for(role)
            if role == "respond":
                found[role] = of(name, "response")
            elif role == "revise" and self.revise is not None:
                found[role] = of(name, "revision", *(["critique"] if self.revise.critique else []))
        if self.feedback is not None:
            asked = ["judgement", *(["reasoning"] if self.feedback.reasons_in_answer else [])]
            rates = ["harm"] if self.feedback.harm else []
            each = [
                of(name, *asked, *(rates if not place else [])) for place, name in enumerate(self.judges())
            ]
            found["judges"] = each if any(each) else []
        return {role: texts for role, texts in found.items() if texts}


def _default(section: Section, name: str) -> Any:
    return type(section).model_fields[name].get_default(call_default_factory=True)


def load_recipe(path: Path) -> Recipe:
    """Read a recipe file.

    Raises: RecipeError, which lists every mistake with file, line and column.
    """
    file = read_yaml(path, RecipeError)
    recipe = check(file, Recipe, RecipeError)
    mistakes = []
    try:
        canonical(recipe.model_dump(mode="json"))
    except (TypeError, ValueError) as error:
        raise RecipeError(
            f"{path} holds a value that JSON cannot: {error}.", "Use plain texts and numbers."
        ) from error
    for role in ("respond", "revise", "judge"):
        named = getattr(recipe.roles, role)
        for name in [named] if isinstance(named, str) else named or []:
            if name not in recipe.engines:
                where = file.where(("roles", role))
                mistakes.append(f"{where}: there is no engine {name!r}{nearest(name, recipe.engines)}")
    if len(set(recipe.judges())) < len(recipe.judges()):
        mistakes.append(f"{file.where(('roles', 'judge'))}: a judge is named twice")
    if recipe.revise is None and recipe.feedback is None:
        mistakes.append(
            f"{file.where()}: both revise and feedback are switched off, so there is nothing to do"
        )
    if recipe.feedback and "revised" in recipe.feedback.pairs and recipe.revise is None:
        mistakes.append(
            f"{file.where(('feedback', 'pairs'))}: pairs of kind 'revised' need the revise section"
        )
    base = [
        name for name in recipe.judges() if name in recipe.engines and recipe.engines[name].form != "chat"
    ]
    if recipe.feedback and recipe.feedback.reasoning and recipe.feedback.reasoning.thinking and base:
        where = file.where(("feedback", "reasoning", "thinking"))
        mistakes.append(f"{where}: thinking needs a chat template, and {base[0]!r} has the form completion")
    if mistakes:
        raise RecipeError("; ".join(mistakes) + ".", "Mend those lines.")
    return recipe.originating(_origins(recipe, file))


def _origins(recipe: Recipe, file: YamlFile) -> dict[str, str]:
    return {
        f"{engine}.{stage}": f"{file.path.name}:{file.place(('engines', engine, 'answer_prefix', stage))[0]}"
        for engine, section in recipe.engines.items()
        for stage in section.answer_prefix.texts()
    }


def source_digest(sources: list[SourceSection]) -> str:
    """The digest of what a recipe's sources say; used to tell whether a cached count still fits."""
    said = [source.model_dump() for source in sources]
    for section in said:  # a key that came later
        if not section["unanswered"]:
            del section["unanswered"]
    return digest("cai.sources.v1", said)


__all__ = [
    "DatasetSection",
    "DoctorSection",
    "EngineSection",
    "FeedbackSection",
    "PilotSection",
    "PublishSection",
    "ReasoningSection",
    "Recipe",
    "ReviseSection",
    "RolesSection",
    "RunSection",
    "SamplingSection",
    "ServeSection",
    "SourceSection",
    "load_recipe",
    "source_digest",
]
