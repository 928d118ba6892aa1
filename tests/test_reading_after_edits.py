"""Reading a run after its recipe, principles or templates were edited: the last generation, whole."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import pytest

from cai.cli.run import Wish, work
from cai.constitution_file import FormsSection
from cai.errors import RunError
from cai.generations import frozen_generations, read_generation
from cai.reading import ReadRun
from cai.run_folder import open_run
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
