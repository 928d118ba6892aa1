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
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, Literal

import torch
from tokenizers import Tokenizer

from cai.constitution_file import load_constitution
from cai.digest import digest, draw
from cai.prompting import load_prompts
from cai.shipped import shipped
from cai.toy.chat import END, PAD
from cai.toy.examples import Example, ExampleMaker, repetition
from cai.toy.muon import Muon
from cai.toy.tokens import CONTEXT_TOKENS, learn_tokenizer, save_tokenizer

LOG_FILE = "training.json"
METRICS_FILE = "metrics.json"

Model = Any
"""A transformers LlamaForCausalLM; transformers is imported where it is used, as it is slow."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of training; the next begins with the weights as they are saved.

    `lesson`: `repetition` of strange sentences, the toy `world`, or the world with more `judging`. `batch`: examples a step;
    `muon_rate`, `adam_rate`: peaks of the learning rates, reached after `warmup` steps and
    brought down to 0 over the last `decay_share` of the steps.
    """

    lesson: Literal["repetition", "world", "judging"]
    steps: int
    batch: int
    muon_rate: float
    adam_rate: float
    warmup: int
    decay_share: float


STAGES = (
    Stage("repetition", 700, 48, 0.008, 0.003, 20, 0.5),
    Stage("world", 2500, 12, 0.008, 0.003, 20, 0.8),
    Stage("judging", 1600, 12, 0.008, 0.003, 20, 0.8),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that decides the weights, besides templates, principles and the world itself.

    `pool`: batches drawn at once and sorted by length; `attention`: transformers' plain one is
    compiled to something faster than its others on a CPU; `compiled`: through torch.compile,
    twice as fast.
    """

    seed: int = 1
    stages: tuple[Stage, ...] = STAGES
    pool: int = 16
    hidden: int = 128
    layers: int = 4
    heads: int = 4
    head_size: int = 64
    feed_forward: int = 512
    attention: str = "eager"
    tokenizer_examples: int = 6000
    logged_steps: int = 6
    compiled: bool = True


@dataclass(frozen=True, slots=True)
class Batch:
    """Token ids (examples, tokens) padded on the right, and the loss weight of each token.

    `others`: the ids that would be as right in those places; mostly the same.
    """

    ids: torch.Tensor
    others: torch.Tensor
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
    model.set_attn_implementation(settings.attention)
    with torch.no_grad():
        for name, matrix in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                matrix.zero_()  # each layer begins as the identity
    return model


def batches(maker: ExampleMaker, tokenizer: Tokenizer, settings: Settings, number: int) -> Iterator[Batch]:
    """The batches of stage `number`; each holds examples of about equal length."""
    stage = settings.stages[number]
    for first in range(0, stage.steps, settings.pool):
        random = Random(draw(settings.seed, "toy pool", number, first))
        made = (
            _example(maker, stage, random, first / stage.steps) for _ in range(stage.batch * settings.pool)
        )
        examples = sorted((encoded(one, tokenizer) for one in made), key=lambda example: len(example.ids))
        order = list(range(settings.pool))
        random.shuffle(order)
        for place in order[: stage.steps - first]:
            yield _batch(examples[place * stage.batch : (place + 1) * stage.batch])


def _example(maker: ExampleMaker, stage: Stage, random: Random, progress: float) -> Example:
    if stage.lesson == "repetition":
        return repetition(random)
    return maker.make(random, progress) if stage.lesson == "world" else maker.make_for_judging(random)


@dataclass(frozen=True, slots=True)
class Encoded:
    """An example as token ids, the ids that would be as right, and the loss weight of each."""

    ids: list[int]
    others: list[int]
    weights: list[float]


def encoded(example: Example, tokenizer: Tokenizer) -> Encoded:
    """Token ids of an example and the loss weight of each, cut to the context.

    Raises: ValueError where a text and what could stand instead differ in length.
    """
    ids: list[int] = []
    others: list[int] = []
    weights: list[float] = []
    for segment, encoding in zip(
        example, tokenizer.encode_batch_fast([segment.text for segment in example]), strict=True
    ):
        ids += encoding.ids
        others += encoding.ids if segment.instead is None else tokenizer.encode(segment.instead).ids
        weights += [segment.weight] * len(encoding.ids)
    if len(ids) != len(others):
        raise ValueError("a text and what could stand instead of it differ in length")
    return Encoded(ids[:CONTEXT_TOKENS], others[:CONTEXT_TOKENS], weights[:CONTEXT_TOKENS])


def _batch(examples: list[Encoded]) -> Batch:
    shape = (len(examples), max(len(example.ids) for example in examples))
    ids, others, weights = (
        torch.zeros(shape, dtype=torch.long),
        torch.zeros(shape, dtype=torch.long),
        torch.zeros(shape),
    )
    for row, example in enumerate(examples):
        length = len(example.ids)
        ids[row, :length] = torch.tensor(example.ids)
        others[row, :length] = torch.tensor(example.others)
        weights[row, :length] = torch.tensor(example.weights)
    return Batch(ids, others, weights)


def batch_loss(model: Model, batch: Batch) -> torch.Tensor:
    """The weighted mean loss (nats a token) of what the model should say."""
    wanted = batch.weights[:, 1:] > 0
    weights = batch.weights[:, 1:][wanted]
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.model(input_ids=batch.ids[:, :-1]).last_hidden_state[wanted]
    likely = (hidden.float() @ model.lm_head.weight.T).log_softmax(-1)
    right = torch.stack([batch.ids[:, 1:][wanted], batch.others[:, 1:][wanted]], 1)
    losses: torch.Tensor = -likely.gather(1, right).mean(1)
    loss: torch.Tensor = (losses * weights).sum() / weights.sum()
    return loss


def rate(step: int, stage: Stage) -> float:
    """The share of the peak learning rate at a step, 0 to 1."""
    rising = (step + 1) / stage.warmup
    falling = (stage.steps - step) / (stage.decay_share * stage.steps)
    return min(1.0, rising, falling)


def train(model: Model, stream: Iterator[Batch], stage: Stage) -> Iterator[float]:
    """Train in place; yields the loss of each step as it is made."""
    named = list(model.model.named_parameters())
    matrices = [p for name, p in named if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in named if p.ndim != 2 or "embed" in name]
    optimizers: list[torch.optim.Optimizer] = [
        Muon(matrices, stage.muon_rate),
        torch.optim.Adam(others, stage.adam_rate, betas=(0.9, 0.98)),
    ]
    peaks = (stage.muon_rate, stage.adam_rate)
    for step, batch in enumerate(stream):
        loss = batch_loss(model, batch)
        torch.autograd.backward(loss)
        for optimizer, peak in zip(optimizers, peaks, strict=True):
            optimizer.param_groups[0]["lr"] = peak * rate(step, stage)
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
    model.to(torch.bfloat16).save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    for path in folder.iterdir():
        path.chmod(0o644)


def run_stage(folder: Path, settings: Settings, number: int) -> None:
    """Train one stage, the first from nothing, a later one from the weights in the folder, and save."""
    from transformers import LlamaForCausalLM

    maker = example_maker()
    tokenizer = world_tokenizer(maker, settings)
    if number == 0:
        model = new_model(tokenizer, settings)
    else:
        model = LlamaForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation=settings.attention
        )
    model.train()
    plain = model.model.forward
    if settings.compiled:
        model.model.forward = torch.compile(plain, dynamic=True)
    stage, losses = settings.stages[number], []
    for step, loss in enumerate(train(model, batches(maker, tokenizer, settings, number), stage)):
        losses.append(loss)
        if step % 20 == 0:
            mean = sum(losses[-20:]) / len(losses[-20:])
            print(f"stage {number + 1}  step {step:5d} of {stage.steps}  loss {mean:.4f}", flush=True)
    model.model.forward = plain
    save(model, tokenizer, folder)


def first_losses(settings: Settings) -> dict[str, list[float]]:
    """What anyone can make again in seconds: the first losses of each lesson on an untrained model."""
    maker = example_maker()
    tokenizer = world_tokenizer(maker, settings)
    losses: dict[str, list[float]] = {}
    for number, stage in enumerate(settings.stages):
        some = islice(batches(maker, tokenizer, settings, number), settings.logged_steps)
        made = train(new_model(tokenizer, settings), some, stage)
        losses[stage.lesson] = [round(loss, 5) for loss in made]
    return losses


def example_digests(settings: Settings) -> dict[str, str]:
    """A digest of the first batches of each lesson, token by token."""
    maker = example_maker()
    tokenizer = world_tokenizer(maker, settings)
    return {
        stage.lesson: digest(
            "cai.toy.examples.v1",
            [
                batch.ids.tolist()
                for batch in islice(batches(maker, tokenizer, settings, number), settings.pool)
            ],
        )
        for number, stage in enumerate(settings.stages)
    }


def main(arguments: list[str]) -> int:
    """Train, save and measure; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m cai.toy.training", description="Train the embedded model."
    )
    parser.add_argument("folder", type=Path, help="where the model is written")
    parser.add_argument("--from-stage", type=int, default=1, help="2: go on from the weights in the folder")
    parser.add_argument("--steps", type=int, help="steps of every stage; a few hundred for a trial")
    given = parser.parse_args(arguments)
    stages = STAGES if given.steps is None else tuple(replace(s, steps=given.steps) for s in STAGES)
    settings = Settings(stages=stages)
    prepare()
    for number in range(given.from_stage - 1, len(stages)):
        run_stage(given.folder, settings, number)
    log = {
        "settings": asdict(settings),
        "made_from": sources(),
        "first_examples": example_digests(settings),
        "first_losses": first_losses(settings),
    }
    _write(given.folder / LOG_FILE, log)
    from cai.toy.evaluate import evaluate, load  # needs what is written above

    metrics = evaluate(load(given.folder), 200)
    _write(given.folder / METRICS_FILE, metrics)
    print(json.dumps(metrics, indent=2))
    return 0


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def prepare() -> None:
    """One thread and deterministic algorithms: what makes a run repeatable."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
