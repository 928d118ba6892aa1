"""Noise: a deterministic judge has none, a noisy one has what was put in, and labels mind it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cai.noise import _spread
from tests.command_line import cai
from tests.toy_source import SCRIPT, write_run

SIGMA = 0.05
NOISY = SCRIPT.replace(
    "    a = 0.1 + 0.8 * (draw(text) % 1000) / 1000\n",
    f"    import random\n    a = 0.5 + random.SystemRandom().gauss(0, {SIGMA})\n",
)


def test_a_judge_that_answers_equal_requests_equally_has_a_floor_of_zero(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=12)
    assert cai("run", run).returncode == 0
    store = (run / "store" / "segment-000001.jsonl").read_bytes()
    done = cai("noise", run, "--sample", 8, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told == json.loads((run / "noise.json").read_text())
    assert (told["noise_floor"], told["rows"], told["pairs"]["flips"]["count"]) == (0.0, 8, 0)
    assert told["judgements"]["n"] == 3 * 2 * told["pairs"]["n"]
    assert (run / "store" / "segment-000001.jsonl").read_bytes() == store
    asked = json.loads(cai("store", "stats", run, "--json").stdout)
    assert sum(stage["records"] for stage in asked["stages"].values()) == store.count(b"\n")
    again = (run / "workbench" / "noise" / "segment-000001.jsonl").read_bytes()
    assert again.count(b"\n") == told["judgements"]["n"]


def test_a_noisy_judge_has_the_floor_of_its_noise_and_labels_mind_it(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=80)
    (run / "script.py").write_text(NOISY)
    assert cai("run", run).returncode == 0
    done = cai("noise", run, "--sample", 80)
    assert done.returncode == 0, done.stderr
    told = json.loads((run / "noise.json").read_text())
    # Three principles in two orders are averaged; two readings are subtracted.
    expected = 1.96 * SIGMA * 2**0.5 / 6**0.5
    assert told["noise_floor"] == pytest.approx(expected, rel=0.3)
    assert told["pairs"]["p95"]["low"] < expected * 1.1
    assert told["pairs"]["p95"]["high"] > expected * 0.9
    assert told["judgements"]["p95"]["value"] == pytest.approx(1.96 * SIGMA * 2**0.5, rel=0.15)
    assert 0.3 < told["pairs"]["flips"]["value"] < 0.7
    assert cai("dataset", run).returncode == 0
    summary = json.loads((run / "dataset" / "summary.json").read_text())
    assert summary["settings"]["noise_floor"] == told["noise_floor"]
    status = json.loads(cai("status", run, "--json").stdout)
    for counts in (status["pairs"]["human"], summary["pairs"]["human"]):
        assert counts["tied"] > 10, "what lies within the floor is a tie, wherever it is counted"
    assert status["pairs"]["human"]["labelled"] == summary["pairs"]["human"]["labelled"]


def test_of_several_judges_only_the_one_that_makes_the_labels_is_asked_again(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=6)
    recipe = (run / "recipe.yaml").read_text()
    other = (
        "  other: {kind: scripted, model: n, script: script.py}\nroles: {judge: [main, other]}\nconstitutions"
    )
    (run / "recipe.yaml").write_text(recipe.replace("constitutions", other, 1))
    assert cai("run", run).returncode == 0
    done = cai("noise", run, "--sample", 6, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["judge"], told["rows"]) == ("main", 6)
    again = (run / "workbench" / "noise" / "segment-000001.jsonl").read_bytes()
    assert again.count(b"\n") == told["judgements"]["n"]


def test_two_readings_by_hand() -> None:
    spread = _spread([(0, 0.6, 0.4), (0, 0.7, 0.8), (1, 0.2, 0.2), (1, None, 0.5), (2, None, None)])
    assert (spread.n, spread.flips.count, spread.unlike) == (3, 1, 1)
    assert spread.mean == pytest.approx(0.1)
    assert spread.median == pytest.approx(0.1)
    assert spread.most == pytest.approx(0.2)
    assert spread.p95.value == pytest.approx(0.19)


def test_a_run_without_judgements_is_said(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=2)
    done = cai("noise", run)
    assert (done.returncode, "has not begun" in done.stderr) == (1, True)
