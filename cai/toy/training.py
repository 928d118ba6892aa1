"""Training of the embedded model: `python -m cai.toy.training FOLDER`.

Learns the tokenizer, trains a small Llama on examples of the toy world, and writes into FOLDER
what transformers and vLLM load, with `metrics.json` (cai/toy/evaluate.py) and `training.json`
(settings, digests of what the examples were made from, the first losses). The number of steps,
the seed and one thread are fixed and no clock is read: the same machine gives the same weights.

What this module does not know: how the model is used.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from tokenizers import Tokenizer

from cai.digest import draw
from cai.principle import load_constitution
from cai.prompting import load_prompts
from cai.shipped import shipped
from cai.toy.chat import END, PAD
from cai.toy.examples import Example, ExampleMaker
from cai.toy.muon import Muon
from cai.toy.tokens import CONTEXT_TOKENS, learn_tokenizer, save_tokenizer

Model = Any
"""A transformers LlamaForCausalLM; transformers is imported where it is used, as it is slow."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that decides the weights, besides templates, principles and the world itself.

    `batch`: examples a step; `pool`: batches drawn at once and sorted by length; learning
    rates are peaks, reached after `warmup` steps and brought down to 0 over the last
    `decay_share` of the steps. `compiled`: through torch.compile, twice as fast.
    """

    seed: int = 1
    steps: int = 2000
    batch: int = 24
    pool: int = 8
    hidden: int = 128
    layers: int = 4
    heads: int = 4
    head_size: int = 64
    feed_forward: int = 512
    muon_rate: float = 0.02
    adam_rate: float = 0.004
    warmup: int = 20
    decay_share: float = 0.6
    tokenizer_examples: int = 6000
    logged_steps: int = 8
    compiled: bool = True


@dataclass(frozen=True, slots=True)
class Batch:
    """Token ids (examples, tokens) padded on the right, and the loss weight of each token."""

    ids: torch.Tensor
    weights: torch.Tensor


def example_maker() -> ExampleMaker:
    """The maker of examples, with the templates and the toy constitution of this checkout."""
    return ExampleMaker(
        load_prompts(shipped("prompts"), "chat"), load_constitution(shipped("principles/toy.yaml"))
    )


def sources() -> dict[str, str]:
    """Digests of the templates and the constitution that the examples are made from."""
    return {
        "prompts": load_prompts(shipped("prompts"), "chat").digest,
        "constitution": load_constitution(shipped("principles/toy.yaml")).digest,
    }


def world_tokenizer(maker: ExampleMaker, settings: Settings) -> Tokenizer:
    """The tokenizer that the examples call for."""
    examples = (
        maker.make(Random(draw(settings.seed, "toy tokens", number)), 1.0)
        for number in range(settings.tokenizer_examples)
    )
    return learn_tokenizer("".join(segment.text for segment in example) for example in examples)


def new_model(tokenizer: Tokenizer, settings: Settings) -> Model:
    """An untrained model, the same for the same seed."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(settings.seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=settings.hidden,
            intermediate_size=settings.feed_forward,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            num_key_value_heads=settings.heads,
            head_dim=settings.head_size,
            max_position_embeddings=CONTEXT_TOKENS,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.token_to_id(END),
            pad_token_id=tokenizer.token_to_id(PAD),
        )
    )
    with torch.no_grad():
        for name, matrix in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                matrix.zero_()  # each layer begins as the identity
    return model


def batches(maker: ExampleMaker, tokenizer: Tokenizer, settings: Settings) -> Iterator[Batch]:
    """`settings.steps` batches; each holds examples of about equal length."""
    size = settings.batch * settings.pool
    for first in range(0, settings.steps, settings.pool):
        random = Random(draw(settings.seed, "toy pool", first))
        examples = sorted(
            (encoded(maker.make(random, first / settings.steps), tokenizer) for _ in range(size)),
            key=lambda pair: len(pair[0]),
        )
        order = list(range(settings.pool))
        random.shuffle(order)
        for place in order[: settings.steps - first]:
            yield _batch(examples[place * settings.batch : (place + 1) * settings.batch])


def encoded(example: Example, tokenizer: Tokenizer) -> tuple[list[int], list[float]]:
    """Token ids of an example and the loss weight of each, cut to the context."""
    ids: list[int] = []
    weights: list[float] = []
    for segment, encoding in zip(
        example, tokenizer.encode_batch_fast([segment.text for segment in example]), strict=True
    ):
        ids += encoding.ids
        weights += [segment.weight] * len(encoding.ids)
    return ids[:CONTEXT_TOKENS], weights[:CONTEXT_TOKENS]


def _batch(examples: list[tuple[list[int], list[float]]]) -> Batch:
    longest = max(len(ids) for ids, _ in examples)
    ids = torch.zeros(len(examples), longest, dtype=torch.long)
    weights = torch.zeros(len(examples), longest)
    for row, (tokens, values) in enumerate(examples):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        weights[row, : len(values)] = torch.tensor(values)
    return Batch(ids, weights)


def batch_loss(model: Model, batch: Batch) -> torch.Tensor:
    """The weighted mean loss (nats a token) of what the model should say."""
    wanted = batch.weights[:, 1:] > 0
    hidden = model.model(input_ids=batch.ids[:, :-1]).last_hidden_state[wanted]
    weights = batch.weights[:, 1:][wanted]
    logits = hidden @ model.lm_head.weight.T
    losses = torch.nn.functional.cross_entropy(logits.float(), batch.ids[:, 1:][wanted], reduction="none")
    return (losses.float() * weights).sum() / weights.sum()


def rate(step: int, settings: Settings) -> float:
    """The share of the peak learning rate at a step, 0 to 1."""
    rising = (step + 1) / settings.warmup
    falling = (settings.steps - step) / (settings.decay_share * settings.steps)
    return min(1.0, rising, falling)


def train(model: Model, stream: Iterator[Batch], settings: Settings) -> Iterator[float]:
    """Train in place; yields the loss of each step as it is made."""
    named = list(model.model.named_parameters())
    matrices = [p for name, p in named if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in named if p.ndim != 2 or "embed" in name]
    optimizers: list[torch.optim.Optimizer] = [
        Muon(matrices, settings.muon_rate),
        torch.optim.Adam(others, settings.adam_rate, betas=(0.9, 0.98)),
    ]
    peaks = (settings.muon_rate, settings.adam_rate)
    if settings.compiled:
        model.model.forward = torch.compile(model.model.forward, dynamic=True)
    for step, batch in enumerate(stream):
        with torch.autocast("cpu", torch.bfloat16):
            loss = batch_loss(model, batch)
        torch.autograd.backward(loss)
        for optimizer, peak in zip(optimizers, peaks, strict=True):
            optimizer.param_groups[0]["lr"] = peak * rate(step, settings)
            optimizer.step()
            optimizer.zero_grad()
        yield loss.item()


def save(model: Model, tokenizer: Tokenizer, folder: Path) -> None:
    """Write the model in bfloat16 with its tokenizer, chat template and generation settings."""
    from transformers import GenerationConfig

    end, pad = tokenizer.token_to_id(END), tokenizer.token_to_id(PAD)
    generation = GenerationConfig(  # type: ignore[no-untyped-call]
        eos_token_id=end, pad_token_id=pad, do_sample=False
    )
    model.generation_config = generation
    model.model.__dict__.pop("forward", None)  # the compiled one
    model.to(torch.bfloat16).save_pretrained(folder)
    save_tokenizer(tokenizer, folder)


def main(arguments: list[str]) -> int:
    """Train, save and measure; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m cai.toy.training", description="Train the embedded model."
    )
    parser.add_argument("folder", type=Path, help="where the model is written")
    parser.add_argument("--steps", type=int, default=Settings().steps, help="fewer for a trial")
    given = parser.parse_args(arguments)
    settings = Settings(steps=given.steps)
    prepare()
    maker = example_maker()
    tokenizer = world_tokenizer(maker, settings)
    model = new_model(tokenizer, settings)
    losses = []
    for step, loss in enumerate(train(model, batches(maker, tokenizer, settings), settings)):
        losses.append(loss)
        if step % 20 == 0:
            print(
                f"step {step:5d} of {settings.steps}  loss {sum(losses[-20:]) / len(losses[-20:]):.4f}",
                flush=True,
            )
    save(model, tokenizer, given.folder)
    log = {
        "settings": asdict(settings),
        "made_from": sources(),
        "first_losses": [round(loss, 5) for loss in losses[: settings.logged_steps]],
        "last_loss": round(sum(losses[-50:]) / len(losses[-50:]), 4),
    }
    (given.folder / "training.json").write_text(json.dumps(log, indent=2) + "\n", "utf-8")
    from cai.toy.evaluate import evaluate, load  # needs what is written above

    metrics = evaluate(load(given.folder), 200)
    (given.folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", "utf-8")
    print(json.dumps(metrics, indent=2))
    return 0


def prepare() -> None:
    """One thread and deterministic algorithms: what makes a run repeatable."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
