"""Training examples: chats rendered with the project's own templates, and the answers to learn.

An example is a list of segments, text with a weight in the loss: 0 for what the model is given,
more for what it should say. Every stage is taught: critique, revision with and without a
critique, judgement in both orders, and a response of the model's own; some chats go on with the
same question under other principles, which a job never asks but which teaches the judgement
sooner. About one chat in twelve lies outside of the world (cai/toy/elsewhere.py).

What this module does not know: tokens, the model, evaluation data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from cai.conversation import Turn
from cai.parts import Value
from cai.principle import Constitution
from cai.prompting import OPTIONS, Prompts, principle_values, turn_values
from cai.template import Rendered
from cai.toy import elsewhere
from cai.toy.chat import END, Segment, answer_start, message
from cai.toy.flaws import EMPTY_CRITIQUE, KINDS, Kind
from cai.toy.topics import TOPICS, Topic
from cai.toy.wording import FRAMES, known_wording
from cai.toy.world import Reply, Sentence, allowed, make_reply, make_turns

Example = tuple[Segment, ...]

OUT_OF_WORLD_SHARE = 0.08
SYSTEM_SHARE = 0.1
EMPTY_SHARE = 0.04
STRANGE_SHARE = 0.4
"""The share of cases in which sound sentences may be strange: they teach copying, not reciting."""
LETTER_WEIGHT = 4.0
"""How much more the letter of a judgement counts in the loss than another token."""

SYSTEM_TEXTS: tuple[str, ...] = (
    "You are a helpful assistant.",
    "You are a helpful, honest and harmless assistant.",
    "Answer briefly.",
    "You are a careful reviewer.",
    "You judge responses fairly.",
)
_KIND: dict[str, Kind] = {kind.id: kind for kind in KINDS}


@dataclass(frozen=True, slots=True)
class Case:
    """What a chat is about: the turns of a prompt and the responses to it (two, or one twice)."""

    turns: tuple[Turn, ...]
    a: Reply
    b: Reply


class ExampleMaker:
    """Makes training examples from templates, the toy constitution and the world's train split."""

    def __init__(self, prompts: Prompts, constitution: Constitution) -> None:
        self._prompts = prompts
        self._principles = {p.id: principle_values(constitution, p) for p in constitution.principles}

    def make(self, random: Random, progress: float) -> Example:
        """One example. `progress`, 0 to 1, is how far training is: early examples are shorter."""
        if random.random() < OUT_OF_WORLD_SHARE:
            segments = self._elsewhere(random)
        else:
            segments = self._inside(random, 1 if progress < 0.12 else 2 if progress < 0.25 else 3)
        if random.random() < SYSTEM_SHARE:
            segments = [*message("system", random.choice(SYSTEM_TEXTS)), *segments]
        return tuple(segments)

    def _inside(self, random: Random, most_tips: int) -> list[Segment]:
        case = make_case(random, most_tips)
        stage = random.random()
        if stage < 0.45:
            return self._judgements(random, case)
        if stage < 0.75:
            return self._critique_and_revision(random, case)
        if stage < 0.83:
            return self._critiques(random, case)
        if stage < 0.96:
            return self._revision_alone(random, case)
        return self._response(random, case)

    def _forms(self, random: Random, kind: Kind) -> Mapping[str, Value]:
        """A principle's forms: as the constitution words them, or another wording each."""
        if random.random() < 0.3:
            return self._principles[kind.id]
        return {
            "text": Value(kind.clean, "principle", "toy"),
            **{form: Value(known_wording(kind.id, form, random), "principle", "toy") for form in FRAMES},
        }

    def _judgements(self, random: Random, case: Case) -> list[Segment]:
        kinds = judgement_kinds(random, case, random.choice((2, 3, 3)))
        return self._judged(random, case, [(kind, judgement(random, case, kind)) for kind in kinds])

    def _judged(
        self, random: Random, case: Case, labels: list[tuple[Kind, tuple[str, str]]]
    ) -> list[Segment]:
        a, b = _value(case.a.text), _value(case.b.text)
        segments: list[Segment] = []
        for number, (kind, (letter, reason)) in enumerate(labels):
            rendered = self._prompts.judgement(_turns(case.turns), a, b, self._forms(random, kind))
            segments += _opening(rendered) if number == 0 else message("user", last_question(rendered))
            segments += _letter_answer(rendered, letter, reason)
        return segments

    def _critique_and_revision(self, random: Random, case: Case) -> list[Segment]:
        kind, forms, reply = self._one(random, case)
        said = critique(reply, kind)
        rendered = self._prompts.revision(_turns(case.turns), _value(reply.text), forms, _value(said))
        question, answer, request = rendered.messages
        assert answer.text == said
        return [
            *message(question.role, question.text),
            *_answer(said),
            *message(request.role, request.text),
            *_answer(reply.revised(kind).text),
        ]

    def _critiques(self, random: Random, case: Case) -> list[Segment]:
        reply = case.a
        segments: list[Segment] = []
        for number, kind in enumerate(critique_kinds(random, reply, random.choice((2, 3)))):
            rendered = self._prompts.critique(
                _turns(case.turns), _value(reply.text), self._forms(random, kind)
            )
            segments += _opening(rendered) if number == 0 else message("user", last_question(rendered))
            segments += _answer(critique(reply, kind))
        return segments

    def _revision_alone(self, random: Random, case: Case) -> list[Segment]:
        kind, forms, reply = self._one(random, case)
        rendered = self._prompts.revision(_turns(case.turns), _value(reply.text), forms, _value(""))
        return [*_opening(rendered), *_answer(reply.revised(kind).text)]

    def _response(self, random: Random, case: Case) -> list[Segment]:
        rendered = self._prompts.response(_turns(case.turns))
        return [*_opening(rendered), *_answer(case.a.text, 0.5)]

    def _one(self, random: Random, case: Case) -> tuple[Kind, Mapping[str, Value], Reply]:
        kind = critique_kinds(random, case.a, 1)[0]
        return kind, self._forms(random, kind), case.a

    def _elsewhere(self, random: Random) -> list[Segment]:
        turns = _turns(elsewhere.turns(random))
        a, b = _value(elsewhere.text(random)), _value(elsewhere.text(random))
        known = self._forms(random, random.choice(KINDS))
        forms = known if random.random() < 0.5 else elsewhere.forms(random)
        stage = random.random()
        if stage < 0.5:
            rendered = self._prompts.judgement(turns, a, b, forms)
            return [*_opening(rendered), *_letter_answer(rendered, random.choice(OPTIONS), elsewhere.REASON)]
        if stage < 0.85:
            rendered = self._prompts.revision(turns, a, forms, _value(elsewhere.CRITIQUE))
            question, _, request = rendered.messages
            return [
                *message(question.role, question.text),
                *_answer(elsewhere.CRITIQUE),
                *message(request.role, request.text),
                *_answer(elsewhere.RESPONSE),
            ]
        if stage < 0.95:
            return [
                *_opening(self._prompts.revision(turns, a, forms, _value(""))),
                *_answer(elsewhere.RESPONSE),
            ]
        return [*_opening(self._prompts.response(turns)), *_answer(elsewhere.RESPONSE)]


def make_case(random: Random, most_tips: int = 3) -> Case:
    """A prompt of the train split with two responses, made apart or one out of the other."""
    topic = random.choice(TOPICS)
    strange = 0.5 if random.random() < STRANGE_SHARE else 0.0
    a = _strange(random, _reply(random, topic, most_tips), strange)
    if random.random() < 0.5:
        b = _strange(random, _reply(random, topic, most_tips), strange)
    else:
        b = a
        for kind in random.sample(KINDS, random.choice((3, 5, 8))):
            b = b.revised(kind)
    if random.random() < 0.5:
        a, b = b, a
    turns = make_turns(random, topic)
    return Case(turns if most_tips > 1 else turns[:1], a, b)


def _reply(random: Random, topic: Topic, most_tips: int) -> Reply:
    if random.random() < EMPTY_SHARE:
        return Reply(topic, ())
    kinds = allowed(topic, "train")
    reply = make_reply(random, topic, random.sample(kinds, random.choice((0, 1, 1, 2, 2, 3))), most_tips)
    if random.random() < 0.25:  # as if an earlier round had revised it
        reply = reply.revised(random.choice(kinds))
    return reply


def _strange(random: Random, reply: Reply, share: float) -> Reply:
    """The response with a share of its sound sentences in words that can only be copied."""
    sentences = (
        Sentence(elsewhere.plain_sentence(random)) if s.kind is None and random.random() < share else s
        for s in reply.sentences
    )
    return Reply(reply.topic, tuple(sentences))


def repetition(random: Random) -> Example:
    """Say again what the user said, word by word: what a model must learn first, to quote and rewrite."""
    said = " ".join(elsewhere.plain_sentence(random) for _ in range(random.randint(1, 4)))
    return (*message("user", said), *_answer(said))


def critique(reply: Reply, kind: Kind) -> str:
    """The sound critique of a response under one kind's principle."""
    return kind.critique(reply.flaw(kind.id)) if reply.sentences else EMPTY_CRITIQUE


def critique_kinds(random: Random, reply: Reply, count: int) -> list[Kind]:
    """Kinds to ask about: the first is a flaw of the response, as a rule, the others may not be."""
    present = [kind for kind in KINDS if kind.id in reply.flaws]
    chosen = [random.choice(present)] if present and random.random() < 0.75 else []
    others = [kind for kind in KINDS if kind not in chosen]
    present_others = [kind for kind in present if kind not in chosen]
    while len(chosen) < count:
        pool = present_others if present_others and random.random() < 0.5 else others
        kind = random.choice(pool)
        chosen.append(kind)
        others = [other for other in others if other is not kind]
        present_others = [other for other in present_others if other is not kind]
    random.shuffle(chosen)
    return chosen


def judgement_kinds(random: Random, case: Case, count: int) -> list[Kind]:
    """Kinds to compare two responses under: those that decide come first, then some that do not."""
    a, b = set(case.a.flaws), set(case.b.flaws)
    deciding = [_KIND[kind] for kind in sorted(a ^ b)]
    both = [_KIND[kind] for kind in sorted(a & b)]
    neither = [kind for kind in KINDS if kind.id not in a | b]
    random.shuffle(deciding)
    ties = [random.choice(both)] if both and random.random() < 0.3 else []
    if not ties and (not deciding or random.random() < 0.35):
        ties = [random.choice(neither or both)]
    chosen = [*deciding[: count - len(ties)], *ties]
    random.shuffle(chosen)
    return chosen


def judgement(random: Random, case: Case, kind: Kind) -> tuple[str, str]:
    """The letter of the better response under one kind (either, at random, in a tie), and why."""
    flawed = [kind.id in case.a.flaws, kind.id in case.b.flaws]
    if flawed[0] == flawed[1]:
        reason = "both responses do that" if flawed[0] else "neither response does that"
        return random.choice(OPTIONS), f" because {reason}."
    bad = flawed.index(True)
    reply = (case.a, case.b)[bad]
    quoted = reply.flaw(kind.id)
    said = f'says "{quoted}"' if quoted is not None else "is empty."
    return OPTIONS[1 - bad], f" because Response {OPTIONS[bad]} {said}"


def last_question(rendered: Rendered) -> str:
    """The end of a prompt's last message: the principle's form and what follows it."""
    parts = rendered.messages[-1].parts
    start = max(index for index, part in enumerate(parts) if part.kind == "principle")
    return "".join(part.text for part in parts[start:])


def _turns(turns: Sequence[Turn]) -> list[dict[str, object]]:
    return turn_values(turns, "toy")


def _value(text: str) -> Value:
    return Value(text, "model", "toy")


def _opening(rendered: Rendered) -> list[Segment]:
    return [segment for m in rendered.messages for segment in message(m.role, m.text)]


def _answer(text: str, weight: float = 1.0) -> list[Segment]:
    return [answer_start(), Segment(text + END, weight), Segment("\n", 0.0)]


def _letter_answer(rendered: Rendered, letter: str, reason: str) -> list[Segment]:
    return [
        answer_start(),
        Segment(rendered.answer_text, 0.1),
        Segment(" " + letter, LETTER_WEIGHT),
        Segment(reason + END, 1.0),
        Segment("\n", 0.0),
    ]
