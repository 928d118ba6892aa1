"""Consoles: results to stdout, progress and messages to stderr.

What this module does not know: what is printed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console

PATIENCE_S = 3.0
"""After so long a wait is told."""
REMIND_S = 60.0
"""And again each time that so long has passed."""


def out() -> Console:
    """The console for results."""
    return Console(highlight=False, emoji=False)


def err() -> Console:
    """The console for progress and messages."""
    return Console(stderr=True, highlight=False, emoji=False)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Tell what takes so long, where it does: one line to stderr after some seconds, then one a minute."""
    began, done = monotonic(), threading.Event()

    def tell() -> None:
        patience, said = PATIENCE_S, f"{what} ..."
        while not done.wait(patience):
            err().print(said, markup=False, soft_wrap=True)
            patience = REMIND_S
            said = f"{what}: {round((monotonic() - began + patience) / 60)} min so far"

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()
