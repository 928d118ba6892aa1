"""What the terms of a model say about its outputs: a table of known families, and the publisher's word.

The table is `terms.yaml` in this package; a file of that name beside a recipe, in the same form,
comes before it. A model that no entry fits is unknown, and nothing is guessed about it: fine-tunes
and copies under other names have their own pages.

What this module does not know: what follows from terms (gate.py), how they are shown (card.py).
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from cai.errors import RecipeError
from cai.yaml_file import check, read_yaml

TABLE = Path(__file__).with_name("terms.yaml")
BESIDE = "terms.yaml"


class Family(BaseModel):
    """One family of models. `restricts`: the terms forbid training other models on its outputs;
    `state`: the terms need a reading of one's own before anything is published."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    family: Annotated[str, Field(min_length=1)]
    models: Annotated[list[str], Field(min_length=1)]
    licence: str = ""
    restricts: bool = False
    state: bool = False
    outputs: Annotated[str, Field(min_length=1)]
    source: str = ""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    families: list[Family]


@dataclass(frozen=True)
class Terms:
    """What is known of one model's output terms; `stated` by the publisher, `family` from the table.

    `near`: a known family of which the name has something, named to a person and used for nothing.
    """

    model: str
    family: Family | None
    stated: str
    near: str = ""

    @property
    def known(self) -> bool:
        """Whether the terms are stated, by the table or by the publisher."""
        return bool(self.stated) or (self.family is not None and not self.family.state)


def load_families(beside: Path | None = None) -> tuple[Family, ...]:
    """The known families, those of a file beside the recipe first. Raises: RecipeError for its mistakes."""
    own = beside / BESIDE if beside is not None else None
    found = _read(own).families if own is not None and own.is_file() else []
    return (*found, *_shipped())


@cache
def _shipped() -> tuple[Family, ...]:
    return tuple(_read(TABLE).families)


def _read(path: Path) -> _Table:
    return check(read_yaml(path, RecipeError), _Table, RecipeError)


def terms_of(model: str, families: Sequence[Family], stated: Mapping[str, str]) -> Terms:
    """The terms of a model; `stated`: what the publisher says, by names or patterns of models."""
    said = next((text for pattern, text in stated.items() if _fits(model, pattern)), "").strip()
    for family in families:
        if any(_fits(model, pattern) for pattern in family.models):
            return Terms(model, family, said)
    return Terms(model, None, said, near=_near(model, families))


def _fits(model: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(model.lower(), pattern.lower())


def _near(model: str, families: Sequence[Family]) -> str:
    """A family whose names, without their owner, the model's name has in it."""
    name = model.lower().rsplit("/", 1)[-1]
    for family in families:
        for pattern in family.models:
            stem = pattern.lower().rsplit("/", 1)[-1].strip("*")
            if len(stem) > 3 and fnmatch.fnmatchcase(name, f"*{stem}*"):
                return family.family
    return ""
