"""Generations read back: the one that a run last worked with, from its frozen folder.

People edit recipes, principles and templates while they read what came before. The frozen folder
keeps all that decided a generation's answers, so it can be read whole without the edited files.
What decides nothing (sources, dataset, pilot, run, publish, where engines are and how fast they are
asked) is taken from the recipe as it now stands, wherever that can be read.

On disk: `frozen/latest` holds the digest of the generation that the run last worked with.

What this module does not know: how a generation is made (cai/frozen.py), the terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from cai.constitution_file import load_constitution
from cai.engine.identity import Identity
from cai.errors import CaiError, InputError, RunError
from cai.examples import load_examples
from cai.frozen import Generation, Inputs, stages_used
from cai.principle import Constitution
from cai.prompting import Prompts, load_prompts
from cai.recipe import Recipe, load_recipe
from cai.run_folder import RunFolder
from cai.settled import declared_digest, frozen_identity
from cai.shipped import find
from cai.steps import STEPS_DIGEST

LATEST = "latest"
OPEN_SECTIONS = ("sources", "dataset", "pilot", "run", "publish", "doctor")
"""The recipe's sections that decide no answer; they may change at any time."""
OPEN_OF_ENGINES = (
    "urls",
    "api_key_variable",
    "concurrency",
    "timeout_s",
    "retry_s",
    "stall_s",
    "device",
    "batch_size",
    "serve",
)
"""What a recipe says of an engine that is no part of who it is, nor of what it is asked."""


@dataclass(frozen=True)
class Past:
    """A generation with everything that decided its answers."""

    generation: Generation
    inputs: Inputs
    identities: Mapping[str, Identity]
    record: Mapping[str, Any]


def remember(run: RunFolder, generation: Generation) -> None:
    """Note that the run works with this generation now. Raises: OSError."""
    draft = run.frozen / f"{LATEST}.draft"
    draft.write_text(generation.digest + "\n", "utf-8")
    draft.replace(run.frozen / LATEST)


def frozen_generations(run: RunFolder) -> list[Generation]:
    """All generations of a run, the one that it last worked with first, then the newest."""
    try:
        latest = (run.frozen / LATEST).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        latest = ""
    found = [Generation(path.parent.name, path.parent) for path in run.frozen.glob("*/generation.json")]
    found = [item for item in found if not item.folder.name.endswith(".draft")]

    def newest(item: Generation) -> tuple[bool, float, str]:
        return item.digest == latest, (item.folder / "generation.json").stat().st_mtime, item.digest

    return sorted(found, key=newest, reverse=True)


def read_generation(generation: Generation, now: Recipe | None) -> Past:
    """A generation from its frozen folder; `now`: the recipe as it stands, or None.

    Raises: RunError where it cannot be read (another version of the program made it).
    """
    folder = generation.folder
    try:
        record = orjson.loads((folder / "generation.json").read_bytes())
        recipe = load_recipe(folder / "recipe.yaml")
        recipe = recipe.originating(record.get("origins", recipe.origins))
        if now is not None:
            recipe = _open_as_now(recipe, now, folder.parent.parent)
        constitutions = {
            name: _constitution(folder, name, digest) for name, digest in record["constitutions"].items()
        }
        prompts: dict[str, Prompts] = {
            form: load_prompts(folder / "prompts", form, used) for form, used in stages_used(recipe).items()
        }
        examples = None
        if recipe.feedback is not None and recipe.feedback.examples is not None:
            path = folder / "prompts" / "examples" / _file_name(recipe.feedback.examples)
            examples = load_examples(path, reasoned=recipe.feedback.reasons_in_answer)
        identities = {name: Identity(**item) for name, item in record["identities"].items()}
    except (OSError, ValueError, KeyError, TypeError, InputError) as error:
        raise RunError(
            f"The generation {generation.digest[:12]} cannot be read back from {folder}.",
            "It may be damaged, or another version of cai made it; `cai run` makes a new one.",
        ) from error
    inputs = Inputs(recipe, constitutions, prompts, folder / "prompts", examples)
    return Past(generation, inputs, identities, record)


def _open_as_now(recipe: Recipe, now: Recipe, run: Path) -> Recipe:
    """A frozen recipe with what decides nothing as it now stands; engines are known by what they declare."""
    declared = {declared_digest(section, run): section for section in reversed(now.engines.values())}
    engines = {}
    for name, section in recipe.engines.items():
        who = declared_digest(section, run)
        same = now.engines.get(name)
        if same is None or declared_digest(same, run) != who:
            same = declared.get(who)
        changed = {field: getattr(same, field) for field in OPEN_OF_ENGINES} if same is not None else {}
        engines[name] = section.model_copy(update=changed)
    update = {name: getattr(now, name) for name in OPEN_SECTIONS}
    return recipe.model_copy(update={**update, "engines": engines})


def _file_name(name: str) -> str:
    file = Path(name).name
    return file if file.endswith(".yaml") else f"{file}.yaml"


def _constitution(folder: Path, name: str, digest: str) -> Constitution:
    """A constitution as it was used; its lines are named as they were when people wrote them."""
    constitution = load_constitution(folder / "principles" / digest / _file_name(name))
    if constitution.digest != digest:
        raise ValueError(f"the constitution {name!r} is not what was frozen")
    origins = {key: at.replace(f"{digest}/", "principles/") for key, at in constitution.origins.items()}
    return replace(constitution, origins=origins)


def changed_since(past: Past, run: RunFolder, now: Recipe | None, inputs: Inputs | None) -> list[str]:
    """The files in which what now stands differs from a generation, as people name them.

    `now`, `inputs`: as they stand, None where they cannot be read.
    """
    if now is None:
        return [run.recipe.name]
    changed = [run.recipe.name] if _recipe_differs(past.inputs.recipe, now) else []
    if inputs is None:
        return changed or ["principles or templates"]
    for name, constitution in inputs.constitutions.items():
        before = past.inputs.constitutions.get(name)
        if before is not None and before.digest != constitution.digest:
            changed += [f"principles/{file}" for file in _differing(before.files, constitution.files)]
    for form, prompts in inputs.prompts.items():
        known = past.inputs.prompts.get(form)
        if known is None:
            continue
        texts = [
            {
                Path(file).name: text
                for template in item.templates.values()
                for file, text in template.sources.items()
            }
            for item in (known, prompts)
        ]
        folder = "prompts/base/" if form == "completion" else "prompts/"
        changed += [folder + file for file in _differing(*texts)]
    shown = (past.inputs.examples, inputs.examples)
    if shown[0] is not None and shown[1] is not None and shown[0].digest != shown[1].digest:
        changed.append(f"prompts/examples/{shown[1].path.name}")
    changed += _scripts(run, now)
    if past.record.get("steps") != STEPS_DIGEST:
        changed.append("cai itself (another version)")
    return list(dict.fromkeys(changed)) or [run.recipe.name]


def _recipe_differs(before: Recipe, now: Recipe) -> bool:
    kept = set(type(now).model_fields) - set(OPEN_SECTIONS)
    return before.model_dump(include=kept) != now.model_dump(include=kept)


def _differing(before: Mapping[str, str], now: Mapping[str, str]) -> Iterable[str]:
    return [name for name in now if before.get(name) != now[name]]


def _scripts(run: RunFolder, now: Recipe) -> list[str]:
    """The scripts of scripted engines; whether one has changed shows only in its engine's identity."""

    found = []
    for name in now.engines_used():
        section = now.engines[name]
        if section.script is None or frozen_identity(run.path, section) is not None:
            continue
        try:
            found.append(find(section.script, run.path).name)
        except CaiError:
            continue
    return found
