"""Draws a blind, stratified sample of pairs: which pairs, in which place, which response first.

Strata. Pairs fall into three cells: AI and human label *differ*, *agree*, or the AI is *undecided*
(tie or abstention). Of the sheet, a tenth goes to undecided pairs, at most `UNDECIDED_SHARE`, where
there are any, and half of the rest to each of the others; what one cell lacks goes to the other.
Within differ and agree, strata are the AI's confidence |p - 0.5| (under 0.15, under 0.35, above)
by subset; undecided pairs are one stratum. A stratum that would get fewer than two items is put
together with its confidence's other small ones, then with all small ones of its cell.

Within a cell, items go to strata in proportion to their pairs (largest remainder, at least two, or
all where there is one), so that an item's weight = pairs / items of its stratum is near the same.

All draws are `cai.digest.draw` of the seed, a word and the row id: adding a row moves no other
row's draw. Within a cell, half of the items show the human's choice first. Items of a stratum are
spread over the sheet, each at a drawn place within its share, so that who stops half way has
answered half of every stratum.

What this module does not know: texts, files, what is done with the answers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cai.digest import draw
from cai.review.key import Cell, Stratum
from cai.review.pairs import Labelled

UNDECIDED_SHARE = 0.1
CONFIDENCE = ((0.15, "unsure"), (0.35, "fairly sure"), (1.0, "sure"))
LEAST = 2
"""Items that a stratum must have for its variance to be estimated."""
CELLS: tuple[Cell, ...] = ("differ", "agree", "undecided")


@dataclass(frozen=True)
class Drawn:
    """One pair of the sample; `human_first`: whether the human's choice is shown first."""

    pair: Labelled
    stratum: Stratum
    human_first: bool


def cell(pair: Labelled) -> Cell:
    """Which cell a pair falls into."""
    return "undecided" if pair.agrees is None else "agree" if pair.agrees else "differ"


def confidence(pair: Labelled) -> str:
    """How sure the AI is of its label, in words."""
    distance = abs((0.5 if pair.probability is None else pair.probability) - 0.5)
    return next(name for bound, name in CONFIDENCE if distance < bound)


def sample(pairs: Sequence[Labelled], size: int, seed: int) -> list[Drawn]:
    """A sample of `size` pairs (fewer where there are fewer) in the order of the sheet."""
    cells: dict[Cell, list[Labelled]] = {name: [] for name in CELLS}
    for pair in pairs:
        cells[cell(pair)].append(pair)
    sizes = cell_sizes({name: len(found) for name, found in cells.items()}, size)
    placed: list[tuple[float, str, Drawn]] = []
    for name in CELLS:
        drawn: list[tuple[Labelled, Stratum, float]] = []
        for label, members in _strata(name, cells[name], sizes[name]).items():
            drawn += _draw_stratum(label, name, *members, seed)
        placed += _in_order(drawn, seed)
    return [item for _, _, item in sorted(placed, key=lambda found: found[:2])]


def cell_sizes(counts: dict[Cell, int], size: int) -> dict[Cell, int]:
    """How many items each cell gets."""
    size = min(size, sum(counts.values()))
    undecided = min(counts["undecided"], round(size * UNDECIDED_SHARE))
    rest = size - undecided
    differ = min(counts["differ"], (rest + 1) // 2)
    agree = min(counts["agree"], rest - differ)
    differ = min(counts["differ"], rest - agree)
    return {"differ": differ, "agree": agree, "undecided": size - differ - agree}


def _strata(name: Cell, pairs: list[Labelled], size: int) -> dict[str, tuple[list[Labelled], int]]:
    """The strata of a cell: their pairs, and how many items each gets."""
    if not size:
        return {}
    ways: list[Callable[[Labelled], str]] = [
        lambda pair: f"{name}, {confidence(pair)}, {pair.subset}",
        lambda pair: f"{name}, {confidence(pair)}, other subsets",
        lambda pair: f"{name}, other",
    ]
    if name == "undecided":
        return {name: (pairs, size)}
    groups: dict[str, list[Labelled]] = {}
    left = pairs
    for way in ways:
        tried: dict[str, list[Labelled]] = defaultdict(list)
        for pair in left:
            tried[way(pair)].append(pair)
        last = way is ways[-1]
        keep = {
            label: found for label, found in tried.items() if last or size * len(found) >= LEAST * len(pairs)
        }
        groups |= keep
        left = [pair for label, found in tried.items() if label not in keep for pair in found]
    given = allocate({label: len(found) for label, found in groups.items()}, size)
    return {label: (found, given[label]) for label, found in sorted(groups.items()) if given[label]}


def allocate(counts: dict[str, int], size: int) -> dict[str, int]:
    """`size` items over strata in proportion to their pairs; at least two each, or all of them.

    Where even that is too many, the largest strata come first.
    """
    given = dict.fromkeys(counts, 0)
    order = sorted(counts, key=lambda name: (-counts[name], name))
    for name in order:
        given[name] = min(LEAST, counts[name], size - sum(given.values()))
    total = sum(counts.values())
    while sum(given.values()) < size:
        open_ = [name for name in order if given[name] < counts[name]]
        name = max(open_, key=lambda found: size * counts[found] / total - given[found])
        given[name] += 1
    return given


def _draw_stratum(
    label: str, name: Cell, pairs: list[Labelled], size: int, seed: int
) -> list[tuple[Labelled, Stratum, float]]:
    """`size` pairs of a stratum, each with its place on the sheet from 0 to 1."""
    stratum = Stratum(label, name, len(pairs), size)
    chosen = sorted(pairs, key=lambda pair: draw(seed, "review", pair.row_id))[:size]
    return [
        (pair, stratum, (index + draw(seed, "review place", pair.row_id) / 2**64) / size)
        for index, pair in enumerate(chosen)
    ]


def _in_order(drawn: list[tuple[Labelled, Stratum, float]], seed: int) -> list[tuple[float, str, Drawn]]:
    """The items of a cell, half of them with the human's choice first."""
    turned = sorted(drawn, key=lambda found: draw(seed, "review order", found[0].row_id))
    odd = draw(seed, "review parity", *sorted(pair.row_id for pair, _, _ in drawn)[:1]) % 2
    return [
        (place, pair.row_id, Drawn(pair, stratum, bool((index + odd) % 2)))
        for index, (pair, stratum, place) in enumerate(turned)
    ]
