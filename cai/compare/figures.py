"""The figures of a comparison, as plain data; `comparison.json` has the same names as keys.

Every rate carries its count and its interval (estimates.py). Where nothing was counted, value and
interval are null; a figure is never NaN. Intervals are at 95 %. Pairs that share a prompt's first
turn are one cluster, and intervals and tests allow for it, except: phrases, the share of answers A
(one pair is the cluster), and what is held against a planted or a person's truth. Calibration errors
(ece, rms_debiased, ece_after) and the cells of principle matrices have no interval.

`json_schema` gives the JSON Schema of the file. A change of form is a change of `FORM`.

What this module does not know: how a figure is computed, how it is shown (screen.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from cai.compare.estimates import Estimate, Rate, Scanned
from cai.compare.judge_figures import (
    Bias,
    HarmFigures,
    JudgePair,
    Judging,
    PrincipleFigures,
    PrincipleMatrix,
    Term,
)
from cai.compare.person_figures import PersonFigures
from cai.compare.revision_figures import (
    Change,
    FlagFigures,
    JudgesRevisions,
    OwnRevisions,
    Phrase,
    Preferred,
    RevisionFigures,
    RoundFigures,
)

FORM = "cai.comparison.v2"


@dataclass(frozen=True)
class Constants:
    """What the figures were made with; see the module that each is set in.

    `confidence` of intervals; `resamples` of the cluster bootstrap; `small_group`: fewer pairs
    make a line `small`; `list_length`: rows that a list of rows shows at most; `harm_threshold`:
    from which P(harmful) on a response counts as bad; `phrase_texts`: revisions searched for
    stock phrases at most.
    """

    confidence: float
    resamples: int
    small_group: int
    list_length: int
    harm_threshold: float
    phrase_texts: int


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
class Labeller:
    """One way to label, against the human labels: a line of the main table.

    All lines are over the same pairs: those that the AI (the first judge) labelled or tied.
    `name`: ai, judge NAME, longer, shorter, refusal (of a pair in which one response refuses),
    less harmful (lower P(harmful): the `rating` of single responses by the same judge), chance. `decided`: agreement over pairs on which it says which
    is better; `ties_half`: over all, a pair on which it says nothing being half an agreement;
    `coverage`: share on which it says something. `ahead`: the AI's `ties_half` minus this one's,
    paired, with a cluster-bootstrap interval; `mcnemar_p`: over pairs that both decide, exact or
    chi-squared, or the larger one that takes clusters as independent.
    """

    name: str
    kind: Literal["ai", "judge", "rating", "baseline"]
    decided: Rate
    ties_half: Rate
    coverage: Rate
    kappa: Estimate
    ahead: Estimate
    mcnemar_p: float | None


@dataclass(frozen=True)
class MainTable:
    """The AI beside everything cheaper. `best_baseline`: of the rules that need no judge (the kind
    `baseline`), the one with the highest `ties_half`."""

    lines: tuple[Labeller, ...]
    best_baseline: str | None


@dataclass(frozen=True)
class Group:
    """Agreement within one group of pairs, and whether the group differs from the rest.

    `low`, `high`: the bounds of a bin of a number (both included), None for a name.
    """

    name: str
    low: float | None
    high: float | None
    agreement: Agreement
    scan: Scanned


@dataclass(frozen=True)
class Breakdown:
    """The agreement by one thing: subset, split, subset and split, turns (of the prompt, a human
    and an assistant turn being two), length difference (characters, human's choice minus the
    other), confidence (|p - 0.5|), constitution."""

    by: str
    groups: tuple[Group, ...]


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
class Recalibration:
    """What recalibration by human labels would do; each pair's map is fitted without its cluster.

    `method`: temperature (p -> sigmoid(slope * logit p); `slope` < 1: the judge is over-confident)
    or isotonic. `before`, `after`: log-loss in nats; `difference`: after - before, paired.
    """

    method: Literal["temperature", "isotonic"]
    uses_human_labels: bool
    folds: int
    slope: Estimate | None
    before: Estimate
    after: Estimate
    difference: Estimate
    ece_after: float | None


@dataclass(frozen=True)
class Calibration:
    """How well the raw soft label, read as a forecast of the human label, is calibrated.

    About P(the response that stands first is better), which stands first being drawn. `bins` of
    equal mass. `ece`: the mean distance between a bin's forecast and what was observed, weighted
    by pairs; it is biased upwards: `ece_by_chance` is what a perfectly calibrated forecast would
    show on so many pairs, `rms_debiased` a root mean square with that bias taken off. `brier`:
    mean squared error, 0.25 by always saying one half; `log_loss` in nats, 0.693 by always saying
    one half. `auroc`: how well the forecast ranks pairs, 0.5 is chance; `auroc_confidence`: how
    well |p - 0.5| tells agreements from disagreements.
    """

    n: int
    bins: tuple[Bin, ...]
    ece: float | None
    ece_by_chance: float | None
    rms_debiased: float | None
    brier: Estimate
    log_loss: Estimate
    auroc: Estimate
    auroc_confidence: Estimate
    recalibrations: tuple[Recalibration, ...]


@dataclass(frozen=True)
class ListedRow:
    """A row of a list; `score` ranks it, `parts` are what the score is made of."""

    row_id: str
    subset: str
    split: str
    line: int | None
    score: float
    parts: dict[str, float]


@dataclass(frozen=True)
class RowList:
    """Rows that deserve a look: `total` of them, the first `Constants.list_length` in `rows`.

    `name`: flips, label issues, both harmful. `about`: what is on it, and how it is ranked.
    Where a truth was planted, `precision` and `recall` are of the whole list: against flipped
    labels (flips, label issues) or pairs with both responses bad (both harmful).
    """

    name: str
    about: str
    total: int
    rows: tuple[ListedRow, ...]
    precision: Rate | None
    recall: Rate | None


@dataclass(frozen=True)
class Disagreement:
    """One pair on which the AI and the human differ, with its texts.

    `ai_probability`: that the AI's choice is better, 0.5 to 1; `support` as in the list of flips.
    `for_ai`, `for_human`: principles whose own label is the AI's choice, or the human's.
    """

    row_id: str
    source: str
    subset: str
    split: str
    line: int | None
    support: float
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
class Reference:
    """A figure of the literature, for context only: other models, other pairs. `value` as a share."""

    what: str
    value: float
    source: str


@dataclass(frozen=True)
class Comparison:
    """The AI's labels against the human ones; written as `comparison.json` with these keys.

    `form`: FORM. `verdict`: one paragraph in plain words, by sentence (verdict.py). `generation`,
    `settings`: the dataset's. `rows`, `finished`, `not_finished`, `excluded` (reason -> rows): its
    accounts; `shortened`: finished rows that were judged without their oldest turns. `agreement`, `kappa`, `main`, `breakdowns`, `calibration`, `biases` (human, ai, ai
    given human, other judges), `principles`, `matrices`, `harm`, `lists`, `disagreements` (the
    best supported, with texts): about the human pairs, labels by the first judge. `judging`: kind
    of pair -> Judging of the first judge, kinds that were judged only; `other_judges`: each other
    judge's, on human pairs; `between_judges`: their agreement. `revisions`: None where nothing was
    revised; `planted`: None where no truth is given; `literature`: for context;
    `person`: who was right how often, None where no person has reviewed a sample (`cai review`).
    """

    form: str
    verdict: tuple[str, ...]
    generation: str
    settings: dict[str, Any]
    constants: Constants
    rows: int
    finished: int
    not_finished: int
    shortened: int
    excluded: dict[str, int]
    agreement: Agreement
    kappa: Estimate
    main: MainTable
    breakdowns: tuple[Breakdown, ...]
    calibration: Calibration
    biases: tuple[Bias, ...]
    principles: tuple[PrincipleFigures, ...]
    matrices: tuple[PrincipleMatrix, ...]
    judging: dict[str, Judging]
    other_judges: tuple[Judging, ...]
    between_judges: tuple[JudgePair, ...]
    harm: HarmFigures | None
    revisions: RevisionFigures | None
    lists: tuple[RowList, ...]
    disagreements: tuple[Disagreement, ...]
    planted: PlantedFigures | None
    literature: tuple[Reference, ...]
    person: PersonFigures | None = None

    def breakdown(self, by: str) -> tuple[Group, ...]:
        """The groups of one breakdown; none where there is no such breakdown."""
        return next((item.groups for item in self.breakdowns if item.by == by), ())

    def bias(self, labeller: str) -> Bias | None:
        """The biases of one labeller."""
        return next((item for item in self.biases if item.labeller == labeller), None)

    def row_list(self, name: str) -> RowList | None:
        """One list of rows."""
        return next((item for item in self.lists if item.name == name), None)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of `comparison.json`."""
    from pydantic import TypeAdapter

    return TypeAdapter(Comparison).json_schema(mode="serialization")


__all__ = [
    "FORM",
    "Agreement",
    "Bias",
    "Bin",
    "Breakdown",
    "Calibration",
    "Change",
    "Comparison",
    "Constants",
    "Disagreement",
    "Estimate",
    "FlagFigures",
    "Group",
    "HarmFigures",
    "JudgePair",
    "JudgesRevisions",
    "Judging",
    "Labeller",
    "ListedRow",
    "MainTable",
    "OwnRevisions",
    "PersonFigures",
    "Phrase",
    "PlantedFigures",
    "Preferred",
    "PrincipleFigures",
    "PrincipleMatrix",
    "Rate",
    "Recalibration",
    "Reference",
    "RevisionFigures",
    "RoundFigures",
    "RowList",
    "Scanned",
    "Term",
    "json_schema",
]
