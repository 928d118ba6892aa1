"""Reading a run after its recipe, principles or templates were edited: the last generation, whole."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from cai.cli.run import Wish, work
from cai.constitution_file import FormsSection
from cai.engine.identity import Identity
from cai.errors import RunError
from cai.frozen import freeze, load_inputs
from cai.generations import OPEN_OF_ENGINES, frozen_generations, read_generation
from cai.reading import ReadRun
from cai.recipe import EngineSection, Recipe, load_recipe
from cai.run_folder import open_run
from cai.settled import declared_digest
from cai.shipped import shipped
from cai.source import Row
from tests.toy_source import write_constitution, write_run

FORM_NAMES = list(FormsSection.model_fields)


def _finished(tmp_path: Path, rows: int = 4) -> Path:
    run = write_run(tmp_path, rows=rows)
    assert asyncio.run(work(run, Wish(yes=True), lambda _: None)) == 0
    return run


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.fixture(autouse=True)
def _heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("cai"), "propagate", True)


def test_an_unedited_run_is_read_without_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with ReadRun(open_run(_finished(tmp_path))) as run:
        assert run.changed == []
    assert _warnings(caplog) == []


def _edit_recipe(run: Path) -> None:
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("rounds: 2", "rounds: 1"))


def _break_recipe(run: Path) -> None:
    (run / "recipe.yaml").write_text("sorces: [\n")


def _edit_script(run: Path) -> None:
    with (run / "script.py").open("a") as file:
        file.write("\n# another\n")


def _edit_template(run: Path) -> None:
    from cai.shipped import shipped

    prompts = run / "prompts"
    prompts.mkdir()
    for path in shipped("prompts").glob("*.j2"):
        text = path.read_text()
        (prompts / path.name).write_text(text.replace("Rewrite", "Please rewrite") + "{# mine #}")


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (_edit_recipe, "recipe.yaml has changed"),
        (_break_recipe, "recipe.yaml has changed"),
        (lambda run: write_constitution(run, change=" now"), "principles/own.yaml has changed"),
        (_edit_template, "prompts/"),
        (_edit_script, "script.py has changed"),
    ],
)
def test_after_an_edit_the_last_generation_is_read_and_one_warning_names_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, edit: object, named: str
) -> None:
    run = _finished(tmp_path)
    with ReadRun(open_run(run)) as before:
        digest = before.generation.digest
    edit(run)  # type: ignore[operator]
    with ReadRun(open_run(run)) as reading:
        assert reading.generation.digest == digest
        ids = [row for row, _ in reading.source.ids()]
        assert len(reading.outcomes(ids)) == 4
    with ReadRun(open_run(run)):  # as `cai publish` does, and tells it once
        pass
    (warning,) = _warnings(caplog)
    assert named in warning
    assert ": cai run " in warning


def test_what_was_asked_is_found_again_from_the_frozen_folder_alone(tmp_path: Path) -> None:
    from cai.cli.show import trace

    run = _finished(tmp_path)
    write_constitution(run, change=" now")
    with ReadRun(open_run(run)) as reading:
        row = next(item for item in reading.source.items() if isinstance(item, Row))
        exchanges, outcome = asyncio.run(trace(reading, row))
    assert len(exchanges) == 2 + 2 + 6 + 6 + 4  # critiques, revisions, two pairs, harm
    assert all(exchange.answer is not None for exchange in exchanges)
    assert outcome is not None
    origins = {part.origin for exchange in exchanges for part in exchange.request.rendered.parts()}
    assert any(origin.startswith("principles/own.yaml:") for origin in origins)
    assert not any(reading.generation.digest[:12] in origin for origin in origins)


def test_a_generation_without_an_outcome_gives_way_to_the_one_before(tmp_path: Path) -> None:
    run = _finished(tmp_path)
    first = frozen_generations(open_run(run))[0]
    write_constitution(run, change=" now")
    assert asyncio.run(_begin_only(run)) != first.digest
    write_constitution(run, change=" then")
    with ReadRun(open_run(run)) as reading:
        assert reading.generation.digest == first.digest


async def _begin_only(run: Path) -> str:
    from cai.live import LiveRun

    async with LiveRun(open_run(run)) as live:
        return live.generation.digest


def test_the_generation_last_worked_with_is_read_even_where_another_is_newer(tmp_path: Path) -> None:
    run = _finished(tmp_path)
    first = frozen_generations(open_run(run))[0].digest
    write_constitution(run, change=" now")
    asyncio.run(work(run, Wish(yes=True), lambda _: None))
    second = frozen_generations(open_run(run))[0].digest
    assert second != first
    write_constitution(run)
    asyncio.run(work(run, Wish(yes=True), lambda _: None))  # nothing to ask: the first again
    write_constitution(run, change=" then")
    with ReadRun(open_run(run)) as reading:
        assert reading.generation.digest == first


def test_a_generation_read_back_is_the_one_that_was_frozen(tmp_path: Path) -> None:
    from cai.frozen import generation_of

    folder = open_run(_finished(tmp_path))
    generation = frozen_generations(folder)[0]
    past = read_generation(generation, None)
    assert generation_of(folder.path, past.inputs, past.identities).digest == generation.digest


def test_the_dataset_after_an_edit_is_of_one_generation(tmp_path: Path) -> None:
    from cai.cli.console import err
    from cai.cli.dataset import build_run

    run = _finished(tmp_path)
    build_run(run, err())
    before = json.loads((run / "dataset" / "summary.json").read_text())
    write_constitution(run, change=" now")
    build_run(run, err())
    assert json.loads((run / "dataset" / "summary.json").read_text()) == before


def test_default_forms_are_part_of_what_was_frozen(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=2)
    own = run / "principles" / "own.yaml"
    own.write_text("constitution: own\ntitle: Own\nprinciples:\n- {id: kind, text: Be kind.}\n")
    forms = run / "principles" / "forms" / "default.yaml"
    forms.parent.mkdir()
    forms.write_text("".join(f"{name}: 'As {{text}}'\n" for name in FORM_NAMES))
    assert asyncio.run(work(run, Wish(yes=True), lambda _: None)) == 0
    before = frozen_generations(open_run(run))[0]
    forms.write_text(forms.read_text().replace("As", "Otherwise"))
    past = read_generation(before, None)
    (constitution,) = past.inputs.constitutions.values()
    assert constitution.principles[0].judgement == "As Be kind."
    with ReadRun(open_run(run)) as read:
        assert read.changed == ["principles/forms/default.yaml"]


def test_a_frozen_constitution_that_is_not_what_its_digest_says_is_not_read(tmp_path: Path) -> None:
    run = _finished(tmp_path)
    (generation,) = frozen_generations(open_run(run))
    (path,) = generation.folder.glob("principles/*/own.yaml")
    path.write_text(path.read_text().replace("better by rule 1", "worse by rule 1"))
    with pytest.raises(RunError, match="cannot be read back"):
        read_generation(generation, None)


def _server(url: str, model: str = "m", **more: object) -> EngineSection:
    return EngineSection.model_validate({"kind": "server", "model": model, "urls": url, **more})


def test_a_generation_is_gone_on_with_where_its_engines_are_now(tmp_path: Path) -> None:
    folder = open_run(_finished(tmp_path))
    generation = frozen_generations(folder)[0]
    then = load_recipe(folder.recipe)

    def with_engines(**engines: EngineSection) -> Recipe:
        return then.model_copy(update={"engines": engines})

    frozen = with_engines(main=_server("http://old:1", concurrency=4), other=_server("http://old:2", "n"))
    with (generation.folder / "recipe.yaml").open("w") as file:
        YAML(typ="safe").dump(frozen.model_dump(mode="json"), file)

    def read(now: Recipe) -> Mapping[str, EngineSection]:
        return read_generation(generation, now).inputs.recipe.engines

    moved = read(
        with_engines(
            main=_server("http://new:1", concurrency=64, api_key_variable="MINE", timeout_s=9),
            other=_server("http://new:2", "another model"),
            renamed=_server("http://new:3", "n"),
        )
    )
    assert moved["main"].urls == ["http://new:1"]
    assert (moved["main"].concurrency, moved["main"].api_key_variable, moved["main"].timeout_s) == (
        64,
        "MINE",
        9,
    )
    assert (moved["other"].model, moved["other"].urls) == ("n", ["http://new:3"]), "the same, by another name"
    gone = read(
        with_engines(main=_server("http://new:1", template_args={}), other=_server("http://new:2", "k"))
    )
    assert [item.urls for item in gone.values()] == [["http://old:1"], ["http://old:2"]], (
        "other models stand there"
    )
    assert gone["main"].template_args == {"enable_thinking": False}


def test_what_is_open_of_an_engine_is_what_decides_nothing() -> None:
    """Every field either makes the engine another one, is asked for by the recipe's digest, or is open."""
    deciding = {
        "kind",
        "model",
        "revision",
        "form",
        "template_args",
        "date",
        "tokenizer",
        "script",
        "thinking",
    }
    deciding |= {"path", "dtype", "answer_prefix"}
    assert deciding | set(OPEN_OF_ENGINES) == set(EngineSection.model_fields)
    assert not deciding & set(OPEN_OF_ENGINES)
    changes = {"concurrency": 1, "timeout_s": 1, "retry_s": 1, "stall_s": 1, "device": "cpu", "batch_size": 1}
    changes |= {"urls": ["http://b"], "api_key_variable": "B", "serve": None}
    assert set(changes) == set(OPEN_OF_ENGINES)
    one = EngineSection.model_validate({"kind": "local", "model": "m"})
    assert declared_digest(one, Path()) == declared_digest(one.model_copy(update=changes), Path())


def test_examples_without_reasoning_are_read_back_where_the_judge_thinks_in_a_block(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=2)
    examples = run / "examples" / "mine.yaml"
    examples.parent.mkdir(parents=True)
    text = (shipped("prompts") / "examples" / "judgements.yaml").read_text()
    judgements = YAML(typ="safe").load(text)
    for item in judgements["judgements"]:
        item.pop("reasoning", None)
    with examples.open("w") as file:
        YAML(typ="safe").dump(judgements, file)
    recipe = load_recipe(run / "recipe.yaml")
    with (run / "recipe.yaml").open("w") as file:
        feedback = {"examples": "examples/mine.yaml", "reasoning": {"thinking": True, "max_tokens": 32}}
        YAML(typ="safe").dump({**recipe.model_dump(mode="json"), "feedback": feedback}, file)
    folder = open_run(run)
    recipe = load_recipe(folder.recipe)
    inputs = load_inputs(recipe, run)
    generation = freeze(run, inputs, {name: Identity(name) for name in recipe.engines_used()})
    past = read_generation(generation, recipe)
    assert past.inputs.examples is not None
    assert past.inputs.examples.digest == inputs.examples.digest  # type: ignore[union-attr]
