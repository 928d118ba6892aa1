"""examples/soft_labels.py: the loss, its gradient, and that each row trains under its own probability."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from torch import Tensor

from tests.trl_training import arguments, tiny_llama, train_on

PROBABILITIES = [0.6, 0.75, 0.9, 1.0, 0.5, 0.2]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tiny model and the outputs of this module lie."""
    return tmp_path_factory.mktemp("soft")


def _rows(probabilities: list[float | None]) -> Dataset:
    """A pair for each probability; the chosen response holds the pair's number."""
    return Dataset.from_list(
        [
            {
                "prompt": [{"role": "user", "content": "How do I knit?"}],
                "chosen": [{"role": "assistant", "content": f"Cast on {number} stitches first."}],
                "rejected": [{"role": "assistant", "content": "Ask somebody who knows."}],
                "ai_probability": probability,
                "row_id": f"row-{number}",
            }
            for number, probability in enumerate(probabilities)
        ]
    )


def _trainer(kind: str, rows: Dataset, scratch: Path, soft: bool = True, **changes: Any) -> Any:
    import trl

    from examples import soft_labels

    own = {name: changes.pop(name) for name in ("probability_column", "eval_dataset") if name in changes}
    made = getattr(soft_labels if soft else trl, f"{'SoftLabel' if soft else ''}{kind}Trainer")
    return made(
        model=str(tiny_llama(scratch / "model")),
        args=getattr(trl, f"{kind}Config")(**arguments(scratch, **changes)),
        train_dataset=rows,
        **own,
    )


def _batch(trainer: Any) -> dict[str, Any]:
    return dict(next(iter(trainer.get_train_dataloader())))


KINDS = ["Reward", "DPO"]


def test_the_loss_and_its_gradient_are_those_worked_by_hand() -> None:
    from examples.soft_labels import soft_loss

    gap = torch.tensor([math.log(3), 0.0, -math.log(3)], dtype=torch.float64, requires_grad=True)
    loss = soft_loss(gap, torch.tensor([0.6, 0.9, 0.6], dtype=torch.float64))
    # s(ln 3) = 3/4, s(0) = 1/2, s(-ln 3) = 1/4
    assert loss.tolist() == pytest.approx(
        [
            -(0.6 * math.log(0.75) + 0.4 * math.log(0.25)),
            math.log(2),
            -(0.6 * math.log(0.25) + 0.4 * math.log(0.75)),
        ]
    )
    loss.sum().backward()  # type: ignore[no-untyped-call]
    assert gap.grad is not None
    assert gap.grad.tolist() == pytest.approx([0.75 - 0.6, 0.5 - 0.9, 0.25 - 0.6])


def test_the_gradient_is_that_of_finite_differences() -> None:
    from examples.soft_labels import soft_loss

    gap = torch.linspace(-8, 8, 11, dtype=torch.float64, requires_grad=True)
    for probability in (0.0, 0.3, 0.5, 0.77, 1.0):

        def loss(gap: Tensor, at: float = probability) -> Tensor:
            return soft_loss(gap, torch.full_like(gap, at))

        assert torch.autograd.gradcheck(loss, (gap,))


def test_the_loss_is_least_where_the_model_says_the_label_and_stays_finite_far_away() -> None:
    from examples.soft_labels import soft_loss

    gaps = torch.linspace(-4, 4, 8001, dtype=torch.float64)
    for probability in (0.2, 0.5, 0.8):
        at = gaps[soft_loss(gaps, torch.full_like(gaps, probability)).argmin()]
        assert torch.sigmoid(at).item() == pytest.approx(probability, abs=1e-3)
    far = soft_loss(torch.tensor([-1e4, 1e4]), torch.tensor([0.75, 0.75]))
    assert far.tolist() == pytest.approx([7500, 2500])


@pytest.mark.parametrize("kind", KINDS)
def test_a_probability_of_one_is_the_stock_loss_to_the_last_bit(kind: str, scratch: Path) -> None:
    rows = _rows([1.0] * 4)
    soft, stock = (_trainer(kind, rows, scratch, soft=which) for which in (True, False))
    model = soft.model.train()
    batch = _batch(soft)
    with torch.no_grad():  # the policy is moved, so that no gap is nought
        for parameter in model.parameters():
            parameter.mul_(1.1)
    stock.model.load_state_dict(model.state_dict())
    assert torch.equal(soft.compute_loss(model, dict(batch)), stock.compute_loss(stock.model, _batch(stock)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_trainers_gradient_is_each_rows_own(kind: str, scratch: Path) -> None:
    """Each pair's gradient of the gap is weighed by s(gap) - p, with the p of that pair."""
    trainer = _trainer(kind, _rows([0.9, 0.2]), scratch)
    model = trainer.model.train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    batch = _batch(trainer)
    probability = batch["ai_probability"]
    assert sorted(probability.tolist()) == pytest.approx([0.2, 0.9])
    gap = _gap(trainer, {name: value for name, value in batch.items() if name != "ai_probability"})
    weight = (torch.sigmoid(gap.detach()) - probability) / 2
    expected = torch.autograd.grad((weight * gap).sum(), list(model.parameters()), allow_unused=True)
    model.zero_grad()
    trainer.compute_loss(model, dict(batch)).backward()
    for parameter, wanted in zip(model.parameters(), expected, strict=True):
        if wanted is not None:
            assert torch.allclose(parameter.grad, wanted, atol=1e-7, rtol=1e-4)


def _gap(trainer: Any, batch: dict[str, Any]) -> Tensor:
    """The gap by the plainest way: whole logits, one log-softmax."""
    given = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    if "completion_mask" not in batch:
        chosen, rejected = trainer.model(**given).logits.squeeze(-1).chunk(2)
        return torch.as_tensor(chosen - rejected)
    policy = _log_probability(trainer.model, given, batch["completion_mask"])
    with torch.no_grad():
        reference = _log_probability(trainer.ref_model, given, batch["completion_mask"])
    chosen, rejected = (policy - reference).chunk(2)
    return torch.as_tensor(trainer.beta * (chosen - rejected))


def _log_probability(model: Any, given: dict[str, Any], mask: Tensor) -> Tensor:
    logs = model(**given).logits[:, :-1].log_softmax(-1)
    said = logs.gather(-1, given["input_ids"][:, 1:, None]).squeeze(-1)
    return torch.as_tensor((said * mask[:, 1:]).sum(1))


@pytest.mark.parametrize("kind", KINDS)
def test_each_pair_keeps_its_own_probability_through_shuffling_and_collating(
    kind: str, scratch: Path
) -> None:
    trainer = _trainer(kind, _rows(list(PROBABILITIES)), scratch, num_train_epochs=1)
    seen = {}
    for batch in trainer.get_train_dataloader():
        texts = trainer.processing_class.batch_decode(batch["input_ids"])
        for text, probability in zip(texts, batch["ai_probability"].tolist(), strict=False):
            seen[int(text.split("Cast on ")[1].split()[0])] = probability
    assert [seen[number] for number in range(6)] == pytest.approx(PROBABILITIES)


def test_even_odds_leave_a_policy_that_is_its_own_reference_where_it_is(scratch: Path) -> None:
    trainer = _trainer("DPO", _rows([0.5, 0.5]), scratch)
    trainer.compute_loss(trainer.model.train(), _batch(trainer)).backward()
    assert all(p.grad is None or not p.grad.any() for p in trainer.model.parameters())
    other = _trainer("DPO", _rows([0.5, 0.7]), scratch)
    other.compute_loss(other.model.train(), _batch(other)).backward()
    assert any(p.grad is not None and p.grad.any() for p in other.model.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_training_ends_at_the_label_where_the_stock_trainer_goes_on(kind: str, scratch: Path) -> None:
    changes: dict[str, Any] = {"max_steps": 60, "learning_rate": 2e-2 if kind == "Reward" else 3e-2}
    changes |= {} if kind == "Reward" else {"beta": 0.5}
    rows = _rows([0.75, 0.75])
    soft = _trainer(kind, rows, scratch, **changes)
    soft.train()
    stock = train_on(rows, kind, scratch, **changes).trainer
    for trainer, low, high in ((soft, 0.72, 0.78), (stock, 0.95, 1.0)):
        batch = {name: value for name, value in _batch(trainer).items() if name != "ai_probability"}
        with torch.no_grad():
            said = torch.sigmoid(_gap(trainer, batch)).mean().item()
        assert low < said <= high


def test_reference_log_probabilities_computed_beforehand_give_the_same_loss(scratch: Path) -> None:
    rows = _rows([0.9, 0.2])
    losses = []
    for before in (False, True):
        trainer = _trainer("DPO", rows, scratch, precompute_ref_log_probs=before)
        with torch.no_grad():
            for parameter in trainer.model.parameters():
                parameter.mul_(1.1)
            losses.append(trainer.compute_loss(trainer.model.train(), _batch(trainer)).item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_held_out_rows_are_evaluated_under_their_probabilities(kind: str, scratch: Path) -> None:
    trainer = _trainer(kind, _rows([1.0, 1.0]), scratch, eval_dataset=_rows([0.5, 0.5]))
    trainer.train()
    before = trainer.evaluate()["eval_loss"]
    assert math.isfinite(before)
    assert before >= math.log(2) - 1e-4  # the least that even odds allow


def test_another_column_may_hold_the_probability(scratch: Path) -> None:
    rows = _rows([1.0, 1.0]).add_column("clamped", [0.6, 0.6])
    trainer = _trainer("Reward", rows, scratch, probability_column="clamped")
    assert _batch(trainer)["clamped"].tolist() == pytest.approx([0.6, 0.6])


@pytest.mark.parametrize(
    "kind, changes, named",
    [
        ("DPO", {"loss_type": ["hinge"]}, "loss_type"),
        ("DPO", {"loss_type": ["robust"], "label_smoothing": 0.1}, "label_smoothing"),
        ("DPO", {"padding_free": True}, "padding_free"),
        ("DPO", {"ld_alpha": 0.5}, "ld_alpha"),
        ("DPO", {"f_divergence_type": "forward_kl"}, "f_divergence_type"),
        ("DPO", {"use_weighting": True}, "use_weighting"),
        ("DPO", {"use_liger_kernel": True}, "use_liger_kernel"),
        ("Reward", {"use_liger_kernel": True}, "use_liger_kernel"),
    ],
)
def test_an_option_that_would_make_another_loss_is_refused_by_name(
    kind: str, changes: dict[str, Any], named: str, scratch: Path
) -> None:
    from types import SimpleNamespace

    from examples import soft_labels

    made = getattr(soft_labels, f"SoftLabel{kind}Trainer")
    with pytest.raises(ValueError, match=f"`{named}="):
        made("model", args=SimpleNamespace(**changes), train_dataset=_rows([0.6]))


@pytest.mark.parametrize(
    "rows, told",
    [
        (_rows([0.6, None]), r"1 of 2 rows have no probability in `ai_probability` \(row 1: None\)"),
        (_rows([1.2, 0.6]), r"row 0: 1.2"),
        (_rows([0.6]).remove_columns("ai_probability"), "no column `ai_probability`"),
        (_rows([0.6]).add_column("margin", [1.0]), "remove one of them"),
    ],
    ids=["none", "too large", "no column", "margin"],
)
def test_rows_without_a_sound_probability_are_refused_before_training(
    rows: Dataset, told: str, scratch: Path
) -> None:
    with pytest.raises(ValueError, match=told):
        _trainer("Reward", rows, scratch)
