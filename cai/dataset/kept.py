"""How much of a text survives in its rewrite: a word diff's length, without the diff.

What this module does not know: rows, rounds, files.
"""

from __future__ import annotations


def kept_share(original: str, rewrite: str) -> float | None:
    """The share of the original's words that stand in the rewrite in the same order, 0 to 1.

    Words are runs without white space, as they are; None where the original has none. The length
    of the longest common subsequence, with one bit for each word of the original.
    Source: Crochemore et al. 2001, A fast and practical bit-vector algorithm for the longest
    common subsequence problem.
    """
    words = original.split()
    if not words:
        return None
    places: dict[str, int] = {}
    for place, word in enumerate(words):
        places[word] = places.get(word, 0) | 1 << place
    full = (1 << len(words)) - 1
    unmatched = full
    for word in rewrite.split():
        here = unmatched & places.get(word, 0)
        unmatched = ((unmatched + here) | (unmatched - here)) & full
    return 1 - unmatched.bit_count() / len(words)
