"""The figures of a comparison, as plain data; `comparison.json` has the same names as keys.

Every rate carries its count and its interval. Where nothing was counted, value and interval are
null; a figure is never NaN. Intervals are at 95 %.

What this module does not know: how a figure is computed (statistics.py), how it is shown (screen.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cai.compare.estimates import Estimate, Rate


@dataclass(frozen=True)
class Agreement:
    """How AI labels agree with human ones, over `judged` = labelled + tied + abstained pairs.

    `decided`: agreement over labelled pairs. `ties_half`: over labelled and tied pairs, a tie
    being half an agreement. `coverage`: the labelled share of all judged pairs.
    """

    judged: int
    labelled: int
    tied: int
    abstained: int
    decided: Rate
    ties_half: Rate
    coverage: Rate


@dataclass(frozen=True)
class Group:
    """Agreement within one subset and split."""

    subset: str
    split: str
    agreement: Agreement


@dataclass(frozen=True)
class Bin:
    """Pairs with similar AI probabilities: from `low` to `high`, `mean` on average.

    `human`: how often the human preferred the response that the probability is about.
    """

    low: float
    high: float
    mean: float
    human: Rate


@dataclass(frozen=True)
class Calibration:
    """How well the soft label, read as a forecast of the human label, is calibrated.

    About P(the response that stands first is better), which stands first being drawn. `bins` of
    equal mass; `ece`: the mean distance between a bin's forecast and what was observed, weighted
    by pairs (biased upwards where bins are small); `brier`: mean squared error, 0.25 by always
    saying one half; `log_loss` in nats, 0.693 by always saying one half.
    """

    n: int
    bins: tuple[Bin, ...]
    ece: float | None
    brier: Estimate
    log_loss: Estimate


@dataclass(frozen=True)
class PrincipleFigures:
    """One principle alone, over human pairs in which both of its orders stand (`n`).

    Its label is the mean over both orders. `agreement` with the human label, over decided pairs;
    `decided`: share of `n` that is no tie; `order_consistency`: share of `n` whose orders prefer
    the same response; `distance`: mean of |p - 0.5|; `first_position`: share of its single
    judgements that answer A; `abstained`: pairs in which at least one order abstained.
    """

    constitution: str
    principle: str
    n: int
    abstained: int
    agreement: Rate
    decided: Rate
    order_consistency: Rate
    first_position: Rate
    distance: Estimate


@dataclass(frozen=True)
class Judging:
    """How the judge behaved on the pairs of one kind, whatever it preferred.

    `order_consistency`: mean over pairs of the share of principles whose orders agree.
    `first_position`: share of single judgements with A the more probable answer (0.5 by a judge
    without a favourite place); its interval takes the judgements of one pair as one cluster.
    `option_mass`: mean over pairs of the probability on the options.
    """

    judged: int
    labelled: int
    tied: int
    abstained: int
    judgements: int
    abstained_judgements: int
    order_consistency: Estimate
    first_position: Rate
    option_mass: Estimate


@dataclass(frozen=True)
class Length:
    """How often each labeller prefers the longer response (in characters), on the same pairs.

    Over labelled human pairs whose responses differ in length; `equal`: pairs where they do not.
    """

    equal: int
    ai: Rate
    human: Rate


@dataclass(frozen=True)
class RoundFigures:
    """All revisions of one round: how many, the usable share, the share that changed nothing."""

    number: int
    n: int
    usable: Rate
    unchanged: Rate


@dataclass(frozen=True)
class RevisionFigures:
    """Revisions against the responses that they revise.

    `revised`: responses that were revised, in one or more rounds. `usable`: share with a usable
    text at the end; `unchanged`: share of those whose text is the original's. `preferred`: how
    often the judge prefers the revision, over labelled pairs; `preferred_ties_half`: with ties as
    one half. `flags`: how many rounds carry each flag.
    """

    revised: int
    usable: Rate
    unchanged: Rate
    preferred: Rate
    preferred_ties_half: Rate
    rounds: tuple[RoundFigures, ...]
    flags: dict[str, int]


@dataclass(frozen=True)
class Disagreement:
    """One pair on which the AI and the human differ.

    `ai_probability`: that the AI's choice is better, 0.5 to 1. `for_ai`, `for_human`: principles
    whose own label is the AI's choice, or the human's.
    """

    row_id: str
    source: str
    subset: str
    split: str
    line: int | None
    ai_probability: float
    prompt: tuple[dict[str, str], ...]
    human_choice: str
    ai_choice: str
    for_ai: tuple[str, ...]
    for_human: tuple[str, ...]


@dataclass(frozen=True)
class PlantedFigures:
    """Labels against a truth that was planted, over the judged human pairs that it covers (`n`).

    `ai`, `human`: accuracy where one response is truly better (and, for the AI, where it has a
    label); `ai_both_bad`: the AI's where both responses are bad. A *find* is a pair whose AI label
    contradicts the human one: `precision`: share of finds whose human label was flipped;
    `recall`: share of flipped labels that are found (a tie or an abstention finds nothing).
    """

    n: int
    flipped: int
    both_bad: int
    ai: Rate
    human: Rate
    ai_both_bad: Rate
    precision: Rate
    recall: Rate


@dataclass(frozen=True)
class Comparison:
    """The AI's labels against the human ones; written as `comparison.json` with these keys.

    `form`: "cai.comparison.v1". `generation`, `settings`: the dataset's. `rows`, `finished`,
    `not_finished`, `excluded` (reason -> rows): its accounts. `agreement`, `kappa`, `calibration`,
    `length`, `groups` (by subset and split), `principles`, `disagreements` (the most confident):
    about the human pairs. `judging`: kind of pair -> Judging, kinds that were judged only.
    `revisions`: None where nothing was revised; `planted`: None where no truth is given.
    """

    form: str
    generation: str
    settings: dict[str, Any]
    rows: int
    finished: int
    not_finished: int
    excluded: dict[str, int]
    agreement: Agreement
    kappa: Estimate
    calibration: Calibration
    length: Length
    groups: tuple[Group, ...]
    principles: tuple[PrincipleFigures, ...]
    judging: dict[str, Judging]
    revisions: RevisionFigures | None
    disagreements: tuple[Disagreement, ...]
    planted: PlantedFigures | None
