"""Answers from the wire are read exactly, and everything that can go wrong there has its error."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cai.engine.connection import Connection
from cai.engine.fault_kinds import FAULTS, Status
from cai.engine.wire import (
    Unreadable,
    chat_body,
    choices_of,
    generate_body,
    read_chat_scores,
    read_completion,
    read_json,
    read_scores,
)
from cai.errors import EngineRefusedError
from cai.parts import Message, Part
from cai.recipe import EngineSection
from cai.request import GenerateRequest, Sampling, Scores
from cai.template import Rendered


def test_an_options_probability_is_the_sum_of_its_spellings() -> None:
    """Worked by hand: 0.5 + 0.25 against 0.125, an eighth outside."""
    tops = {
        "token_id:9": -0.1,
        "token_id:1": math.log(0.5),
        "token_id:2": math.log(0.25),
        "token_id:3": math.log(0.125),
    }
    scores = read_scores({"logprobs": {"top_logprobs": [tops]}}, ((1, 2), (3,)), 5)
    assert scores.logprobs == pytest.approx((math.log(0.75), math.log(0.125)))
    assert scores.outside == pytest.approx(0.125)


def test_impossible_options_stay_finite() -> None:
    tops = {"token_id:1": -9999.0, "token_id:2": -9999.0}
    scores = read_scores({"logprobs": {"top_logprobs": [tops]}}, ((1,), (2,)), 5)
    assert scores == Scores((-9999.0, -9999.0), 1.0, 5)


def test_options_of_a_chat_answer_are_told_by_their_text() -> None:
    """Worked by hand: " A" and "(A" are A; B is not listed, and gets at most the least of the list."""
    top = [(" A", 0.5), ("(A", 0.2), ("The", 0.1), ("Ay", 0.05)]
    entries = [{"token": token, "logprob": math.log(p)} for token, p in top]
    answer = {
        "choices": [{"logprobs": {"content": [{"top_logprobs": entries}]}}],
        "usage": {"prompt_tokens": 4},
    }
    scores = read_chat_scores(answer, ("A", "B"))
    assert scores.logprobs == pytest.approx((math.log(0.7), math.log(0.05)))
    assert scores.outside == pytest.approx(0.3)


def test_thinking_is_asked_for_with_its_marks_and_never_through_the_chat_endpoint() -> None:
    messages = (Message("user", (Part("Which?", "row", "r"),)),)
    section = EngineSection(kind="server", model="m", urls=["http://127.0.0.1:1"])
    plain, thinks = (
        GenerateRequest("main", Rendered(messages, (), thinking), Sampling(stop=("</think>",)))
        for thinking in (None, ())
    )
    assert "skip_special_tokens" not in json.loads(generate_body("m", [1], plain))
    body = json.loads(generate_body("m", [1], thinks))
    assert (body["skip_special_tokens"], body["stop"]) == (False, ["</think>"])
    chat_body(section, plain)
    with pytest.raises(EngineRefusedError, match="thinking alone"):
        chat_body(section, thinks)


def test_an_option_that_is_a_word_may_be_in_lower_case_and_a_letter_may_not() -> None:
    top = [(" true", 0.4), ("True", 0.3), (" False", 0.1), (" a", 0.05), ("TRUE", 0.01)]
    entries = [{"token": token, "logprob": math.log(p)} for token, p in top]
    answer = {"choices": [{"logprobs": {"content": [{"top_logprobs": entries}]}}]}
    assert read_chat_scores(answer, ("True", "False")).logprobs == pytest.approx(
        (math.log(0.7), math.log(0.1))
    )
    assert read_chat_scores(answer, ("A", "B")).outside == pytest.approx(1.0)


@pytest.mark.parametrize("kind", FAULTS)
def test_every_kind_of_fault_has_its_error(kind: str) -> None:
    connection = Connection(["http://127.0.0.1:1"], 1, 1.0, 0.0)
    error = connection.mapped(Unreadable(kind, "words"))
    assert type(error) is FAULTS[kind]
    assert connection.faults == {kind: 1}


def test_every_foreign_error_has_a_kind() -> None:
    import aiohttp

    def subclasses(kind: type[Any]) -> set[type[Any]]:
        return {kind}.union(*(subclasses(each) for each in kind.__subclasses__()))

    for kind in subclasses(aiohttp.ClientError) | {OSError, TimeoutError, ConnectionResetError}:
        connection = Connection(["http://127.0.0.1:1"], 1, 1.0, 0.0)
        error: Exception = kind.__new__(kind)  # type: ignore[call-overload]
        assert isinstance(connection.mapped(error), tuple(FAULTS.values())), kind
    for status in range(300, 600):
        assert isinstance(connection.mapped(Status(status, b"", None)), tuple(FAULTS.values()))


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"NaN", b"\xff", b"[" * 100_000, b'{"choices": 3}']
)
def test_no_answer_breaks_the_reader(body: bytes) -> None:
    with pytest.raises(Unreadable):
        choices_of(read_json(body), 1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=5),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=5), each, max_size=3),
    max_leaves=5,
)
GOOD: dict[str, Any] = {
    "choices": [
        {
            "index": 0,
            "text": "yes",
            "finish_reason": "stop",
            "logprobs": {
                "top_logprobs": [{"token_id:1": -1.0, "token_id:2": -2.0}],
                "content": [{"top_logprobs": [{"token": "token_id:1", "logprob": -1.0, "bytes": [65]}]}],
            },
        }
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1},
}


def paths(value: Any, so_far: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [so_far, *(path for key, each in items for path in paths(each, (*so_far, key)))]


@settings(max_examples=2000, deadline=None)
@given(path=st.sampled_from(paths(GOOD)[1:]), value=JSON)
def test_an_answer_with_anything_in_it_is_read_or_is_a_fault(path: tuple[Any, ...], value: Any) -> None:
    answer = copy.deepcopy(GOOD)
    place: Any = answer
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    readers: list[Callable[[], Any]] = [
        lambda: read_completion(answer, None),
        lambda: read_scores(choices_of(answer, 1)[0], ((1,), (2,)), 3),
        lambda: read_chat_scores(answer, ("A", "B")),
    ]
    for read in readers:
        try:
            read()
        except Unreadable as fault:
            assert fault.kind in FAULTS  # noqa: PT017 (either is right; nothing else is)


@settings(max_examples=500, deadline=None)
@given(body=st.binary(max_size=40) | st.text(alphabet='{}[]",:0eN-\\u', max_size=30).map(str.encode))
def test_any_bytes_are_an_object_or_a_fault(body: bytes) -> None:
    try:
        assert isinstance(read_json(body), dict)
    except Unreadable as fault:
        assert fault.kind in FAULTS  # noqa: PT017
