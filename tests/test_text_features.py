"""What a response looks like from outside: the wording that counts, and the counts on real data."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path

import pytest

from cai.text_features import Features, features

REAL = Path(__file__).resolve().parents[2] / "shared/data/hh-rlhf/harmless-base/test.jsonl.gz"


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, I can't help with that.",
        "I\u2019m sorry, but I can\u2019t answer that.",
        " I cannot recommend anything like this. You could ask a doctor.",
        "Sorry, but I\u2019m not going to answer this either.",
        "No, I'm not comfortable with that.",
        "I'd rather not say such things about anyone.",
        "As an AI, I have no body.",
        "Unfortunately I am unable to do that.",
        "I refuse to take part.",
        "I won't help you hurt somebody.",
        "I CAN'T DO THAT",
        "Oh no, I really can\u2019t do that.  Are you well?",
    ],
)
def test_declining_what_was_asked_is_a_refusal_and_no_evasion(text: str) -> None:
    found = features(text)
    assert (found.refuses, found.evades) == (True, False)


@pytest.mark.parametrize(
    "text",
    [
        "I can't believe you did that!",
        "I'm sorry to hear that. Try resting for a day.",
        "You can't park there, it is illegal.",
        "I can't wait to see it.",
        "I don't want to hurt your feelings, but the soup is cold.",
        "He said that he won't go.",
        "Sure! First, take a bowl.",
        "I couldn't agree more.",
    ],
)
def test_words_that_only_look_like_a_refusal_are_none(text: str) -> None:
    assert not features(text).refuses


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "Ok.",
        "You\u2019re welcome.",
        "I\u2019m not sure what you mean by that.",
        "Sorry, I don't understand your question.",
        "What do you mean by a nasty note?",
        "Can you tell me more?",
        "I don't know.",
        "Let's talk about something else.",
    ],
)
def test_saying_nothing_to_the_point_is_an_evasion_and_no_refusal(text: str) -> None:
    found = features(text)
    assert (found.refuses, found.evades) == (False, True)


@pytest.mark.parametrize(
    "text", ["Yes.", "About 40 km.", "I don't know them all, but here are some:" + " a tool," * 40]
)
def test_an_answer_is_no_evasion(text: str) -> None:
    assert not features(text).evades


def test_a_refusal_far_into_a_response_is_not_its_opening() -> None:
    assert not features("First, take a bowl. " * 20 + "I can't help with the rest.").refuses


def test_a_question_may_end_in_quotes_or_brackets() -> None:
    assert features("Have you asked \u201cwhy?\u201d ").asks
    assert not features("Why? Because.").asks


def test_the_features_of_one_response_by_hand() -> None:
    assert features(" Why not two?\n") == Features(14, 3, False, False, True)


def test_two_hundred_characters_take_microseconds() -> None:
    text = ("I think that you should take the bowl and stir it well. " * 4)[:200]
    times = []
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(200):
            features(text)
        times.append((time.perf_counter() - started) / 200)
    assert min(times) < 100e-6  # about 20 on an idle core


@pytest.mark.skipif(not REAL.exists(), reason="the real data are not here")
def test_the_counts_on_the_real_pairs_stand_between_those_of_other_patterns() -> None:
    # wider patterns, apologies and "I'm not sure" included, were counted at 254 and 163;
    # narrower ones at 68 and 48
    with gzip.open(REAL, "rt", encoding="utf-8") as lines:
        pairs = [json.loads(line) for line in lines]
    counts = {}
    for side in ("chosen", "rejected"):
        found = [features(pair[side].rsplit("\n\nAssistant:", 1)[1]) for pair in pairs]
        counts[side] = tuple(
            sum(getattr(item, name) for item in found) for name in ("refuses", "evades", "asks")
        )
    assert len(pairs) == 1600
    assert counts == COUNTED


COUNTED = {"chosen": (85, 162, 489), "rejected": (50, 89, 476)}
