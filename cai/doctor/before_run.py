"""The doctor at the start of every run: its judges are proven before the first row is asked.

What is asked goes through the run's own `ask` and store, so that it is paid once. `doctor.json` in
the run's folder says what was found, and under which inputs; while these stay the same and the
model was fit, nothing is asked again and no engine is opened.

What this module does not know: which rules decide (verdict.py), terminals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson

from cai.digest import digest
from cai.doctor.examine import VERSION, Diagnosis, Patient, examine, refused
from cai.doctor.patients import patients, recipe_probes
from cai.doctor.probes import Probes
from cai.doctor.record import error_of, record, sentence
from cai.errors import DoctorError, RolesRefusedError
from cai.live import LiveRun
from cai.run_folder import RunFolder

ROW = "doctor"
NUMBER = 0
"""The priority of what the doctor asks: before every row."""


async def examine_run(live: LiveRun, say: Callable[[str], None]) -> None:
    """Examine the engines of a run, unless that was done for these very inputs.

    `say`: what takes a line for the log. Raises: DoctorError, naming the fault; EngineError.
    """
    if live.recipe.doctor is False:
        return
    probes = recipe_probes(live.recipe, live.run.path)
    listed = patients(live.inputs, probes)
    key = _key(live, probes, listed)
    known = read_report(live.run)
    if known is not None and known.get("key") == key and known.get("fit"):
        return
    if not listed or (len(live.store) > 0 and not live.has_rows_left()):
        return
    found = []
    for patient, judges in listed:
        diagnosis = await _examine(live, patient, probes if judges else None)
        found.append(diagnosis)
        if diagnosis.fault is not None:
            break
        say(sentence(diagnosis))
    _write(live.run, key, found)
    if found[-1].fault is not None:
        raise error_of(found[-1], live.run.shown)


async def _examine(live: LiveRun, patient: Patient, probes: Probes | None) -> Diagnosis:
    engine = live.engines[patient.engine]
    ask = live.ask.for_row(ROW, NUMBER)
    try:
        return await examine(patient, probes, ask, engine.position)
    finally:
        live.ask.leave(NUMBER)
        # What a run shows of its speed and cost is about its rows.
        live.ask.accounts.pop((patient.engine, "doctor"), None)


def _key(live: LiveRun, probes: Probes, listed: list[tuple[Patient, bool]]) -> str:
    """What a verdict depends on."""
    each = [
        [
            patient.engine,
            live.identities[patient.engine].digest,
            patient.prompts.digest,
            patient.min_option_mass,
            patient.asks_turned,
            patient.reasoned,
            patient.rates_harm,
            [[message.role, message.text] for message in patient.examples],
            judges,
        ]
        for patient, judges in listed
    ]
    return digest("cai.doctor.v1", [VERSION, probes.digest, each])


def read_report(run: RunFolder) -> dict[str, Any] | None:
    """What `doctor.json` says, or None."""
    try:
        value = orjson.loads(run.doctor.read_bytes())
    except (OSError, ValueError):
        return None  # examined again
    return value if isinstance(value, dict) else None


def _write(run: RunFolder, key: str, found: list[Diagnosis]) -> None:
    fit = all(item.fault is None for item in found)
    content = {"key": key, "fit": fit, "engines": [record(item) for item in found]}
    draft = run.doctor.with_suffix(".draft")
    draft.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2))
    draft.replace(run.doctor)


@contextmanager
def faults_named(run: str) -> Iterator[None]:
    """A chat template that refuses the prompts when an engine opens has the fault of that name, too.

    Raises: DoctorError.
    """
    try:
        yield
    except RolesRefusedError as error:
        named = error_of(refused("", "", error), run)
        problem = named.problem.replace(" (engine '', model '')", "")
        raise DoctorError(problem, error.remedy, named.faults) from error
