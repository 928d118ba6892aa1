"""The memory that a process has for itself while it does something, from Linux's account of it.

What this module does not know: what is done. Libraries and mapped files, which others share or the
system takes back when it needs room, do not count.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Done = TypeVar("Done")
ACCOUNT = Path("/proc/self/status")
EVERY_S = 0.01


def own_mib() -> float:
    """What this process now has for itself."""
    return int(ACCOUNT.read_text().split("RssAnon:")[1].split()[0]) / 1024


def with_peak(do: Callable[[], Done]) -> tuple[Done, float]:
    """What `do` returns, and the most that this process had for itself meanwhile, in MiB."""
    peak, ended = own_mib(), threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(EVERY_S):
            peak = max(peak, own_mib())

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        return do(), max(peak, own_mib())
    finally:
        ended.set()
        watching.join()
