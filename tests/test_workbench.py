"""The workbench on the command line: tests of principles, trying one on a row, watching for saves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cai.workbench.words import word_diff
from tests.toy_source import write_run

CAI = [sys.executable, "-m", "cai"]
PLAIN = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb", "PYTHONUNBUFFERED": "1"}
JUDGE = """
def generate(request):
    return "I will not choose." if request.labels["stage"] == "abstention" else "A text about kindness."


def score(request):
    text = request.rendered.messages[0].text
    if "<response_a>" not in text:
        return [0.5, 0.5]
    a, b = text.index("<response_a>"), text.index("<response_b>")
    if "Silent?" in text:
        return [0.1, 0.1]
    if "Place?" in text:
        return [0.8, 0.2]
    sure = 0.9 if "warmer" in text else 0.7
    kind_is_a = any(word in text[a:b] for word in ("Hello", "A fine", "A text"))
    return [sure, 1 - sure] if kind_is_a else [1 - sure, sure]
"""
CONSTITUTION = """\
constitution: own
title: Own
principles:
  - id: kind
    text: The response is kind.
    judgement: {question}
    tests:
      - {{prompt: Hi, better: Hello!, worse: Go away.}}
      - {{prompt: Hi, better: Go away., worse: Hello!}}
  - id: place
    text: It has a place.
    judgement: Place?
    tests: [{{prompt: Hi, better: Hello!, worse: Go away.}}]
  - id: silent
    text: It says nothing.
    judgement: Silent?
    tests: [{{prompt: Hi, better: Hello!, worse: Go away.}}]
"""


def _run(folder: Path) -> Path:
    run = write_run(folder, rows=4)
    (folder / "judge.py").write_text(JUDGE)
    recipe = (run / "recipe.yaml").read_text()
    script = next(line for line in recipe.splitlines() if "script:" in line)
    path = script.split("script:")[1].split(",")[0].split("}")[0].strip()
    (run / "recipe.yaml").write_text(recipe.replace(path, str(folder / "judge.py")))
    _constitution(run, "Which is kinder?")
    return run


def _constitution(run: Path, question: str) -> None:
    [path] = [item for item in run.parent.parent.rglob("own.yaml") if "frozen" not in item.parts]
    path.write_text(CONSTITUTION.format(question=question))


def _cai(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CAI, *map(str, words)],
        capture_output=True,
        text=True,
        env=PLAIN,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def test_a_principle_is_held_to_its_own_tests_in_both_orders(tmp_path: Path) -> None:
    run = _run(tmp_path)
    done = _cai("principles", "test", run, "--json")
    assert done.returncode == 1, done.stderr
    found = {(item["principle"], item["number"]): item for item in json.loads(done.stdout)}
    assert {key: item["verdict"] for key, item in found.items()} == {
        ("kind", 1): "passed",
        ("kind", 2): "failed",
        ("place", 1): "one order only",
        ("silent", 1): "abstained",
    }
    assert found["kind", 1]["margin"] == pytest.approx(0.2)
    assert found["kind", 2]["margin"] == pytest.approx(-0.2)
    assert found["place", 1]["margin"] == pytest.approx(0)
    assert found["silent", 1]["said"] == "I will not choose."
    told = _cai("principles", "test", run)
    assert "1 of 4 tests passed; 1 passed in one order only" in told.stdout
    assert _cai("principles", "test", run, "--only", "nobody").returncode == 1


def test_trying_a_principle_shows_critique_revision_and_both_orders(tmp_path: Path) -> None:
    run = _run(tmp_path)
    done = _cai("principles", "try", "kind", run, "--row", 2)
    assert done.returncode == 0, done.stderr
    for piece in ("critique", "A text about kindness.", "shown as A: 0.", "shown as B: 0.", "requests asked"):
        assert piece in done.stdout
    again = _cai("principles", "try", "kind", run, "--row", 2)
    assert "0 requests asked, 4 answered from the store" in again.stdout


def test_trying_tells_what_cannot_be_tried(tmp_path: Path) -> None:
    run = _run(tmp_path)
    assert "did you mean 'kind'" in _cai("principles", "try", "kin", run).stderr
    assert "there are 4 rows" in _cai("principles", "try", "kind", run, "--row", 9).stderr


def test_a_save_is_seen_and_asks_again_only_what_it_changed(tmp_path: Path) -> None:
    run = _run(tmp_path)
    log = tmp_path / "log"
    with log.open("w") as out:
        watching = subprocess.Popen(
            [*CAI, "principles", "try", "kind", str(run), "--watch"], stdout=out, stderr=out, env=PLAIN
        )
    try:
        _wait(log, "requests asked")
        _constitution(run, "Which is warmer?")
        saved = time.perf_counter()
        _wait(log, "2 requests asked, 2 answered from the store")
        assert time.perf_counter() - saved < 2
        _constitution(run, "Which is warmer? {{")
        _wait(log, "template marks")
    finally:
        watching.terminate()
        watching.wait(10)
    assert "as before" in log.read_text()
    assert "(was 0." in log.read_text()


def _wait(log: Path, words: str, seconds: float = 15) -> None:
    until = time.monotonic() + seconds
    while words not in log.read_text():
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.05)


def test_a_word_diff_gives_both_texts_back() -> None:
    before, after = "It is  kind, and short.", "It is kind and very short."
    pieces = word_diff(before, after)
    assert "".join(text for change, text in pieces if change != "new") == before
    assert "".join(text for change, text in pieces if change != "gone") == after
    assert ("new", " very") in pieces or ("new", "very ") in pieces
    assert word_diff("same", "same") == [("same", "same")]
    assert word_diff("", "new") == [("new", "new")]


def test_a_diff_tells_flips_both_agreements_and_what_the_run_would_ask_again(tmp_path: Path) -> None:
    run = _run(tmp_path)
    [own] = [item for item in tmp_path.rglob("own.yaml") if "frozen" not in item.parts]
    own.write_text(CONSTITUTION.split("  - id: place")[0].format(question="Which is kinder?"))
    assert _cai("run", run, "--yes", "--skip-doctor").returncode == 0
    new = tmp_path / "new" / "own.yaml"
    new.parent.mkdir()
    turned = CONSTITUTION.split("  - id: place")[0].format(question="Which is kinder?")
    new.write_text(turned + "    polarity: worse\n")
    done = _cai("principles", "diff", own, new, "--run", run, "--sample", 4, "--json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert made["changes"]["direct"] == 0  # a polarity asks nothing again
    assert made["difference"]["flipped"]["count"] == 4
    before = made["difference"]["agreement_before"]["value"]
    assert made["difference"]["agreement_after"]["value"] == pytest.approx(1 - before)
    (run / "noise.json").write_text('{"noise_floor": 0.25}')
    done = _cai("principles", "diff", own, new, "--run", run, "--sample", 4, "--no-count", "--json")
    assert json.loads(done.stdout)["difference"]["agreement_before"]["n"] == 0, "ties, as in the dataset"
    (run / "noise.json").unlink()
    new.write_text(turned.replace("kinder", "warmer"))
    made = json.loads(_cai("principles", "diff", own, new, "--run", run, "--sample", 0, "--json").stdout)
    assert made["changes"]["stages"] == {"judgement": 4 * 2 * 2}  # rows x orders x (human, revised)
    assert made["changes"]["follow_at_most"] == 0
    told = _cai("principles", "diff", own, new, "--run", run, "--sample", 4)
    assert "16 of at most" in told.stdout


def test_an_earlier_version_is_taken_from_git(tmp_path: Path) -> None:
    run = _run(tmp_path)
    [own] = [item for item in tmp_path.rglob("own.yaml") if "frozen" not in item.parts]
    own.write_text(CONSTITUTION.split("  - id: place")[0].format(question="Which is kinder?"))
    git = ["git", "-C", str(own.parent), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "own.yaml"], check=True)
    subprocess.run([*git, "commit", "-qm", "one"], check=True)
    own.write_text(own.read_text().replace("kinder", "warmer"))
    done = _cai("principles", "diff", f"HEAD:{own}", own, "--run", run, "--sample", 2, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["difference"]["pairs"] == 2
    refused = _cai("principles", "diff", f"NOWHERE:{own}", own, "--run", run)
    assert refused.returncode == 1
    assert "git has no" in refused.stderr
    text = own.read_bytes()
    own.write_bytes(text.replace(b"title: Own", b"title: \xe9"))
    subprocess.run([*git, "commit", "-qam", "two"], check=True)
    own.write_bytes(text)
    refused = _cai("principles", "diff", f"HEAD:{own}", own, "--run", run)
    assert "is not UTF-8 (byte" in refused.stderr
    assert "Traceback" not in refused.stderr
