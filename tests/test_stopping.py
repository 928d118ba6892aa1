"""A run that is stopped, by a signal or by its time, keeps everything; the quarantine is taken up again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.toy_source import write_run

CAI = [sys.executable, "-m", "cai"]
PLAIN = {**os.environ, "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200"}


def cai(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [*CAI, *map(str, arguments)], capture_output=True, text=True, env=PLAIN, timeout=120
    )


def slow(run: Path, seconds: float = 0.01) -> None:
    """Make the scripted engine take its time."""
    script = run / "script.py"
    text = script.read_text().replace("    a = 0.1", f"    time.sleep({seconds})\n    a = 0.1")
    script.write_text("import time\n" + text)


def healing(run: Path) -> Path:
    """Let poisoned rows fail until the file that is returned is there."""
    script, healed = run / "script.py", run / "healed"
    poison = f'if not __import__("os").path.exists({str(healed)!r}) and "POISON" in text'
    script.write_text(script.read_text().replace('if "POISON" in text', poison))
    return healed


def status(run: Path) -> dict[str, dict[str, int]]:
    """What `cai status` says."""
    shown = cai("status", run, "--json")
    assert shown.returncode == 0, shown.stderr
    figures: dict[str, dict[str, int]] = json.loads(shown.stdout)
    return figures


def test_only_the_rows_in_quarantine_are_taken_up_again(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=8, pilot=4, poisoned=(0, 1, 2, 3, 4, 5, 6, 7))
    healed = healing(run)
    script = run / "script.py"
    script.write_text(script.read_text() + "\n# the same engine\n")
    only_pilot = cai("run", run, "--pilot-only")
    assert only_pilot.returncode == 3, only_pilot.stderr
    assert status(run)["rows"]["quarantined"] == 4
    healed.touch()
    done = cai("run", run, "--retry-quarantined")
    assert done.returncode == 0, done.stderr
    assert "quarantine: 4 of 4 rows finished" in done.stderr
    rows = status(run)["rows"]
    assert (rows["finished"], rows["quarantined"], rows["unfinished"]) == (4, 0, 4)
    assert not (run / "quarantine.jsonl").exists()
    none = cai("run", run, "--retry-quarantined")
    assert (none.returncode, "No row is in quarantine" in none.stderr) == (0, True)


def test_a_row_that_fails_in_the_pilot_and_in_the_run_stands_in_quarantine_once(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=8, pilot=4, poisoned=(0, 1, 2, 3, 4))
    done = cai("run", run, "--yes")
    assert done.returncode == 3, done.stderr
    assert "5 rows are in quarantine" in done.stderr
    rows = [json.loads(line)["row"] for line in (run / "quarantine.jsonl").read_text().splitlines()]
    assert len(set(rows)) == len(rows) == 5


def test_rows_that_fail_again_stay_in_quarantine_once_each_and_give_exit_code_3(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=6, poisoned=(1, 4))
    assert cai("run", run).returncode == 3
    again = cai("run", run, "--retry-quarantined")
    assert again.returncode == 3, again.stderr
    assert "--retry-quarantined" in again.stderr
    lines = [json.loads(line) for line in (run / "quarantine.jsonl").read_text().splitlines()]
    assert len({line["row"] for line in lines}) == len(lines) == 2
    assert {line["error"] for line in lines} == {"EngineAnswerError"}
    assert {line["line"] for line in lines} == {2, 5}


def test_sigterm_is_one_ctrl_c(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=60)
    slow(run, 0.002)
    process = subprocess.Popen(
        [*CAI, "run", str(run)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=PLAIN
    )
    store = run / "store" / "segment-000001.jsonl"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and (not store.exists() or store.stat().st_size < 40_000):
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert "Stopping: what is under way is finished and kept" in stderr
    assert "Traceback" not in stderr
    rows = status(run)["rows"]
    assert 0 < rows["finished"] < 60
    assert rows["finished"] + rows["unfinished"] == 60


def test_sigterm_before_anything_is_under_way_is_one_sentence(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=2)
    began = run / "began"
    script = run / "script.py"
    script.write_text(
        f"import time\nopen({str(began)!r}, 'w').close()\ntime.sleep(1.5)\n" + script.read_text()
    )
    process = subprocess.Popen(
        [*CAI, "run", str(run)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=PLAIN
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not began.exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert "Go on with: cai run" in stderr


def test_a_run_ends_within_its_hours_with_everything_kept(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=400)
    slow(run)
    started = time.monotonic()
    done = cai("run", run, "--max-hours", 3 / 3600)
    took = time.monotonic() - started
    assert done.returncode == 130, done.stderr
    assert "of --max-hours are over; everything paid for is kept" in done.stderr
    assert took < 30
    rows = status(run)["rows"]
    assert 0 < rows["finished"] < 400
    before = rows["finished"]
    done = cai("run", run, "--max-hours", 3 / 3600)
    assert done.returncode == 130
    assert status(run)["rows"]["finished"] > before


def test_a_stopped_retry_of_what_did_not_fit_is_gone_on_with_by_the_same_command(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=60)
    slow(run)
    done = cai("run", run, "--retry-too-long", "--max-hours", 2 / 3600)
    assert done.returncode == 130, done.stderr
    assert f"Go on with: cai run {run} --retry-too-long" in done.stderr


def test_a_torn_line_of_the_quarantine_is_named_by_run_and_status_alike(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=2, poisoned=(1,))
    assert cai("run", run).returncode == 3
    with (run / "quarantine.jsonl").open("a") as file:
        file.write('{"row":"12')
    for verb in ("status", "run"):
        done = cai(verb, run)
        assert done.returncode == 1
        assert "quarantine.jsonl cannot be used" in done.stderr
        assert "Traceback" not in done.stderr


def test_files_that_a_power_cut_left_empty_stop_no_run(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=2)
    assert cai("run", run).returncode == 0
    [generation] = (run / "frozen").glob("*/generation.json")
    before = generation.read_bytes()
    for path in (generation, run / "tally.json", run / "pilot.json", run / "frozen" / "latest"):
        path.write_bytes(b"")
    told = cai("run", run, "--as-frozen")
    assert told.returncode == 1
    assert "`cai run` makes a new one" in told.stderr
    assert status(run)["rows"]["finished"] == 2
    done = cai("run", run)
    assert done.returncode == 0, done.stderr
    assert "its counts are lost" in done.stderr
    assert generation.read_bytes() == before
    assert cai("run", run, "--as-frozen").returncode == 0
    assert status(run)["rows"]["finished"] == 2


def test_a_run_that_is_done_before_its_hours_are_over_is_done(tmp_path: Path) -> None:
    done = cai("run", write_run(tmp_path, rows=3), "--max-hours", 1)
    assert done.returncode == 0, done.stderr


async def test_what_nobody_has_answered_at_the_end_of_the_hours_is_left() -> None:
    from cai.cli.interrupts import STOP_MAX_S, STOP_SHARE, Deadline, Interrupts

    assert Deadline(1.0).margin_s == pytest.approx(3600 * STOP_SHARE)
    assert Deadline(48.0).margin_s == STOP_MAX_S
    stopped = []
    deadline = Deadline(0.4 / 3600)
    started = time.monotonic()
    with Interrupts(lambda: stopped.append(time.monotonic()), deadline) as interrupts:
        await asyncio.sleep(60)
    assert stopped[0] - started == pytest.approx(0.38, abs=0.1)
    assert time.monotonic() - started == pytest.approx(0.4, abs=0.15)
    assert (deadline.passed, interrupts.seen) == (True, 2)


async def test_the_hours_end_a_run_too_that_a_sigterm_has_stopped_before() -> None:
    from cai.cli.interrupts import Deadline, Interrupts

    stopped = []
    deadline = Deadline(0.6 / 3600)
    started = time.monotonic()
    with Interrupts(lambda: stopped.append(time.monotonic()), deadline) as interrupts:
        asyncio.get_running_loop().call_later(0.1, os.kill, os.getpid(), signal.SIGTERM)
        await asyncio.sleep(10)
    assert len(stopped) == 1
    assert time.monotonic() - started == pytest.approx(0.6, abs=0.3)
    assert (deadline.passed, interrupts.seen) == (False, 2)
