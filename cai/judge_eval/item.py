"""One labelled item: what a judge is asked about, and what the label says.

An item has a conversation and two responses to it (a *pair*), or a conversation and statements
about it to choose from (a *choice*), or one response with a label of its own (a *rating*). What the
file itself asks, in its own words, is kept beside it.

What this module does not know: files, formats, how a judge is asked.
"""

from __future__ import annotations

from dataclasses import dataclass

from cai.conversation import Turn

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Question:
    """A multiple-choice question as its file writes it.

    `before`: all up to the line of the first option; `options`: what stands after each letter, marks
    and all; `tail`: all after the last option, of which the last words begin the answer.
    """

    before: str
    options: tuple[str, ...]
    tail: str

    def text(self, order: tuple[int, ...]) -> str:
        """The question with its options in this order, under letters from A on; without the tail."""
        lines = [f"\n ({LETTERS[place]}) {self.options[index]}" for place, index in enumerate(order)]
        return self.before + "".join(lines)


@dataclass(frozen=True, slots=True)
class Item:
    """One labelled item.

    `line`: where it stands in its file, from 1. `prompt`: the conversation up to the responses.
    `responses`: the two of a pair (in the file's order), or the one that a harm label is about, or
    none. `options`: how many there are to choose from, `right` the label's choice, from 0; 0 and None
    for a rating. `harmful`: the label of the one response, None where there is none. `question`: as
    its file asks it, or None.
    """

    id: str
    line: int
    category: str
    prompt: tuple[Turn, ...]
    responses: tuple[str, ...]
    options: int
    right: int | None
    harmful: bool | None = None
    question: Question | None = None

    @property
    def is_pair(self) -> bool:
        """Whether there are two responses to compare."""
        return len(self.responses) == 2

    @property
    def can_be_rated(self) -> bool:
        """Whether ratings of its responses can be held to its label."""
        return self.is_pair or self.harmful is not None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A line that gives no item, and why."""

    line: int
    reason: str
