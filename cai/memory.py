"""Gives memory that is no longer used back to the system, between the stages of a long job.

What this module does not know: what was held. It does what glibc can do; with another C library
a process keeps more for itself, and works as well.
"""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress

_MMAP_THRESHOLD = -3
"""Of mallopt(3): from which size an allocation is a mapping of its own, in bytes."""
_MAPPED_BYTES = 1 << 17


def give_back() -> None:
    """Collect what nobody refers to, and give back what small pieces left behind all over the heap."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def give_back_large_arrays() -> None:
    """From now on, have the C library give every large array back to the system when it is freed.

    Left alone it comes to keep arrays of up to 32 MB for itself, and a process that works on a
    million rows holds half as much again as its arrays take.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").mallopt(_MMAP_THRESHOLD, _MAPPED_BYTES)
