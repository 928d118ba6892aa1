"""The steps of cleaning, in their order.

 1. `too_long`: nothing came back; no other step. Otherwise outer white space is taken off.
 2. Unless the text is the original again: label, preamble and what wraps the whole text are taken
    off, then the text is cut where it goes on as another turn, then a postscript is taken off;
    once more while something was found (a preamble before quotes, a label inside them), at most
    `_PEELS` times.
 3. What is left is looked at, and not altered: empty, cut, unchanged, refusal of the task,
    leaked critique, repetition.

What this module does not know: any phrase, and how a frame or a defect is told (frame.py,
refusal.py, leak.py, repetition.py).
"""

from __future__ import annotations

from collections.abc import Callable

from cai.cleaning.flags import UNUSABLE, Cleaned, RevisionFlag
from cai.cleaning.frame import (
    before_other_turn,
    unwrapped,
    without_label,
    without_postscript,
    without_preamble,
)
from cai.cleaning.leak import leaks
from cai.cleaning.refusal import refuses_task
from cai.cleaning.repetition import repeats
from cai.cleaning.spelling import Spelled, is_empty, same

_PEELS = 6
_FRONT: tuple[tuple[RevisionFlag, Callable[[str, str], str]], ...] = (
    (RevisionFlag.LABEL, without_label),
    (RevisionFlag.PREAMBLE, without_preamble),
    (RevisionFlag.WRAPPING_QUOTES, unwrapped),
)


def clean(raw: str, *, original: str, critique: str, finish: str) -> Cleaned:
    """Make the response out of what the model wrote.

    `original`: the response that was to be rewritten; `critique`: empty where none was made;
    `finish`: how the completion ended (`stop`, `length`, `too_long`).
    """
    if finish == "too_long":
        return Cleaned("", (RevisionFlag.TOO_LONG.value,), False)
    text, found = raw.strip(), set[RevisionFlag]()
    own = original.strip()
    text = _without_other_turn(text, own, found) if same(text, own) else _peel(text, own, found)
    if finish == "length":
        found.add(RevisionFlag.CUT)
    if is_empty(text):
        found.add(RevisionFlag.EMPTY)
    else:
        _notice(text, own, critique, found)
    if not found:
        return Cleaned(text, (), True)
    flags = tuple(flag.value for flag in RevisionFlag if flag in found)
    return Cleaned(text, flags, found.isdisjoint(UNUSABLE))


def _notice(text: str, original: str, critique: str, found: set[RevisionFlag]) -> None:
    """Add the flags that alter nothing."""
    said = Spelled(text)
    if same(text, original):
        found.add(RevisionFlag.UNCHANGED)
    if refuses_task(said, original):  # which speaks of "the response" too: no leak
        found.add(RevisionFlag.TASK_REFUSAL)
    elif leaks(said, original, critique):
        found.add(RevisionFlag.LEAKED_CRITIQUE)
    if repeats(said):
        found.add(RevisionFlag.REPETITION)


def _peel(text: str, original: str, found: set[RevisionFlag]) -> str:
    """Take off, layer by layer, what stands around the response."""
    for _ in range(_PEELS):
        before = text
        text = _without_front(text, original, found)
        text = _without_other_turn(text, original, found)
        stripped = without_postscript(text, original)
        if stripped != text:
            text = stripped
            found.add(RevisionFlag.POSTSCRIPT)
        if text == before:
            break
    return text


def _without_front(text: str, original: str, found: set[RevisionFlag]) -> str:
    for _ in range(_PEELS):
        front = text
        for flag, strip in _FRONT:
            stripped = strip(text, original).strip()
            if stripped != text:
                text = stripped
                found.add(flag)
        if text == front:
            break
    return text


def _without_other_turn(text: str, original: str, found: set[RevisionFlag]) -> str:
    kept = before_other_turn(text, original)
    if kept is None:
        return text
    found.add(RevisionFlag.OTHER_ROLE)
    return kept
