"""What a person points the doctor at: a server, or the engines of a recipe, opened without a run.

Nothing is frozen, stored or locked: an examination by hand asks anew, whatever a run is doing.

What this module does not know: how a model is examined, what is printed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from cai.doctor.direct import DirectAsk
from cai.doctor.examine import Diagnosis, Patient, examine, refused
from cai.doctor.patients import can_be_examined, patients, recipe_probes, shipped_probes
from cai.doctor.probes import Probes, load_probes
from cai.engine.connection import Connection
from cai.engine.fault_kinds import Status
from cai.engine.kinds import LazyEngine, make_engine
from cai.errors import InputError, RecipeError, RolesRefusedError, RunError
from cai.frozen import load_inputs
from cai.live import located, refuse_placeholders
from cai.prompting import load_prompts
from cai.recipe import EngineSection, load_recipe
from cai.run_folder import RunFolder
from cai.settled import frozen_date
from cai.shipped import shipped
from cai.yaml_file import nearest

WAIT_S = 5.0
"""How long a server that does not answer is waited for."""


@dataclass(frozen=True)
class Target:
    """One engine to be examined, and as what. `probes` None: it does not judge; `run`: how a person names its run."""

    section: EngineSection
    date: str
    patient: Patient
    probes: Probes | None
    run: str = "RUN"


async def server_target(url: str, model: str, tokenizer: str, form: str) -> Target:
    """A server as a judge, with the prompts and pairs that come with the program.

    `model`: its name there, or nothing where it has only one. Raises: EngineError, InputError.
    """
    url = url if "://" in url else f"http://{url}"
    known = EngineSection.model_fields["api_key_variable"].default
    section = EngineSection.model_validate(
        {
            "kind": "server",
            "urls": [url],
            "model": model or await served_model(url, os.environ.get(str(known), "")),
            "tokenizer": tokenizer or None,
            "form": form,
            "retry_s": WAIT_S,
        }
    )
    prompts = load_prompts(shipped("prompts"), section.form, ("judgement",))
    patient = Patient("server", section.model, prompts)
    return Target(section, datetime.now(UTC).date().isoformat(), patient, load_probes(shipped_probes()))


async def served_model(url: str, key: str) -> str:
    """The only model that a server has. Raises: EngineError; InputError where there are several."""
    connection = Connection([url], 1, 60.0, WAIT_S, key)
    connection.open()
    try:
        answer = await connection.ask(connection.places[0], "/v1/models")
    except Status as error:
        raise connection.mapped(error, connection.places[0]) from error
    finally:
        await connection.close()
    data = answer.get("data")
    names = [str(item.get("id")) for item in data if isinstance(item, dict)] if isinstance(data, list) else []
    if len(names) != 1:
        raise InputError(
            f"The server at {url} has {len(names) or 'no'} models: {', '.join(names) or 'none'}.",
            "Name one with --model.",
        )
    return names[0]


def recipe_targets(given: Path, engine: str) -> list[Target]:
    """The engines of a recipe (a run's folder, or a recipe anywhere); `engine`: only that one.

    Raises: InputError and its kinds, RunError.
    """
    path = given / "recipe.yaml" if given.is_dir() else given
    if not path.is_file():
        raise RunError(f"There is no recipe {path}.", "Give a run's folder, or the recipe in it.")
    recipe = load_recipe(path)
    run = RunFolder(path.resolve().parent)
    refuse_placeholders(recipe, run)
    if engine and engine not in recipe.engines:
        raise RecipeError(
            f"{path} has no engine {engine!r}{nearest(engine, recipe.engines)}.", "Name one with --engine."
        )
    inputs = load_inputs(recipe, run.path)
    probes = recipe_probes(recipe, run.path)
    found = []
    for patient, judges in patients(inputs, probes):
        if engine and patient.engine != engine:
            continue
        declared = recipe.engines[patient.engine]
        waits = declared.serve is not None and declared.serve.with_run
        section = located(declared, run).model_copy(
            update={} if waits else {"retry_s": min(WAIT_S, declared.retry_s)}
        )
        found.append(
            Target(section, frozen_date(run.path, declared), patient, probes if judges else None, run.shown)
        )
    if not found:
        unused = engine and can_be_examined(recipe.engines[engine])
        raise RecipeError(
            f"{path} has no model to examine{f': no role uses {engine!r}' if unused else ''}.",
            "The built-in scripted engine is none; name an engine that a role uses.",
        )
    return found


async def examine_target(target: Target) -> Diagnosis:
    """Open an engine, examine it, close it. Raises: EngineError, MissingExtraError."""
    patient, section = target.patient, target.section
    engine = LazyEngine(
        patient.engine,
        section,
        make=lambda: make_engine(patient.engine, section, target.date, target.run),
        settle=lambda identity: identity,
        known=None,
    )
    try:
        await engine.open()
        found = await examine(patient, target.probes, DirectAsk(engine), engine.position)
        return replace(found, context_tokens=engine.context_tokens)
    except RolesRefusedError as error:
        return refused(patient.engine, patient.model, error)
    finally:
        await engine.close()
