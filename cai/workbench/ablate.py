"""What each principle contributes, from judgements already made; nothing is asked.

A table of probabilities (human pairs × principles, the mean over both orders; NaN where a
principle abstained or was not drawn) is combined as the run combined it, once with all
principles and once without each. Figures tell how often labels then differ, how agreement with
the human labels moves (paired, on the pairs that both ways decide), which principles agree with
which, and how few of them give nearly the labels of all.

The few are found greedily: from nothing, the principle is added that brings the labels nearest to
those of all. Greedy search need not find the best set of its size, and is judged on the pairs it
was chosen on; with few pairs that flatters it.

What this module does not know: engines, terminals, how judgements were made.
Source: forward selection; agreement of label sets as in 2212.08073, section 4.1 (ensembling over
principles).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cai.compare import statistics
from cai.compare.estimates import Estimate, Rate
from cai.dataset.labels import ROUNDING

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]
FIRST, SECOND, TIE, ABSTAINED = 1, -1, 0, 2
LOG_ODDS_BOUND = 1e-6


@dataclass(frozen=True)
class OpinionTable:
    """Probabilities that the pair's first response (the human's choice) is better.

    `probability`: pairs × principles, NaN where there is none; `weights`: one a principle;
    `combine`: how the run puts principles together; `tie_threshold`: of the dataset.
    """

    principles: tuple[str, ...]
    weights: Floats
    probability: Floats
    combine: Literal["probability", "log-odds"] = "probability"
    tie_threshold: float = 0.0


@dataclass(frozen=True)
class Without:
    """One principle, and the labels without it.

    `alone`: agreement of its own label with the human one. `judged`: pairs that it judged.
    `changed`: share of its pairs whose label is another without it; `to_human`, `from_human`: how
    many labels turn to, or away from, the human's without it. `agreement_gain`: agreement with it
    minus agreement without it, on pairs that both ways decide (positive: it helps). `saved`: share
    of all judgements that it costs.
    """

    principle: str
    judged: int
    alone: Rate
    changed: Rate
    to_human: int
    from_human: int
    agreement_gain: Estimate
    saved: float


@dataclass(frozen=True)
class Few:
    """The first k principles of the greedy search.

    `same`: share of pairs with the label that all principles give; `agreement`: with the human
    label, over decided pairs; `cost`: share of all judgements.
    """

    k: int
    added: str
    same: Rate
    agreement: Rate
    cost: float


@dataclass(frozen=True)
class Ablation:
    """`agreement`: of all principles together. `matrix`: share of pairs on which two principles,
    both decided, prefer the same response (None where no pair tells)."""

    constitution: str
    pairs: int
    agreement: Rate
    principles: tuple[Without, ...]
    matrix: tuple[tuple[float | None, ...], ...]
    few: tuple[Few, ...]


def ablate(table: OpinionTable, constitution: str = "") -> Ablation:
    """All figures of one constitution's principles."""
    everything = _labels(table, np.ones(len(table.principles), bool))
    made = tuple(_without(table, index, everything) for index in range(len(table.principles)))
    return Ablation(
        constitution=constitution,
        pairs=len(table.probability),
        agreement=_agreement(everything),
        principles=made,
        matrix=_matrix(table),
        few=_few(table, everything),
    )


def _labels(table: OpinionTable, kept: NDArray[np.bool_]) -> Labels:
    """The label of each pair by the kept principles: FIRST, SECOND, TIE or ABSTAINED."""
    probability = table.probability[:, kept]
    weights = np.where(np.isnan(probability), 0.0, table.weights[kept])
    total = weights.sum(axis=1)
    there = np.nan_to_num(probability, nan=0.5)
    if table.combine == "log-odds":
        held = np.clip(there, LOG_ODDS_BOUND, 1 - LOG_ODDS_BOUND)
        there = np.log(held / (1 - held))
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (weights * there).sum(axis=1) / total
    if table.combine == "log-odds":
        mean = 1 / (1 + np.exp(-mean))
    labels = np.where(mean > 0.5, FIRST, SECOND).astype(np.int8)
    labels[np.abs(mean - 0.5) <= table.tie_threshold + ROUNDING] = TIE
    labels[total == 0] = ABSTAINED
    return labels


def _agreement(labels: Labels) -> Rate:
    decided = np.abs(labels) == 1
    return statistics.share(labels[decided] == FIRST)


def _without(table: OpinionTable, index: int, everything: Labels) -> Without:
    kept = np.ones(len(table.principles), bool)
    kept[index] = False
    judged = ~np.isnan(table.probability[:, index])
    own = _labels(table, ~kept)[judged]
    rest = _labels(table, kept)
    both = (np.abs(everything) == 1) & (np.abs(rest) == 1) & judged
    gain = (everything[both] == FIRST).astype(float) - (rest[both] == FIRST)
    changed = (everything != rest)[judged]
    return Without(
        principle=table.principles[index],
        judged=int(judged.sum()),
        alone=_agreement(own),
        changed=statistics.share(changed),
        to_human=int(np.count_nonzero(both & (everything == SECOND) & (rest == FIRST))),
        from_human=int(np.count_nonzero(both & (everything == FIRST) & (rest == SECOND))),
        agreement_gain=statistics.clustered_mean(gain, np.arange(len(gain))),
        saved=float(judged.sum() / max(1, np.count_nonzero(~np.isnan(table.probability)))),
    )


def _matrix(table: OpinionTable) -> tuple[tuple[float | None, ...], ...]:
    centred = table.probability - 0.5
    sign = np.where(np.abs(centred) <= table.tie_threshold + ROUNDING, 0.0, np.sign(centred))
    sign = np.nan_to_num(sign, nan=0.0)
    same = sign.T @ sign
    n = np.abs(sign).T @ np.abs(sign)
    return tuple(
        tuple(float((same[i, j] / n[i, j] + 1) / 2) if n[i, j] else None for j in range(len(n)))
        for i in range(len(n))
    )


def _few(table: OpinionTable, everything: Labels) -> tuple[Few, ...]:
    count = len(table.principles)
    kept = np.zeros(count, bool)
    there = ~np.isnan(table.probability)
    made: list[Few] = []
    for k in range(1, count + 1):
        best, best_same = -1, -1
        for index in np.flatnonzero(~kept):
            kept[index] = True
            same = int(np.count_nonzero(_labels(table, kept) == everything))
            kept[index] = False
            if same > best_same:
                best, best_same = int(index), same
        kept[best] = True
        labels = _labels(table, kept)
        made.append(
            Few(
                k=k,
                added=table.principles[best],
                same=statistics.share(labels == everything),
                agreement=_agreement(labels),
                cost=float(there[:, kept].sum() / max(1, there.sum())),
            )
        )
    return tuple(made)


def opinion_tables(
    dataset_folder: Path,
    weights: dict[str, dict[str, float]],
    combine: Literal["probability", "log-odds"],
    tie_threshold: float,
    judge: str | None = None,
) -> dict[str, OpinionTable]:
    """The human pairs' opinions of a dataset, by constitution.

    `weights`: of each principle, by constitution; a principle that is not there weighs 1. `judge`:
    whose judgements; None: whatever judge there is.
    """
    import pyarrow.parquet as pq

    cells: dict[str, dict[tuple[int, str], list[float]]] = {}
    pairs: dict[str, int] = {}
    for path in sorted((dataset_folder / "traces").glob("*.parquet")):
        file = pq.ParquetFile(path)
        for group in range(file.num_row_groups):
            for row in file.read_row_group(group, columns=_COLUMNS).column("feedback").to_pylist():
                for pair in row or ():
                    if pair["kind"] == "human" and judge in (None, pair.get("judge")):
                        _add(pair, cells, pairs)
    return {name: _table(name, cells[name], pairs[name], weights, combine, tie_threshold) for name in cells}


_PAIR = "feedback.list.element."
_COLUMNS = [
    *(_PAIR + name for name in ("kind", "constitution", "judge")),
    *(_PAIR + "judgements.list.element." + name for name in ("principle", "order", "probability")),
]


def _add(
    pair: dict[str, object], cells: dict[str, dict[tuple[int, str], list[float]]], pairs: dict[str, int]
) -> None:
    name = str(pair["constitution"])
    number = pairs.get(name, 0)
    pairs[name] = number + 1
    own = cells.setdefault(name, {})
    orders: dict[str, dict[str, list[float | None]]] = {}
    judgements: Sequence[dict[str, object]] = pair["judgements"]  # type: ignore[assignment]
    for item in judgements:
        value = item["probability"]
        by_order = orders.setdefault(str(item["principle"]), {})
        by_order.setdefault(str(item["order"]), []).append(value)  # type: ignore[arg-type]
    for principle, by_order in orders.items():
        means = []
        for values in by_order.values():
            standing = [value for value in values if value is not None]
            means.append(sum(standing) / len(standing) if standing else None)
        if len(means) == 2 and None not in means:
            own[number, principle] = [mean for mean in means if mean is not None]


def _table(
    name: str,
    cells: dict[tuple[int, str], list[float]],
    pairs: int,
    weights: dict[str, dict[str, float]],
    combine: Literal["probability", "log-odds"],
    tie_threshold: float,
) -> OpinionTable:
    principles = tuple(dict.fromkeys(principle for _, principle in cells))
    column = {principle: index for index, principle in enumerate(principles)}
    probability = np.full((pairs, len(principles)), np.nan)
    for (number, principle), orders in cells.items():
        probability[number, column[principle]] = sum(orders) / 2
    own = weights.get(name, {})
    return OpinionTable(
        principles,
        np.array([own.get(principle, 1.0) for principle in principles]),
        probability,
        combine,
        tie_threshold,
    )
