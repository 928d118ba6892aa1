"""Critique and revision: a response is objected to under a principle, then rewritten.

For each round a principle is drawn, a critique is asked for, and then a rewrite; the rewrite,
where it is usable, is what the next round starts from. Without critiques (`critique: false`) the
rewrite is asked for at once.

Everything that comes back is kept: raw text, cleaned text, flags, token counts, request digests.
What this module does not know: which engine answers, stores, files, which rows there are.
Source: 2212.08073, section 3.1 (rounds, a principle drawn for each), 3.5 (without critiques).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from cai.cleaning import RevisionFlag, clean
from cai.digest import draw
from cai.outcome import Revision, Round
from cai.parts import Value
from cai.principle import Constitution, Principle
from cai.prompting import Prompts, principle_values
from cai.request import Completion, GenerateRequest, Request, Sampling

STEP_VERSION = 2
"""Raised whenever this module would make other outcomes from the same answers."""


class AskText(Protocol):
    """The part of `ask` that this step needs."""

    row: str

    async def generate(self, request: GenerateRequest) -> Completion:
        """Ask for a text."""

    def digest(self, request: Request) -> str:
        """A request's identity."""


@dataclass(frozen=True)
class RevisePlan:
    """How a row's response is revised; the same for all rows of a constitution."""

    engine: str
    prompts: Prompts
    constitution: Constitution
    rounds: int
    critique: bool
    critique_sampling: Sampling
    sampling: Sampling
    seed: int


async def revise(
    turns: list[dict[str, Any]], original: Value, of: str, plan: RevisePlan, ask: AskText
) -> Revision:
    """Run all rounds on one response.

    `turns`: the prompt as templates see it; `of`: the response's name, part of every draw.
    Raises: EngineError, StoreError.
    """
    rounds: list[Round] = []
    response = original
    for number in range(1, plan.rounds + 1):
        done = await _round(turns, response, of, number, plan, ask)
        rounds.append(done)
        if done.finish == "too_long" or done.critique_finish == "too_long":
            break
        if done.usable:
            response = Value(done.text, "model", f"revision {number} of {of}")
    return Revision(of, original.text, tuple(rounds))


async def _round(
    turns: list[dict[str, Any]], response: Value, of: str, number: int, plan: RevisePlan, ask: AskText
) -> Round:
    principle = plan.constitution.draw(plan.seed, ask.row, of, number)
    forms = principle_values(plan.constitution, principle)
    answers: list[Completion] = []
    requests: list[GenerateRequest] = []
    critique = Value("", "model", "")
    if plan.critique:
        rendered = plan.prompts.critique(turns, response, forms)
        request = _request(plan, "critique", principle, of, number, rendered, ask.row)
        answer = await ask.generate(request)
        requests.append(request)
        answers.append(answer)
        critique = Value(answer.text.strip(), "model", f"critique {number} of {of}")
    if not answers or answers[0].finish != "too_long":
        rendered = plan.prompts.revision(turns, response, forms, critique)
        request = _request(plan, "revision", principle, of, number, rendered, ask.row)
        requests.append(request)
        answers.append(await ask.generate(request))
    revision = answers[-1]
    cleaned = clean(revision.text, original=response.text, critique=critique.text, finish=revision.finish)
    flags = cleaned.flags
    if plan.critique and not critique.text and revision is not answers[0]:
        flags = (RevisionFlag.NO_CRITIQUE.value, *flags)
    return Round(
        number=number,
        principle=principle.id,
        critique=critique.text,
        critique_finish=answers[0].finish if plan.critique else "",
        raw=revision.text,
        text=cleaned.text,
        finish=revision.finish,
        flags=flags,
        usable=cleaned.usable,
        prompt_tokens=sum(answer.prompt_tokens for answer in answers),
        completion_tokens=sum(answer.completion_tokens for answer in answers),
        requests=tuple(ask.digest(request) for request in requests),
    )


def _request(
    plan: RevisePlan, stage: str, principle: Principle, of: str, number: int, rendered: Any, row: str
) -> GenerateRequest:
    sampling = plan.critique_sampling if stage == "critique" else plan.sampling
    labels: Mapping[str, str | int] = {"stage": stage, "principle": principle.id, "of": of, "round": number}
    seed = draw(plan.seed, stage, row, of, number) >> 1
    return GenerateRequest(plan.engine, rendered, sampling, seed, dict(labels))
