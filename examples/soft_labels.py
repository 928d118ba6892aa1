"""Reward model and DPO with a probability for each pair, instead of "chosen is better, surely".

The column `ai_probability` says how sure the judge was that `chosen` is the better response. TRL's
trainers take no such number: `label_smoothing` is one number for all rows, and the default loss of
its DPO trainer (sigmoid) does not read it. The two trainers here do, and are used as TRL's own are:

    from examples.soft_labels import SoftLabelRewardTrainer
    trainer = SoftLabelRewardTrainer(model=..., args=RewardConfig(...), train_dataset=rows)

The loss. With D the gap between chosen and rejected (reward model: the difference of the rewards; DPO:
beta times the difference of the log-ratios to the reference), both methods model P(chosen is better) as
s(D), s the logistic function (Bradley & Terry 1952; Rafailov et al. 2023, arXiv 2305.18290). The
loss of a row is the cross-entropy between the label p and that model:

    loss(D, p) = -[p log s(D) + (1 - p) log s(-D)],        dloss/dD = s(D) - p

It is least where s(D) = p: a row with p = 0.6 asks for a small gap and pushes back a larger one, where
the usual loss, p = 1, asks for ever more. With one p for all rows it is label smoothing (for DPO:
E. Mitchell, "A note on DPO with noisy preferences & relationship to IPO", 2023, known as cDPO).
Constitutional AI finds soft labels far better than hard ones for its preference models where the judge
did not reason first (Bai et al. 2022, arXiv 2212.08073, sections 4.2 and 4.3).

Because log s(-D) = log s(D) - D, the loss is TRL's own plus (1 - p) D, which is how it is computed:
at p = 1 it is TRL's to the last bit.

What this module does not know: where rows come from, whether the probabilities are calibrated. They
are as good as the judge: `cai report` draws their calibration, `dataset.clamp` in a recipe bounds them.
Made for TRL 1.16 (the DPO loss is its `_compute_loss` for the sigmoid loss alone).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid
from trl import DPOTrainer, RewardTrainer

PROBABILITY = "ai_probability"
MARGIN = "margin"


def soft_loss(gap: Tensor, probability: Tensor) -> Tensor:
    """The loss of each row.

    Shapes: `gap` and `probability` (rows,), the latter from 0 to 1; returns (rows,).
    """
    return -logsigmoid(gap) + (1 - probability) * gap


class WithProbability:
    """TRL's collator, and each row's probability beside what it collates."""

    def __init__(self, collator: Any, column: str) -> None:
        self._collator = collator
        self._column = column

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = self._collator(examples)
        found = [example.get(self._column) for example in examples]
        _refuse_values(found, self._column)
        batch[self._column] = torch.tensor(found, dtype=torch.float32)
        return batch


class _SoftLabels:
    """What both trainers share: the column is there, sound, kept, collated. Mixed into a TRL trainer."""

    data_collator: Any
    _signature_columns: Any

    def __init__(
        self, model: Any, *, args: Any = None, probability_column: str = PROBABILITY, **named: Any
    ) -> None:
        self.probability_column = probability_column
        for name in ("train_dataset", "eval_dataset"):
            _check_rows(named.get(name), probability_column)
        self._refuse_options(args)
        super().__init__(model, args=args, **named)  # type: ignore[call-arg]
        if getattr(self, "aux_loss_enabled", False) or getattr(self, "_is_vision_dataset", False):
            raise ValueError("A mixture of experts with a balancing loss, and images, are not handled here.")
        self.data_collator = WithProbability(self.data_collator, probability_column)

    def _refuse_options(self, args: Any) -> None:
        """Refuse what would change the loss, or would leave it unclear which loss is meant."""
        _refuse(args, {"use_liger_kernel": False})

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()  # type: ignore[misc]
        if self.probability_column not in self._signature_columns:
            self._signature_columns = [*self._signature_columns, self.probability_column]

    def _split(self, inputs: dict[str, Any]) -> tuple[dict[str, Any], Tensor]:
        """A batch without its probabilities, and them."""
        rest = {name: value for name, value in inputs.items() if name != self.probability_column}
        return rest, inputs[self.probability_column]


class SoftLabelRewardTrainer(_SoftLabels, RewardTrainer):  # type: ignore[misc]
    """TRL's RewardTrainer with a probability for each row.

    `probability_column`: the column that holds P(chosen is better), e.g. `ai_probability_clamped`.
    Raises: ValueError where a row has none from 0 to 1, or an option does not go with it.
    """

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        rest, probability = self._split(inputs)
        loss, outputs = super().compute_loss(model, rest, return_outputs=True)
        chosen, rejected = outputs.logits.squeeze(-1).chunk(2)
        loss = loss + ((1 - probability) * (chosen - rejected)).mean()
        return (loss, outputs) if return_outputs else loss


class SoftLabelDPOTrainer(_SoftLabels, DPOTrainer):  # type: ignore[misc]
    """TRL's DPOTrainer with a probability for each row, for its sigmoid loss against a reference.

    `probability_column`: as for the reward model.
    Raises: ValueError where a row has none from 0 to 1, or an option does not go with it.
    """

    def _refuse_options(self, args: Any) -> None:
        super()._refuse_options(args)
        plain = {
            "loss_type": ["sigmoid"],
            "loss_weights": None,
            "label_smoothing": 0.0,
            "f_divergence_type": "reverse_kl",
            "ld_alpha": None,
            "use_weighting": False,
            "padding_free": False,
            "router_aux_loss_coef": None,
        }
        _refuse(args, plain)

    def compute_ref_log_probs(self, model: Any, inputs: dict[str, Any]) -> Any:
        rest = {name: value for name, value in inputs.items() if name != self.probability_column}
        return super().compute_ref_log_probs(model, rest)

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        if return_outputs:
            raise ValueError("SoftLabelDPOTrainer hands no logits on: leave out `compute_metrics`.")
        rest, probability = self._split(inputs)
        ratios = self._log_ratios(model, rest)
        chosen, rejected = ratios.chunk(2)
        gap = self.beta * (chosen - rejected)
        self._note(self.beta * chosen.detach(), self.beta * rejected.detach(), probability)
        return soft_loss(gap, probability).mean()

    def _log_ratios(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        """log(policy / reference) of each response, (2 x rows,): all chosen, then all rejected."""
        outside = ("completion_mask", "ref_chosen_logps", "ref_rejected_logps")
        given = {name: value for name, value in inputs.items() if name not in outside}
        labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
        answered = model(**given, use_cache=False, labels=labels, fused_lm_head=True)
        width = labels.size(1) - 1  # soft prompts stand before: only the tokens count
        policy: Tensor = answered.log_probs[:, -width:].sum(dim=1)
        if self.precompute_ref_logps:
            reference = torch.cat([inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]])
        else:
            reference = torch.cat(self.compute_ref_log_probs(self.ref_model or self.model, inputs))
        return policy - reference

    def _note(self, chosen: Tensor, rejected: Tensor, probability: Tensor) -> None:
        """Log rewards as TRL names them, and the mean label beside what the model makes of it."""
        metrics = self._metrics["train" if self.model.training else "eval"]
        for name, values in (
            ("rewards/chosen", chosen),
            ("rewards/rejected", rejected),
            ("rewards/margins", chosen - rejected),
            ("rewards/accuracies", (chosen > rejected).float()),
            ("probability/label", probability),
            ("probability/model", torch.sigmoid(chosen - rejected)),
        ):
            metrics[name].append(self.accelerator.gather_for_metrics(values).mean().item())


def _refuse(args: Any, plain: dict[str, Any]) -> None:
    wrong = [
        f"`{name}={getattr(args, name)!r}`"
        for name, value in plain.items()
        if args is not None and getattr(args, name, value) != value
    ]
    if wrong:
        raise ValueError(
            f"{', '.join(wrong)} does not go with a probability for each row: the loss would be another one. "
            "Leave it at its default, or use TRL's own trainer."
        )


def _check_rows(rows: Any, column: str) -> None:
    """Refuse rows without a sound probability before any training, where they can be counted."""
    if isinstance(rows, dict):
        for part in rows.values():
            _check_rows(part, column)
        return
    names = getattr(rows, "column_names", None)
    if names is None:
        return
    if column not in names:
        raise ValueError(f"The rows have no column `{column}`: name another with `probability_column`.")
    if MARGIN in names:
        raise ValueError(
            f"The rows have a column `{MARGIN}`, and `{column}` says the same once more: remove one of them."
        )
    if hasattr(rows, "with_format") and hasattr(rows, "num_rows"):
        _refuse_values(rows[column], column)


def _refuse_values(values: Any, column: str) -> None:
    wrong = [(row, value) for row, value in enumerate(values) if value is None or not 0 <= value <= 1]
    if wrong:
        row, value = wrong[0]
        raise ValueError(
            f"{len(wrong)} of {len(values)} rows have no probability in `{column}` (row {row}: {value}): "
            "filter them out, or give each a number from 0 to 1."
        )
