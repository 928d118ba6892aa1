"""How the judge behaved: by kind of pair, each principle alone, and one judge beside another.

What this module does not know: files, how figures are shown.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cai.compare import statistics
from cai.compare.agreement import clustered_kappa
from cai.compare.columns import Table
from cai.compare.estimates import Scanned
from cai.compare.figures import JudgePair, Judging, PrincipleFigures, PrincipleMatrix
from cai.compare.opinions import ABSTENTIONS, blocks, principles_of, probability, summed
from cai.compare.statistics import Bools
from cai.compare.traces import ABSTAINED, FIRST, TIE, Part, Traces
from cai.dataset.labels import ROUNDING

Ints = NDArray[np.int64]


def judging(judge: str, part: Part) -> Judging:
    """The judge's behaviour on pairs of one kind."""
    pairs, label = part.pairs, part.pairs["label"]
    said = summed(part.opinions, len(pairs), _counts)
    silent = {name: sum(int(some[name].sum()) for some in part.opinions.slices()) for name in ABSTENTIONS}
    return Judging(
        judge=judge,
        judged=len(pairs),
        labelled=int(np.count_nonzero(np.abs(label) == 1)),
        tied=int(np.count_nonzero(label == TIE)),
        abstained=int(np.count_nonzero(label == ABSTAINED)),
        judgements=int(said["judged"].sum()),
        abstained_judgements=int(said["silent"].sum()),
        abstention=statistics.counted_share(said["silent"], said["judged"]),
        abstained_as={name: n for name, n in silent.items() if n},
        order_consistency=statistics.bounded_mean(pairs["order_consistency"], pairs["cluster"]),
        first_position=statistics.counted_share(said["said_a"], said["answered"]),
        same_place=statistics.counted_share(said["same_place"], said["both"]),
        option_mass=statistics.bounded_mean(pairs["option_mass"], pairs["cluster"]),
    )


def _counts(opinions: Table) -> dict[str, NDArray[Any]]:
    """Judgements, those without a probability, with an answer, that answer A; whether both orders stand, and
    prefer the same place."""
    one, other = opinions["first_is_a"], opinions["first_is_b"]
    return {
        **{name: opinions[name] for name in ("judged", "silent", "answered", "said_a")},
        "both": ~np.isnan(one + other),
        "same_place": (one - 0.5) * (other - 0.5) < 0,
    }


def principles(traces: Traces, part: Part, tie_threshold: float) -> tuple[PrincipleFigures, ...]:
    """Each principle of each constitution over the human pairs, in the order of their names.

    `part`: the human pairs; the first response of each is the one that the human preferred.
    """
    constitutions = part.pairs["constitution"]
    made = []
    for number in principles_of(part.opinions):
        own = part.opinions.where(part.opinions["principle"] == number)
        under = constitutions[own["pair"]]
        for constitution in np.unique(under):
            names = (traces.names[constitution], traces.names[number])
            made.append(_principle(names, part.pairs, own.where(under == constitution), tie_threshold))
    made.sort(key=lambda item: (item.constitution, item.principle))
    values = [item.agreement.value for item in made]
    sizes, p = [item.agreement.n for item in made], [item.scan.p for item in made]
    scans = statistics.scanned(values, sizes, p, statistics.SMALL_GROUP)
    return tuple(replace(item, scan=scan) for item, scan in zip(made, scans, strict=True))


def _principle(
    names: tuple[str, str], pairs: Table, opinions: Table, tie_threshold: float
) -> PrincipleFigures:
    """One principle's figures from its opinions, one a pair that it was put to."""
    a, b = opinions["first_is_a"], opinions["first_is_b"]
    both = ~np.isnan(a + b)
    own = pairs.where(opinions["pair"][both])
    cluster, label = own["cluster"], own["label"]
    a, b = a[both], b[both]
    probability = (a + b) / 2
    n = len(probability)
    decided = np.abs(probability - 0.5) > tie_threshold + ROUNDING
    right = probability > 0.5
    compared = decided & (np.abs(label) == 1)
    whole = label == FIRST
    enough = np.count_nonzero(decided) >= statistics.SMALL_GROUP
    p = statistics.clustered_mcnemar(right[compared], whole[compared], cluster[compared])
    return PrincipleFigures(
        constitution=names[0],
        principle=names[1],
        n=n,
        abstained=len(opinions) - n,
        agreement=statistics.clustered_share(right[decided], cluster[decided]),
        decided=statistics.clustered_share(decided, cluster),
        order_consistency=statistics.clustered_share((a - 0.5) * (b - 0.5) > 0, cluster),
        first_position=statistics.counted_share(opinions["said_a"], opinions["answered"]),
        distance=statistics.clustered_mean(np.abs(probability - 0.5), cluster),
        scan=Scanned(not enough, p if enough else None, None, None),
    )


def matrices(traces: Traces, part: Part, tie_threshold: float) -> tuple[PrincipleMatrix, ...]:
    """How often any two principles of a constitution prefer the same response."""
    numbers, under = principles_of(part.opinions), part.pairs["constitution"]
    made = []
    for constitution in sorted(np.unique(under), key=lambda code: traces.names[code]):
        asked = np.zeros(len(numbers), np.bool_)
        n = np.zeros((len(numbers), len(numbers)))
        alike = np.zeros_like(n)
        for start, end, block in blocks(part.opinions, len(part.pairs), len(numbers)):
            place = np.searchsorted(numbers, block["principle"])
            own = under[block["pair"]] == constitution
            asked[place[own]] = True
            off = probability(block) - 0.5
            decided = own & (np.abs(off) > tie_threshold + ROUNDING)
            side = np.zeros((end - start, len(numbers)))
            side[block["pair"][decided] - start, place[decided]] = np.sign(off[decided])
            n += np.abs(side).T @ np.abs(side)
            alike += side.T @ side
        used = sorted(np.flatnonzero(asked), key=lambda place: traces.names[numbers[place]])
        names = tuple(traces.names[numbers[place]] for place in used)
        both, same = n[np.ix_(used, used)], (n + alike)[np.ix_(used, used)] / 2
        shares = tuple(
            tuple(float(same[i, j] / both[i, j]) if both[i, j] else None for j in range(len(used)))
            for i in range(len(used))
        )
        counts = tuple(tuple(int(item) for item in line) for line in both)
        made.append(PrincipleMatrix(traces.names[constitution], names, shares, counts))
    return tuple(made)


def between_judges(
    labels: dict[str, NDArray[Any]], second: Bools, cluster: Ints, seed: int
) -> tuple[JudgePair, ...]:
    """Each two judges on the human pairs that both label. `labels`: by judge, all of the same pairs.

    `second`: which pairs show the human's choice second; without it kappa would degenerate.
    """
    names = list(labels)
    made = []
    for index, one in enumerate(names):
        for other in names[index + 1 :]:
            both = (np.abs(labels[one]) == 1) & (np.abs(labels[other]) == 1)
            mine = (labels[one][both] == FIRST) != second[both]
            its = (labels[other][both] == FIRST) != second[both]
            made.append(
                JudgePair(
                    one,
                    other,
                    statistics.clustered_share(both, cluster),
                    statistics.clustered_share(mine == its, cluster[both]),
                    clustered_kappa(mine, its, cluster[both], seed, f"{one} and {other}"),
                )
            )
    return tuple(made)
