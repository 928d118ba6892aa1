"""Who a model is: other weights, other numbers and another shape are another model; a server's identity stays."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from cai.engine import weights
from cai.engine.identity import Identity
from cai.engine.kinds import make_engine
from cai.engine.weights import weights_digest
from cai.errors import RecipeError
from cai.live import LiveRun
from cai.recipe import EngineSection, Recipe
from cai.run_folder import open_run
from cai.settled import freeze_identity, frozen_identity, refuse_twin_judges
from cai.shipped import shipped
from tests.test_several_judges import _judges, _run

MODEL = shipped("toy/model")


def _copy(folder: Path) -> Path:
    place = folder / "model"
    shutil.copytree(MODEL, place)
    return place


def _change(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


async def _identity(folder: Path, dtype: str) -> Identity:
    values = {"kind": "local", "model": "m", "path": str(folder), "device": "cpu", "dtype": dtype}
    engine = make_engine("main", EngineSection.model_validate(values), "2026-01-01")
    await engine.open()
    try:
        return engine.identity
    finally:
        await engine.close()


def test_what_is_known_of_a_server_has_the_digest_that_it_always_had() -> None:
    known = Identity("m", "r", "chat", "{{ messages }}", {"enable_thinking": False}, "2026-01-01")
    assert known.digest == "d53b34ea5476b5d47782f382d13372f6"
    assert "weights" not in known.record()
    assert replace(known, weights="w").digest != known.digest != replace(known, dtype="bfloat16").digest


async def test_a_model_in_this_process_is_another_in_other_numbers_or_with_other_weights(
    tmp_path: Path,
) -> None:
    place = _copy(tmp_path)
    single, half = await _identity(place, "float32"), await _identity(place, "bfloat16")
    assert (single.dtype, half.dtype) == ("float32", "bfloat16")
    assert single.digest != half.digest
    assert single == await _identity(MODEL, "auto")
    _change(place / "model.safetensors", -1)
    assert (await _identity(place, "float32")).digest != single.digest


@pytest.mark.parametrize("whole", [True, False])
def test_a_tensor_that_was_trained_on_shows_in_a_small_file_and_in_a_large_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    if not whole:
        monkeypatch.setattr(weights, "WHOLE_BYTES", 1000)
    place = _copy(tmp_path)
    before = weights_digest(place)
    assert before == weights_digest(MODEL)
    path = place / "model.safetensors"
    length = int.from_bytes(path.read_bytes()[:8], "little")
    header = json.loads(path.read_bytes()[8 : 8 + length])
    last = max(item["data_offsets"][0] for name, item in header.items() if name != "__metadata__")
    _change(path, 8 + length + last)
    assert weights_digest(place) != before


def test_a_models_shape_counts_and_who_saved_it_does_not(tmp_path: Path) -> None:
    place = _copy(tmp_path)
    before = weights_digest(place)
    config = json.loads((place / "config.json").read_bytes())
    (place / "config.json").write_text(json.dumps({**config, "transformers_version": "9.9"}))
    assert weights_digest(place) == before
    (place / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 0.5}))
    assert weights_digest(place) != before


def test_shards_count_by_their_index_and_other_files_do_not(tmp_path: Path) -> None:
    place = _copy(tmp_path)
    (place / "model.safetensors").rename(place / "model-00001-of-00001.safetensors")
    assert weights_digest(place) == ""
    index = {"weight_map": {"a": "model-00001-of-00001.safetensors"}}
    (place / "model.safetensors.index.json").write_text(json.dumps(index))
    before = weights_digest(place)
    assert before
    (place / "consolidated.safetensors").write_bytes(b"another form of the same")
    assert weights_digest(place) == before


def test_a_run_goes_on_with_the_model_it_began_with_and_no_other(tmp_path: Path) -> None:
    section = EngineSection(kind="local", model="m", path="there")
    identity = Identity("m", weights="one", dtype="float32")
    assert freeze_identity(tmp_path, section, identity) == identity
    assert freeze_identity(tmp_path, section, identity) == identity
    with pytest.raises(RecipeError, match="its weights differ"):
        freeze_identity(tmp_path, section, replace(identity, weights="two"))
    with pytest.raises(RecipeError, match="its dtype differ") as caught:
        freeze_identity(tmp_path, section, replace(identity, dtype="bfloat16"))
    assert "float32" in caught.value.remedy
    other = section.model_copy(update={"dtype": "bfloat16"})
    assert frozen_identity(tmp_path, other) is None


def test_a_run_from_before_weights_were_looked_at_goes_on_as_who_it_was(tmp_path: Path) -> None:
    section = EngineSection(kind="local", model="m", path="there")
    old = freeze_identity(tmp_path, section, Identity("m"))
    assert freeze_identity(tmp_path, section, Identity("m", weights="one", dtype="float32")) == old
    assert frozen_identity(tmp_path, section) == old


# ---------------------------------------------------------------------- judges


async def test_two_judges_that_are_one_are_refused_before_anything_is_asked(tmp_path: Path) -> None:
    run = _run(tmp_path)
    _judges(run, "[main, other]")
    recipe = run / "recipe.yaml"
    text = recipe.read_text()
    model, script = text.split("main: {kind: scripted, model: ")[1].split("}")[0].split(", script: ")
    recipe.write_text(text.replace("model: o, script: other.py", f"model: {model}, script: {script}"))
    with pytest.raises(RecipeError, match="'main' and 'other' are the same model") as caught:
        async with LiveRun(open_run(run)):
            pass
    assert "`revision`" in caught.value.remedy
    recipe.write_text(
        text.replace("model: o, script: other.py", f"model: {model}, script: {script}, revision: b")
    )
    async with LiveRun(open_run(run)) as live:
        assert live.identities["main"].digest != live.identities["other"].digest


def test_judges_that_do_not_judge_may_be_one() -> None:
    recipe = Recipe.model_validate(
        {
            "sources": [{"kind": "jsonl", "path": "x"}],
            "engines": {name: {"kind": "scripted", "model": "m"} for name in ("one", "two")},
            "roles": {"judge": ["one", "two"]},
            "feedback": None,
        }
    )
    refuse_twin_judges(recipe, {})
