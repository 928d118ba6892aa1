"""Starts a run from a published one: its rows and answers taken over, its principles free to be edited.

    runs/NAME/recipe.yaml      the published recipe, without what is at its default
    runs/NAME/principles/      the constitutions, to be edited
    runs/NAME/prompts/         the templates that the recipe uses, and its examples, to be edited
    runs/NAME/rows/            the source rows (`kind: published`), so that no other download is needed
    runs/NAME/frozen/          the published generation, and who its engines are
    runs/NAME/store/           the published answers
    runs/NAME/noise.json, review/   where they were published: the dataset is made with them

Requests keep their digests, because who the engines are is taken over as it was frozen: with nothing
edited, `cai run` asks nothing; after an edit it asks for what the edit changed.

What was published decides nothing about this machine: addresses, keys' variables, how a server is
started and which scripts run are never taken over; each that the person has to set is told. Of the
published files only constitutions (.yaml), templates (.j2), rows, answers and records are copied.

What this module does not know: how files are fetched and checked (fetch.py), how a run is worked on.
"""

from __future__ import annotations

import io
import shutil
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import orjson
from pydantic import BaseModel

from cai.engine.fingerprint import read_fingerprint
from cai.engine.identity import Identity
from cai.errors import InputError, PublishError
from cai.frozen import generation_of, load_inputs
from cai.publish.fetch import Published, published_recipe, versions_differ
from cai.publish.portable import HERE
from cai.publish.rebuild import versions_here
from cai.publish.tree import recipe_yaml
from cai.recipe import DoctorSection, EngineSection, Recipe, SourceSection, load_recipe
from cai.run_folder import RunFolder
from cai.settled import freeze_fingerprint, freeze_identity, frozen_identity
from cai.shipped import shipped
from cai.source.places import HH_RLHF

ROWS = "rows"
_OWN_FOLDERS = (ROWS, "store", "frozen", "prompts", "dataset", "review", "workbench")
_PROMPTS = "prompts"
_NOT_FOR_TEMPLATES = ("principles", *(name for name in _OWN_FOLDERS if name != _PROMPTS))
_ECHO = "echo"


@dataclass(frozen=True)
class Forked:
    """The new run, and what a person has to know or set, one sentence each."""

    run: RunFolder
    notes: tuple[str, ...]


@dataclass
class _Making:
    """A fork under way: its recipe and what is to be told of it."""

    recipe: Recipe
    notes: list[str] = field(default_factory=list)


def fork(published: Published, folder: Path) -> Forked:
    """Make a run in a new folder out of what was published.

    Raises: PublishError where it was published without its store, or cannot be taken over; RunError,
    InputError and its kinds for published files that this version does not read; OSError.
    """
    if not published.has_store:
        raise PublishError(
            f"{published.name} was published without its rows and answers, so every answer would be asked anew.",
            "Its recipe, principles and templates lie in its folder `run`; or ask its publisher for "
            "`cai publish --with-store`.",
        )
    if folder.exists():
        raise PublishError(f"{folder} is there already.", "Give the fork another NAME.")
    draft = folder.with_name(f".{folder.name}-new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        notes = _make(published, RunFolder(draft.resolve()))
    except BaseException:  # a Ctrl-C too: no draft is left behind
        shutil.rmtree(draft, ignore_errors=True)
        raise
    draft.rename(folder)
    return Forked(RunFolder(folder.resolve()), tuple(notes))


def _make(published: Published, run: RunFolder) -> list[str]:
    making = _Making(published_recipe(published))
    record = _record(published)
    _open_sections(making, published)
    _engines(making)
    _copy(published.run / "rows", run.path / ROWS, (".jsonl.gz",))
    _copy(published.run / "store", run.store, (".jsonl",))
    _copy(published.frozen, run.frozen / published.manifest.generation, (".yaml", ".j2", ".json"))
    _copy(published.folder / "review", run.path / "review", (".json",))
    if (published.run / "noise.json").is_file():
        shutil.copyfile(published.run / "noise.json", run.noise)
    (run.frozen / published.manifest.generation / "recipe.yaml").write_bytes(recipe_yaml(making.recipe))
    _principles(published, record, run, making)
    _templates(published, run, making)
    run.recipe.write_text(_written(published, making), "utf-8")
    if (
        load_recipe(run.recipe).model_dump() != making.recipe.model_dump()
    ):  # a default of another version, say
        raise PublishError(
            f"The recipe of {published.name} cannot be written as it was read.",
            f"Use cai {published.manifest.cai}, which published it.",
        )
    _identities(published, record, run, making)
    _generation(published, run, making)
    return making.notes


def _record(published: Published) -> Mapping[str, Any]:
    """The generation's record, as frozen. Raises: PublishError."""
    path = published.frozen / "generation.json"
    try:
        record = orjson.loads(path.read_bytes())
        constitutions, identities = record["constitutions"], record["identities"]
        if isinstance(constitutions, dict) and isinstance(identities, dict):
            return dict(record)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise PublishError(
        f"{published.name}: run/frozen/{published.manifest.generation}/generation.json is not what cai writes.",
        "Another version of cai may have published it; use that one.",
    )


def _copy(source: Path, target: Path, suffixes: tuple[str, ...]) -> None:
    """Copy the files of these suffixes, links followed: they were checked by content."""
    for path in sorted(source.rglob("*")):
        if path.is_file() and path.name.endswith(suffixes):
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)


# ---------------------------------------------------------------------- what people edit


def _principles(published: Published, record: Mapping[str, Any], run: RunFolder, making: _Making) -> None:
    """Copies of all constitutions where the recipe's names find them.

    A name that leads out of the run's folder is shortened; so are names of files that differ.
    """
    names: dict[str, str] = {}
    taken: dict[Path, bytes] = {}
    for name, digest in record["constitutions"].items():
        folder = published.frozen / "principles" / PurePosixPath(str(digest)).name
        texts = {
            path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.yaml"))
        }
        named = PurePosixPath(name if name.endswith(".yaml") else f"{name}.yaml")
        plain = _is_plain(name) and named.parts[0] not in _OWN_FOLDERS
        place = Path("principles") / (named.parent if plain else "")
        if plain and name.endswith(".yaml") and len(named.parts) > 1:
            place = Path(named.parent)
        if any(taken.get(place / file, text) != text for file, text in texts.items()):
            place = Path("principles") / folder.name
            names[name] = (place / named.name).as_posix()
        elif not plain:
            names[name] = named.stem
        for file, text in texts.items():
            taken[place / file] = text
            (run.path / place / file).parent.mkdir(parents=True, exist_ok=True)
            (run.path / place / file).write_bytes(text)
    if names:
        renamed = {pattern: names.get(name, name) for pattern, name in making.recipe.constitutions.items()}
        making.recipe = making.recipe.model_copy(update={"constitutions": renamed})


def _is_plain(name: str) -> bool:
    """Whether a name is a relative path that stays where it is."""
    path = PurePosixPath(name)
    return not (path.is_absolute() or ".." in path.parts or any(mark in name for mark in "\\~:"))


def _templates(published: Published, run: RunFolder, making: _Making) -> None:
    """Copies of the templates and of the worked judgements; a folder's name is part of a generation, and kept."""
    place = making.recipe.prompts.rstrip("/")
    first = PurePosixPath(place).parts[:1]
    if not _is_plain(place) or not first or first[0] in _NOT_FOR_TEMPLATES:
        place = _PROMPTS
    _copy(published.frozen / "prompts", run.path / place, (".j2",))
    _copy(published.frozen / "prompts", run.path / _PROMPTS, (".yaml",))
    if place != _PROMPTS:
        making.notes.append(f"The templates lie in {place}/, as the recipe calls that folder.")
    changed: dict[str, Any] = {"prompts": place}
    feedback = making.recipe.feedback
    if feedback is not None and feedback.examples is not None:
        name = PurePosixPath(feedback.examples).name.removesuffix(".yaml")
        changed["feedback"] = feedback.model_copy(update={"examples": name})
    making.recipe = making.recipe.model_copy(update=changed)


def _open_sections(making: _Making, published: Published) -> None:
    """What decides no answer and is not the author's any more: sources, other runs, what a run cost."""
    recipe = making.recipe
    page = published.name if published.revision else None  # else nobody could tell whose the rows are
    changed: dict[str, Any] = {
        "sources": [SourceSection(kind="published", path=ROWS, unanswered=recipe.has_unanswered())],
        "run": recipe.run.model_copy(update={"reuse": []}),
        "publish": recipe.publish.model_copy(
            update={
                "title": None,
                "gpu_hours": None,
                "energy_kwh": None,
                "source": _source_of(recipe) or page,
            }
        ),
    }
    if recipe.doctor and not _is_shipped(recipe.doctor.probes):
        changed["doctor"] = DoctorSection()
        making.notes.append(
            f"doctor.probes: the author's own questions ({recipe.doctor.probes}) are not published; the shipped ones are used."
        )
    making.recipe = recipe.model_copy(update=changed)


def _source_of(recipe: Recipe) -> str | None:
    """The one dataset of the Hub that all rows come from, where the recipe says so."""
    stated = recipe.publish.source
    if isinstance(stated, str):
        return stated
    if stated is not None:  # by source, and here all are one: it has a name where they share it
        return (
            stated.popitem()[1]
            if len(stated) == len(recipe.sources) and len({*stated.values()}) == 1
            else None
        )
    hub = {"hh-rlhf": HH_RLHF, "red-team": HH_RLHF}
    names = {
        (section.repo or hub.get(section.kind)) if section.path is None else None
        for section in recipe.sources
    }
    name = names.pop() if len(names) == 1 else None
    return name if name is not None and "/" in name else None  # else a folder's last name


def _is_shipped(name: str) -> bool:
    """Whether a file or folder of this name comes with the program."""
    try:
        return _is_plain(name) and shipped(name).exists()
    except InputError:
        return False


# ---------------------------------------------------------------------- engines


def _engines(making: _Making) -> None:
    """Engines without anything of the author's machine; what is to be set is told."""
    used = making.recipe.engines_used()
    engines = {}
    for name, section in making.recipe.engines.items():
        engines[name] = _engine(name, section, making.notes if name in used else [])
    making.recipe = making.recipe.model_copy(update={"engines": engines})


def _engine(name: str, section: EngineSection, notes: list[str]) -> EngineSection:
    plain = EngineSection.model_fields
    changed: dict[str, Any] = {"api_key_variable": plain["api_key_variable"].default, "serve": None}
    if section.kind == "server":
        changed["urls"] = [HERE]
        notes.append(
            f"engines.{name}.urls: set it to where you serve {section.model}"
            f"{f' ({section.revision})' if section.revision else ''}; {HERE} stands there."
        )
        if section.serve is not None and section.serve.arguments:
            notes.append(
                f"engines.{name}.serve is left out; its author served the model with: "
                f"{' '.join(section.serve.arguments)}"
            )
        if section.tokenizer is not None:
            notes.append(
                f"engines.{name}.tokenizer: it says {section.tokenizer!r}; set it if it lies elsewhere."
            )
    if section.kind == "local":
        where = section.path or section.model
        if not _is_shipped(where):
            notes.append(f"engines.{name}.path: it says {where!r}; set it to where the model's folder lies.")
    if section.kind == "scripted" and section.script not in (None, _ECHO):
        script = PurePosixPath(str(section.script).replace("\\", "/")).name
        changed["script"] = script if script.endswith(".py") else f"{script}.py"
        notes.append(
            f"engines.{name}.script: it answers from a Python file, {changed['script']}, which is not published; "
            "read it, and put it beside the recipe if you trust it."
        )
    return section.model_copy(update=changed)


def _identities(published: Published, record: Mapping[str, Any], run: RunFolder, making: _Making) -> None:
    """Freeze who the engines are, under what the fork's recipe declares of them.

    Fingerprints are published beside identities, so each is found by the identity that it guards.
    """
    fingerprints = _fingerprints(published)
    for name in making.recipe.engines_used():
        try:
            identity = Identity(**record["identities"][name])
            who = identity.digest
            guard = read_fingerprint(fingerprints[who]) if who in fingerprints else None
        except (KeyError, TypeError, ValueError) as error:
            raise PublishError(
                f"{published.name} does not say who its engine {name!r} is.",
                "Another version of cai may have published it; use that one.",
            ) from error
        section = making.recipe.engines[name]
        if frozen_identity(run.path, section) is None:
            freeze_identity(run.path, section, identity)
            if guard is not None:
                freeze_fingerprint(run.path, section, guard)


def _fingerprints(published: Published) -> dict[str, Any]:
    """The published fingerprints, by the digest of the identity that each guards."""
    found = {}
    for path in sorted((published.run / "frozen" / "engines").glob("*.fingerprint.json")):
        identity = path.with_name(path.name.replace(".fingerprint.json", ".json"))
        try:
            found[Identity(**orjson.loads(identity.read_bytes())).digest] = orjson.loads(path.read_bytes())
        except (OSError, ValueError, TypeError):
            continue  # a guard that guards nobody
    return found


def _generation(published: Published, run: RunFolder, making: _Making) -> None:
    """Load what a run would, and tell where the fork is another generation by itself."""
    inputs = load_inputs(making.recipe, run.path)
    identities = {
        name: identity
        for name in making.recipe.engines_used()
        if (identity := frozen_identity(run.path, making.recipe.engines[name])) is not None
    }
    if generation_of(run.path, inputs, identities).digest == published.manifest.generation:
        return
    differ = versions_differ(published.manifest, versions_here())
    why = ", ".join(differ) or "a name that could not be kept is part of it"
    making.notes.append(
        f"Here the same files make another generation ({why}): `cai run --edited` replays every "
        "row, from the published answers wherever a request is the same."
    )


# ---------------------------------------------------------------------- the recipe, as a person writes it


def _written(published: Published, making: _Making) -> str:
    """The recipe as YAML without what is at its default, with what is to be set said at its top."""
    at = f" at {published.revision}" if published.revision else ""
    head = [
        f"A fork of {published.name}{at}: run {published.manifest.run!r}, made with cai {published.manifest.cai}."
    ]
    head += ["Keys that are left out have their defaults; `frozen/` shows all of them."]
    head += making.notes
    return "".join(f"# {line}\n" for line in _wrapped(head)) + "\n" + _yaml(making.recipe)


def _wrapped(lines: Iterable[str], width: int = 100) -> Iterable[str]:
    for line in lines:
        printable = "".join(c if c.isprintable() else " " for c in line)
        yield from textwrap.wrap(printable, width, break_long_words=False, break_on_hyphens=False)


def _yaml(recipe: Recipe) -> str:
    """Each section by itself, an empty line between them."""
    from ruamel.yaml import YAML

    yaml = YAML(typ="rt")
    yaml.width = 110
    blocks = []
    for name, value in _said(recipe).items():
        text = io.StringIO()
        yaml.dump({name: value}, text)
        blocks.append(text.getvalue())
    return "\n".join(blocks)


def _said(section: BaseModel) -> dict[str, Any]:
    """What a person would write: the keys whose values are not the default."""
    said = {}
    for name, about in type(section).model_fields.items():
        value = getattr(section, name)
        if about.is_required() or value != about.get_default(call_default_factory=True):
            said[name] = _plain(value)
    if len(said.get("urls", ())) == 1:
        said["urls"] = said["urls"][0]
    return said


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return _said(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
