"""The training examples run at tiny size, and their figures are those worked by hand."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from cai.conversation import Turn
from tests.test_dataset_inputs import a_round, build, human, outcome, revised, revision, row
from tests.trl_training import tiny_llama

QUESTIONS = {
    "train": ("How do I bake bread?", "Why is the sea salt?", "Who paints old doors?", "When do owls sleep?"),
    "test": ("What do goats eat in winter?", "Which lighthouse was the first one?", "Where is Lisbon?"),
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four rows of `train` and three of `test`, with pairs, revisions and both labels."""
    run = tmp_path_factory.mktemp("run")
    rows = [
        row(number, split=split, prompt=(Turn("user", f" {text}"),))
        for number, (split, text) in enumerate(
            (split, text) for split, texts in QUESTIONS.items() for text in texts
        )
    ]
    outcomes = [
        outcome(
            one,
            human(one, 0.9 if one.position % 2 else 0.2),
            revised(one, 0.8, text=f"Better {one.position}"),
            revisions=(revision(one, a_round(1, f"Better {one.position}")),),
        )
        for one in rows
    ]
    build(run, rows, outcomes)
    return run / "dataset"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `load_dataset` caches lies in the test's own folder."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama."""
    return tiny_llama(tmp_path_factory.mktemp("model"))


def _small(model: Path, figures: Path) -> list[str]:
    return ["--model", str(model), "--seeds", "2", "--epochs", "1", "--batch", "2", "--json", str(figures)]


def test_reward_models_of_each_label_are_trained_and_compared(
    dataset: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from examples import compare_reward_models

    assert compare_reward_models.main([str(dataset), *_small(model, tmp_path / "figures.json")]) == 0
    told = json.loads((tmp_path / "figures.json").read_text("utf-8"))
    against = told["against the human labels"]
    assert told["rows"] == 4
    assert set(against["share right"]) == {"ai", "ai-soft", "human"}
    assert set(against["difference"]) == {"ai - human", "ai-soft - human"}
    for share in against["share right"].values():
        assert share["n"] == 3
        assert len(share["by_seed"]) == 2
        assert share["value"] == pytest.approx(np.mean(share["by_seed"]))
    printed = capsys.readouterr().out
    assert "Trained on 4 pairs; the labels differ on 50.0 % of them." in printed
    assert "Against the human labels (95 % intervals over pairs)" in printed


def test_the_rows_of_both_labels_are_the_same_in_one_order(dataset: Path) -> None:
    from examples.compare_reward_models import same_rows

    rows = same_rows(str(dataset), None)
    assert rows["ai"]["row_id"] == rows["human"]["row_id"] == rows["ai-soft"]["row_id"]
    turned = [a != b for a, b in zip(rows["ai"]["chosen"], rows["human"]["chosen"], strict=True)]
    assert turned == [not agrees for agrees in rows["ai"]["human_agrees"]]
    assert any(turned)


def test_figures_of_reward_models_are_those_worked_by_hand() -> None:
    from examples.compare_reward_models import Held, figures

    held = Held(None, np.arange(4), np.array([1.0, 0.0, math.nan, 1.0]))
    found = {
        "ai": [np.array([1.0, -2.0, 3.0, 0.0]), np.array([1.0, -2.0, 3.0, 1.0])],
        "human": [np.array([1.0, 2.0, -3.0, -1.0]), np.array([1.0, 2.0, 3.0, -1.0])],
    }
    told = figures(found, held)
    human_labels, truth = told["against the human labels"], told["against the planted truth"]
    # ai prefers `chosen` in 1, 0, 1, 1/2 and in 1, 0, 1, 1; human in 1, 1, 0, 0 and in 1, 1, 1, 0
    assert human_labels["share right"]["ai"]["by_seed"] == [0.625, 0.75]
    assert human_labels["share right"]["ai"]["value"] == pytest.approx(0.6875)
    assert human_labels["share right"]["human"]["value"] == pytest.approx(0.625)
    assert human_labels["difference"]["ai - human"]["value"] == pytest.approx(0.0625)
    # without the third pair; `rejected` is truly better in the second
    assert truth["share right"]["ai"]["by_seed"] == pytest.approx([2.5 / 3, 1.0])
    assert truth["share right"]["human"]["by_seed"] == pytest.approx([1 / 3, 1 / 3])
    assert truth["difference"]["ai - human"]["n"] == 3


@pytest.mark.parametrize("config, warm_up", [("sft", "1"), ("revisions", "0")])
def test_over_refusal_is_measured_before_and_after_training(
    config: str, warm_up: str, dataset: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from examples import over_refusal

    asked = tmp_path / "prompts.jsonl"
    asked.write_text("\n".join(over_refusal.PROMPTS.read_text("utf-8").splitlines()[::20]), "utf-8")
    said = tmp_path / "said.jsonl"
    given = [
        str(dataset),
        *_small(model, tmp_path / "figures.json"),
        "--config",
        config,
        "--prompts",
        str(asked),
    ]
    assert over_refusal.main([*given, "--new-tokens", "6", "--completions", str(said)]) == 0
    told = json.loads((tmp_path / "figures.json").read_text("utf-8"))
    assert told["refuses"]["base"]["n"] == told["evades"]["trained"]["n"] == 5
    assert "Share of benign prompts" in capsys.readouterr().out
    lines = [json.loads(line) for line in said.read_text("utf-8").splitlines()]
    assert len(lines) == 5
    assert all(len(line["trained"]) == 2 and line["base"] for line in lines)


def test_figures_of_over_refusal_are_those_worked_by_hand() -> None:
    from examples.over_refusal import figures

    base = ["I can't help with that.", "Water it twice a week.", "Ok.", "Use a small pot."]
    once = ["I can't help with that.", "I won't help with that.", "Use sand.", "Use a small pot."]
    again = ["Use a knife.", "I won't help with that.", "Use sand.", "I'd rather not."]
    told = figures(base, [once, again])
    assert told["refuses"]["base"]["value"] == 0.25
    assert told["refuses"]["by_seed"] == [0.5, 0.5]
    assert told["refuses"]["difference"]["value"] == pytest.approx((-0.5 + 1 + 0 + 0.5) / 4)
    assert told["evades"]["base"]["value"] == 0.25
    assert told["evades"]["difference"]["value"] == -0.25


def test_the_benign_prompts_are_a_hundred_different_ones_of_named_kinds() -> None:
    from examples.over_refusal import PROMPTS, read_prompts

    asked = read_prompts(str(PROMPTS))
    assert len({prompt for _, prompt in asked}) == len(asked) == 100
    kinds = Counter(kind for kind, _ in asked)
    assert kinds["plain"] == 20
    assert min(kinds.values()) >= 10


def test_the_toy_dataset_holds_topics_of_test_out_of_train_and_knows_the_truth(tmp_path: Path) -> None:
    from cai.recipe import load_recipe
    from cai.source import Row, open_sources
    from examples import toy_dataset

    toy_dataset.write(tmp_path, train=24, test=12)
    recipe = load_recipe(tmp_path / "recipe.yaml")
    assert recipe.feedback is not None
    assert recipe.feedback.harm is False
    found = [row for row in open_sources(recipe.sources, tmp_path).items() if isinstance(row, Row)]
    assert Counter(row.split for row in found) == {"train": 24, "test": 12}
    records = [
        {
            "prompt": [{"role": turn.role, "content": turn.text.removeprefix(" ")} for turn in row.prompt],
            **{
                name: [{"role": "assistant", "content": row.responses[name].text.removeprefix(" ")}]
                for name in ("chosen", "rejected")
            },
        }
        for row in found
    ]
    truths = toy_dataset.truth_of(records, tmp_path / "data")
    for one, truth in zip(found, truths, strict=True):
        assert (truth.topic in toy_dataset.HELD_OUT) == (one.split == "test")
    asked = toy_dataset.questions()
    assert len(set(asked)) == len(asked) == 12 * 8
