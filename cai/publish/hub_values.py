"""What a dataset page's metadata may say: licences, tasks, sizes and languages that the Hub knows.

The Hub's client takes any text for these, and its own check is a request to the server; here they
are held to tables (hub_values.yaml, sources.yaml) before anything is sent.

What this module does not know: what a page says besides its metadata.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from cai.errors import InputError
from cai.mistake import likeliest
from cai.yaml_file import read_yaml

_FOLDER = Path(__file__).parent
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")
_OTHER_LANGUAGES = ("code", "multilingual")
_BOTH = ("license", "language", "task_categories", "size_categories", "tags", "source_datasets")


@cache
def _values() -> dict[str, Any]:
    data: dict[str, Any] = read_yaml(_FOLDER / "hub_values.yaml", InputError).data
    return data


@cache
def known_sources() -> Mapping[str, Any]:
    """What is known of some datasets, by their name on the Hub: sources.yaml."""
    data: dict[str, Any] = read_yaml(_FOLDER / "sources.yaml", InputError).data
    return data


def licences() -> list[str]:
    """The ids of licences."""
    return list(_values()["licences"])


def is_language(code: str) -> bool:
    """Whether it is a language's code: two letters of ISO 639-1, or three in the form of ISO 639-3."""
    return (
        code in _values()["languages"].split()
        or code in _OTHER_LANGUAGES
        or bool(re.fullmatch("[a-z]{3}", code))
    )


def is_repository(name: str) -> bool:
    """Whether it has the form of a dataset's name on the Hub: `name` or `owner/name`."""
    return bool(_NAME.fullmatch(name)) and not re.search(r"--|\.\.", name)


def size_category(rows: int) -> str:
    """The Hub's word for so many rows."""
    names = [name for name, least in _values()["size_categories"].items() if rows >= least]
    return str(names[-1]) if rows < 1_000_000_000 else "n>1B"


def metadata_mistakes(metadata: Mapping[str, Any]) -> list[str]:
    """What the Hub would not understand of a page's metadata, a sentence each; empty where all is well."""
    values = {key: _list(metadata.get(key)) for key in _BOTH}
    found = _unknown("license", values["license"], licences())
    found += _unknown("task_categories", values["task_categories"], _values()["task_categories"])
    found += _unknown("size_categories", values["size_categories"], _values()["size_categories"])
    found += [f"language: {item!r} is no language's code" for item in values["language"] if not _code(item)]
    found += [f"tags: {item!r} is no word" for item in values["tags"] if not _tag(item)]
    found += [
        f"source_datasets: {item!r} is no dataset's name"
        for item in values["source_datasets"]
        if not is_repository(str(item))
    ]
    if "other" in values["license"] and not metadata.get("license_name"):
        found.append("license: 'other' needs a license_name")
    return found + _config_mistakes(metadata.get("configs") or [])


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _code(item: Any) -> bool:
    return isinstance(item, str) and is_language(item)


def _tag(item: Any) -> bool:
    return isinstance(item, str) and bool(re.fullmatch(r"[a-z0-9][a-z0-9._:+/-]{0,95}", item))


def _unknown(key: str, items: Iterable[Any], known: Iterable[str]) -> list[str]:
    known = list(known)
    return [
        f"{key}: the Hub knows no {str(item)!r}{likeliest(str(item), known)}"
        for item in items
        if item not in known
    ]


def _config_mistakes(configs: list[dict[str, Any]]) -> list[str]:
    names = [config.get("config_name") for config in configs]
    found = [f"configs: {name!r} stands twice" for name in dict.fromkeys(names) if names.count(name) > 1]
    if configs and sum(bool(config.get("default")) for config in configs) != 1:
        found.append("configs: exactly one must be the default")
    found += [f"configs: {c.get('config_name')!r} names no files" for c in configs if not c.get("data_files")]
    return found
