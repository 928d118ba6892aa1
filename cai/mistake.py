"""Mistakes in files that people edit, in plain words: what stands there, and what may stand there.

The checking is pydantic's; its complaints come here as plain data and leave as sentences of our
own. A complaint about one of several permitted forms ("all" or a number) is one sentence, not one
for each form.

What this module does not know: YAML, places in files, recipes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel

Key = str | int
_SHOWN_CHARACTERS = 60
_WHOLE_NUMBER = ("int_type", "int_parsing", "int_from_float", "int_parsing_size")
_NUMBER = ("float_type", "float_parsing", "decimal_type", "decimal_parsing", "complex_type")
_KEYS_AND_VALUES = ("dict_type", "model_type", "model_attributes_type", "mapping_type", "dataclass_type")
_LIST = ("list_type", "tuple_type", "set_type", "frozen_set_type", "iterable_type")
_TEXT = ("string_type", "string_unicode", "string_sub_type")
_BOUND = {
    "greater_than": ("gt", "more than {}"),
    "greater_than_equal": ("ge", "{} or more"),
    "less_than": ("lt", "less than {}"),
    "less_than_equal": ("le", "{} or less"),
}
_HYPHENS = "lower-case letters and digits, words joined by hyphens, as in honest-self"
_QUOTED = re.compile(r"'([^']*)'")
_TRUTH = {"yes": "true", "on": "true", "no": "false", "off": "false", "True": "true", "False": "false"}


@dataclass(frozen=True)
class Mistake:
    """One mistake: the keys that lead to it, and the sentence's end."""

    keys: tuple[Key, ...]
    sentence: str


def nearest(name: str, names: Iterable[str]) -> str:
    """`, did you mean 'x'?`, or the valid names, or nothing."""
    known = sorted(set(names))
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    close = close or [item for item in known if name and item.startswith(name)][:1]
    if close:
        return f", did you mean {close[0]!r}?"
    return f" (known: {', '.join(known)})" if 0 < len(known) <= 12 else ""


def likeliest(name: str, names: Iterable[str]) -> str:
    """`, did you mean 'x'?`, or nothing, for sentences that list the valid names anyway."""
    near = nearest(name, names)
    return near if near.startswith(", did") else ""


def mistakes(found: Sequence[Mapping[str, Any]], data: Any, model: type[BaseModel]) -> list[Mistake]:
    """Pydantic's complaints about `data`, as sentences; those about one value are one."""
    told: list[Mistake] = []
    branches: dict[tuple[Key, ...], dict[str, list[_Complaint]]] = {}
    for item in found:
        complaint = _complaint(item, data)
        if complaint.branch is None:
            told.append(_told([complaint], model))
            continue
        if complaint.union not in branches:  # keeps its place among the others
            branches[complaint.union] = {}
            told.append(Mistake(complaint.union, ""))
        branches[complaint.union].setdefault(complaint.branch, []).append(complaint)
    result: list[Mistake] = []
    for mistake in told:
        if mistake.sentence:
            result.append(mistake)
            continue
        ways = branches[mistake.keys]
        inside = next((way for way in ways.values() if all(item.is_inside for item in way)), None)
        if inside is not None:  # the form that was meant: what is wrong in it
            result += [_told([item], model) for item in inside]
        else:
            result.append(_told([item for way in ways.values() for item in way if not item.is_inside], model))
    return result


@dataclass(frozen=True)
class _Complaint:
    """A complaint; `union`: the keys of the value that may have several forms, `branch`: which of them."""

    item: Mapping[str, Any]
    keys: tuple[Key, ...]
    union: tuple[Key, ...] = ()
    branch: str | None = None

    @property
    def is_inside(self) -> bool:
        """Whether it is about something within the value."""
        return len(self.keys) > len(self.union) or self.item["type"] == "missing"


def _complaint(item: Mapping[str, Any], data: Any) -> _Complaint:
    """Tell keys that stand in the file from pydantic's own names of a union's forms."""
    keys: tuple[Key, ...] = ()
    union: tuple[Key, ...] = ()
    branch: str | None = None
    node = data
    loc = tuple(item["loc"])
    for index, key in enumerate(loc):
        if (isinstance(node, dict) and key in node) or (
            isinstance(node, list) and isinstance(key, int) and key < len(node)
        ):
            node = node[key]
            keys = (*keys, key)
        elif not (item["type"] == "missing" and index == len(loc) - 1) and branch is None:
            union, branch = keys, str(key)
    return _Complaint(item, keys, union, branch)


def _told(complaints: Sequence[_Complaint], model: type[BaseModel]) -> Mistake:
    first = complaints[0]
    item, keys = first.item, first.keys
    name = ".".join(str(key) for key in keys)
    if item["type"] == "extra_forbidden":
        return Mistake(keys, f"unknown key {keys[-1]!r}{_where_it_belongs(keys, model)}")
    if item["type"] == "missing":
        whole = ".".join(str(key) for key in (*keys, item["loc"][-1]))
        return Mistake(keys, f"{whole} is missing{_options_of(model, (*keys, item['loc'][-1]))}")
    if item["type"] in ("value_error", "assertion_error"):
        error = (item.get("ctx") or {}).get("error")
        words = str(error) if error is not None else "is not valid"
        return Mistake(keys, f"{name}: {words}" if name else words)
    ways: list[str] = []
    options: list[str] = []
    for complaint in complaints:
        if complaint.item["type"] == "none_required":
            continue
        ways.append(_expected(complaint.item))
        if complaint.item["type"] in ("literal_error", "enum"):
            options += _literals(complaint.item)
    said = item.get("input")
    near = likeliest(said, options) if isinstance(said, str) else ""
    expected = " or ".join(dict.fromkeys(ways)) or "left out"
    hint = "" if near else _hint(said, expected)
    return Mistake(keys, f"{name}: {shown(said)} stands here, it has to be {expected}{near}{hint}")


def shown(value: Any) -> str:
    """What stands in a file, as a person would name it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "nothing"
    if isinstance(value, str):
        text = value if len(value) <= _SHOWN_CHARACTERS else value[: _SHOWN_CHARACTERS - 1] + "…"
        return f"the text {text!r}"
    if isinstance(value, dict):
        return "a set of keys and values" if value else "an empty set"
    if isinstance(value, (list, tuple)):
        return "a list" if value else "an empty list"
    return str(value)


def _expected(item: Mapping[str, Any]) -> str:
    """What may stand there, by one complaint."""
    kind: str = item["type"]
    about = item.get("ctx") or {}
    if kind in _BOUND:
        key, words = _BOUND[kind]
        return words.format(_number(about.get(key)))
    if kind in ("literal_error", "enum"):
        names = _literals(item)
        return _either([f"'{name}'" for name in names]) if names else str(about.get("expected", "")).lower()
    for kinds, words in (
        (_WHOLE_NUMBER, "a whole number"),
        (_NUMBER, "a number"),
        (_KEYS_AND_VALUES, "a set of keys and values"),
        (_LIST, "a list"),
        (_TEXT, "a text"),
        (("bool_type", "bool_parsing"), "true or false"),
        (("finite_number",), "a finite number"),
    ):
        if kind in kinds:
            return words
    if kind == "string_pattern_mismatch":
        return _HYPHENS if "a-z0-9" in str(about.get("pattern")) else "a text of another form"
    if kind in ("too_short", "too_long"):
        least = kind == "too_short"
        count = about.get("min_length" if least else "max_length")
        entries = "entry" if count == 1 else "entries"
        return f"{'at least' if least else 'at most'} {count} {entries} long"
    if kind in ("string_too_short", "string_too_long"):
        if kind == "string_too_short":
            few = about.get("min_length") or 1
            return "a text that is not empty" if few == 1 else f"a text of at least {few} characters"
        return f"a text of at most {about.get('max_length')} characters"
    return "something else"


def _literals(item: Mapping[str, Any]) -> list[str]:
    return _QUOTED.findall(str((item.get("ctx") or {}).get("expected", "")))


def _either(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _number(value: Any) -> str:
    return (
        f"{value:g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
    )


def _hint(said: Any, expected: str) -> str:
    """How to write what was likely meant."""
    if not isinstance(said, str):
        return ""
    if expected == "a list":
        return f"; write [{said}]"
    if "true or false" in expected and said in _TRUTH:
        return f"; write {_TRUTH[said]}"
    if "number" in expected and re.fullmatch(r"[+-]?\d+(\.\d+)?", said):
        return "; leave the quotes out"
    return ""


# ------------------------------------------------------------------------------ keys


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models that an annotation allows, at any depth of lists and alternatives."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for inner in get_args(annotation) for found in _models(inner)]


def _sections(model: type[BaseModel], keys: Iterable[Key]) -> list[type[BaseModel]]:
    """The models that may stand at a place."""
    here = [model]
    for key in keys:
        inner = [
            found
            for section in here
            for name, entry in section.model_fields.items()
            if (entry.alias or name) == key
            for found in _models(entry.annotation)
        ]
        here = inner or here  # an index, or a name that people choose: the same section's
    return here


def _names(sections: Iterable[type[BaseModel]]) -> set[str]:
    return {entry.alias or name for section in sections for name, entry in section.model_fields.items()}


def _where_it_belongs(keys: tuple[Key, ...], model: type[BaseModel]) -> str:
    """For an unknown key: the nearest name at its place, or the section that has such a key."""
    wanted = str(keys[-1])
    here = _names(_sections(model, keys[:-1]))
    for section in model.model_fields:
        if wanted in _names(_sections(model, (section,))) - here and (section,) != keys[:-1]:
            return f", it belongs under {section!r}"
    return nearest(wanted, here)


def _options_of(model: type[BaseModel], keys: tuple[Key, ...]) -> str:
    """The permitted words of a key, where they are few."""
    for section in _sections(model, keys[:-1]):
        entry = section.model_fields.get(str(keys[-1]))
        words = [item for item in get_args(entry.annotation) if isinstance(item, str)] if entry else []
        if words:
            return f": it is {_either([f'{word!r}' for word in words])}"
    return ""
