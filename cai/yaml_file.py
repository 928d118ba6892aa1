"""Strict YAML files: every mistake at once, with file, line and column, and the nearest valid name.

YAML 1.2 (so `no` is a text), duplicate keys refused, tabs and wrong encodings named, size and
depth bounded. `check` holds the data to a pydantic model and turns each of its complaints
(cai/mistake.py) into `file:line:column: what is wrong`.

What this module does not know: recipes, principles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import (
    CommentedMap,
    CommentedOrderedMap,
    CommentedSeq,
    CommentedSet,
    TaggedScalar,
)
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from cai.errors import InputError
from cai.mistake import mistakes, nearest

MAX_BYTES = 2_000_000
MAX_DEPTH = 20
MAX_NODES = 200_000

Key = str | int
Model = TypeVar("Model", bound=BaseModel)
MakeError = Callable[[str, str], InputError]


@dataclass(frozen=True)
class YamlFile:
    """Parsed YAML with the place of every key."""

    path: Path
    data: Any
    places: dict[tuple[Key, ...], tuple[int, int]] = field(repr=False)
    text: str = field(default="", repr=False)

    def where(self, keys: Iterable[Key] = ()) -> str:
        """`file:line:column` of a value, or of the nearest thing around it (lines and columns from 1)."""
        line, column = self.place(tuple(keys))
        return f"{self.path}:{line}:{column}"

    def place(self, keys: tuple[Key, ...]) -> tuple[int, int]:
        """Line and column (from 1) of a value's key, or of the nearest thing around it."""
        while keys not in self.places and keys:
            keys = keys[:-1]
        return self.places.get(keys, (1, 1))


def read_yaml(path: Path, error: MakeError) -> YamlFile:
    """Read a YAML file strictly.

    Raises: what `error(problem, remedy)` makes, for a file that is missing, too large, not
    UTF-8, not YAML, too deep, or with a duplicate key.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise error(f"{path} has {size:,} bytes; {MAX_BYTES:,} are allowed.", "Is it the right file?")
        text = path.read_text("utf-8")
    except FileNotFoundError as missing:
        raise error(
            f"There is no file {path}.", "Check the name; `cai init` writes a set to start from."
        ) from missing
    except UnicodeDecodeError as bad:
        raise error(f"{path} is not UTF-8 (byte {bad.start}).", "Save it as UTF-8.") from bad
    except OSError as failure:
        raise error(
            f"{path} cannot be read: {failure.strerror}.", "Check that it is a file you may read."
        ) from failure
    return parse_yaml(text, path, error)


def parse_yaml(text: str, path: Path, error: MakeError) -> YamlFile:
    """Parse YAML text; `path` is for messages. Raises as `read_yaml`."""
    loader = YAML(typ="rt")
    loader.allow_duplicate_keys = False
    if text.count("&") and _has_alias(text):
        raise error(f"{path} uses YAML anchors or aliases.", "Write the value out in each place.")
    try:
        data = loader.load(text)
    except MarkedYAMLError as bad:
        mark = bad.problem_mark or bad.context_mark
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        problem = (bad.problem or "is not valid YAML").split("\n")[0]
        raise error(f"{place}: {problem}.", "Mend that line.") from bad
    except (YAMLError, ValueError, RecursionError) as bad:
        raise error(f"{path} is not valid YAML: {str(bad).splitlines()[0]}.", "Mend the file.") from bad
    except AttributeError as bad:  # ruamel's, of a tag for sets or maps over plain text
        raise error(f"{path} has a YAML tag where none can be.", "Leave tags (`!!...`) out.") from bad
    except TypeError as bad:  # ruamel's, of a key that is a mapping
        raise error(f"{path} has a key that is no plain text.", "Write keys as plain words.") from bad
    places: dict[tuple[Key, ...], tuple[int, int]] = {(): (1, 1)}
    plain = _plain(data, (), places, path, error)
    return YamlFile(path, plain, places, text)


def _has_alias(text: str) -> bool:
    from ruamel.yaml.tokens import AliasToken

    try:
        return any(isinstance(token, AliasToken) for token in YAML(typ="rt").scan(text))
    except YAMLError:
        return False  # the parser says what is wrong, with its place


_MADE_BY_TAG: dict[Any, str] = {CommentedOrderedMap: "!!omap", CommentedSet: "!!set"}


def _plain(
    node: Any,
    keys: tuple[Key, ...],
    places: dict[tuple[Key, ...], tuple[int, int]],
    path: Path,
    error: MakeError,
) -> Any:
    if len(keys) > MAX_DEPTH or len(places) > MAX_NODES:
        raise error(f"{path} is nested too deeply or too large.", "Is it the right file?")
    tag = node.tag.value if isinstance(node, (CommentedMap, CommentedSeq, TaggedScalar)) else None
    tag = _MADE_BY_TAG.get(type(node), tag)
    if tag is not None:
        line, column = places[keys]
        shown = tag.replace("tag:yaml.org,2002:", "!!")
        raise error(f"{path}:{line}:{column}: the YAML tag {shown} is not known here.", "Leave it out.")
    if isinstance(node, CommentedMap):
        result = {}
        for key, item in node.items():
            line, column = node.lc.key(key)
            if not isinstance(key, (str, int)):
                where = f"{path}:{line + 1}:{column + 1}"
                raise error(f"{where}: the key {key!s} is no plain text.", "Write keys as plain words.")
            places[(*keys, key)] = (line + 1, column + 1)
            result[key] = _plain(item, (*keys, key), places, path, error)
        return result
    if isinstance(node, CommentedSeq):
        for index in range(len(node)):
            line, column = node.lc.item(index)
            places[(*keys, index)] = (line + 1, column + 1)
        return [_plain(item, (*keys, index), places, path, error) for index, item in enumerate(node)]
    if isinstance(node, bool) or node is None:
        return node
    for kind in (str, int, float):
        if isinstance(node, kind):
            return kind(node)  # ruamel's own subclasses become plain values
    return node


def check(file: YamlFile, model: type[Model], error: MakeError) -> Model:
    """Hold a file's data to a pydantic model.

    Raises: one error that lists every mistake with its place.
    """
    if not isinstance(file.data, dict):
        raise error(
            f"{file.path} does not hold keys and values at its top level.",
            "Start from what `cai init` writes.",
        )
    found, mistakes = validated(file, model)
    if found is None:
        raise error(joined(mistakes), "")
    return found


def validated(file: YamlFile, model: type[Model]) -> tuple[Model | None, list[str]]:
    """A file's data as a pydantic model, or None and every mistake with its place."""
    try:
        return model.model_validate(file.data), []
    except ValidationError as invalid:
        found = mistakes(invalid.errors(), file.data, model)
        return None, [f"{file.where(item.keys)}: {item.sentence}" for item in found]


def joined(found: list[str]) -> str:
    """Mistakes as one sentence or a list."""
    if len(found) == 1:
        return found[0]
    return f"{len(found)} mistakes:\n  " + "\n  ".join(found)


__all__ = ["YamlFile", "check", "joined", "nearest", "parse_yaml", "read_yaml", "validated"]
