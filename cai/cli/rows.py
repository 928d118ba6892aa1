"""The row that a person names on the command line.

What this module does not know: what is done with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cai.errors import RunError

if TYPE_CHECKING:
    from cai.source import Excluded, Row, Source


def find_row(source: Source, run: str, wanted: str) -> Row:
    """The row that a person names by number, id (or its beginning) or FILE:LINE.

    `run`: the run's name, for messages. Raises: RunError for none, or several.
    """
    from cai.source import Excluded

    if not wanted:
        raise RunError("No row is named.", "Give --row a row's number from 1, its id, or FILE:LINE.")
    matches, total = _matches(source, wanted)
    if not matches:
        last = f"{total:,}" if total else "none"
        raise RunError(
            f"There is no row {wanted!r} in {run}: its sources hold {last} rows.",
            f"Give a number from 1 (there are {last} rows), an id (the column row_id of the dataset), or FILE:LINE.",
        )
    if len(matches) > 1:
        places = ", ".join(f"{item.source}:{item.line} ({item.id[:12]})" for item in matches[:3])
        raise RunError(f"{len(matches)} rows are meant by {wanted!r}: {places}.", "Give more of the id.")
    item = matches[0]
    if isinstance(item, Excluded):
        raise RunError(f"Row {wanted} ({item.source}:{item.line}) was excluded: {item.reason}.", "")
    return item


def _matches(source: Source, wanted: str) -> tuple[list[Row | Excluded], int]:
    """The rows that are meant, and how many there are (where that had to be counted)."""
    number = int(wanted) if wanted.isascii() and wanted.isdigit() and len(wanted) < 9 else None
    file, _, line = wanted.rpartition(":")
    at = int(line) if file and line.isascii() and line.isdigit() else None
    total = 0
    meant: set[str] = set()
    for total, (row, _) in enumerate(source.ids(), start=1):
        if total == number:
            meant = {row}
            break
        if at is None and row.startswith(wanted) and (number is None or len(wanted) >= 6):
            meant.add(row)
    if at is None:
        return (list(source.items(only=meant.__contains__)) if meant else [], total)
    lines = (item for item in source.items() if item.line == at)
    return [item for item in lines if item.source == file or item.source.endswith(f"/{file}")], total
