"""Does a model that was trained on the data refuse more of what is benign? (the alignment tax)

    python -m examples.over_refusal runs/toy-training/dataset --prompts toy
    python -m examples.over_refusal org/name --model org/model --prompts examples/benign_prompts.jsonl

Completes every prompt greedily with the model as it is and with the model trained (SFT on `sft`, or DPO on
`revisions` or `preferences`), from several seeds, and counts the completions that open with a refusal or
that say nothing to the point, by the word patterns of cai/text_features.py. Differences are paired by
prompt. Word patterns miss refusals in other words and count some that are none: read the completions
(`--completions`), or have a model judge them, before anything is said of a real model.

A model that cannot answer yet, as the embedded one, is first taught by SFT on the responses that people
chose (`--warm-up`, in epochs): that model is then the one before training.

benign_prompts.jsonl holds 100 prompts in our own words: 20 plain ones, and 80 that a careless filter
would stop (words that sound like harm, figures of speech, stories, history, staying safe, bodies).
The idea of such prompts is that of XSTest (Röttger et al. 2023, arXiv 2308.01263); no text is taken
from it.

What this module does not know: where a dataset comes from, whether an answer is any good.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cai.compare.statistics import bounded_difference, bounded_mean
from cai.text_features import features
from examples.training import add_arguments, load_rows, machine, quiet, run, trainer_arguments

Floats = NDArray[np.float64]
PROMPTS = Path(__file__).with_name("benign_prompts.jsonl")
KINDS = ("refuses", "evades")


def read_prompts(name: str) -> list[tuple[str, str]]:
    """(kind, prompt) of each; `name`: a file with `kind` and `prompt` in each line, or `toy`."""
    if name == "toy":
        from examples.toy_dataset import questions

        return [("toy", question) for question in questions()]
    lines = Path(name).read_text("utf-8").splitlines()
    return [(record["kind"], record["prompt"]) for record in map(json.loads, lines)]


def train(config: str, model: str, given: argparse.Namespace, seed: int) -> Any:
    """A trainer after training on a config: SFT for `sft`, DPO for pairs."""
    import trl

    rows = load_rows(given.dataset, config, "train", given.max_rows)
    kind = "SFT" if config == "sft" else "DPO"
    arguments = getattr(trl, f"{kind}Config")(**trainer_arguments(given, seed))
    trainer = getattr(trl, f"{kind}Trainer")(model=model, args=arguments, train_dataset=rows)
    return run(trainer)


def warmed_up(given: argparse.Namespace, folder: Path) -> str:
    """Where the model lies after SFT on what people chose; the model as it is where none is asked for."""
    from trl import SFTConfig, SFTTrainer

    if not given.warm_up:
        return str(given.model)
    rows = load_rows(given.dataset, "preferences-human", "train", given.max_rows)
    rows = rows.select_columns(["prompt", "chosen"]).rename_column("chosen", "completion")
    asked = {
        **trainer_arguments(given, 0),
        "num_train_epochs": given.warm_up,
        "learning_rate": given.warm_up_rate,
    }
    trainer = SFTTrainer(model=given.model, args=SFTConfig(**asked), train_dataset=rows)
    run(trainer)
    trainer.save_model(str(folder))
    return str(folder)


def complete(model: Any, tokenizer: Any, prompts: Sequence[str], given: argparse.Namespace) -> list[str]:
    """What the model says to each prompt, greedily, at most `--new-tokens` of it."""
    import torch

    said: list[str] = []
    tokenizer.padding_side = "left"
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    for start in range(0, len(prompts), given.micro_batch):
        turns = [[{"role": "user", "content": text}] for text in prompts[start : start + given.micro_batch]]
        asked = tokenizer.apply_chat_template(
            turns,
            add_generation_prompt=True,
            tokenize=True,
            padding=True,
            return_dict=True,
            return_tensors="pt",
        ).to(model.device)
        with torch.no_grad():
            answered = model.eval().generate(
                input_ids=asked["input_ids"],
                attention_mask=asked["attention_mask"],
                max_new_tokens=given.new_tokens,
                do_sample=False,
            )
        fresh = answered[:, asked["input_ids"].shape[1] :]
        said += [text.strip() for text in tokenizer.batch_decode(fresh, skip_special_tokens=True)]
    return said


def base_completions(name: str, prompts: Sequence[str], given: argparse.Namespace) -> list[str]:
    """What the model says before any training."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32)  # as TRL loads it
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return complete(model.to(device), AutoTokenizer.from_pretrained(name), prompts, given)


def counted(said: Sequence[str], kind: str) -> Floats:
    """1 for each completion that refuses (or evades), else 0."""
    return np.array([float(getattr(features(text), kind)) for text in said])


def figures(base: Sequence[str], trained: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Shares before and after, and the paired difference; prompts are independent of one another."""
    alone = np.arange(len(base))
    told: dict[str, Any] = {}
    for kind in KINDS:
        before = counted(base, kind)
        seeds = [counted(said, kind) for said in trained]
        after: Floats = np.mean(seeds, axis=0)
        told[kind] = {
            "base": asdict(bounded_mean(before, alone)),
            "trained": asdict(bounded_mean(after, alone)),
            "by_seed": [float(values.mean()) for values in seeds],
            "difference": asdict(bounded_difference(after, before, alone)),
        }
    return told


def table(told: dict[str, Any]) -> str:
    """The figures for a terminal."""
    lines = ["Share of benign prompts (95 % intervals over prompts)"]
    for kind, item in told.items():
        change = item["difference"]
        lines += [
            f"  {kind:<9}base     {_percent(item['base'])}",
            f"  {'':<9}trained  {_percent(item['trained'])}   by seed: "
            + ", ".join(f"{100 * value:.1f}" for value in item["by_seed"]),
            f"  {'':<9}change   {100 * change['value']:+.1f} points "
            f"({100 * change['low']:+.1f} to {100 * change['high']:+.1f})",
        ]
    return "\n".join(lines)


def _percent(share: dict[str, Any]) -> str:
    return f"{100 * share['value']:.1f} % ({100 * share['low']:.1f} to {100 * share['high']:.1f}, n {share['n']})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask, train, ask again, print."""
    parser = argparse.ArgumentParser(description="Refusals of benign prompts, before and after training.")
    add_arguments(parser)
    parser.add_argument("--config", default="sft", choices=("sft", "revisions", "preferences"))
    parser.add_argument("--prompts", default=str(PROMPTS), help="a JSON-lines file, or `toy`")
    parser.add_argument("--warm-up", type=float, default=0, help="epochs of SFT on what people chose")
    parser.add_argument("--warm-up-rate", type=float, default=1e-3, help="its learning rate")
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--completions", type=Path, help="write every completion here, to be read")
    given = parser.parse_args(arguments)
    quiet()
    asked = read_prompts(given.prompts)
    prompts = [prompt for _, prompt in asked]
    trained = []
    with TemporaryDirectory() as scratch:
        model = warmed_up(given, Path(scratch))
        base = base_completions(model, prompts, given)
        print(f"before: {100 * counted(base, 'refuses').mean():.1f} % refuse", flush=True)
        for seed in range(given.seeds):
            trainer = train(given.config, model, given, seed)
            trained.append(complete(trainer.model, trainer.processing_class, prompts, given))
            print(f"seed {seed}: {100 * counted(trained[-1], 'refuses').mean():.1f} % refuse", flush=True)
    told = figures(base, trained)
    print(f"\nTrained on `{given.config}`.\n{table(told)}")
    if given.completions:
        lines = [
            {
                "kind": kind,
                "prompt": prompt,
                "base": base[place],
                "trained": [said[place] for said in trained],
            }
            for place, (kind, prompt) in enumerate(asked)
        ]
        given.completions.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    if given.json:
        whole = {"config": given.config, "seeds": given.seeds, "machine": machine(), **told}
        given.json.write_text(json.dumps(whole, indent=2) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
