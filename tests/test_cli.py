"""The command line, as a person uses it: real processes, exit codes, whole sentences."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.toy_source import write_run

CAI = [sys.executable, "-c", "from cai.cli import main; main()"]
PLAIN = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}


def _cai(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CAI, *map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=PLAIN,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def test_a_run_ends_with_a_dataset_and_a_comparison(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=12)
    done = _cai("run", run)
    assert done.returncode == 0, done.stderr
    assert "Agreement" in done.stdout
    assert "12 of 12 rows" in done.stderr
    assert (run / "dataset" / "README.md").is_file()
    assert json.loads((run / "comparison.json").read_text())
    again = _cai("run", run)
    assert again.returncode == 0
    assert "0 answers and 0 from the store" in again.stderr


def test_status_tells_rows_answers_and_tokens(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=5)
    _cai("run", run)
    status = json.loads(_cai("status", run, "--json").stdout)
    assert status["rows"]["total"] == 5
    assert status["rows"]["finished"] == 5
    assert status["stages"]["critique"]["answers"] == 10
    assert "5 of 5 finished" in _cai("status", run).stdout


def test_show_tells_where_every_line_of_a_request_came_from(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=3)
    _cai("run", run)
    shown = _cai("show", run, "--row", 2)
    assert shown.returncode == 0, shown.stderr
    assert "row prompt[0] │ User: Question 1?" in shown.stdout
    assert "principles/own.yaml:" in shown.stdout
    assert "conversation.j2:3 │ Below is a conversation" in shown.stdout
    story = json.loads(_cai("show", run, "--row", 2, "--json").stdout)
    assert len(story["exchanges"]) == 2 + 2 + 6 + 6
    assert all(exchange["answer"] for exchange in story["exchanges"])
    by_id = _cai("show", run, "--row", story["row"][:10], "--brief")
    assert story["row"] in by_id.stdout


def test_the_pilot_waits_for_a_person(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=12, pilot=4)
    waits = _cai("run", run)
    assert waits.returncode == 1
    assert "waits for a person: 8 rows are left" in waits.stderr
    assert "Pilot: 4 of 12 rows" in waits.stdout
    assert "option mass" in waits.stdout
    status = json.loads(_cai("status", run, "--json").stdout)
    assert status["rows"]["finished"] == 4
    on = _cai("run", run, "--yes")
    assert on.returncode == 0
    assert "12 of 12 rows" in on.stderr


def test_a_pilot_that_misses_a_threshold_stops_the_run_and_says_which(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=12, pilot=4)
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("rows: 4", "rows: 4, min_option_mass: 0.99"))
    done = _cai("run", run)
    assert done.returncode == 1
    assert "min_option_mass is 0.99, the pilot's figure is 0.980" in done.stderr
    recipe.write_text(recipe.read_text().replace("0.99", "0.9"))
    assert _cai("run", run).returncode == 0


def test_rows_in_quarantine_give_exit_code_3_and_are_taken_up_again(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=6, poisoned=(2,))
    script = run / "script.py"
    healed = run / "healed"
    script.write_text(
        script.read_text().replace(
            'if "POISON" in text',
            f'if not __import__("os").path.exists({str(healed)!r}) and "POISON" in text',
        )
    )
    done = _cai("run", run)
    assert done.returncode == 3, done.stderr
    assert "1 rows are in quarantine" in done.stderr
    healed.touch()
    again = _cai("run", run)
    assert again.returncode == 0, again.stderr
    assert "6 of 6 rows" in again.stderr


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_keeps_what_was_paid_for_and_the_same_command_goes_on(tmp_path: Path, times: int) -> None:
    run = write_run(tmp_path, rows=60)
    script = run / "script.py"
    script.write_text(
        script.read_text()
        .replace("def score", "import time\n\ndef score")
        .replace("    a = 0.1", "    time.sleep(0.002)\n    a = 0.1")
    )
    process = subprocess.Popen(
        [*CAI, "run", str(run)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=PLAIN
    )
    store = run / "store" / "segment-000001.jsonl"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and (not store.exists() or store.stat().st_size < 40_000):
        time.sleep(0.02)
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert "kept" in stderr
    before = json.loads(_cai("status", run, "--json").stdout)
    assert 0 < before["rows"]["finished"] < 60
    done = _cai("run", run)
    assert done.returncode == 0, done.stderr
    stages = json.loads(_cai("status", run, "--json").stdout)["stages"]
    assert stages["critique"]["answers"] == 120
    assert stages["revision"]["answers"] == 120


def test_init_writes_a_project_whose_recipe_names_what_is_there(tmp_path: Path) -> None:
    done = _cai("init", "mine", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    project = tmp_path / "mine"
    assert (project / "principles" / "harmless.yaml").is_file()
    assert (project / "prompts" / "judgement.j2").is_file()
    assert (project / "prompts" / "base" / "judgement.j2").is_file()
    again = _cai("init", "mine", cwd=tmp_path)
    assert again.returncode == 1
    assert "already holds" in again.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("path: data", "path: absent"), "absent"),
        (("script: script.py", "script: gone.py"), "gone.py"),
        (('"*": own', '"*": missing'), "There is no missing"),
        (("kind: scripted", "kind: skripted"), "recipe.yaml:4"),
        (("sources:", "sorces:"), "did you mean 'sources'?"),
    ],
)
def test_a_mistake_costs_one_sentence_and_exit_code_1(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    run = write_run(tmp_path, rows=3)
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace(*change, 1))
    done = _cai("run", run)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 6


@pytest.mark.parametrize(
    "words",
    [
        ("run", "nope"),
        ("status", "nope"),
        ("show", "nope", "--row", "1"),
        ("compare", "nope"),
        ("dataset", "nope"),
    ],
)
def test_a_run_that_is_not_there_is_named(words: tuple[str, ...], tmp_path: Path) -> None:
    done = _cai(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert "There is no run nope" in done.stderr


def test_two_processes_cannot_work_on_one_run(tmp_path: Path) -> None:
    from cai.store import Store

    run = write_run(tmp_path, rows=3)
    with Store(run / "store", writable=True):
        done = _cai("run", run)
    assert done.returncode == 1
    assert f"process {os.getpid()}" in done.stderr


def test_help_lists_the_verbs_that_work() -> None:
    shown = _cai("--help").stdout
    verbs = [line.split()[0] for line in shown.split("Commands:")[1].splitlines() if line.strip()]
    assert verbs == ["init", "run", "status", "show", "dataset", "compare", "serve", "demo"]
    assert "..." not in shown.split("Commands:")[1]
    for verb in verbs:
        assert _cai(verb, "--help").returncode == 0
