"""What an edit would ask again, told from digests alone: no server, nothing paid.

Each row's steps are replayed under the edited inputs with answers from the store. A request that
the store does not hold, and that the row would not have asked before the edit either, *changes
directly*. What depends on the answer to such a request cannot be replayed; how many requests that
are at most is known from the plan (rounds, principles, orders), and they *follow*.

What this module does not know: how long an answer takes, what it costs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from cai.engine.identity import Identity
from cai.request import GenerateRequest
from cai.source import Excluded, Row
from cai.steps import RowPlan
from cai.store import Store
from cai.trace import trace_row

Plans = Callable[[str], RowPlan | None]


@dataclass
class Changes:
    """Counts over all rows. `requests`: that the rows make under the edited inputs, at most;
    `kept`: answered from the store; `direct`: changed by the edit itself, by stage in `stages`;
    `follow_at_most`: that hang on an answer to one of those; `open`: not asked yet, before the edit
    as after it; `rows_touched`: rows with a direct change."""

    rows: int = 0
    rows_touched: int = 0
    kept: int = 0
    direct: int = 0
    follow_at_most: int = 0
    open: int = 0
    stages: Counter[str] = field(default_factory=Counter)

    @property
    def requests(self) -> int:
        """All of them, at most."""
        return self.kept + self.direct + self.follow_at_most + self.open


async def count_changes(
    rows: Iterable[Row | Excluded],
    old: Plans,
    new: Plans,
    store: Store,
    identities: Mapping[str, Identity],
    on_row: Callable[[], None] = lambda: None,
) -> Changes:
    """Count over all rows what the inputs behind `new` ask again. Raises: SourceError, StoreError."""
    counted = Changes()
    for row in rows:
        on_row()
        if isinstance(row, Excluded):
            continue
        plan = new(row.subset)
        if plan is not None:
            await _count_row(row, old(row.subset), plan, store, identities, counted)
    return counted


async def _count_row(
    row: Row,
    old: RowPlan | None,
    plan: RowPlan,
    store: Store,
    identities: Mapping[str, Identity],
    counted: Changes,
) -> None:
    counted.rows += 1
    exchanges, _ = await trace_row(row, plan, store, identities)
    distinct = {item.digest: item for item in exchanges}
    missing = [item for item in distinct.values() if item.answer is None]
    counted.kept += len(distinct) - len(missing)
    if not missing:
        return
    before: set[str] = set()
    if old is not None:
        earlier, _ = await trace_row(row, old, store, identities)
        before = {item.digest for item in earlier}
    direct = [item for item in missing if item.digest not in before]
    leads = any(isinstance(item.request, GenerateRequest) for item in missing)  # nothing hangs on a score
    rest = max(0, requests_at_most(plan, row) - len(exchanges)) if leads else 0
    counted.open += len(missing) - len(direct)
    counted.direct += len(direct)
    counted.stages.update(str(item.request.labels.get("stage", "")) for item in direct)
    if direct:
        counted.rows_touched += 1
        counted.follow_at_most += rest
    else:
        counted.open += rest


def requests_at_most(plan: RowPlan, row: Row) -> int:
    """How many requests a row makes at most: every round usable, every judgement made.

    What a judge is asked for its words where it abstains is not counted: it comes on top.
    """
    responses = len(row.responses)
    origins = 0
    fresh = 0
    if plan.revise is not None:
        fresh = plan.of == "fresh" or responses == 0
        origins = 2 if plan.of == "both" and "chosen" in row.responses else 1
    rounds = plan.revise.rounds if plan.revise is not None else 0
    texts = origins * rounds * (2 if plan.revise is not None and plan.revise.critique else 1) + fresh
    pairs = 0
    if "human" in plan.pairs and "chosen" in row.responses:
        pairs += 1
    if "revised" in plan.pairs:
        pairs += origins
    if "sampled" in plan.pairs:
        pairs += plan.samples // 2
        texts += plan.samples
    judgements = 0
    for judge in plan.judges:
        principles = len(judge.constitution.principles)
        asked = min(principles, judge.count or principles) * 2
        samples = judge.reasoning.samples if judge.reasoning is not None else 1
        judgements += pairs * asked * samples * (2 if judge.reasoning is not None else 1)
    harm = 0
    if plan.harm is not None:
        sampled = plan.samples if "sampled" in plan.pairs else 0
        harm = responses + origins * rounds + fresh + sampled
    return texts + judgements + harm
