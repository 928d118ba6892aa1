"""Which revisions become preference pairs, and what became of the others.

A revision enters where it is usable, differs from the original, carries no flag that blocks it,
and the judge prefers it by the recipe's margin. `Fate` names the first of these that fails. Where
the recipe includes flagged revisions, an unusable one that has a text enters too, without a
probability: the judge is never shown it.

What this module does not know: rows, files.
"""

from __future__ import annotations

from enum import StrEnum

from cai.cleaning import UNUSABLE, RevisionFlag
from cai.dataset.labels import ROUNDING, label
from cai.dataset.records import unchanged
from cai.outcome import Feedback, Revision, Round
from cai.recipe import DatasetSection

HARMLESS_FLAGS = frozenset(RevisionFlag) - UNUSABLE
"""Flags of what cleaning took away, and `unchanged`: a last round that changes nothing leaves an
earlier round's revision standing. Whether that differs from the original is asked apart."""


class Fate(StrEnum):
    """What became of one revision."""

    ENTERED = "entered"
    ENTERED_FLAGGED = "entered_flagged"
    UNUSABLE = "unusable"
    UNCHANGED = "unchanged"
    FLAGGED = "flagged"
    NOT_JUDGED = "not_judged"
    ABSTAINED = "abstained"
    TIED = "tied"
    BELOW_MARGIN = "below_margin"


def choose(
    revision: Revision, feedback: Feedback | None, settings: DatasetSection, judged: bool
) -> tuple[Fate, Round | None]:
    """The fate of a revision, and the round whose text enters (None unless it does).

    `feedback`: of the pair (revision, original); `judged`: whether the recipe asks for it. Where
    it does not, revisions enter without a probability.
    """
    item = revision.final
    if item is None or not item.text.strip():
        return _unusable(revision, settings)
    if unchanged(revision):
        return Fate.UNCHANGED, None
    if set(item.flags) - HARMLESS_FLAGS and not settings.include_flagged_revisions:
        return Fate.FLAGGED, None
    fate = _preferred(feedback, settings) if judged else Fate.ENTERED
    return fate, item if fate is Fate.ENTERED else None


def _unusable(revision: Revision, settings: DatasetSection) -> tuple[Fate, Round | None]:
    original = revision.original.strip()
    for item in reversed(revision.rounds):
        if settings.include_flagged_revisions and item.text.strip() not in ("", original):
            return Fate.ENTERED_FLAGGED, item
    return Fate.UNUSABLE, None


def _preferred(feedback: Feedback | None, settings: DatasetSection) -> Fate:
    if feedback is None:
        return Fate.NOT_JUDGED
    if feedback.probability is None:
        return Fate.ABSTAINED
    if label(feedback.probability, settings.tie_threshold) == "tie":
        return Fate.TIED
    if feedback.probability < 0.5 + settings.revision_margin - ROUNDING:
        return Fate.BELOW_MARGIN
    return Fate.ENTERED
