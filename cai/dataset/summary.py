"""The accounts of a dataset: how many rows came in, and what became of each; they balance.

Written as `dataset/summary.json`:

    form               "cai.dataset.v1"
    generation         digest of the frozen inputs that the dataset was built from
    settings           the recipe's seed and its `dataset` section, with `tie_threshold` the larger of
                       `recipe_tie_threshold` and `noise_floor` (null: not measured); `judges` (the
                       first makes the labels), `reviser`, `same_model` (whether they are one engine),
                       `reviewed` (pairs that people answered a review about)
    rows               source rows, excluded ones included
    finished           rows with an outcome
    shortened          of those, rows whose oldest turns no request holds, since the whole did not fit
    not_finished       rows that the run has not done yet, or that are in quarantine
    excluded           reason -> rows
    pairs              human, revised, sampled -> PairAccount
    revisions          fate (cai/dataset/revisions.py) -> revisions
    human_labelled     config -> rows that nobody judged, mixed in with the human's label
    leakage            rule ("drop", "report"); threshold, words (leakage.py); trained, held_out: prompts
                       compared; exact, near: rows of train whose prompt another split has, the same or
                       nearly; continued: further rows of train that go on from a prompt of another
                       split, or the reverse (never dropped); examples: [row of train, row of the other split, similarity] (all of them
                       are in leaked.jsonl)
    withheld           config -> split -> leaked, over_ratio -> rows taken out again (withhold.py)
    mixed              config -> split -> pattern -> rows in the config of the subsets that `mix` names
    configs            config -> split -> rows

What became pairs and revisions is what stands in the configs, or was taken out again: of
`preferences`, for one, labelled human pairs + human_labelled = rows + withheld.

What this module does not know: how rows are judged or written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from cai.dataset.labels import Label
from cai.dataset.leakage import NEAR, WORDS, Leaks
from cai.dataset.schema import TRAINED_ON

FORM = "cai.dataset.v1"
EXAMPLES = 20
"""Leaks that the summary names."""

KINDS = ("human", "revised", "sampled")


@dataclass
class PairAccount:
    """What became of the pairs of one kind.

    rows + further_pairs = excluded + not_finished + without_pair + labelled + tied + abstained

    `further_pairs`: pairs beyond a row's first. `without_pair`: finished rows with no such pair
    (the recipe does not ask for it, the revision is unusable or unchanged, there is one response).
    """

    rows: int = 0
    further_pairs: int = 0
    excluded: int = 0
    not_finished: int = 0
    without_pair: int = 0
    labelled: int = 0
    tied: int = 0
    abstained: int = 0

    @property
    def balances(self) -> bool:
        """Whether every row and pair is accounted for."""
        out = self.excluded + self.not_finished + self.without_pair
        return self.rows + self.further_pairs == out + self.labelled + self.tied + self.abstained

    def finished(self, labels: Sequence[Label | None], rows: int = 1) -> None:
        """Count a finished row, by the labels of its pairs of this kind; or `rows` with the same labels."""
        self.rows += rows
        self.further_pairs += rows * max(0, len(labels) - 1)
        self.without_pair += rows * (not labels)
        self.abstained += rows * labels.count(None)
        self.tied += rows * labels.count("tie")
        self.labelled += rows * (labels.count("first") + labels.count("second"))


@dataclass
class DatasetSummary:
    """The accounts of one dataset; counts of rows unless the name says otherwise."""

    generation: str
    settings: dict[str, Any]
    rows: int = 0
    finished: int = 0
    shortened: int = 0
    not_finished: int = 0
    excluded: Counter[str] = field(default_factory=Counter)
    pairs: dict[str, PairAccount] = field(default_factory=lambda: {kind: PairAccount() for kind in KINDS})
    revisions: Counter[str] = field(default_factory=Counter)
    human_labelled: Counter[str] = field(default_factory=Counter)
    leaks: Leaks = field(default_factory=Leaks)
    withheld: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    mixed: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    configs: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def balances(self) -> bool:
        """Whether every account balances."""
        rows = self.finished + self.not_finished + self.excluded.total()
        accounts = all(account.balances for account in self.pairs.values())
        return rows == self.rows and accounts and all(self._stands(name) for name in TRAINED_ON)

    def _stands(self, config: str) -> bool:
        """Whether a config holds what was made for it, less what was taken out again."""
        out = sum(sum(reasons.values()) for reasons in self.withheld.get(config, {}).values())
        held = sum(self.configs.get(config, {}).values()) + out - self.human_labelled[config]
        human, sampled = self.pairs["human"].labelled, self.pairs["sampled"].labelled
        made = {
            "preferences": human,
            "preferences-human": human,
            "unpaired": 2 * human,
            "preferences-sampled": sampled,
            "revisions": self.revisions["entered"] + self.revisions["entered_flagged"],
        }
        return held == made.get(config, held)

    def leave_out(self, reason: str) -> None:
        """Count a row that the data or its outcome exclude."""
        self.rows += 1
        self.excluded[reason] += 1
        for account in self.pairs.values():
            account.rows += 1
            account.excluded += 1

    def miss(self) -> None:
        """Count a row that has no outcome yet."""
        self.rows += 1
        self.not_finished += 1
        for account in self.pairs.values():
            account.rows += 1
            account.not_finished += 1

    def finish(self, labels: dict[str, list[Label | None]]) -> None:
        """Count a finished row; `labels`: of its pairs, by kind."""
        self.rows += 1
        self.finished += 1
        for kind, account in self.pairs.items():
            account.finished(labels.get(kind, []))

    def as_json(self) -> dict[str, Any]:
        """The form that is written; keys as in the module's header."""
        return {
            "form": FORM,
            "generation": self.generation,
            "settings": self.settings,
            "rows": self.rows,
            "finished": self.finished,
            "shortened": self.shortened,
            "not_finished": self.not_finished,
            "excluded": dict(sorted(self.excluded.items())),
            "pairs": {kind: asdict(account) for kind, account in self.pairs.items()},
            "revisions": dict(sorted(self.revisions.items())),
            "human_labelled": dict(sorted(self.human_labelled.items())),
            "leakage": self._leakage(),
            "withheld": self.withheld,
            "mixed": self.mixed,
            "configs": self.configs,
        }

    def _leakage(self) -> dict[str, Any]:
        kinds = Counter(leak.kind for leak in self.leaks.leaks)
        shown = self.leaks.leaks[:EXAMPLES]
        return {
            "rule": self.settings["leakage"],
            "threshold": NEAR,
            "words": WORDS,
            "trained": self.leaks.trained,
            "held_out": self.leaks.held_out,
            "exact": kinds["exact"],
            "near": kinds["near"],
            "continued": self.leaks.continued,
            "examples": [[leak.row_id, leak.like, leak.similarity] for leak in shown],
        }
