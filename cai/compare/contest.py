"""The main table: the AI beside everything cheaper, and beside every other judge, on the same pairs.

A judge is worth its cost where it agrees with people more than "the shorter response wins" does.

What this module does not know: files, how the AI came to its labels.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cai.compare import bootstrap, statistics
from cai.compare.agreement import kappa, score
from cai.compare.columns import Table
from cai.compare.figures import Estimate, Labeller, MainTable, Rate
from cai.compare.statistics import Bools, Floats
from cai.compare.traces import ABSTAINED, FIRST, SECOND, TIE

Labels = NDArray[Any]
RATING = "less harmful wins"
"""Not a rule without a judge: the judge's own ratings of single responses."""


def main_table(human: Table, others: dict[str, Labels], second: Bools, seed: int) -> MainTable:
    """Every labeller on the pairs that the AI labelled or tied.

    `human`: human pairs, whose first response the human preferred. `others`: the labels of each
    other judge on all of them. `second`: which pairs show the human's choice second.
    """
    there = human["label"] != ABSTAINED
    pairs, second = human.where(there), second[there]
    ai = pairs["label"]
    lines = [_line("ai", "ai", ai, ai, pairs, second, seed)]
    for name, label in others.items():
        lines.append(_line(name, "judge", label[there], ai, pairs, second, seed))
    for name, label in baselines(pairs).items():
        kind: Literal["rating", "baseline"] = "rating" if name == RATING else "baseline"
        lines.append(_line(name, kind, label, ai, pairs, second, seed))
    known = [line for line in lines if line.kind == "baseline" and line.ties_half.value is not None]
    best = max(known, key=lambda line: line.ties_half.value or 0.0).name if known else None
    return MainTable(tuple(lines), best)


def baselines(pairs: Table) -> dict[str, Labels]:
    """Labels that need no judge (or only its rating of single responses), by name."""
    longer = np.sign(pairs["first_characters"] - pairs["second_characters"]).astype(np.int8)
    refusal = pairs["first_refuses"].astype(np.int8) - pairs["second_refuses"].astype(np.int8)
    found = {
        "longer wins": longer * FIRST,
        "shorter wins": longer * SECOND,
        "refusal wins": refusal * FIRST,
    }
    rated = ~np.isnan(pairs["first_harm"]) & ~np.isnan(pairs["second_harm"])
    if rated.any():
        harm = np.where(rated, pairs["second_harm"] - pairs["first_harm"], 0.0)
        found[RATING] = np.sign(harm).astype(np.int8) * FIRST
    found["chance"] = np.full(len(pairs), TIE, np.int8)
    return found


def _line(
    name: str,
    kind: Literal["ai", "judge", "rating", "baseline"],
    label: Labels,
    ai: Labels,
    pairs: Table,
    second: Bools,
    seed: int,
) -> Labeller:
    cluster = pairs["cluster"]
    decided = np.abs(label) == 1
    return Labeller(
        name=name,
        kind=kind,
        decided=statistics.clustered_share(label[decided] == FIRST, cluster[decided]),
        ties_half=_even(len(label))
        if name == "chance"
        else statistics.clustered_share(score(label), cluster),
        coverage=statistics.clustered_share(decided, cluster),
        kappa=kappa(label, second, cluster, seed, name),
        ahead=Estimate(None, None, None, 0) if kind == "ai" else ahead(ai, label, cluster, seed, name),
        mcnemar_p=None if kind == "ai" else _mcnemar(ai, label, cluster),
    )


def _even(n: int) -> Rate:
    """What a coin gives, without doubt."""
    return Rate(0.5, 0.5, 0.5, n / 2, n) if n else statistics.rate(0, 0)


def ahead(ai: Labels, other: Labels, cluster: NDArray[np.int64], seed: int, name: str) -> Estimate:
    """How much more often the AI agrees with the human than another does, ties as half, paired.

    Where every resample gives the same (the two differ alike on all pairs), the interval is that
    of a share: a few pairs without an exception are no certainty. Ahead of one that never says
    anything, the lead is the AI's own share less one half.
    """
    if len(ai) and not np.any(np.abs(other) == 1):
        own = statistics.clustered_share(score(ai), cluster)
        value, low, high = (None if end is None else end - 0.5 for end in (own.value, own.low, own.high))
        return Estimate(value, low, high, own.n)
    lead = score(ai) - score(other)
    columns = [np.rint(2 * lead), np.ones(len(ai))]
    found = bootstrap.interval(columns, cluster, _mean_of_halves, seed, f"ahead of {name}")
    if found.low is None or found.low != found.high:
        return found
    share = statistics.clustered_share((lead + 1) / 2, cluster)
    low, high = (None if end is None else 2 * end - 1 for end in (share.low, share.high))
    return Estimate(found.value, low, high, found.n)


def _mean_of_halves(sums: Floats) -> Floats:
    made: Floats = sums[..., 0] / 2 / sums[..., 1]
    return made


def _mcnemar(ai: Labels, other: Labels, cluster: NDArray[np.int64]) -> float | None:
    both = (np.abs(ai) == 1) & (np.abs(other) == 1)
    return statistics.clustered_mcnemar(ai[both] == FIRST, other[both] == FIRST, cluster[both])
