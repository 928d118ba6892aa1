"""One row's whole story: each exact request, where each part of it came from, each answer.

The row's steps are run again with an `ask` that answers from the store alone; so what is shown
is what was sent, part by part, and its digest is the proof.

What this module does not know: engines, the terminal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cai.engine.identity import Identity
from cai.outcome import Outcome
from cai.request import (
    Answer,
    Completion,
    GenerateRequest,
    Request,
    ScoreRequest,
    Scores,
    read_answer,
)
from cai.source import Row
from cai.steps import RowPlan, run_row
from cai.store import Store


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request, its digest, and its answer (None where it has not been asked yet)."""

    request: Request
    digest: str
    answer: Answer | None


class _NotAskedError(Exception):
    """The store does not hold the answer, so the row's steps end here."""


class _StoreAsk:
    """An `ask` that answers from the store alone and remembers what it was asked."""

    def __init__(self, row: str, store: Store, identities: Mapping[str, Identity]) -> None:
        self.row = row
        self.exchanges: list[Exchange] = []
        self._store = store
        self._digests = {name: identity.digest for name, identity in identities.items()}

    def digest(self, request: Request) -> str:
        return request.digest(self._digests[request.engine])

    def _look_up(self, request: Request) -> Answer | None:
        key = self.digest(request)
        record = self._store.get(key)
        answer = read_answer(record.answer) if record is not None else None
        self.exchanges.append(Exchange(request, key, answer))
        return answer

    async def generate(self, request: GenerateRequest) -> Completion:
        answer = self._look_up(request)
        if answer is None:
            raise _NotAskedError
        assert isinstance(answer, Completion)
        return answer

    async def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        answers = [self._look_up(request) for request in requests]
        found = [answer for answer in answers if isinstance(answer, Scores)]
        if len(found) < len(requests):
            raise _NotAskedError
        return found


async def trace_row(
    row: Row, plan: RowPlan, store: Store, identities: Mapping[str, Identity]
) -> tuple[list[Exchange], Outcome | None]:
    """All exchanges of a row in the order of its steps, and its outcome if it is finished."""
    ask = _StoreAsk(row.id, store, identities)
    try:
        outcome = await run_row(row, plan, ask)
    except _NotAskedError:
        outcome = None
    return ask.exchanges, outcome
