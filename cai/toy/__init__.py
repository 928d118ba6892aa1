"""The toy world and its embedded model: a first run that is offline, readable and checkable.

`MODEL_FOLDER` holds the shipped model (transformers and vLLM load it). `write_world` writes the
world's preference rows as a local copy of hh-rlhf would lie, and what is true of them into a
separate file; `read_truth` reads that file. None of this needs torch.

What this package does not know: engines, jobs, datasets, comparisons. It uses their public names only.
"""

from pathlib import Path

from cai.toy.world_files import TRUTH_FILE, read_truth, truth_key, write_world

MODEL_FOLDER: Path = Path(__file__).resolve().parent / "model"
"""The shipped model: weights, tokenizer, chat template, metrics."""

__all__ = ["MODEL_FOLDER", "TRUTH_FILE", "read_truth", "truth_key", "write_world"]
