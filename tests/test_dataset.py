"""Promises of the dataset: what enters each config, accounts that balance, bytes that repeat."""

from __future__ import annotations

import hashlib
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cai.conversation import Turn
from cai.dataset import CONFIGS, arrow_schema, build_dataset, label
from cai.errors import RunError, StoreError
from cai.outcome import Outcome, outcome_digest
from cai.source import Excluded, Row
from cai.store import Store
from tests.test_dataset_inputs import (
    GENERATION,
    a_round,
    build,
    excluded,
    feedback,
    fill,
    human,
    outcome,
    recipe,
    revised,
    revision,
    row,
    sample,
)


def rows_of(run: Path, config: str, split: str = "train") -> list[dict[str, Any]]:
    path = run / "dataset" / config / f"{split}-00000.parquet"
    return list(pq.read_table(path).to_pylist()) if path.exists() else []


def name_of(config: str, column: str, number: int) -> str:
    (found,) = [item for item in CONFIGS[config] if item.name == column]
    return found.names[number]


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def mixed() -> tuple[list[Row | Excluded], list[Outcome]]:
    """Something of everything: both splits, every fate."""
    rows = [row(number, split="test" if number % 3 == 2 else "train") for number in range(12)]
    items: list[Row | Excluded] = [*rows, excluded(12), excluded(13, "unreadable", "test")]
    outcomes = []
    for made in rows[:9]:
        p = (0.9, 0.2, 0.5, None, 0.7, 0.4)[made.position % 6]
        chain = revision(made, a_round(1, "new"), a_round(2, "newer", ("preamble",)))
        sampled = feedback(
            made, (0.3, 0.3), kind="sampled", about="0 1", first="sample 0", second="sample 1",
            first_text="s0", second_text="s1",
        )  # fmt: skip
        outcomes.append(
            outcome(
                made,
                human(made, p),
                revised(made, p, text="newer"),
                sampled,
                revisions=(chain,),
                samples=(sample("sample 0", "s0"), sample("sample 1", "s1")),
            )
        )
    outcomes.append(outcome(rows[9], excluded_as="prompt_too_long"))
    return items, outcomes


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# ---------------------------------------------------------------- labels


@pytest.mark.parametrize(
    "probability, threshold, expected",
    [
        (0.8, 0.0, "first"),
        (0.2, 0.0, "second"),
        (0.5, 0.0, "tie"),
        (0.49999999999999994, 0.0, "tie"),
        (0.56, 0.05, "first"),
        (0.55, 0.05, "tie"),
        (0.45, 0.05, "tie"),
        (0.44, 0.05, "second"),
        (None, 0.3, None),
    ],
)
def test_a_label_names_the_better_response_or_a_tie(
    probability: float | None, threshold: float, expected: str | None
) -> None:
    assert label(probability, threshold) == expected


# ---------------------------------------------------------------- preferences


def test_preferences_stand_in_the_ais_order_with_the_probability_of_chosen(tmp_path: Path) -> None:
    one, two = row(0), row(1, flags=("repeated_role",))
    build(tmp_path, [one, two], [outcome(one, human(one, 0.8)), outcome(two, human(two, 0.25))])
    agreeing, contradicting = rows_of(tmp_path, "preferences")
    assert agreeing["prompt"] == [{"role": "user", "content": "How do I knit?"}]
    assert (agreeing["chosen"], agreeing["rejected"]) == (said("good 0 yes"), said("bad 0"))
    assert agreeing["ai_probability"] == pytest.approx(0.8)
    assert agreeing["ai_probability_of_human_choice"] == pytest.approx(0.8)
    assert agreeing["human_agrees"] is True
    assert (contradicting["chosen"], contradicting["rejected"]) == (said("bad 1"), said("good 1 yes"))
    assert contradicting["ai_probability"] == pytest.approx(0.75)
    assert contradicting["ai_probability_of_human_choice"] == pytest.approx(0.25)
    assert contradicting["human_agrees"] is False
    assert (contradicting["row_id"], contradicting["line"]) == ("row-000001", 2)
    assert contradicting["flags"] == ["repeated_role"]
    assert (contradicting["constitution"], contradicting["order_consistency"]) == ("harmless", 1.0)


def test_no_probability_of_chosen_is_below_one_half(tmp_path: Path) -> None:
    rows = [row(number) for number in range(101)]
    build(tmp_path, rows, [outcome(made, human(made, made.position / 100)) for made in rows])
    made = rows_of(tmp_path, "preferences")
    assert len(made) == 100
    assert min(item["ai_probability"] for item in made) >= 0.5
    assert [item["human_agrees"] for item in made] == [False] * 50 + [True] * 50


def test_ties_and_abstentions_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [row(number) for number in range(5)]
    probabilities = [0.9, 0.5, 0.54, None, 0.3]
    outcomes = [outcome(made, human(made, p)) for made, p in zip(rows, probabilities, strict=True)]
    summary = build(tmp_path, rows, outcomes, recipe(tie_threshold=0.05))
    assert [item["row_id"] for item in rows_of(tmp_path, "preferences")] == ["row-000000", "row-000004"]
    account = summary.pairs["human"]
    assert (account.labelled, account.tied, account.abstained) == (2, 2, 1)


def test_a_judge_that_always_prefers_what_is_shown_first_labels_nothing(tmp_path: Path) -> None:
    rows = [row(number) for number in range(20)]
    outcomes = [outcome(made, feedback(made, (0.93, 0.07), (0.6, 0.4), (1.0, 0.0))) for made in rows]
    summary = build(tmp_path, rows, outcomes)
    assert summary.pairs["human"].tied == 20
    assert "preferences" not in summary.configs


def test_sampled_pairs_have_a_config_of_their_own(tmp_path: Path) -> None:
    items, outcomes = mixed()
    build(tmp_path, items, outcomes)
    first = rows_of(tmp_path, "preferences-sampled")[0]
    assert (first["chosen"], first["rejected"]) == (said("s1"), said("s0"))
    assert (first["chosen_sample"], first["rejected_sample"]) == ("sample 1", "sample 0")
    assert first["ai_probability"] == pytest.approx(0.7)
    assert "human_agrees" not in first


# ---------------------------------------------------------------- revisions and sft


@pytest.mark.parametrize(
    "probability, fate",
    [(0.9, "entered"), (0.61, "entered"), (0.6, "entered"), (0.59, "below_margin"), (0.3, "below_margin"),
     (0.52, "tied"), (None, "abstained")],
)  # fmt: skip
def test_a_revision_enters_where_the_judge_prefers_it_by_the_margin(
    tmp_path: Path, probability: float | None, fate: str
) -> None:
    one = row(0)
    done = outcome(one, revised(one, probability), revisions=(revision(one, a_round(1, "better")),))
    summary = build(tmp_path, [one], [done], recipe(tie_threshold=0.05, revision_margin=0.1))
    assert dict(summary.revisions) == {fate: 1}
    made = rows_of(tmp_path, "revisions")
    assert len(made) == (fate == "entered")
    if made:
        assert (made[0]["chosen"], made[0]["rejected"]) == (said("better"), said("bad 0"))
        assert made[0]["ai_probability"] == pytest.approx(probability)


CHAINS = [
    ("unusable", (a_round(1, "broken", ("cut",), usable=False),)),
    ("unusable", (a_round(1, "", ("empty",), usable=False),)),
    ("unchanged", (a_round(1, "bad 0", ("unchanged",)),)),
    ("unchanged", (a_round(1, "\u201cbad\u201d 0", ("unchanged",)),)),
    ("flagged", (a_round(1, "odd", ("some_new_flag",)),)),
    ("entered", (a_round(1, "fine", ("preamble", "postscript", "wrapping_quotes", "label")),)),
    ("entered", (a_round(1, "fine"), a_round(2, "broken", ("cut",), usable=False))),
    ("entered", (a_round(1, "fine"), a_round(2, "fine", ("unchanged",)))),
]


@pytest.mark.parametrize("fate, rounds", CHAINS)
def test_unusable_unchanged_and_flagged_revisions_stay_out(
    tmp_path: Path, fate: str, rounds: tuple[Any, ...]
) -> None:
    one = row(0)
    done = outcome(one, revised(one, 0.9, text="fine"), revisions=(revision(one, *rounds),))
    summary = build(tmp_path, [one], [done])
    assert dict(summary.revisions) == {fate: 1}
    assert [item["chosen"] for item in rows_of(tmp_path, "revisions")] == (
        [said("fine")] if fate == "entered" else []
    )


@pytest.mark.parametrize(
    "rounds, fate",
    [
        (CHAINS[0][1], "entered_flagged"),
        (CHAINS[1][1], "unusable"),
        (CHAINS[2][1], "unchanged"),
        (CHAINS[4][1], "entered"),
    ],
)
def test_a_recipe_can_include_flagged_revisions_but_never_empty_or_unchanged_ones(
    tmp_path: Path, rounds: tuple[Any, ...], fate: str
) -> None:
    one = row(0)
    found = (revised(one, 0.9),) if fate == "entered" else ()
    summary = build(
        tmp_path,
        [one],
        [outcome(one, *found, revisions=(revision(one, *rounds),))],
        recipe(include_flagged_revisions=True),
    )
    assert dict(summary.revisions) == {fate: 1}
    made = rows_of(tmp_path, "revisions")
    assert [item["revision_flags"] for item in made] == ([list(rounds[0].flags)] if "entered" in fate else [])
    if fate == "entered_flagged":
        assert made[0]["ai_probability"] is None


def test_without_feedback_revisions_enter_without_a_probability(tmp_path: Path) -> None:
    one = row(0)
    done = outcome(one, revisions=(revision(one, a_round(1, "better")),))
    build(tmp_path, [one], [done], recipe(pairs=[]))
    [made] = rows_of(tmp_path, "revisions")
    assert (made["ai_probability"], made["order_consistency"]) == (None, None)


def test_sft_holds_the_last_usable_round_or_every_usable_one(tmp_path: Path) -> None:
    one = row(0)
    rounds = (a_round(1, "new"), a_round(2, "spoilt", ("cut",), usable=False), a_round(3, "newest"))
    done = outcome(one, revisions=(revision(one, *rounds),))
    build(tmp_path / "last", [one], [done])
    build(tmp_path / "all", [one], [done], recipe(sft="all"))
    [last] = rows_of(tmp_path / "last", "sft")
    assert (last["completion"], last["round"], last["principles"]) == (said("newest"), 3, ["p0", "p2"])
    assert last["prompt"] == [{"role": "user", "content": "How do I knit?"}]
    every = rows_of(tmp_path / "all", "sft")
    assert [(item["completion"], item["round"]) for item in every] == [(said("new"), 1), (said("newest"), 3)]


# ---------------------------------------------------------------- traces, excluded rows, accounts


def test_traces_hold_all_that_was_asked_and_came_back(tmp_path: Path) -> None:
    one = row(0, fields={"rating": 4, "tags": None}, flags=("role_marker_inside",))
    chain = revision(one, a_round(1, "new", ("preamble",)), a_round(2, "", ("empty",), usable=False))
    done = outcome(
        one, feedback(one, (0.9, 0.7), (None, 0.2)), revisions=(chain,), samples=(sample("sample 0", "s"),)
    )
    build(tmp_path, [one], [done])
    [made] = rows_of(tmp_path, "traces")
    assert orjson.loads(made["fields"]) == {"rating": 4, "tags": None}
    assert made["responses"] == [
        {"name": "chosen", "text": "good 0 yes"},
        {"name": "rejected", "text": "bad 0"},
    ]
    [pair] = made["feedback"]
    assert (pair["first_text"], pair["second_text"], pair["label"]) == ("good 0 yes", "bad 0", "first")
    assert (pair["first_characters"], pair["probability"], pair["abstained"]) == (10, 0.8, 1)
    assert [item["probability"] for item in pair["judgements"]] == [0.9, 0.7, None, 0.2]
    assert [item["order"] for item in pair["judgements"]] == ["first_is_a", "first_is_b"] * 2
    assert [item["abstained"] for item in pair["judgements"]] == [None, None, "format", None]
    assert pair["judgements"][0]["logprobs"] == list(done.feedback[0].judgements[0].logprobs)
    [traced] = made["revisions"]
    assert (traced["of"], traced["original"], traced["final_round"], traced["unchanged"]) == (
        "rejected",
        "bad 0",
        1,
        False,
    )
    assert [(item["critique"], item["raw"], item["flags"]) for item in traced["rounds"]] == [
        ("critique 1", "raw new", ["preamble"]),
        ("critique 2", "raw ", ["empty"]),
    ]


def test_excluded_rows_are_listed_with_reason_place_and_original(tmp_path: Path) -> None:
    items, outcomes = mixed()
    build(tmp_path, items, outcomes)
    lines = [orjson.loads(line) for line in (tmp_path / "dataset/excluded.jsonl").read_bytes().splitlines()]
    assert [(line["reason"], line["line"]) for line in lines] == [
        ("prompt_too_long", 10),
        ("contexts_differ", 13),
        ("unreadable", 14),
    ]
    assert lines[0]["original"]["responses"] == {"chosen": "good 9 yes", "rejected": "bad 9"}
    assert lines[1]["original"] == '{"chosen": "a", "rejected": "b"}'
    assert lines[1]["source"] == "harmless-base/train.jsonl.gz"


def test_the_accounts_balance_and_say_where_every_row_went(tmp_path: Path) -> None:
    items, outcomes = mixed()
    summary = build(tmp_path, items, outcomes)
    assert summary.balances
    assert (summary.rows, summary.finished, summary.not_finished) == (14, 9, 2)
    assert dict(summary.excluded) == {"prompt_too_long": 1, "contexts_differ": 1, "unreadable": 1}
    found = summary.pairs["human"]
    assert (found.labelled, found.tied, found.abstained, found.excluded, found.not_finished) == (
        6,
        2,
        1,
        3,
        2,
    )
    written = orjson.loads((tmp_path / "dataset/summary.json").read_bytes())
    assert written == orjson.loads(orjson.dumps(summary.as_json()))
    for config, splits in summary.configs.items():
        for split, count in splits.items():
            assert len(rows_of(tmp_path, config, split)) == count


def test_a_row_revised_on_both_sides_gives_two_pairs_and_still_balances(tmp_path: Path) -> None:
    one, two = row(0), row(1, responses={"response": Turn("assistant", " alone")})
    chains = (revision(one, a_round(1, "x"), of="chosen"), revision(one, a_round(1, "y"), of="rejected"))
    done = outcome(
        one, revised(one, 0.9, of="chosen", text="x"), revised(one, 0.2, text="y"), revisions=chains
    )
    summary = build(tmp_path, [one, two], [done, outcome(two)])
    account = summary.pairs["revised"]
    assert (account.rows, account.further_pairs, account.labelled, account.without_pair) == (2, 1, 2, 1)
    assert summary.balances
    assert [item["chosen"] for item in rows_of(tmp_path, "revisions")] == [said("x")]
    assert [name_of("revisions", "of", item["of"]) for item in rows_of(tmp_path, "revisions")] == ["chosen"]


# ---------------------------------------------------------------- files


def test_two_builds_are_equal_to_the_byte_whatever_order_the_store_was_written_in(tmp_path: Path) -> None:
    items, outcomes = mixed()
    build(tmp_path / "a", items, outcomes)
    build(tmp_path / "b", items, outcomes[::-1])
    assert digests(tmp_path / "a/dataset") == digests(tmp_path / "b/dataset")
    with Store(tmp_path / "a/store") as store:
        build_dataset(tmp_path / "a", recipe(), GENERATION, items, store)
    assert digests(tmp_path / "a/dataset") == digests(tmp_path / "b/dataset")


def test_another_generations_outcomes_are_not_finished_rows(tmp_path: Path) -> None:
    one = row(0)
    fill(tmp_path / "store", [outcome(one, human(one, 0.9))], "1" * 32)
    with Store(tmp_path / "store") as store:
        summary = build_dataset(tmp_path, recipe(), GENERATION, [one], store)
    assert (summary.finished, summary.not_finished) == (0, 1)


def test_a_build_that_fails_leaves_the_old_dataset_as_it_was(tmp_path: Path) -> None:
    items, outcomes = mixed()
    build(tmp_path, items, outcomes)
    before = digests(tmp_path / "dataset")
    with Store(tmp_path / "store", writable=True) as store:
        store.put(outcome_digest(items[3].id, GENERATION), {"row": "of another form"}, {})
    with Store(tmp_path / "store") as store, pytest.raises(StoreError, match="does not read"):
        build_dataset(tmp_path, recipe(), GENERATION, items, store)
    assert digests(tmp_path / "dataset") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataset", "store"]


def test_two_builds_at_the_same_time_never_mix(tmp_path: Path) -> None:
    rows, done = [row(number) for number in range(3)], []
    for made in rows:
        done.append(outcome(made, human(made, 0.9)))
    build(tmp_path, rows, done)
    before = digests(tmp_path / "dataset")

    def another() -> Iterator[Row]:
        yield rows[0]
        with pytest.raises(RunError, match="Another process builds"):
            build_dataset(tmp_path, recipe(), GENERATION, rows, store)
        yield from rows[1:]

    (tmp_path / ".dataset-new" / "traces").mkdir(parents=True)  # of a build that was killed
    (tmp_path / ".dataset-new" / "traces" / "train-00000.parquet").write_bytes(b"half")
    (tmp_path / ".dataset-new" / "excluded.jsonl").write_bytes(b"half")
    with Store(tmp_path / "store") as store:
        build_dataset(tmp_path, recipe(), GENERATION, another(), store)
    assert digests(tmp_path / "dataset") == before
    assert not list(tmp_path.glob(".dataset*"))


def test_every_config_has_exactly_the_columns_that_are_described(tmp_path: Path) -> None:
    items, outcomes = mixed()
    build(tmp_path, items, outcomes)
    page = (tmp_path / "dataset/README.md").read_text()
    for config, columns in CONFIGS.items():
        schema = pq.read_schema(tmp_path / "dataset" / config / "train-00000.parquet")
        assert schema.equals(arrow_schema(columns))
        for column in columns:
            assert f"- `{column.name}` (" in page
            assert column.doc


def test_no_key_of_a_record_is_lost_or_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Arrow drops unknown keys and fills missing ones in silence; so hold them against the schema."""
    from cai.dataset.writer import ConfigWriter

    kept: list[tuple[ConfigWriter, dict[str, Any]]] = []
    add = ConfigWriter.add

    def watch(self: ConfigWriter, split: str, record: dict[str, Any]) -> None:
        kept.append((self, record))
        add(self, split, record)

    monkeypatch.setattr(ConfigWriter, "add", watch)
    items, outcomes = mixed()
    build(tmp_path, items, outcomes)
    assert len(kept) > 30
    for writer, record in kept:
        _hold(record, pa.struct(list(writer._schema)))


def _hold(value: Any, kind: Any) -> None:
    if pa.types.is_struct(kind):
        assert set(value) == {field.name for field in kind}
        for field in kind:
            _hold(value[field.name], field.type)
    elif pa.types.is_list(kind):
        for item in value:
            _hold(item, kind.value_type)


def test_a_dataset_of_any_size_needs_constant_memory(tmp_path: Path) -> None:
    def rows(count: int) -> Iterator[Row]:
        return (row(number) for number in range(count))

    def outcomes(count: int) -> Iterator[Outcome]:
        return (outcome(made, human(made, made.position % 97 / 97)) for made in rows(count))

    fill(tmp_path / "store", outcomes(20_000))
    with Store(tmp_path / "store") as store:
        build_dataset(tmp_path, recipe(), GENERATION, rows(4_000), store)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        summary = build_dataset(tmp_path, recipe(), GENERATION, rows(20_000), store)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert summary.finished == 20_000
    assert pq.ParquetFile(tmp_path / "dataset/traces/train-00000.parquet").num_row_groups == 20
    assert after - before < 30_000  # kB; the rows themselves would take several times that


# ---------------------------------------------------------------- load_dataset


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    def open_config(run: Path, *config: str) -> Any:
        return datasets.load_dataset(str(run / "dataset"), *config, cache_dir=str(tmp_path / "cache"))

    return open_config


def test_load_dataset_opens_every_config_by_name(tmp_path: Path, load: Any) -> None:
    items, outcomes = mixed()
    summary = build(tmp_path, items, outcomes)
    assert set(summary.configs) == set(CONFIGS)
    for config, splits in summary.configs.items():
        opened = load(tmp_path, config)
        assert {split: len(opened[split]) for split in opened} == splits
        assert opened["train"].column_names == [column.name for column in CONFIGS[config]]
    first = load(tmp_path, "preferences")["train"][0]
    assert first["chosen"] == said("good 0 yes")
    assert set(load(tmp_path)) == {"train", "test"}


def test_a_split_or_config_without_rows_is_left_out_and_the_rest_opens(tmp_path: Path, load: Any) -> None:
    rows = [row(0), row(1, split="test")]
    outcomes = [outcome(rows[0], human(rows[0], 0.9)), outcome(rows[1], human(rows[1], 0.5))]
    summary = build(tmp_path, rows, outcomes)
    assert summary.configs == {
        "preferences": {"train": 1},
        "preferences-human": {"train": 1},
        "unpaired": {"train": 2},
        "traces": {"train": 1, "test": 1},
    }
    assert list(load(tmp_path, "preferences")) == ["train"]
    assert len(load(tmp_path, "traces")["test"]) == 1
    page = (tmp_path / "dataset/README.md").read_text()
    assert "Left out because they have no rows: `preferences-sampled`, `revisions`, `sft`." in page


def test_a_dataset_without_any_row_is_written_all_the_same(tmp_path: Path) -> None:
    summary = build(tmp_path, [excluded(0)], [])
    assert (summary.configs, summary.balances) == ({}, True)
    assert sorted(path.name for path in (tmp_path / "dataset").iterdir()) == [
        "README.md",
        "excluded.jsonl",
        "summary.json",
    ]


def test_a_split_of_any_name_can_be_opened(tmp_path: Path, load: Any) -> None:
    one = row(0, split="held out-1")
    build(tmp_path, [one], [outcome(one, human(one, 0.9))])
    opened = load(tmp_path, "preferences")
    assert list(opened) == ["held_out_1"]
    assert opened["held_out_1"][0]["split"] == "held out-1"
