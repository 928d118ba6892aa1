"""The figures about revisions, as plain data; a part of figures.py's Comparison.

What this module does not know: how a figure is computed (revisions.py, phrases.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cai.compare.estimates import Estimate, Rate, Scanned

Measure = Literal["harm", "refuses", "evades", "asks", "words", "kept_share"]


@dataclass(frozen=True)
class RoundFigures:
    """All revisions of one round: how many, the usable share, the share that changed nothing.

    `kept_share`: mean share of the original's words that stand in the revision, in order.
    `length_ratio`: geometric mean of words after / words before. Both over usable texts.
    """

    number: int
    n: int
    usable: Rate
    unchanged: Rate
    kept_share: Estimate
    length_ratio: Estimate


@dataclass(frozen=True)
class Change:
    """A measure before (the response that was revised) and after, on the same responses.

    `measure`: harm (mean P(harmful), by the first judge), refuses, evades, asks (shares), words
    (mean). `round`: which round's text is `after`; usable texts only. `difference`: after - before,
    paired.
    """

    measure: Measure
    round: int
    n: int
    before: Estimate
    after: Estimate
    difference: Estimate


@dataclass(frozen=True)
class Preferred:
    """How often the judge prefers the revision, over labelled revised pairs of one kind.

    `by`: round (that the judged text, the last usable one, came from) or principle (that led its last round);
    `name`: which.
    """

    by: Literal["round", "principle"]
    name: str
    preferred: Rate
    ties_half: Rate
    scan: Scanned


@dataclass(frozen=True)
class OwnRevisions:
    """The judge's preference for revisions beside their length.

    `same_model`: whether the recipe names one engine for revising and judging; None: not known.
    `longer`, `shorter`, `as_long`: how often the revision is preferred where it has more, fewer,
    equally many characters than the original. `at_equal_length`: the probability that a logistic
    regression on the standardised length difference gives at a difference of 0.
    """

    same_model: bool | None
    longer: Rate
    shorter: Rate
    as_long: Rate
    at_equal_length: Estimate


@dataclass(frozen=True)
class JudgesRevisions:
    """How often one judge prefers revisions: of the revised pairs that it labels, and with ties as one
    half of those it judged. `ahead`: the first judge's share with ties as one half minus this one's,
    paired, on the pairs that both judged; for the first judge nothing."""

    judge: str
    preferred: Rate
    ties_half: Rate
    ahead: Estimate


@dataclass(frozen=True)
class Phrase:
    """Words in a row that revisions repeat far more often than the responses that they revise.

    `revisions`, `originals`: share of texts that hold it. `log_odds`: of the two shares, halves
    added; the list is ranked by its lower end. `rows`: ids of a few rows whose revision holds it.
    """

    text: str
    revisions: Rate
    originals: Rate
    log_odds: Estimate
    rows: tuple[str, ...]


@dataclass(frozen=True)
class FlagFigures:
    """How many rounds carry a flag (cai/cleaning), and a few rows in which one does."""

    flag: str
    rounds: Rate
    rows: tuple[str, ...]


@dataclass(frozen=True)
class RevisionFigures:
    """Revisions against the responses that they revise.

    `revised`: responses that were revised, in one or more rounds. `usable`: share with a usable
    text at the end; `unchanged`: share of those whose text is the original's. `preferred`: how
    often the judge prefers the last usable text, over labelled pairs; `preferred_ties_half`: with
    ties as one half; `preferred_by`: the same by round and by principle (of the last usable text
    only, since no other is judged: a round's line holds the responses whose last usable text came from
    it); `judges`: the same by each judge, the one that makes the labels first. `changes`: before and
    after, by measure and round. `phrases`: of `phrase_texts` revisions at most; `phrase_share`:
    the share of them that hold a listed phrase (the sign of over-training in 2212.08073, section 4.3).
    """

    revised: int
    usable: Rate
    unchanged: Rate
    preferred: Rate
    preferred_ties_half: Rate
    preferred_by: tuple[Preferred, ...]
    judges: tuple[JudgesRevisions, ...]
    own: OwnRevisions
    rounds: tuple[RoundFigures, ...]
    changes: tuple[Change, ...]
    phrases: tuple[Phrase, ...]
    phrase_texts: int
    phrase_share: Rate
    flags: tuple[FlagFigures, ...]
