"""What became of a run's rows: one fate each, and the accounts balance.

    rows in = finished + excluded + quarantined + unfinished
    of each kind of pair, over the finished rows:
    rows + further pairs = without such a pair + labelled + tied + abstained

Excluded is what the data decide: permanent, with a reason. Quarantined is what a failure did: the
next go takes such a row up again. Unfinished is what no go has come to yet.

What this module does not know: where outcomes are kept, how a pair is judged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cai.dataset.labels import label
from cai.dataset.summary import PairAccount


@dataclass
class Fates:
    """The accounts of a run's rows; `pairs`: of the finished rows, by kind.

    `shortened`: finished rows that lost their oldest turns, since the whole did not fit.
    """

    finished: int = 0
    shortened: int = 0
    excluded: Counter[str] = field(default_factory=Counter)
    quarantined: int = 0
    unfinished: int = 0
    pairs: dict[str, PairAccount] = field(default_factory=dict)

    def add(self, outcome: Mapping[str, Any], tie_threshold: float) -> None:
        """Count the outcome of a row, as the store keeps it."""
        if outcome["excluded"] is not None:
            self.excluded[outcome["excluded"]] += 1
            return
        self.finished += 1
        self.shortened += bool(outcome.get("turns_dropped"))
        feedback = outcome["feedback"]
        for kind, account in self.pairs.items():
            account.finished(
                label(item["probability"], tie_threshold)
                for item in feedback
                if item["kind"] == kind and item["judge"] == feedback[0]["judge"]
            )

    def mistakes(self, rows_in: int) -> list[str]:
        """What does not balance, in words; `rows_in`: how many rows there are."""
        wrong = []
        out = self.finished + self.excluded.total() + self.quarantined + self.unfinished
        if out != rows_in or min(self.quarantined, self.unfinished) < 0:
            wrong.append(f"{rows_in:,} rows in, {out:,} accounted for")
        for kind, account in self.pairs.items():
            if not account.balances or account.rows != self.finished:
                wrong.append(f"the {kind} pairs of {self.finished:,} finished rows")
        return wrong


def fates_of(
    outcomes: Iterable[Mapping[str, Any]],
    quarantined: Iterable[str],
    rows_in: int | None,
    kinds: Iterable[str],
    tie_threshold: float,
) -> Fates:
    """The fates of the rows whose outcomes these are, each row once.

    `quarantined`: rows that failed; one that was finished since counts as finished. `rows_in`: None
    where nobody has counted: then no row is unfinished.
    """
    fates = Fates(pairs={kind: PairAccount() for kind in kinds})
    seen: set[str] = set()
    for outcome in outcomes:
        if outcome["row"] not in seen:
            seen.add(outcome["row"])
            fates.add(outcome, tie_threshold)
    fates.quarantined = len(set(quarantined) - seen)
    if rows_in is not None:
        fates.unfinished = rows_in - len(seen) - fates.quarantined
    return fates
