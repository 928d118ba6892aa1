"""docs/dataset.md says what the code does: its tables, its trainers, its names, its recipe."""

from __future__ import annotations

import re

from ruamel.yaml import YAML

from cai.dataset.formats import FORMATS
from cai.dataset.leakage import NEAR, PROMPTS_AT_ONCE, WORDS
from cai.dataset.schema import CONFIGS, TRAINERS, columns
from cai.dataset.summary import DatasetSummary
from cai.dataset.train_records import FARTHEST
from cai.dataset.writer import ROW_GROUP_BYTES, ROW_GROUP_ROWS, SHARD_BYTES, SHARD_GROUPS
from cai.recipe import Recipe
from tests.fill_dataset_doc import PAGE, filled

TEXT = PAGE.read_text("utf-8")


def test_its_tables_are_those_of_the_code() -> None:
    assert filled(TEXT) == TEXT, "type: python -m tests.fill_dataset_doc"


def test_every_config_is_there_with_the_trainers_that_take_it() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| ([^|]+) \| ([^|]+) \|$", TEXT.split("\n\n**")[0], re.MULTILINE)
    assert {name: found for name, _, found in rows} == {
        config: ", ".join(TRAINERS[config]) or "none" for config in CONFIGS
    }


def test_its_numbers_are_those_of_the_code() -> None:
    assert f"at least {NEAR:.0%}".replace("%", " %") in TEXT
    assert WORDS == 3
    assert "runs of three words" in TEXT
    assert f"{PROMPTS_AT_ONCE:,} at a time" in TEXT
    assert f"within {FARTHEST} and {1 - FARTHEST}" in TEXT
    assert f"cut at {SHARD_BYTES // 10**6} MB or {SHARD_GROUPS} row groups" in TEXT
    assert f"{ROW_GROUP_ROWS:,} rows or {ROW_GROUP_BYTES // 10**6} MB" in TEXT


def test_its_formats_are_those_of_the_command() -> None:
    assert set(FORMATS) == {"jsonl", "csv", "openrlhf", "axolotl"}
    assert "--format jsonl                            # or csv, openrlhf, axolotl" in TEXT


def test_the_closed_lists_that_it_names_are_the_labels() -> None:
    labels = {column.name for own in CONFIGS.values() for column in own if column.names}
    assert labels == {"of", "labelled_by", "chosen_finish", "rejected_finish"}
    assert "(`of`, `labelled_by`, the finishes) is a ClassLabel" in TEXT


def test_the_recipe_that_it_shows_is_one() -> None:
    (shown,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    recipe = Recipe.model_validate(
        {
            "sources": [{"kind": "hh-rlhf"}],
            "engines": {"e": {"kind": "scripted", "model": "m"}},
            **YAML(typ="safe").load(shown),
        }
    )
    assert recipe.dataset.mix == {"helpful-*": 0.75}
    assert recipe.constitution_for("helpful-base") is None


def test_the_keys_of_the_summary_that_it_names_are_there() -> None:
    settings = {"leakage": "drop"}
    written = DatasetSummary("0" * 32, settings).as_json()
    for key in ("leakage", "withheld", "human_labelled", "mixed"):
        assert f"`{key}`" in TEXT
        assert key in written


def test_columns_are_those_of_the_settings() -> None:
    names = [column.name for column in columns("preferences", {"reviewed": 3})]
    assert names[names.index("both_harmful") + 1] == "person_prefers_chosen"
