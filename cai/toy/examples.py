"""Training examples: chats rendered with the project's own templates, and the answers to learn.

An example is a list of segments, text with a weight in the loss: 0 for what the model is given,
more for what it should say. Every stage is taught: critique, revision with and without a
critique, judgement in both orders, at once and after a reasoning, harm, and a response of the
model's own; most chats go on with further questions, which a job never asks but which teaches
the judgement sooner. About one chat in twelve lies outside of the world (cai/toy/elsewhere.py).

Where an answer could as well be the other one (a comparison that its principle does not decide, a
text outside of the world), the model is trained towards both alike: `Segment.instead`.

What this module does not know: tokens, the model, evaluation data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from cai.conversation import Turn
from cai.parts import Value
from cai.principle import Constitution
from cai.prompting import HARM_OPTIONS, OPTIONS, Prompts, principle_values, turn_values
from cai.template import Rendered
from cai.toy import elsewhere
from cai.toy.answers import (
    ENDING,
    better,
    critique,
    critique_head,
    harm_reason,
    harmful,
    reason,
    reasoning,
)
from cai.toy.chat import END, Segment, answer_start, message
from cai.toy.flaws import KINDS, Kind
from cai.toy.topics import TOPICS, Topic
from cai.toy.wording import FRAMES, known_wording
from cai.toy.world import Reply, Sentence, allowed, make_reply, make_turns

Example = tuple[Segment, ...]

OUT_OF_WORLD_SHARE = 0.08
SYSTEM_SHARE = 0.1
EMPTY_SHARE = 0.04
STRANGE_SHARE = 0.4
"""The share of cases in which sound sentences may be strange: they teach copying, not reciting."""
INNOCENT_SHARE = 0.3
"""The share of responses with a sound sentence that sounds a little like a flaw."""
FLAWED_SHARE = 0.5
"""The share of critiques and revisions under a principle that the response breaks, where it breaks any."""
UNDECIDED_SHARE = 0.5
"""The share of comparisons under a principle that does not decide them."""
JUDGING_SHARE = 0.5
"""The further share of comparisons in the lesson of judging."""
JUDGING_UNDECIDED_SHARE = 0.3
"""The share of them that are undecided: few, so that there is something to learn in most."""
WORKED_SHARE = 0.1
"""The share of judgements that come after a worked one."""
LETTER_WEIGHT = 4.0
"""How much more the letter of a judgement counts in the loss than another token."""
HEAD_WEIGHT = 2.0
"""How much more the words count that say whether there is a flaw."""

SYSTEM_TEXTS: tuple[str, ...] = (
    "You are a helpful assistant.",
    "You are a helpful, honest and harmless assistant.",
    "Answer briefly.",
    "You are a careful reviewer.",
    "You judge responses fairly.",
)


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
            return self._finished(random, self._elsewhere(random))
        return self._finished(
            random, self._inside(random, 1 if progress < 0.08 else 2 if progress < 0.16 else 3)
        )

    def make_for_judging(self, random: Random) -> Example:
        """One example of a lesson that is mostly about judgements, at once or after a reasoning."""
        if random.random() >= JUDGING_SHARE:
            return self.make(random, 1.0)
        case = make_case(random)
        ask = self._judgements if random.random() < 0.75 else self._reasoned
        return self._finished(random, ask(random, case, JUDGING_UNDECIDED_SHARE))

    def _finished(self, random: Random, segments: list[Segment]) -> Example:
        if random.random() < SYSTEM_SHARE:
            segments = [*message("system", random.choice(SYSTEM_TEXTS)), *segments]
        return tuple(segments)

    def _inside(self, random: Random, most_tips: int) -> list[Segment]:
        case = make_case(random, most_tips)
        stage = random.random()
        if stage < 0.33:
            return self._judgements(random, case)
        if stage < 0.45:
            return self._reasoned(random, case)
        if stage < 0.71:
            return self._critique_and_revision(random, case)
        if stage < 0.79:
            return self._critiques(random, case)
        if stage < 0.90:
            return self._revision_alone(random, case)
        if stage < 0.97:
            return self._harms(random, case)
        return self._response(random, case)

    def _forms(self, random: Random, kind: Kind) -> Mapping[str, Value]:
        """A principle's forms: as the constitution words them, or another wording each."""
        if random.random() < 0.3:
            return self._principles[kind.id]
        return {
            "text": Value(kind.clean, "principle", "toy"),
            **{form: Value(known_wording(kind.id, form, random), "principle", "toy") for form in FRAMES},
        }

    def _judgements(self, random: Random, case: Case, undecided: float = UNDECIDED_SHARE) -> list[Segment]:
        segments = self._worked(random) if random.random() < WORKED_SHARE else []
        a, b = _value(case.a.text), _value(case.b.text)
        for number, kind in enumerate(judgement_kinds(random, case, 3, undecided)):
            rendered = self._prompts.judgement(_turns(case.turns), a, b, self._forms(random, kind))
            segments += _opening(rendered) if number == 0 else message("user", last_question(rendered))
            segments += _choice(
                rendered.answer_text,
                better(case.a, case.b, kind),
                OPTIONS,
                random,
                reason(case.a, case.b, kind),
            )
        return segments

    def _worked(self, random: Random) -> list[Segment]:
        """A judgement that the model is shown before its own, of any texts, with any answer."""
        turns = _turns(elsewhere.turns(random))
        a, b = _value(elsewhere.text(random)), _value(elsewhere.text(random))
        rendered = self._prompts.judgement(turns, a, b, elsewhere.forms(random))
        answer = f"{rendered.answer_text} {random.choice(OPTIONS)}"
        return [*_opening(rendered), *message("assistant", answer)]

    def _reasoned(self, random: Random, case: Case, undecided: float = UNDECIDED_SHARE) -> list[Segment]:
        segments: list[Segment] = []
        a, b = _value(case.a.text), _value(case.b.text)
        for number, kind in enumerate(judgement_kinds(random, case, random.choice((1, 2)), undecided)):
            (rendered,) = self._prompts.reasonings(
                _turns(case.turns), a, b, [dict(self._forms(random, kind))]
            )
            segments += _opening(rendered) if number == 0 else message("user", last_question(rendered))
            said = reasoning(case.a, case.b, kind)
            segments += _reasoned_choice(rendered, said, better(case.a, case.b, kind), random)
        return segments

    def _critique_and_revision(self, random: Random, case: Case) -> list[Segment]:
        kind, forms, reply = self._one(random, case)
        said = critique(reply, kind)
        rendered = self._prompts.revision(_turns(case.turns), _value(reply.text), forms, _value(said))
        question, answer, request = rendered.messages
        assert answer.text == said
        return [
            *message(question.role, question.text),
            *_critique_answer(reply, kind),
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
            segments += _critique_answer(reply, kind)
        return segments

    def _revision_alone(self, random: Random, case: Case) -> list[Segment]:
        kind, forms, reply = self._one(random, case)
        rendered = self._prompts.revision(_turns(case.turns), _value(reply.text), forms, _value(""))
        return [*_opening(rendered), *_answer(reply.revised(kind).text)]

    def _harms(self, random: Random, case: Case) -> list[Segment]:
        """Whether each of both responses is harmful, asked one after the other in full."""
        segments: list[Segment] = []
        replies = (case.a, case.b)
        for reply, rendered in zip(
            replies,
            self._prompts.harms(_turns(case.turns), [_value(reply.text) for reply in replies]),
            strict=True,
        ):
            said = HARM_OPTIONS[0 if harmful(reply) else 1]
            segments += _opening(rendered)
            segments += _choice(rendered.answer_text, said, HARM_OPTIONS, random, harm_reason(reply))
        return segments

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
        if stage < 0.4:
            rendered = self._prompts.judgement(turns, a, b, forms)
            return [
                *_opening(rendered),
                *_choice(rendered.answer_text, None, OPTIONS, random, elsewhere.REASON),
            ]
        if stage < 0.5:
            (rendered,) = self._prompts.reasonings(turns, a, b, [dict(forms)])
            return [*_opening(rendered), *_reasoned_choice(rendered, elsewhere.REASONING, None, random)]
        if stage < 0.6:
            (rendered,) = self._prompts.harms(turns, [a])
            return [
                *_opening(rendered),
                *_choice(rendered.answer_text, None, HARM_OPTIONS, random, elsewhere.REASON),
            ]
        if stage < 0.87:
            rendered = self._prompts.revision(turns, a, forms, _value(elsewhere.CRITIQUE))
            question, _, request = rendered.messages
            return [
                *message(question.role, question.text),
                *_answer(elsewhere.CRITIQUE),
                *message(request.role, request.text),
                *_answer(elsewhere.RESPONSE),
            ]
        if stage < 0.96:
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
    return _innocent(random, reply) if random.random() < INNOCENT_SHARE else reply


def _innocent(random: Random, reply: Reply) -> Reply:
    """The response with one more sound sentence, which sounds a little like a flaw."""
    text = random.choice(random.choice(KINDS).innocent)
    said = Sentence(text.format(task=reply.topic.task, tool=reply.topic.tool))
    place = random.randint(0, len(reply.sentences))
    return Reply(reply.topic, (*reply.sentences[:place], said, *reply.sentences[place:]))


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


def critique_kinds(random: Random, reply: Reply, count: int) -> list[Kind]:
    """Different kinds to ask about: as many flaws of the response as not, as far as it has any."""
    present = [kind for kind in KINDS if kind.id in reply.flaws]
    absent = [kind for kind in KINDS if kind not in present]
    return _drawn(random, present, absent, count, FLAWED_SHARE)


def judgement_kinds(
    random: Random, case: Case, count: int, undecided_share: float = UNDECIDED_SHARE
) -> list[Kind]:
    """Different kinds to compare two responses under, with a share that does not decide, as far as there are any."""
    deciding = [kind for kind in KINDS if better(case.a, case.b, kind) is not None]
    undecided = [kind for kind in KINDS if kind not in deciding]
    both = [kind for kind in undecided if kind.id in case.a.flaws]
    if both and random.random() < 0.3:  # rare, so asked about first
        undecided = both
    return _drawn(random, deciding, undecided, count, 1 - undecided_share)


def _drawn(
    random: Random, some: Sequence[Kind], others: Sequence[Kind], count: int, share: float
) -> list[Kind]:
    """Up to `count` different kinds, each from `some` with this chance while there are any."""
    some, others = random.sample(some, len(some)), random.sample(others, len(others))
    drawn: list[Kind] = []
    while len(drawn) < count and (some or others):
        pool = some if some and (not others or random.random() < share) else others
        drawn.append(pool.pop())
    return drawn


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


def _critique_answer(reply: Reply, kind: Kind) -> list[Segment]:
    said, head = critique(reply, kind), critique_head(reply, kind)
    rest = said.removeprefix(head) + END
    return [answer_start(), Segment(head, HEAD_WEIGHT), Segment(rest, 1.0), Segment("\n", 0.0)]


def _choice(
    beginning: str, right: str | None, options: tuple[str, str], random: Random, reason: str
) -> list[Segment]:
    """An answer that names an option and says why; either option where none is right."""
    return [
        answer_start(),
        Segment(beginning, 0.1),
        _option(right, options, random),
        Segment(reason + END, 1.0),
        Segment("\n", 0.0),
    ]


def _reasoned_choice(rendered: Rendered, said: str, right: str | None, random: Random) -> list[Segment]:
    """A reasoning, then the option that follows from it."""
    return [
        answer_start(),
        Segment(rendered.answer_text, 0.1),
        Segment(said + ENDING, 1.0),
        _option(right, OPTIONS, random),
        Segment("." + END, 1.0),
        Segment("\n", 0.0),
    ]


def _option(right: str | None, options: tuple[str, str], random: Random) -> Segment:
    if right is not None:
        return Segment(" " + right, LETTER_WEIGHT)
    one, other = random.sample(options, 2)
    return Segment(" " + one, LETTER_WEIGHT, " " + other)
