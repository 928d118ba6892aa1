"""Digests are a contract: what is written today is found by these very values for ever."""

from __future__ import annotations

from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cai.digest import canonical, digest, draw
from cai.parts import Message, Part
from cai.request import GenerateRequest, Sampling, ScoreRequest
from cai.template import Rendered

RENDERED = Rendered(
    (Message("user", (Part("Hello ", "template", "t:1"), Part("wörld", "row", "r"))),),
    (Part("The answer is", "template", "t:2"),),
)


def test_the_canonical_form_is_sorted_compact_utf8() -> None:
    assert canonical({"b": [1, 0.5, None, True], "a": "é"}) == '{"a":"é","b":[1,0.5,null,true]}'.encode()


def test_a_digest_is_the_hash_of_tag_zero_byte_and_canonical_form() -> None:
    expected = blake2b(b'cai.test.v1\0{"a":1}', digest_size=16).hexdigest()
    assert digest("cai.test.v1", {"a": 1}) == expected


def test_the_digests_of_a_score_and_a_text_are_these() -> None:
    messages = '[["user","Hello wörld"]]'
    score = f'["e",{messages},"The answer is",["A","B"]]'.encode()
    assert (
        ScoreRequest("main", RENDERED, ("A", "B")).digest("e")
        == blake2b(b"cai.score.v1\0" + score, digest_size=16).hexdigest()
    )
    text = f'["e",{messages},"The answer is",[0.7,1.0,0,0.0,1.0,9,["x"]],5]'.encode()
    sampling = Sampling(temperature=0.7, max_tokens=9, stop=("x",))
    assert (
        GenerateRequest("main", RENDERED, sampling, 5).digest("e")
        == blake2b(b"cai.generate.v1\0" + text, digest_size=16).hexdigest()
    )


def test_a_seed_counts_only_where_something_is_drawn() -> None:
    greedy, warm = Sampling(temperature=0), Sampling(temperature=1)
    assert GenerateRequest("m", RENDERED, greedy, 1).digest("e") == GenerateRequest(
        "m", RENDERED, greedy, 2
    ).digest("e")
    assert GenerateRequest("m", RENDERED, warm, 1).digest("e") != GenerateRequest(
        "m", RENDERED, warm, 2
    ).digest("e")


def test_labels_and_the_engines_name_do_not_count_and_its_identity_does() -> None:
    one = ScoreRequest("main", RENDERED, ("A", "B"), {"row": "x"})
    two = ScoreRequest("other", RENDERED, ("A", "B"), {"row": "y"})
    assert one.digest("e") == two.digest("e")
    assert one.digest("e") != one.digest("f")


def test_how_a_text_is_cut_into_parts_does_not_count() -> None:
    whole = Rendered((Message("user", (Part("Hello wörld", "template", "t:9"),)),), RENDERED.answer)
    assert ScoreRequest("m", whole, ("A",)).digest("e") == ScoreRequest("m", RENDERED, ("A",)).digest("e")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [None, float("-inf")], "\ud800", {1, 2}])
def test_what_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        digest("cai.test.v1", value)


@given(st.lists(st.text(max_size=5), max_size=4), st.lists(st.text(max_size=5), max_size=4))
def test_lists_that_join_alike_are_kept_apart(one: list[str], two: list[str]) -> None:
    assert (one == two) == (digest("t", one) == digest("t", two))


def test_draws_are_fixed_and_even() -> None:
    assert draw(0, "a") == draw(0, "a")
    assert draw(0, "a") != draw(1, "a")
    assert draw("a", "b") != draw("ab")
    values = [draw("even", i) / 2**64 for i in range(4000)]
    assert abs(sum(values) / 4000 - 0.5) < 0.02
