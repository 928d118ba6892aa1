"""A fork of a published run asks nothing until it is edited, and then only for what the edit changed."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from ruamel.yaml import YAML

from cai.cli.edited import inputs_meant
from cai.cli.fork import fork as verb
from cai.errors import PublishError, RunError
from cai.frozen import load_inputs, row_plans
from cai.live import LiveRun
from cai.publish.fetch import fetch
from cai.publish.file import MANIFEST, PublishedFile
from cai.publish.fork import fork
from cai.publish.manifest import Change, make_manifest
from cai.publish.rebuild import rebuild
from cai.reading import ReadRun
from cai.recipe import load_recipe
from cai.run_folder import open_run
from cai.shipped import shipped
from cai.workbench.changes import Changes, count_changes
from tests.published_tree import listed_anew, publish_into, reviewed, rich_run, worked
from tests.test_rebuild import cai, closed_environment
from tests.toy_source import write_constitution, write_rows

ROWS, PRINCIPLES, PAIRS, ORDERS = 6, 3, 2, 2
RECIPE = """\
sources:
  - {kind: hh-rlhf, path: data}
engines:
  main: {kind: scripted, model: m, script: echo, concurrency: 8}
constitutions: {"*": own}
pilot: {rows: 0}
doctor: false
"""


def _run(folder: Path, recipe: str = RECIPE) -> Path:
    run = folder / "runs" / "first"
    run.mkdir(parents=True)
    write_rows(run, ROWS)
    write_constitution(run, PRINCIPLES)
    (run / "recipe.yaml").write_text(recipe)
    return run


@pytest.fixture(scope="module")
def published_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run of the built-in engine, published with its store; the run itself is gone."""
    folder = tmp_path_factory.mktemp("first")
    place = publish_into(folder, worked(_run(folder)))
    shutil.rmtree(folder / "runs")
    return place


@pytest.fixture
def published(published_once: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(published_once, tmp_path / "published"))


def _fork(published: Path, name: str = "mine") -> Path:
    return fork(fetch(str(published), what="run"), published.parent / "runs" / name).run.path


async def _work(run: Path) -> tuple[Counter[str], int]:
    """Work on a run; returns what was asked anew by stage, and how many requests reached its engines."""
    async with LiveRun(open_run(run)) as live:
        await live.job.work(5)
        asked = Counter({stage: a.answered for (_, stage), a in live.ask.accounts.items() if a.answered})
        reached = sum(getattr(engine.inner, "asked", 0) for engine in live.engines.values())
    return asked, reached


def _reword(run: Path, old: str, new: str) -> None:
    path = run / "principles" / "own.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def _counted(run: Path) -> Changes:
    """What cai/workbench/changes.py says that the edit asks, told from digests alone."""
    with ReadRun(open_run(run)) as read:  # the generation that the run last worked with
        now = load_recipe(open_run(run).recipe)
        old, new = row_plans(read.inputs), row_plans(load_inputs(now, run))
        return asyncio.run(
            count_changes(
                read.source.items(),
                lambda subset: old.get(read.recipe.constitution_for(subset) or ""),
                lambda subset: new.get(now.constitution_for(subset) or ""),
                read.store,
                read.identities,
            )
        )


def _datasets(run: Path) -> dict[str, str]:
    return {
        path.relative_to(run / "dataset").as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((run / "dataset").rglob("*"))
        if path.is_file() and path.name != "README.md"
    }


def test_a_fork_with_nothing_edited_asks_nothing_and_makes_the_same_dataset(published: Path) -> None:
    run = _fork(published)
    inputs_meant(open_run(run), "")  # would raise if anything counted as edited
    assert asyncio.run(_work(run)) == (Counter(), 0)
    worked(run)
    listed = orjson.loads((published / MANIFEST).read_bytes())
    assert _datasets(run) == {
        path: file["sha256"]
        for path, file in listed["files"].items()
        if path.split("/")[0] not in ("run", "README.md")
    }
    assert [path.name for path in sorted((run / "frozen").glob("*/generation.json").__next__().parents)][
        :0
    ] == []
    assert [path.parent.name for path in run.glob("frozen/*/generation.json")] == [listed["generation"]]


def test_an_edited_question_is_asked_in_both_orders_of_each_pair_and_nothing_else_is(published: Path) -> None:
    run = _fork(published)
    _reword(run, "better by rule 1?", "better by the first rule?")
    counted = _counted(run)
    with pytest.raises(RunError, match=r"principles/own\.yaml has changed .* 24 would be asked again"):
        inputs_meant(open_run(run), "")
    asked, reached = asyncio.run(_work(run))
    assert asked == Counter({"judgement": ROWS * PAIRS * ORDERS}) == Counter({"judgement": 24})
    assert reached == counted.direct == 24
    assert counted.follow_at_most == 0
    assert asyncio.run(_work(run)) == (Counter(), 0)


def test_an_edited_critique_asks_its_rounds_and_what_follows_from_them(published: Path) -> None:
    run = _fork(published)
    _reword(run, "Say where the response breaks rule 2.", "Name what breaks rule 2.")
    counted = _counted(run)
    asked, reached = asyncio.run(_work(run))
    assert counted.direct <= reached <= counted.direct + counted.follow_at_most
    assert 0 < counted.rows_touched <= ROWS
    assert asked["judgement"] <= counted.rows_touched * PRINCIPLES * ORDERS, "human pairs stay as they are"


def test_the_published_folder_is_only_read(published: Path) -> None:
    before = {path: path.read_bytes() for path in published.rglob("*") if path.is_file()}
    run = _fork(published)
    _reword(run, "rule 1?", "rule one?")
    asyncio.run(_work(run))
    assert {path: path.read_bytes() for path in published.rglob("*") if path.is_file()} == before


def test_a_rich_run_forks_and_asks_nothing_once_its_script_is_put_there(tmp_path: Path) -> None:
    run = reviewed(worked(rich_run(tmp_path)))
    published = publish_into(tmp_path, run)
    made = fork(fetch(str(published)), tmp_path / "runs" / "mine")
    assert sum("script.py, which is not published" in note for note in made.notes) == 2
    assert not (made.run.path / "script.py").exists()
    shutil.copyfile(run / "script.py", made.run.path / "script.py")
    assert asyncio.run(_work(made.run.path)) == (Counter(), 0)
    assert _datasets(worked(made.run.path)) == _datasets(run)


def test_a_fork_of_prompts_that_nobody_answered_answers_them_first_as_the_run_did(tmp_path: Path) -> None:
    run = _run(
        tmp_path, RECIPE.replace("{kind: hh-rlhf, path: data}", "{kind: red-team, path: attempts.jsonl}")
    )
    talk = "\n\nHuman: One?\n\nAssistant: Two.\n\nHuman: Three?\n\nAssistant: Four.\n\nHuman: Five?"
    (run / "attempts.jsonl").write_bytes(orjson.dumps({"transcript": talk}))
    published = publish_into(tmp_path, worked(run))
    made = fork(fetch(str(published)), tmp_path / "runs" / "mine").run.path
    assert asyncio.run(_work(made)) == (Counter(), 0)
    assert len(list(made.glob("frozen/*/generation.json"))) == 1
    assert _datasets(worked(made)) == _datasets(run)
    again = fork(fetch(str(publish_into(tmp_path / "second", made))), tmp_path / "runs" / "third").run.path
    assert asyncio.run(_work(again)) == (Counter(), 0)


def test_an_edited_fork_is_published_and_made_again_in_its_turn(published: Path, tmp_path: Path) -> None:
    run = _fork(published)
    _reword(run, "better by rule 1?", "better by the first rule?")
    asyncio.run(_work(run))
    worked(run)
    again = fetch(str(publish_into(tmp_path / "second", run)))
    assert again.manifest.generation != fetch(str(published)).manifest.generation
    assert rebuild(again, tmp_path / "made").identical
    rows = "run/rows/rows-00000.jsonl.gz"
    assert (again.folder / rows).read_bytes() == (published / rows).read_bytes()
    sizes = [
        sum(1 for _ in (place / "run/store/segment-000001.jsonl").open())
        for place in (published, again.folder)
    ]
    assert sizes[0] == sizes[1], "the first generation's answers stay at home"


# ---------------------------------------------------------------------- the recipe


def test_the_recipe_is_as_a_person_writes_it(published: Path) -> None:
    run = _fork(published)
    text = (run / "recipe.yaml").read_text()
    assert text.startswith("# A fork of ")
    assert YAML(typ="safe").load(text) == {
        "sources": [{"kind": "published", "path": "rows"}],
        "engines": {"main": {"kind": "scripted", "model": "m", "concurrency": 8, "script": "echo"}},
        "constitutions": {"*": "own"},
        "pilot": {"rows": 0},
        "doctor": False,
    }
    assert (run / "principles" / "own.yaml").is_file()
    assert (run / "prompts" / "judgement.j2").is_file()


def _recipe_changed(published: Path, **changes: Any) -> None:
    """What a hostile or careless publisher may write into run/recipe.yaml."""
    path = published / "run" / "recipe.yaml"
    content = YAML(typ="safe").load(path)
    for key, value in changes.items():
        if key == "engine":
            content["engines"]["main"].update(value)
        else:
            content[key] = value
    with path.open("w") as file:
        YAML().dump(content, file)
    listed_anew(published, "run/recipe.yaml")


def test_nothing_of_the_publishers_machine_or_choosing_is_taken_over(published: Path) -> None:
    serve = {"with_run": True, "python": "/bin/evil", "arguments": ["--trust-remote-code"]}
    server = {"kind": "server", "urls": ["http://203.0.113.9:1"], "api_key_variable": "HOME", "serve": serve}
    _recipe_changed(
        published,
        engine={**server, "script": None},
        run={"reuse": ["/elsewhere/runs/other"]},
        doctor={"probes": "/etc/passwd"},
        sources=[{"kind": "jsonl", "path": "/etc/passwd"}],
        publish={"title": "Mine", "gpu_hours": 3.0, "licence": "mit"},
    )
    made = fork(fetch(str(published)), published.parent / "runs" / "mine")
    for path in (made.run.recipe, *made.run.frozen.glob("*/recipe.yaml")):
        engine = load_recipe(path).engines["main"]
        assert engine.urls == ["http://127.0.0.1:8000"]
        assert engine.serve is None
        assert engine.api_key_variable == "CAI_API_KEY"
    recipe = load_recipe(made.run.recipe)
    assert recipe.run.reuse == []
    assert recipe.doctor
    assert recipe.doctor.probes == "doctor/probes.yaml"
    assert recipe.publish.licence == "mit"
    assert (recipe.publish.title, recipe.publish.gpu_hours) == (None, None)
    notes = " ".join(made.notes)
    assert "engines.main.urls: set it to where you serve m" in notes
    assert "--trust-remote-code" in notes
    told = made.run.recipe.read_text()
    assert "engines.main.urls: set it to where you serve m" in told.replace("\n# ", " ")


@pytest.mark.parametrize(
    ("sources", "source"),
    [
        ([{"kind": "hh-rlhf"}, {"kind": "hub", "repo": "Anthropic/hh-rlhf"}], "Anthropic/hh-rlhf"),
        ([{"kind": "hub", "repo": "org/pairs"}], "org/pairs"),
        ([{"kind": "hub", "repo": "org/pairs"}, {"kind": "hh-rlhf"}], None),
        ([{"kind": "hh-rlhf", "path": "data"}], None),
        ([{"kind": "hub", "repo": "pairs"}], None),
    ],
)
def test_a_fork_knows_which_dataset_of_the_hub_its_rows_are_of(
    sources: list[dict[str, str]], source: str | None, published: Path
) -> None:
    _recipe_changed(published, sources=sources)
    assert load_recipe(_fork(published) / "recipe.yaml").publish.source == source


def test_what_comes_with_the_program_is_kept_by_its_name_and_a_folder_of_the_authors_is_told(
    published: Path,
) -> None:
    local = {"kind": "local", "script": None}
    _recipe_changed(published, engine={**local, "path": "toy/model"}, doctor={"probes": "toy/probes.yaml"})
    made = fork(fetch(str(published)), published.parent / "runs" / "mine")
    assert made.notes == ()
    recipe = load_recipe(made.run.recipe)
    assert recipe.doctor
    assert recipe.doctor.probes == "toy/probes.yaml"
    _recipe_changed(published, engine={**local, "path": "models/own"})
    made = fork(fetch(str(published)), published.parent / "runs" / "other")
    assert any(note.startswith("engines.main.path: it says 'models/own'") for note in made.notes)


@pytest.mark.parametrize("script", ["../../evil.py", "/elsewhere/evil.py", "evil.txt", "a\\evil.py"])
def test_a_script_is_never_taken_over_and_never_run(script: str, published: Path, tmp_path: Path) -> None:
    for place in (published / "run" / "evil.py", tmp_path / "evil.py"):
        place.write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    listed_anew(published, "run/evil.py")
    _recipe_changed(published, engine={"script": script})
    run = _fork(published)
    named = load_recipe(run / "recipe.yaml").engines["main"].script
    assert named in ("evil.py", "evil.txt.py")
    assert not list(run.rglob("*.py"))
    assert not (tmp_path / "ran").exists()


def test_a_constitution_s_name_that_leads_elsewhere_is_brought_home(tmp_path: Path) -> None:
    run = _run(tmp_path, RECIPE.replace('"*": own', '"*": ../rules/own.yaml'))
    (tmp_path / "runs" / "rules").mkdir()
    (run / "principles" / "own.yaml").rename(tmp_path / "runs" / "rules" / "own.yaml")
    made = fork(fetch(str(publish_into(tmp_path, worked(run)))), tmp_path / "elsewhere" / "runs" / "mine")
    assert load_recipe(made.run.recipe).constitutions == {"*": "own"}
    assert [path.name for path in (tmp_path / "elsewhere" / "runs").iterdir()] == ["mine"]
    assert any("another generation" in note for note in made.notes), "the name is part of it"
    assert asyncio.run(_work(made.run.path))[1] == 0, "the answers are the same all the same"


def test_a_constitution_in_a_folder_of_its_own_keeps_name_and_generation(tmp_path: Path) -> None:
    run = _run(tmp_path, RECIPE.replace('"*": own', '"*": rules/own.yaml'))
    (run / "rules").mkdir()
    (run / "principles" / "own.yaml").rename(run / "rules" / "own.yaml")
    made = fork(fetch(str(publish_into(tmp_path, worked(run)))), tmp_path / "runs" / "mine")
    assert (made.run.path / "rules" / "own.yaml").is_file()
    assert made.notes == ()
    assert asyncio.run(_work(made.run.path)) == (Counter(), 0)


@pytest.mark.parametrize("name", ["templates", "prompts/kind", "../kind", "rows"])
def test_templates_in_a_folder_of_another_name_keep_the_generation(name: str, tmp_path: Path) -> None:
    run = _run(tmp_path, RECIPE + f"prompts: {name}\n")
    (run / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(shipped("prompts"), run / name)
    made = fork(fetch(str(publish_into(tmp_path, worked(run)))), tmp_path / "elsewhere" / "runs" / "mine")
    kept = {"templates": name, "prompts/kind": name, "../kind": "kind", "rows": "prompts"}[name]
    assert load_recipe(made.run.recipe).prompts == kept
    assert (made.run.path / kept / "judgement.j2").is_file()
    assert any("another generation" in note for note in made.notes) == (name == "rows")
    assert asyncio.run(_work(made.run.path)) == (Counter(), 0)


# ---------------------------------------------------------------------- what stops a fork


def test_a_fork_that_fails_leaves_nothing_and_one_that_is_there_is_kept(published: Path) -> None:
    run = _fork(published)
    with pytest.raises(PublishError, match="is there already"):
        _fork(published)
    assert (run / "recipe.yaml").is_file()
    generation = orjson.loads((published / MANIFEST).read_bytes())["generation"]
    path = f"run/frozen/{generation}/generation.json"
    (published / path).write_bytes(b'{"constitutions": 3}')
    listed_anew(published, path)
    with pytest.raises(PublishError, match=r"generation\.json is not what cai writes"):
        _fork(published, "other")
    assert sorted(path.name for path in run.parent.iterdir()) == ["mine"]


def test_an_engine_that_is_described_in_another_form_is_told(published: Path) -> None:
    (record,) = published.glob("run/frozen/*/generation.json")
    said = orjson.loads(record.read_bytes())
    said["identities"]["main"]["chat_template"] = 0
    record.write_bytes(orjson.dumps(said))
    listed_anew(published, record.relative_to(published).as_posix())
    with pytest.raises(PublishError, match="does not say who its engine 'main' is"):
        _fork(published)


def test_a_fingerprint_of_another_form_is_told(published: Path) -> None:
    (identity,) = published.glob("run/frozen/engines/*.json")
    path = identity.with_name(f"{identity.stem}.fingerprint.json")
    path.write_bytes(b'{"canaries": 3}')
    listed_anew(published, path.relative_to(published).as_posix())
    with pytest.raises(PublishError, match="does not say who its engine 'main' is"):
        _fork(published)


def test_what_a_fork_stands_on_is_checked_first(published: Path) -> None:
    store = published / "run" / "store" / "segment-000001.jsonl"
    store.write_bytes(store.read_bytes().replace(b'"stop"', b'"stap"', 1))
    with pytest.raises(PublishError, match=r"segment-000001\.jsonl differs"):
        _fork(published)
    (published / "preferences" / "train-00000.parquet").unlink()
    with pytest.raises(PublishError, match=r"not as it was published: run/store"):
        _fork(published)


def test_without_the_store_there_is_nothing_to_fork(tmp_path: Path) -> None:
    place = publish_into(tmp_path, worked(_run(tmp_path)), with_store=False)
    with pytest.raises(PublishError, match="every answer would be asked anew"):
        fork(fetch(str(place)), tmp_path / "runs" / "mine")


# ---------------------------------------------------------------------- served, and by way of the Hub


SERVED = RECIPE.replace("kind: scripted, model: m, script: echo", 'kind: server, model: small, urls: "{url}"')


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer with a chat template."""
    from tests.chat_shapes import CHATML, byte_level, save

    folder = tmp_path_factory.mktemp("tokenizer")
    save(byte_level(), CHATML, folder)
    return folder


@pytest.fixture
def servers(tokenizer: Path) -> Iterator[list[Any]]:
    """Two servers of one model, on two ports."""
    from tests.torture import Server

    found = [Server(tokenizer), Server(tokenizer)]
    yield found
    for server in found:
        server.kill()


def test_the_same_model_served_elsewhere_is_asked_only_for_what_an_edit_changed(
    servers: list[Any], tmp_path: Path
) -> None:
    theirs, mine = servers
    place = publish_into(tmp_path, worked(_run(tmp_path, SERVED.replace("{url}", theirs.url))))
    theirs.kill()
    run = _fork(place)
    assert asyncio.run(_work(run))[0] == Counter()
    assert mine.counters().get("prompts", 0) == 0
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("urls: http://127.0.0.1:8000", f"urls: {mine.url}"))
    inputs_meant(open_run(run), "")  # an address is no edit
    _reword(run, "better by rule 1?", "better by the first rule?")
    asked, _ = asyncio.run(_work(run))
    assert asked == Counter({"judgement": ROWS * PAIRS * ORDERS})


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Warnings while validating:UserWarning")
def test_what_was_pushed_is_rebuilt_and_forked_from_the_hub(published: Path, tmp_path: Path) -> None:
    from cai.publish.hub import Hub
    from cai.publish.push import Target, push
    from tests.hub_server import TOKEN, HubServer, environment

    names = [path for path in published.rglob("*") if path.is_file() and path.name != MANIFEST]
    files = [PublishedFile(path.relative_to(published).as_posix(), path) for path in names]
    summary = orjson.loads((published / "summary.json").read_bytes())

    def make(changelog: Any) -> Any:
        changes: tuple[Change, ...] = tuple(changelog)
        manifest = make_manifest("first", files, changes, summary)
        return [*files, manifest.as_file()], manifest

    with HubServer(tmp_path / "hub") as hub:
        done = push(Hub("org/name", hub.url, TOKEN), Target(), make)
        hub.fail("resolve", "503", 1)
        hub.fail("tree", "cut", 1)
        here = environment(hub, tmp_path / "home")
        network = {key: value for key, value in here.items() if key.startswith(("HF_", "NO_PROXY"))}
        rebuilt = cai("rebuild", "org/name", "--revision", "v1", "--json", cwd=tmp_path, network=network)
        shutil.rmtree(tmp_path / "home")  # what was fetched
        forked = subprocess.run(
            [sys.executable, "-c", FORKS],
            env={**closed_environment(tmp_path), **network},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert rebuilt.returncode == 0, rebuilt.stderr
    said = orjson.loads(rebuilt.stdout)
    assert (said["identical"], said["revision"]) == (True, done.commit)
    assert forked.returncode == 0, forked.stderr
    assert "org/other is not there" in forked.stdout
    assert "org/name at v7 is not there" in forked.stdout
    run = tmp_path / "runs" / "mine"
    assert done.commit in (run / "recipe.yaml").read_text().replace("\n# ", " ")
    assert load_recipe(run / "recipe.yaml").publish.source == "org/name", "else its card says 'local files'"
    assert asyncio.run(_work(run)) == (Counter(), 0)
    assert list((tmp_path / "home").rglob("rows-00000.jsonl.gz"))
    assert not list((tmp_path / "home").rglob("*.parquet")), "a fork needs none"


FORKS = """
from cai.cli.fork import fork
from cai.errors import HubError

fork("org/name", "mine")
for name, revision in (("org/other", None), ("org/name", "v7")):
    try:
        fork(name, "another", revision)
    except HubError as error:
        print(error.problem)
"""


def test_the_verb_writes_under_runs_and_says_what_to_do(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    verb(str(published))
    assert (tmp_path / "runs" / "published" / "recipe.yaml").is_file()
    assert "cai run runs/published" in capsys.readouterr().err.replace("\n", " ")
