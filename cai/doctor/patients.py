"""Who is to be examined: the engines of a recipe, each as what its roles make of it.

What this module does not know: how a model is examined.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cai.conversation import Turn
from cai.doctor.examine import Patient
from cai.doctor.probes import Probes, load_probes
from cai.frozen import Inputs
from cai.parts import Message, Value
from cai.prompting import Prompts, principle_values, turn_values
from cai.recipe import EngineSection, Recipe
from cai.shipped import find, shipped
from cai.template import Rendered

FREE_TOKENS = 256
"""How long a free answer may be that is only looked at for thinking that never ends."""


def recipe_probes(recipe: Recipe, beside: Path) -> Probes:
    """The known-answer pairs of a recipe. Raises: InputError."""
    return load_probes(find(recipe.doctor.probes, beside) if recipe.doctor else shipped_probes())


def shipped_probes() -> Path:
    """The known-answer pairs that come with the program."""
    return shipped("doctor/probes.yaml")


def can_be_examined(section: EngineSection) -> bool:
    """Whether there is a model: the scripted engine's hashes know nothing and are meant not to."""
    return section.kind != "scripted" or section.script not in (None, "echo")


def patients(inputs: Inputs, probes: Probes) -> list[tuple[Patient, bool]]:
    """The engines that a recipe uses, and whether each judges."""
    recipe = inputs.recipe
    judges = recipe.judges() if recipe.feedback is not None else []
    found = []
    for name in recipe.engines_used():
        section = recipe.engines[name]
        if not can_be_examined(section):
            continue
        prompts = inputs.prompts_of(name)
        reasoned = recipe.feedback is not None and recipe.feedback.reasons_in_answer
        patient = Patient(
            engine=name,
            model=section.model,
            prompts=prompts,
            min_option_mass=recipe.feedback.min_option_mass if recipe.feedback else 0.5,
            asks_turned=_asks_turned(inputs),
            examples=_examples(inputs, prompts, reasoned=reasoned) if name in judges else (),
            free=tuple(_free(inputs, name, probes)),
            reasoned=reasoned,
            rates_harm=name in judges[:1] and recipe.feedback is not None and recipe.feedback.harm,
        )
        found.append((patient, name in judges))
    return found


def _examples(inputs: Inputs, prompts: Prompts, *, reasoned: bool) -> tuple[Message, ...]:
    return inputs.examples.messages(prompts, reasoned=reasoned) if inputs.examples is not None else ()


def _asks_turned(inputs: Inputs) -> bool:
    """Whether any principle asks for the worse response."""
    return any(
        principle.polarity == "worse"
        for constitution in inputs.constitutions.values()
        for principle in constitution.principles
    )


def _free(inputs: Inputs, engine: str, probes: Probes) -> Iterable[tuple[str, Rendered, int]]:
    """A critique, where this engine is to write any."""
    recipe = inputs.recipe
    if recipe.revise is None or recipe.engine_for("revise") != engine or not recipe.revise.critique:
        return
    constitution = next(iter(inputs.constitutions.values()))
    values = principle_values(constitution, constitution.principles[0])
    turns = turn_values([Turn("user", probes.pairs[0].prompt)], f"probe {probes.pairs[0].id}")
    response = Value(probes.pairs[0].worse, "row", f"probe {probes.pairs[0].id}")
    prompts = inputs.prompts_of(engine)
    tokens = min(FREE_TOKENS, recipe.revise.critique_sampling.max_tokens)
    yield "critique", prompts.critique(turns, response, values), tokens
