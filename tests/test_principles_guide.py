"""docs/principles.md: its commands run and end as it says, its files load, its figures are there.

What this module does not know: how the figures are made (tests/fill_guide.py, tests/guide_trials.py).
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cai.constitution_file import load_constitution
from cai.outcome import Round
from cai.shipped import shipped
from cai.toy.world import allowed
from cai.workbench.known_answers import TestResult
from cai.workbench.lint import lint
from tests.fill_guide import GUIDE, about_critiques, about_questions, files, small_run, weights, write_files
from tests.fill_readme import excerpts
from tests.guide_trials import CASES, OTHER, PRINCIPLE, Judged, Revised, cases, counted

TEXT = GUIDE.read_text("utf-8")
PLAIN = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb", "PYTHONUNBUFFERED": "1"}
CAI = [sys.executable, "-m", "cai"]
LINES_MAX = 200
WATCH_S = 30.0


def _commands() -> list[tuple[list[str], int]]:
    """The commands of the page's shell blocks, each with the exit code that the page says."""
    lines = "\n".join(re.findall(r"^```sh\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)).split("\n")
    found = []
    for line in filter(None, lines):
        command, _, comment = line.partition("  # ")
        code = re.match(r"exit code (\d+)(?! where)", comment)
        found.append((shlex.split(command), int(code[1]) if code else 0))
    return found


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page's files and a finished run of twelve rows."""
    folder = tmp_path_factory.mktemp("guide")
    write_files(TEXT, folder)
    small_run(folder / "runs" / "demo", 12)
    words = [*CAI, "run", "runs/demo", "--yes", "--skip-doctor"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, env=PLAIN, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_page_is_short_and_shows_each_verb_of_principles_at_work() -> None:
    assert len(TEXT.splitlines()) <= LINES_MAX
    shown = {(words[0], words[1], words[2]) for words, _ in _commands()}
    verbs = {"lint", "show", "test", "try", "diff", "ablate"}
    assert shown == {("cai", "principles", verb) for verb in verbs} | {("cai", "prompts", "show")}
    assert sorted({code for _, code in _commands()}) == [0, 1, 130]


@pytest.mark.parametrize(
    ("words", "code"), [pytest.param(words, code, id=" ".join(words[1:])) for words, code in _commands()]
)
def test_each_command_ends_as_the_page_says(project: Path, words: list[str], code: int) -> None:
    assert words[0] == "cai"
    if code == 130:
        _watched(project, words[1:])
        return
    done = subprocess.run(
        [*CAI, *words[1:]],
        cwd=project,
        capture_output=True,
        text=True,
        env=PLAIN,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == code, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    assert done.stdout


def _watched(project: Path, words: list[str]) -> None:
    """A command that goes on until Ctrl-C: it shows something, then it is told to end."""
    log = project / "watch.log"
    with log.open("w") as out:
        watching = subprocess.Popen([*CAI, *words], cwd=project, stdout=out, stderr=out, env=PLAIN)
    try:
        until = time.monotonic() + WATCH_S
        while "requests asked" not in log.read_text("utf-8"):
            assert time.monotonic() < until, log.read_text("utf-8")
            assert watching.poll() is None, log.read_text("utf-8")
            time.sleep(0.05)
        watching.send_signal(signal.SIGINT)
        assert watching.wait(WATCH_S) == 130, log.read_text("utf-8")
    finally:
        watching.kill()
        watching.wait()


def test_each_file_of_the_page_differs_from_the_toy_constitution_in_one_form(tmp_path: Path) -> None:
    write_files(TEXT, tmp_path)
    known = {each.id: each for each in load_constitution(shipped("principles/toy.yaml")).principles}
    changed = {}
    for name in files(TEXT):
        made = load_constitution(tmp_path / name)
        if made.name == "support":
            continue
        assert [each.id for each in made.principles] == list(known)
        changed[made.name] = [
            (each.id, field)
            for each in made.principles
            for field in type(each).model_fields
            if getattr(each, field) != getattr(known[each.id], field)
        ]
    assert changed == {
        "two-in-one": [(PRINCIPLE, "judgement")],
        "vague": [(PRINCIPLE, "judgement")],
        "turned": [(PRINCIPLE, "judgement"), (PRINCIPLE, "polarity")],
        "taken-for-granted": [(PRINCIPLE, "critique")],
    }


def test_the_good_example_has_nothing_that_lint_would_remark_on(tmp_path: Path) -> None:
    write_files(TEXT, tmp_path)
    support = load_constitution(tmp_path / "principles" / "support.yaml")
    assert lint(support) == []
    own = support.principles[-1]
    assert own.id == "keeps-promises"
    assert sorted(len(test.better) > len(test.worse) for test in own.tests) == [False, True]
    assert {each.id: each.weight for each in support.principles}["privacy"] == 3


def test_a_forgotten_polarity_is_seen_by_lint(tmp_path: Path) -> None:
    """As the page says of its question for the worse response."""
    write_files(TEXT, tmp_path)
    turned = tmp_path / "principles" / "turned.yaml"
    turned.write_text(turned.read_text("utf-8").replace("polarity: worse, ", ""), "utf-8")
    found = [item for item in lint(load_constitution(turned)) if item.principle == PRINCIPLE]
    assert [item.rule for item in found] == ["polarity"]


# ---------------------------------------------------------------------- figures


def test_every_figure_is_there_and_of_the_weights_that_are_shipped() -> None:
    found = excerpts(TEXT)
    assert set(found) == {"measured", "lint", "judgements", "critiques", "costs"}
    assert all(found.values()), "type: python -m tests.fill_guide"
    assert f"`{weights()}`" in found["measured"], "the weights are others: python -m tests.fill_guide"
    assert "[two-questions]" in found["lint"]
    for name, rows in (("judgements", 4), ("critiques", 2), ("costs", 6)):
        table = [line for line in found[name].split("\n") if line.startswith("|")]
        assert len(table) == 2 + rows
        assert len({line.count("|") for line in table}) == 1


def test_what_is_no_part_of_a_request_costs_nothing() -> None:
    rows = [line.split(" | ") for line in excerpts(TEXT)["costs"].split("\n") if line.startswith("|")][2:]
    costs = {cells[0].strip("| "): cells[1:] for cells in rows}
    assert costs["`tests`, `tags`, `weight`"][:2] == ["none", "0"]
    for edit, stage in (("`judgement` of one principle", "judgement"), ("`revision` of one", "revision")):
        assert re.fullmatch(rf"\d+ {stage}", costs[edit][0])


def test_the_cases_differ_in_their_flaw_alone_and_training_had_none_of_them() -> None:
    made = cases()
    assert len(made) == CASES
    assert len({(case.question, case.rude.text) for case in made}) == CASES
    for case in made:
        assert (case.sound.flaws, case.rude.flaws, case.untrue.flaws) == ((), (PRINCIPLE,), (OTHER,))
        assert {len(reply.sentences) for reply in (case.sound, case.rude, case.untrue)} == {3}
        for reply in (case.rude, case.untrue):
            same = [one == two for one, two in zip(case.sound.sentences, reply.sentences, strict=True)]
            assert same.count(False) == 1
        assert not {PRINCIPLE, OTHER} & {kind.id for kind in allowed(case.sound.topic, "train")}


def _round(critique: str, text: str) -> Round:
    return Round(1, PRINCIPLE, critique, "stop", text, text, "stop", (), True, 0, 0, ())


def test_rounds_are_counted_as_worked_by_hand() -> None:
    """Two cases: a rude sentence is found and mended in the first, missed and left alone in the second; of
    the four other responses one is accused and one rewritten."""
    one, two = cases(2)
    rude = str(one.rude.flaw(PRINCIPLE))
    clean = "The response is polite to the user."
    rounds = [
        _round(f'The response is rude: "{rude}"', one.rude.text.replace(rude, "I am glad that you ask.")),
        _round(clean, one.sound.text),
        _round("The response is rude.", one.untrue.text),
        _round(clean, str(two.rude.flaw(PRINCIPLE))),
        _round(clean, "Something else."),
        _round(clean, two.untrue.text),
    ]
    assert counted([one, two], rounds) == Revised(rude=2, others=4, found=1, invented=1, mended=1, spoilt=1)


def _results(passed: int) -> tuple[TestResult, ...]:
    return tuple(
        TestResult(PRINCIPLE, at, "passed" if at < passed else "failed", 0.9, 0.9) for at in range(CASES)
    )


def test_what_is_said_of_the_tables_follows_their_figures() -> None:
    able, unable = Judged(_results(24), _results(24)), Judged(_results(24), _results(0))
    turned = Judged(_results(0), _results(0))
    names = ("as shipped", "vague", "two-in-one", "polarity: worse")
    reads = about_questions(dict(zip(names, (able, unable, unable, able), strict=True)))
    assert "only the question says which counts. The vague one gets 0 of 24 right." in reads
    assert "scarcely read" not in reads
    assert "has not learnt" not in reads
    blind = about_questions(dict(zip(names, (unable, unable, unable, turned), strict=True)))
    assert "scarcely read the question" in blind
    assert "has not learnt" in blind
    own, more = (Revised(24, 48, 24, invented, 20, 1) for invented in (4, 30))
    told = ("as shipped", "fault taken for granted")
    assert "in 30 polite responses of 48; with a way out in 4" in about_critiques(
        dict(zip(told, (own, more), strict=True))
    )
    assert "find no more faults" in about_critiques(dict(zip(told, (own, own), strict=True)))
