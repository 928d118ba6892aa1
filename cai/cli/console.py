"""Consoles: results to stdout, progress and messages to stderr.

What this module does not know: what is printed.
"""

from __future__ import annotations

from rich.console import Console


def out() -> Console:
    """The console for results."""
    return Console(highlight=False, emoji=False)


def err() -> Console:
    """The console for progress and messages."""
    return Console(stderr=True, highlight=False, emoji=False)
