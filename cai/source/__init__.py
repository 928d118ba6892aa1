"""Sources: where rows come from.

    sections of a recipe ─places→ parts (files, datasets) ─lines, hub→ records ─identity→ ids
                                                              └─pairs, attempts→ rows

What this package does not know: models, runs, what happens to a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cai.recipe import SourceSection
from cai.source.rows import Excluded, Row, SourceItem
from cai.source.stream import Numbered, Source

__all__ = ["Excluded", "Numbered", "Row", "Source", "SourceItem", "open_sources"]


def open_sources(sections: Sequence[SourceSection], beside: Path | None) -> Source:
    """Open the sources of a recipe; `beside`: the recipe's folder, where relative paths start.

    Raises: SourceError for files, subsets or splits that are not there.
    """
    return Source(sections, beside)
