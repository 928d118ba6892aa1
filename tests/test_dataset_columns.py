"""Promises of the columns that statistics are made of: clusters, features, harm, judges, clamps, noise."""

from __future__ import annotations

from dataclasses import replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest

from cai.conversation import Turn
from cai.dataset.kept import kept_share
from cai.errors import RunError
from cai.recipe import Recipe
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
)


def rows_of(run: Path, config: str) -> list[dict[str, Any]]:
    path = run / "dataset" / config / "train-00000.parquet"
    return list(pq.read_table(path).to_pylist()) if path.exists() else []


def settings_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads((run / "dataset/summary.json").read_bytes())["settings"]
    return found


# ---------------------------------------------------------------- clusters


def test_rows_share_a_cluster_where_their_first_human_turn_says_the_same(tmp_path: Path) -> None:
    prompts = [
        (Turn("user", " How do I knit?"),),
        (Turn("user", " HOW  do\nI knit? "), Turn("assistant", " So."), Turn("user", " And then?")),
        (Turn("user", " How do I sew?"),),
        (Turn("assistant", " Hello."),),
        (Turn("assistant", " Hello."),),
    ]
    rows = [row(number, prompt=prompt) for number, prompt in enumerate(prompts)]
    build(tmp_path, rows, [outcome(made, human(made, 0.9)) for made in rows])
    found = rows_of(tmp_path, "traces")
    one, same, other, alone, lonely = (item["cluster"] for item in found)
    assert one == same
    assert len({one, other, alone, lonely}) == 4
    assert all(len(item["cluster"]) == 16 and int(item["cluster"], 16) >= 0 for item in found)
    assert [item["turns"] for item in found] == [1, 3, 1, 1, 1]


# ---------------------------------------------------------------- what survives


@pytest.mark.parametrize(
    "original, rewrite, share",
    [
        ("a b c d", "a b c d", 1.0),
        ("a b c d", "a x c", 0.5),
        ("a b c d", "d c b a", 0.25),
        ("a a b", "a b a", 2 / 3),
        ("a b", "", 0.0),
        ("", "a", None),
    ],
)
def test_the_kept_share_is_that_of_the_words_that_stand_in_order(
    original: str, rewrite: str, share: float | None
) -> None:
    assert kept_share(original, rewrite) == (None if share is None else pytest.approx(share))


def test_the_kept_share_is_the_longest_common_subsequence_of_a_plain_table() -> None:
    generator = np.random.default_rng(3)
    for _ in range(100):
        one, two = (list(generator.integers(0, 6, generator.integers(1, 90))) for _ in range(2))
        table = np.zeros((len(one) + 1, len(two) + 1), int)
        for i, a in enumerate(one):
            for j, b in enumerate(two):
                table[i + 1, j + 1] = table[i, j] + 1 if a == b else max(table[i, j + 1], table[i + 1, j])
        found = kept_share(" ".join(map(str, one)), " ".join(map(str, two)))
        assert found is not None
        assert found == pytest.approx(table[-1, -1] / len(one))
        blocks = SequenceMatcher(None, one, two, autojunk=False).get_matching_blocks()
        assert found >= sum(block.size for block in blocks) / len(one) - 1e-9


# ---------------------------------------------------------------- features and harm


def test_traces_say_what_each_response_looks_like(tmp_path: Path) -> None:
    texts = {
        "chosen": Turn("assistant", " I can\u2019t help with that."),
        "rejected": Turn("assistant", " Why?"),
    }
    one = row(0, responses=texts)
    chain = revision(one, a_round(1, "Why not rest?"), a_round(2, "", ("empty",), usable=False))
    rated = (
        harm("chosen", 0.1),
        harm("rejected", 0.7),
        harm("revision 1 of rejected", 0.2),
        harm("chosen", 0.9, "other"),
    )
    build(tmp_path, [one], [outcome(one, human(one, 0.9), revised(one, 0.8), revisions=(chain,), harm=rated)])
    [made] = rows_of(tmp_path, "traces")
    pair, second = made["feedback"]
    assert (pair["first_refuses"], pair["first_evades"], pair["first_asks"], pair["first_words"]) == (
        True,
        False,
        False,
        5,
    )
    assert (pair["second_refuses"], pair["second_evades"], pair["second_asks"]) == (False, False, True)
    assert (pair["first_harm"], pair["second_harm"], pair["judge"]) == (0.1, 0.7, "toy")
    assert (second["first_harm"], second["second_harm"]) == (0.2, 0.7)
    [traced] = made["revisions"]
    assert (traced["original_words"], traced["original_asks"], traced["original_harm"]) == (1, True, 0.7)
    first, last = traced["rounds"]
    assert (first["words"], first["asks"], first["harm"], first["kept_share"]) == (3, True, 0.2, 0.0)
    assert (last["words"], last["harm"]) == (0, None)
    assert [(item["response"], item["judge"], item["probability"]) for item in made["harm"]] == [
        ("chosen", "toy", 0.1),
        ("rejected", "toy", 0.7),
        ("revision 1 of rejected", "toy", 0.2),
        ("chosen", "other", 0.9),
    ]


@pytest.mark.parametrize(
    "chosen, rejected, expected",
    [(0.5, 0.9, True), (0.49, 0.9, False), (0.1, 0.2, False), (None, 0.9, None)],
)
def test_preferences_flag_pairs_with_both_responses_harmful_and_drop_none(
    tmp_path: Path, chosen: float | None, rejected: float, expected: bool | None
) -> None:
    one = row(0)
    build(
        tmp_path,
        [one],
        [outcome(one, human(one, 0.9), harm=(harm("chosen", chosen), harm("rejected", rejected)))],
    )
    [made] = rows_of(tmp_path, "preferences")
    assert made["both_harmful"] is expected


def test_pairs_that_were_not_rated_have_no_flag(tmp_path: Path) -> None:
    one = row(0)
    build(tmp_path, [one], [outcome(one, human(one, 0.9))])
    assert rows_of(tmp_path, "preferences")[0]["both_harmful"] is None


# ---------------------------------------------------------------- judges


def two_judges() -> Recipe:
    return Recipe.model_validate(
        {
            "sources": [{"kind": "hh-rlhf"}],
            "engines": {
                "toy": {"kind": "scripted", "model": "toy"},
                "other": {"kind": "scripted", "model": "b"},
            },
            "roles": {"judge": ["toy", "other"]},
            "feedback": {"pairs": ["human", "revised"]},
        }
    )


def test_the_first_judge_makes_the_labels_and_the_other_is_kept_beside_it(tmp_path: Path) -> None:
    one = row(0)
    chain = revision(one, a_round(1, "better"))
    found = [human(one, 0.9), human(one, 0.1, judge="other"), revised(one, 0.8)]
    found.append(replace(revised(one, 0.2), judge="other"))
    summary = build(tmp_path, [one], [outcome(one, *found, revisions=(chain,))], two_judges())
    [made] = rows_of(tmp_path, "preferences")
    assert (made["judge"], made["human_agrees"], made["ai_probability"]) == ("toy", True, pytest.approx(0.9))
    [entered] = rows_of(tmp_path, "revisions")
    assert entered["ai_probability"] == pytest.approx(0.8)
    assert [item["judge"] for item in rows_of(tmp_path, "traces")[0]["feedback"]] == [
        "toy",
        "other",
        "toy",
        "other",
    ]
    assert (summary.pairs["human"].labelled, summary.pairs["revised"].labelled, summary.balances) == (
        1,
        1,
        True,
    )
    assert (settings_of(tmp_path)["judges"], settings_of(tmp_path)["same_model"]) == (["toy", "other"], True)


def test_samples_and_reasoning_of_a_judgement_are_kept(tmp_path: Path) -> None:
    one = row(0)
    given = feedback(one, (0.9, 0.7))
    second = replace(
        given.judgements[0], sample=1, said="Both.", reasoning="Let me see.", reasoning_request="c" * 32
    )
    build(tmp_path, [one], [outcome(one, replace(given, judgements=(*given.judgements, second)))])
    kept = rows_of(tmp_path, "traces")[0]["feedback"][0]["judgements"]
    assert [item["sample"] for item in kept] == [0, 0, 1]
    assert (kept[2]["said"], kept[2]["reasoning"], kept[2]["reasoning_request"]) == (
        "Both.",
        "Let me see.",
        "c" * 32,
    )
    assert (kept[0]["said"], kept[0]["reasoning"], kept[0]["reasoning_request"]) == ("", "", "")


# ---------------------------------------------------------------- clamps


def test_clamping_adds_a_column_and_leaves_the_raw_one_alone(tmp_path: Path) -> None:
    rows = [row(number) for number in range(3)]
    done = [
        outcome(made, human(made, p), revised(made, 0.97), revisions=(revision(made, a_round(1, "better")),))
        for made, p in zip(rows, (0.95, 0.05, 0.55), strict=True)
    ]
    build(tmp_path, rows, done, recipe(clamp=[0.4, 0.6]))
    made = rows_of(tmp_path, "preferences")
    assert [item["ai_probability"] for item in made] == pytest.approx([0.95, 0.95, 0.55])
    assert [item["ai_probability_clamped"] for item in made] == pytest.approx([0.6, 0.6, 0.55])
    assert rows_of(tmp_path, "revisions")[0]["ai_probability_clamped"] == pytest.approx(0.6)
    assert "`ai_probability_clamped`" in (tmp_path / "dataset/README.md").read_text()


def test_without_bounds_there_is_no_clamped_column(tmp_path: Path) -> None:
    one = row(0)
    build(tmp_path, [one], [outcome(one, human(one, 0.95))])
    assert "ai_probability_clamped" not in rows_of(tmp_path, "preferences")[0]
    assert "clamped" not in (tmp_path / "dataset/README.md").read_text()


# ---------------------------------------------------------------- the noise floor


@pytest.mark.parametrize(
    "asked, floor, in_force, labelled", [(0.05, 0.2, 0.2, 1), (0.2, 0.05, 0.2, 1), (0.05, None, 0.05, 2)]
)
def test_the_tie_threshold_is_the_larger_of_the_recipes_and_the_noise_floor(
    tmp_path: Path, asked: float, floor: float | None, in_force: float, labelled: int
) -> None:
    rows = [row(0), row(1)]
    if floor is not None:
        (tmp_path / "noise.json").write_bytes(orjson.dumps({"noise_floor": floor}))
    done = [outcome(rows[0], human(rows[0], 0.9)), outcome(rows[1], human(rows[1], 0.4))]
    summary = build(tmp_path, rows, done, recipe(tie_threshold=asked))
    assert (summary.pairs["human"].labelled, summary.pairs["human"].tied) == (labelled, 2 - labelled)
    assert [item["feedback"][0]["label"] for item in rows_of(tmp_path, "traces")][1] == (
        "tie" if labelled == 1 else "second"
    )
    found = settings_of(tmp_path)
    assert (found["tie_threshold"], found["recipe_tie_threshold"], found["noise_floor"]) == (
        in_force,
        asked,
        floor,
    )


@pytest.mark.parametrize(
    "text", ["{", "{}", '{"noise_floor": "much"}', '{"noise_floor": 0.5}', "[1]", '{"noise_floor": NaN}']
)
def test_an_unreadable_noise_floor_is_said_and_not_passed_over(tmp_path: Path, text: str) -> None:
    (tmp_path / "noise.json").write_text(text)
    with pytest.raises(RunError, match="noise floor"):
        build(tmp_path, [row(0)], [])


def test_a_judge_that_was_renamed_keeps_its_rows_under_its_new_name(tmp_path: Path) -> None:
    rows = [row(number) for number in range(3)]
    found = []
    for made in rows:
        names = ("before", "second") if made.position < 2 else ("toy", "other")  # renamed half way
        found.append(
            outcome(
                made,
                human(made, 0.9, judge=names[0]),
                human(made, 0.1, judge=names[1]),
                harm=(harm("chosen", 0.8, names[0]), harm("rejected", 0.9, names[0])),
            )
        )
    summary = build(tmp_path, rows, found, two_judges())
    assert (summary.pairs["human"].labelled, summary.pairs["human"].without_pair) == (3, 0)
    kept = rows_of(tmp_path, "preferences")
    assert [(item["judge"], item["human_agrees"], item["both_harmful"]) for item in kept] == [
        ("toy", True, True)
    ] * 3
    assert {item["judge"] for line in rows_of(tmp_path, "traces") for item in line["feedback"]} == {
        "toy",
        "other",
    }


def test_judges_that_exchange_their_names_are_told_apart_by_their_place(tmp_path: Path) -> None:
    one = row(0)
    build(tmp_path, [one], [outcome(one, human(one, 0.9, judge="other"), human(one, 0.1))], two_judges())
    [made] = rows_of(tmp_path, "preferences")
    assert (made["judge"], made["human_agrees"]) == ("toy", True)
