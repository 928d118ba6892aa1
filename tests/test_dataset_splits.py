"""Promises of what is withheld from the configs to train on: leaks between splits, and mixing by a ratio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

from cai.conversation import Turn
from cai.dataset import leakage
from cai.dataset.bands import Bands
from cai.dataset.leakage import find_leaks, is_train, word_runs
from cai.digest import draw
from cai.outcome import Outcome
from cai.recipe import Recipe
from cai.source import Row
from tests.test_dataset import digests
from tests.test_dataset_inputs import (
    a_round,
    build,
    feedback,
    human,
    outcome,
    recipe,
    revised,
    revision,
    row,
    sample,
)

LONG = "tell me how the old mill by the river was built and who paid for it in the end"


def asked(number: int, text: str, split: str, **changes: Any) -> Row:
    return row(number, split, prompt=(Turn("user", f" {text}"),), **changes)


def ids(run: Path, config: str, split: str = "train") -> list[str]:
    files = sorted((run / "dataset" / config).glob(f"{split}-*.parquet"))
    return [row_id for path in files for row_id in pq.read_table(path)["row_id"].to_pylist()]


def summary_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads((run / "dataset/summary.json").read_bytes())
    return found


def leaky() -> tuple[list[Row], list[Outcome]]:
    """Train rows 0 to 5: the same, the same but for case and white space, nearly, half, other, other."""
    texts = [
        LONG,
        f"  {LONG.upper()} ",
        LONG.replace("the end", "the very end"),
        LONG.replace("old mill", "new bridge").replace("paid", "cared"),
        "how do I knit a sock",
        "tell me a story",
    ]
    rows = [asked(number, text, "train") for number, text in enumerate(texts)]
    rows.append(asked(6, LONG, "test"))
    done = [
        outcome(
            made,
            human(made, 0.9),
            revised(made, 0.9),
            feedback(made, (0.9, 0.9), kind="sampled", about="0 1", first="sample 0", second="sample 1"),
            revisions=(revision(made, a_round(1, "better")),),
            samples=(sample("sample 0", "x"), sample("sample 1", "y")),
        )
        for made in rows
    ]
    return rows, done


# ---------------------------------------------------------------- leakage


def test_rows_of_train_whose_prompt_the_test_split_has_are_dropped_from_every_config_to_train_on(
    tmp_path: Path,
) -> None:
    summary = build(tmp_path, *leaky())
    stay = ["row-000003", "row-000004", "row-000005"]
    for config in ("preferences", "preferences-human", "preferences-sampled", "revisions", "sft"):
        assert ids(tmp_path, config) == stay
        assert ids(tmp_path, config, "test") == ["row-000006"]
    assert ids(tmp_path, "unpaired") == stay * 2
    assert len(ids(tmp_path, "traces")) == 6
    assert summary.balances
    assert summary.configs["preferences"] == {"train": 3, "test": 1}
    assert summary.withheld["preferences"] == {"train": {"leaked": 3}}
    assert summary.withheld["unpaired"] == {"train": {"leaked": 6}}


def test_leaks_are_counted_and_listed_with_the_row_that_they_are_like(tmp_path: Path) -> None:
    build(tmp_path, *leaky())
    found = summary_of(tmp_path)["leakage"]
    assert (found["rule"], found["trained"], found["held_out"]) == ("drop", 6, 1)
    assert (found["exact"], found["near"], found["threshold"]) == (2, 1, 0.8)
    # 17 runs of three words; with "very" 18, of which 16 are the same
    near = ["row-000002", "row-000006", pytest.approx(16 / 19)]
    assert found["examples"] == [
        ["row-000000", "row-000006", 1.0],
        ["row-000001", "row-000006", 1.0],
        near,
    ]
    lines = [orjson.loads(line) for line in (tmp_path / "dataset/leaked.jsonl").read_bytes().splitlines()]
    assert [(line["row_id"], line["kind"], line["like"], line["like_split"]) for line in lines] == [
        ("row-000000", "exact", "row-000006", "test"),
        ("row-000001", "exact", "row-000006", "test"),
        ("row-000002", "near", "row-000006", "test"),
    ]


def test_a_recipe_can_have_leaks_reported_only(tmp_path: Path) -> None:
    rows, done = leaky()
    summary = build(tmp_path, rows, done, recipe(leakage="report"))
    assert len(ids(tmp_path, "preferences")) == 6
    assert (summary.withheld, summary.balances) == ({}, True)
    assert (summary_of(tmp_path)["leakage"]["exact"], summary_of(tmp_path)["leakage"]["rule"]) == (
        2,
        "report",
    )


def test_no_row_of_train_has_a_prompt_of_the_test_split_after_a_build(tmp_path: Path) -> None:
    rows = [
        asked(number, f"question number {number % 40} of many", "test" if number % 5 == 0 else "train")
        for number in range(200)
    ]
    build(tmp_path, rows, [outcome(made, human(made, 0.9)) for made in rows])
    prompt = {made.id: made.prompt for made in rows}
    test = {prompt[item] for item in ids(tmp_path, "preferences", "test")}
    train = {prompt[item] for item in ids(tmp_path, "preferences")}
    assert len(test) == 8
    assert len(train) == 32
    assert not test & train


def test_what_is_near_is_what_comparing_every_two_prompts_finds(tmp_path: Path) -> None:
    def words(number: int) -> list[str]:
        made = [f"w{draw('word', number // 6, place) % 400}" for place in range(30)]
        for change in range(number % 6):  # 0 to 5 words are others
            made[draw("place", number, change) % 30] = f"x{draw('other', number, change)}"
        return made

    rows = [
        asked(number, " ".join(words(number)), "test" if number % 6 == 0 else "train")
        for number in range(240)
    ]
    build(tmp_path, rows, [outcome(made, human(made, 0.9)) for made in rows])
    runs = {
        made.id: {tuple(text[start : start + 3]) for start in range(28)}
        for made in rows
        for text in [made.prompt[0].text.split()]
    }
    test, train = (
        [made.id for made in rows if made.split == split and made.id in runs] for split in ("test", "train")
    )
    near = {
        one
        for one in train
        if any(len(runs[one] & runs[other]) / len(runs[one] | runs[other]) >= 0.8 for other in test)
    }
    assert 20 < len(near) < 100
    found = find_leaks(tmp_path / "dataset/traces", ["test", "train"])
    assert found.rows == near


@pytest.mark.parametrize(
    ("held_out", "trained", "near"),
    [
        ("Where can I find wild mushrooms", "where can i find wild mushrooms?", True),
        ("Where can I find wild mushrooms", "Where can I find -- wild, mushrooms!?", True),
        ("Where can I find wild mushrooms", "Where can I find wild berries", False),
        ("what's up", "what s up", True),
        (
            "如何在河边建造一座古老的木头磨坊并且付钱给工人",
            "如何在河边建造一座古老的木头磨坊并且付钱给工人?",
            True,
        ),
        (
            "如何在河边建造一座古老的木头磨坊并且付钱给工人",
            "请问如何在河边建造一座古老的木头磨坊并且付钱给工人",
            True,
        ),
        ("如何在河边建造一座古老的木头磨坊并且付钱给工人", "谁在河边建造了那座桥并且付钱给工人", False),
        ("???", "!!!", False),
    ],
)
def test_punctuation_makes_no_other_prompt_and_unspaced_writing_is_compared_too(
    tmp_path: Path, held_out: str, trained: str, near: bool
) -> None:
    rows = [asked(0, trained, "train"), asked(1, held_out, "test")]
    summary = build(tmp_path, rows, [outcome(made, human(made, 0.9)) for made in rows])
    assert [leak.kind for leak in summary.leaks.leaks] == (["near"] if near else [])


def test_every_split_that_is_named_after_train_is_trained_on(tmp_path: Path) -> None:
    splits = ["train_prefs", "train-sft", "trainer", "test_prefs"]
    rows = [asked(number, f"{LONG} {number // 2}", split) for number, split in enumerate(splits)]
    rows.append(asked(4, LONG.replace("mill", "tower"), "train_prefs"))
    done = [outcome(made, human(made, 0.9)) for made in rows]
    found = build(tmp_path, rows, done).leaks
    assert (found.trained, found.held_out) == (3, 2)
    assert [(leak.row_id, leak.like) for leak in found.leaks] == [
        ("row-000000", "row-000003"),
        ("row-000001", "row-000003"),
    ]
    assert summary_of(tmp_path)["configs"]["preferences"] == {"test_prefs": 1, "train_prefs": 1, "trainer": 1}


def test_prompts_that_go_on_from_each_other_are_counted_and_kept(tmp_path: Path) -> None:
    def talk(number: int, split: str, *texts: str) -> Row:
        roles = ("user", "assistant")
        return row(number, split, prompt=tuple(Turn(roles[n % 2], text) for n, text in enumerate(texts)))  # type: ignore[arg-type]

    more = "something quite different that takes many words to say and to hear"
    rows = [
        talk(0, "train", "One?", "Two.", more),  # goes on from the test row 3
        talk(1, "train", " Three?"),  # the test row 4 goes on from it
        talk(2, "train", "Three?", "Two.", more),  # begins as row 4 does, and is no part of it
        talk(3, "test", "one? "),
        talk(4, "test", "Three?", "Four.", more),
        talk(5, "train", "ONE?"),  # the same as the test row 3
        talk(6, "train", "One?", "Two."),  # ends with the assistant: goes on from the test row 3
    ]
    found = build(tmp_path, rows, [outcome(made, human(made, 0.9)) for made in rows]).leaks
    assert [leak.row_id for leak in found.leaks] == ["row-000005"]
    assert found.continued == 3
    assert summary_of(tmp_path)["leakage"]["continued"] == 3
    assert len(ids(tmp_path, "preferences")) == 4


@pytest.mark.parametrize("split", ["train", "Train", "train_prefs", "train-sft", "train2", "train.v1"])
def test_a_split_to_train_on(split: str) -> None:
    assert is_train(split)
    assert not is_train(f"un{split}")
    assert not any(is_train(other) for other in ("trainer", "training", "test", "test_train", ""))


def test_two_short_prompts_are_near_only_where_they_are_the_same() -> None:
    assert len(word_runs(["hello"])) == 1
    assert len(word_runs(["a", "b"])) == 1
    assert len(word_runs(["a", "b", "c", "d", "a", "b", "c"])) == 4  # abc bcd cda dab, abc again
    assert word_runs(["hello"]).tolist() != word_runs(["hallo"]).tolist()


def test_a_dataset_with_one_split_has_nothing_to_leak(tmp_path: Path) -> None:
    rows = [asked(number, LONG, "train") for number in range(3)]
    summary = build(tmp_path, rows, [outcome(made, human(made, 0.9)) for made in rows])
    assert summary.configs["preferences"] == {"train": 3}
    assert not (tmp_path / "dataset/leaked.jsonl").exists()
    assert find_leaks(tmp_path / "dataset/traces", ["test", "validation"]).leaks == ()


def test_leaks_are_the_same_however_many_held_out_prompts_are_kept_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        asked(number, f"{LONG} {'again ' * (number % 7)}{number % 3}", "test" if number < 6 else "train")
        for number in range(40)
    ]
    build(tmp_path, rows, [outcome(made, human(made, 0.9)) for made in rows])
    whole = find_leaks(tmp_path / "dataset/traces", ["test", "train"])
    monkeypatch.setattr("cai.dataset.leakage.PROMPTS_AT_ONCE", 2)
    assert find_leaks(tmp_path / "dataset/traces", ["test", "train"]) == whole
    assert {leak.kind for leak in whole.leaks} == {"exact", "near"}


def test_a_prompt_with_the_same_words_never_stands_for_the_same_prompt_that_is_found_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [asked(0, f"{LONG}!", "test"), asked(1, LONG, "test"), asked(2, LONG, "train")]
    build(tmp_path, rows, [outcome(made, human(made, 0.9)) for made in rows])
    monkeypatch.setattr("cai.dataset.leakage.PROMPTS_AT_ONCE", 1)
    (leak,) = find_leaks(tmp_path / "dataset/traces", ["test", "train"]).leaks
    assert (leak.kind, leak.like) == ("exact", rows[1].id)


def test_a_prompt_that_stands_in_every_row_is_not_looked_for_among_all_that_are_near(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or each row of train would be held against each one that is held out."""
    texts = [*[LONG] * 40, LONG.replace("the end", "the very end")]
    rows = [asked(number, text, "train") for number, text in enumerate(texts)]
    rows += [asked(number, LONG, "test") for number in range(len(texts), len(texts) + 40)]
    build(tmp_path, rows, [outcome(made, human(made, 0.9)) for made in rows], recipe(leakage="report"))
    looked_for: list[int] = []
    near = Bands.near

    def counted(self: Bands, signatures: Any, least: float) -> list[list[int]]:
        looked_for.append(len(signatures))
        return near(self, signatures, least)

    monkeypatch.setattr(Bands, "near", counted)
    found = find_leaks(tmp_path / "dataset/traces", ["test", "train"])
    assert [leak.kind for leak in found.leaks] == ["exact"] * 40 + ["near"]
    assert {leak.like for leak in found.leaks} == {rows[len(texts)].id}
    assert looked_for == [1]


def test_of_held_out_prompts_with_the_same_words_one_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or thousands of rows with one prompt would be held against thousands with nearly the same."""
    rows = [asked(number, LONG, "test") for number in range(30)]
    rows += [asked(number, f"{LONG}.", "train") for number in range(30, 33)]
    build(tmp_path, rows, [outcome(made, human(made, 0.9)) for made in rows])
    compared: list[float] = []
    similarity = leakage._similarity

    def counted(one: Any, other: Any) -> float:
        compared.append(similarity(one, other))
        return compared[-1]

    monkeypatch.setattr(leakage, "_similarity", counted)
    found = find_leaks(tmp_path / "dataset/traces", ["test", "train"])
    assert [(leak.kind, leak.like) for leak in found.leaks] == [("near", rows[0].id)] * 3
    assert found.held_out == 30
    assert compared == [1.0] * 3


def test_a_shared_system_prompt_does_not_make_prompts_alike(tmp_path: Path) -> None:
    system = Turn("system", f" {LONG} {LONG}")
    rows = [
        row(0, prompt=(system, Turn("user", " how do I knit a sock"))),
        row(1, "test", prompt=(system, Turn("user", " what is the capital of Peru"))),
    ]
    summary = build(tmp_path, rows, [outcome(made, human(made, 0.9)) for made in rows])
    assert summary.leaks.leaks == ()


# ---------------------------------------------------------------- mixing


def helpful(number: int, **changes: Any) -> Row:
    return row(number, subset="helpful-base", **changes)


def test_human_pairs_of_a_subset_without_a_constitution_are_mixed_in_by_a_ratio(tmp_path: Path) -> None:
    rows = [row(number) for number in range(20)] + [helpful(number) for number in range(20, 60)]
    done = [outcome(made, human(made, 0.1)) for made in rows[:20]]
    done += [outcome(made, excluded_as="no_constitution") for made in rows[20:]]
    summary = build(tmp_path, rows, done, recipe(pairs=["human"], mix={"helpful-*": 0.5}))
    found = pq.read_table(tmp_path / "dataset/preferences/train-00000.parquet").to_pylist()
    mixed = [item for item in found if item["subset"] == "helpful-base"]
    assert (len(found), len(mixed)) == (30, 10)
    assert {(item["ai_probability"], item["judge"], item["labelled_by"]) for item in mixed} == {
        (None, None, 1)
    }
    assert {item["labelled_by"] for item in found if item not in mixed} == {0}
    first = next(made for made in rows if made.id == mixed[0]["row_id"])
    assert mixed[0]["chosen"][0]["content"] == first.responses["chosen"].text
    smallest = sorted((draw(0, "mix", made.id), made.id) for made in rows[20:])[:10]
    assert {item["row_id"] for item in mixed} == {row_id for _, row_id in smallest}
    assert ids(tmp_path, "preferences-human") == ids(tmp_path, "preferences")
    assert ids(tmp_path, "unpaired") == ids(tmp_path, "preferences") * 2
    assert summary.balances
    assert summary.mixed["preferences"] == {"train": {"helpful-*": 10}}
    assert summary.withheld["preferences"] == {"train": {"over_ratio": 30}}
    assert summary.human_labelled["unpaired"] == 80
    assert summary.excluded["no_constitution"] == 40


def test_a_row_that_stays_at_one_ratio_stays_at_every_larger_one(tmp_path: Path) -> None:
    rows = [row(number) for number in range(12)] + [helpful(number) for number in range(12, 30)]
    done = [outcome(made, human(made, 0.9)) for made in rows[:12]]
    done += [outcome(made, excluded_as="no_constitution") for made in rows[12:]]
    before: set[str] = set()
    for number, (ratio, count) in enumerate([(0, 0), (0.25, 3), (1, 12), (9, 18)]):
        run = tmp_path / str(number)
        build(run, rows, done, recipe(pairs=["human"], mix={"helpful-*": ratio}))
        now = set(ids(run, "preferences")) - {made.id for made in rows[:12]}
        assert len(now) == count
        assert before <= now
        before = now


def test_rows_that_the_ai_judged_are_thinned_to_the_ratio_in_each_config(tmp_path: Path) -> None:
    rows = [row(number) for number in range(8)] + [helpful(number) for number in range(8, 24)]
    done = [
        outcome(made, human(made, 0.9), revised(made, 0.9), revisions=(revision(made, a_round(1, "better")),))
        for made in rows
    ]
    summary = build(tmp_path, rows, done, recipe(mix={"helpful-*": 1}))
    assert summary.balances
    for config in ("preferences", "preferences-human", "revisions", "sft"):
        assert summary.configs[config] == {"train": 16}
        assert summary.mixed[config] == {"train": {"helpful-*": 8}}
    assert summary.configs["unpaired"] == {"train": 32}
    assert summary.configs["traces"] == {"train": 24}


def test_unpaired_keeps_the_rows_of_preferences_whatever_the_configs_of_revisions_keep(
    tmp_path: Path,
) -> None:
    rows = [row(number) for number in range(8)] + [helpful(number) for number in range(8, 24)]
    done = [  # two revisions in eight rows, so `sft` has another ratio's worth of rows
        outcome(
            made, human(made, 0.9), revisions=(revision(made, a_round(1, "better")),) if place < 2 else ()
        )
        for place, made in enumerate(rows[:8])
    ]
    done += [outcome(made, excluded_as="no_constitution") for made in rows[8:]]
    summary = build(tmp_path, rows, done, recipe(pairs=["human"], mix={"helpful-*": 0.5}))
    assert summary.mixed["preferences"] == {"train": {"helpful-*": 4}}
    assert summary.mixed["unpaired"] == {"train": {"helpful-*": 8}}
    assert ids(tmp_path, "preferences") == ids(tmp_path, "preferences-human")
    assert ids(tmp_path, "unpaired") == ids(tmp_path, "preferences") * 2


def test_responses_that_humans_preferred_enter_sft_by_the_ratio_where_the_recipe_says_so(
    tmp_path: Path,
) -> None:
    rows = [row(number) for number in range(6)] + [helpful(number) for number in range(6, 26)]
    done = [
        outcome(made, human(made, 0.9), revised(made, 0.9), revisions=(revision(made, a_round(1, "better")),))
        for made in rows[:6]
    ]
    done += [outcome(made, excluded_as="no_constitution") for made in rows[6:]]
    asked_for = recipe(mix={"helpful-*": 0.5}, mix_sft=True)
    unrevised = [outcome(made, human(made, 0.9)) for made in rows[:6]] + done[6:]
    without = build(tmp_path / "a", rows, unrevised, asked_for.model_copy(update={"revise": None}))
    assert "sft" not in without.configs | without.human_labelled, "the recipe revises nothing"
    summary = build(tmp_path, rows, done, asked_for)
    assert summary.balances
    assert summary.mixed["sft"] == {"train": {"helpful-*": 3}}
    assert summary.human_labelled["sft"] == 20
    assert summary.configs["revisions"] == {"train": 6}
    found = pq.read_table(tmp_path / "dataset/sft/train-00000.parquet").to_pylist()
    mixed = [item for item in found if item["subset"] == "helpful-base"]
    assert {item["row_id"] for item in mixed} <= {made.id for made in rows[6:]}
    for item in mixed:
        number = int(item["row_id"][-2:])
        assert item["completion"] == [{"role": "assistant", "content": f"good {number} yes"}]
        assert (item["of"], item["round"], item["principles"]) == (None, None, [])
    plain = build(tmp_path / "b", rows, done, recipe(mix={"helpful-*": 0.5}))
    assert plain.configs["sft"] == {"train": 6}


def test_human_pairs_join_the_sampled_ones_where_those_are_what_was_judged(tmp_path: Path) -> None:
    rows = [row(0), row(1), helpful(2), helpful(3)]
    done = [
        outcome(
            made,
            feedback(made, (0.9, 0.9), kind="sampled", about="0 1", first="sample 0", second="sample 1"),
            samples=(sample("sample 0", "x"), sample("sample 1", "y")),
        )
        for made in rows[:2]
    ]
    done += [outcome(made, excluded_as="no_constitution") for made in rows[2:]]
    summary = build(tmp_path, rows, done, recipe(pairs=["sampled"], mix={"helpful-*": 1}))
    assert summary.configs == {"preferences-sampled": {"train": 4}, "traces": {"train": 4}}
    found = pq.read_table(tmp_path / "dataset/preferences-sampled/train-00000.parquet").to_pylist()
    assert [item["chosen_finish"] for item in found] == [0, 0, None, None]
    assert summary.balances


def test_without_a_mix_a_subset_without_a_constitution_stays_out(tmp_path: Path) -> None:
    rows = [row(0), helpful(1)]
    done = [outcome(rows[0], human(rows[0], 0.9)), outcome(rows[1], excluded_as="no_constitution")]
    summary = build(tmp_path, rows, done)
    assert ids(tmp_path, "preferences") == ["row-000000"]
    assert (dict(summary.human_labelled), summary.mixed) == ({}, {})


def test_what_is_withheld_is_the_same_to_the_byte_at_every_build(tmp_path: Path) -> None:
    rows, done = leaky()
    rows += [helpful(number) for number in range(7, 17)]
    done += [outcome(made, excluded_as="no_constitution") for made in rows[7:]]
    asked_for: Recipe = recipe(mix={"helpful-*": 0.7})
    build(tmp_path / "a", rows, done, asked_for)
    build(tmp_path / "b", rows, done[::-1], asked_for)
    assert digests(tmp_path / "a/dataset") == digests(tmp_path / "b/dataset")
    assert not list((tmp_path / "a/dataset").rglob(".*"))


def test_a_config_that_loses_every_row_is_left_out(tmp_path: Path) -> None:
    rows = [asked(0, LONG, "train"), asked(1, LONG, "test")]
    done = [outcome(rows[0], human(rows[0], 0.9)), outcome(rows[1], human(rows[1], 0.5))]
    summary = build(tmp_path, rows, done)
    assert summary.configs == {"traces": {"train": 1, "test": 1}}
    assert not (tmp_path / "dataset/preferences").exists()
    assert summary.balances
