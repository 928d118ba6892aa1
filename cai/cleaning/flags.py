"""What can be noticed about a revision, by name, and what cleaning gives back.

The values stand in stores and datasets: a name, once given, stays. What this module does not know:
how anything is noticed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class RevisionFlag(StrEnum):
    """What can be noticed about a revision, by name.

    The first group leaves a usable text; a text with a flag of the second must not be used.
    """

    UNCHANGED = "unchanged"
    """The original again, up to white space and typographic quotes: usable, but nothing new."""
    PREAMBLE = "preamble"
    """Announced itself as a rewrite ("Sure, here is the revised response:"): stripped."""
    POSTSCRIPT = "postscript"
    """Explained its changes, or offered more, in paragraphs of their own at the end: stripped."""
    WRAPPING_QUOTES = "wrapping_quotes"
    """The whole text stood in quotes, a plain code fence, dividers or <response> tags: stripped."""
    LABEL = "label"
    """Began with a label of the exchange ("Assistant:", "Revised response:"): stripped."""
    NO_CRITIQUE = "no_critique"
    """The critique that was asked for came back empty (cut within its thinking, say), so the rewrite was
    asked for without one. Seen by the step (cai/revise.py), not in the text."""

    EMPTY = "empty"
    """Nothing (visible) came back, or nothing was left."""
    CUT = "cut"
    """Stopped by the token limit: the end is missing."""
    TOO_LONG = "too_long"
    """The request did not fit into the model's context: there is no answer."""
    TASK_REFUSAL = "task_refusal"
    """Declined to rewrite, or said that nothing needs rewriting; not a refusal of the user."""
    LEAKED_CRITIQUE = "leaked_critique"
    """Repeats the critique, judges the response as a critique does, or shows the exchange's labels."""
    OTHER_ROLE = "other_role"
    """Went on with another turn ("Human: ..."): cut before it."""
    REPETITION = "repetition"
    """Degenerate: a sentence, phrase, character or emoji over and over."""


UNUSABLE: frozenset[RevisionFlag] = frozenset(
    {
        RevisionFlag.EMPTY,
        RevisionFlag.CUT,
        RevisionFlag.TOO_LONG,
        RevisionFlag.TASK_REFUSAL,
        RevisionFlag.LEAKED_CRITIQUE,
        RevisionFlag.OTHER_ROLE,
        RevisionFlag.REPETITION,
    }
)


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A revision's text without its frame. `flags` are values of `RevisionFlag`, in its order."""

    text: str
    flags: tuple[str, ...]
    usable: bool
