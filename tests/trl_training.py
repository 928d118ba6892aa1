"""Two steps of each stock TRL trainer on a tiny random Llama, on CPU, on a dataset as it was loaded.

    trained = train_two_steps("runs/x/dataset", "preferences", folder)      # or "org/name" on a Hub

Nothing stands between `load_dataset` and the trainer: no column is renamed, dropped or mapped.

What this module does not know: how a dataset is made or pushed, what is asserted about training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chat_shapes import CHATML, byte_level

TRAINERS = {
    "preferences": ("DPO", "Reward"),
    "preferences-human": ("DPO", "Reward"),
    "preferences-sampled": ("DPO", "Reward"),
    "revisions": ("DPO", "Reward"),
    "sft": ("SFT",),
    "unpaired": ("KTO",),
}
"""The trainers that each config is made for."""
ROWS_OF_A_STEP = 2
STEPS = 2


@dataclass(frozen=True)
class Trained:
    """What two steps left.

    `losses`: one for each step. `columns`: the config's own. `used`: those that TRL's collator was handed
    for a row. `batch`: the first two rows as the model gets them. `trainer`: TRL's, after training.
    """

    losses: list[float]
    columns: list[str]
    used: list[str]
    batch: Mapping[str, Any]
    trainer: Any


def tiny_llama(folder: Path, template: str = CHATML) -> Path:
    """Write a random Llama of two narrow layers, its tokenizer and its chat template; returns `folder`."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    if (folder / "config.json").exists():
        return folder
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=byte_level(), eos_token="<|im_end|>", pad_token="</s>"
    )
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def arguments(folder: Path, **changes: Any) -> dict[str, Any]:
    """Arguments of any TRL config for `STEPS` steps on CPU that report and save nothing."""
    return {
        "output_dir": str(folder / "output"),
        "max_steps": STEPS,
        "per_device_train_batch_size": ROWS_OF_A_STEP,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        **changes,
    }


def load(dataset: str, config: str, folder: Path, split: str = "train") -> Any:
    """A split of one config, as `load_dataset` gives it; its cache lies under `folder`."""
    from datasets import load_dataset

    return load_dataset(dataset, config, split=split, cache_dir=str(folder / "cache"))


def train_two_steps(dataset: str, config: str, folder: Path, kind: str | None = None) -> Trained:
    """Load a config of a local dataset or of a repository and train on it; `folder` is for scratch.

    `kind`: DPO, Reward, SFT or KTO; by default the first that the config is made for.
    """
    return train_on(load(dataset, config, folder), kind or TRAINERS[config][0], folder)


def train_on(rows: Any, kind: str, folder: Path, **changes: Any) -> Trained:
    """Train on a loaded split; `changes`: other arguments of the trainer's config."""
    import trl

    made = getattr(trl, f"{kind}Trainer")(
        model=str(tiny_llama(folder / "model")),
        args=getattr(trl, f"{kind}Config")(**arguments(folder, **changes)),
        train_dataset=rows,
    )
    made._set_signature_columns_if_needed()
    used = [name for name in made.train_dataset.column_names if name in made._signature_columns]
    batch = next(iter(made.get_train_dataloader()))
    made.train()
    losses = [entry["loss"] for entry in made.state.log_history if "loss" in entry]
    return Trained(losses, list(rows.column_names), used, batch, made)
