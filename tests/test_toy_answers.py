"""What is right to say in the toy world, worked by hand, and that training asks for it evenly."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from cai.constitution_file import load_constitution
from cai.prompting import HARM_OPTIONS, OPTIONS, load_prompts
from cai.reasoning import without_answer
from cai.shipped import shipped
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
from cai.toy.examples import Case, ExampleMaker, critique_kinds, judgement_kinds, make_case
from cai.toy.flaws import KINDS
from cai.toy.topics import TOPICS
from cai.toy.world import Reply, Sentence, make_turns

BREAD = TOPICS[0]
KIND = {kind.id: kind for kind in KINDS}
SOUND = Reply(BREAD, (Sentence(BREAD.tips[1]),))
EMPTY = Reply(BREAD, ())


def flawed(*kinds: str) -> Reply:
    """A tip, then the first flaw of each kind."""
    flaws = tuple(Sentence(KIND[kind].sentence(0, BREAD), kind) for kind in kinds)
    return Reply(BREAD, (Sentence(BREAD.tips[1]), *flaws))


def test_the_better_response_is_the_one_without_the_flaw_that_the_principle_is_about() -> None:
    assert better(flawed("respect"), SOUND, KIND["respect"]) == "B"
    assert better(SOUND, flawed("respect"), KIND["respect"]) == "A"
    assert better(SOUND, flawed("respect"), KIND["safety"]) is None
    assert better(flawed("respect"), flawed("respect", "safety"), KIND["respect"]) is None
    assert better(EMPTY, SOUND, KIND["openness"]) == "B"


def test_a_judgements_reason_quotes_the_worse_response() -> None:
    assert reason(flawed("respect"), SOUND, KIND["respect"]) == (
        ' because Response A says "Only a fool would ask about baking bread."'
    )
    assert reason(SOUND, EMPTY, KIND["openness"]) == " because Response B is empty."
    assert reason(SOUND, flawed("respect"), KIND["safety"]) == " because neither response does that."
    both = flawed("safety")
    assert reason(both, both, KIND["safety"]) == " because both responses do that."


def test_a_reasoning_says_of_each_response_how_it_stands() -> None:
    assert reasoning(SOUND, flawed("respect"), KIND["respect"]) == (
        " Response A is polite to the user. Response B is rude to the user: "
        '"Only a fool would ask about baking bread." That is hurtful.'
    )
    assert reasoning(EMPTY, SOUND, KIND["openness"]) == (
        " Response A is empty. Response B does not dodge the question."
    )
    assert reasoning(SOUND, SOUND, KIND["safety"]) == (
        " Response A gives no unsafe advice. Response B gives no unsafe advice. "
        "Neither is better than the other."
    )


def test_a_job_takes_the_named_answer_off_a_reasoning_and_nothing_else() -> None:
    for kind in KINDS:
        for a, b in ((SOUND, flawed(kind.id)), (flawed(kind.id), SOUND), (SOUND, EMPTY), (SOUND, SOUND)):
            said = reasoning(a, b, kind)
            assert without_answer(f"{said}{ENDING} A.") == said


def test_a_critique_begins_with_the_words_that_decide() -> None:
    for reply in (SOUND, EMPTY, flawed("safety"), flawed("respect", "openness")):
        for kind in KINDS:
            assert critique(reply, kind).startswith(critique_head(reply, kind))
    assert critique_head(flawed("safety"), KIND["safety"]) == "The response gives unsafe advice"
    assert critique_head(flawed("safety"), KIND["respect"]) == "The response is polite to the user."


def test_what_hurts_wrongs_deceives_or_demeans_is_harmful_and_what_is_of_no_help_is_not() -> None:
    kinds = {kind.id for kind in KINDS if harmful(flawed(kind.id))}
    assert kinds == {"safety", "true-facts", "respect", "privacy", "fairness", "honest-self"}
    assert not harmful(SOUND)
    assert not harmful(EMPTY)
    assert not harmful(flawed("openness", "no-preaching"))
    assert harmful(flawed("openness", "safety"))
    assert harm_reason(flawed("openness")) == " because it harms nobody."
    assert harm_reason(flawed("openness", "respect")) == (
        ' because it says "Only a fool would ask about baking bread." That is hurtful.'
    )


def test_an_innocent_sentence_is_none_of_the_flaws() -> None:
    for topic in TOPICS:
        flaws = {kind.sentence(n, topic) for kind in KINDS for n in range(len(kind.sentences))}
        for kind in KINDS:
            said = {text.format(task=topic.task, tool=topic.tool) for text in kind.innocent}
            assert len(said) == len(kind.innocent)
            assert not said & flaws


def test_critiques_are_asked_for_as_often_where_nothing_is_wrong_as_where_something_is() -> None:
    random, reply = Random(1), flawed("safety", "respect")
    asked = [critique_kinds(random, reply, 1)[0].id in reply.flaws for _ in range(2000)]
    assert sum(asked) / len(asked) == pytest.approx(0.5, abs=0.04)
    for count in (1, 2, 3):
        kinds = critique_kinds(random, reply, count)
        assert len({kind.id for kind in kinds}) == count


def test_comparisons_are_asked_for_as_often_where_they_are_undecided_as_where_they_are_not() -> None:
    random = Random(1)
    turns = make_turns(random, BREAD)
    case = Case(turns, flawed("safety", "respect"), flawed("privacy", "fairness"))
    asked = [
        better(case.a, case.b, kind) is None for _ in range(2000) for kind in judgement_kinds(random, case, 2)
    ]
    assert sum(asked) / len(asked) == pytest.approx(0.5, abs=0.04)
    assert len(judgement_kinds(random, Case(turns, SOUND, SOUND), 3)) == 3


def test_training_names_each_option_as_often_as_the_other_and_both_where_none_is_right() -> None:
    maker = ExampleMaker(
        load_prompts(shipped("prompts"), "chat"), load_constitution(shipped("principles/toy.yaml"))
    )
    seen: Counter[tuple[str, bool]] = Counter()
    names = {" " + option for option in (*OPTIONS, *HARM_OPTIONS)}
    for number in range(3000):
        for segment in maker.make(Random(number), 1.0):
            if segment.weight and segment.text in names:
                seen[segment.text, segment.instead is not None] += 1
                assert segment.instead is None or {segment.text, segment.instead} in (
                    {" A", " B"},
                    {" True", " False"},
                )
    for one, other in ((" A", " B"), (" True", " False")):
        for undecided in (False, True):
            both = seen[one, undecided] + seen[other, undecided]
            assert seen[one, undecided] / both == pytest.approx(0.5, abs=5 * 0.5 / both**0.5)


def test_the_responses_of_training_are_of_the_topic_that_the_question_is_about() -> None:
    case = make_case(Random(4))
    assert case.a.topic == case.b.topic
    assert case.a.topic.task in case.turns[0].text
