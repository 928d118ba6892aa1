"""How the judge behaved: by kind of pair, each principle alone, and one judge beside another.

What this module does not know: files, how figures are shown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cai.compare import statistics
from cai.compare.agreement import clustered_kappa
from cai.compare.estimates import Scanned
from cai.compare.figures import JudgePair, Judging, PrincipleFigures, PrincipleMatrix
from cai.compare.statistics import Bools, Floats
from cai.compare.traces import ABSTAINED, ABSTENTIONS, FIRST, TIE, Table, Traces
from cai.dataset.labels import ROUNDING

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Opinions:
    """What each principle says of each pair, in both orders; NaN where an order does not stand.

    `principles`: numbers into the names. `first_is_a`, `first_is_b`: (pairs, principles), the
    probability that the pair's first response is better, the mean over samples.
    `asked`: whether the principle was put to the pair at all.
    """

    principles: tuple[int, ...]
    first_is_a: Floats
    first_is_b: Floats
    asked: Bools

    @property
    def probability(self) -> Floats:
        """The mean over both orders; NaN where not both stand."""
        return (self.first_is_a + self.first_is_b) / 2


def opinions(pairs: Table, judgements: Table) -> Opinions:
    """Lay the judgements of these pairs out by pair and principle.

    `pairs`: with their row numbers in the traces as `number`, ascending.
    """
    principles, column = np.unique(judgements["principle"], return_inverse=True)
    shape = (len(pairs), len(principles))
    key = np.searchsorted(pairs["number"], judgements["pair"]) * max(1, len(principles)) + column
    probability, second = judgements["probability"], judgements["second_order"]
    standing = ~np.isnan(probability)

    def laid(chosen: Bools) -> Floats:
        count = np.bincount(key[chosen], minlength=shape[0] * shape[1])
        total = np.bincount(key[chosen], weights=probability[chosen], minlength=shape[0] * shape[1])
        with np.errstate(invalid="ignore"):
            made: Floats = statistics.even((total / count).reshape(shape))
        return made

    asked = np.bincount(key, minlength=shape[0] * shape[1]).reshape(shape) > 0
    return Opinions(
        tuple(int(item) for item in principles), laid(standing & ~second), laid(standing & second), asked
    )


def judging(judge: str, pairs: Table, judgements: Table, found: Opinions) -> Judging:
    """The judge's behaviour on pairs of one kind; `judgements` and opinions are theirs."""
    label = pairs["label"]
    answered = judgements["answer"] != 0
    both = ~np.isnan(found.probability)
    same = ((found.first_is_a - 0.5) * (found.first_is_b - 0.5) < 0)[both]
    reasons = np.bincount(judgements["abstained"], minlength=1 + len(ABSTENTIONS))[1:]
    return Judging(
        judge=judge,
        judged=len(pairs),
        labelled=int(np.count_nonzero(np.abs(label) == 1)),
        tied=int(np.count_nonzero(label == TIE)),
        abstained=int(np.count_nonzero(label == ABSTAINED)),
        judgements=len(judgements),
        abstained_judgements=int(np.count_nonzero(np.isnan(judgements["probability"]))),
        abstention=statistics.clustered_share(np.isnan(judgements["probability"]), judgements["pair"]),
        abstained_as={name: int(n) for name, n in zip(ABSTENTIONS, reasons, strict=True) if n},
        order_consistency=statistics.bounded_mean(pairs["order_consistency"], pairs["cluster"]),
        first_position=statistics.clustered_share(
            judgements["answer"][answered] == 1, judgements["pair"][answered]
        ),
        same_place=statistics.clustered_share(same, np.nonzero(both)[0]),
        option_mass=statistics.bounded_mean(pairs["option_mass"], pairs["cluster"]),
    )


def principles(
    traces: Traces, pairs: Table, judgements: Table, found: Opinions, tie_threshold: float
) -> tuple[PrincipleFigures, ...]:
    """Each principle of each constitution over the human pairs, in the order of their names.

    The first response of the pairs is the one that the human preferred.
    """
    places = {number: place for place, number in enumerate(found.principles)}
    column = np.zeros(len(traces.names) + 1, np.int64)
    column[list(places)] = list(places.values())
    judged_place = column[judgements["principle"]]
    judged_pair = np.searchsorted(pairs["number"], judgements["pair"])
    made = []
    for constitution in np.unique(pairs["constitution"]):
        own = pairs["constitution"] == constitution
        of_own = own[judged_pair]
        for number, place in places.items():
            asked = own & found.asked[:, place]
            if asked.any():
                at = np.flatnonzero(of_own & (judged_place == place))
                names = (traces.names[constitution], traces.names[number])
                figures = _principle(names, asked, place, found, pairs, judgements.where(at), tie_threshold)
                made.append(figures)
    made.sort(key=lambda item: (item.constitution, item.principle))
    values = [item.agreement.value for item in made]
    sizes, p = [item.agreement.n for item in made], [item.scan.p for item in made]
    scans = statistics.scanned(values, sizes, p, statistics.SMALL_GROUP)
    return tuple(replace(item, scan=scan) for item, scan in zip(made, scans, strict=True))


def _principle(
    names: tuple[str, str],
    asked: Bools,
    place: int,
    found: Opinions,
    pairs: Table,
    single: Table,
    tie_threshold: float,
) -> PrincipleFigures:
    """One principle's figures; `asked`: its pairs; `single`: its judgements one by one."""
    answered = single["answer"] != 0  # first: its arrays are twice as long as all that follow
    first = statistics.clustered_share(single["answer"][answered] == 1, single["pair"][answered])
    del answered
    a, b = found.first_is_a[asked, place], found.first_is_b[asked, place]
    both = ~np.isnan(a) & ~np.isnan(b)
    cluster, label = pairs["cluster"][asked][both], pairs["label"][asked][both]
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
        abstained=int(np.count_nonzero(asked)) - n,
        agreement=statistics.clustered_share(right[decided], cluster[decided]),
        decided=statistics.clustered_share(decided, cluster),
        order_consistency=statistics.clustered_share((a - 0.5) * (b - 0.5) > 0, cluster),
        first_position=first,
        distance=statistics.clustered_mean(np.abs(probability - 0.5), cluster),
        scan=Scanned(not enough, p if enough else None, None, None),
    )


def matrices(
    traces: Traces, pairs: Table, found: Opinions, tie_threshold: float
) -> tuple[PrincipleMatrix, ...]:
    """How often any two principles of a constitution prefer the same response."""
    made = []
    with np.errstate(invalid="ignore"):
        probability = found.probability
        side = np.where(
            np.abs(probability - 0.5) > tie_threshold + ROUNDING, np.sign(probability - 0.5), 0.0
        ).astype(np.float32)
    for constitution in sorted(np.unique(pairs["constitution"]), key=lambda code: traces.names[code]):
        own = pairs["constitution"] == constitution
        used = [place for place in range(len(found.principles)) if found.asked[own, place].any()]
        used.sort(key=lambda place: traces.names[found.principles[place]])
        sides = side[own][:, used]
        decided = np.abs(sides)
        n = np.rint(decided.T.astype(np.float64) @ decided).astype(int)
        agree = (n + np.rint(sides.T.astype(np.float64) @ sides)) / 2
        names = tuple(traces.names[found.principles[place]] for place in used)
        same = tuple(
            tuple(float(agree[i, j] / n[i, j]) if n[i, j] else None for j in range(len(used)))
            for i in range(len(used))
        )
        counts = tuple(tuple(int(item) for item in line) for line in n)
        made.append(PrincipleMatrix(traces.names[constitution], names, same, counts))
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
