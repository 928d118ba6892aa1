"""What changed between two texts, word by word.

What this module does not know: how a change is shown.
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import Literal

Change = Literal["same", "gone", "new"]
_WORD = re.compile(r"\s+|[^\s\w]|\w+")
WORDS_MAX = 4000
"""Beyond so many words the two texts are shown whole: comparing takes time that grows as their product."""


def word_diff(before: str, after: str) -> list[tuple[Change, str]]:
    """Pieces in reading order: what stayed, what is gone, what is new. Joined without the new ones
    they are `before`, without the gone ones `after`."""
    old, new = _WORD.findall(before), _WORD.findall(after)
    if max(len(old), len(new)) > WORDS_MAX:
        whole: list[tuple[Change, str]] = [("gone", before), ("new", after)]
        return [piece for piece in whole if piece[1]] if before != after else [("same", after)]
    pieces: list[tuple[Change, str]] = []
    for tag, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            pieces.append(("same", "".join(new[c:d])))
            continue
        if b > a:
            pieces.append(("gone", "".join(old[a:b])))
        if d > c:
            pieces.append(("new", "".join(new[c:d])))
    return pieces
