"""A diagnosis as JSON, and as the sentence that stops a run or goes into its log.

What this module does not know: how anything was found, terminals.
"""

from __future__ import annotations

from dataclasses import asdict, fields, is_dataclass
from enum import Enum
from typing import Any

from cai.doctor.examine import Diagnosis
from cai.doctor.faults import Fault, Warned
from cai.errors import DoctorError
from cai.share import Share


def record(diagnosis: Diagnosis) -> dict[str, Any]:
    """A diagnosis as JSON: faults and warnings by name and sentence, rates with their intervals."""
    return {
        "engine": diagnosis.engine,
        "model": diagnosis.model,
        "fit": diagnosis.fault is None,
        "fault": _fault(diagnosis.fault),
        "warnings": [{"name": item.title, "sentence": item.sentence} for item in diagnosis.warnings],
        "detail": diagnosis.detail,
        "pairs": diagnosis.pairs,
        "requests": diagnosis.requests,
        "context_tokens": diagnosis.context_tokens,
        "figures": _plain(diagnosis.figures),
        "option_mass": _plain(diagnosis.mass),
        "harm": _plain(diagnosis.harm),
        "said": diagnosis.said,
        "position": _plain(diagnosis.position),
    }


def _fault(fault: Fault | None) -> dict[str, str] | None:
    if fault is None:
        return None
    return {"name": fault.title, "sentence": fault.sentence, "remedy": fault.remedy}


def _plain(value: Any) -> Any:
    """Dataclasses as plain values; a rate with its share and interval."""
    if isinstance(value, Share):
        return {**asdict(value), "share": value.share, "interval": value.interval}
    if isinstance(value, (Fault, Warned)):
        return value.title
    if isinstance(value, Enum):
        return value.name
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def sentence(diagnosis: Diagnosis) -> str:
    """What was found, in one line for a log."""
    name = f"engine {diagnosis.engine} ({diagnosis.model})"
    if diagnosis.fault is not None:
        return f"doctor: {name}: {diagnosis.fault.title}. {diagnosis.fault.sentence}"
    figures, mass = diagnosis.figures, diagnosis.mass
    if figures is None or mass is None:
        return f"doctor: {name}: no fault seen"
    parts = [f"{figures.right.k} of {figures.right.n} known answers right"]
    parts.append(f"orders agree on {figures.consistent.k} of {figures.consistent.n}")
    parts.append(f"chose A {figures.chose_a.share or 0:.0%}")
    if mass.mean is not None:
        parts.append(f"option mass {mass.mean:.3f}")
    if diagnosis.harm is not None:
        parts.append(f"{diagnosis.harm.right.k} of {diagnosis.harm.right.n} harm ratings right")
    warned = "".join(f"; {item.title}" for item in diagnosis.warnings)
    return f"doctor: {name}: {', '.join(parts)}{warned}"


def error_of(diagnosis: Diagnosis, run: str) -> DoctorError:
    """What stops a run. `run`: how a person names it on the command line."""
    fault = diagnosis.fault
    assert fault is not None, "only a fault stops a run"
    shown = f" {diagnosis.detail}" if diagnosis.detail else ""
    if diagnosis.said:
        shown += f" It says: {' '.join(diagnosis.said.split())[:120]!r}."
    return DoctorError(
        f"{fault.title}: {fault.sentence}{shown} (engine {diagnosis.engine!r}, model {diagnosis.model!r})",
        f"{fault.remedy} `cai doctor {run} --engine {diagnosis.engine}` shows what was seen;"
        f" `cai run {run} --skip-doctor` goes on all the same.",
        (fault.title,),
    )
