"""All that happens to one row: fresh responses, revision, feedback, in that order of need.

What needs nothing of each other runs at the same time: the human pair is judged while a
response is being revised. The result is one `Outcome`.

What this module does not know: other rows, stores, engines, whether an answer was paid for now
or long ago.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from cai.digest import digest, draw
from cai.feedback import STEP_VERSION as FEEDBACK_VERSION
from cai.feedback import AskScores, JudgedPair, JudgePlan, PromptTooLongError, judge
from cai.outcome import Feedback, Outcome, Revision, Sample
from cai.parts import Value
from cai.prompting import Prompts, turn_values
from cai.request import GenerateRequest, Sampling
from cai.revise import STEP_VERSION as REVISE_VERSION
from cai.revise import AskText, RevisePlan, revise
from cai.source import Row

Result = TypeVar("Result")

STEP_VERSION = 1
"""Raised whenever this module would make other outcomes from the same answers."""

STEPS_DIGEST = digest("cai.steps.v1", [STEP_VERSION, REVISE_VERSION, FEEDBACK_VERSION])
"""Part of every generation: a row is replayed when the code that made it has changed."""


class AskAll(AskText, AskScores, Protocol):
    """Everything that can be asked."""


@dataclass(frozen=True)
class RespondPlan:
    """How fresh responses are sampled."""

    engine: str
    prompts: Prompts
    sampling: Sampling
    seed: int


@dataclass(frozen=True)
class RowPlan:
    """What is done to the rows of one constitution.

    `of` names the responses to revise; `pairs` the kinds of pair to judge; `samples` how many
    responses are sampled for pairs of kind `sampled`.
    """

    respond: RespondPlan | None
    revise: RevisePlan | None
    of: str
    judge: JudgePlan | None
    pairs: tuple[str, ...]
    samples: int


class _RowTooLongError(Exception):
    """A prompt does not fit into an engine's context; the row is excluded for all its steps."""


async def run_row(row: Row, plan: RowPlan, ask: AskAll) -> Outcome:
    """Take one row through all its steps.

    Raises: EngineError, StoreError; nothing of the row is then recorded but its answers.
    """
    turns = turn_values(row.prompt, "row")
    responses = {name: Value(turn.text, "row", f"row {name}") for name, turn in row.responses.items()}
    branches = []
    if plan.judge is not None and "human" in plan.pairs:
        branches.append(_judge_human(turns, responses, plan, ask))
    if plan.revise is not None:
        branches.append(_revise_and_judge(row, turns, responses, plan, ask))
    if plan.judge is not None and "sampled" in plan.pairs:
        branches.append(_sample_and_judge(row, turns, plan, ask))
    try:
        done = await _all(branches)
    except (PromptTooLongError, _RowTooLongError):
        return Outcome(row.id, "prompt_too_long", (), (), ())
    return Outcome(
        row=row.id,
        excluded=None,
        revisions=tuple(item for part in done for item in part.revisions),
        samples=tuple(item for part in done for item in part.samples),
        feedback=tuple(item for part in done for item in part.feedback),
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """What one branch of a row's steps adds to its outcome."""

    revisions: tuple[Revision, ...] = ()
    samples: tuple[Sample, ...] = ()
    feedback: tuple[Feedback, ...] = ()


async def _all(work: Sequence[Coroutine[Any, Any, Result]]) -> list[Result]:
    """All results in order. Where one fails, the others are still awaited: what they ask is paid for."""
    if len(work) == 1:
        return [await work[0]]
    done = await asyncio.gather(*work, return_exceptions=True)
    errors = [item for item in done if isinstance(item, BaseException)]
    if errors:
        raise next((e for e in errors if isinstance(e, (PromptTooLongError, _RowTooLongError))), errors[0])
    return [item for item in done if not isinstance(item, BaseException)]


async def _judge_human(
    turns: list[dict[str, Any]], responses: dict[str, Value], plan: RowPlan, ask: AskAll
) -> _Part:
    if plan.judge is None or "chosen" not in responses:
        return _Part()
    pair = JudgedPair("human", "human", "chosen", "rejected", responses["chosen"], responses["rejected"])
    return _Part(feedback=(await judge(turns, pair, plan.judge, ask),))


async def _revise_and_judge(
    row: Row, turns: list[dict[str, Any]], responses: dict[str, Value], plan: RowPlan, ask: AskAll
) -> _Part:
    names = _revised_names(plan.of, responses)
    samples: tuple[Sample, ...] = ()
    if names == ["fresh"]:
        if plan.respond is None:
            return _Part()
        samples = await _respond(row, turns, plan.respond, "fresh", 1, ask)
        responses = {"fresh": Value(samples[0].text, "model", "fresh response")}
    done = await _all([_one_revision(turns, responses[name], name, plan, ask) for name in names])
    return _Part(
        revisions=tuple(revision for revision, _ in done),
        samples=samples,
        feedback=tuple(item for _, feedback in done for item in feedback),
    )


def _revised_names(of: str, responses: dict[str, Value]) -> list[str]:
    """Which responses of a row are revised; a row with a single response has only that one."""
    if of == "fresh" or not responses:
        return ["fresh"]
    if "response" in responses:
        return ["response"]
    return ["chosen", "rejected"] if of == "both" else [of]


async def _one_revision(
    turns: list[dict[str, Any]], original: Value, name: str, plan: RowPlan, ask: AskAll
) -> tuple[Revision, list[Feedback]]:
    assert plan.revise is not None
    revision = await revise(turns, original, name, plan.revise, ask)
    if any("too_long" in (item.finish, item.critique_finish) for item in revision.rounds):
        raise _RowTooLongError
    final = revision.final
    if plan.judge is None or "revised" not in plan.pairs or final is None or final.text == original.text:
        return revision, []
    value = Value(final.text, "model", f"revision {final.number} of {name}")
    pair = JudgedPair("revised", name, "revision", "original", value, original)
    return revision, [await judge(turns, pair, plan.judge, ask)]


async def _sample_and_judge(row: Row, turns: list[dict[str, Any]], plan: RowPlan, ask: AskAll) -> _Part:
    """n sampled responses, judged in pairs (0, 1), (2, 3) ... Source: 2212.08073, section 4.1."""
    if plan.judge is None or plan.respond is None:
        return _Part()
    samples = await _respond(row, turns, plan.respond, "sample", plan.samples, ask)
    values = [Value(sample.text, "model", sample.name) for sample in samples]
    pairs = [
        JudgedPair("sampled", f"{i} {i + 1}", f"sample {i}", f"sample {i + 1}", values[i], values[i + 1])
        for i in range(0, len(values) - 1, 2)
    ]
    feedback = await _all([judge(turns, pair, plan.judge, ask) for pair in pairs])
    return _Part(samples=samples, feedback=tuple(feedback))


async def _respond(
    row: Row, turns: list[dict[str, Any]], plan: RespondPlan, purpose: str, count: int, ask: AskAll
) -> tuple[Sample, ...]:
    rendered = plan.prompts.response(turns)
    requests = [
        GenerateRequest(
            plan.engine,
            rendered,
            plan.sampling,
            draw(plan.seed, purpose, row.id, index) >> 1,
            {"stage": "response", "of": purpose, "sample": index},
        )
        for index in range(count)
    ]
    answers = await _all([ask.generate(request) for request in requests])
    if any(answer.finish == "too_long" for answer in answers):
        raise _RowTooLongError
    return tuple(
        Sample(
            name=purpose if purpose == "fresh" else f"{purpose} {index}",
            text=answer.text.strip(),
            finish=answer.finish,
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            request=ask.digest(request),
        )
        for index, (request, answer) in enumerate(zip(requests, answers, strict=True))
    )
