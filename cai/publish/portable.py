"""A recipe without anything of the machine that it ran on: the form in which it is published.

    sources, engines: paths out of the run   the last name alone (what a reader may look for)
    engines: addresses of servers         one on the reader's own machine
    engines: how a server was started     without the interpreter, the address, keys and paths
    run.reuse                             left out

None of this decides an answer: `Recipe.deciding()` of the published recipe equals that of the
original, so the generation keeps its digest. An engine's identity is found by what the recipe
declares of it, so it is published under what the published recipe declares (tree.py).
A name that decides answers cannot be changed here; where one is a path of the machine, a note says so.

What this module does not know: what else is published, how an engine is reached.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from cai.recipe import EngineSection, Recipe, ServeSection, SourceSection

HERE = "http://127.0.0.1:8000"
"""Stands for every server's address."""

_PRIVATE_FLAG = re.compile(
    r"(^|[-_])(key|keys|keyfile|certfile|token|password|passwd|secret|credentials?|host|port|address|addr|ip|headers?)($|[-_])",
    re.IGNORECASE,
)


_WITHIN = re.compile(r"""[=:,;"'\[{(\s](/[^/\s]|~|\.\.?[\\/]|\\\\|[A-Za-z]:[\\/]|file:)""")
"""A path that a value holds behind something else: `name=/path`, JSON."""

_NUMBERED = re.compile(r"(?<![0-9.])[0-9]{1,3}(\.[0-9]{1,3}){3}(?![0-9.])")
"""A machine's address in numbers."""

_PATH = re.compile(r"(/[^/\s]+/|~/|[A-Za-z]:\\|file:)")
"""What is a path for sure, wherever it stands: text may begin with a slash too."""


@dataclass(frozen=True)
class Portable:
    """A recipe to be published; `notes`: what was left out or changed in it, one sentence each."""

    recipe: Recipe
    notes: tuple[str, ...]


def portable(recipe: Recipe) -> Portable:
    """The recipe as it is published."""
    notes: list[str] = []
    sources = [_source(section, number, notes) for number, section in enumerate(recipe.sources, 1)]
    engines: dict[str, EngineSection] = {}
    for name, section in recipe.engines.items():
        engines[name] = _engine(section, name, engines.values(), notes)
    run = recipe.run.model_copy(update={"reuse": []})
    if recipe.run.reuse:
        notes.append("run.reuse is left out: it names other runs of yours.")
    doctor = recipe.doctor
    if doctor and says_where(doctor.probes):
        doctor = doctor.model_copy(update={"probes": _last(doctor.probes)})
        notes.append("doctor.probes is published as a file's name.")
    changed: dict[str, Any] = {"sources": sources, "engines": engines, "run": run, "doctor": doctor}
    if says_where(recipe.prompts):
        changed["prompts"] = _last(recipe.prompts)
        notes.append(f"prompts is published as {changed['prompts']!r}, without the folder.")
    if recipe.feedback is not None and says_where(recipe.feedback.examples):
        name = _last(recipe.feedback.examples or "")
        changed["feedback"] = recipe.feedback.model_copy(update={"examples": name})
        notes.append(f"feedback.examples is published as {name!r}, without the folder.")
    made = recipe.model_copy(update=changed)
    return Portable(made, (*notes, *_fixed(made.model_dump())))


def says_where(name: str | None) -> bool:
    """Whether a name says where something lies on a machine: an absolute path, or one out of the run."""
    return name is not None and bool(re.match(r"/|~|\.\.[\\/]|\\\\|[A-Za-z]:[\\/]|file:", name))


def _last(name: str) -> str:
    """A path's last name."""
    return PurePosixPath(name.replace("\\", "/")).name or "path"


def _source(section: SourceSection, number: int, notes: list[str]) -> SourceSection:
    changed: dict[str, str] = {}
    for field in ("path", "repo"):
        value = getattr(section, field)
        if says_where(value):
            changed[field] = _last(value)
            notes.append(f"sources[{number}].{field} is published as {changed[field]!r}, without the folder.")
    return section.model_copy(update=changed)


def _engine(
    section: EngineSection, name: str, before: Iterable[EngineSection], notes: list[str]
) -> EngineSection:
    changed: dict[str, object] = {}
    if section.urls:
        changed["urls"] = [HERE]
    for field in ("path", "tokenizer", "script"):
        value = getattr(section, field)
        if says_where(value):
            changed[field] = _last(value)
            notes.append(f"engines.{name}.{field} is published as {changed[field]!r}, without the folder.")
    if section.serve is not None:
        changed["serve"] = _serve(section.serve, name, notes)
    made = section.model_copy(update=changed)
    clash = [other for other in before if (other.model, other.path) == (made.model, made.path)]
    if clash and "path" in changed:  # two folders of one name: told apart by the engine's own
        made = made.model_copy(update={"path": f"{name}/{made.path}"})
    return made


def _serve(section: ServeSection, name: str, notes: list[str]) -> ServeSection:
    """How a server was started, less what is the machine's own: a flag goes with its value."""
    kept: list[str] = []
    left_out: list[str] = []
    for flag in _flags(section.arguments):
        private = _PRIVATE_FLAG.search(flag[0].partition("=")[0]) or any(
            says_where(value) or "://" in value or _WITHIN.search(value) or _NUMBERED.search(value)
            for value in [*flag[1:], flag[0].partition("=")[2]]
        )
        if private:
            left_out.append(flag[0].partition("=")[0])
        else:
            kept += flag
    if left_out:
        notes.append(f"engines.{name}.serve.arguments is published without {', '.join(left_out)}.")
    plain = ServeSection()
    return section.model_copy(
        update={"arguments": kept, "python": None, "host": plain.host, "port": plain.port}
    )


def _flags(arguments: list[str]) -> list[list[str]]:
    """Arguments grouped: each flag with the values that follow it."""
    grouped: list[list[str]] = []
    for argument in arguments:
        if argument.startswith("-") or not grouped:
            grouped.append([argument])
        else:
            grouped[-1].append(argument)
    return grouped


def _fixed(value: Any, where: str = "") -> Iterator[str]:
    """What still says where something lies on this machine: it decides answers, or nobody thought of it."""
    if isinstance(value, str) and _PATH.match(value):
        yield (
            f"{where} travels as it is, with the path {value!r}: what requests are known by cannot be changed"
            " here. To hide it, name it otherwise and run again."
        )
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _fixed(key, f"{where}.{key}".lstrip("."))
            yield from _fixed(item, f"{where}.{key}".lstrip("."))
    elif isinstance(value, list):
        for item in value:
            yield from _fixed(item, where)
