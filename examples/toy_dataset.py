"""A dataset of the toy world that is large enough to train on, made by `cai run` with the embedded model.

    python -m examples.toy_dataset runs/toy-training

    runs/toy-training/data/hh-rlhf/harmless-base/{train,test}.jsonl.gz   rows
    runs/toy-training/data/truth.jsonl                                   what is true of each, no job reads it
    runs/toy-training/dataset/                                           the configs, both splits

A third of the topics is in `test` alone, so that no prompt of `test` was trained on. 15 % of the human
labels are wrong on purpose, in both splits.

What this module does not know: how training goes, what is measured.
"""

from __future__ import annotations

import argparse
import gzip
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from cai.conversation import Transcript, Turn, write_transcript
from cai.shipped import shipped
from cai.toy import read_truth, truth_key
from cai.toy.topics import TOPICS
from cai.toy.world import QUESTIONS, Row, Truth, generate
from cai.toy.world_files import TRUTH_FILE

SEED = 23
HELD_OUT = frozenset(topic.id for number, topic in enumerate(TOPICS) if number % 3 == 0)
"""The topics of `test`."""
ENDLESS = 10**9


def write(folder: Path, train: int, test: int) -> None:
    """Write so many rows of either split, their truth, and a recipe, under `folder`."""
    wanted = {"train": train, "test": test}
    rows: dict[str, list[Row]] = {"train": [], "test": []}
    truths: list[dict[str, Any]] = []
    for row, truth in generate(SEED, ENDLESS, "demo"):
        split = "test" if truth.topic in HELD_OUT else "train"
        if len(rows[split]) < wanted[split]:
            rows[split].append(row)
            truths.append({"key": truth_key(row.chosen, row.rejected), **asdict(truth)})
        if all(len(rows[name]) == count for name, count in wanted.items()):
            break
    place = folder / "data" / "hh-rlhf" / "harmless-base"
    place.mkdir(parents=True, exist_ok=True)
    for split, made in rows.items():
        lines = (orjson.dumps({"chosen": row.chosen, "rejected": row.rejected}) for row in made)
        (place / f"{split}.jsonl.gz").write_bytes(gzip.compress(b"\n".join(lines) + b"\n", mtime=0))
    (folder / "data" / TRUTH_FILE).write_bytes(b"".join(orjson.dumps(item) + b"\n" for item in truths))
    (folder / "recipe.yaml").write_text(recipe(), "utf-8")


def recipe() -> str:
    """The demo's recipe with both splits, and without ratings of harm, which nothing here uses."""
    text = shipped("toy/recipe.yaml").read_text("utf-8")
    changes = {
        "    path: data/hh-rlhf\n": "    path: data/hh-rlhf\n    splits: [train, test]\n",
        "  harm: true ": "  harm: false",
        "dataset:\n": "dataset:\n  leakage: report               # topics are disjoint; questions are alike\n",
    }
    for old, new in changes.items():
        if text.count(old) != 1:
            raise ValueError(f"toy/recipe.yaml no longer holds {old!r} once: change examples/toy_dataset.py.")
        text = text.replace(old, new)
    return text


def truth_of(rows: Iterable[Mapping[str, Any]], folder: Path) -> list[Truth]:
    """What is true of each row of a config in human order; `folder`: the run's `data`."""
    known = read_truth(folder)
    return [known[truth_key(_transcript(row, "chosen"), _transcript(row, "rejected"))] for row in rows]


def _transcript(row: Mapping[str, Any], name: str) -> str:
    turns = tuple(Turn(turn["role"], " " + turn["content"]) for turn in [*row["prompt"], *row[name]])
    return write_transcript(Transcript("", turns))


def questions() -> list[str]:
    """Benign questions of the toy world: every way of asking, about every topic of `test`."""
    asked = [topic for topic in TOPICS if topic.id in HELD_OUT]
    return [question.format(task=topic.task) for topic in asked for question in QUESTIONS]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the world and run the job; the exit code is that of `cai run`."""
    parser = argparse.ArgumentParser(description="Make a toy dataset to train on.")
    parser.add_argument("run", type=Path, nargs="?", default=Path("runs/toy-training"))
    parser.add_argument("--train", type=int, default=800, help="rows of the split train")
    parser.add_argument("--test", type=int, default=400, help="rows of the split test")
    given = parser.parse_args(arguments)
    if not (given.run / "recipe.yaml").exists():
        write(given.run, given.train, given.test)
    return subprocess.run(
        [sys.executable, "-m", "cai", "run", str(given.run), "--yes"], check=False
    ).returncode


if __name__ == "__main__":
    raise SystemExit(main())
