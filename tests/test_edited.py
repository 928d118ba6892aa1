"""After an edit a run goes on only when it is told which generation is meant, and says what that costs."""

from __future__ import annotations

import json
from pathlib import Path

from tests.command_line import cai
from tests.toy_source import write_constitution, write_rows, write_run

ROWS = 6


def _finished(folder: Path) -> Path:
    run = write_run(folder, rows=ROWS)
    done = cai("run", run, "--skip-doctor")
    assert done.returncode == 0, done.stderr
    return run


def _edit(run: Path, old: str, new: str) -> None:
    path = run / "principles" / "own.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def _generations(run: Path) -> int:
    return len(list((run / "frozen").glob("*/generation.json")))


def test_an_edited_question_is_named_and_counted_before_anything_is_asked(tmp_path: Path) -> None:
    run = _finished(tmp_path)
    write_constitution(run, change=" again")
    done = cai("run", run, "--skip-doctor")
    assert done.returncode == 1
    told = " ".join(done.stderr.split())
    assert "principles/own.yaml has changed since test last ran." in told
    assert f"{ROWS * 2 * 2} would be asked again because they change" in told  # human, revised; both orders
    assert "at most 0 because they follow" in told
    assert "--edited" in told
    assert "--as-frozen" in told
    assert _generations(run) == 1


def test_edited_asks_just_what_was_told_and_as_frozen_goes_on_as_before(tmp_path: Path) -> None:
    run = _finished(tmp_path)
    before = json.loads((run / "comparison.json").read_text())["generation"]
    write_constitution(run, change=" again")
    frozen = cai("run", run, "--skip-doctor", "--as-frozen")
    assert frozen.returncode == 0, frozen.stderr
    assert _generations(run) == 1
    edited = cai("run", run, "--skip-doctor", "--edited")
    assert edited.returncode == 0, edited.stderr
    assert f"{ROWS * 2 * 2:,} requests answered" in edited.stderr
    assert _generations(run) == 2
    after = json.loads((run / "comparison.json").read_text())["generation"]
    assert before != after
    assert cai("run", run, "--skip-doctor").returncode == 0  # what the run has worked with needs no word


def test_as_frozen_is_refused_where_the_dataset_would_be_of_another_generation(tmp_path: Path) -> None:
    run = _finished(tmp_path)
    path = run / "principles" / "own.yaml"
    before = path.read_text()
    write_constitution(run, change=" again")
    assert cai("run", run, "--skip-doctor", "--edited").returncode == 0
    edited = path.read_text()
    path.write_text(before)
    write_rows(run, ROWS + 2)
    done = cai("run", run, "--skip-doctor", "--as-frozen")
    assert done.returncode == 1, done.stderr
    assert "leave --as-frozen out" in done.stderr
    for text in (edited, before):
        path.write_text(text)
        done = cai("run", run, "--skip-doctor")
        assert (done.returncode, "not finished" in done.stderr) == (0, False), done.stderr


def test_an_edit_that_asks_nothing_says_so(tmp_path: Path) -> None:
    run = _finished(tmp_path)
    _edit(run, "    text: Rule 0.", "    weight: 3\n    text: Rule 0.")
    done = cai("run", run, "--skip-doctor")
    assert done.returncode == 1
    assert "Nothing would be asked again" in done.stderr


def test_comments_and_order_are_no_edit(tmp_path: Path) -> None:
    run = _finished(tmp_path)
    path = run / "principles" / "own.yaml"
    head, *principles = path.read_text().split("  - id:")
    path.write_text("# why\n" + head + "".join("  - id:" + item for item in reversed(principles)))
    done = cai("run", run, "--skip-doctor")
    assert done.returncode == 0, done.stderr
    assert _generations(run) == 1


def test_both_at_once_are_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=1)
    assert cai("run", run, "--edited", "--as-frozen").returncode == 2
