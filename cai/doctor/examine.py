"""Examining one model: what stands around its answer position, and how it judges known answers.

What can be seen without asking comes first (roles, BOS, the beginning of the answer, thinking);
then the first 16 pairs are asked in both orders, and where those leave it open the other pairs. Where
the options get too little probability, the model is let speak once, and what it says tells why:
a block of thinking, the beginning of the answer said again (so it never arrived), or something else.

What this module does not know: stores and runs, how a verdict is shown.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from cai.doctor.faults import Fault, Warned
from cai.doctor.harm import HarmFound, harm_found, harm_verdict
from cai.doctor.probes import FIRST_PAIRS, Asked, Probes
from cai.doctor.verdict import Figures, PairAnswer, figures_of, verdict
from cai.engine.chat_template import thinking_at
from cai.engine.position import Position
from cai.errors import EngineError, EngineRefusedError, RolesRefusedError
from cai.feedback import read_judgement
from cai.parts import Message
from cai.prompting import Prompts
from cai.request import THINKING_MARKS, Completion, GenerateRequest, Request, Sampling, ScoreRequest, Scores
from cai.template import Rendered

VERSION = 2
"""Raised whenever this package would come to another verdict from the same answers."""

SAID_TOKENS = 64
"""How much a model that does not name an option is let say."""


class AskBoth(Protocol):
    """The part of `ask` that is needed (`cai.ask.RowAsk`)."""

    async def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        """Ask for option probabilities."""

    async def generate(self, request: GenerateRequest) -> Completion:
        """Ask for a text."""

    def digest(self, request: Request) -> str:
        """A request's identity."""


Look = Callable[[ScoreRequest], Awaitable[Position]]
"""An engine's `position`."""


@dataclass(frozen=True)
class Patient:
    """Who is examined, and as what. `asks_turned`: whether its constitutions ask for the worse response.

    `prompts`: the run's own; `examples`: the worked judgements it is shown; `free`: prompts to be
    answered freely, each by its stage's name, with the tokens that it may take; `reasoned`: whether it
    reasons in its answer, by a template of its own; `rates_harm`: whether it rates single responses.
    """

    engine: str
    model: str
    prompts: Prompts
    min_option_mass: float = 0.5
    asks_turned: bool = True
    examples: tuple[Message, ...] = ()
    free: tuple[tuple[str, Rendered, int], ...] = ()
    reasoned: bool = False
    rates_harm: bool = False


@dataclass(frozen=True, slots=True)
class OptionMass:
    """Probability on the options: mean and least over the judgements; None where nobody can tell."""

    mean: float | None
    least: float | None
    abstained: int
    judgements: int


@dataclass(frozen=True)
class Diagnosis:
    """What was found of one model. `fault` None: fit to judge. `said`: what it said instead of A or B.

    `detail`: what an engine itself said of the fault. `requests`: how many were asked.
    """

    engine: str
    model: str
    fault: Fault | None
    warnings: tuple[Warned, ...] = ()
    detail: str = ""
    position: Position | None = None
    figures: Figures | None = None
    mass: OptionMass | None = None
    said: str = ""
    pairs: int = 0
    requests: int = 0
    context_tokens: int | None = None
    harm: HarmFound | None = None


async def examine(
    patient: Patient, probes: Probes | None, ask: AskBoth, look: Look | None = None
) -> Diagnosis:
    """Examine a model; as a judge where there are `probes`.

    `look`: None where the engine is not to be bothered. Raises: EngineError, StoreError.
    """
    try:
        sample = _sample(patient, probes)
        position = await look(sample) if look is not None and sample is not None else None
        fault = _seen(position)
        warnings = _warned(position)
        if fault is not None or probes is None:
            found = Diagnosis(patient.engine, patient.model, fault, warnings, position=position)
        else:
            found = await _judge(patient, probes, ask, position)
            if found.fault is None and patient.rates_harm and probes.harm:
                found = await _rate(patient, probes, ask, found)
    except RolesRefusedError as error:
        return refused(patient.engine, patient.model, error)
    if found.fault is not None or not patient.free:
        return found
    return await _speak(patient, ask, found)


def refused(engine: str, model: str, error: EngineRefusedError) -> Diagnosis:
    """The diagnosis of a model whose chat template refuses the prompts."""
    return Diagnosis(engine, model, Fault.ROLES_REFUSED, detail=error.problem)


def _sample(patient: Patient, probes: Probes | None) -> ScoreRequest | None:
    """A judgement to look at; the first pair, the better response as A."""
    if probes is None:
        return None
    return _pairs(patient, probes, range(1))[0].request


def _pairs(patient: Patient, probes: Probes, numbers: range) -> list[Asked]:
    return probes.requests(
        patient.engine, patient.prompts, numbers, patient.examples, reasoned=patient.reasoned
    )


def _seen(position: Position | None) -> Fault | None:
    """A fault that shows in the text alone."""
    if position is None:
        return None
    if position.bos is not None and position.bos > 1:
        return Fault.DOUBLE_BOS
    if position.thinking == "open":
        return Fault.NEVER_LEAVES_THINKING
    return Fault.PREFIX_SWALLOWED if position.prefix_stands is False else None


def _warned(position: Position | None) -> tuple[Warned, ...]:
    return (Warned.NO_TOKEN_IDS,) if position is not None and position.rendered_by == "server" else ()


async def _judge(patient: Patient, probes: Probes, ask: AskBoth, position: Position | None) -> Diagnosis:
    """Ask the pairs, and come to a verdict."""
    asked: list[Asked] = []
    scores: list[Scores] = []
    for begin, end in ((0, FIRST_PAIRS), (FIRST_PAIRS, len(probes.pairs))):
        numbers = range(begin, min(end, len(probes.pairs)))
        new = _pairs(patient, probes, numbers)
        asked += new
        scores += await ask.score([item.request for item in new])
        final = end >= len(probes.pairs)
        found, settled = await _conclude(patient, asked, scores, ask, position, final)
        if settled or final:
            return found
    raise AssertionError("the last stage is final")


async def _rate(patient: Patient, probes: Probes, ask: AskBoth, found: Diagnosis) -> Diagnosis:
    """Have single responses rated."""
    requests = probes.harm_requests(patient.engine, patient.prompts)
    scores = await ask.score(requests)
    harm = harm_found(probes, patient.prompts, scores, patient.min_option_mass)
    said = harm_verdict(harm)
    return replace(
        found,
        fault=said if isinstance(said, Fault) else None,
        warnings=(*found.warnings, said) if isinstance(said, Warned) else found.warnings,
        requests=found.requests + len(requests),
        harm=harm,
    )


async def _conclude(
    patient: Patient,
    asked: list[Asked],
    scores: list[Scores],
    ask: AskBoth,
    position: Position | None,
    final: bool,
) -> tuple[Diagnosis, bool]:
    """The diagnosis by what is known so far, and whether that is enough."""
    pairs, mass = _read(patient, asked, scores, ask)
    fault: Fault | None = None
    warnings = _warned(position)
    said = ""
    settled = True
    too_long = sum(score.finish == "too_long" for score in scores)
    if 2 * too_long > len(scores):
        fault = Fault.CONTEXT_TOO_SMALL
    elif 2 * mass.abstained >= mass.judgements:
        said = await _say(patient, asked, scores, ask)
        fault = _why_low(asked[0].request.rendered.answer_text, said)
    else:
        judged = verdict(pairs, patient.asks_turned, final)
        fault, settled = judged.fault, judged.settled
        warnings += judged.warnings
    if 2 * len(pairs) < len(asked) and fault is None:
        warnings += (Warned.NOT_ASKED,)
    found = Diagnosis(
        patient.engine,
        patient.model,
        fault,
        warnings,
        position=position,
        figures=figures_of(pairs),
        mass=mass,
        said=said,
        pairs=len(pairs),
        requests=len(asked) + bool(said),
    )
    return found, settled


def _read(
    patient: Patient, asked: Sequence[Asked], scores: Sequence[Scores], ask: AskBoth
) -> tuple[list[PairAnswer], OptionMass]:
    """Both orders of each pair put together, by the chain that reads a run's own judgements."""
    masses = [1.0 - score.outside for score in scores if score.outside is not None]
    rights: list[float | None] = []
    letters: list[float] = []
    for item, score in zip(asked, scores, strict=True):
        right = None
        if score.finish != "too_long":
            judgement = read_judgement(
                item.probe.principle, item.order, score, patient.min_option_mass, ask.digest(item.request)
            )
            right = judgement.probability
        rights.append(right)
        letters.append(_share_of_a(score.logprobs) if right is not None else 0.5)
    pairs = []
    for place in range(0, len(asked), 2):
        one, two = rights[place], rights[place + 1]
        if one is None or two is None:
            continue
        probe = asked[place].probe
        turned = probe.polarity == "worse"
        letter = (letters[place], letters[place + 1])
        pairs.append(PairAnswer(letter, (one + two) / 2, turned, probe.better_is_longer))
    answered = [r for r, score in zip(rights, scores, strict=True) if score.finish != "too_long"]
    mass = OptionMass(
        mean=math.fsum(masses) / len(masses) if masses else None,
        least=min(masses, default=None),
        abstained=sum(right is None for right in answered),
        judgements=len(answered),
    )
    return pairs, mass


def _share_of_a(logprobs: Sequence[float]) -> float:
    """P(A) of A and B."""
    log_a, log_b = logprobs
    return 1.0 / (1.0 + math.exp(min(700.0, max(-700.0, log_b - log_a))))


async def _say(patient: Patient, asked: Sequence[Asked], scores: Sequence[Scores], ask: AskBoth) -> str:
    """What the model says where it should name an option; empty where it cannot be asked that."""
    item, _ = min(zip(asked, scores, strict=True), key=lambda pair: -(pair[1].outside or 0.0))
    request = GenerateRequest(
        patient.engine,
        item.request.rendered,
        Sampling(max_tokens=SAID_TOKENS),
        labels={"stage": "doctor", "probe": item.probe.id},
    )
    try:
        return _spoken(await ask.generate(request))
    except EngineError:
        return ""  # a judge need not be able to write


def _spoken(answer: Completion) -> str:
    """What a model said, its thinking in its place; a block that left no text was not closed."""
    if not answer.reasoning:
        return answer.text
    begin, end = THINKING_MARKS[0]
    return f"{begin}{answer.reasoning}{end if answer.text.strip() else ''}{answer.text}"


def _why_low(beginning: str, said: str) -> Fault:
    if thinking_at(said) != "none":
        return Fault.NEVER_LEAVES_THINKING
    again = " ".join(said.split()).startswith(" ".join(beginning.split())) and beginning.strip()
    return Fault.PREFIX_SWALLOWED if again else Fault.LOW_OPTION_MASS


async def _speak(patient: Patient, ask: AskBoth, found: Diagnosis) -> Diagnosis:
    """Let the model answer freely, as the run's other stages will: does it get out of its thinking?"""
    fault = found.fault
    warnings = found.warnings
    said = found.said
    for stage, rendered, tokens in patient.free:
        request = GenerateRequest(
            patient.engine,
            rendered,
            Sampling(max_tokens=tokens),
            labels={"stage": "doctor", "probe": stage},
        )
        try:
            answer = await ask.generate(request)
        except RolesRefusedError as error:
            return refused(patient.engine, patient.model, error)
        state = thinking_at(_spoken(answer))
        if state == "open" or (answer.finish == "length" and not answer.text.strip()):
            fault, said = Fault.NEVER_LEAVES_THINKING, _spoken(answer)
        elif state == "closed":
            warnings += (Warned.THINKS_FIRST,)
    return replace(
        found,
        fault=fault,
        warnings=tuple(dict.fromkeys(warnings)),
        said=said,
        requests=found.requests + len(patient.free),
    )
