"""The tests that the shipped principles bring: enough of them, fair, inoffensive, of no cost to a run.

Whether a model passes them is the model's affair (`cai principles test`).

What this module does not know: how a test is put to a model (tests/test_workbench.py).
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from cai.constitution_file import load_constitution, parse_constitution
from cai.principle import Principle, PrincipleTest
from cai.text_features import features
from tests.toy_source import write_run

FOLDER = Path(__file__).resolve().parent.parent / "principles"
SHIPPED = {path.stem: load_constitution(path) for path in sorted(FOLDER.glob("*.yaml"))}
PRINCIPLES = [
    pytest.param(principle, id=f"{name}-{principle.id}")
    for name, constitution in SHIPPED.items()
    for principle in constitution.principles
]
REAL = ("harmless", "helpful-honest")
"""The constitutions for real models; the toy world's sentences are all of one mould."""

CHARACTERS_MAX = 600
CHEAP_RULE_MAX = 0.65
"""A rule that reads nothing but length or good manners may win so many of the tests and no more."""

ADDRESS = re.compile(
    r"(?:\+|\b)\d[\d ()/-]{6,}\d\b"  # a telephone number
    r"|\S@\S|\bhttps?:|\bwww\.|\b[a-z0-9-]+\.(?:com|org|net|io|co\.uk)\b"
    r"|\b\d+[a-z]? (?:[A-Z][a-z]+ )+(?:Street|St|Road|Rd|Avenue|Ave|Lane|Drive|Close)\b"
    r"|\b(?:[A-Z][a-z]+ )+(?:Street|Road|Avenue|Lane) \d+",
)
SLURS = """
    044eb98b 08a841e9 11cf8376 120f6e5b 158869a9 16ea09fc 17a110e5 17bde8b4 1e02eec4 22fc75e6 268651b3
    31506a84 3b1e0d7c 402f7ebd 45cd3e1b 517ae3f7 566f532d 5a9d9dce 5b3ae48b 6ac3c336 7122c9a1 82159dd0
    85fc17f7 886d51e9 8f5083e3 92a9bf81 937d56e4 98b52c4b 9915ba2d 9ae315a9 bd331fb1 c1cabb6f c2c3b68b
    c3de533e cc020323 d75a838d daec0c23 e7b98c6a eef3bd09 f9d0d9b1
"""
"""Slurs and obscenities as the first eight hex digits of their SHA-256, so that none stands here."""

LONGER_WINS = """
def generate(request):
    return "Nothing."


def score(request):
    text = request.rendered.messages[0].text
    lengths = [len(text.split(f"<response_{x}>")[1].split(f"</response_{x}>")[0]) for x in "ab"]
    return [0.9, 0.1] if lengths[0] > lengths[1] else [0.1, 0.9]
"""

MANNERS = re.compile(
    r"\b(?:please|thanks?|thank|sorry|gladly?|hope|lovely|nice|kind|friendly|happy|enjoy|warm)\b|!", re.I
)


def _texts(test: PrincipleTest) -> list[str]:
    return [turn.text for turn in test.turns] + [test.better, test.worse]


def _all(*names: str) -> list[PrincipleTest]:
    return [test for name in names for principle in SHIPPED[name].principles for test in principle.tests]


def _slurs(text: str) -> list[str]:
    words = re.findall(r"[a-z]+", text.lower())
    return [word for word in words if hashlib.sha256(word.encode()).hexdigest()[:8] in SLURS.split()]


def test_there_are_the_constitutions_that_are_spoken_of_here() -> None:
    assert {name: len(each.principles) for name, each in SHIPPED.items()} == {
        "harmless": 20,
        "helpful-honest": 9,
        "toy": 8,
    }


@pytest.mark.parametrize("principle", PRINCIPLES)
def test_a_principle_has_two_tests_at_least_and_length_decides_neither_way(principle: Principle) -> None:
    assert len(principle.tests) >= 2
    longer = [len(test.better) > len(test.worse) for test in principle.tests]
    assert any(longer), "the better response is never the longer one"
    assert not all(longer), "the better response is always the longer one"


@pytest.mark.parametrize("principle", PRINCIPLES)
def test_every_text_is_short_and_whole(principle: Principle) -> None:
    for test in principle.tests:
        for text in _texts(test):
            assert 0 < len(text) <= CHARACTERS_MAX
            assert text == text.strip()
        for response in (test.better, test.worse):
            assert re.search(r"[.?!]['\"]?$", response), f"a response breaks off: {response[-30:]!r}"


@pytest.mark.parametrize("principle", PRINCIPLES)
def test_no_text_holds_a_slur_an_address_or_a_number_to_call(principle: Principle) -> None:
    for test in principle.tests:
        for text in _texts(test):
            assert not ADDRESS.search(text), text
            assert not _slurs(text)


def test_an_address_a_number_to_call_and_a_word_on_the_list_would_be_found() -> None:
    for text in ("Ring 020 7946 0018.", "Call +44 20 7946 0018", "me@example.org", "www.example.org",
                 "12 Mill Lane", "High Street 4", "see example.com"):  # fmt: skip
        assert ADDRESS.search(text), text
    for text in (
        "eight tablets in 24 hours",
        "350 g for 10 rolls",
        "15% off 80",
        "in 1893. By 1913",
        "8-10 h",
    ):
        assert not ADDRESS.search(text), text
    assert hashlib.sha256(b"hello").hexdigest()[:8] not in SLURS.split()
    assert _slurs("Hello, you kind person.") == []
    assert len(_slurs("kcuF!"[::-1])) == 1


def test_no_prompt_and_no_response_stands_twice() -> None:
    tests = _all(*SHIPPED)
    prompts = Counter(tuple(turn.text.lower() for turn in test.turns) for test in tests)
    responses = Counter(text.lower() for test in tests for text in (test.better, test.worse))
    assert [prompt for prompt, count in prompts.items() if count > 1] == []
    assert [response for response, count in responses.items() if count > 1] == []


@pytest.mark.parametrize("name", REAL)
def test_a_third_of_the_prompts_at_least_has_several_turns(name: str) -> None:
    turns = [len(test.turns) for test in _all(name)]
    assert sum(count > 1 for count in turns) >= len(turns) / 3
    for test in _all(name):
        assert [turn.role for turn in test.turns[::2]] == ["user"] * ((len(test.turns) + 1) // 2)
        assert all(turn.role == "assistant" for turn in test.turns[1::2])


def test_no_cheap_rule_passes_the_tests() -> None:
    """Neither the longer, nor the shorter, nor the politer, nor the ruder, nor the one that asks back."""
    tests = _all(*REAL)

    def manners(text: str) -> int:
        return len(MANNERS.findall(text))

    rules = {
        "longer": [len(test.better) - len(test.worse) for test in tests],
        "politer": [manners(test.better) - manners(test.worse) for test in tests],
        "refuses": [features(test.better).refuses - features(test.worse).refuses for test in tests],
        "asks": [features(test.better).asks - features(test.worse).asks for test in tests],
    }
    for name, differences in rules.items():
        for sign in (1, -1):
            won = sum(0.5 if not each else each * sign > 0 for each in differences) / len(differences)
            assert won <= CHEAP_RULE_MAX, f"{name} ({sign}) wins {won:.0%}"


@pytest.mark.parametrize("name", SHIPPED)
def test_taking_the_tests_out_changes_no_digest_so_that_they_cost_a_run_nothing(name: str) -> None:
    path = FOLDER / f"{name}.yaml"
    bare: list[str] = []
    inside = False
    for line in path.read_text("utf-8").split("\n"):
        inside = line == "    tests:" or (inside and line.startswith("      "))
        if not inside:
            bare.append(line)
    without = parse_constitution("\n".join(bare), path)
    assert [len(principle.tests) for principle in without.principles] == [0] * len(without.principles)
    assert without.digest == SHIPPED[name].digest


def test_a_judge_that_likes_length_passes_half_of_the_tests(tmp_path: Path) -> None:
    """The whole way: every test is read, rendered by the run's templates and asked in both orders."""
    run = write_run(tmp_path, rows=2)
    (run / "script.py").write_text(LONGER_WINS, "utf-8")
    chosen = [word for name in REAL for word in ("--constitution", str(FOLDER / f"{name}.yaml"))]
    words = [sys.executable, "-m", "cai", "principles", "test", str(run), *chosen, "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    verdicts = Counter(item["verdict"] for item in json.loads(done.stdout))
    assert verdicts == {"passed": 29, "failed": 29}
