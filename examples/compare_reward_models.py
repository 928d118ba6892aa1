"""Which labels make the better reward model: the AI's, or the human ones?

    python -m examples.compare_reward_models runs/toy-training/dataset --truth runs/toy-training/data

Trains on the same rows of `train`, in the same order, from the same seeds: once in the AI's order
(config `preferences`), once in the human one (`preferences-human`), once with the AI's probability for each
row (examples/soft_labels.py). Each model is then asked about every pair of the human `test` split.

A figure is the share of held-out pairs on which a model prefers what the human preferred, ties as half,
averaged over seeds; its interval is over pairs (those with equal first questions go together), for
these seeds; how far seeds lie apart stands beside it. Differences are paired. Human labels are no
truth: where they are wrong, a better model agrees less. In the toy world the truth is known: `--truth`.

What this module does not know: where a dataset comes from.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cai.compare.estimates import Estimate
from cai.compare.statistics import bounded_difference, bounded_mean
from examples.training import add_arguments, clusters, load_rows, machine, quiet, run, trainer_arguments

Floats = NDArray[np.float64]
LABELS = ("ai", "ai-soft", "human")


@dataclass(frozen=True)
class Held:
    """The held-out pairs, in human order. `truth`: 1 where `chosen` is truly better, 0 where not, else NaN."""

    rows: Any
    cluster: NDArray[np.int64]
    truth: Floats | None


def same_rows(dataset: str, most: int | None) -> dict[str, Any]:
    """Training rows by label: those that both have a label of, in one order."""
    ai, human = (load_rows(dataset, config, "train") for config in ("preferences", "preferences-human"))
    shared = sorted(set(ai["row_id"]) & set(human["row_id"]))[:most]
    made = {}
    for name, rows in (("ai", ai), ("human", human)):
        place = {row: number for number, row in enumerate(rows["row_id"])}
        made[name] = rows.select([place[row] for row in shared])
    return {"ai": made["ai"], "ai-soft": made["ai"], "human": made["human"]}


def held_out(dataset: str, truth: Path | None) -> Held:
    """The human test split, and what is true of it where that is known."""
    rows = load_rows(dataset, "preferences-human", "test")
    known = None
    if truth is not None:
        from examples.toy_dataset import truth_of

        value = {"chosen": 1.0, "rejected": 0.0, "equal": float("nan")}
        known = np.array([value[item.better] for item in truth_of(rows, truth)])
    return Held(rows, clusters(rows["prompt"]), known)


def train(labels: str, rows: Any, given: argparse.Namespace, seed: int) -> Any:
    """A trained reward model's trainer."""
    from trl import RewardConfig, RewardTrainer

    from examples.soft_labels import SoftLabelRewardTrainer

    made = SoftLabelRewardTrainer if labels == "ai-soft" else RewardTrainer
    arguments = RewardConfig(**trainer_arguments(given, seed))
    trainer = made(model=given.model, args=arguments, train_dataset=rows)
    return run(trainer)


def gaps(trainer: Any, rows: Any, batch: int) -> Floats:
    """Reward of `chosen` less that of `rejected`, for each row."""
    rewards = [_rewards(trainer, rows, name, batch) for name in ("chosen", "rejected")]
    return rewards[0] - rewards[1]


def _rewards(trainer: Any, rows: Any, name: str, batch: int) -> Floats:
    import torch

    model, tokenizer = trainer.model.eval(), trainer.processing_class
    said = [row["prompt"] + row[name] for row in rows]
    made: list[float] = []
    for start in range(0, len(said), batch):
        asked = tokenizer.apply_chat_template(
            said[start : start + batch],
            tokenize=True,
            padding=True,
            truncation=True,
            max_length=trainer.args.max_length,
            return_dict=True,
            return_tensors="pt",
        ).to(model.device)
        with torch.no_grad():
            answer = model(input_ids=asked["input_ids"], attention_mask=asked["attention_mask"])
        made += answer.logits.squeeze(-1).float().tolist()
    return np.array(made)


def right(gap: Floats) -> Floats:
    """1 where `chosen` is preferred, 0 where `rejected` is, one half for a tie."""
    return (np.sign(gap) + 1) / 2


def figures(found: dict[str, list[Floats]], held: Held) -> dict[str, Any]:
    """Shares and paired differences; `found`: by label, each seed's gaps."""
    by_seed = {name: [right(gap) for gap in gaps] for name, gaps in found.items()}
    told: dict[str, Any] = {"against the human labels": _against(by_seed, held.cluster)}
    if held.truth is not None:
        clear = ~np.isnan(held.truth)
        hit = {
            name: [np.where(held.truth == 1, seed, 1 - seed)[clear] for seed in seeds]
            for name, seeds in by_seed.items()
        }
        told["against the planted truth"] = _against(hit, held.cluster[clear])
    return told


def _against(by_seed: dict[str, list[Floats]], cluster: NDArray[np.int64]) -> dict[str, Any]:
    mean = {name: np.mean(seeds, axis=0) for name, seeds in by_seed.items()}
    shares = {
        name: {
            **asdict(bounded_mean(values, cluster)),
            "by_seed": [float(seed.mean()) for seed in by_seed[name]],
        }
        for name, values in mean.items()
    }
    differences = {
        f"{name} - human": asdict(bounded_difference(mean[name], mean["human"], cluster))
        for name in mean
        if name != "human"
    }
    return {"share right": shares, "difference": differences}


def table(told: dict[str, Any]) -> str:
    """The figures for a terminal."""
    lines = []
    for title, part in told.items():
        lines += ["", f"{title[0].upper()}{title[1:]} (95 % intervals over pairs)"]
        for name, share in part["share right"].items():
            seeds = ", ".join(f"{100 * value:.1f}" for value in share["by_seed"])
            lines.append(f"  {name:<16}{_percent(share)}   by seed: {seeds}")
        lines += [f"  {name:<16}{_points(item)}" for name, item in part["difference"].items()]
    return "\n".join(lines[1:])


def _percent(share: dict[str, Any]) -> str:
    return f"{100 * share['value']:.1f} % ({100 * share['low']:.1f} to {100 * share['high']:.1f}, n {share['n']})"


def _points(item: dict[str, Any]) -> str:
    one = Estimate(item["value"], item["low"], item["high"], item["n"])
    if one.value is None or one.low is None or one.high is None:
        return "no figure"
    return f"{100 * one.value:+.1f} points ({100 * one.low:+.1f} to {100 * one.high:+.1f})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, ask, print."""
    parser = argparse.ArgumentParser(description="Reward models on AI labels and on human labels, compared.")
    add_arguments(parser)
    parser.add_argument("--truth", type=Path, help="the folder with a toy world's truth.jsonl")
    given = parser.parse_args(arguments)
    quiet()
    rows = same_rows(given.dataset, given.max_rows)
    held = held_out(given.dataset, given.truth)
    found: dict[str, list[Floats]] = {name: [] for name in LABELS}
    for seed in range(given.seeds):
        for name in LABELS:
            trainer = train(name, rows[name], given, seed)
            found[name].append(gaps(trainer, held.rows, given.micro_batch))
            print(f"seed {seed}, {name}: right on {100 * right(found[name][-1]).mean():.1f} %", flush=True)
    apart = float(np.mean([not flag for flag in rows["ai"]["human_agrees"]]))
    told = figures(found, held)
    print(f"\nTrained on {len(rows['ai'])} pairs; the labels differ on {100 * apart:.1f} % of them.")
    print(table(told))
    if given.json:
        whole = {"rows": len(rows["ai"]), "seeds": given.seeds, "machine": machine(), **told}
        given.json.write_text(json.dumps(whole, indent=2) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
