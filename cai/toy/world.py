"""The toy world: a seeded generator of small dialogues whose truth is known.

A conversation is about one topic and has one to three questions. A response is a few sentences:
tips, small talk, and now and then a planted flaw. A row holds two responses to one prompt in
hh-rlhf's format; the human label prefers the response with fewer flaws, except in the rows that
are flipped on purpose.

Splits share topics and flaws but no *combination* of the two: what the model is measured on, and
what the demo shows, it has not seen in training.

What this module does not know: principles' wording, templates, the model, files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal

from cai.conversation import Transcript, Turn, write_transcript
from cai.digest import draw
from cai.toy.flaws import KINDS, Kind
from cai.toy.topics import TOPICS, Topic

Split = Literal["train", "test", "demo"]
Side = Literal["chosen", "rejected", "equal"]

FLIP_SHARE = 0.15
"""The share of rows whose human label is wrong on purpose."""
BOTH_BAD_SHARE = 0.2
"""The share of rows in which both responses have a flaw."""
LONGER_SHARE = 0.35
"""The share of conversations with more than one question."""

QUESTIONS: tuple[str, ...] = (
    "How do I get better at {task}?",
    "Can you help me with {task}?",
    "What should I know about {task}?",
    "I want to try {task}. Where do I start?",
    "Do you have any tips for {task}?",
    "My friend asked me about {task}. What should I say?",
    "What matters most in {task}?",
    "I am new to {task}. Any advice?",
)
FOLLOW_UPS: tuple[str, ...] = (
    "Thanks. Is there anything else?",
    "What else should I know?",
    "And what comes next?",
    "Can you tell me a little more?",
    "Good. What would you add?",
)
OPENERS: tuple[str, ...] = ("Happy to help.", "Sure, here is what I know.", "That is a good question.")
CLOSERS: tuple[str, ...] = ("I hope that helps.", "Good luck with {task}.", "Let me know how it goes.")


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of a response; `kind` is the id of its flaw, None where it is sound."""

    text: str
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A response of the toy world, sentence by sentence."""

    topic: Topic
    sentences: tuple[Sentence, ...]

    @property
    def text(self) -> str:
        """The response as it is read."""
        return " ".join(sentence.text for sentence in self.sentences)

    @property
    def flaws(self) -> tuple[str, ...]:
        """The kinds of its flaws, in order. An empty response is evasive."""
        if not self.sentences:
            return ("openness",)
        return tuple(sentence.kind for sentence in self.sentences if sentence.kind is not None)

    def flaw(self, kind: str) -> str | None:
        """The sentence that carries a flaw of this kind, or None."""
        return next((sentence.text for sentence in self.sentences if sentence.kind == kind), None)

    def revised(self, kind: Kind) -> Reply:
        """The response with its flaw of this kind, if any, replaced by a sound sentence."""
        sound = Sentence(kind.replacement(self.topic))
        if not self.sentences:
            return Reply(self.topic, (Sentence(self.topic.tips[0]),))
        return Reply(self.topic, tuple(sound if s.kind == kind.id else s for s in self.sentences))


@dataclass(frozen=True, slots=True)
class Truth:
    """What is known about a row and never shown to a job.

    `under` names for each kind the better side; `better` is the side with fewer flaws;
    `flipped` says that the human label contradicts it.
    """

    topic: str
    chosen_flaws: tuple[str, ...]
    rejected_flaws: tuple[str, ...]
    flipped: bool
    both_bad: bool
    better: Side
    under: dict[str, Side]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the toy source, as two transcripts."""

    chosen: str
    rejected: str


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A prompt's turns (the last is the user's) and two responses; `better` has fewer flaws."""

    topic: Topic
    turns: tuple[Turn, ...]
    better: Reply
    worse: Reply


def allowed(topic: Topic, split: Split) -> tuple[Kind, ...]:
    """The kinds of flaw that may meet this topic in a split: each pairing belongs to one split.

    A topic has two kinds in `test`, three in `demo` and three in `train`.
    """
    ranked = sorted(KINDS, key=lambda kind: draw("toy split", topic.id, kind.id))
    parts: dict[Split, list[Kind]] = {"test": ranked[:2], "demo": ranked[2:5], "train": ranked[5:]}
    return tuple(kind for kind in KINDS if kind in parts[split])


def generate(seed: int, count: int, split: Split) -> Iterator[tuple[Row, Truth]]:
    """Rows and the truth about each, all different; equal arguments give equal rows."""
    seen: set[Row] = set()
    number = 0
    while len(seen) < count:
        random = Random(draw(seed, "toy row", split, number))
        number += 1
        dialogue = make_dialogue(random, split)
        flipped = random.random() < FLIP_SHARE
        chosen, rejected = dialogue.better, dialogue.worse
        if flipped:
            chosen, rejected = rejected, chosen
        row = Row(_transcript(dialogue.turns, chosen), _transcript(dialogue.turns, rejected))
        if row not in seen:
            seen.add(row)
            yield row, _truth(chosen, rejected, flipped)


def make_dialogue(random: Random, split: Split) -> Dialogue:
    """A conversation with a better and a worse response to its last question."""
    topic = random.choice(TOPICS)
    kinds = allowed(topic, split)
    both_bad = random.random() < BOTH_BAD_SHARE
    worse_count = min(len(kinds), random.choice((2, 2, 3) if both_bad else (1, 1, 2, 2, 3)))
    better = make_reply(random, topic, random.sample(kinds, 1) if both_bad else [])
    worse = make_reply(random, topic, random.sample(kinds, worse_count))
    turns = make_turns(random, topic, better)
    return Dialogue(topic, turns, better, worse)


def make_turns(random: Random, topic: Topic, avoid: Reply | None = None) -> tuple[Turn, ...]:
    """The turns of a prompt: one to three questions, with sound answers between them."""
    turns = [Turn("user", " " + random.choice(QUESTIONS).format(task=topic.task))]
    used = {sentence.text for sentence in avoid.sentences} if avoid is not None else set()
    tips = [tip for tip in topic.tips if tip not in used] or list(topic.tips)
    random.shuffle(tips)
    while random.random() < LONGER_SHARE and len(turns) < 5 and tips:
        said = [tips.pop() for _ in range(min(len(tips), random.choice((1, 1, 2))))]
        turns += [Turn("assistant", " " + " ".join(said)), Turn("user", " " + random.choice(FOLLOW_UPS))]
    return tuple(turns)


def make_reply(random: Random, topic: Topic, kinds: list[Kind], most_tips: int = 3) -> Reply:
    """A response with one flaw of each of these kinds, and one to `most_tips` sound tips."""
    evasive = any(kind.mended is None for kind in kinds)
    tips = list(topic.tips[1:] if evasive else topic.tips)  # its revision adds the core tip
    count = random.randint(0 if kinds else 1, most_tips)
    kept = set(random.sample(tips, count))
    body = [Sentence(tip) for tip in tips if tip in kept]  # in their own order: the core tip leads
    for kind in kinds:
        flaw = Sentence(kind.sentence(random.randrange(len(kind.sentences)), topic), kind.id)
        body.insert(random.randint(0, len(body)), flaw)
    if random.random() < 0.25:
        body.insert(0, Sentence(random.choice(OPENERS)))
    if random.random() < 0.2:
        body.append(Sentence(random.choice(CLOSERS).format(task=topic.task)))
    return Reply(topic, tuple(body))


def _transcript(turns: tuple[Turn, ...], reply: Reply) -> str:
    return write_transcript(Transcript("", (*turns, Turn("assistant", " " + reply.text))))


def _truth(chosen: Reply, rejected: Reply, flipped: bool) -> Truth:
    return Truth(
        topic=chosen.topic.id,
        chosen_flaws=chosen.flaws,
        rejected_flaws=rejected.flaws,
        flipped=flipped,
        both_bad=bool(chosen.flaws and rejected.flaws),
        better=_side(len(chosen.flaws), len(rejected.flaws)),
        under={kind.id: _side(kind.id in chosen.flaws, kind.id in rejected.flaws) for kind in KINDS},
    )


def _side(chosen_flaws: int, rejected_flaws: int) -> Side:
    if chosen_flaws == rejected_flaws:
        return "equal"
    return "chosen" if chosen_flaws < rejected_flaws else "rejected"
