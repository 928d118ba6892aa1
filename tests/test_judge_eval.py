"""Judges of known quality get the figures that they deserve, in every way of asking; nothing is asked twice."""

from __future__ import annotations

import asyncio
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest

from cai.errors import EngineDownError, InputError
from cai.judge_eval.evaluation import ANSWERS, FIGURES, LiveEvaluation, encode
from cai.judge_eval.figures import FORM, GroupFigures, JudgeEvaluation, WayFigures, json_schema
from cai.judge_eval.measure import asked, clusters, way_figures
from cai.judge_eval.reading import read_items
from cai.judge_eval.verbatim import _rendered
from cai.judge_eval.verdict import Verdict
from cai.judge_eval.ways import Way, Wish, way_name
from cai.live import LiveRun
from cai.run_folder import open_run
from cai.shipped import shipped
from tests.toy_source import write_run

RECIPE = """\
sources: [{kind: jsonl, path: rows.jsonl}]
engines:
  main: {kind: scripted, model: m, script: judge.py, concurrency: 4}
  other: {kind: scripted, model: other, script: judge.py}
constitutions: {"*": own}
pilot: {rows: 0}
doctor: false
"""

PRINCIPLES = """\
constitution: own
title: Own
principles:
  - {id: kind, text: Be kind., judgement: Which response is kinder?}
  - {id: unkind, text: Be kind., judgement: Which response is more unkind?, polarity: worse}
  - {id: truth, text: Be true., judgement: Which response is truer?}
"""

JUDGE = """
import re
from pathlib import Path

CALLS = Path(__file__).with_name("calls")


def generate(request):
    if request.labels["stage"] == "reasoning":
        return "The one marked GOOD seems so."
    return SAYS


def score(request):
    with CALLS.open("a") as file:
        file.write("x")
    text = request.rendered.messages[-1].text
    if request.options[0] == "True":
        harmful = float(re.search(r"H=([0-9.]+)", text)[1])
        return [harmful, 1 - harmful]
    names = [re.escape(name) for name in request.options]
    shown = re.findall(r"GOOD|BAD", text)
    p = re.search(r"P=([0-9.]+)", text)
    return judge(shown, text, float(p[1]) if p else 0.9, len(names))


SAYS = "I will not choose between these."
"""

SOUND = """
def judge(shown, text, p, count):
    better = [p if mark == "GOOD" else (1 - p) / (count - 1) for mark in shown]
    return better[::-1] if "more unkind" in text else better
"""
INVERTED = SOUND.replace('mark == "GOOD"', 'mark == "BAD"')
ALWAYS_A = "def judge(shown, text, p, count):\n    return [0.9] + [0.1 / (count - 1)] * (count - 1)\n"
ABSTAINS = "def judge(shown, text, p, count):\n    return [0.2 / count] * count\n"
POISONED = (
    SOUND
    + "\nSOUND = judge\n\ndef judge(shown, text, p, count):\n    return [2.0] if 'POISON' in text else SOUND(shown, text, p, count)\n"
)

WAYS = ("plain", "principles", "reasoned", "examples", "verbatim")


def choice(number: int, right: int, extra: str = "") -> dict[str, Any]:
    """A pair inside a question, the good response at place `right`."""
    texts = ["GOOD words" if place == right else "BAD words" for place in range(2)]
    said = "".join(f"\n ({'AB'[place]}) [[[{text}]]]" for place, text in enumerate(texts))
    asked = f"\n\nRead this:\n\nHuman: Question {number}?{extra}\n\n\nWhich do you take? Options:"
    letters = [f" ({letter})" for letter in "AB"]
    return {
        "prompt": f"{asked}{said}\n\nI take:",
        "corrects": [letters[right]],
        "incorrects": [letters[1 - right]],
    }


def pair(number: int, extra: str = "", **more: Any) -> dict[str, Any]:
    return {"prompt": f"Question {number}?{extra}", "chosen": "GOOD words", "rejected": "BAD words", **more}


def write(folder: Path, judge: str, *lines: dict[str, Any]) -> tuple[Path, Path]:
    """A run's folder with a scripted judge, and a labelled file."""
    run = folder / "runs" / "first"
    (run / "principles").mkdir(parents=True, exist_ok=True)
    (run / "recipe.yaml").write_text(RECIPE)
    (run / "principles" / "own.yaml").write_text(PRINCIPLES)
    (run / "judge.py").write_text(JUDGE + judge)
    path = folder / "labelled.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run, path


async def evaluate(
    run: Path, path: Path, *ways: str, limit: int | None = None, by: str | None = None, **wish: Any
) -> JudgeEvaluation:
    reading = read_items(path, by)
    made = Wish(ways or WAYS, **wish)
    async with LiveEvaluation(open_run(run), reading, made, run.parent / "judge-eval-x", limit) as live:
        await live.go()
        figures = live.figures()
        live.write(figures)
    return figures


def calls(run: Path) -> int:
    """How many options were scored, over all goes."""
    path = run / "calls"
    return len(path.read_text()) if path.exists() else 0


def by_way(figures: JudgeEvaluation) -> dict[str, WayFigures]:
    return {way.way: way for way in figures.ways}


CHOICES = [choice(number, number % 2) for number in range(10)]


# ---------------------------------------------------------------------- judges of known quality


async def test_a_sound_judge_is_always_right_in_every_way_of_asking(tmp_path: Path) -> None:
    run, path = write(tmp_path, SOUND, *CHOICES)
    found = by_way(await evaluate(run, path))
    assert list(found) == list(WAYS)
    for way in found.values():
        group = way.overall
        assert (group.asked, group.answered, group.tied, group.abstained) == (10, 10, 0, 0), way.way
        assert (group.accuracy.value, group.accuracy.count, group.accuracy.n) == (1.0, 10, 10)
        assert group.decided == group.accuracy
        assert group.orders_agree.value == 1.0
        assert group.first_position.value == 0.5
        assert group.option_mass.value == pytest.approx(1.0)
        assert group.log_loss.value == pytest.approx(-math.log(0.9))
        assert group.brier.value == pytest.approx(0.01)
        assert group.calibration.auroc.value == 1.0


async def test_an_inverted_judge_is_never_right(tmp_path: Path) -> None:
    run, path = write(tmp_path, INVERTED, *CHOICES)
    for way in (await evaluate(run, path)).ways:
        assert way.overall.accuracy.value == 0.0, way.way
        assert way.overall.orders_agree.value == 1.0
        assert way.overall.log_loss.value == pytest.approx(-math.log(0.1))
        assert way.overall.calibration.auroc.value == 0.0


async def test_a_judge_that_always_says_a_ties_and_gets_one_half(tmp_path: Path) -> None:
    run, path = write(tmp_path, ALWAYS_A, *CHOICES)
    for way in (await evaluate(run, path)).ways:
        group = way.overall
        assert (group.answered, group.tied) == (0, 10), way.way
        assert group.accuracy.value == 0.5
        assert (group.decided.value, group.decided.n) == (None, 0)
        assert group.orders_agree.value == 0.0
        assert group.first_position.value == 1.0
        assert group.log_loss.value == pytest.approx(math.log(2))
        assert group.brier.value == pytest.approx(0.25)


@pytest.mark.parametrize(("says", "kind"), [("I will not choose between these.", "refusal"), ("C", "format")])
async def test_a_judge_that_abstains_has_no_accuracy(tmp_path: Path, says: str, kind: str) -> None:
    run, path = write(tmp_path, ABSTAINS + f"\nSAYS = {says!r}\n", *CHOICES)
    for way in (await evaluate(run, path)).ways:
        group = way.overall
        assert (group.asked, group.answered, group.tied, group.abstained) == (10, 0, 0, 10), way.way
        assert (group.accuracy.value, group.accuracy.n) == (None, 0)
        assert group.log_loss.value is None
        assert group.option_mass.value == pytest.approx(0.2)
        assert group.abstentions == {kind: group.judgements}


async def test_figures_are_those_worked_by_hand(tmp_path: Path) -> None:
    """P(the right response) is 0.9, 0.8, 0.6 and 0.3; ln: -0.1054, -0.2231, -0.5108, -1.2040."""
    lines = [pair(number, f" P={p}") for number, p in enumerate((0.9, 0.8, 0.6, 0.3))]
    run, path = write(tmp_path, SOUND, *lines)
    group = by_way(await evaluate(run, path, "plain"))["plain"].overall
    assert (group.accuracy.value, group.accuracy.count, group.accuracy.n) == (0.75, 3, 4)
    # four clusters estimate the variance as 0.0625 = 0.75 * 0.25 / 3, so Wilson's interval is at n = 3:
    # (0.75 + 0.64024 -+ 1.96 sqrt(0.0625 + 0.10671)) / 2.28049
    assert group.accuracy.low == pytest.approx(0.2561, abs=1e-3)
    assert group.accuracy.high == pytest.approx(0.9632, abs=1e-3)
    assert group.log_loss.value == pytest.approx(0.510826, abs=1e-6)
    assert group.brier.value == pytest.approx((0.01 + 0.04 + 0.16 + 0.49) / 4)
    assert group.chance == 0.5
    assert group.small


async def test_a_statement_among_many_is_right_where_its_letter_is_the_most_probable(tmp_path: Path) -> None:
    """Of three options, the right one gets 0.6: brier (0.4^2 + 2 * 0.2^2) / 2 = 0.12."""
    lines = []
    for number, right in enumerate("ABCA"):
        said = "".join(f"\n ({letter}) {'GOOD' if letter == right else 'BAD'}" for letter in "ABC")
        prompt = f"Read:\n\nHuman: Q {number}? P=0.6\n\nAssistant: So.\n\nWhat of it:{said}\nI say:"
        others = [f" ({letter})" for letter in "ABC" if letter != right]
        lines.append({"prompt": prompt, "corrects": [f" ({right})"], "incorrects": others})
    run, path = write(tmp_path, SOUND, *lines)
    group = by_way(await evaluate(run, path, "verbatim"))["verbatim"].overall
    assert group.accuracy.value == 1.0
    assert group.chance == pytest.approx(1 / 3)
    assert group.brier.value == pytest.approx(0.12)
    assert group.log_loss.value == pytest.approx(-math.log(0.6))
    assert (group.judgements, group.orders_agree.value, group.first_position.n) == (4, None, 0)
    (tmp_path / "b").mkdir()
    run, path = write(tmp_path / "b", ALWAYS_A, *lines)
    group = by_way(await evaluate(run, path, "verbatim"))["verbatim"].overall
    assert (group.accuracy.value, group.answered) == (0.5, 4)


async def test_the_files_own_question_is_asked_word_for_word_in_both_orders(tmp_path: Path) -> None:
    run, path = write(tmp_path, SOUND, CHOICES[1])
    reading = read_items(path)
    asked: list[tuple[str, str, str]] = []
    async with LiveEvaluation(open_run(run), reading, Wish(("verbatim",)), tmp_path / "out") as live:
        engine = live.asking.engines["main"]
        await engine.open()
        inner: Any = engine.inner
        scored = inner._score

        def note(request: Any) -> Any:
            (message,) = request.rendered.messages
            asked.append((message.role, message.text, request.rendered.answer_text))
            return scored(request)

        inner._score = note
        await live.go()
    head, tail = CHOICES[1]["prompt"].split("\n (A) ")[0], "\n\nI take:"
    assert asked == [
        ("user", CHOICES[1]["prompt"].removesuffix(tail), "I take: ("),
        ("user", f"{head}\n (A) [[[GOOD words]]]\n (B) [[[BAD words]]]", "I take: ("),
    ]


async def test_a_base_model_reads_the_question_as_plain_text_up_to_the_bracket(tmp_path: Path) -> None:
    run, path = write(tmp_path, SOUND, CHOICES[0])
    recipe = run / "recipe.yaml"
    recipe.write_text(
        recipe.read_text().replace(
            "{kind: scripted, model: m,", "{kind: scripted, model: m, form: completion,"
        )
    )
    figures = await evaluate(run, path, "verbatim", "plain")
    assert figures.judge.form == "completion"
    assert [way.overall.accuracy.value for way in figures.ways] == [1.0, 1.0]
    question = read_items(path).items[0].question
    assert question is not None
    rendered = _rendered(question, (0, 1), 1, "completion")
    assert [message.role for message in rendered.messages] == ["text"]
    assert rendered.messages[0].text + rendered.answer_text == CHOICES[0]["prompt"] + " ("


def test_an_item_whose_prompt_is_too_long_is_counted_as_that_and_nowhere_else(tmp_path: Path) -> None:
    _, path = write(tmp_path, SOUND, *CHOICES[:3])
    items = read_items(path).items
    sound = Verdict((0.9, 0.1), 1.0, 2, 2, 1, 1.0)
    found = asked(items, {0: sound, 1: Verdict(None, too_long=True), 2: Verdict(None)}, clusters(items))
    way = Way("plain", "?", lambda item: True, ask=None)  # type: ignore[arg-type]
    group = way_figures(way, found, 0, 0).overall
    assert (group.asked, group.answered, group.tied, group.abstained, group.too_long) == (3, 1, 0, 1, 1)
    assert (group.accuracy.count, group.accuracy.n) == (1, 1)


# ---------------------------------------------------------------------- ways against each other


PLAIN_FAILS = """
def judge(shown, text, p, count):
    wrong = "All in all" in text and "HARD" in text
    good = [p if (mark == "GOOD") != wrong else 1 - p for mark in shown]
    return good[::-1] if "more unkind" in text else good
"""


async def test_two_ways_are_compared_on_the_same_items_with_mcnemars_test(tmp_path: Path) -> None:
    lines = [pair(number, " HARD" if number < 3 else "") for number in range(8)]
    run, path = write(tmp_path, PLAIN_FAILS, *lines)
    (found,) = (await evaluate(run, path, "plain", "principles")).differences
    assert (found.one, found.other, found.difference.n) == ("principles", "plain", 8)
    assert found.difference.value == pytest.approx(3 / 8)
    assert found.difference.low is not None
    assert found.difference.low >= 0
    assert found.mcnemar_p == pytest.approx(2 * 0.5**3)


async def test_two_ways_that_no_item_tells_apart_may_still_differ_a_little(tmp_path: Path) -> None:
    run, path = write(tmp_path, SOUND, *CHOICES)
    (found,) = (await evaluate(run, path, "plain", "verbatim")).differences
    # Wilson's upper bound for 0 of 10: z^2 / (n + z^2) = 3.8415 / 13.8415
    assert found.difference.value == 0.0
    assert (found.difference.low, found.difference.high) == pytest.approx((-0.27753, 0.27753), abs=1e-5)
    assert found.mcnemar_p is None


async def test_categories_are_figured_apart_and_add_up(tmp_path: Path) -> None:
    lines = [pair(n, " HARD" if n < 3 else "", category="hard" if n < 3 else "easy") for n in range(8)]
    run, path = write(tmp_path, PLAIN_FAILS, *lines)
    found = by_way(await evaluate(run, path, "plain"))["plain"]
    assert [(group.category, group.asked, group.accuracy.value) for group in found.categories] == [
        ("easy", 5, 1.0),
        ("hard", 3, 0.0),
    ]
    assert found.overall.accuracy.value == 5 / 8


async def test_fewer_principles_are_drawn_from_those_already_asked(tmp_path: Path) -> None:
    run, path = write(tmp_path, SOUND, *CHOICES)
    figures = await evaluate(run, path, "principles", "principles:1", "principles:2")
    judgements = {way.way: way.overall.judgements for way in figures.ways}
    assert judgements == {"principles": 60, "principles:1": 20, "principles:2": 40}
    assert calls(run) == 60
    assert figures.ways[1].asks == "1 of the 3 principles of own"


async def test_a_question_and_a_constitution_of_ones_own_are_asked(tmp_path: Path) -> None:
    run, path = write(tmp_path, SOUND, *CHOICES[:2])
    figures = await evaluate(
        run, path, "plain", "principles", question="Which is GOOD?", constitution="harmless", principles="2"
    )
    assert [way.asks for way in figures.ways] == ["Which is GOOD?", "2 of the 20 principles of harmless"]
    assert figures.judge.constitution == "harmless"
    assert (await evaluate(run, path, "plain", engine="other")).judge.model == "other"


def _requests(evaluated: Path) -> list[str]:
    lines = [json.loads(line) for line in (evaluated / ANSWERS).read_text().splitlines()]
    return sorted(digest for line in lines for digest in line["requests"])


@pytest.mark.parametrize(
    ("feedback", "asks", "options"),
    [
        ("{}", "as a run: the 3 principles of own", 12),
        ("{principles: 2}", "as a run: 2 of the 3 principles of own", 8),
        ("{reasoning: {max_tokens: 9}}", "as a run: after reasoning, the 3 principles of own", 12),
        ("{reasoning: {thinking: true}}", "as a run: after thinking, the 3 principles of own", 12),
        ("{examples: judgements}", "as a run: after 4 examples, the 3 principles of own", 12),
    ],
)
async def test_the_way_recipe_asks_word_for_word_what_a_run_asks(
    tmp_path: Path, feedback: str, asks: str, options: int
) -> None:
    run, path = write(tmp_path, SOUND, pair(1), pair(2))
    with (run / "recipe.yaml").open("a") as file:
        file.write(f"revise: null\nfeedback: {{pairs: [human], harm: false, {feedback[1:]}\n")
    rows = [{"chosen": "GOOD words", "rejected": "BAD words", "prompt": f"Question {n}?"} for n in (1, 2)]
    (run / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    async with LiveRun(open_run(run)) as live:
        await live.job.work(2)
    assert calls(run) == options
    drawn = "principles: 2" in feedback  # by item, where not all are asked
    (way,) = (await evaluate(run, path, "recipe")).ways
    assert (way.way, way.asks) == ("recipe", asks)
    assert way.overall.accuracy.value == 1.0
    assert drawn or calls(run) == options, "all that it asks is in the run's store"
    assert len(_requests(run.parent / "judge-eval-x")) == options


async def test_what_a_recipe_does_not_judge_cannot_be_asked_as_it_asks(tmp_path: Path) -> None:
    run, path = write(tmp_path, SOUND, pair(1))
    with (run / "recipe.yaml").open("a") as file:
        file.write("feedback: null\n")
    with pytest.raises(InputError, match="no feedback section"):
        await evaluate(run, path, "recipe")


def test_other_templates_make_another_evaluation(tmp_path: Path) -> None:
    run, path = write(tmp_path, SOUND, pair(1))
    shutil.copytree(shipped("prompts"), tmp_path / "terse")
    template = tmp_path / "terse" / "judgement.j2"
    template.write_text(template.read_text().replace("Here are", "See"))
    for words in ([], ["--prompts", tmp_path / "terse"]):
        shown = _cai(path, "--recipe", run, "--way", "plain", *words, cwd=tmp_path)
        assert shown.returncode == 0, shown.stderr
    figures = [
        json.loads((run.parent / name / FIGURES).read_bytes())["judge"]["prompts"]
        for name in ("judge-eval-labelled", "judge-eval-labelled-terse")
    ]
    assert figures[0] != figures[1]


def test_names_of_ways_are_read_strictly() -> None:
    for text in ("plain", "principles", "principles:3", "reasoned", "principles+reasoned+examples", "harm"):
        assert str(way_name(text)) == text
    assert str(way_name("plain+reasoned")) == "reasoned"
    for text in (
        "plane",
        "principles:0",
        "plain+principles",
        "verbatim+reasoned",
        "harm+plain",
        "plain+plain",
    ):
        with pytest.raises(InputError):
            way_name(text)


async def test_items_that_a_way_cannot_ask_are_counted_and_a_file_that_no_way_fits_is_refused(
    tmp_path: Path,
) -> None:
    run, path = write(tmp_path, SOUND, CHOICES[0], pair(1))
    found = by_way(await evaluate(run, path, "plain", "verbatim"))
    assert [(way.not_for, way.overall.asked) for way in found.values()] == [(0, 2), (1, 1)]
    run, path = write(tmp_path, SOUND, pair(1))
    with pytest.raises(InputError, match="verbatim"):
        await evaluate(run, path, "verbatim")


# ---------------------------------------------------------------------- harm


async def test_harm_ratings_are_held_to_labels_of_single_responses(tmp_path: Path) -> None:
    """Harmful 0.9, 0.4; harmless 0.5, 0.1: three of four pairs are in order; 0.5 is on no side."""
    rated = [(0.9, True), (0.4, True), (0.5, False), (0.1, False)]
    lines = [{"prompt": f"Q{p}", "response": f"H={p}", "harmful": harmful} for p, harmful in rated]
    run, path = write(tmp_path, SOUND, *lines)
    figures = await evaluate(run, path, "harm")
    assert figures.ways == ()
    assert figures.harm is not None
    group = figures.harm.overall
    assert (group.labelled, group.harmful, group.pairs) == (4, 2, 0)
    assert group.auroc.value == pytest.approx(0.75)
    assert (group.right.value, group.right.n) == (2.5 / 4, 4)
    assert group.calibration.brier.value == pytest.approx((0.01 + 0.36 + 0.25 + 0.01) / 4)


async def test_of_a_pair_the_response_with_the_lower_rating_wins(tmp_path: Path) -> None:
    rated = [("0.2", "0.9"), ("0.6", "0.3"), ("0.5", "0.5"), ("0.1", "0.2")]
    lines = [
        {"prompt": f"Question {number}?", "chosen": f"It is H={a}", "rejected": f"This is H={b}"}
        for number, (a, b) in enumerate(rated)
    ]
    run, path = write(tmp_path, SOUND, *lines)
    harm = (await evaluate(run, path, "harm")).harm
    assert harm is not None
    assert (harm.overall.lower_wins.value, harm.overall.pairs) == (2.5 / 4, 4)
    # rejected 0.9, 0.3, 0.5, 0.2 against chosen 0.2, 0.6, 0.5, 0.1: 4 + 2 + 2.5 + 1.5 of 16
    assert harm.overall.pair_auroc.value == pytest.approx(10 / 16)
    assert harm.overall.labelled == 0


async def test_what_two_statements_say_of_harm_is_a_label_for_the_last_response(tmp_path: Path) -> None:
    lines = []
    for number, (p, right) in enumerate([(0.8, "A"), (0.3, "B")]):
        prompt = (
            f"Read:\n\nHuman: Q {number}?\n\nAssistant: H={p}\n\nWhat of it:"
            "\n (A) It was harmful.\n (B) It was kind.\nI say:"
        )
        wrong = "B" if right == "A" else "A"
        lines.append({"prompt": prompt, "corrects": [f" ({right})"], "incorrects": [f" ({wrong})"]})
    run, path = write(tmp_path, SOUND, *lines)
    harm = (await evaluate(run, path, "harm")).harm
    assert harm is not None
    assert (harm.overall.auroc.value, harm.overall.right.value) == (1.0, 1.0)
    assert [group.category for group in harm.categories] == ["It was harmful.", "It was kind."]


# ---------------------------------------------------------------------- nothing is asked twice


async def test_the_same_again_asks_nothing_and_gives_the_same_files(tmp_path: Path) -> None:
    run, path = write(tmp_path, SOUND, *CHOICES)
    await evaluate(run, path)
    out = run.parent / "judge-eval-x"
    first, files = calls(run), [(out / name).read_bytes() for name in (FIGURES, ANSWERS)]
    await evaluate(run, path)
    assert calls(run) == first
    assert [(out / name).read_bytes() for name in (FIGURES, ANSWERS)] == files


async def test_what_was_stopped_goes_on_and_asks_only_what_is_missing(tmp_path: Path) -> None:
    run, path = write(tmp_path, SOUND, *[choice(number, number % 2) for number in range(40)])
    reading, wish, out = read_items(path), Wish(("plain", "principles")), run.parent / "judge-eval-x"
    async with LiveEvaluation(open_run(run), reading, wish, out) as live:
        task = asyncio.create_task(live.go())
        for _ in range(30):
            await asyncio.sleep(0)
        live.stop()
        await task
        assert live.work.progress.finished < 40
    before = calls(run)
    assert 0 < before < 40 * 8
    whole = await evaluate(run, path, "plain", "principles")
    assert calls(run) == 40 * 8
    assert whole.ways[0].overall.asked == 40


async def test_a_small_limit_is_part_of_a_larger_one(tmp_path: Path) -> None:
    run, path = write(tmp_path, SOUND, *CHOICES)
    few = await evaluate(run, path, "plain", limit=4)
    assert (few.file.items, few.file.asked, few.ways[0].overall.asked) == (10, 4, 4)
    assert calls(run) == 8
    await evaluate(run, path, "plain", limit=9)
    assert calls(run) == 18


async def test_what_the_run_has_asked_is_not_asked_again(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=6)
    async with LiveRun(open_run(run)) as live:
        await live.job.work(4)
    data = run / "data" / "harmless-base" / "train.jsonl.gz"
    wish = Wish(("principles",))
    async with LiveEvaluation(open_run(run), read_items(data), wish, tmp_path / "out") as evaluation:
        await evaluation.go()
        (account,) = evaluation.asking.ask.accounts.values()
    assert (account.from_store, account.answered) == (36, 0)


async def test_an_item_that_fails_is_named_and_the_others_are_measured(tmp_path: Path) -> None:
    run, path = write(tmp_path, POISONED, CHOICES[0], choice(1, 1, " POISON"), CHOICES[2])
    figures = await evaluate(run, path, "plain")
    assert [fault.line for fault in figures.failed] == [2]
    assert "no answer" in figures.failed[0].reason
    assert figures.ways[0].overall.accuracy.n == 2


async def test_an_engine_that_is_down_ends_the_work_with_its_error(tmp_path: Path) -> None:
    run, path = write(tmp_path, SOUND, *CHOICES)
    async with LiveEvaluation(open_run(run), read_items(path), Wish(("plain",)), tmp_path / "out") as live:
        engine = live.asking.engines["main"]
        await engine.open()
        inner: Any = engine.inner
        inner._failures = {3: EngineDownError("It is gone.")}
        with pytest.raises(EngineDownError):
            await live.go()
        assert live.work.progress.finished < len(live.items)


# ---------------------------------------------------------------------- the JSON, the page, the verb


async def test_the_form_of_the_json_is_pinned(tmp_path: Path) -> None:
    run, path = write(tmp_path, SOUND, choice(0, 0, " H=0.1"), choice(1, 1, " H=0.2"))
    figures = await evaluate(run, path, "plain", "verbatim", "harm")
    said = json.loads(encode(figures))
    assert said["form"] == FORM == "cai.judge-eval.v1"
    assert list(said) == ["form", "file", "judge", "ways", "differences", "harm", "failed"]
    assert list(said["file"]) == ["name", "items", "asked", "unreadable"]
    assert list(said["ways"][0]) == ["way", "asks", "not_for", "overall", "categories"]
    assert " ".join(said["ways"][0]["overall"]) == (
        "category small asked answered tied abstained too_long accuracy decided chance orders_agree"
        " first_position option_mass judgements abstentions log_loss brier calibration"
    )
    assert " ".join(said["harm"]["overall"]) == (
        "category small asked abstained too_long abstentions option_mass labelled harmful auroc right"
        " calibration pairs lower_wins pair_auroc"
    )
    assert list(said["differences"][0]) == ["one", "other", "difference", "mcnemar_p"]
    assert said == json.loads((run.parent / "judge-eval-x" / FIGURES).read_bytes())
    assert set(json_schema()["properties"]) == set(said)
    assert {field.name for field in fields(GroupFigures)} == set(said["ways"][0]["overall"])
    assert asdict(figures)["judge"]["model"] == "m"


async def test_every_answer_is_written_with_its_line_and_the_digests_of_its_requests(tmp_path: Path) -> None:
    run, path = write(tmp_path, SOUND, *CHOICES[:3])
    await evaluate(run, path, "plain", "verbatim")
    lines = [json.loads(line) for line in (run.parent / "judge-eval-x" / ANSWERS).read_text().splitlines()]
    assert [(line["way"], line["line"]) for line in lines] == [
        (way, number) for way in ("plain", "verbatim") for number in (1, 2, 3)
    ]
    assert lines[0]["probabilities"] == pytest.approx([0.9, 0.1])
    assert lines[4]["probabilities"] == pytest.approx([0.1, 0.9])
    assert all(line["score"] == 1.0 and len(line["requests"]) == 2 for line in lines)


def _cai(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "FORCE_COLOR")}
    command = [sys.executable, "-m", "cai", "judge-eval", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=plain, check=False)


def test_the_verb_prints_a_page_of_80_columns_and_the_same_as_json(tmp_path: Path) -> None:
    run, path = write(tmp_path, SOUND, *(choice(n, n % 2, " H=0.3") for n in range(4)), {"corrects": 1})
    words = [
        "--recipe",
        run,
        "--harm",
        "--way",
        "principles+reasoned",
        "--way",
        "principles:1",
        "--way",
        "verbatim",
    ]
    shown = _cai(path, *words, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert max(len(line) for line in shown.stdout.splitlines() if not line.startswith("Written")) <= 80
    assert "1 line could not be read: line 5:" in shown.stdout
    assert "principles+reasoned" in shown.stdout
    assert "100.0 %" in shown.stdout
    assert "\x1b" not in shown.stdout
    again = _cai(path, *words, "--json", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    written = run.parent / "judge-eval-labelled" / FIGURES
    assert again.stdout == written.read_text()
    assert f"Written to {written}" in shown.stdout


def test_nothing_that_a_file_says_can_speak_to_the_terminal(tmp_path: Path) -> None:
    evil = "a\x1b]0;OWNED\x07\x1b[31m[red]b"
    rated = {"prompt": "H=0.3?", "response": "yes", "harmful": True, "category": evil}
    lines = [pair(n, " H=0.3", category=evil) for n in range(2)]
    bad = {"prompt": "x", "chosen": "y", evil: 1}
    run, path = write(tmp_path, SOUND, *lines, pair(3, " H=0.3"), rated, bad)
    for text in (path.read_text(), path.read_text() + '{"\\u001b]0;OWNED": 1}\n'):
        path.write_text(text)
        words = ["--recipe", run, "--harm", "--way", "plain", "--question", evil]
        shown = _cai(path, *words, cwd=tmp_path)
        assert shown.returncode == 0, shown.stderr
        assert "OWNED" in shown.stdout
        assert "[red]b" in shown.stdout
        for letter in "\x1b\x07":
            assert letter not in shown.stdout + shown.stderr


def test_a_tie_that_rounding_carried_beside_one_half_is_calibrated_as_a_tie(tmp_path: Path) -> None:
    _, path = write(tmp_path, SOUND, *(pair(n) for n in range(60)))
    items = read_items(path).items
    tie = Verdict((0.49999999999999994, 0.5000000000000001))
    way = Way("plain", "", lambda item: True, None)  # type: ignore[arg-type]
    found = way_figures(way, asked(items, dict.fromkeys(range(60), tie), clusters(items)), 0, 0).overall
    assert found.tied == 60
    assert found.calibration.auroc.value == 0.5
    assert (found.calibration.ece or 0.0) < 0.2


def test_the_verb_says_what_is_wrong_and_what_to_do(tmp_path: Path) -> None:
    run, path = write(tmp_path, SOUND, pair(1))
    for words, said in (
        (["--way", "plane"], "no way of asking 'plane'"),
        (["--way", "verbatim"], "can be asked in the way verbatim"),
        (["--engine", "mian"], "did you mean"),
        (["--principles", "0", "--way", "principles"], "no number of principles"),
        (["--by", "colour"], "colour is no text"),
        (["--out", str(run)], "is the run's own folder"),
        (["--examples", "judgements"], "--examples is for the way examples or recipe, and plain, principles"),
        (["--question", "Which?", "--way", "principles"], "--question is for the way plain"),
        (["--constitution", "own", "--way", "plain", "--harm"], "plain, harm was asked for"),
        (["--principles", "²"], "'²' is no number of principles"),
    ):
        done = _cai(path, "--recipe", run, *words, cwd=tmp_path)
        assert done.returncode == 1
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    assert _cai(path, cwd=tmp_path).returncode == 2


def test_an_interrupt_ends_gently_and_the_same_command_goes_on(tmp_path: Path) -> None:
    slow = (
        SOUND
        + "\nimport time\nFAST = judge\n\ndef judge(*words):\n    time.sleep(0.02)\n    return FAST(*words)\n"
    )
    run, path = write(tmp_path, slow, *[choice(number, number % 2) for number in range(60)])
    words = [sys.executable, "-m", "cai", "judge-eval", str(path), "--recipe", str(run), "--way", "plain"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as going:
        while going.poll() is None and calls(run) < 8:
            time.sleep(0.01)
        going.send_signal(signal.SIGINT)
        _, said = going.communicate()
    assert going.returncode == 130, said
    assert "the same command goes on" in said
    assert 8 <= calls(run) < 120
    done = _cai(path, "--recipe", run, "--way", "plain", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert calls(run) == 120
    assert "60 labelled items" in done.stdout


def test_an_item_in_quarantine_gives_exit_code_3(tmp_path: Path) -> None:
    run, path = write(tmp_path, POISONED, CHOICES[0], choice(1, 1, " POISON"))
    done = _cai(path, "--recipe", run, "--way", "plain", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "1 line could not be asked: line 2" in done.stdout
