"""The quality gate: what speaks against publishing a run, each finding by its name.

A finding that blocks stops a push until it is mended or forced by name, and what was forced
stands on the card. The thresholds are the recipe's `publish` section, which can change at any time.

What this module does not know: how a card is written, how anything is pushed, the terminal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cai.recipe import PublishSection
from cai.run_folder import RunFolder


@dataclass(frozen=True)
class Finding:
    """One thing that speaks against publishing: `what` is wrong, what to `do`, one sentence each."""

    name: str
    blocks: bool
    what: str
    do: str


@dataclass(frozen=True)
class Statements:
    """What the publisher says: of the dataset, its source, the models' terms, and who may see it."""

    private: bool = True
    title: str | None = None
    source: str | None = None
    licence: str | None = None
    licence_name: str | None = None
    licence_link: str | None = None
    languages: tuple[str, ...] = ()
    terms: Mapping[str, str] = field(default_factory=dict)
    gpu_hours: float | None = None
    energy_kwh: float | None = None


def statements_of(section: PublishSection, private: bool = True) -> Statements:
    """What a recipe states."""
    said = section.model_dump(exclude={"min_order_consistency", "max_quarantined", "max_unfinished"})
    return Statements(private=private, **{**said, "languages": tuple(section.languages)})


def findings(run: RunFolder, statements: Statements | None = None) -> list[Finding]:
    """What speaks against publishing a run, what blocks first. Raises: RunError where there is no dataset."""
    return []
