"""`cai store` and `run.reuse`: what is on disk is checked, counted and exported; paid-for answers are taken over."""

from __future__ import annotations

import json
from pathlib import Path

from cai.store import Store
from tests.command_line import cai
from tests.toy_source import write_run


def _finished(folder: Path, rows: int = 4) -> Path:
    run = write_run(folder, rows=rows)
    done = cai("run", run, "--skip-doctor")
    assert done.returncode == 0, done.stderr
    return run


def test_a_sound_store_is_verified_counted_and_exported_whole(tmp_path: Path) -> None:
    run = _finished(tmp_path)
    assert "0 are damaged" in cai("store", "verify", run).stdout
    counted = json.loads(cai("store", "stats", run, "--json").stdout)
    assert counted["stages"]["critique"]["records"] == 8  # rows x rounds
    assert counted["stages"]["outcome"]["records"] == 4
    lines = [json.loads(line) for line in cai("store", "export", run).stdout.splitlines()]
    assert len(lines) == sum(stage["records"] for stage in counted["stages"].values())
    assert set(lines[0]) == {"digest", "answer", "labels"}
    critiques = cai("store", "export", run, "--stage", "critique").stdout.splitlines()
    assert len(critiques) == 8


def test_what_is_recorded_more_than_once_is_counted_and_damage_left_out_of_an_export_is_told(
    tmp_path: Path,
) -> None:
    run = _finished(tmp_path)
    with Store(run / "store", writable=True) as store:
        records = list(store.records())
        for record in [*records[:3], records[0]]:
            store.put(record.digest, record.answer, record.labels)
    counted = json.loads(cai("store", "stats", run, "--json").stdout)
    assert counted["twice"] == 4
    assert cai("store", "export", run).stderr == ""
    [segment] = (run / "store").glob("segment-*.jsonl")
    data = bytearray(segment.read_bytes())
    data[100] ^= 1
    segment.write_bytes(data)
    done = cai("store", "export", run)
    assert len(done.stdout.splitlines()) == len(records) + 3
    assert "1 damaged records are left out" in done.stderr
    assert json.loads(cai("status", run, "--json").stdout)["damaged_records"] == 1


def test_a_damaged_record_is_located_and_asked_again(tmp_path: Path) -> None:
    run = _finished(tmp_path)
    [segment] = (run / "store").glob("segment-*.jsonl")
    data = bytearray(segment.read_bytes())
    data[100] ^= 1
    segment.write_bytes(data)
    done = cai("store", "verify", run)
    assert done.returncode == 1
    assert "1 are damaged" in done.stdout
    assert f"{segment.name}, " in done.stdout
    assert cai("run", run, "--skip-doctor").returncode == 0


def test_answers_of_another_run_are_taken_over_and_nothing_is_asked(tmp_path: Path) -> None:
    first = _finished(tmp_path / "one")
    second = write_run(tmp_path / "two", rows=4)
    recipe = second / "recipe.yaml"
    recipe.write_text(recipe.read_text() + f"run: {{reuse: [{first}]}}\n")
    done = cai("run", second, "--skip-doctor")
    assert done.returncode == 0, done.stderr
    assert "0 requests answered" in done.stderr
    assert (second / "dataset" / "traces").is_dir()
    first.rename(tmp_path / "gone")
    recipe.write_text(recipe.read_text().split("run: {")[0])
    again = cai("run", second, "--skip-doctor")  # what was taken over is the run's own now
    assert again.returncode == 0, again.stderr


def test_a_run_to_reuse_that_is_not_there_is_named(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=1)
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text() + "run: {reuse: [runs/nowhere]}\n")
    assert "runs/nowhere, which run.reuse names" in cai("run", run, "--skip-doctor").stderr
    (tmp_path / "runs" / "new").mkdir()
    (tmp_path / "runs" / "new" / "recipe.yaml").write_text("")
    assert "no store" in cai("store", "stats", tmp_path / "runs" / "new").stderr
