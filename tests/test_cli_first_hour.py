"""What a new user meets in the first hour: the starter's placeholder, a server that is down, Ctrl-C, vLLM missing."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.command_line import CAI, cai, plain
from tests.toy_source import write_run

NOWHERE = "kind: server, model: m, urls: http://127.0.0.1:9, serve: {}"


def _down(tmp_path: Path) -> Path:
    run = write_run(tmp_path, rows=3)
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("kind: scripted, model: m, script: script.py", NOWHERE))
    return run


def test_the_starter_s_placeholder_is_refused_before_anything_is_contacted(tmp_path: Path) -> None:
    assert cai("init", "mine", cwd=tmp_path).returncode == 0
    for verb in ("run", "serve", "doctor"):
        began = time.monotonic()
        done = cai(verb, "mine/runs/first", cwd=tmp_path)
        assert done.returncode == 1
        assert "still has the starter's model, your-org/your-model" in done.stderr
        assert len(done.stderr.splitlines()) == 2
        assert time.monotonic() - began < 20


def test_ctrl_c_while_a_server_is_waited_for_ends_with_one_sentence(tmp_path: Path) -> None:
    run = _down(tmp_path)
    process = subprocess.Popen([*CAI, "run", str(run)], stderr=subprocess.PIPE, text=True, env=plain())
    assert process.stderr is not None
    waiting = process.stderr.readline()
    assert "The server at http://127.0.0.1:9 cannot be reached" in waiting
    assert "cai serve" in waiting
    assert "It is tried for 5 min." in waiting
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait(20) == 130
    assert rest.startswith("Stopped; everything paid for is kept. Go on with: cai run")
    assert len(rest.splitlines()) == 1


def test_ctrl_c_on_a_terminal_leaves_no_bare_mark(tmp_path: Path) -> None:
    run = _down(tmp_path)
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
    while b"It is tried" not in seen:
        seen += os.read(main, 4096)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert b"\rStopped; everything paid for is kept." in os.read(main, 4096)
    os.close(main)


def test_serving_without_vllm_says_so_and_leaves_no_log(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=3)
    recipe = run / "recipe.yaml"
    served = f"kind: server, model: m, serve: {{port: 8431, python: {sys.executable}}}"
    recipe.write_text(recipe.read_text().replace("kind: scripted, model: m, script: script.py", served))
    logs = tmp_path / "logs"
    logs.mkdir()
    done = subprocess.run(
        [*CAI, "serve", str(run)],
        capture_output=True,
        text=True,
        env={**plain(), "TMPDIR": str(logs)},
        check=False,
    )
    assert done.returncode == 1
    assert "vLLM is not installed for" in done.stderr
    assert "`urls`" in done.stderr
    assert "Starting" not in done.stderr
    assert list(logs.iterdir()) == []


def test_a_finished_run_says_so_in_three_lines_and_names_what_is_next(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=6, pilot=2)
    first = cai("run", run, "--yes")
    assert first.returncode == 0, first.stderr
    assert "The config preferences-sampled is empty: the run judged no sampled pairs." in first.stdout
    assert f"cai show {run} --row 1" in first.stdout
    again = cai("run", run)
    assert again.returncode == 0
    lines = " ".join(again.stdout.split())
    assert "test is finished: 6 rows; nothing is left to ask." in lines
    assert "Its dataset holds preferences" in lines
    assert "Next: cai show" in lines
    assert "Agreement" not in lines
    assert "Pilot" not in lines
    (run / "comparison.json").unlink()
    assert "Agreement" in cai("run", run).stdout


def test_the_version_is_told() -> None:
    from importlib.metadata import version

    done = cai("--version")
    assert done.returncode == 0
    assert done.stdout == f"cai {version('cai')}\n"
