"""docs/recipe.md has every key that a recipe may have, and no other, with the defaults of the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from ruamel.yaml import YAML

from cai import recipe_sections as sections
from cai.recipe import Recipe

TEXT = (Path(__file__).resolve().parent.parent / "docs" / "recipe.md").read_text("utf-8")
SECTIONS: dict[str, type[BaseModel]] = {
    "sources": sections.SourceSection,
    "engines": sections.EngineSection,
    "key of `serve`": sections.ServeSection,
    "roles": sections.RolesSection,
    "revise": sections.ReviseSection,
    "feedback": sections.FeedbackSection,
    "dataset": sections.DatasetSection,
    "pilot": sections.PilotSection,
    "run": sections.RunSection,
    "publish": sections.PublishSection,
}
NOTHING: tuple[Any, ...] = (None, [], {}, "")


def _rows(title: str) -> list[tuple[list[str], list[str]]]:
    """Keys and defaults of each line of the table under a heading, or under that first column."""
    under = f"## `{title}`\n"
    text = TEXT.split(under)[1] if under in TEXT else TEXT
    first = "key" if under in TEXT else title
    found = re.search(rf"^\| {first} \|[^\n]*\n\| ---[^\n]*\n((?:\|[^\n]*\n)+)", text, re.MULTILINE)
    assert found is not None, title
    rows = []
    for line in found[1].splitlines():
        keys, default = (cell.strip() for cell in line.strip("|").split(" | ")[:2])
        rows.append((re.findall(r"`([^`]+)`", keys), _parted(default)))
    return rows


def _parted(default: str) -> list[str]:
    """The defaults of several keys, parted by commas outside of braces."""
    return re.split(r", (?![^{\[]*[}\]])", default)


def _default(model: type[BaseModel], key: str) -> Any:
    value = model.model_fields[key].get_default(call_default_factory=True)
    return value.model_dump() if isinstance(value, BaseModel) else value


def _says(written: str, value: Any) -> bool:
    """Whether the page's words for a default are the code's value; words in prose are taken on trust."""
    if value is PydanticUndefined:
        return written == "must be there"
    if written in ("none", "empty", "all"):
        return value in (*NOTHING, "all")
    plain = written.strip("`")
    if not written.startswith("`") and not re.fullmatch(r"[\d.]+|true|false|null", plain):
        return True
    read = YAML(typ="safe").load(plain)
    if isinstance(read, dict) and isinstance(value, dict):
        return all(key in value and value[key] == item for key, item in read.items())
    return bool(read == value)


@pytest.mark.parametrize("title", SECTIONS)
def test_the_keys_of_a_section_are_those_of_the_code(title: str) -> None:
    keys = [key for keys, _ in _rows(title) for key in keys]
    assert sorted(keys) == sorted(SECTIONS[title].model_fields)


def test_the_keys_outside_of_sections_are_those_of_the_code() -> None:
    keys = {key for keys, _ in _rows("key") for key in keys}
    assert keys | set(re.findall(r"^## `([a-z]+)`$", TEXT, re.MULTILINE)) == set(Recipe.model_fields)


@pytest.mark.parametrize("title", SECTIONS)
def test_the_defaults_of_a_section_are_those_of_the_code(title: str) -> None:
    for keys, defaults in _rows(title):
        defaults = defaults if len(defaults) == len(keys) else [", ".join(defaults)] * len(keys)
        for key, written in zip(keys, defaults, strict=True):
            value = _default(SECTIONS[title], key)
            assert _says(written, value), f"{title}.{key}: {written!r}, but {value!r}"


def test_the_keys_told_in_sentences_are_those_of_the_code() -> None:
    found = re.search(r"^Keys of a sampling: (.*)$", TEXT, re.MULTILINE)
    assert found is not None
    told = dict(re.findall(r"`(\w+)` \(([\d.]+)", found[1]))
    assert {key: float(value) for key, value in told.items()} == sections.SamplingSection().model_dump()
    reasoning = re.search(r"^\| `reasoning` \|.*$", TEXT, re.MULTILINE)
    assert reasoning is not None
    assert set(re.findall(r"`(\w+)` \(", reasoning[0])) == set(sections.ReasoningSection.model_fields)
