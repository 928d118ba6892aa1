"""What people, together, say of the pairs on a sheet: the third label.

A pair's words do not change when labels do, so answers hold for every generation and tie threshold;
only the figures made of them ask which labels the sheet was drawn by (cai/compare/person.py).

What this module does not know: the labels, how pairs were drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cai.review.key import Answers, Item, read_key, read_reviewers

Said = Literal["human", "other", "equal", "both-bad", "split", "skip"]
"""The response that the human label prefers is better; the other is; as in ANSWERS; people differ
without a majority; nobody could say."""


@dataclass(frozen=True)
class Reviewed:
    """What people say of one pair; `answers`: how many gave which answer, those without one left out."""

    row_id: str
    said: Said
    answers: dict[str, int]

    @property
    def prefers_human(self) -> bool | None:
        """Whether they prefer the human's choice; None where they prefer neither."""
        return self.said == "human" if self.said in ("human", "other") else None


def verdict(item: str, reviewers: Sequence[Answers]) -> str:
    """1, 2, equal, both-bad, split, skip or blank: what people say of an item, together."""
    given = [answers.answers[item] for answers in reviewers if item in answers.answers]
    real = Counter(answer for answer in given if answer != "skip")
    if not real:
        return "skip" if given else "blank"
    answer, count = real.most_common(1)[0]
    return answer if 2 * count > real.total() else "split"


def reviewed_rows(folder: Path) -> dict[str, Reviewed]:
    """The pairs of a review that anybody answered, by row id; none where there is no review.

    Raises: ReviewError for a sheet or answers that cannot be read.
    """
    key = read_key(folder)
    reviewers = read_reviewers(folder, key) if key is not None else []
    found = {}
    for item in key.items if key is not None else ():
        together = verdict(item.item, reviewers)
        if together != "blank":
            counts = Counter(
                _side(answers.answers[item.item], item)
                for answers in reviewers
                if item.item in answers.answers
            )
            found[item.row_id] = Reviewed(item.row_id, _side(together, item), dict(sorted(counts.items())))
    return found


def _side(answer: str, item: Item) -> Said:
    """An answer about the first or second as shown, said of the human's choice."""
    if answer in ("1", "2"):
        return "human" if int(answer) == item.human else "other"
    named: dict[str, Said] = {"equal": "equal", "both-bad": "both-bad", "split": "split", "skip": "skip"}
    return named[answer]
