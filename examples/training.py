"""What the examples train with: rows of a dataset, a trainer's arguments, conversations as tokens.

What this module does not know: which trainer, what is compared.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import numpy as np
from numpy.typing import NDArray

PACKAGES = ("torch", "transformers", "trl", "datasets")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that every training example has."""
    from cai.shipped import shipped

    parser.add_argument("dataset", help="a run's dataset folder, or a repository of the Hub: org/name")
    parser.add_argument("--model", default=str(shipped("toy/model")), help="default: the embedded toy model")
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds to train with")
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--batch", type=int, default=16, help="rows of a step")
    parser.add_argument("--micro-batch", type=int, default=16, help="rows that fit on the device at once")
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--max-length", type=int, default=1024, help="tokens of prompt and response")
    parser.add_argument("--max-rows", type=int, help="train on the first so many rows only")
    parser.add_argument("--json", type=Path, help="write the figures here too")


def trainer_arguments(given: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Arguments of any TRL config: bfloat16 and gradient checkpointing on a GPU, plain float32 on CPU."""
    import torch

    gpu = torch.cuda.is_available()
    return {
        "output_dir": str(Path(gettempdir()) / "cai-examples"),
        "num_train_epochs": given.epochs,
        "per_device_train_batch_size": min(given.batch, given.micro_batch),
        "gradient_accumulation_steps": max(1, given.batch // given.micro_batch),
        "learning_rate": given.learning_rate,
        "warmup_steps": 0.1,
        "max_length": given.max_length,
        "seed": seed,
        "use_cpu": not gpu,
        "bf16": gpu,
        "gradient_checkpointing": gpu,
        "report_to": "none",
        "save_strategy": "no",
        "logging_steps": 50,
        "disable_tqdm": True,
    }


def run(trainer: Any) -> Any:
    """Train, without a line for each step; returns the trainer."""
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return trainer


def load_rows(dataset: str, config: str, split: str, most: int | None = None) -> Any:
    """A split of a config; `most`: its first so many rows."""
    from datasets import load_dataset

    rows = load_dataset(dataset, config, split=split)
    return rows if most is None else rows.select(range(min(most, len(rows))))


def clusters(prompts: Sequence[Sequence[dict[str, str]]]) -> NDArray[np.int64]:
    """Numbers of groups of rows whose first human turns are alike, but for case and white space."""
    first = [" ".join(turns[0]["content"].lower().split()) for turns in prompts]
    number = {text: place for place, text in enumerate(dict.fromkeys(first))}
    return np.array([number[text] for text in first], dtype=np.int64)


def machine() -> dict[str, str]:
    """What the figures were made with."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "gpu": gpu,
        "processor": platform.machine(),
        "threads": str(torch.get_num_threads()),
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def quiet() -> None:
    """No progress bars of libraries between the lines of a result."""
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
