"""How the judge behaved: by kind of pair, and each principle alone.

What this module does not know: files, how figures are shown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cai.compare import statistics
from cai.compare.figures_v1 import Judging, PrincipleFigures
from cai.compare.statistics import Floats
from cai.compare.traces import ABSTAINED, TIE, Table, Traces
from cai.dataset.labels import ROUNDING


def judging(pairs: Table, judgements: Table) -> Judging:
    """The judge's behaviour on pairs of one kind; `judgements` are theirs."""
    label = pairs["label"]
    answered = judgements["answer"] != 0
    return Judging(
        judged=len(pairs),
        labelled=int(np.count_nonzero(np.abs(label) == 1)),
        tied=int(np.count_nonzero(label == TIE)),
        abstained=int(np.count_nonzero(label == ABSTAINED)),
        judgements=len(judgements),
        abstained_judgements=int(np.count_nonzero(np.isnan(judgements["probability"]))),
        order_consistency=statistics.mean(pairs["order_consistency"]),
        first_position=statistics.clustered_share(
            judgements["answer"][answered] == 1, judgements["pair"][answered]
        ),
        option_mass=statistics.mean(pairs["option_mass"]),
    )


@dataclass(frozen=True)
class Opinions:
    """Pair-and-principle opinions in which both orders stand.

    `pair`: row numbers; `principle`: numbers into the names; `first_is_a`, `first_is_b`: the
    probability that the pair's first response is better, in each order.
    """

    pair: NDArray[np.int64]
    principle: NDArray[np.int64]
    first_is_a: Floats
    first_is_b: Floats

    @property
    def probability(self) -> Floats:
        """The mean over both orders."""
        return (self.first_is_a + self.first_is_b) / 2


def opinions(judgements: Table) -> Opinions:
    """Match each judgement with that of the other order; those without one are left out."""
    standing = judgements.where(~np.isnan(judgements["probability"]))
    width = int(standing["principle"].max()) + 1 if len(standing) else 1
    key = standing["pair"].astype(np.int64) * width + standing["principle"]
    b = standing["second_order"]
    shared, at_a, at_b = np.intersect1d(key[~b], key[b], return_indices=True)
    probability = standing["probability"]
    return Opinions(shared // width, shared % width, probability[~b][at_a], probability[b][at_b])


def principles(traces: Traces, judgements: Table, tie_threshold: float) -> tuple[PrincipleFigures, ...]:
    """Each principle of each constitution over the human pairs, in the order of their names.

    `judgements`: of human pairs, whose first response the human preferred.
    """
    found = opinions(judgements)
    width = len(traces.names)
    constitution = traces.pairs["constitution"]
    by_opinion = constitution[found.pair] * width + found.principle
    by_judgement = constitution[judgements["pair"]] * width + judgements["principle"]
    names = {
        int(key): (traces.names[key // width], traces.names[key % width]) for key in np.unique(by_judgement)
    }
    made = []
    for key in sorted(names, key=names.__getitem__):
        own = np.flatnonzero(by_judgement == key)
        at = np.flatnonzero(by_opinion == key)
        opinion = Opinions(found.pair[at], found.principle[at], found.first_is_a[at], found.first_is_b[at])
        pair, answer = judgements["pair"][own], judgements["answer"][own]
        made.append(_principle(names[key], pair, answer, opinion, tie_threshold))
    return tuple(made)


def _principle(
    names: tuple[str, str],
    pair: NDArray[np.int64],
    answer: NDArray[np.int8],
    opinion: Opinions,
    tie_threshold: float,
) -> PrincipleFigures:
    """One principle's figures; `pair`, `answer`: of its single judgements."""
    probability = opinion.probability
    n = len(probability)
    decided = np.abs(probability - 0.5) > tie_threshold + ROUNDING
    alike = (opinion.first_is_a - 0.5) * (opinion.first_is_b - 0.5) > 0
    answered = answer != 0
    return PrincipleFigures(
        constitution=names[0],
        principle=names[1],
        n=n,
        abstained=int(np.count_nonzero(np.bincount(pair))) - n,
        agreement=statistics.share(probability[decided] > 0.5),
        decided=statistics.share(decided),
        order_consistency=statistics.share(alike),
        first_position=statistics.clustered_share(answer[answered] == 1, pair[answered]),
        distance=statistics.mean(np.abs(probability - 0.5)),
    )
