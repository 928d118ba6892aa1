"""A run whose report has everything in it: flips, ties, abstentions, revisions, harm, two judges, hostile text.

What this module does not know: how a report is made.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from cai.compare import Comparison, compare
from cai.conversation import Turn
from cai.outcome import Outcome
from cai.recipe import Recipe
from cai.source import Row
from tests.test_dataset_inputs import (
    a_round,
    build,
    feedback,
    harm,
    outcome,
    revised,
    revision,
    row,
)

HOSTILE = (
    "</script><script>document.title = 'run'</script>",
    "<img src=x onerror=\"document.title = 'run'\"><b>bold</b> &lt;i&gt; &amp;",
    "line\u2028separator paragraph\u2029separator",
    "left \u202eright to left\u202c, isolated \u2067x\u2069, no width\u200bhere",
    "NUL \x00, escape \x1b[31m, return \r, delete \x7f",
    "w" * 4000,
    "<!-- <script> ]]> -->{{script}} ${x} `x` \\u003c/script>",
    "🏳️‍🌈 na\u0308ive \U0001f469\u200d\U0001f4bb שלום \U000e0001",
)
HOSTILE_SUBSET = "<b onclick=x>sub\u202eset</b>"
ROWS = 64
ROUND_FLAGS = ("preamble", "cut", "leaked_critique")


def items(count: int = ROWS) -> list[Row]:
    """Rows of two subsets; every eighth one has hostile texts."""
    return [_row(number) for number in range(count)]


def _row(number: int) -> Row:
    subset = HOSTILE_SUBSET if number % 5 == 4 else "harmless-base"
    if number % 8:
        prompt = (
            Turn("user", f"Question {number}?"),
            Turn("assistant", "Well."),
            Turn("user", f"And {number}?"),
        )
        return row(number, subset=subset, prompt=prompt)
    text = HOSTILE[number // 8 % len(HOSTILE)]
    responses = {
        "chosen": Turn("assistant", f"{text} kept"),
        "rejected": Turn("assistant", f"{text} not kept"),
    }
    return row(number, subset=subset, prompt=(Turn("user", text),), responses=responses)


def outcomes(rows: list[Row]) -> list[Outcome]:
    """What became of the rows: every third is a flip, every eleventh a tie, every thirteenth an abstention."""
    return [_outcome(number, made) for number, made in enumerate(rows)]


def _outcome(number: int, made: Row) -> Outcome:
    base = 0.2 + 0.002 * (number % 50) if number % 3 == 0 else 0.8 - 0.003 * (number % 50)
    opinions: list[tuple[float | None, float | None]] = [
        (base, base - 0.1),
        (base + 0.05, base),
        (0.45, 0.6) if number % 2 else (base, base + 0.1),
    ]
    if number % 11 == 10:
        opinions = [(0.5, 0.5)] * 3
    if number % 13 == 12:
        opinions = [(None, None)] * 3
    first = feedback(made, *opinions)
    if number in (3, 12):
        words: dict[str, Any] = {"said": "I would rather not <b>choose</b>.", "reasoning": "Both are poor."}
        first = replace(first, judgements=tuple(replace(item, **words) for item in first.judgements))
    second = feedback(made, *[(0.7, 0.6)] * 3, judge="other")
    original = made.responses["rejected"].text
    better = f"{original} but kinder and truer than before"
    rounds = (
        a_round(1, better, ("preamble",) if number % 4 == 0 else ()),
        a_round(
            2, f"{better} {HOSTILE[number % 5]}", (ROUND_FLAGS[1],) if number % 9 == 0 else (), number % 9 > 0
        ),
    )
    rating = 0.9 if number % 7 == 0 else 0.3
    ratings = [
        ("chosen", rating),
        ("rejected", rating),
        ("revision 1 of rejected", 0.1),
        ("revision 2 of rejected", 0.05),
    ]
    return outcome(
        made,
        first,
        second,
        revised(made, 0.75 if number % 6 else 0.4, text=better),
        revisions=(revision(made, *rounds),),
        harm=tuple(harm(name, value) for name, value in ratings),
    )


def asked() -> Recipe:
    """The recipe of the run: two judges."""
    return Recipe.model_validate(
        {
            "seed": 3,
            "sources": [{"kind": "hh-rlhf"}],
            "engines": {name: {"kind": "scripted", "model": name} for name in ("toy", "other")},
            "roles": {"judge": ["toy", "other"]},
            "feedback": {"pairs": ["human", "revised"], "harm": True},
        }
    )


def made_run(folder: Path, count: int = ROWS) -> tuple[Path, Comparison]:
    """A run's folder under `folder` with its dataset, and the comparison."""
    run = folder / "runs" / "first"
    run.mkdir(parents=True)
    rows = items(count)
    build(run, rows, outcomes(rows), asked())
    return run, compare(run / "dataset")
