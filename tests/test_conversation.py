"""Conversations: transcripts are written back to the byte, and every irregularity has its fate."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cai.conversation import (
    Irregularity,
    Pair,
    Transcript,
    Turn,
    has_role_marker,
    parse_transcript,
    read_pair,
    split_pair,
    write_transcript,
)

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "hh-rlhf" / "harmless-base" / "test.jsonl.gz"
H, A = "\n\nHuman:", "\n\nAssistant:"

PIECES = st.sampled_from(
    [H, A, "\n", "\n\n", " ", "Human:", "Assistant", ":", "H:", "text", "’", "\r\n", "\0"]
)
TEXTS = st.one_of(st.text(), st.lists(PIECES, max_size=12).map("".join))


@given(TEXTS)
def test_a_parsed_transcript_is_written_back_to_the_same_text(text: str) -> None:
    assert write_transcript(parse_transcript(text)) == text


def test_a_transcript_read_by_hand() -> None:
    text = "\n\nHuman: Hi there\n\nAssistant:Hello.\n\nHuman: \n\nHuman:  twice"
    assert parse_transcript(text) == Transcript(
        "",
        (Turn("user", " Hi there"), Turn("assistant", "Hello."), Turn("user", " "), Turn("user", "  twice")),
    )
    assert [turn.text for turn in parse_transcript(text).turns] == ["Hi there", "Hello.", "", " twice"]


@pytest.mark.parametrize(
    ("text", "preamble", "turns"),
    [
        ("", "", []),
        ("no turns", "no turns", []),
        ("Human: no marker at the start", "Human: no marker at the start", []),
        (f"before{H} a", "before", [("user", " a")]),
        (f"{H} a\n\nhuman: b", "", [("user", " a\n\nhuman: b")]),
        (f"{H} a\nHuman: b", "", [("user", " a\nHuman: b")]),
        (f"{H} a\n\n Human: b", "", [("user", " a\n\n Human: b")]),
        (f"{H} a\n\n\nAssistant: b", "", [("user", " a\n"), ("assistant", " b")]),
        (f"{H} a\r\n\r\nAssistant: b", "", [("user", " a\r\n\r\nAssistant: b")]),
        (f"{H}{A}", "", [("user", ""), ("assistant", "")]),
        (f"{H} a\n\nHuman : b", "", [("user", " a\n\nHuman : b")]),
        (f"{H} a: b: c", "", [("user", " a: b: c")]),
    ],
)
def test_only_a_marker_after_an_empty_line_opens_a_turn(
    text: str, preamble: str, turns: list[tuple[str, str]]
) -> None:
    found = parse_transcript(text)
    assert (found.preamble, [(turn.role, turn.raw) for turn in found.turns]) == (preamble, turns)


@pytest.mark.parametrize(
    ("chosen", "rejected", "fate"),
    [
        (f"{H} a{A} b", f"{H} a{A} c", ()),
        (f"{H} a{A} b", f"{H} x{A} c", Irregularity.CONTEXTS_DIFFER),
        (f"{H} a{A} b", f"{H} a{A} b{H} c{A} d", Irregularity.CONTEXTS_DIFFER),
        (f"one{H} a{A} b", f"two{H} a{A} c", Irregularity.CONTEXTS_DIFFER),
        (f"{H} a{A} b", f"{H} a{H} b", Irregularity.NO_RESPONSE),
        (f"{H} a", f"{H} a", Irregularity.NO_RESPONSE),
        ("", "", Irregularity.NO_RESPONSE),
        ("plain", "plain", Irregularity.NO_RESPONSE),
        (f"{A} b", f"{A} c", Irregularity.NO_PROMPT),
        (f"{A} a{A} b", f"{A} a{A} c", Irregularity.NO_PROMPT),
        (f"{H} a{A} x{A} b", f"{H} a{A} x{A} c", ("repeated_role",)),
        (f"{H} a{H} x{A} b", f"{H} a{H} x{A} c", ("repeated_role",)),
        (f"{H} a{A} ", f"{H} a{A} c", ("empty_chosen",)),
        (f"{H} a{A} b", f"{H} a{A}\n", ("empty_rejected",)),
        (f"{H} {A} b", f"{H} {A} c", ("empty_turn",)),
        (f"{H} a{A} b Human: x", f"{H} a{A} c", ("role_marker_inside",)),
        (f"{H} a{A} b", f"{H} a{A} c\nH: x", ("role_marker_inside",)),
        (f"{H} a\nAI : x{A} b", f"{H} a\nAI : x{A} c", ("role_marker_inside",)),
        (f"Be kind.{H} a{A} b", f"Be kind.{H} a{A} c", ("text_before_first_turn",)),
        (f"{H} a{A} b", f"{H} a{A} b", ("equal_responses",)),
        (f"{H} a{A} b", f"{H} a{A}b", ("equal_responses",)),
    ],
)
def test_every_irregularity_has_its_fate(chosen: str, rejected: str, fate: object) -> None:
    found = read_pair(chosen, rejected)
    assert (found.flags if isinstance(found, Pair) else found) == fate
    if isinstance(found, Irregularity):
        assert found.excludes
    else:
        assert not any(flag.excludes for flag in found.flags)


def test_the_prompt_is_all_that_comes_before_the_last_response() -> None:
    found = read_pair(f"{H} a{A} b{H} c{A} d", f"{H} a{A} b{H} c{A} e")
    assert found == Pair(
        (Turn("user", " a"), Turn("assistant", " b"), Turn("user", " c")),
        Turn("assistant", " d"),
        Turn("assistant", " e"),
        (),
    )


def test_text_before_the_first_turn_is_kept_as_a_system_turn() -> None:
    found = read_pair(f"Be kind.{H} a{A} b", f"Be kind.{H} a{A} c")
    assert isinstance(found, Pair)
    assert found.prompt == (Turn("system", "Be kind."), Turn("user", " a"))


@given(TEXTS, TEXTS, TEXTS)
def test_reading_a_pair_at_once_equals_splitting_two_transcripts(same: str, one: str, other: str) -> None:
    for chosen, rejected in ((same + one, same + other), (f"{H} a{same}{A}{one}", f"{H} a{same}{A}{other}")):
        assert read_pair(chosen, rejected) == split_pair(parse_transcript(chosen), parse_transcript(rejected))


@pytest.mark.parametrize(
    ("text", "marker"),
    [
        (" Human: x", True),
        (" as the Assistant: said", True),
        ("Human : x", True),
        (" a\n\tUser: b", True),
        ("A: b", True),
        (" a\nAI: b", True),
        (" superHuman: x", False),
        (" Human, x", False),
        (" option A: b", False),
        (" a\nB: b", False),
        (" time: 10:30", False),
        ("", False),
    ],
)
def test_a_role_marker_inside_a_turn_is_seen(text: str, marker: bool) -> None:
    assert has_role_marker(text) is marker


# The real rows: 1,600 of harmless-base/test; figures marked COUNTED in the field guide.


@pytest.fixture(scope="module")
def real() -> list[tuple[str, str]]:
    if not REAL.exists():
        pytest.skip("the real rows of hh-rlhf are not beside this checkout")
    rows = [orjson.loads(line) for line in gzip.decompress(REAL.read_bytes()).splitlines()]
    return [(row["chosen"], row["rejected"]) for row in rows]


def test_every_real_transcript_is_written_back_to_the_same_bytes(real: list[tuple[str, str]]) -> None:
    assert len(real) == 1600
    for side in (text for row in real for text in row):
        parsed = parse_transcript(side)
        assert write_transcript(parsed).encode() == side.encode()
        assert parsed.preamble == ""
        assert parsed.turns[0].role == "user"
        assert parsed.turns[-1].role == "assistant"


def test_the_real_rows_have_the_turns_that_were_counted(real: list[tuple[str, str]]) -> None:
    lengths = Counter(
        (len(parse_transcript(chosen).turns), len(parse_transcript(rejected).turns))
        for chosen, rejected in real
    )
    even = {2: 466, 4: 400, 6: 406, 8: 238, 10: 51, 12: 12, 14: 11, 16: 4, 18: 4, 20: 1, 22: 1, 24: 1, 36: 1}
    odd = {19: 1, 5: 1, 13: 1}
    assert lengths == {**{(n, n): count for n, count in (even | odd).items()}, (5, 4): 1}


def test_the_real_rows_have_the_irregularities_that_were_counted(real: list[tuple[str, str]]) -> None:
    places: dict[str, list[int]] = {}
    for index, (chosen, rejected) in enumerate(real):
        found = read_pair(chosen, rejected)
        for flag in (found,) if isinstance(found, Irregularity) else found.flags:
            places.setdefault(flag.value, []).append(index)
    marked = places.pop("role_marker_inside")
    assert places == {
        "contexts_differ": [1254],
        "repeated_role": [667, 763, 1319],  # and 1254, which is excluded
        "empty_chosen": [86, 516, 925, 1103],
    }
    assert len(marked) == 36
    assert 29 in marked


def test_the_real_rows_have_the_role_markers_that_were_counted(real: list[tuple[str, str]]) -> None:
    marked = [
        sum(
            any("Human:" in turn.raw or "Assistant:" in turn.raw for turn in parse_transcript(text).turns)
            for text in side
        )
        for side in zip(*real, strict=True)
    ]
    assert marked == [30, 25]


def test_one_real_context_differs_after_three_shared_turns(real: list[tuple[str, str]]) -> None:
    chosen, rejected = (parse_transcript(text).turns for text in real[1254])
    assert (len(chosen), len(rejected)) == (5, 4)
    assert chosen[:3] == rejected[:3]
    assert chosen[3] != rejected[3]
