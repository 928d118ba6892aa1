"""What each principle says of each pair: the judgements of both orders and all samples, folded.

One row a pair and principle, however often the judge was asked; all that statistics need of single
judgements are these rows and a few counts.

What this module does not know: files, whose pairs these are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cai.compare import statistics
from cai.compare.columns import Table
from cai.compare.statistics import Bools, Floats

_CELLS = 1 << 20
"""So many numbers are held at once where every pair is set against every principle."""
ABSTENTIONS = ("refusal", "format", "unfinished")

OPINION_TYPES = {
    **dict.fromkeys(("pair", "principle"), "i4"),
    **dict.fromkeys(("first_is_a", "first_is_b"), "f8"),
    **dict.fromkeys(("judged", "silent", *ABSTENTIONS, "answered", "said_a"), "u2"),
}
"""Of a table of opinions, ascending by pair, then principle.

`pair`: row number in the pairs; `principle`: number into the names. `first_is_a`, `first_is_b`: the
probability that the pair's first response is better, shown as A or as B, the mean over samples;
NaN where that order does not stand. Counts of single judgements: `judged`: all; `silent`: without
a probability; by reason of abstention; `answered`: with one option more probable; `said_a`: with A.
"""


def fold(judgements: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The opinions of some pairs, as columns, from all of their judgements.

    `judgements`: pair, principle, second_order (whether the pair's first response was shown as B),
    probability (NaN: none), answer (1: A is more probable, -1: B, 0: neither), abstained (0: no;
    else 1 + the number of the reason in `ABSTENTIONS`).
    """
    pair, principle = judgements["pair"].astype(np.int64), judgements["principle"].astype(np.int64)
    width = int(principle.max(initial=0)) + 1
    cells, cell = np.unique(pair * width + principle, return_inverse=True)
    probability, second = judgements["probability"], judgements["second_order"]
    standing = ~np.isnan(probability)

    def count(chosen: Bools) -> NDArray[Any]:
        return np.bincount(cell[chosen], minlength=len(cells))

    def mean(chosen: Bools) -> Floats:
        total = np.bincount(cell[chosen], weights=probability[chosen], minlength=len(cells))
        with np.errstate(invalid="ignore"):
            return statistics.even(total / count(chosen))

    return {
        "pair": cells // width,
        "principle": cells % width,
        "first_is_a": mean(standing & ~second),
        "first_is_b": mean(standing & second),
        "judged": np.bincount(cell, minlength=len(cells)),
        "silent": count(~standing),
        **{name: count(judgements["abstained"] == 1 + place) for place, name in enumerate(ABSTENTIONS)},
        "answered": count(judgements["answer"] != 0),
        "said_a": count(judgements["answer"] == 1),
    }


def probability(opinions: Table) -> Floats:
    """That the pair's first response is better, the mean over both orders; NaN where not both stand."""
    made: Floats = (opinions["first_is_a"] + opinions["first_is_b"]) / 2
    return made


def summed(
    opinions: Table, pairs: int, of: Callable[[Table], Mapping[str, NDArray[Any]]]
) -> dict[str, NDArray[np.int64]]:
    """Of each of so many pairs the sums over its opinions of what `of` makes of some of them, by name.

    `of`: whole numbers or truth values, one for each opinion, under the same names each time.
    """
    found = {name: np.zeros(pairs, np.int64) for name in of(opinions.between(0, 0))}
    for part in opinions.slices():
        pair = part["pair"]
        first, last = int(pair[0]), int(pair[-1]) + 1
        for name, values in of(part).items():
            found[name][first:last] += np.bincount(pair - first, values, last - first).astype(np.int64)
    return found


def principles_of(opinions: Table) -> NDArray[np.int64]:
    """The numbers of the principles that occur, ascending."""
    found = [np.unique(part["principle"]) for part in opinions.slices()]
    return np.unique(np.concatenate([np.empty(0, np.int64), *found]))


def blocks(opinions: Table, pairs: int, width: int) -> Iterator[tuple[int, int, Table]]:
    """The opinions of the pairs from `start` to before `end`: (start, end, opinions), block by block.

    Of so many pairs at a time that `width` numbers of each take little room.
    """
    pair, step = opinions["pair"], max(1, _CELLS // max(1, width))
    for start in range(0, pairs, step):
        end = min(start + step, pairs)
        first, last = np.searchsorted(pair, [start, end])
        yield start, end, opinions.between(int(first), int(last))
