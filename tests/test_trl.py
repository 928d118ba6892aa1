"""The dataset trains as it is: four stock TRL trainers, two steps each, straight from `load_dataset`."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from cai.conversation import Turn
from cai.source import Row
from tests.test_dataset_inputs import a_round, build, human, outcome, recipe, revised, revision, row
from tests.trl_training import STEPS, TRAINERS, Trained, load, train_on, train_two_steps

BAD_TURN = " Take all the wool you can carry."
ANSWER = " Casting on comes first, number"
CONVERSATION = (
    Turn("user", " Where do I find wool?"),
    Turn("assistant", BAD_TURN),
    Turn("user", " And how do I begin?"),
)


def _rows() -> list[Row]:
    """Six rows of `train` and two of `test`; every prompt but the first has an earlier assistant turn."""
    rows = [row(0)]
    rows += [
        row(number, prompt=(*CONVERSATION[:2], Turn("user", f" And {number}?"))) for number in range(1, 6)
    ]
    rows += [
        row(number, split="test", prompt=(Turn("user", text),))
        for number, text in (
            (6, " What do goats eat in winter?"),
            (7, " Who built the first lighthouse, and why?"),
        )
    ]
    return rows


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with rows in every config to train on."""
    return _dataset(tmp_path_factory.mktemp("run"))


def _dataset(run: Path, **settings: Any) -> Path:
    rows = _rows()
    outcomes = [
        outcome(
            one,
            human(one, 0.9 if one.position % 2 else 0.2),
            revised(one, 0.8, text=f"{ANSWER} {one.position}"),
            revisions=(revision(one, a_round(1, f"{ANSWER} {one.position}")),),
        )
        for one in rows
    ]
    build(run, rows, outcomes, recipe(**settings))
    return run / "dataset"


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tiny model, caches and outputs of this module lie."""
    return tmp_path_factory.mktemp("training")


CASES = [
    ("preferences", "DPO"),
    ("preferences", "Reward"),
    ("preferences-human", "DPO"),
    ("preferences-human", "Reward"),
    ("revisions", "DPO"),
    ("sft", "SFT"),
    ("unpaired", "KTO"),
]
USED = {
    "DPO": ["prompt_ids", "chosen_ids", "rejected_ids"],
    "Reward": ["chosen_ids", "rejected_ids"],
    "SFT": ["input_ids", "labels"],
    "KTO": ["prompt_ids", "completion_ids", "KL_completion_ids", "label"],
}


@pytest.mark.parametrize("config, kind", CASES)
def test_a_stock_trainer_takes_two_steps_straight_from_load_dataset(
    config: str, kind: str, dataset: Path, scratch: Path
) -> None:
    assert kind in TRAINERS[config]
    trained = train_two_steps(str(dataset), config, scratch, kind)
    assert len(trained.losses) == STEPS
    assert all(math.isfinite(loss) for loss in trained.losses)
    assert set(trained.used) == set(USED[kind])
    assert trained.trainer.state.global_step == STEPS


def _sft(dataset: Path, scratch: Path) -> Trained:
    return train_two_steps(str(dataset), "sft", scratch)


def test_sft_has_no_loss_on_any_token_of_the_prompt_earlier_assistant_turns_included(
    dataset: Path, scratch: Path
) -> None:
    trained = _sft(dataset, scratch)
    tokenizer = trained.trainer.processing_class
    begin = tokenizer.encode("<|im_start|>assistant\n")
    for prepared, source in zip(
        trained.trainer.train_dataset, load(str(dataset), "sft", scratch), strict=True
    ):
        ids, labels = prepared["input_ids"], prepared["labels"]
        prompt = tokenizer.apply_chat_template(
            source["prompt"], add_generation_prompt=True, tokenize=True, return_dict=False
        )
        assert ids[: len(prompt)] == prompt
        assert prompt[-len(begin) :] == begin
        assert set(labels[: len(prompt)]) == {-100}
        assert labels[len(prompt) :] == ids[len(prompt) :]
        learnt = tokenizer.decode([token for token in labels if token != -100])
        assert learnt == source["completion"][0]["content"] + "<|im_end|>\n"
        assert BAD_TURN.strip() not in learnt
    turned = [source for source in load(str(dataset), "sft", scratch) if len(source["prompt"]) == 3]
    assert len(turned) == 5
    assert turned[0]["prompt"][1] == {"role": "assistant", "content": BAD_TURN.strip()}


def test_a_loss_that_counted_the_prompt_would_be_another_loss(dataset: Path, scratch: Path) -> None:
    """The mask above is what the model is trained under, not only a column beside it."""
    rows = load(str(dataset), "sft", scratch)
    masked = train_on(rows, "SFT", scratch)
    whole = train_on(rows, "SFT", scratch, completion_only_loss=False)
    labels = masked.batch["labels"]
    assert (labels[:, 1:] == -100).sum() > (whole.batch["labels"][:, 1:] == -100).sum()
    assert masked.losses[0] != pytest.approx(whole.losses[0], rel=1e-6)


def test_no_config_has_a_margin_and_trl_would_subtract_one_if_it_had(dataset: Path, scratch: Path) -> None:
    import torch

    for config in ("preferences", "preferences-human", "revisions"):
        assert "margin" not in load(str(dataset), config, scratch).column_names
    rows = load(str(dataset), "preferences", scratch)
    plain = train_on(rows, "Reward", scratch).trainer
    with_margin = train_on(rows.add_column("margin", [2.0] * len(rows)), "Reward", scratch).trainer
    batch = next(iter(with_margin.get_train_dataloader()))
    assert batch["margin"].tolist() == [2.0, 2.0]
    model = plain.model.eval()
    without = {name: value for name, value in batch.items() if name != "margin"}
    with torch.no_grad():
        chosen, rejected = model(**without).logits.squeeze(-1).chunk(2)
        gap = chosen - rejected
        bare = plain.compute_loss(model, dict(without))
        less = plain.compute_loss(model, dict(batch))
    assert bare == pytest.approx(float(-torch.nn.functional.logsigmoid(gap).mean()), abs=1e-6)
    assert less == pytest.approx(float(-torch.nn.functional.logsigmoid(gap - 2.0).mean()), abs=1e-6)


def test_a_margin_that_was_asked_for_is_the_log_odds_that_trl_subtracts(
    scratch: Path, tmp_path: Path
) -> None:
    rows = load(str(_dataset(tmp_path, margin=True)), "preferences", scratch)
    odds = [math.log(p / (1 - p)) for p in rows["ai_probability"]]
    assert rows["margin"] == pytest.approx(odds, rel=1e-5)
    trained = train_on(rows, "Reward", scratch)
    assert "margin" in trained.used
    for handed in trained.batch["margin"].tolist():
        assert any(handed == pytest.approx(gap, rel=1e-5) for gap in odds)


def test_kto_is_handed_both_kinds_of_completion(dataset: Path, scratch: Path) -> None:
    rows = load(str(dataset), "unpaired", scratch)
    assert set(rows["label"]) == {True, False}


def test_what_is_loaded_is_this_runs_dataset_as_it_now_is(scratch: Path, tmp_path: Path) -> None:
    """`datasets` has one cache for all folders of one name: no other run's data, nor older ones, come back."""

    def agreement(run: Path, probability: float) -> set[float]:
        rows = _rows()
        build(run, rows, [outcome(one, human(one, probability)) for one in rows])
        return set(load(str(run / "dataset"), "preferences", scratch)["ai_probability"])

    assert agreement(tmp_path / "one", 0.75) == {0.75}
    assert agreement(tmp_path / "other", 0.875) == {0.875}
    shutil.rmtree(tmp_path / "one")
    assert agreement(tmp_path / "one", 0.625) == {0.625}


def test_train_stays_train(dataset: Path, scratch: Path) -> None:
    for config in ("preferences", "sft", "unpaired"):
        train, test = (
            set(load(str(dataset), config, scratch, split)["row_id"]) for split in ("train", "test")
        )
        assert len(train) == 6
        assert len(test) == 2
        assert not train & test
