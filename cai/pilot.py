"""The pilot: some rows first, spread over the whole source, so that a person sees what comes
before the rest is paid for.

Pilot rows are those with the lowest draws among all rows, so they are spread evenly, the same
for every go, and part of the run like any other row. What they show is summed up here:
probability on the options, order consistency, usable revisions, agreement with the human label,
and the cost of what remains.

What this module does not know: how a row is worked on, how the summary is shown.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import orjson
from pydantic import BaseModel, ConfigDict

from cai.digest import digest, draw
from cai.outcome import Feedback, HarmRating, Outcome, Round, Sample
from cai.recipe import PilotSection, Recipe, source_digest
from cai.run_folder import RunFolder
from cai.share import Share
from cai.source import Source

ROUNDING = 1e-9
"""How far rounding may carry a probability off one half."""

MISSING_SHARE_MAX = 0.05
"""Where more of the pilot's rows have no outcome, no threshold counts as reached."""


class PilotChoice(BaseModel):
    """Which rows are the pilot's, and what was counted on the way; kept in `pilot.json`.

    `key`: digest of the sources, their files, the seed and the pilot's size; `approved`: the
    generations with which a person or the thresholds let the run go on.
    """

    model_config = ConfigDict(extra="forbid")

    key: str
    rows: list[str]
    total: int
    subsets: dict[str, int]
    approved: list[str] = []


def choose_pilot(run: RunFolder, recipe: Recipe, source: Source) -> PilotChoice:
    """The pilot of a run: as remembered, or chosen now by one pass over the source's ids.

    Raises: SourceError.
    """
    key = digest(
        "cai.pilot.v1",
        [source_digest(recipe.sources), source.fingerprint(), recipe.seed, recipe.pilot.rows],
    )
    known = read_pilot(run)
    if known is not None and known.key == key:
        return known
    subsets: Counter[str] = Counter()
    total = 0

    def ranked() -> Iterable[tuple[int, str]]:
        nonlocal total
        for row, subset in source.ids():
            total += 1
            subsets[subset] += 1
            yield draw(recipe.seed, "pilot", row), row

    lowest = heapq.nsmallest(max(1, recipe.pilot.rows), ranked())[: recipe.pilot.rows]
    rows = [row for _, row in lowest]
    same = known is not None and known.rows == rows and known.total == total
    approved = known.approved if known is not None and same else []
    choice = PilotChoice(key=key, rows=rows, total=total, subsets=dict(subsets), approved=approved)
    write_pilot(run, choice)
    return choice


def read_pilot(run: RunFolder) -> PilotChoice | None:
    """The remembered pilot, or None."""
    try:
        return PilotChoice.model_validate_json(run.pilot.read_bytes())
    except (OSError, ValueError):
        return None  # chosen again


def write_pilot(run: RunFolder, choice: PilotChoice) -> None:
    """Remember the pilot."""
    draft = run.pilot.with_suffix(".draft")
    draft.write_bytes(orjson.dumps(choice.model_dump(), option=orjson.OPT_INDENT_2))
    draft.replace(run.pilot)


@dataclass(frozen=True)
class PilotSummary:
    """What the pilot's rows show. Shares carry their counts; means are None where nothing counts.

    `shortened`: rows that lost their oldest turns, since the whole did not fit.
    """

    rows: int
    missing: int
    shortened: int
    excluded: Counter[str]
    option_mass: float | None
    order_consistency: float | None
    usable: Share
    unchanged: Share
    flags: Counter[str]
    agreement: Share
    ties: int
    abstained: int
    prompt_tokens: int
    completion_tokens: int


def summarise(outcomes: Sequence[Outcome], missing: int, tie_threshold: float = 0.0) -> PilotSummary:
    """Sum up outcomes, by the definitions of `cai compare` (cai/compare).

    Agreement is that of labelled human pairs, by the judge that makes the labels; option mass and
    order consistency are means over human pairs (over all pairs where there is none). Tokens are
    those of all that was asked. `missing`: pilot rows without an outcome (in quarantine, or
    excluded by the source); `tie_threshold`: the recipe's.
    """
    done = [outcome for outcome in outcomes if outcome.excluded is None]
    revisions = [revision for outcome in done for revision in outcome.revisions]
    rounds = [item for revision in revisions for item in revision.rounds]
    finals = [(revision.original, revision.final.text) for revision in revisions if revision.final]
    feedback = [item for outcome in done for item in outcome.labelling]
    asked: list[Round | Sample | Feedback | HarmRating] = [*rounds]
    for outcome in done:
        asked += (*outcome.samples, *outcome.feedback, *outcome.harm)
    human = [item for item in feedback if item.kind == "human"]
    judged = [item.probability for item in human if item.probability is not None]
    decided = [p for p in judged if abs(p - 0.5) > tie_threshold + ROUNDING]
    return PilotSummary(
        rows=len(outcomes),
        missing=missing,
        shortened=sum(outcome.turns_dropped > 0 for outcome in outcomes),
        excluded=Counter(outcome.excluded for outcome in outcomes if outcome.excluded is not None),
        option_mass=_mean([item.option_mass for item in human or feedback]),
        order_consistency=_mean([item.order_consistency for item in human or feedback]),
        usable=Share(len(finals), len(revisions)),
        unchanged=Share(sum(text == original for original, text in finals), len(finals)),
        flags=Counter(flag for item in rounds for flag in item.flags),
        agreement=Share(sum(p > 0.5 for p in decided), len(decided)),
        ties=len(judged) - len(decided),
        abstained=len(human) - len(judged),
        prompt_tokens=sum(item.prompt_tokens for item in asked),
        completion_tokens=sum(item.completion_tokens for item in asked),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def failed_thresholds(summary: PilotSummary, section: PilotSection) -> list[str]:
    """The recipe's thresholds that the pilot does not reach, in words; empty where all pass."""
    measured = {
        "min_option_mass": summary.option_mass,
        "min_order_consistency": summary.order_consistency,
        "min_usable_revisions": summary.usable.share,
        "min_agreement": summary.agreement.share,
    }
    failed = []
    if summary.missing > MISSING_SHARE_MAX * (summary.rows + summary.missing):
        failed.append(f"{summary.missing} of {summary.rows + summary.missing} pilot rows have no outcome")
    for name, value in measured.items():
        wanted = getattr(section, name)
        if wanted is not None and (value is None or value < wanted):
            found = "not measured" if value is None else f"{value:.3f}"
            failed.append(f"{name} is {wanted:g}, the pilot's figure is {found}")
    return failed
