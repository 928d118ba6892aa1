"""Promises of the other formats: plain files that lose nothing, and files that other trainers' docs describe."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest

from cai.conversation import Turn
from cai.dataset import CONFIGS
from cai.dataset.formats import FORMATS, TABLES, export
from cai.errors import RunError
from tests.test_dataset import digests, mixed
from tests.test_dataset_inputs import build, human, outcome, recipe, row

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with something in every config."""
    folder = tmp_path_factory.mktemp("built")
    items, outcomes = mixed()
    build(folder, items, outcomes)
    return folder / "dataset"


@pytest.fixture
def run(built: Path, tmp_path: Path) -> Path:
    """A folder with that dataset."""
    shutil.copytree(built, tmp_path / "dataset")
    return tmp_path


def lines(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def conversation() -> tuple[Turn, ...]:
    return (Turn("user", " How do I knit?"), Turn("assistant", " With wool."), Turn("user", " And then?"))


# ---------------------------------------------------------------- plain files


def test_every_config_can_be_written_as_json_lines_with_labels_by_name(run: Path) -> None:
    made = export(run / "dataset", "jsonl", run / "out")
    assert {item.config for item in made} == set(CONFIGS)
    for item in made:
        table = pq.read_table(run / "dataset" / item.config / f"{item.split}-00000.parquet")
        assert item.path == run / "out" / item.config / f"{item.split}.jsonl"
        found = lines(item.path)
        assert len(found) == item.rows == table.num_rows
        assert list(found[0]) == [column.name for column in CONFIGS[item.config]]
        assert [line["row_id"] for line in found] == table["row_id"].to_pylist()
    (first, *_) = lines(run / "out/revisions/train.jsonl")
    assert first["of"] == "rejected"
    (first, *_) = lines(run / "out/preferences-sampled/train.jsonl")
    assert (first["chosen_finish"], first["labelled_by"], first["ai_probability"]) == ("stop", "ai", 0.7)


def test_a_32_bit_number_is_written_as_its_shortest_decimal_and_reads_back_the_same(run: Path) -> None:
    export(run / "dataset", "jsonl", run / "out", "preferences")
    table = pq.read_table(run / "dataset/preferences/train-00000.parquet")
    found = [np.float32(line["ai_probability"]) for line in lines(run / "out/preferences/train.jsonl")]
    assert found == [np.float32(value) for value in table["ai_probability"].to_pylist()]


def test_csv_has_a_row_a_line_and_conversations_as_json(run: Path) -> None:
    (made, *_) = export(run / "dataset", "csv", run / "out", "preferences")
    text = made.path.read_text("utf-8")
    assert len(text.splitlines()) == made.rows + 1
    found = list(csv.DictReader(text.splitlines()))
    assert list(found[0]) == [column.name for column in CONFIGS["preferences"]]
    assert json.loads(found[0]["chosen"]) == [{"role": "assistant", "content": "good 0 yes"}]
    assert (found[0]["human_agrees"], found[0]["both_harmful"], found[0]["flags"]) == ("true", "", "[]")


@pytest.mark.parametrize("begins", ["=1+1", "@SUM(A1)", "+1", "-1", "\t=1", "  =1", "\uff1d1"])
def test_no_cell_of_a_csv_is_taken_for_a_formula(tmp_path: Path, begins: str) -> None:
    one = row(0, subset=begins, source=begins, prompt=(Turn("user", f" {begins}\r\n=2"),))
    build(tmp_path, [one], [outcome(one, human(one, 0.9))])
    export(tmp_path / "dataset", "csv", tmp_path / "out")
    for path in (tmp_path / "out").rglob("*.csv"):
        for cells in csv.reader(path.read_text("utf-8").splitlines()):
            for cell in cells:
                assert not cell.lstrip(" ").startswith(("=", "+", "@", "\t", "\uff1d")), cell
                assert not re.match(r" *-(?![0-9.]+$)", cell), cell
    (found,) = csv.DictReader((tmp_path / "out/preferences/train.csv").read_text("utf-8").splitlines())
    assert found["subset"] == f"'{begins}"
    assert json.loads(found["prompt"])[0]["content"] == f"{begins}\r\n=2"


def test_a_file_is_there_whole_or_not_at_all(run: Path) -> None:
    export(run / "dataset", "jsonl", run / "out", "sft")
    before = digests(run / "out")
    (run / "dataset/sft/train-00000.parquet").write_bytes(b"no Parquet")
    with pytest.raises(RunError, match=r"sft/train-00000.parquet cannot be read"):
        export(run / "dataset", "jsonl", run / "out", "sft")
    assert digests(run / "out") == before


def test_a_second_export_is_equal_to_the_byte(run: Path) -> None:
    for form in FORMATS:
        export(run / "dataset", form, run / "a")
        export(run / "dataset", form, run / "b")
    assert digests(run / "a") == digests(run / "b")


# ---------------------------------------------------------------- OpenRLHF


def is_conversation(value: Any) -> bool:
    return isinstance(value, list) and all(
        set(turn) == {"role", "content"} and all(isinstance(text, str) for text in turn.values())
        for turn in value
    )


def as_template(turns: list[dict[str, str]], open_reply: bool = False) -> str:
    """A chat template."""
    text = "".join(f"<{turn['role']}>{turn['content']}\n" for turn in turns)
    return text + "<assistant>" * open_reply


def test_openrlhf_gets_whole_conversations_that_share_the_prompt(tmp_path: Path) -> None:
    one = row(0, prompt=conversation())
    build(tmp_path, [one], [outcome(one, human(one, 0.2))])
    (made,) = export(tmp_path / "dataset", "openrlhf", tmp_path / "out", "preferences")
    (line,) = lines(made.path)
    assert set(line) == {"chosen", "rejected", "row_id"}
    assert is_conversation(line["chosen"])
    assert is_conversation(line["rejected"])
    assert [turn["content"] for turn in line["chosen"]] == [
        "How do I knit?",
        "With wool.",
        "And then?",
        "bad 0",
    ]
    assert line["rejected"][-1] == {"role": "assistant", "content": "good 0 yes"}
    # what --apply_chat_template with --chosen_key and --rejected_key makes of it, for DPO
    prompt = as_template(line["chosen"][:-1], open_reply=True)
    for side in ("chosen", "rejected"):
        assert as_template(line[side]).startswith(prompt)
    assert as_template(line["chosen"])[len(prompt) :] == "bad 0\n"


def test_openrlhf_gets_a_margin_only_where_the_recipe_asks_for_one(tmp_path: Path) -> None:
    one = row(0)
    build(tmp_path, [one], [outcome(one, human(one, 0.2))], recipe(margin=True))
    export(tmp_path / "dataset", "openrlhf", tmp_path / "out")
    (line,) = lines(tmp_path / "out/preferences/train.jsonl")
    assert line["margin"] == pytest.approx(np.log(0.8 / 0.2))
    (line,) = lines(tmp_path / "out/preferences-human/train.jsonl")
    assert "margin" not in line


# ---------------------------------------------------------------- Axolotl


def test_axolotl_gets_the_prompts_turns_and_one_turn_for_each_response(tmp_path: Path) -> None:
    one = row(0, prompt=conversation())
    build(tmp_path, [one], [outcome(one, human(one, 0.9))])
    (made,) = export(tmp_path / "dataset", "axolotl", tmp_path / "out", "preferences")
    (line,) = lines(made.path)
    assert set(line) == {"messages", "chosen", "rejected", "row_id"}
    assert is_conversation(line["messages"])
    assert [turn["role"] for turn in line["messages"]] == ["user", "assistant", "user"]
    assert line["chosen"] == {"role": "assistant", "content": "good 0 yes"}
    assert line["rejected"] == {"role": "assistant", "content": "bad 0"}


# ---------------------------------------------------------------- both


@pytest.mark.parametrize("form", list(TABLES))
def test_each_line_has_the_keys_of_the_formats_table(run: Path, form: str) -> None:
    made = export(run / "dataset", form, run / "out")
    assert {item.config for item in made} == {
        "preferences",
        "preferences-human",
        "preferences-sampled",
        "revisions",
    }
    keys = [key.name for key in TABLES[form] if key.name != "margin"]
    for item in made:
        assert all(list(line) == keys for line in lines(item.path))


@pytest.mark.parametrize("form", ["jsonl", *TABLES])
def test_datasets_opens_what_is_written(run: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    import datasets

    (made, *_) = export(run / "dataset", form, run / "out", "preferences")
    opened = datasets.load_dataset(
        "json", data_files=str(made.path), split="train", cache_dir=str(run / "cache")
    )
    assert len(opened) == made.rows


@pytest.mark.parametrize("config, wrong", [("sft", "holds no pairs"), ("nothing", "is no config")])
def test_a_format_says_which_configs_it_takes(run: Path, config: str, wrong: str) -> None:
    with pytest.raises(RunError, match=wrong):
        export(run / "dataset", "axolotl", run / "out", config)
    assert not (run / "out").exists()


def test_a_config_without_rows_or_a_folder_without_a_dataset_is_said(tmp_path: Path) -> None:
    one = row(0)
    build(tmp_path, [one], [outcome(one, human(one, 0.9))])
    with pytest.raises(RunError, match="has no rows in revisions"):
        export(tmp_path / "dataset", "jsonl", tmp_path / "out", "revisions")
    with pytest.raises(RunError, match="no dataset"):
        export(tmp_path, "jsonl", tmp_path / "out")


def test_the_command_line_offers_every_format() -> None:
    from cai.cli.dataset import Format

    assert tuple(Format) == FORMATS
