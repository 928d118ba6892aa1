"""Trials of wordings on the embedded model, for the figures of docs/principles.md.

One principle (`respect`) is tried in several wordings on the same made-up cases. Every case is of
the toy world, about topics that training did not pair with these flaws; its responses are equally
many sentences, one of which may be a planted flaw. So what a wording does is known, not guessed.

What this module does not know: the page (tests/fill_guide.py), what the wordings are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from cai.constitution_file import load_constitution
from cai.frozen import judge_plans, row_plans
from cai.outcome import Round
from cai.parts import Value
from cai.principle import Constitution, PrincipleTest
from cai.prompting import turn_values
from cai.revise import revise
from cai.run_folder import open_run
from cai.toy.flaws import KINDS, Kind
from cai.toy.topics import TOPICS
from cai.toy.world import QUESTIONS, Reply, Sentence, allowed
from cai.workbench.asking import Asking
from cai.workbench.known_answers import TestResult, run_tests

PRINCIPLE = "respect"
OTHER = "true-facts"
"""The flaw that stands against rudeness where a question must be read to be answered."""
CASES = 24
SEED = 5
_KIND = {kind.id: kind for kind in KINDS}


@dataclass(frozen=True)
class Case:
    """One question with three responses: sound, rude, and with a made-up fact. The same sentences otherwise."""

    question: str
    sound: Reply
    rude: Reply
    untrue: Reply


@dataclass(frozen=True)
class Judged:
    """How a judgement question did. `sound`: the sound response against the rude one; `untrue`: the
    untrue one against the rude one, where only the question says which is better."""

    sound: tuple[TestResult, ...]
    untrue: tuple[TestResult, ...]


@dataclass(frozen=True)
class Revised:
    """How a critique and a revision request did, as counts of cases.

    `found`: of rude responses, the critique quotes the rude sentence; `invented`: of the others, the
    critique finds something; `mended`: of rude ones, the sentence is gone and the others are there;
    `spoilt`: of the others, the revision is another text.
    """

    rude: int
    others: int
    found: int
    invented: int
    mended: int
    spoilt: int


def cases(count: int = CASES) -> list[Case]:
    """The same cases every time."""
    kinds = {PRINCIPLE, OTHER}
    unseen = [topic for topic in TOPICS if not kinds & {kind.id for kind in allowed(topic, "train")}]
    made = []
    for number in range(count):
        random = Random(f"guide {SEED} {number}")
        topic = unseen[number % len(unseen)]
        tips = [Sentence(tip) for tip in random.sample(topic.tips, 3)]
        place = random.randrange(3)

        def with_flaw(kind: Kind) -> Reply:
            flaw = Sentence(kind.sentence(random.randrange(len(kind.sentences)), topic), kind.id)  # noqa: B023
            return Reply(topic, tuple(flaw if at == place else tip for at, tip in enumerate(tips)))  # noqa: B023

        question = random.choice(QUESTIONS).format(task=topic.task)
        sound = Reply(topic, tuple(tips))
        made.append(Case(question, sound, with_flaw(_KIND[PRINCIPLE]), with_flaw(_KIND[OTHER])))
    return made


def judged(run: Path, files: Sequence[Path]) -> list[Judged]:
    """Each constitution's `respect` question, put to the run's judge about every case."""
    return asyncio.run(_judged(run, [load_constitution(file) for file in files]))


def revised(run: Path, files: Sequence[Path]) -> list[Revised]:
    """Each constitution's `respect` critique and revision, asked about every case."""
    return asyncio.run(_revised(run, [load_constitution(file) for file in files]))


def _alone(constitution: Constitution, tests: list[PrincipleTest]) -> Constitution:
    principle = next(each for each in constitution.principles if each.id == PRINCIPLE)
    return replace(constitution, principles=(principle.model_copy(update={"tests": tests}),))


def _tests(pairs: Sequence[tuple[str, Reply, Reply]]) -> list[PrincipleTest]:
    return [PrincipleTest(prompt=asked, better=good.text, worse=bad.text) for asked, good, bad in pairs]


async def _judged(run: Path, constitutions: Sequence[Constitution]) -> list[Judged]:
    made = cases()
    tests = [
        *_tests([(case.question, case.sound, case.rude) for case in made]),
        *_tests([(case.question, case.untrue, case.rude) for case in made]),
    ]
    found = []
    async with Asking(open_run(run)) as asking:
        for each in constitutions:
            plan = judge_plans(asking.inputs, each)[0]
            results = await run_tests(_alone(each, tests), plan, asking)
            found.append(Judged(tuple(results[: len(made)]), tuple(results[len(made) :])))
    return found


async def _revised(run: Path, constitutions: Sequence[Constitution]) -> list[Revised]:
    made = cases()
    found = []
    async with Asking(open_run(run)) as asking:
        for each in constitutions:
            rounds = await asyncio.gather(
                *(
                    _round(each, case.question, reply, asking)
                    for case in made
                    for reply in (case.rude, case.sound, case.untrue)
                )
            )
            found.append(counted(made, rounds))
    return found


async def _round(constitution: Constitution, question: str, reply: Reply, asking: Asking) -> Round:
    alone = _alone(constitution, [])
    inputs = replace(asking.inputs, constitutions={alone.name: alone})
    plan = row_plans(inputs)[alone.name].revise
    assert plan is not None
    ask = asking.for_row(f"{question} {reply.text}")
    turns = turn_values(_tests([(question, reply, reply)])[0].turns, "case")
    try:
        done = await revise(turns, Value(reply.text, "row", "case"), "case", replace(plan, rounds=1), ask)
    finally:
        asking.done(ask)
    return done.rounds[0]


def counted(made: Sequence[Case], rounds: Sequence[Round]) -> Revised:
    """The counts of rounds that stand in the order rude, sound, untrue for each case."""
    kind = _KIND[PRINCIPLE]
    rude = list(zip((case.rude for case in made), rounds[::3], strict=True))
    others = [
        *zip((case.sound for case in made), rounds[1::3], strict=True),
        *zip((case.untrue for case in made), rounds[2::3], strict=True),
    ]
    return Revised(
        rude=len(rude),
        others=len(others),
        found=sum(str(reply.flaw(kind.id)) in done.critique for reply, done in rude),
        invented=sum(not done.critique.startswith(kind.clean) for _, done in others),
        mended=sum(_mended(reply, done.text) for reply, done in rude),
        spoilt=sum(done.text.strip() != reply.text for reply, done in others),
    )


def _mended(reply: Reply, text: str) -> bool:
    kept = [sentence.text in text for sentence in reply.sentences if sentence.kind is None]
    return str(reply.flaw(PRINCIPLE)) not in text and all(kept)
