"""Ablation: each principle's part in the labels, worked out by hand on a few pairs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from cai.cli import _verbs, app
from cai.errors import RunError
from cai.workbench.ablate import OpinionTable, ablate
from tests.published_tree import worked
from tests.toy_source import write_run

NAN = float("nan")


def _table(rows: list[list[float]], **changes: Any) -> OpinionTable:
    count = len(rows[0])
    values: dict[str, Any] = {
        "principles": tuple("abcdefgh"[:count]),
        "weights": np.ones(count),
        "probability": np.array(rows),
    }
    return OpinionTable(**{**values, **changes})


def test_a_principle_that_turns_labels_is_told_with_their_direction() -> None:
    # means: .6 first, .45 second, .55 first; without a: .4 second, .7 first, .45 second
    table = _table([[0.8, 0.4], [0.2, 0.7], [0.65, 0.45]])
    first = ablate(table).principles[0]
    assert (first.judged, first.to_human, first.from_human) == (3, 1, 2)
    assert first.changed.value == 1
    assert first.agreement_gain.value == pytest.approx((1 - 1 + 1) / 3)
    assert first.alone.value == pytest.approx(2 / 3)
    assert first.saved == 0.5


def test_a_principle_like_the_others_changes_nothing() -> None:
    made = ablate(_table([[0.8, 0.8, 0.8], [0.3, 0.3, 0.3]]))
    assert all(item.changed.value == 0 and item.agreement_gain.value == 0 for item in made.principles)
    assert all(value == 1 for row in made.matrix for value in row)
    assert made.few[0].same.value == 1
    assert made.few[0].cost == pytest.approx(1 / 3)


def test_the_matrix_tells_which_principles_contradict_each_other() -> None:
    made = ablate(_table([[0.8, 0.2, 0.5], [0.7, 0.4, 0.5]]))
    assert made.matrix[0][1] == 0
    assert made.matrix[0][0] == 1
    assert made.matrix[0][2] is None


def test_weights_and_log_odds_count() -> None:
    table = _table([[0.9, 0.4]], weights=np.array([1.0, 5.0]))
    assert ablate(table).agreement.value == 0
    assert ablate(_table([[0.9, 0.4]])).agreement.value == 1
    strong = [[0.999, 0.2, 0.25]]  # the mean of probabilities is .483, of log-odds above 0
    assert ablate(_table(strong)).agreement.value == 0
    assert ablate(_table(strong, combine="log-odds")).agreement.value == 1


def test_a_principle_that_was_not_drawn_has_no_say_and_no_cost() -> None:
    made = ablate(_table([[0.9, NAN], [NAN, 0.2], [0.7, 0.6]]))
    assert [item.judged for item in made.principles] == [2, 2]
    assert made.agreement.count == 2
    without_a = made.principles[0]
    assert without_a.changed.count == 1  # the pair that only it judged has no label without it


def test_the_greedy_few_end_with_all_and_their_labels() -> None:
    rng = np.random.default_rng(1)
    truth = rng.random(400)
    rows = np.clip(truth[:, None] + rng.normal(0, 0.2, (400, 5)), 0.01, 0.99)
    made = ablate(_table(rows.tolist()))
    assert made.few[-1].same.value == 1
    assert made.few[-1].cost == pytest.approx(1)
    assert [item.k for item in made.few] == [1, 2, 3, 4, 5]
    assert (made.few[2].same.value or 0) > 0.85


def test_ties_are_neither_for_nor_against() -> None:
    made = ablate(_table([[0.52, 0.5]], tie_threshold=0.05))
    assert made.agreement.n == 0
    assert made.matrix[0][1] is None


def test_weights_count_where_the_recipe_names_a_constitution_by_its_path(tmp_path: Path) -> None:
    alone = []
    for name in ("own", "principles/own.yaml"):
        run = write_run(tmp_path / name.replace("/", "-"), rows=16)
        (run / "recipe.yaml").write_text(
            (run / "recipe.yaml").read_text().replace('"*": own', f'"*": {name}')
        )
        path = run / "principles" / "own.yaml"
        path.write_text(path.read_text().replace("id: p0", "id: p0\n    weight: 50"))
        made = _ablated(worked(run))
        alone.append(made["principles"][0]["changed"]["value"])
        assert made["principles"][1]["changed"]["value"] == 0, "p0 alone decides"
    assert alone[0] == alone[1] > 0


def test_a_dataset_of_another_generation_is_not_taken_apart_by_the_weights_of_this_one(
    tmp_path: Path,
) -> None:
    run = worked(write_run(tmp_path, rows=6))
    summary = run / "dataset" / "summary.json"
    summary.write_bytes(summary.read_bytes().replace(b'"generation": "', b'"generation": "0'))
    with pytest.raises(RunError, match="the run has gone on to"):
        _ablated(run)


@pytest.mark.parametrize("spoilt", [b"{", b"\xff", b"[]", b"{}"])
def test_a_dataset_s_damaged_summary_is_told(spoilt: bytes, tmp_path: Path) -> None:
    run = worked(write_run(tmp_path, rows=2))
    (run / "dataset" / "summary.json").write_bytes(spoilt)
    with pytest.raises(RunError, match="no dataset that can be read"):
        _ablated(run)


def _ablated(run: Path) -> dict[str, Any]:
    if not app.registered_commands:
        _verbs()
    result = CliRunner().invoke(app, ["principles", "ablate", str(run), "--json"])
    if result.exception is not None:
        raise result.exception
    (made,) = json.loads(result.stdout)
    return dict(made)
