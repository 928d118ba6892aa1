"""What became of a run's rows: one fate each, and the accounts balance.

    rows in = finished + excluded + quarantined + unfinished
    of each kind of pair, over the finished rows:
    rows + further pairs = without such a pair + labelled + tied + abstained

Excluded is what the data decide: permanent, with a reason. Quarantined is what a failure did: the
next go takes such a row up again. Unfinished is what no go has come to yet.

What this module does not know: where outcomes are kept, how a pair is judged.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cai.dataset.labels import Label, label
from cai.dataset.summary import PairAccount
from cai.digest import DIGEST_BYTES

Pattern = tuple[str | None, bool, tuple[tuple[str, tuple[Label | None, ...]], ...]]
"""What accounts need of an outcome: why it was excluded, whether the row lost turns, its labels by kind.

The labels of a kind are sorted, so that a row with many sampled pairs has one of a few patterns too.
"""

Digests = NDArray[np.uint64]
"""(digests, 2): the halves of each."""


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

    def add(self, pattern: Pattern, rows: int) -> None:
        """Count rows whose outcomes have one pattern."""
        excluded, shortened, labels = pattern
        if excluded is not None:
            self.excluded[excluded] += rows
            return
        self.finished += rows
        self.shortened += rows * shortened
        by_kind = dict(labels)
        for kind, account in self.pairs.items():
            account.finished(by_kind.get(kind, ()), rows)

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


class Outcomes:
    """The outcomes of rows in some 20 bytes each: the digest, and which of a few patterns it has.

    Of outcomes with the same digest the one that is added last counts, as it does for a dataset.
    """

    def __init__(self, kinds: Iterable[str], tie_threshold: float) -> None:
        self._kinds = tuple(kinds)
        self._tie_threshold = tie_threshold
        self.digests = bytearray()
        self.codes = array("I")
        self.patterns: dict[Pattern, int] = {}

    def add(self, digest: str, outcome: Mapping[str, Any]) -> None:
        """Add an outcome as the store keeps it."""
        pattern = self._pattern(outcome)
        self.digests += bytes.fromhex(digest)
        self.codes.append(self.patterns.setdefault(pattern, len(self.patterns)))

    def _pattern(self, outcome: Mapping[str, Any]) -> Pattern:
        if outcome["excluded"] is not None:
            return outcome["excluded"], False, ()
        feedback = outcome["feedback"]
        labels = tuple(
            (
                kind,
                tuple(
                    sorted(
                        (
                            label(item["probability"], self._tie_threshold)
                            for item in feedback
                            if item["kind"] == kind and item["judge"] == feedback[0]["judge"]
                        ),
                        key=str,
                    )
                ),
            )
            for kind in self._kinds
        )
        return None, bool(outcome.get("turns_dropped")), labels

    def fates(self, failed: Iterable[str], rows_in: int | None, of: Iterable[str] | None = None) -> Fates:
        """The fates of the rows that have an outcome, and of those that have none.

        `failed`: digests of the outcomes that rows would have which failed; where there is one since,
        it counts. `rows_in`: None where nobody has counted: then no row is unfinished. `of`: digests
        of the outcomes that count, where not all do.
        """
        digests, codes = self._last()
        if of is not None:
            there = _among(digests, _halves(of))
            digests, codes = digests[there], codes[there]
        fates = Fates(pairs={kind: PairAccount() for kind in self._kinds})
        for pattern, rows in zip(
            self.patterns, np.bincount(codes, minlength=len(self.patterns)), strict=True
        ):
            if rows:
                fates.add(pattern, int(rows))
        wanted = _halves(set(failed))
        fates.quarantined = len(wanted) - int(np.count_nonzero(_among(wanted, digests)))
        if rows_in is not None:
            fates.unfinished = rows_in - len(digests) - fates.quarantined
        return fates

    def _last(self) -> tuple[Digests, NDArray[np.uint32]]:
        """Each digest once, in order, with its last code."""
        digests = np.frombuffer(bytes(self.digests), ">u8").astype(np.uint64).reshape(-1, 2)
        codes = np.array(self.codes, np.uint32)
        order = np.lexsort((digests[:, 1], digests[:, 0]))
        digests, codes = digests[order], codes[order]
        last = np.ones(len(digests), np.bool_)
        last[:-1] = (digests[1:] != digests[:-1]).any(axis=1)
        return digests[last], codes[last]


def _halves(digests: Iterable[str]) -> Digests:
    joined = bytearray()
    for digest in digests:
        joined += bytes.fromhex(digest)
    return np.frombuffer(bytes(joined), ">u8").astype(np.uint64).reshape(-1, DIGEST_BYTES // 8)


def _among(digests: Digests, others: Digests) -> NDArray[np.bool_]:
    """Which of these digests, each there once, are among the others."""
    both = np.concatenate([others, digests])
    mine = np.arange(len(both)) >= len(others)
    order = np.lexsort((mine, both[:, 1], both[:, 0]))
    after_equal = np.zeros(len(both), np.bool_)
    after_equal[1:] = (both[order][1:] == both[order][:-1]).all(axis=1)
    found = np.zeros(len(both), np.bool_)
    found[order] = after_equal
    return found[len(others) :]
