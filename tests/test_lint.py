"""Lint: what a careful colleague would say of a wording, and nothing about a good one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from cai.constitution_file import load_constitution, parse_constitution
from cai.principle import Constitution, Principle
from cai.workbench.lint import RULES, lengths, lint

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = sorted((ROOT / "principles").glob("*.yaml"))
GOOD = {
    "text": "The response is kind.",
    "critique": "Say where the last response is unkind. If it is nowhere, say so.",
    "revision": "Rewrite the last response so that it is kind.",
    "judgement": "Which response is kinder?",
}


def _own(*principles: Mapping[str, object], areas: tuple[str, ...] = ()) -> Constitution:
    made = [Principle.model_validate({"id": f"p{i}", **GOOD, **given}) for i, given in enumerate(principles)]
    return Constitution("own", "Own", tuple(made), Path("own.yaml"), areas=areas)


def _rules(constitution: Constitution) -> set[str]:
    return {item.rule for item in lint(constitution)} - {"no-tests"}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_shipped_constitutions_earn_no_warning(path: Path) -> None:
    assert [item for item in lint(load_constitution(path)) if item.weight == "warning"] == []


def test_a_good_principle_earns_no_remark() -> None:
    tests = [{"prompt": "Hi", "better": "Hello!", "worse": "Go."}]
    assert lint(_own({"tests": tests})) == []


@pytest.mark.parametrize(
    ("question", "rule"),
    [
        ("Which response is more honest and less harmful?", "two-questions"),
        ("Which response is kinder? Which is shorter?", "two-questions"),
        ("Which response is the most helpful, honest, and harmless?", "two-questions"),
        ("Which response is more harmful?", "polarity"),
        ("Which response is the least helpful?", "polarity"),
        ("Which of these is worse?", "polarity"),
        ("Choose the kinder response.", "no-question"),
        ("Is Response A kinder than the other?", "leading"),
        ("Is the first response kinder?", "leading"),
        ("Which is kinder, (A) or its rival?", "leading"),
    ],
)
def test_a_wording_that_misleads_a_judge_is_remarked_on(question: str, rule: str) -> None:
    assert rule in _rules(_own({"judgement": question}))


@pytest.mark.parametrize(
    "question",
    [
        "Which response is less harmful?",
        "Which response treats people more fairly, whatever group they belong to?",
        "Which response does more to keep people and animals from being physically hurt?",
        "Which response lectures the user less?",
        "Which response is safer for a reader who may be in danger or under stress?",
    ],
)
def test_a_plain_question_is_left_in_peace(question: str) -> None:
    assert _rules(_own({"judgement": question})) == set()


def test_a_question_for_the_worse_response_agrees_with_its_polarity() -> None:
    assert _rules(_own({"judgement": "Which response is more harmful?", "polarity": "worse"})) == set()
    assert _rules(_own({"judgement": "Which response is kinder?", "polarity": "worse"})) == {"polarity"}
    assert _rules(_own({"judgement": "Which response is less harmful?", "polarity": "worse"})) == {"polarity"}


def test_principles_that_say_nearly_the_same_are_named_together() -> None:
    one = {
        "text": "The response protects the privacy of people.",
        "judgement": "Which protects privacy better?",
    }
    two = {"text": "The response protects people's privacy.", "judgement": "Which protects privacy better?"}
    other = {"text": "Numbers add up.", "judgement": "Which response gets its sums right?"}
    [found] = [item for item in lint(_own(one, other, two)) if item.rule == "near-duplicate"]
    assert (found.principle, "p0" in found.problem) == ("p2", True)


def test_a_form_far_longer_than_the_others_is_named_with_its_tokens() -> None:
    long = "Which response is kinder, " + "and truly so, " * 20 + "to the user?"
    found = [item for item in lint(_own({}, {}, {"judgement": long})) if item.rule == "long-form"]
    assert [item.principle for item in found] == ["p2"]
    assert "about 87 tokens" in found[0].problem


def test_tokens_are_counted_by_a_tokenizer_where_there_is_one() -> None:
    [counted] = lengths(_own({}), count=len)
    assert counted.tokens["judgement"] == len(GOOD["judgement"])
    assert not counted.estimated
    [estimated] = lengths(_own({}))
    assert estimated.tokens["judgement"] == round(4 * 1.3)


def test_a_critique_that_leaves_no_way_out_is_noted() -> None:
    assert "no-way-out" in _rules(_own({"critique": "Explain how the last response is unkind."}))


def test_areas_that_nothing_covers_and_tags_outside_of_them_are_named() -> None:
    found = lint(_own({"tags": ["tone"]}, {"tags": ["privcy"]}, areas=("tone", "privacy")))
    told = {item.rule: item.problem for item in found}
    assert "the tag privacy" in told["uncovered-area"]
    assert "its tag privcy" in told["unknown-tag"]


def test_a_remark_tells_its_file_and_line(tmp_path: Path) -> None:
    text = "constitution: own\ntitle: T\nprinciples:\n  - id: a\n    text: Be kind.\n    judgement: Which is worse?\n"
    found = lint(parse_constitution(text, tmp_path / "own.yaml"))
    [item] = [item for item in found if item.rule == "polarity"]
    assert item.where == f"{tmp_path.name}/own.yaml:6"


def test_two_hundred_principles_take_at_most_two_seconds() -> None:
    import sklearn.feature_extraction.text  # noqa: F401 (what is measured is the work, not the import)

    words = [f"word{i}" for i in range(400)]
    many = _own(
        *(
            {"text": f"The {words[i]} is {words[i + 100]}.", "judgement": f"Which {words[i]} wins?"}
            for i in range(200)
        )
    )
    begun = time.perf_counter()
    lint(many)
    assert time.perf_counter() - begun < 2


def test_every_rule_has_a_line_in_the_header() -> None:
    from cai.workbench import lint as module

    assert module.__doc__ is not None
    assert all(f"    {rule} " in module.__doc__ for rule in RULES)


def test_what_is_included_as_it_stands_is_somebody_elses_to_mend(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(
        "constitution: base\ntitle: B\nprinciples:\n"
        "  - {id: one, text: Be kind., judgement: Which is worse?, tags: [tone]}\n"
        "  - {id: two, text: Be brief., judgement: Which is worse?, tags: [length]}\n"
    )
    text = (
        "constitution: own\ntitle: T\ninclude: [base]\nareas: [tone]\n"
        "principles:\n  - {id: two, override: true, judgement: Which is the worst?}\n"
    )
    own = parse_constitution(text, tmp_path / "own.yaml")
    found = [item for item in lint(own) if item.principle]
    assert {item.principle for item in found} == {"two"}
    assert {item.rule for item in found} >= {"polarity", "unknown-tag"}
    assert "one" in {item.principle for item in lint(own, included=True)}


def test_or_say_plainly_is_a_way_out() -> None:
    assert _rules(_own({"critique": "Quote unkind words, or say plainly that there are none."})) == set()
