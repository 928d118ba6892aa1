"""The demo's own parts: its run folder, its truth as the comparison wants it, three stories.

What this module does not know: how a run is worked on, how a comparison is computed.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cai.compare import Planted
from cai.conversation import Transcript, Turn, write_transcript
from cai.errors import InputError
from cai.outcome import Feedback, Outcome, Revision
from cai.shipped import shipped
from cai.source import Excluded, Row
from cai.toy.world import Truth
from cai.toy.world_files import SOURCE_FILE, TRUTH_FILE, read_truth, truth_key, write_world

QUOTED = re.compile('"(.+?)"')
SEED = 11
PAIRS = 192


def write_demo(folder: Path) -> None:
    """Write the toy world and the demo's recipe into a run's folder; what is there stays.

    Raises: InputError where a recipe or rows are there that no demo wrote; OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "data" / TRUTH_FILE).exists():
        for place in (folder / "recipe.yaml", folder / "data" / SOURCE_FILE):
            if place.exists():
                raise InputError(
                    f"{place} is there, and {folder} is no demo's folder.",
                    "Name a folder of its own, such as runs/demo (or remove what a demo left half written).",
                )
        write_world(folder / "data", SEED, PAIRS)
    if not (folder / "recipe.yaml").exists():
        shutil.copyfile(shipped("toy/recipe.yaml"), folder / "recipe.yaml")


def truth_by_row(folder: Path, rows: Iterable[Row | Excluded]) -> dict[str, Truth]:
    """The truth about each row of the demo, by row id."""
    known = read_truth(folder / "data")
    found = {}
    for row in rows:
        if isinstance(row, Row):
            sides = [_transcript(row, name) for name in ("chosen", "rejected")]
            truth = known.get(truth_key(*sides))
            if truth is not None:
                found[row.id] = truth
    return found


def _transcript(row: Row, name: str) -> str:
    turns: tuple[Turn, ...] = (*row.prompt, row.responses[name])
    return write_transcript(Transcript("", turns))


def planted(truth: Mapping[str, Truth]) -> dict[str, Planted]:
    """The truth as the comparison takes it."""
    return {
        row: Planted(
            better=None if item.better == "equal" else item.better,
            flipped=item.flipped,
            both_bad=item.both_bad,
        )
        for row, item in truth.items()
    }


@dataclass(frozen=True)
class Story:
    """One row told for a stranger: a title, what it shows, and the outcome."""

    title: str
    row: Row
    outcome: Outcome
    truth: Truth


def choose_stories(
    rows: Sequence[Row], outcomes: Mapping[str, Outcome], truth: Mapping[str, Truth]
) -> list[Story]:
    """Three rows worth reading: a flaw mended, a wrong human label found, two bad responses."""
    wanted = (
        ("A flaw is found and mended", _mended),
        ("The human label was wrong, and the judge says so", _found_flip),
        ("Both responses are bad, and the worse one is mended", _both_bad),
    )
    stories: list[Story] = []
    for title, fits in wanted:
        for row in sorted(rows, key=lambda row: sum(len(turn.text) for turn in row.prompt)):
            outcome, known = outcomes.get(row.id), truth.get(row.id)
            taken = any(story.row.id == row.id for story in stories)
            if outcome is not None and known is not None and not taken and fits(outcome, known):
                stories.append(Story(title, row, outcome, known))
                break
    return stories


def _changed(outcome: Outcome) -> bool:
    """Whether a sentence that a critique quotes is gone from its rewrite, which the judge prefers."""
    better = _feedback(outcome, "revised")
    return better is not None and (better.probability or 0) > 0.5 and bool(_telling(outcome))


def _telling(outcome: Outcome) -> list[Revision]:
    return [
        revision
        for revision in outcome.revisions
        if any(
            item.usable
            and "unchanged" not in item.flags
            and (quoted := QUOTED.search(item.critique))
            and quoted[1] not in item.text
            for item in revision.rounds
        )
        and not any("repetition" in item.flags for item in revision.rounds)
    ]


def _feedback(outcome: Outcome, kind: str) -> Feedback | None:
    return next((item for item in outcome.feedback if item.kind == kind), None)


def _mended(outcome: Outcome, truth: Truth) -> bool:
    return not truth.flipped and not truth.both_bad and _changed(outcome)


def _found_flip(outcome: Outcome, truth: Truth) -> bool:
    human = _feedback(outcome, "human")
    clear = truth.flipped and not truth.both_bad
    return clear and human is not None and human.probability is not None and human.probability < 0.5


def _both_bad(outcome: Outcome, truth: Truth) -> bool:
    return truth.both_bad and not truth.flipped and _changed(outcome)


def tell(stories: Sequence[Story], run: str) -> str:
    """The stories as Markdown."""
    return "\n".join(
        ["# Three rows of the toy world", ""]
        + [line for number, story in enumerate(stories, 1) for line in _tell(number, story, run)]
    )


def _tell(number: int, story: Story, run: str) -> list[str]:
    row, outcome, truth = story.row, story.outcome, story.truth
    lines = [f"## {number}. {story.title}", ""]
    for turn in row.prompt:
        lines += [f"**{'Human' if turn.role == 'user' else 'Assistant'}:** {turn.text}", ""]
    chosen, rejected = row.responses["chosen"].text, row.responses["rejected"].text
    lines += [f"- chosen by the human label: {chosen}", f"- rejected by the human label: {rejected}", ""]
    planted_text = "; ".join(
        f"the {name} response {_flaws(flaws)}"
        for name, flaws in (("chosen", truth.chosen_flaws), ("rejected", truth.rejected_flaws))
    )
    flipped = " The human label was flipped on purpose." if truth.flipped else ""
    lines += [f"What was planted: {planted_text}.{flipped}", ""]
    for revision in outcome.revisions:
        for item in revision.rounds:
            lines.append(f"- round {item.number}, principle *{item.principle}*")
            if item.critique:
                lines.append(f"    - critique: {item.critique}")
            changed = "unchanged" if "unchanged" in item.flags else item.text
            lines.append(f"    - revision: {changed}")
    for feedback in outcome.feedback:
        if feedback.probability is not None:
            lines.append(
                f"- the judge: P({feedback.first} is better than {feedback.second}) = {feedback.probability:.2f}, "
                f"from {len(feedback.judgements)} judgements in both orders"
            )
    lines += _tell_harm(outcome)
    lines += ["", f"Everything that was asked: `cai show {run} --row {row.id[:12]}`", ""]
    return lines


def _tell_harm(outcome: Outcome) -> list[str]:
    rated = [
        f"{rating.response} {rating.probability:.2f}"
        for rating in outcome.harm
        if rating.probability is not None
    ]
    return [f"- the judge: P(this response alone is harmful): {', '.join(rated)}"] if rated else []


def _flaws(flaws: Sequence[str]) -> str:
    return "has no flaw" if not flaws else "breaks " + ", ".join(flaws)
