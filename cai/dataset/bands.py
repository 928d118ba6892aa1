"""MinHash signatures of sets, and which of many share a band with a given one.

A signature is cut into BANDS bands of BAND_ROWS numbers; two sets that share a share s of their
members have a band in common with probability 1 - (1 - s^BAND_ROWS)^BANDS. Each band is kept as one
sorted number, so that a signature takes half a kilobyte for itself and 0.3 for its bands.

What this module does not know: what the sets are.
Source: Broder 1997 (MinHash); Leskovec, Rajaraman & Ullman, Mining of Massive Datasets, chapter 3
(bands).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

BANDS = 25
BAND_ROWS = 5
SIGNATURE = BANDS * BAND_ROWS

Signatures = NDArray[np.uint32]

_MIX = np.array(
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93, 0xFF51AFD7ED558CCD],
    np.uint64,
)
"""Odd numbers; which ones does not matter."""


def signature(hashes: NDArray[np.uint32]) -> Signatures:
    """The signature of a set of 32-bit hashes, (SIGNATURE,)."""
    made = _empty().copy()
    made.update_batch(hashes.tolist())
    found: Signatures = made.hashvalues.astype(np.uint32)
    return found


@cache
def _empty() -> Any:
    """A signature of nothing, with the permutations that all share."""
    from datasketch import MinHash

    return MinHash(num_perm=SIGNATURE, seed=1, hashfunc=int, scheme="affine32")


class Bands:
    """Signatures, (sets, SIGNATURE), found by the bands that they share with others."""

    def __init__(self, signatures: Signatures) -> None:
        self._signatures = signatures
        self._keys = _keys(signatures)
        self._order = np.empty(self._keys.shape, np.int32)
        for keys, order in zip(self._keys, self._order, strict=True):
            order[:] = np.argsort(keys, kind="stable")
            keys[:] = keys[order]

    def near(self, signatures: Signatures, least: float) -> list[list[int]]:
        """For each of these signatures the numbers, ascending, of the sets that share a band with it
        and at least so large a part of the whole signature."""
        found: list[list[NDArray[np.int32]]] = [[] for _ in signatures]
        for known, order, wanted in zip(self._keys, self._order, _keys(signatures), strict=True):
            starts, ends = np.searchsorted(known, wanted), np.searchsorted(known, wanted, side="right")
            for place in np.flatnonzero(starts < ends):
                found[place].append(order[starts[place] : ends[place]])
        return [
            self._alike(own, np.unique(np.concatenate(numbers)), least) if numbers else []
            for own, numbers in zip(signatures, found, strict=True)
        ]

    def _alike(self, own: Signatures, numbers: NDArray[np.int32], least: float) -> list[int]:
        alike = (self._signatures[numbers] == own).mean(axis=1)
        kept: list[int] = numbers[alike >= least].tolist()
        return kept


def _keys(signatures: Signatures) -> NDArray[np.uint64]:
    """One number for each band of each signature, (BANDS, signatures)."""
    made = np.zeros((BANDS, len(signatures)), np.uint64)
    for place in range(SIGNATURE):
        made[place // BAND_ROWS] += signatures[:, place] * _MIX[place % BAND_ROWS]
    return made
