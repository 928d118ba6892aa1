"""The figures of a person's review of a blind sample, as plain data (`cai review`, person.py).

All estimates are weighted by the sample's design: each answer stands for the pairs of its stratum.
A pair is *decided* where the person prefers one of the two responses. Where several people answered,
a pair's answer is what more than half of them say (`skip` aside); without such an answer it is `split`.

What this module does not know: how a figure is computed, how the sample was drawn (cai/review).
"""

from __future__ import annotations

from dataclasses import dataclass

from cai.compare.estimates import Estimate, Rate


@dataclass(frozen=True)
class Sided:
    """A share of decided pairs: `weighted` by the design, of all pairs that the sample stands for;
    `counted`, of the answers as they are, with Wilson's interval."""

    weighted: Estimate
    counted: Rate


@dataclass(frozen=True)
class ReviewedCell:
    """The pairs of one kind: `differ` (AI and human disagree), `agree`, `undecided` (AI tie or abstention).

    `pairs`: how many there are; `items`: how many were on the sheet; `answered` = `decided` + `equal`
    + `both_bad` + `split`. `sided`: of decided pairs, how often the person sides with the AI
    (`differ`), with both (`agree`), with the human label (`undecided`).
    """

    pairs: int
    items: int
    answered: int
    decided: int
    equal: int
    both_bad: int
    split: int
    sided: Sided


@dataclass(frozen=True)
class ReviewerFigures:
    """One person's answers, by kind, and how often the response shown first was preferred (0.5: no
    preference for a place; the order on the sheet is drawn)."""

    name: str
    answered: int
    equal: int
    both_bad: int
    skipped: int
    blank: int
    first_shown: Rate


@dataclass(frozen=True)
class ReviewerPair:
    """Two people over the items that both answered.

    `same`: the same answer of four (first, second, equal, both bad); `kappa` of it; `same_choice`:
    of the items on which both prefer a response, how often the same one.
    """

    one: str
    other: str
    same: Rate
    kappa: Estimate
    same_choice: Rate


@dataclass(frozen=True)
class PersonFigures:
    """Who was right how often, as people judged a blind sample.

    `items` on the sheet = `answered` + `skipped` + `blank` (of all people together: an item is
    answered where one of them answered it). `differ`, `agree`, `undecided`: by kind of pair.
    `ai`, `human`: how often that label is the person's choice, over all pairs with an AI label
    which a person can decide; `ahead`: the AI's share minus the human labels', paired.
    """

    sheet: str
    reviewers: tuple[ReviewerFigures, ...]
    between: tuple[ReviewerPair, ...]
    items: int
    answered: int
    skipped: int
    blank: int
    equal: int
    both_bad: int
    split: int
    differ: ReviewedCell
    agree: ReviewedCell
    undecided: ReviewedCell
    ai: Sided
    human: Sided
    ahead: Estimate
