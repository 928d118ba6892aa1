"""Loading a transformers model into this process: device, number format, threads, what ends an answer.

torch and transformers are imported inside the functions: the package works without them.

What this module does not know: how a model is asked.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

from cai.errors import EngineRefusedError, MissingExtraError
from cai.recipe import EngineSection


def require_extra(name: str) -> None:
    """Check that torch and transformers are installed. Raises: MissingExtraError."""
    for package in ("torch", "transformers"):
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise MissingExtraError(
                f"Engine {name!r} runs its model in this process, and {package} is not installed.",
                "Install it with: pip install '.[local]' in a checkout of cai",
            ) from error


def load_model(name: str, section: EngineSection) -> Any:
    """The transformers model of a section, in evaluation mode on its device.

    Raises: EngineRefusedError where there is no such model, it cannot be loaded, or there is
    no such device.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # the command line has a display of its own
    place = section.path or section.model
    try:
        device = torch.device(section.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        dtype = section.dtype
        if dtype == "auto":
            dtype = "bfloat16" if device.type == "cuda" else "float32"
        revision = {"revision": section.revision} if section.revision else {}
        model: Any = AutoModelForCausalLM.from_pretrained(place, dtype=getattr(torch, dtype), **revision)
        if device.type == "cpu":
            leave_a_core()
        return model.to(device).eval()
    except (OSError, ValueError, RuntimeError, AssertionError) as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise EngineRefusedError(
            f"Engine {name!r} cannot load the model {place}: {first_line}",
            "Give a folder that holds config.json and the weights, or the name of a model on the Hub.",
        ) from error


def leave_a_core() -> None:
    """Let torch use all cores but one, which the event loop needs.

    torch's threads spin while they wait for each other: with one more busy thread than cores,
    a small model was measured to run four times slower. `OMP_NUM_THREADS` overrides it.
    """
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        affinity = getattr(os, "sched_getaffinity", None)
        cores = len(affinity(0)) if affinity else os.cpu_count() or 1
        torch.set_num_threads(max(1, cores - 1))


def end_tokens(model: Any) -> frozenset[int]:
    """The ids that end an answer, from both places where a model may name them."""
    found: set[int] = set()
    for config in (model.generation_config, model.config.get_text_config()):
        ids = getattr(config, "eos_token_id", None)
        found.update(ids if isinstance(ids, (list, tuple)) else [] if ids is None else [ids])
    return frozenset(found)


def load_decoder(tokenizer: str, revision: str) -> tuple[frozenset[int], Callable[[list[int]], str]]:
    """What a tokenizer says ends an answer, and the way from token ids to text.

    A tokenizer of its own: it is used in the worker thread, the encoder's in the event loop.
    """
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(tokenizer, **({"revision": revision} if revision else {}))

    def decode(ids: list[int]) -> str:
        return str(loaded.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    end = loaded.eos_token_id
    return frozenset([] if end is None else [end]), decode
