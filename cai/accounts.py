"""A run's store, counted: the answers of each stage, and the outcomes of a generation's rows.

A walk over a large store takes minutes. What was counted is therefore kept in the store's folder
`index` (derived, may be deleted), with the place in each segment up to which it goes; the next walk
begins there, as long as what lies before is as it was.

What this module does not know: what an answer means, whether accounts balance (cai/fates.py).
"""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import orjson

from cai.digest import digest
from cai.fates import Outcomes
from cai.outcome import outcome_digest
from cai.store import Damage, Record, Store

COUNTED = ("answers", "too_long", "prompt_tokens", "completion_tokens", "reasoning_tokens")
"""Of each stage: answers, those among them that say that a prompt did not fit (no model has read it), and tokens."""

WORTH_KEEPING = 20_000
"""So many records more than what is kept are kept anew."""


@dataclass
class Accounts:
    """What a store holds. `stages`: by stage, COUNTED, of all generations; `records`: how many that is."""

    outcomes: Outcomes
    stages: dict[str, Counter[str]] = field(default_factory=dict)
    records: int = 0

    def add(self, record: Record, generation: str) -> None:
        """Count one record."""
        self.records += 1
        stage = str(record.labels.get("stage", ""))
        if stage == "outcome":
            if record.digest == outcome_digest(record.answer["row"], generation):
                self.outcomes.add(record.digest, record.answer)
            return
        figures = self.stages.setdefault(stage, Counter())
        figures["answers"] += 1
        if record.answer.get("finish") == "too_long":
            figures["too_long"] += 1
            return
        for name in COUNTED[2:]:
            figures[name] += record.answer.get(name, 0)


def accounts_of(
    store: Store, generation: str, kinds: Iterable[str], tie_threshold: float, anew: bool = False
) -> Accounts:
    """Count a store, from where the last walk ended; `anew`: from its beginning, checksums and all.

    `kinds`, `tie_threshold`: of pairs, and what is a tie, as for `Outcomes`. Raises: StoreError.
    """
    kinds = tuple(kinds)
    kept = _Kept(store, digest("cai.accounts.v1", [generation, list(kinds), tie_threshold]))
    empty = Accounts(Outcomes(kinds, tie_threshold)), dict[int, int]()
    accounts, after = (None if anew else kept.read(Outcomes(kinds, tie_threshold))) or empty
    before = accounts.records
    for record in store.records(after):
        accounts.add(record, generation)
    if accounts.records - before >= WORTH_KEEPING:
        kept.write(accounts)
    return accounts


class _Kept:
    """The file that keeps what was counted, and for what (`key`)."""

    def __init__(self, store: Store, key: str) -> None:
        self._store = store
        self._path = store.derived / "accounts.npz"
        self._key = key

    def read(self, outcomes: Outcomes) -> tuple[Accounts, dict[int, int]] | None:
        """What was counted, and up to where each segment is; None where nothing is kept that holds.

        `outcomes`: without any yet; they are given those that are kept.
        """
        try:
            with np.load(self._path, allow_pickle=False) as found:
                said: dict[str, Any] = orjson.loads(found["said"].tobytes())
                digests, codes = found["digests"].tobytes(), found["codes"].astype(np.uint32)
            same = all(self._store.tail(int(n), end) == tail for n, (end, tail) in said["ends"].items())
            if said["key"] != self._key or not same:
                return None
            after = {int(number): int(end) for number, (end, _) in said["ends"].items()}
            damaged = [Damage(*place) for place in said["damaged"]]
            outcomes.patterns = {
                (excluded, shortened, tuple((kind, tuple(labels)) for kind, labels in pairs)): code
                for code, (excluded, shortened, pairs) in enumerate(said["patterns"])
            }
            outcomes.digests, outcomes.codes = bytearray(digests), array("I", codes.tolist())
            stages = {stage: Counter(figures) for stage, figures in said["stages"].items()}
            accounts = Accounts(outcomes, stages, int(said["records"]))
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile):
            return None  # counted again
        for damage in damaged:
            self._store.notice(damage)
        return accounts, after

    def write(self, accounts: Accounts) -> None:
        """Keep what was counted; where that cannot be, the next walk takes longer and that is all."""
        said = {
            "key": self._key,
            "ends": {str(n): [end, self._store.tail(n, end)] for n, end in self._store.ends.items()},
            "patterns": list(accounts.outcomes.patterns),
            "stages": accounts.stages,
            "records": accounts.records,
            "damaged": [(item.segment, item.offset, item.length) for item in self._store.damage],
        }
        draft: Path = self._path.with_name(f".accounts-{os.getpid()}")
        try:
            with draft.open("wb") as file:
                np.savez(
                    file,
                    said=np.frombuffer(orjson.dumps(said), np.uint8),
                    digests=np.frombuffer(bytes(accounts.outcomes.digests), np.uint8),
                    codes=np.array(accounts.outcomes.codes, np.uint32),
                )
            draft.replace(self._path)
        except OSError:
            draft.unlink(missing_ok=True)
