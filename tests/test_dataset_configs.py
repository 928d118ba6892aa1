"""Promises of the configs that say one pair in several ways, of typed columns, and of files of a sensible size."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cai.dataset import CONFIGS, arrow_schema
from cai.dataset.column import TEXT, Column, label
from cai.dataset.schema import PAIRS, TRAINED_ON, columns
from cai.dataset.train_records import FARTHEST
from cai.dataset.writer import ConfigWriter
from cai.errors import ReviewError, StoreError
from cai.review import read_answers, write_answers
from cai.review.key import Key
from cai.source import Row
from tests.test_dataset import digests, mixed
from tests.test_dataset_inputs import (
    a_round,
    build,
    feedback,
    harm,
    human,
    outcome,
    recipe,
    revised,
    revision,
    row,
    sample,
)
from tests.test_review import exported

PROBABILITIES = (0.9, 0.2, 0.5, None, 0.7)


def rows_of(run: Path, config: str, split: str = "train") -> list[dict[str, Any]]:
    path = run / "dataset" / config / f"{split}-00000.parquet"
    return list(pq.read_table(path).to_pylist()) if path.exists() else []


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def judged(run: Path, **settings: Any) -> list[Row]:
    """Rows 0 to 4 with PROBABILITIES that the human's choice is better; row 1 rated for harm."""
    rows = [row(number) for number in range(5)]
    done = [
        outcome(
            made, human(made, p), harm=(harm("chosen", 0.8), harm("rejected", 0.6)) * (made.position == 1)
        )
        for made, p in zip(rows, PROBABILITIES, strict=True)
    ]
    build(run, rows, done, recipe(**settings))
    return rows


# ---------------------------------------------------------------- the same pairs in the human's order


def test_preferences_human_holds_the_very_same_rows_in_the_humans_order(tmp_path: Path) -> None:
    judged(tmp_path)
    ai, people = rows_of(tmp_path, "preferences"), rows_of(tmp_path, "preferences-human")
    assert [item["row_id"] for item in ai] == [item["row_id"] for item in people]
    assert [item["row_id"] for item in ai] == [
        "row-000000",
        "row-000001",
        "row-000004",
    ]  # no tie, no abstention
    for one, other in zip(ai, people, strict=True):
        number = int(other["row_id"][-1])
        assert (other["chosen"], other["rejected"]) == (said(f"good {number} yes"), said(f"bad {number}"))
        turned = number == 1
        assert (one["chosen"] == other["chosen"]) is not turned
        assert (one["human_agrees"], other["human_agrees"]) == (not turned, not turned)
        assert other["ai_probability"] == other["ai_probability_of_human_choice"]
        assert other["ai_probability"] == pytest.approx(PROBABILITIES[number])
        assert (one["labelled_by"], other["labelled_by"]) == (0, 1)
        same = set(one) - {"chosen", "rejected", "ai_probability", "labelled_by"}
        assert {name: one[name] for name in same} == {name: other[name] for name in same}


def test_both_orders_have_the_same_columns_so_that_one_script_trains_on_either() -> None:
    ai, people = (arrow_schema(CONFIGS[config]) for config in ("preferences", "preferences-human"))
    assert ai.equals(people, check_metadata=True)


# ---------------------------------------------------------------- unpaired


def test_unpaired_holds_both_responses_of_each_pair_and_what_was_chosen(tmp_path: Path) -> None:
    judged(tmp_path)
    found = rows_of(tmp_path, "unpaired")
    assert [(item["row_id"], item["completion"], item["label"], item["human_label"]) for item in found] == [
        ("row-000000", said("good 0 yes"), True, True),
        ("row-000001", said("bad 1"), True, False),
        ("row-000004", said("good 4 yes"), True, True),
        ("row-000000", said("bad 0"), False, False),
        ("row-000001", said("good 1 yes"), False, True),
        ("row-000004", said("bad 4"), False, False),
    ]
    assert [item["ai_probability"] for item in found] == pytest.approx([0.9, 0.8, 0.7, 0.1, 0.2, 0.3])
    assert [item["harm"] for item in (found[1], found[4])] == pytest.approx([0.6, 0.8])
    assert found[0]["harm"] is None
    assert found[0]["prompt"] == [{"role": "user", "content": "How do I knit?"}]


def test_neighbours_in_unpaired_have_other_prompts_as_kto_needs(tmp_path: Path) -> None:
    rows = [row(number, "test" if number % 3 == 0 else "train") for number in range(330)]
    build(tmp_path, rows, [outcome(made, human(made, 0.9 if made.line % 2 else 0.1)) for made in rows])
    for split, pairs in (("train", 220), ("test", 110)):
        found = rows_of(tmp_path, "unpaired", split)
        assert len(found) == 2 * pairs
        assert sum(item["label"] for item in found) == pairs
        assert [item["label"] for item in found[:200]] == [True] * 100 + [False] * 100
        ordered = [item["row_id"] for item in rows_of(tmp_path, "preferences", split)]
        for chosen in (True, False):
            assert [item["row_id"] for item in found if item["label"] is chosen] == ordered
        for batch in (2, 4, 8, 16, 32, 64):  # TRL 1.16, kto_trainer: completions are rotated within a batch
            for start in range(0, len(found), batch):
                rotated = [item["row_id"] for item in found[start : start + batch]]
                assert all(
                    one != other for one, other in zip(rotated, rotated[-1:] + rotated[:-1], strict=True)
                )


# ---------------------------------------------------------------- margins


def test_there_is_no_margin_unless_the_recipe_asks_for_one(tmp_path: Path) -> None:
    judged(tmp_path)
    for config in CONFIGS:
        assert "margin" not in [column.name for column in columns(config)]
    assert "margin" not in rows_of(tmp_path, "preferences")[0]


def test_a_margin_is_the_log_odds_and_finite(tmp_path: Path) -> None:
    rows = [row(number) for number in range(3)]
    chain = [revision(made, a_round(1, "better")) for made in rows]
    done = [
        outcome(made, human(made, p), revised(made, 0.8), revisions=(one,))
        for made, p, one in zip(rows, (0.9, 0.0, 1.0), chain, strict=True)
    ]
    build(tmp_path, rows, done, recipe(margin=True))
    most = math.log((1 - FARTHEST) / FARTHEST)
    assert most == pytest.approx(9.21, abs=0.001)
    margins = [item["margin"] for item in rows_of(tmp_path, "preferences")]
    assert margins == pytest.approx([math.log(9), most, most], rel=1e-5)
    assert rows_of(tmp_path, "revisions")[0]["margin"] == pytest.approx(math.log(4), rel=1e-5)
    assert "margin" not in rows_of(tmp_path, "preferences-human")[0]
    names = [column.name for column in columns("preferences", {"margin": True, "clamp": [0.4, 0.6]})]
    assert names[3:6] == ["ai_probability", "ai_probability_clamped", "margin"]


def test_a_revision_that_nobody_judged_has_a_margin_of_zero(tmp_path: Path) -> None:
    one = row(0)
    done = outcome(one, revisions=(revision(one, a_round(1, "better")),))
    build(tmp_path, [one], [done], recipe(pairs=[], margin=True))
    assert rows_of(tmp_path, "revisions")[0]["margin"] == 0


# ---------------------------------------------------------------- a person's review


def reviewed(run: Path) -> tuple[list[Row], Key]:
    """A dataset, a review of its five pairs, and two people's answers to it."""
    rows = judged(run)
    folder, key = exported(run, size=5)
    items = {item.row_id: item for item in key.items}
    said_of = {
        "row-000000": ("human", "human"),
        "row-000001": ("human", "human"),
        "row-000002": ("both-bad", "both-bad"),
        "row-000003": ("other", "skip"),
        "row-000004": ("human", "other"),
    }
    for number, name in enumerate(("ada", "bea")):
        lines = ["item,answer"]
        for row_id, answers in said_of.items():
            item, answer = items[row_id], answers[number]
            shown = {"human": item.human, "other": 3 - item.human}.get(answer, answer)
            lines.append(f"{item.item},{shown}")
        path = run / f"{name}.csv"
        path.write_text("\n".join(lines) + "\n")
        write_answers(folder, read_answers(path, key, name))
        path.unlink()
    return rows, key


def test_a_review_travels_with_the_dataset_as_the_third_label(tmp_path: Path) -> None:
    reviewed(tmp_path)
    judged(tmp_path)
    ai = {item["row_id"]: item["person_prefers_chosen"] for item in rows_of(tmp_path, "preferences")}
    people = {
        item["row_id"]: item["person_prefers_chosen"] for item in rows_of(tmp_path, "preferences-human")
    }
    assert ai == {"row-000000": True, "row-000001": False, "row-000004": None}
    assert people == {"row-000000": True, "row-000001": True, "row-000004": None}
    lines = [orjson.loads(line) for line in (tmp_path / "dataset/person.jsonl").read_bytes().splitlines()]
    assert [(line["row_id"], line["said"], line["answers"]) for line in lines] == [
        ("row-000000", "human", {"human": 2}),
        ("row-000001", "human", {"human": 2}),
        ("row-000002", "both-bad", {"both-bad": 2}),
        ("row-000003", "other", {"other": 1, "skip": 1}),
        ("row-000004", "split", {"human": 1, "other": 1}),
    ]
    assert "ada" not in (tmp_path / "dataset/person.jsonl").read_text()


def test_without_answers_there_is_no_third_label(tmp_path: Path) -> None:
    judged(tmp_path)
    exported(tmp_path, size=5)
    before = digests(tmp_path / "dataset")
    judged(tmp_path)
    assert digests(tmp_path / "dataset") == before
    assert "person_prefers_chosen" not in rows_of(tmp_path, "preferences")[0]
    assert not (tmp_path / "dataset/person.jsonl").exists()


def test_answers_hold_whatever_the_labels_become(tmp_path: Path) -> None:
    reviewed(tmp_path)
    judged(tmp_path, tie_threshold=0.25)  # rows 0 and 1 keep a label
    found = rows_of(tmp_path, "preferences")
    assert [(item["row_id"], item["person_prefers_chosen"]) for item in found] == [
        ("row-000000", True),
        ("row-000001", False),
    ]


def test_answers_that_cannot_be_read_are_said_and_not_passed_over(tmp_path: Path) -> None:
    reviewed(tmp_path)
    (tmp_path / "review/answers-ada.json").write_text("{")
    with pytest.raises(ReviewError, match=r"answers-ada\.json"):
        judged(tmp_path)


# ---------------------------------------------------------------- types


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    import datasets

    items, outcomes = mixed()
    build(tmp_path, items, outcomes, recipe(margin=True, clamp=[0.4, 0.6]))
    return {
        config: datasets.load_dataset(str(tmp_path / "dataset"), config, cache_dir=str(tmp_path / "cache"))[
            "train"
        ]
        for config in CONFIGS
    }


def test_load_dataset_opens_every_config_with_typed_features(opened: Any) -> None:
    from datasets import ClassLabel, Value

    for config, data in opened.items():
        settings = {"margin": True, "clamp": [0.4, 0.6]}
        own = {column.name: column for column in columns(config, settings)}
        assert list(data.features) == list(own)
        for name, feature in data.features.items():
            if own[name].names:
                assert isinstance(feature, ClassLabel)
                assert tuple(feature.names) == own[name].names
            else:
                assert not isinstance(feature, ClassLabel)
        if config in PAIRS:
            assert data.features["ai_probability"] == Value("float32")
        if config in TRAINED_ON:
            assert data.features["prompt"].feature == {"role": Value("string"), "content": Value("string")}
    first = opened["revisions"][0]
    assert opened["revisions"].features["of"].int2str(first["of"]) == "rejected"
    assert opened["unpaired"].features["label"] == Value("bool")


def test_the_features_that_a_file_tells_are_those_of_its_arrow_types() -> None:
    from datasets import ClassLabel, Features

    for config, own in CONFIGS.items():
        schema = arrow_schema(own)
        told = Features.from_arrow_schema(schema)
        inferred = Features.from_arrow_schema(schema.remove_metadata())
        labels = {column.name for column in own if column.names}
        for name in told:
            assert (name in labels) == isinstance(told[name], ClassLabel)
            assert told[name] == inferred[name] or name in labels, (config, name)


def test_a_name_that_is_not_listed_is_an_error_and_not_a_null(tmp_path: Path) -> None:
    one = row(0)
    given = feedback(one, (0.9, 0.9), kind="sampled", about="0 1", first="sample 0", second="sample 1")
    samples = (sample("sample 0", "x", finish="exploded"), sample("sample 1", "y"))
    with pytest.raises(StoreError, match="exploded"):
        build(tmp_path, [one], [outcome(one, given, samples=samples)])


def test_sft_is_a_prompt_and_a_completion_and_never_messages() -> None:
    names = [column.name for column in CONFIGS["sft"]]
    assert names[:2] == ["prompt", "completion"]
    assert not any("messages" in [column.name for column in own] for own in CONFIGS.values())


# ---------------------------------------------------------------- files


OWN = (Column("row_id", TEXT, "an id"), Column("text", TEXT, "a text"), label("side", ("a", "b"), "a side"))


def written(folder: Path, count: int, size: int = 10, **settings: Any) -> list[Path]:
    with ConfigWriter(folder, OWN, **settings) as writer:
        for number in range(count):
            text = f"{number:08d}" * (size // 8 + 1)
            writer.add("train", {"row_id": str(number), "text": text, "side": "ab"[number % 2]})
    return sorted(folder.iterdir())


def test_a_split_becomes_several_files_where_it_is_large(tmp_path: Path) -> None:
    files = written(tmp_path, 5000, shard_bytes=1)
    assert [path.name for path in files] == [f"train-{number:05d}.parquet" for number in range(5)]
    found = pa.concat_tables([pq.read_table(path) for path in files])
    assert found["row_id"].to_pylist() == [str(number) for number in range(5000)]
    assert found["side"].to_pylist()[:3] == [0, 1, 0]
    assert [path.name for path in written(tmp_path / "one", 5000)] == ["train-00000.parquet"]


def test_a_file_ends_after_so_many_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cai.dataset.writer.SHARD_GROUPS", 2)
    groups = [pq.ParquetFile(path).num_row_groups for path in written(tmp_path, 4500)]
    assert groups == [2, 2, 1]


def test_a_row_group_ends_at_so_many_rows_or_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = written(tmp_path / "rows", 2500)
    file = pq.ParquetFile(path)
    assert [file.metadata.row_group(number).num_rows for number in range(3)] == [1000, 1000, 500]
    monkeypatch.setattr("cai.dataset.writer.ROW_GROUP_BYTES", 400_000)
    (path,) = written(tmp_path / "bytes", 2500, size=1000)
    file = pq.ParquetFile(path)
    sizes = [file.metadata.row_group(number).total_byte_size for number in range(file.num_row_groups)]
    assert len(sizes) == 7  # 400 rows of 1,000 bytes each, and what is left
    assert max(sizes) < 500_000


def test_files_are_compressed_and_hold_a_page_index(tmp_path: Path) -> None:
    (path,) = written(tmp_path, 100)
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    assert column.compression == "ZSTD"
    assert column.has_offset_index
    assert column.has_column_index


def test_load_dataset_opens_a_split_of_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setattr("cai.dataset.build.ConfigWriter", _Small)
    rows = [row(number) for number in range(2200)]
    build(tmp_path, rows, [outcome(made, human(made, 0.9)) for made in rows])
    import datasets

    assert len(list((tmp_path / "dataset/preferences").iterdir())) == 3
    opened = datasets.load_dataset(
        str(tmp_path / "dataset"), "preferences", cache_dir=str(tmp_path / "cache")
    )
    assert opened["train"]["row_id"][:] == [made.id for made in rows]


class _Small(ConfigWriter):
    """A writer whose files end with their first row group."""

    def __init__(self, folder: Path, columns: tuple[Column, ...]) -> None:
        super().__init__(folder, columns, shard_bytes=1)
