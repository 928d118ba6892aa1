"""Stock phrases: words in a row that revisions repeat far more often than what they revise.

A model that was trained too long on its own feedback falls into phrases ("you are valid, valued, and
cared for"); 2212.08073, section 4.3, names them as the sign of it. A phrase is 3 to 8 words, case
and punctuation aside. It is listed where at least LEAST_SHARE of the revisions hold it, TIMES as
large a share as of the originals, and the interval of the log-odds lies above 0. Of phrases that
stand in the same texts the longest is listed.

What this module does not know: rounds, judges, statistics of anything else.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from cai.compare import statistics
from cai.compare.figures import Estimate, Phrase, Rate
from cai.share import Z

TEXTS = 4000
"""Revisions that are searched at most: whole row groups, spread evenly over the dataset."""
LISTED = 15
SHORTEST, LONGEST = 3, 8
LEAST_SHARE, LEAST_TEXTS, TIMES = 0.02, 8, 3.0
EXAMPLES = 3

_WORD = re.compile(r"\w+(?:'\w+)*")
Words = tuple[str, ...]


@dataclass(frozen=True)
class Stock:
    """The phrases of `texts` revisions, and the share of those that hold one of them."""

    phrases: tuple[Phrase, ...]
    texts: int
    share: Rate


def stock_phrases(folder: Path, most: int) -> Stock:
    """Search the last usable revisions of a dataset, `most` at most."""
    rows, originals, revisions = [], [], []
    for row, original, revision in _texts(folder, most):
        rows.append(row)
        originals.append(_words(original))
        revisions.append(_words(revision))
    return find(rows, originals, revisions)


def find(rows: Sequence[str], originals: Sequence[Words], revisions: Sequence[Words]) -> Stock:
    """The phrases of revisions beside the originals; three lists of one length."""
    found = _frequent(revisions)
    before = _holding(originals, set(found))
    n = len(revisions)
    phrases = []
    for words, texts in found.items():
        old, new = len(before.get(words, ())), len(texts)
        odds = _log_odds(new, old, n)
        if odds.low is not None and odds.low > 0 and new >= TIMES * old:
            phrases.append((odds, words, texts, old))
    phrases.sort(key=lambda item: (-(item[0].low or 0.0), -len(item[1]), item[1]))
    kept = _longest(phrases)[:LISTED]
    listed = tuple(
        Phrase(
            " ".join(words),
            statistics.rate(len(texts), n),
            statistics.rate(old, n),
            odds,
            tuple(dict.fromkeys(rows[place] for place in sorted(texts)[: 2 * EXAMPLES]))[:EXAMPLES],
        )
        for odds, words, texts, old in kept
    )
    holding = set().union(*(texts for _, _, texts, _ in kept))
    return Stock(listed, n, statistics.rate(len(holding), n))


_Found = tuple[Estimate, Words, set[int], int]


def _longest(phrases: list[_Found]) -> list[_Found]:
    """Leave out what overlaps a better or longer phrase that stands in nearly the same texts."""
    kept: list[_Found] = []
    for item in sorted(phrases, key=lambda item: (-len(item[1]), -(item[0].low or 0.0), item[1])):
        for other in kept:
            shared = len(item[2] & other[2])
            if shared >= 0.8 * len(item[2]) and _overlap(item[1], other[1]):
                break
        else:
            kept.append(item)
    kept.sort(key=lambda item: (-(item[0].low or 0.0), item[1]))
    return kept


def _overlap(one: Words, other: Words) -> bool:
    """Whether two phrases share a run of SHORTEST - 1 words."""
    size = SHORTEST - 1
    return bool(set(_runs(one, size)) & set(_runs(other, size)))


def _frequent(texts: Sequence[Words]) -> dict[Words, set[int]]:
    """Phrases that enough texts hold, and which; a longer one is looked for only where both of its
    shorter ones are frequent."""
    least = max(LEAST_TEXTS, math.ceil(LEAST_SHARE * len(texts)))
    found: dict[Words, set[int]] = {}
    known: set[Words] | None = None
    for size in range(SHORTEST, LONGEST + 1):
        counts: Counter[Words] = Counter()
        for words in texts:
            counts.update(
                {
                    run
                    for run in _runs(words, size)
                    if known is None or (run[1:] in known and run[:-1] in known)
                }
            )
        known = {run for run, count in counts.items() if count >= least}
        found |= _holding(texts, known)
        if not known:
            break
    return found


def _holding(texts: Sequence[Words], phrases: set[Words]) -> dict[Words, set[int]]:
    """In which texts each phrase stands."""
    found: dict[Words, set[int]] = {}
    sizes = {len(words) for words in phrases}
    for number, words in enumerate(texts):
        for size in sizes:
            for run in _runs(words, size):
                if run in phrases:
                    found.setdefault(run, set()).add(number)
    return found


def _runs(words: Words, size: int) -> Iterator[Words]:
    return (words[start : start + size] for start in range(len(words) - size + 1))


def _words(text: str) -> Words:
    return tuple(_WORD.findall(text.casefold().replace("\u2019", "'")))


def _log_odds(new: int, old: int, n: int) -> Estimate:
    """Of two shares of `n` texts, halves added to each count, with Woolf's interval."""
    cells = (new + 0.5, n - new + 0.5, old + 0.5, n - old + 0.5)
    value = math.log(cells[0] * cells[3] / (cells[1] * cells[2]))
    half = Z * math.sqrt(sum(1 / cell for cell in cells))
    return Estimate(value, value - half, value + half, n)


def _texts(folder: Path, most: int) -> Iterator[tuple[str, str, str]]:
    """Row id, original and last usable text of revisions that changed something, `most` at most."""
    groups = [
        (path, group)
        for path in sorted((folder / "traces").glob("*.parquet"))
        for group in range(pq.ParquetFile(path).num_row_groups)
    ]
    left = most
    for path, group in _spread(groups):
        if left <= 0:
            return
        table = pq.ParquetFile(path).read_row_group(group, columns=["row_id", "revisions"])
        for row in table.to_pylist():
            for revision in row["revisions"]:
                if revision["final_round"] is not None and not revision["unchanged"] and left > 0:
                    left -= 1
                    last = next(r for r in revision["rounds"] if r["number"] == revision["final_round"])
                    yield row["row_id"], revision["original"], last["text"]


def _spread(groups: list[tuple[Path, int]]) -> Iterable[tuple[Path, int]]:
    """All of them, in an order whose beginnings are spread over the whole (bits of the place turned round)."""
    bits = max(1, (len(groups) - 1).bit_length())
    places = sorted(range(len(groups)), key=lambda place: int(f"{place:0{bits}b}"[::-1], 2))
    return (groups[place] for place in places)
