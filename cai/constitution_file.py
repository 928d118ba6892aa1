"""The constitution file: YAML that people write, read into a `Constitution`.

    constitution: support            # the file's own name
    title: Customer support
    areas: [tone, privacy]           # tags that it promises to cover
    include: [harmless]              # or {constitution: harmless, leave_out: [privacy, ...]}
    forms: {critique: "... {text} ..."}    # what stands in for a form that a principle leaves out
    principles:
      - id: on-topic                 # a principle of one's own
        text: ...
        critique: ... revision: ... judgement: ...  (each may be left out: made from `text`)
        tests: [{prompt: ..., better: ..., worse: ...}]
      - id: physical-safety          # one of an included constitution, with some of it changed
        override: true
        weight: 2

Included principles come first, in the order of `include`; an overridden one keeps its place.
A form that is left out is made from the principle's `text` by the constitution's `forms`, or
else by `forms/default.yaml` in the constitution's folder, or that of the package. Every mistake is reported at once with its place.

What this module does not know: templates, models, what lint would say of a wording.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from cai.errors import ConstitutionError, InputError
from cai.principle import FORMS, Constitution, Form, Name, Principle, PrincipleTest
from cai.shipped import find, shipped
from cai.yaml_file import YamlFile, joined, nearest, parse_yaml, read_yaml, validated

DERIVED = ("critique", "revision", "judgement")
INCLUDES_MAX = 100
DEFAULT_FORMS = "forms/default.yaml"
"""The stand-ins of a folder's constitutions, from that folder."""
_PLACEHOLDER = re.compile(r"\{([^{}\n]*)\}")
_TEMPLATE_MARK = re.compile(r"\{\{|\{%|\{#")


class FormsSection(BaseModel):
    """Stand-ins for forms that a principle leaves out; each holds `{text}`, the principle's own text."""

    model_config = ConfigDict(extra="forbid", strict=True)

    critique: Form | None = Field(None, description="Asks for a critique; holds {text}.")
    revision: Form | None = Field(None, description="Asks for a rewrite; holds {text}.")
    judgement: Form | None = Field(None, description="Asks which response is better; holds {text}.")
    judgement_worse: Form | None = Field(
        None, description="Asks which response is worse, for principles of polarity worse; holds {text}."
    )


class IncludeEntry(BaseModel):
    """Another constitution whose principles are taken over."""

    model_config = ConfigDict(extra="forbid", strict=True)

    constitution: str = Field(description="Its name (`harmless`), or a path from this file.", min_length=1)
    leave_out: list[Name] = Field(default_factory=list, description="Ids of principles not taken over.")


class PrincipleEntry(BaseModel):
    """One principle as it is written."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: Name = Field(description="The principle's identity: choose it once. Lower-case words with hyphens.")
    override: Literal[True] | None = Field(
        None, description="Change an included principle of this id: what stands here replaces what it says."
    )
    text: Form | None = Field(None, description="The rule itself, as a sentence about the response.")
    critique: Form | None = Field(None, description="Asks what is wrong with a response under this rule.")
    revision: Form | None = Field(None, description="Asks for a rewrite of the response under this rule.")
    judgement: Form | None = Field(None, description="Asks which of two responses is better under this rule.")
    tags: list[Name] | None = Field(None, description="Areas of harm or quality, for tables and filters.")
    weight: Annotated[float, Field(gt=0, allow_inf_nan=False, strict=False)] | None = Field(
        None, description="How much it counts among the principles that judge a pair; 1 if left out."
    )
    polarity: Literal["better", "worse"] | None = Field(
        None, description="Whether `judgement` asks for the better or for the worse response."
    )
    source: str | None = Field(None, description="Where the wording comes from.")
    licence: str | None = Field(None, description="The licence of that source.")
    tests: list[PrincipleTest] | None = Field(
        None, description="Known answers that `cai principles test` holds a model to."
    )


class ConstitutionFile(BaseModel):
    """A constitution: principles for critique, revision and judgement, and what it includes."""

    model_config = ConfigDict(extra="forbid", strict=True, title="Constitution")

    constitution: Name = Field(description="Its name: that of the file without .yaml.")
    title: Form = Field(description="Its name for people.")
    description: str = Field("", description="What it is for.")
    licence: str = Field("", description="The licence of its wording.")
    include: list[str | IncludeEntry] = Field(
        default_factory=list, description="Constitutions whose principles are taken over, in order."
    )
    areas: list[Name] = Field(
        default_factory=list,
        description="Tags that this constitution promises to cover; lint tells which no principle has.",
    )
    forms: FormsSection | None = Field(None, description="Stand-ins for forms that principles leave out.")
    principles: list[PrincipleEntry] = Field(default_factory=list, description="Principles, in order.")

    @field_validator("forms", mode="before")
    @classmethod
    def _nothing(cls, value: Any) -> Any:
        return {} if value is None else value


def schema() -> dict[str, Any]:
    """The JSON Schema of a constitution file, for editors that complete and underline."""
    made = ConstitutionFile.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


@dataclass
class _Reading:
    """What is read so far, under a folder's default forms: files by name, each principle with the places of its forms."""

    default: YamlFile
    principles: dict[str, Principle] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    origins: dict[tuple[str, str], str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    mistakes: list[str] = field(default_factory=list)


def load_constitution(path: Path) -> Constitution:
    """Read a constitution file and what it includes.

    Raises: ConstitutionError, which lists every mistake with file, line and column.
    """
    return _load(read_yaml(path, ConstitutionError))


def parse_constitution(text: str, path: Path) -> Constitution:
    """The constitution that a file at `path` would be, had it this text. Raises as `load_constitution`."""
    return _load(parse_yaml(text, path, ConstitutionError))


def _load(file: YamlFile) -> Constitution:
    reading = _Reading(_default_forms(file.path.parent))
    head = _read(file, reading, ())
    if head is not None and not reading.principles and not reading.mistakes:
        reading.mistakes.append(f"{file.where()}: there are no principles")
    if head is None or reading.mistakes:
        raise ConstitutionError(joined(reading.mistakes), "Mend those lines.")
    return Constitution(
        name=head.constitution,
        title=head.title,
        principles=tuple(reading.principles.values()),
        path=file.path,
        origins=reading.origins,
        files=reading.files,
        licence=head.licence,
        areas=tuple(head.areas),
    )


def _read(file: YamlFile, reading: _Reading, chain: tuple[Path, ...]) -> ConstitutionFile | None:
    """Add a file's principles, after those of what it includes. `chain`: the files that include it."""
    if not isinstance(file.data, dict):
        raise ConstitutionError(
            f"{file.path} does not hold keys and values at its top level.",
            "Start from what `cai init` writes.",
        )
    reading.files[file.path.name] = file.text
    head, mistakes = validated(file, ConstitutionFile)
    reading.mistakes += mistakes
    _check_name(file, reading)
    _check_ids(file, reading)
    _check_marks(file, reading)
    if head is None:
        return None
    for index, named in enumerate(head.include):
        wanted = IncludeEntry(constitution=named) if isinstance(named, str) else named
        _include(wanted, file.where(("include", index)), file, reading, (*chain, file.path.resolve()))
    forms = _forms(file, head.forms, reading)
    for index, entry in enumerate(head.principles):
        _take(entry, index, file, forms, reading)
    return head


def _check_name(file: YamlFile, reading: _Reading) -> None:
    name = file.data.get("constitution")
    if isinstance(name, str) and name != file.path.stem:
        where = file.where(("constitution",))
        reading.mistakes.append(f"{where}: the file is called {file.path.stem!r}, the constitution {name!r}")


def _entries(file: YamlFile) -> Iterable[tuple[int, dict[str, Any]]]:
    entries = file.data.get("principles")
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        if isinstance(entry, dict):
            yield index, entry


def _check_ids(file: YamlFile, reading: _Reading) -> None:
    first: dict[str, int] = {}
    for index, entry in _entries(file):
        name = entry.get("id")
        if not isinstance(name, str):
            continue
        if name in first:
            earlier, _ = file.place(("principles", first[name], "id"))
            where = file.where(("principles", index, "id"))
            reading.mistakes.append(f"{where}: the id {name!r} is taken by the principle at line {earlier}")
        first.setdefault(name, index)


def _check_marks(file: YamlFile, reading: _Reading) -> None:
    for index, entry in _entries(file):
        for form in FORMS:
            text = entry.get(form)
            if isinstance(text, str) and _TEMPLATE_MARK.search(text):
                where = file.where(("principles", index, form))
                reading.mistakes.append(f"{where}: {form} holds template marks; a principle is plain text")


def _include(
    wanted: IncludeEntry, where: str, file: YamlFile, reading: _Reading, chain: tuple[Path, ...]
) -> None:
    try:
        path = _included_path(wanted.constitution, file.path)
    except InputError as error:
        reading.mistakes.append(f"{where}: {error.problem.rstrip('.')}")
        return
    if path in chain:
        names = " > ".join(item.name for item in (*chain[chain.index(path) :], path))
        reading.mistakes.append(f"{where}: the constitutions include each other in a circle: {names}")
        return
    if len(chain) + len(reading.files) > INCLUDES_MAX:
        reading.mistakes.append(f"{where}: more than {INCLUDES_MAX} constitutions are included")
        return
    inner = _Reading(reading.default, files=reading.files, mistakes=reading.mistakes)
    known = reading.files.get(path.name)
    try:
        included = read_yaml(path, ConstitutionError)
    except ConstitutionError as error:
        reading.mistakes.append(f"{where}: {error.problem.rstrip('.')}")
        return
    if known is not None and known != included.text:
        reading.mistakes.append(f"{where}: another constitution called {path.name} is included already")
        return
    _read(included, inner, chain)
    for name in wanted.leave_out:
        if name not in inner.principles:
            near = nearest(name, inner.principles)
            reading.mistakes.append(f"{where}: {wanted.constitution} has no principle {name!r}{near}")
    for name, principle in inner.principles.items():
        if name in wanted.leave_out:
            continue
        if reading.principles.get(name) == principle:  # reached twice, by way of two constitutions
            continue
        if name in reading.principles:
            reading.mistakes.append(
                f"{where}: the principle {name!r} of {wanted.constitution} is there already, from "
                f"{reading.places[name]}; leave one of them out"
            )
            continue
        reading.principles[name] = principle
        reading.places[name] = inner.places[name]
        reading.origins |= {key: at for key, at in inner.origins.items() if key[0] == name}


def _included_path(name: str, including: Path) -> Path:
    """Where an included constitution lies: beside the file that includes it, else in the package."""
    beside = including.parent / (name if name.endswith(".yaml") else f"{name}.yaml")
    if beside.is_file():
        return beside.resolve()
    return find(name, including.parent, "principles", ".yaml")


# ------------------------------------------------------------------------------ forms


@dataclass(frozen=True)
class _StandIn:
    """What stands in for a form, and where it is written."""

    text: str
    origin: str
    file: str = ""
    """The text of the file of default forms, where it stands there."""


def _default_forms(folder: Path) -> YamlFile:
    """The stand-ins for all constitutions of a folder: its own `forms/default.yaml`, or the package's.

    Raises: ConstitutionError where the folder's own is not whole.
    """
    own = folder / DEFAULT_FORMS
    if not own.is_file():
        return read_yaml(shipped(f"principles/{DEFAULT_FORMS}"), ConstitutionError)
    file = read_yaml(own, ConstitutionError)
    head, mistakes = validated(file, FormsSection)
    if head is not None:
        missing = [name for name in FormsSection.model_fields if getattr(head, name) is None]
        mistakes += [f"{file.where()}: there is no {name}" for name in missing]
        for key, text in head.model_dump(exclude_none=True).items():
            mistakes += _form_mistakes(key, text, file.where((key,)))
    if mistakes:
        raise ConstitutionError(joined(mistakes), "Mend those lines, or delete the file.")
    return file


def _form_mistakes(key: str, text: str, where: str) -> list[str]:
    names = _PLACEHOLDER.findall(text)
    wrong = sorted({name for name in names if name != "text"})
    if wrong:
        return [f"{where}: {key} uses {{{wrong[0]}}}; the one name it may use is {{text}}"]
    if "text" not in names:
        return [f"{where}: {key} never uses {{text}}, the principle's own text"]
    return []


def _forms(file: YamlFile, own: FormsSection | None, reading: _Reading) -> dict[str, _StandIn]:
    """The stand-ins of a file: its own over the default ones."""
    default = reading.default
    made = {
        key: _StandIn(text.strip(), f"{DEFAULT_FORMS}:{default.place((key,))[0]}", default.text)
        for key, text in default.data.items()
    }
    for key, text in (own.model_dump(exclude_none=True) if own else {}).items():
        where = file.where(("forms", key))
        reading.mistakes += _form_mistakes(f"forms.{key}", text, where)
        made[key] = _StandIn(text, _origin(file, ("forms", key)))
    return made


def _take(
    entry: PrincipleEntry, index: int, file: YamlFile, forms: Mapping[str, _StandIn], reading: _Reading
) -> None:
    """Add a principle of one's own, or change an included one."""
    where = file.where(("principles", index, "id"))
    included = reading.principles.get(entry.id)
    if entry.override and included is None:
        near = nearest(entry.id, reading.principles) if reading.principles else ""
        reading.mistakes.append(f"{where}: no included principle has the id {entry.id!r} to override{near}")
        return
    if included is not None and not entry.override:
        if not reading.places[entry.id].startswith(f"{file.path}:"):  # else named by _check_ids
            reading.mistakes.append(
                f"{where}: the id {entry.id!r} is taken by {reading.places[entry.id]}; "
                "write override: true to change that principle"
            )
        return
    if included is None and entry.text is None:
        reading.mistakes.append(f"{where}: the principle {entry.id!r} has no text")
        return
    written = entry.model_dump(exclude={"override"}, exclude_none=True)
    before = {} if included is None else included.model_dump()
    content = {**before, **written}
    content["tests"] = entry.tests if entry.tests is not None else (included.tests if included else [])
    _derive(content, written, before, index, file, forms, reading)
    reading.principles[entry.id] = Principle(**content)
    reading.places.setdefault(entry.id, where)


def _derive(
    content: dict[str, Any],
    written: Mapping[str, Any],
    before: Mapping[str, Any],
    index: int,
    file: YamlFile,
    forms: Mapping[str, _StandIn],
    reading: _Reading,
) -> None:
    """Fill the forms that are left out, and note where each form is written.

    A changed `text` makes the forms anew that were made from the old one.
    """
    name = content["id"]
    for form in FORMS:
        key = (name, form)
        if form in written:
            reading.origins[key] = _origin(file, ("principles", index, form))
            continue
        made_before = " made by " in reading.origins.get(key, "")
        changed = "text" in written or ("polarity" in written and form == "judgement")
        if before and not (made_before and changed):
            continue
        worse = form == "judgement" and content.get("polarity") == "worse"
        stand_in = forms["judgement_worse" if worse else form]
        if stand_in.file:
            reading.files[DEFAULT_FORMS] = stand_in.file
        content[form] = stand_in.text.replace("{text}", content["text"])
        at = reading.origins.get((name, "text"), _origin(file, ("principles", index, "text")))
        reading.origins[key] = f"{at} made by {stand_in.origin}"


def _origin(file: YamlFile, keys: tuple[str | int, ...]) -> str:
    line, _ = file.place(keys)
    return f"{file.path.parent.name}/{file.path.name}:{line}"
