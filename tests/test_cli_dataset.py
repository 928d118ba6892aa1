"""`cai dataset` on the command line: a real run with two splits and two subsets, and its other formats."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from cai.cli import _verbs, app
from cai.cli.ending import empty_configs
from cai.dataset import CONFIGS
from cai.errors import RunError
from cai.frozen import freeze, load_inputs
from cai.reading import ReadRun
from cai.recipe import load_recipe
from cai.run_folder import open_run
from tests.test_dataset import digests
from tests.toy_source import write_constitution, write_run

CHANGES = """\
constitutions: {"harmless-*": own}
dataset: {mix: {"helpful-*": 0.5}, margin: true}
"""


def cai(*words: object) -> Result:
    if not app.registered_commands:
        _verbs()
    return CliRunner().invoke(app, [str(word) for word in words])


def write_lines(path: Path, prompts: list[str]) -> None:
    """A file of hh-rlhf."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {side: f"\n\nHuman: {prompt}\n\nAssistant: A {side} answer." for side in ("chosen", "rejected")}
        for prompt in prompts
    ]
    path.write_bytes(gzip.compress(b"\n".join(orjson.dumps(row) for row in rows) + b"\n", mtime=0))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run: 10 harmless rows of train, two of which the test split asks too; 20 helpful ones."""
    run = write_run(tmp_path_factory.mktemp("project"), rows=10)
    data = run / "data"
    write_lines(data / "harmless-base" / "test.jsonl.gz", ["question 3?", "Question  7?", "Something else?"])
    write_lines(data / "helpful-base" / "train.jsonl.gz", [f"Help me with thing {n}." for n in range(20)])
    recipe = run / "recipe.yaml"
    text = recipe.read_text().replace('constitutions: {"*": own}\n', CHANGES)
    recipe.write_text(text)
    done = cai("run", run, "--yes")
    assert done.exit_code == 0, done.output
    assert "2 rows of train have a prompt of another split, or nearly, and are dropped from" in done.output
    assert (
        "Left out beyond the ratios of the recipe's `mix`: preferences 16, preferences-human 16"
        in done.output
    )
    return run


def rows_of(run: Path, config: str, split: str = "train") -> list[dict[str, Any]]:
    return list(pq.read_table(run / "dataset" / config / f"{split}-00000.parquet").to_pylist())


def test_a_run_keeps_its_splits_apart_and_mixes_in_what_the_recipe_says(run: Path) -> None:
    train, test = rows_of(run, "preferences"), rows_of(run, "preferences", "test")
    harmless = [row for row in train if row["subset"] == "harmless-base"]
    helpful = [row for row in train if row["subset"] == "helpful-base"]
    assert (len(harmless), len(helpful), len(test)) == (8, 4, 3)
    asked = {row["prompt"][0]["content"].casefold() for row in harmless}
    assert not asked & {"question 3?", "question 7?"}
    assert {row["ai_probability"] for row in helpful} == {None}
    assert {row["margin"] for row in helpful} == {0}
    assert {row["chosen"][0]["content"] for row in helpful} == {"A chosen answer."}
    summary = json.loads((run / "dataset/summary.json").read_text())
    assert summary["leakage"]["exact"] == 2
    assert summary["mixed"]["preferences"] == {"train": {"helpful-*": 4}}
    assert summary["withheld"]["preferences"] == {"train": {"leaked": 2, "over_ratio": 16}}
    assert summary["excluded"] == {"no_constitution": 20}


def test_building_again_gives_the_same_bytes(run: Path) -> None:
    before = digests(run / "dataset")
    assert cai("dataset", run).exit_code == 0
    assert digests(run / "dataset") == before


def test_a_format_is_written_beside_the_dataset_or_where_one_says(run: Path, tmp_path: Path) -> None:
    done = cai("dataset", run, "--format", "axolotl", "--config", "preferences-human")
    assert done.exit_code == 0, done.output
    assert "preferences-human, train: 12 rows in " in done.output
    assert len((run / "exports/axolotl/preferences-human/train.jsonl").read_bytes().splitlines()) == 12
    assert cai("dataset", run, "--format", "csv", "--out", tmp_path / "out").exit_code == 0
    assert (tmp_path / "out" / "traces" / "test.csv").is_file()


def test_what_an_earlier_export_left_goes_and_what_others_put_there_stays(run: Path, tmp_path: Path) -> None:
    exports = run / "exports" / "jsonl"
    for folder in (exports, tmp_path / "out"):
        for name in ("preferences/validation.jsonl", "revisions-of-mine/a.jsonl", "sft/notes.txt"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("{}\n")
    assert cai("dataset", run, "--format", "jsonl", "--config", "sft").exit_code == 0
    assert (exports / "preferences/validation.jsonl").is_file(), "only one config was asked for"
    assert cai("dataset", run, "--format", "jsonl").exit_code == 0
    assert cai("dataset", run, "--format", "jsonl", "--out", tmp_path / "out").exit_code == 0
    assert not (exports / "preferences/validation.jsonl").exists()
    assert (exports / "preferences/train.jsonl").is_file()
    assert (tmp_path / "out" / "preferences/validation.jsonl").is_file()
    for folder in (exports, tmp_path / "out"):
        assert (folder / "revisions-of-mine/a.jsonl").is_file()
        assert (folder / "sft/notes.txt").is_file()


def test_an_export_into_the_dataset_itself_is_refused(run: Path, tmp_path: Path) -> None:
    before = digests(run / "dataset")
    for place in (run / "dataset", run / "dataset" / "preferences", run / "data" / ".." / "dataset"):
        done = cai("dataset", run, "--format", "jsonl", "--out", place)
        assert isinstance(done.exception, RunError)
        assert "lies in the dataset" in str(done.exception)
    assert digests(run / "dataset") == before
    shutil.copytree(run / "dataset", tmp_path / "published")
    for place in (tmp_path / "published", tmp_path / "published" / "sft"):
        done = cai("dataset", tmp_path / "published", "--format", "csv", "--out", place)
        assert isinstance(done.exception, RunError)
    assert cai("dataset", tmp_path / "published", "--format", "csv", "--out", tmp_path).exit_code == 0


def test_a_dataset_without_its_run_can_be_written_in_a_format(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "dataset", tmp_path / "alone" / "dataset")
    shutil.copytree(run / "dataset", tmp_path / "published")
    for folder in ("alone", "published"):
        done = cai("dataset", tmp_path / folder, "--format", "jsonl", "--config", "sft")
        assert done.exit_code == 0, done.output
        assert (tmp_path / folder / "exports/jsonl/sft/train.jsonl").is_file()


def test_a_config_that_a_format_does_not_take_is_told_before_the_dataset_is_built(run: Path) -> None:
    for form, config in (("jsonl", "nonsense"), ("axolotl", "sft")):
        done = cai("dataset", run, "--format", form, "--config", config)
        assert isinstance(done.exception, RunError)
        assert "Dataset in" not in done.output


def test_a_dataset_without_its_run_is_not_taken_for_a_run_that_is_none(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "dataset", tmp_path / "published")
    done = cai("dataset", tmp_path / "published")
    assert "no run to build it from" in str(done.exception)
    assert "--format jsonl, csv, openrlhf, axolotl" in str(done.exception)


def copy_of(run: Path, folder: Path) -> Path:
    """The run in a copy of its project, to be changed."""
    project = folder / "project"
    shutil.copytree(run.parent.parent, project)
    return project / "runs" / run.name


def test_a_config_or_a_folder_needs_a_format(run: Path) -> None:
    for words in (("--config", "sft"), ("--out", "elsewhere")):
        done = cai("dataset", run, *words)
        assert done.exit_code == 2
        assert "--format" in done.output
    assert cai("dataset", run, "--format", "xml").exit_code == 2


def test_a_comparison_says_that_what_is_a_tie_has_changed_since_the_dataset_was_built(
    run: Path, tmp_path: Path
) -> None:
    copied = copy_of(run, tmp_path)
    said = "made with a tie threshold of 0, which by recipe and noise floor is 0.2 now"
    assert said not in cai("compare", copied).output
    (copied / "noise.json").write_text('{"noise_floor": 0.2}')
    assert said in cai("compare", copied).output
    assert cai("dataset", copied).exit_code == 0
    assert "tie threshold" not in cai("compare", copied).output


def test_where_no_row_of_an_edited_run_is_finished_the_dataset_of_before_stays(
    run: Path, tmp_path: Path
) -> None:
    copied = copy_of(run, tmp_path)
    before = digests(copied / "dataset")
    with ReadRun(open_run(copied)) as read:
        identities = read.identities
    write_constitution(copied, change=" now")  # and ended before its first row was
    freeze(copied, load_inputs(load_recipe(copied / "recipe.yaml"), copied), identities)
    done = cai("dataset", copied)
    assert isinstance(done.exception, RunError)
    assert "No row of" in done.exception.problem
    assert digests(copied / "dataset") == before


def test_a_config_that_was_emptied_afterwards_is_told_so() -> None:
    summary = {
        "finished": 9,
        "configs": {name: {"train": 1} for name in CONFIGS if name != "preferences"},
        "pairs": {"human": {"tied": 2, "abstained": 0}},
        "withheld": {"preferences": {"train": {"leaked": 3, "over_ratio": 0}, "test": {"over_ratio": 4}}},
    }
    assert empty_configs(summary) == [
        "The config preferences is empty: its rows leaked into another split (3), lay beyond the ratios of `mix` (4)."
    ]
