"""The command line, as a person uses it: real processes, exit codes, whole sentences."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.command_line import CAI, cai, plain
from tests.toy_source import write_constitution, write_run


def test_a_run_ends_with_a_dataset_and_a_comparison(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=12)
    done = cai("run", run)
    assert done.returncode == 0, done.stderr
    assert "Agreement" in done.stdout
    assert "12 of 12 rows" in done.stderr
    assert (run / "dataset" / "README.md").is_file()
    assert json.loads((run / "comparison.json").read_text())
    again = cai("run", run)
    assert again.returncode == 0
    assert "is finished: 12 rows; nothing is left to ask" in again.stdout
    (run / "comparison.json").unlink()
    made_again = cai("run", run)
    assert "Nothing is left to ask: 12 rows, each finished or excluded." in made_again.stderr


def test_compare_prints_a_page_its_json_and_the_schema_of_that(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=6)
    cai("run", run)
    page = cai("compare", run)
    assert page.stdout.startswith("\nVerdict\n")
    assert max(map(len, page.stdout.splitlines())) <= 100
    written = json.loads(cai("compare", run, "--json").stdout)
    schema = json.loads(cai("compare", "--schema").stdout)
    assert set(written) == set(schema["properties"])
    without = cai("compare")
    assert (without.returncode, "Name a run" in without.stderr) == (2, True)


def test_status_tells_rows_answers_and_tokens(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=5)
    cai("run", run)
    status = json.loads(cai("status", run, "--json").stdout)
    assert status["rows"]["total"] == 5
    assert status["rows"]["finished"] == 5
    assert status["stages"]["critique"]["answers"] == 10
    assert "5 of 5 finished" in cai("status", run).stdout


def test_show_tells_the_outcome_first_and_then_one_block_a_principle(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=3)
    cai("run", run)
    done = cai("show", run, "--row", 2)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    headers = [line.rstrip(" ─") for line in lines if line.endswith("─")]
    assert headers[1:] == [
        "outcome",
        "critique and revision of rejected",
        "judgement: chosen against rejected (the human pair)",
        "judgement: revision of rejected against its original",
        "harm: is this response, alone, harmful?",
    ]
    assert len(lines) < 60
    block = lines.index("p0  Which response is better by rule 0?  principles/own.yaml:8")
    assert re.match(
        r"  as A 0\.\d{3} [0-9a-f]{12}   as B 0\.\d{3} [0-9a-f]{12}   both 0\.\d{3}", lines[block + 1]
    )


def test_show_tells_an_outcome_that_needed_no_request_as_json_too(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=2)
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace('{"*": own}', '{"helpful*": own}'))
    assert cai("run", run).returncode == 0
    assert "excluded: no_constitution" in cai("show", run, "--row", "1").stdout
    told = json.loads(cai("show", run, "--row", "1", "--json").stdout)
    assert told["outcome"]["excluded"] == "no_constitution"


def test_show_tells_where_every_line_of_a_request_came_from(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=3)
    cai("run", run)
    shown = cai("show", run, "--row", 2)
    words = shown.stdout.splitlines()[-1].split()
    assert words[:2] == ["cai", "show"]
    one = cai(*words[1:])
    assert one.returncode == 0, one.stderr
    assert one.stdout.startswith(
        "judgement, chosen against rejected (the human pair), principle p0, chosen shown as A · "
    )
    assert "row prompt[0] │ User: Question 1?" in one.stdout
    assert "principles/own.yaml:8 │ Which response is better by rule 0?" in one.stdout
    assert "conversation.j2:3 │ Below is a conversation" in one.stdout
    assert "answer: P(A) = " in one.stdout
    story = json.loads(cai("show", run, "--row", 2, "--json").stdout)
    assert len(story["exchanges"]) == 2 + 2 + 6 + 6 + 4
    assert all(exchange["answer"] for exchange in story["exchanges"])
    full = cai("show", run, "--row", 2, "--full").stdout
    assert all(exchange["digest"][:12] in full for exchange in story["exchanges"])
    assert full.count("answer: P(A)") == 12
    wrong = cai("show", run, "--row", 2, "--request", "zz")
    assert wrong.returncode == 1
    assert "No request of row" in wrong.stderr


def test_a_row_is_named_by_number_by_id_or_by_file_and_line(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=3)
    cai("run", run)
    row = json.loads(cai("show", run, "--row", 2, "--json").stdout)["row"]
    for wanted in (row, row[:10], "train.jsonl.gz:2", "harmless-base/train.jsonl.gz:2"):
        assert json.loads(cai("show", run, "--row", wanted, "--json").stdout)["row"] == row
    for wanted in ("4", "train.jsonl.gz:9", "zz"):
        done = cai("show", run, "--row", wanted)
        assert done.returncode == 1
        assert "its sources hold 3 rows" in done.stderr


def test_the_pilot_waits_for_a_person(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=12, pilot=4)
    waits = cai("run", run)
    assert waits.returncode == 1
    assert "waits for a person: 8 rows are left" in waits.stderr
    assert "Pilot: 4 of 12 rows" in waits.stdout
    assert "Option mass: 0.980" in waits.stdout
    assert re.search(r"Agreement: \d+\.\d % \(\d+\.\d to \d+\.\d, n 4\)", waits.stdout)
    status = json.loads(cai("status", run, "--json").stdout)
    assert status["rows"]["finished"] == 4
    on = cai("run", run, "--yes")
    assert on.returncode == 0
    assert "12 of 12 rows" in on.stderr


def test_a_pilot_that_misses_a_threshold_stops_the_run_and_says_which(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=12, pilot=4)
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("rows: 4", "rows: 4, min_option_mass: 0.99"))
    done = cai("run", run)
    assert done.returncode == 1
    assert "min_option_mass is 0.99, the pilot's figure is 0.980" in done.stderr
    recipe.write_text(recipe.read_text().replace("0.99", "0.9"))
    assert cai("run", run).returncode == 0


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
    done = cai("run", run)
    assert done.returncode == 3, done.stderr
    assert "1 rows are in quarantine" in done.stderr
    healed.touch()
    again = cai("run", run)
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
        [*CAI, "run", str(run)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=plain()
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
    before = json.loads(cai("status", run, "--json").stdout)
    assert 0 < before["rows"]["finished"] < 60
    done = cai("run", run)
    assert done.returncode == 0, done.stderr
    stages = json.loads(cai("status", run, "--json").stdout)["stages"]
    assert stages["critique"]["answers"] == 120
    assert stages["revision"]["answers"] == 120


def test_init_writes_a_project_whose_recipe_names_what_is_there(tmp_path: Path) -> None:
    done = cai("init", "mine", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    project = tmp_path / "mine"
    assert (project / "principles" / "harmless.yaml").is_file()
    assert (project / "prompts" / "judgement.j2").is_file()
    assert (project / "prompts" / "base" / "judgement.j2").is_file()
    again = cai("init", "mine", cwd=tmp_path)
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
    done = cai("run", run)
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
    done = cai(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert "There is no run nope" in done.stderr


def test_two_processes_cannot_work_on_one_run(tmp_path: Path) -> None:
    from cai.store import Store

    run = write_run(tmp_path, rows=3)
    with Store(run / "store", writable=True):
        done = cai("run", run)
    assert done.returncode == 1
    assert f"process {os.getpid()}" in done.stderr


def test_help_lists_the_verbs_that_work() -> None:
    shown = cai("--help").stdout
    verbs = [line.split()[0] for line in shown.split("Commands:")[1].splitlines() if line.strip()]
    assert set(verbs) >= {
        "init",
        "run",
        "status",
        "show",
        "dataset",
        "compare",
        "serve",
        "demo",
        "principles",
    }
    assert "..." not in shown.split("Commands:")[1]
    for verb in verbs:
        assert cai(verb, "--help").returncode == 0


def test_reading_verbs_show_the_last_generation_after_an_edit_and_say_what_changed(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=4)
    cai("run", run)
    before = sorted(path.name for path in (run / "frozen").iterdir())
    write_constitution(run, change=" now")
    for words in (("dataset", run), ("status", run), ("show", run, "--row", 2), ("compare", run)):
        done = cai(*words)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("principles/own.yaml has changed since test last ran") == 1
    assert "4 of 4 finished" in cai("status", run).stdout
    assert sorted(path.name for path in (run / "frozen").iterdir()) == before
    assert (run / "dataset" / "preferences").is_dir()


def test_touching_the_source_asks_nobody_again(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=8, pilot=3)
    assert cai("run", run, "--yes").returncode == 0
    os.utime(run / "data" / "harmless-base" / "train.jsonl.gz")
    assert cai("run", run).returncode == 0


def test_the_pilot_alone(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=8, pilot=3)
    done = cai("run", run, "--pilot-only")
    assert done.returncode == 0
    assert "Pilot: 3 of 8 rows" in done.stdout
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("rows: 3", "rows: 0"))
    done = cai("run", run, "--pilot-only")
    assert done.returncode == 1
    assert "pilot has 0 rows" in done.stderr


def test_rows_in_quarantine_are_counted_once_and_hold_a_pilot_back(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=8, pilot=8, poisoned=(1, 2))
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("rows: 8", "rows: 6, min_option_mass: 0.1"))
    done = cai("run", run)
    assert done.returncode in (1, 3)
    status = json.loads(cai("status", run, "--json").stdout)
    assert status["rows"]["quarantined"] <= 2
    alone = cai("run", run, "--pilot-only")
    assert alone.returncode == (3 if status["rows"]["quarantined"] else 0)


def test_text_that_looks_like_an_emoji_code_or_markup_is_shown_as_it_is(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a[b]", rows=2)
    source = run / "data" / "harmless-base" / "train.jsonl.gz"
    source.write_bytes(
        gzip.compress(
            gzip.decompress(source.read_bytes()).replace(b"Question 1", b":smile: [red]x[/red] \\u001b[31m")
        )
    )
    assert cai("run", run).returncode == 0
    shown = cai("show", run, "--row", 2)
    assert ":smile: [red]x[/red] \\x1b[31m" in shown.stdout


@pytest.mark.parametrize(
    ("name", "message"),
    [("quarantine.jsonl", "cannot be used"), ("frozen", "frozen"), ("store", "cannot be written")],
)
def test_a_thing_in_the_way_is_named(tmp_path: Path, name: str, message: str) -> None:
    run = write_run(tmp_path, rows=2, poisoned=(0,))
    if name == "quarantine.jsonl":
        (run / name).mkdir()
    else:
        (run / name).write_text("in the way")
    done = cai("run", run)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_at_the_question_ends_the_run(tmp_path: Path) -> None:
    import pty

    run = write_run(tmp_path, rows=8, pilot=3)
    main, terminal = pty.openpty()
    process = subprocess.Popen(
        [*CAI, "run", str(run)],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=plain(),
        start_new_session=True,
    )
    os.close(terminal)
    seen = b""
    while b"[y/N]" not in seen:
        seen += os.read(main, 4096)
    time.sleep(0.3)  # the question stands there microseconds before the answer is read; nobody is so quick
    process.send_signal(signal.SIGINT)
    assert process.wait(20) in (1, 130)
    os.close(main)
    assert json.loads(cai("status", run, "--json").stdout)["rows"]["finished"] == 3


def test_a_dataset_without_its_run_is_compared_and_reported(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=6)
    assert cai("run", run).returncode == 0
    before = (run / "comparison.json").read_bytes()
    alone = tmp_path / "handed-on"
    alone.mkdir()
    (run / "dataset").rename(alone / "dataset")
    done = cai("compare", alone)
    assert done.returncode == 0, done.stderr
    assert (alone / "comparison.json").read_bytes() == before
    assert cai("report", alone).returncode == 0
