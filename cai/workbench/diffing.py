"""Two constitutions, or two versions of one, on the same rows: what changes in labels and revisions.

Each sampled row goes through all of the run's steps under both. Labels are compared with each
other and with the human ones, paired: the same pairs under both, so that the difference has an
interval of its own. What one of them leaves undecided is counted, not guessed.

What this module does not know: where the constitutions come from, terminals.
Source: McNemar 1947 (paired agreement; the exact binomial test).
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from cai.compare import statistics
from cai.compare.estimates import Estimate, Rate
from cai.dataset.labels import Label, label
from cai.digest import draw
from cai.frozen import row_plans
from cai.outcome import Feedback, Outcome
from cai.principle import Constitution
from cai.source import Excluded, Row, Source
from cai.steps import run_row
from cai.workbench.asking import Asking

MOST_CHANGED = 5
NOTHING = 0.01
"""A row whose probability moved less, with the same label and revision, did not change."""
AT_ONCE = 64


@dataclass(frozen=True)
class PrincipleChange:
    """One principle that both have: its own probability for the human's choice, before and after.

    `shift`: mean change of it; `flips`: pairs whose preferred response under it is another.
    """

    principle: str
    n: int
    shift: Estimate
    flips: Rate


@dataclass(frozen=True)
class ChangedRow:
    """A pair or revision that changed much; probabilities are of the human's choice."""

    row_id: str
    line: int | None
    probability_before: float | None
    probability_after: float | None
    label_before: Label | None
    label_after: Label | None
    revision_before: str | None
    revision_after: str | None
    prompt: str
    chosen: str
    rejected: str


@dataclass(frozen=True)
class Difference:
    """All figures. `flips`: counts of (label before, label after) where they differ, by name;
    agreement with the human label over decided pairs; `agreement_change` paired, on pairs that both
    decide, with `mcnemar_p` the exact two-sided probability of so uneven a split by chance."""

    rows: int
    pairs: int
    flips: dict[str, int]
    flipped: Rate
    agreement_before: Rate
    agreement_after: Rate
    agreement_change: Estimate
    mcnemar_p: float | None
    principles: tuple[PrincipleChange, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    critiques: int
    critiques_changed: Rate
    revisions: int
    revisions_changed: Rate
    length_change: Estimate
    most_changed: tuple[ChangedRow, ...] = field(default=())


def sample_rows(source: Source, subsets: Sequence[str], count: int, seed: int) -> list[Row]:
    """`count` rows of these subsets, those with the lowest draws: spread evenly, the same every time."""
    ranked = ((draw(seed, "diff", row), row) for row, subset in source.ids() if subset in subsets)
    wanted = {row for _, row in heapq.nsmallest(count, ranked)}
    found = [item for item in source.items(only=wanted.__contains__) if not isinstance(item, Excluded)]
    return found[:count]


async def both_outcomes(
    old: Constitution, new: Constitution, rows: Sequence[Row], asking: Asking
) -> list[tuple[Outcome, Outcome]]:
    """Each row's outcome under the old and the new constitution. Raises: EngineError, StoreError."""
    plans = [
        row_plans(replace(asking.inputs, constitutions={each.name: each}))[each.name] for each in (old, new)
    ]
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(row: Row) -> tuple[Outcome, Outcome]:
        async with gate:
            ask = asking.for_row(row.id)
            try:
                before = await run_row(row, plans[0], ask)
                return before, await run_row(row, plans[1], ask)
            finally:
                asking.done(ask)

    return list(await asyncio.gather(*(one(row) for row in rows)))


def difference(
    old: Constitution,
    new: Constitution,
    rows: Sequence[Row],
    outcomes: Sequence[tuple[Outcome, Outcome]],
    tie_threshold: float,
) -> Difference:
    """The figures of what changed."""
    flips: Counter[str] = Counter()
    labels: list[tuple[Label | None, Label | None]] = []
    pairs: list[tuple[Feedback, Feedback]] = []
    lengths: list[float] = []
    texts_differ: list[bool] = []
    critiques: list[bool] = []
    changed: list[ChangedRow] = []
    for row, (before, after) in zip(rows, outcomes, strict=True):
        one, two = _human(before), _human(after)
        if one is not None and two is not None:
            pair = (label(one.probability, tie_threshold), label(two.probability, tie_threshold))
            labels.append(pair)
            pairs.append((one, two))
            if pair[0] != pair[1]:
                flips[f"{_word(pair[0])} to {_word(pair[1])}"] += 1
        critiques += _critiques_differ(before, after)
        revised = [(_final(before, of), _final(after, of)) for of in _revised(before, after)]
        for first, second in revised:
            if first is not None and second is not None:
                lengths.append(float(len(second) - len(first)))
                texts_differ.append(first != second)
        changed.append(_changed(row, one, two, revised[0] if revised else (None, None), tie_threshold))
    first_decided = np.array([pair[0] in ("first", "second") for pair in labels], bool)
    second_decided = np.array([pair[1] in ("first", "second") for pair in labels], bool)
    agrees_before = np.array([pair[0] == "first" for pair in labels], bool)
    agrees_after = np.array([pair[1] == "first" for pair in labels], bool)
    both = first_decided & second_decided
    change = agrees_after[both].astype(float) - agrees_before[both]
    ids_old, ids_new = [p.id for p in old.principles], [p.id for p in new.principles]
    changed.sort(key=_size, reverse=True)
    return Difference(
        rows=len(rows),
        pairs=len(labels),
        flips=dict(sorted(flips.items())),
        flipped=statistics.share(np.array([one != two for one, two in labels], bool)),
        agreement_before=statistics.share(agrees_before[first_decided]),
        agreement_after=statistics.share(agrees_after[second_decided]),
        agreement_change=_mean(change),
        mcnemar_p=_mcnemar(int((change > 0).sum()), int((change < 0).sum())),
        principles=_principles([name for name in ids_old if name in ids_new], pairs),
        added=tuple(name for name in ids_new if name not in ids_old),
        removed=tuple(name for name in ids_old if name not in ids_new),
        critiques=len(critiques),
        critiques_changed=statistics.share(np.array(critiques, bool)),
        revisions=len(lengths),
        revisions_changed=statistics.share(np.array(texts_differ, bool)),
        length_change=_mean(np.array(lengths, float)),
        most_changed=tuple(item for item in changed[:MOST_CHANGED] if _size(item) > NOTHING),
    )


def _mean(values: statistics.Floats) -> Estimate:
    """The mean of values of different rows, with its interval."""
    return statistics.clustered_mean(values, np.arange(len(values)))


def _word(value: Label | None) -> str:
    """A label in the reader's words: the first response is the human's choice."""
    return {"first": "human's choice", "second": "other", "tie": "tie", None: "abstained"}[value]


def _human(outcome: Outcome) -> Feedback | None:
    return next((item for item in outcome.feedback if item.kind == "human"), None)


def _revised(before: Outcome, after: Outcome) -> list[str]:
    there = {item.of for item in after.revisions}
    return [item.of for item in before.revisions if item.of in there]


def _critiques_differ(before: Outcome, after: Outcome) -> list[bool]:
    """For each round that both have: whether its critique is another."""
    rounds = {(item.of, each.number): each for item in after.revisions for each in item.rounds}
    return [
        each.critique != rounds[item.of, each.number].critique
        for item in before.revisions
        for each in item.rounds
        if (item.of, each.number) in rounds and each.critique_finish
    ]


def _final(outcome: Outcome, of: str) -> str | None:
    found = next(item for item in outcome.revisions if item.of == of)
    return found.final.text if found.final is not None else None


def _mcnemar(up: int, down: int) -> float | None:
    if up + down == 0:
        return None
    from scipy.stats import binomtest

    return float(binomtest(up, up + down, 0.5).pvalue)


def _principles(names: list[str], pairs: list[tuple[Feedback, Feedback]]) -> tuple[PrincipleChange, ...]:
    made = []
    for name in names:
        values = [(_own(one, name), _own(two, name)) for one, two in pairs]
        there = [(one, two) for one, two in values if one is not None and two is not None]
        shift = np.array([two - one for one, two in there], float)
        flips = np.array([(one - 0.5) * (two - 0.5) < 0 for one, two in there], bool)
        made.append(PrincipleChange(name, len(there), _mean(shift), statistics.share(flips)))
    return tuple(made)


def _own(feedback: Feedback, principle: str) -> float | None:
    """A principle's own probability in a pair: the mean over both orders, or None."""
    orders: dict[str, list[float]] = {}
    for item in feedback.judgements:
        if item.principle == principle and item.probability is not None:
            orders.setdefault(item.order, []).append(item.probability)
    if len(orders) < 2:
        return None
    return sum(sum(values) / len(values) for values in orders.values()) / 2


def _changed(
    row: Row,
    one: Feedback | None,
    two: Feedback | None,
    revision: tuple[str | None, str | None],
    tie_threshold: float,
) -> ChangedRow:
    before = one.probability if one is not None else None
    after = two.probability if two is not None else None
    return ChangedRow(
        row_id=row.id,
        line=row.line,
        probability_before=before,
        probability_after=after,
        label_before=label(before, tie_threshold),
        label_after=label(after, tie_threshold),
        revision_before=revision[0],
        revision_after=revision[1],
        prompt=row.prompt[-1].text if row.prompt else "",
        chosen=row.responses["chosen"].text if "chosen" in row.responses else "",
        rejected=row.responses["rejected"].text if "rejected" in row.responses else "",
    )


def _size(item: ChangedRow) -> float:
    """How much a row changed: first by its label, then by its probability, then by its revision."""
    moved = 0.0
    if item.probability_before is not None and item.probability_after is not None:
        moved = abs(item.probability_after - item.probability_before)
    flipped = 1.0 if item.label_before != item.label_after else 0.0
    rewritten = 0.02 if item.revision_before != item.revision_after else 0.0
    return flipped + moved + rewritten
