"""The embedded model on labelled pairs of the toy world, whose truth is known.

What this module does not know: how the model was trained (tests/test_toy_model.py).
"""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from cai.judge_eval.evaluation import LiveEvaluation
from cai.judge_eval.reading import read_items
from cai.judge_eval.ways import Wish
from cai.run_folder import open_run
from cai.shipped import shipped
from cai.toy.world import generate

PAIRS = 16
LEAST = 0.7


async def test_the_embedded_model_is_a_good_judge_of_its_world(tmp_path: Path) -> None:
    lines = []
    for row, truth in generate(5, PAIRS, "test"):
        sides = (row.chosen, row.rejected) if truth.better == "chosen" else (row.rejected, row.chosen)
        assert truth.better != "equal"
        lines.append(orjson.dumps({"chosen": sides[0], "rejected": sides[1]}))
    path = tmp_path / "toy.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    run = tmp_path / "runs" / "toy"
    run.mkdir(parents=True)
    (run / "recipe.yaml").write_bytes(shipped("toy/recipe.yaml").read_bytes())
    (run / "data" / "hh-rlhf").mkdir(parents=True)
    wish = Wish(("plain", "principles"))
    async with LiveEvaluation(open_run(run), read_items(path), wish, tmp_path / "out") as live:
        await live.go()
        plain, principles = live.figures().ways
    for way in (plain, principles):
        assert way.overall.accuracy.n == PAIRS
        assert (way.overall.accuracy.value or 0) >= LEAST, way.way
        assert (way.overall.option_mass.value or 0) >= 0.95
        assert way.overall.abstentions == {}
    assert principles.overall.judgements == PAIRS * 8 * 2
