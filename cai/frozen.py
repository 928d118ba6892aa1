"""Generations: the frozen inputs that decide a run's answers.

A generation is the deciding part of the recipe with every default written out, the
constitutions and templates as used, and who each engine is. Its digest is what a finished row
is remembered under: when any of these changes, rows are replayed, and replaying asks only for
what the change touched.

On disk: `frozen/<digest>/` holds `generation.json` (all of the above), `recipe.yaml`,
`principles/<digest>/*.yaml` (with `forms/default.yaml`, where it was used), `prompts/*.j2` and
`prompts/examples/*.yaml` as they were. Nothing there is ever changed.

What this module does not know: stores, rows, how it was settled who an engine is (cai/settled.py).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from cai.constitution_file import load_constitution
from cai.digest import digest
from cai.engine.identity import Identity
from cai.errors import RecipeError
from cai.examples import Examples, load_examples
from cai.feedback import JudgePlan
from cai.harm import HarmPlan
from cai.principle import Constitution
from cai.prompting import REASONING_STOPS, STOPS, Form, Prompts, Stage, load_prompts
from cai.reasoning import ReasoningPlan, thinking_stops
from cai.recipe import Recipe
from cai.revise import RevisePlan
from cai.shipped import find
from cai.steps import STEPS_DIGEST, RespondPlan, RowPlan


@dataclass(frozen=True)
class Inputs:
    """What a recipe names, loaded: constitutions by name, templates by form, worked judgements."""

    recipe: Recipe
    constitutions: Mapping[str, Constitution]
    prompts: Mapping[str, Prompts]
    prompts_folder: Path
    examples: Examples | None = None

    def prompts_of(self, engine: str) -> Prompts:
        """The templates as an engine is asked by them: in its form, its answers begun as the recipe says."""
        section = self.recipe.engines[engine]
        return self.prompts[section.form].begun(section.answer_prefix.parts(engine, self.recipe.origins))

    def constitution_for(self, subset: str) -> Constitution | None:
        """The constitution of a subset, or None where the recipe has none for it."""
        name = self.recipe.constitution_for(subset)
        return self.constitutions[name] if name is not None else None


def load_inputs(recipe: Recipe, beside: Path) -> Inputs:
    """Load all constitutions and templates of a recipe that lies in the folder `beside`.

    Raises: InputError and its kinds, before anything is asked.
    """
    names = dict.fromkeys(recipe.constitutions.values())
    constitutions = {name: load_constitution(find(name, beside, "principles", ".yaml")) for name in names}
    folder = find(recipe.prompts, beside)
    if not folder.is_dir():
        raise RecipeError(
            f"{folder} is not a folder of templates.", "Give the folder that holds judgement.j2."
        )
    stages = stages_used(recipe)
    prompts: dict[str, Prompts] = {form: load_prompts(folder, form, used) for form, used in stages.items()}
    return Inputs(recipe, constitutions, prompts, folder, _examples(recipe, beside))


def _examples(recipe: Recipe, beside: Path) -> Examples | None:
    """The worked judgements that a recipe names. Raises: InputError, RecipeError."""
    feedback = recipe.feedback
    if feedback is None or feedback.examples is None:
        return None
    base = [name for name in recipe.judges() if recipe.engines[name].form == "completion"]
    if base:
        raise RecipeError(
            f"feedback.examples are shown in the chat form, and the engine {base[0]!r} has the form completion.",
            "For a base model, edit the worked examples in prompts/base/worked-judgements.j2.",
        )
    path = find(feedback.examples, beside, "prompts/examples", ".yaml")
    return load_examples(path, reasoned=feedback.reasons_in_answer)


def stages_used(recipe: Recipe) -> dict[Form, list[Stage]]:
    """The templates that a recipe's stages need, by form; a folder need not hold any other."""
    used: dict[Form, list[Stage]] = {}

    def need(engine: str, *stages: Stage) -> None:
        known = used.setdefault(recipe.engines[engine].form, [])
        known += [stage for stage in stages if stage not in known]

    if recipe.revise is not None:
        need(recipe.engine_for("revise"), *(("critique",) if recipe.revise.critique else ()), "revision")
    if recipe.feedback is not None:
        judgement: Stage = "reasoned-judgement" if recipe.feedback.reasons_in_answer else "judgement"
        for judge in recipe.judges():
            need(judge, judgement)
        if recipe.feedback.harm:
            need(recipe.engine_for("judge"), "harm")
    if "respond" in recipe.roles_used():
        need(recipe.engine_for("respond"), "response")
    return used


def row_plans(inputs: Inputs) -> dict[str, RowPlan]:
    """What is done to a row, by the name of its constitution."""
    return {name: _row_plan(inputs, constitution) for name, constitution in inputs.constitutions.items()}


def _row_plan(inputs: Inputs, constitution: Constitution) -> RowPlan:
    recipe = inputs.recipe
    feedback = recipe.feedback
    judge = recipe.engine_for("judge")
    harm = None
    if feedback is not None and feedback.harm:
        harm = HarmPlan(judge, inputs.prompts_of(judge), feedback.min_option_mass)
    return RowPlan(
        respond=_respond_plan(inputs) if "respond" in recipe.roles_used() else None,
        revise=_revise_plan(inputs, constitution),
        of=recipe.revise.of if recipe.revise else "rejected",
        judges=judge_plans(inputs, constitution),
        pairs=tuple(feedback.pairs) if feedback else (),
        samples=feedback.samples if feedback else 0,
        harm=harm,
        drop_oldest=recipe.too_long == "drop-oldest-turns",
    )


def _respond_plan(inputs: Inputs) -> RespondPlan:
    recipe = inputs.recipe
    engine = recipe.engine_for("respond")
    prompts = inputs.prompts_of(engine)
    assert recipe.revise or recipe.feedback
    section = recipe.feedback.sample_sampling if recipe.feedback else recipe.revise.sampling  # type: ignore[union-attr]
    return RespondPlan(engine, prompts, section.sampling(_stops(recipe, engine)), recipe.seed)


def _revise_plan(inputs: Inputs, constitution: Constitution) -> RevisePlan | None:
    recipe = inputs.recipe
    if recipe.revise is None:
        return None
    engine = recipe.engine_for("revise")
    return RevisePlan(
        engine=engine,
        prompts=inputs.prompts_of(engine),
        constitution=constitution,
        rounds=recipe.revise.rounds,
        critique=recipe.revise.critique,
        critique_sampling=recipe.revise.critique_sampling.sampling(_stops(recipe, engine)),
        sampling=recipe.revise.sampling.sampling(_stops(recipe, engine)),
        seed=recipe.seed,
    )


def judge_plans(inputs: Inputs, constitution: Constitution) -> tuple[JudgePlan, ...]:
    """How each judge of a recipe judges pairs, the one that makes the labels first."""
    feedback = inputs.recipe.feedback
    if feedback is None:
        return ()
    plans = []
    for engine in inputs.recipe.judges():
        form = inputs.recipe.engines[engine].form
        prompts = inputs.prompts_of(engine)
        section = feedback.reasoning
        reasoning = None
        if section is not None:
            own = inputs.recipe.engines[engine].thinking
            stops = thinking_stops(own) if section.thinking else REASONING_STOPS[form]
            reasoning = ReasoningPlan(section.sampling(stops), section.samples, section.thinking)
        shown = (
            inputs.examples.messages(prompts, reasoned=feedback.reasons_in_answer) if inputs.examples else ()
        )
        plans.append(
            JudgePlan(
                engine=engine,
                prompts=prompts,
                constitution=constitution,
                count=None if feedback.principles == "all" else feedback.principles,
                min_option_mass=feedback.min_option_mass,
                seed=inputs.recipe.seed,
                pool=feedback.combine,
                reasoning=reasoning,
                examples=shown,
            )
        )
    return tuple(plans)


def _stops(recipe: Recipe, engine: str) -> tuple[str, ...]:
    return STOPS[recipe.engines[engine].form]


@dataclass(frozen=True)
class Generation:
    """One generation of frozen inputs: its digest and where it lies."""

    digest: str
    folder: Path

    @property
    def is_frozen(self) -> bool:
        """Whether a run has begun with it."""
        return (self.folder / "generation.json").exists()


def generation_of(run: Path, inputs: Inputs, identities: Mapping[str, Identity]) -> Generation:
    """The generation that the inputs make, whether it has been frozen or not.

    `identities` holds the engines of all roles used.
    """
    content = _content(inputs, identities)
    # An engine's name in the recipe is a handle, not part of what it answers.
    counted = {
        **content,
        "recipe": {k: v for k, v in content["recipe"].items() if k not in ("engines", "judges")},
    }
    name = digest("cai.generation.v1", counted)
    return Generation(name, run / "frozen" / name)


def _content(inputs: Inputs, identities: Mapping[str, Identity]) -> dict[str, Any]:
    recipe = inputs.recipe
    return {
        "recipe": recipe.deciding(),
        "constitutions": {name: constitution.digest for name, constitution in inputs.constitutions.items()},
        "prompts": {form: inputs.prompts[form].digest for form in sorted(_forms(recipe))},
        "engines": {role: identities[recipe.engine_for(role)].digest for role in recipe.roles_used()},
        "judges": [identities[name].digest for name in recipe.judges()] if recipe.feedback else [],
        "examples": inputs.examples.digest if inputs.examples else None,
        "steps": STEPS_DIGEST,
    }


def freeze(run: Path, inputs: Inputs, identities: Mapping[str, Identity]) -> Generation:
    """Freeze the inputs of a run; equal inputs give the same generation.

    Raises: OSError where the folder cannot be written.
    """
    generation = generation_of(run, inputs, identities)
    there = generation.folder / "generation.json"
    if not generation.is_frozen or not there.stat().st_size:  # a power cut may leave it empty
        _write_generation(generation.folder, inputs, _content(inputs, identities), identities)
    return generation


def _forms(recipe: Recipe) -> set[str]:
    return {recipe.engines[name].form for name in recipe.engines_used()}


def _write_generation(
    folder: Path, inputs: Inputs, content: dict[str, Any], identities: Mapping[str, Identity]
) -> None:
    draft = folder.with_name(folder.name + ".draft")
    for stale in (draft, folder):  # a folder without generation.json was never finished
        shutil.rmtree(stale, ignore_errors=True)
    (draft / "principles").mkdir(parents=True)
    for constitution in inputs.constitutions.values():
        for name, text in constitution.files.items():
            place = draft / "principles" / constitution.digest / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, "utf-8")
    for form in sorted(_forms(inputs.recipe)):
        for template in inputs.prompts[form].templates.values():
            for name, text in template.sources.items():
                place = draft / "prompts" / ("base" if form == "completion" else "") / Path(name).name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(text, "utf-8")
    if inputs.examples is not None:
        place = draft / "prompts" / "examples" / inputs.examples.path.name
        place.parent.mkdir(parents=True)
        place.write_text(inputs.examples.source, "utf-8")
    from ruamel.yaml import YAML

    with (draft / "recipe.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="rt").dump(inputs.recipe.model_dump(mode="json"), file)
    record = {**content, "identities": {name: identity.record() for name, identity in identities.items()}}
    if inputs.recipe.origins:
        record["origins"] = inputs.recipe.origins
    (draft / "generation.json").write_bytes(
        orjson.dumps(record, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
    )
    draft.replace(folder)
