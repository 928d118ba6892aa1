"""Judges by the names that the recipe gives them now.

A judge's name is a handle: renaming an engine keeps the generation, so finished rows may bear a
name of before, or some rows one name and some another. What a judge is, is told by its place: every
pair of a row has its feedback from each judge in the recipe's order.

What this module does not know: engines, stores, how a dataset is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cai.outcome import Outcome


def named_as_now(outcome: Outcome, judges: Sequence[str]) -> Outcome:
    """The outcome with its judges named as the recipe names them.

    `judges`: of the recipe, the one that makes the labels first. An outcome with more judges than
    these was made by another recipe and is left as it is.
    """
    # Only the judge that makes the labels rates harm, so it is known even where no pair was judged.
    names_of = [item.judge for item in outcome.feedback] + [item.judge for item in outcome.harm]
    before = list(dict.fromkeys(names_of))
    if len(before) > len(judges) or before == list(judges):
        return outcome
    names = dict(zip(before, judges, strict=False))
    return replace(
        outcome,
        feedback=tuple(replace(item, judge=names[item.judge]) for item in outcome.feedback),
        harm=tuple(replace(item, judge=names[item.judge]) for item in outcome.harm),
    )
