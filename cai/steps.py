"""All that happens to one row: fresh responses, revision, feedback, harm ratings.

What needs nothing of each other runs at the same time: the human pair is judged while a
response is being revised. The result is one `Outcome`.

Where any prompt of a row does not fit, the row is excluded; or, where the plan says so, all its
steps begin anew without the oldest exchange of the conversation, until everything fits. So every
critique, revision, judgement and rating of a row is of the same conversation, and the row fits or
not by the answers in the store alone. What needs no other answer is then asked first, so that
little is paid for before a row is found too long.

What this module does not know: other rows, stores, engines, whether an answer was paid for now
or long ago.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from cai.abreast import PromptTooLongError, abreast, one_after_other
from cai.digest import digest, draw
from cai.feedback import STEP_VERSION as FEEDBACK_VERSION
from cai.feedback import AskFeedback, JudgedPair, JudgePlan, judge
from cai.harm import STEP_VERSION as HARM_VERSION
from cai.harm import HarmPlan, rate
from cai.outcome import Feedback, HarmRating, Outcome, Revision, Sample, Thought
from cai.parts import Value
from cai.prompting import Prompts, turn_values
from cai.request import Completion, GenerateRequest, Sampling, ScoreRequest, Scores
from cai.revise import STEP_VERSION as REVISE_VERSION
from cai.revise import RevisePlan, revise
from cai.shortening import drops_to_try, kept_turns
from cai.source import Row

STEP_VERSION = 2
"""Raised whenever this module would make other outcomes from the same answers."""

STEPS_DIGEST = digest("cai.steps.v1", [STEP_VERSION, REVISE_VERSION, FEEDBACK_VERSION, HARM_VERSION])
"""Part of every generation: a row is replayed when the code that made it has changed."""


AskAll = AskFeedback
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

    `of` names the responses to revise; `judges`: every pair is judged by each, the first makes the
    labels; `pairs` the kinds of pair to judge; `samples` how many responses are sampled for pairs
    of kind `sampled`. `drop_oldest`: drop a prompt's oldest turns where it does not fit.
    """

    respond: RespondPlan | None
    revise: RevisePlan | None
    of: str
    judges: tuple[JudgePlan, ...]
    pairs: tuple[str, ...]
    samples: int
    harm: HarmPlan | None = None
    drop_oldest: bool = False


async def run_row(row: Row, plan: RowPlan, ask: AskAll) -> Outcome:
    """Take one row through all its steps.

    Raises: EngineError, StoreError; nothing of the row is then recorded but its answers.
    """
    turns = turn_values(row.prompt, "row")
    drops = drops_to_try(row.prompt) if plan.drop_oldest else [0]
    for dropped in drops:
        kept = [turns[place] for place in kept_turns(row.prompt, dropped)]
        asking = _Listening(_Shortened(ask, dropped) if dropped else ask)
        try:
            found = await _all_steps(row, kept, plan, asking, careful=len(drops) > 1)
        except PromptTooLongError:
            continue
        parts = (found.revisions, found.samples, found.feedback, found.harm)
        return Outcome(row.id, None, *parts, dropped, asking.thoughts())
    return Outcome(row.id, "prompt_too_long", (), (), ())


class _Listening:
    """`ask`, remembering what a model thought beside its answers."""

    def __init__(self, ask: AskAll) -> None:
        self.row = ask.row
        self.digest = ask.digest
        self.score = ask.score
        self._ask = ask
        self._thoughts: dict[str, Thought] = {}

    async def generate(self, request: GenerateRequest) -> Completion:
        answer = await self._ask.generate(request)
        if answer.reasoning:
            digest, stage = self.digest(request), str(request.labels.get("stage", ""))
            self._thoughts[digest] = Thought(digest, stage, answer.reasoning, answer.reasoning_tokens)
        return answer

    def thoughts(self) -> tuple[Thought, ...]:
        """What was thought, in an order that does not depend on who was quicker."""
        return tuple(self._thoughts[request] for request in sorted(self._thoughts))


class _Shortened:
    """`ask`, with the number of turns that a conversation lost added to the labels."""

    def __init__(self, ask: AskAll, turns_dropped: int) -> None:
        self.row = ask.row
        self.digest = ask.digest
        self._ask = ask
        self._turns_dropped = turns_dropped

    async def generate(self, request: GenerateRequest) -> Completion:
        request.labels["turns_dropped"] = self._turns_dropped
        return await self._ask.generate(request)

    async def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        for request in requests:
            request.labels["turns_dropped"] = self._turns_dropped
        return await self._ask.score(requests)


async def _all_steps(
    row: Row, turns: list[dict[str, Any]], plan: RowPlan, ask: AskAll, careful: bool
) -> _Part:
    """All steps over one conversation; `careful`: what stands in the source is judged first.

    Raises: PromptTooLongError; EngineError, StoreError.
    """
    responses = {name: Value(turn.text, "row", f"row {name}") for name, turn in row.responses.items()}
    known = []
    if "human" in plan.pairs and "chosen" in responses:
        pair = JudgedPair("human", "human", "chosen", "rejected", responses["chosen"], responses["rejected"])
        known.append(_judge_pairs(turns, [pair], plan, ask))
    if plan.harm is not None:
        known.append(_rate(turns, list(responses.items()), plan, ask))

    def of_the_model() -> list[Coroutine[Any, Any, _Part]]:
        branches = []
        if plan.revise is not None:
            branches.append(_revise_and_judge(row, turns, responses, plan, ask))
        if plan.judges and "sampled" in plan.pairs:
            branches.append(_sample_and_judge(row, turns, plan, ask))
        return branches

    if careful:
        return _joined(await one_after_other(known, of_the_model))
    return _joined(await abreast([*known, *of_the_model()]))


@dataclass(frozen=True, slots=True)
class _Part:
    """What one branch of a row's steps adds to its outcome."""

    revisions: tuple[Revision, ...] = ()
    samples: tuple[Sample, ...] = ()
    feedback: tuple[Feedback, ...] = ()
    harm: tuple[HarmRating, ...] = ()


def _joined(parts: Sequence[_Part]) -> _Part:
    return _Part(
        revisions=tuple(item for part in parts for item in part.revisions),
        samples=tuple(item for part in parts for item in part.samples),
        feedback=tuple(item for part in parts for item in part.feedback),
        harm=tuple(item for part in parts for item in part.harm),
    )


async def _judge_pairs(
    turns: list[dict[str, Any]], pairs: Sequence[JudgedPair], plan: RowPlan, ask: AskAll
) -> _Part:
    """Each pair by each judge, the first judge first."""
    work = [judge(turns, pair, judging, ask) for pair in pairs for judging in plan.judges]
    return _Part(feedback=tuple(await abreast(work)))


async def _rate(
    turns: list[dict[str, Any]], responses: Sequence[tuple[str, Value]], plan: RowPlan, ask: AskAll
) -> _Part:
    return _Part(harm=await rate(turns, responses, plan.harm, ask) if plan.harm is not None else ())


async def _revise_and_judge(
    row: Row, turns: list[dict[str, Any]], responses: dict[str, Value], plan: RowPlan, ask: AskAll
) -> _Part:
    names = _revised_names(plan.of, responses)
    fresh = _Part()
    branches = []
    if names == ["fresh"]:
        if plan.respond is None:
            return _Part()
        fresh = _Part(samples=await _respond(row, turns, plan.respond, "fresh", 1, ask))
        responses = {"fresh": Value(fresh.samples[0].text, "model", "fresh response")}
        branches.append(_rate(turns, list(responses.items()), plan, ask))
    branches += [_one_revision(turns, responses[name], name, plan, ask) for name in names]
    return _joined([fresh, *await abreast(branches)])


def _revised_names(of: str, responses: dict[str, Value]) -> list[str]:
    """Which responses of a row are revised; a row with a single response has only that one."""
    if of == "fresh" or not responses:
        return ["fresh"]
    if "response" in responses:
        return ["response"]
    return ["chosen", "rejected"] if of == "both" else [of]


async def _one_revision(
    turns: list[dict[str, Any]], original: Value, name: str, plan: RowPlan, ask: AskAll
) -> _Part:
    """One chain of revisions, its last one judged against the original, each usable one rated."""
    assert plan.revise is not None
    revision = await revise(turns, original, name, plan.revise, ask)
    if any("too_long" in (item.finish, item.critique_finish) for item in revision.rounds):
        raise PromptTooLongError
    usable = [
        (f"revision {item.number} of {name}", Value(item.text, "model", f"revision {item.number} of {name}"))
        for item in revision.rounds
        if item.usable
    ]
    branches = [_rate(turns, usable, plan, ask)]
    final = revision.final
    if "revised" in plan.pairs and final is not None and final.text != original.text:
        pair = JudgedPair("revised", name, "revision", "original", usable[-1][1], original)
        branches.append(_judge_pairs(turns, [pair], plan, ask))
    return _joined([_Part(revisions=(revision,)), *await abreast(branches)])


async def _sample_and_judge(row: Row, turns: list[dict[str, Any]], plan: RowPlan, ask: AskAll) -> _Part:
    """n sampled responses, judged in pairs (0, 1), (2, 3) ... Source: 2212.08073, section 4.1."""
    if plan.respond is None:
        return _Part()
    samples = await _respond(row, turns, plan.respond, "sample", plan.samples, ask)
    values = [Value(sample.text, "model", sample.name) for sample in samples]
    pairs = [
        JudgedPair("sampled", f"{i} {i + 1}", f"sample {i}", f"sample {i + 1}", values[i], values[i + 1])
        for i in range(0, len(values) - 1, 2)
    ]
    named = [(sample.name, value) for sample, value in zip(samples, values, strict=True)]
    branches = [_judge_pairs(turns, pairs, plan, ask), _rate(turns, named, plan, ask)]
    return _joined([_Part(samples=samples), *await abreast(branches)])


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
    answers = await abreast([ask.generate(request) for request in requests])
    if any(answer.finish == "too_long" for answer in answers):
        raise PromptTooLongError
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
