"""Promises of `cai publish` as a person types it, against a Hub on loopback, in processes of its own where
that matters.

What this module does not know: a push's steps (test_publish_push.py), the card (test_card.py), the gate
(test_gate.py), rebuild and fork (test_rebuild.py, test_fork.py).
"""

from __future__ import annotations

import fcntl
import gzip
import io
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from cai.cli import _verbs, app
from cai.engine.fingerprint import Fingerprint
from cai.errors import CaiError
from cai.frozen import generation_of, load_inputs
from cai.publish.facts import read_facts
from cai.publish.file import PublishedFile
from cai.publish.portable import portable
from cai.publish.prepare import prepare
from cai.publish.rights import statements_of
from cai.publish.tree import published_files
from cai.reading import ReadRun
from cai.recipe import EngineSection, load_recipe
from cai.run_folder import open_run
from cai.settled import declared_digest, frozen_identity
from tests.hub_server import TOKEN, HubServer, environment, loopback_only
from tests.published_tree import worked
from tests.toy_source import write_run

ROOT = Path(__file__).resolve().parent.parent
REPO = "org/name"
SCRIPT = """
from cai.digest import draw


def generate(request):
    if request.labels["stage"] == "critique":
        return "It could be kinder."
    return "A kinder answer, number %d." % (draw(*[m.text for m in request.rendered.messages]) % 100)


def score(request):
    text = request.rendered.messages[0].text
    fine, poor = text.find("A fine answer"), text.find("A poor answer")
    kinder = text.find("A kinder answer")
    better, worse = (kinder, max(fine, poor)) if kinder >= 0 else (fine, poor)
    a = 0.9 if better < worse else 0.1
    return [a * 0.98, (1 - a) * 0.98]
"""
STATED = "publish: {licence: mit, languages: [en], title: Toy}\n"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; tests take a copy of its folder."""
    run = write_run(tmp_path_factory.mktemp("finished"), rows=16)
    (run / "script.py").write_text(SCRIPT)
    (run / "recipe.yaml").write_text((run / "recipe.yaml").read_text() + STATED)
    principles = run / "principles" / "own.yaml"
    principles.write_text(principles.read_text().replace("title: Own", "title: Own\nlicence: CC0-1.0"))
    return worked(run)


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A finished run of one's own."""
    shutil.copytree(finished.parent, tmp_path / "runs")
    return tmp_path / "runs" / finished.name


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A Hub, and this process talking to it and to nothing else."""
    with HubServer(tmp_path / "hub") as hub:
        loopback_only(hub.url)
        talk_to(hub.url, tmp_path, monkeypatch)
        yield hub


def talk_to(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let huggingface_hub talk to this address, and nothing here look up any other."""
    from huggingface_hub import constants

    def look_up(host: Any, *rest: Any, **named: Any) -> Any:
        loopback_only(f"http://{host}")
        return real(host, *rest, **named)

    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "cache"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)


@dataclass(frozen=True)
class Done:
    """What a command ended with and said."""

    code: int
    said: str


def cai(*arguments: str | Path) -> Done:
    """The command in this process."""
    if not app.registered_commands:
        _verbs()
    result = CliRunner().invoke(app, [str(item) for item in arguments])
    error = result.exception
    if isinstance(error, CaiError):
        return Done(1, f"{result.output}{error.problem}\n{error.remedy}")
    if error is not None and not isinstance(error, SystemExit):
        raise error
    return Done(result.exit_code, result.output)


def process(server: HubServer, home: Path, *arguments: str | Path) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "cai", *map(str, arguments)],
        cwd=ROOT,
        env={**environment(server, home), "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def publish(run: Path, *more: str) -> Done:
    return cai("publish", run, "--repo", REPO, *more)


def test_a_push_that_takes_long_is_told(
    run: Path, server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cai.cli.console.PATIENCE_S", 0.5)
    server.fail("commit", "slow", 1)  # a second
    done = publish(run)
    assert f"Pushing to {REPO} ..." in done.said


# ---------------------------------------------------------------------- there and back

COMPARE = """
import sys, json
from datasets import load_dataset
import pyarrow.parquet as pq
from pathlib import Path
repo, folder = sys.argv[1:]
told = {}
for config in sorted(path.name for path in Path(folder).iterdir() if path.is_dir()):
    loaded = load_dataset(repo, config)
    for split, rows in loaded.items():
        files = sorted((Path(folder) / config).glob(f"{split}-*.parquet"))
        local = [row for file in files for row in pq.read_table(file).to_pylist()]
        assert rows.to_list() == local, (config, split)
        told[f"{config}/{split}"] = len(local)
print(json.dumps(told))
"""


def test_a_pushed_run_loads_back_row_by_row(run: Path, tmp_path: Path) -> None:
    with HubServer(tmp_path / "hub") as server:
        pushed = process(server, tmp_path / "home", "publish", run, "--repo", REPO)
        out, err = pushed.communicate(timeout=120)
        assert pushed.returncode == 0, err
        assert f"Pushed version 1, tag v1: {server.url}/datasets/{REPO}" in out
        loaded = subprocess.run(
            [sys.executable, "-c", COMPARE, REPO, str(run / "dataset")],
            env=environment(server, tmp_path / "elsewhere"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert loaded.returncode == 0, loaded.stderr
        told = json.loads(loaded.stdout.splitlines()[-1])
        summary = orjson.loads((run / "dataset" / "summary.json").read_bytes())
        rows = {f"{c}/{s}": count for c, splits in summary["configs"].items() for s, count in splits.items()}
        assert told == rows
        assert {"preferences/train", "sft/train", "traces/train"} <= set(told)
        everything = [out, err, *server.log]
        everything += [body.decode("latin-1") for body in server.files(REPO).values()]
        everything += [path.read_text("latin-1") for path in run.rglob("*") if path.is_file()]
        assert not any(TOKEN in text for text in everything)
        assert not [path for path, body in server.files(REPO).items() if str(tmp_path).encode() in body]


def test_a_second_publish_of_the_same_run_changes_nothing_and_says_so(run: Path, server: HubServer) -> None:
    assert publish(run).code == 0
    before = dict(server.repos[REPO].refs)
    again = publish(run)
    assert again.code == 0
    assert "Nothing to push" in again.said
    assert server.repos[REPO].refs == before
    assert server.calls["commit"] == 1


def test_a_changed_dataset_is_the_next_version_and_diff_shows_it_first(run: Path, server: HubServer) -> None:
    publish(run)
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text() + "dataset: {revision_margin: 0.45}\n")
    shown = publish(run, "--diff")
    assert shown.code == 0, shown.said
    assert "revisions: 16 rows, then 0: 0 added, 16 removed" in shown.said
    assert "-| `revisions` | train 16" in shown.said
    assert server.calls["commit"] == 1
    done = publish(run)
    assert "Pushed version 2, tag v2" in done.said
    assert "revisions/train-00000.parquet" not in server.files(REPO)
    assert "is as it would be pushed" in publish(run, "--diff").said


def test_diff_says_where_only_the_order_of_rows_changed(run: Path, server: HubServer) -> None:
    publish(run)
    path = "revisions/train-00000.parquet"
    table = pq.read_table(pa.BufferReader(server.files(REPO)[path]))
    for rows, told in (
        (table.take(list(range(len(table)))[::-1]), "only their order changed"),
        (table, "in the same order; only the files differ"),
    ):
        into = io.BytesIO()
        pq.write_table(rows, into, compression="none")
        server.write(REPO, {path: into.getvalue()})
        shown = publish(run, "--diff")
        assert shown.code == 0, shown.said
        (line,) = (line for line in shown.said.splitlines() if line.startswith("  revisions:"))
        assert line.startswith("  revisions: the same 16 rows")
        assert line.endswith(told)


def test_json_tells_what_a_push_did(run: Path, server: HubServer) -> None:
    done = publish(run, "--json")
    said = json.loads(done.said[done.said.index("{\n") :])
    assert said["pushed"]["what"] == "pushed"
    assert said["pushed"]["commit"] == server.repos[REPO].refs["refs/tags/v1"]


# ---------------------------------------------------------------------- before anything is sent


def test_a_dry_run_shows_every_file_and_the_card_and_needs_no_network(
    run: Path, server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk_to("http://127.0.0.1:9", run.parent, monkeypatch)
    monkeypatch.delenv("HF_TOKEN")
    dry = publish(run, "--dry-run")
    assert dry.code == 0, dry.said
    assert not server.calls
    shown = set(re.findall(r"^ +[\d.,]+ [kM]?B  (\S+)$", dry.said, re.MULTILINE))
    card = (run / "README.md").read_text()
    assert card.startswith("---\n")
    monkeypatch.undo()
    with HubServer(run.parent / "hub") as hub:
        talk_to(hub.url, run.parent, monkeypatch)
        publish(run)
        files = hub.files(REPO)
    assert shown == set(files) - {".gitattributes"}
    assert files["README.md"].decode() == card


def test_a_dry_run_writes_over_no_page_of_ones_own(run: Path, server: HubServer) -> None:
    page = run / "README.md"
    page.write_text("# What I noted of this run\n")
    assert "README-dry-run.md" in publish(run, "--dry-run").said
    assert page.read_text() == "# What I noted of this run\n"
    page.write_text("---\n{{ title }}\n")
    assert "README-dry-run.md" in publish(run, "--dry-run", "--card", str(page)).said
    assert page.read_text() == "---\n{{ title }}\n"
    assert "Toy" in (run / "README-dry-run.md").read_text()


def test_what_stops_a_push_is_told_before_anything_is_gathered(run: Path, server: HubServer) -> None:
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("licence: mit, ", ""))
    dry = publish(run, "--with-store", "--dry-run")
    assert dry.said.index("stops no-licence") < dry.said.index("run/store/segment-000001.jsonl")
    assert dry.said.rstrip().endswith("The push is stopped by: no-licence.")
    with ReadRun(open_run(run)) as read:
        prepared = prepare(read, REPO, statements_of(read.recipe.publish), with_store=True)
        assert prepared.blocking
        assert not prepared.files
        (run / "place").mkdir()
        assert "run/store/segment-000001.jsonl" in [
            file.path for file in prepared.gathered(read, run / "place").files
        ]


def test_a_reason_that_changes_is_the_next_version(run: Path, server: HubServer) -> None:
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("licence: mit, ", ""))
    publish(run, "--force", "no-licence", "--reason", "for our own eyes")
    done = publish(run, "--force", "no-licence", "--reason", "for the eyes of two")
    assert "Pushed version 2" in done.said
    assert "What was forced, or the reason for it, changed." in done.said
    card = server.files(REPO)["README.md"]
    assert b"for the eyes of two" in card
    assert b"for our own eyes" not in card


def test_a_finding_stops_the_push_until_it_is_forced_with_a_reason(run: Path, server: HubServer) -> None:
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("licence: mit, ", ""))
    stopped = publish(run)
    assert stopped.code == 1
    assert "stops no-licence" in stopped.said
    assert "--force NAME for each, and --reason TEXT" in stopped.said
    assert not server.repos
    assert publish(run, "--dry-run").code == 1
    assert publish(run, "--force", "no-licence").code == 2
    assert "nothing named no-such-thing" in publish(run, "--force", "no-such-thing", "--reason", "x").said
    done = publish(run, "--force", "no-licence", "--reason", "for our own eyes")
    assert done.code == 0, done.said
    manifest = orjson.loads(server.files(REPO)["cai.json"])
    assert manifest["changelog"][0]["forced"] == {"no-licence": "for our own eyes"}
    assert b"for our own eyes" in server.files(REPO)["README.md"]
    again = publish(run, "--force", "no-licence", "--reason", "for our own eyes")
    assert "Nothing to push" in again.said
    assert publish(run, "--license", "cc-by-4.0").code == 0
    assert b"license: cc-by-4.0" in server.files(REPO)["README.md"]


def test_a_run_that_is_being_worked_on_is_not_published(run: Path, server: HubServer) -> None:
    with (run / "store" / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = publish(run)
    assert done.code == 1
    assert "is being worked on" in done.said
    assert not server.repos


@pytest.mark.parametrize(
    "words,said", [(["--reason", "x"], "nothing is forced"), (["--dry-run", "--diff"], "not both")]
)
def test_an_option_that_would_be_ignored_is_told(
    run: Path, server: HubServer, words: list[str], said: str
) -> None:
    done = publish(run, *words)
    assert done.code == 2
    assert said in " ".join(done.said.replace("│", " ").split())
    assert not server.repos


@pytest.mark.parametrize("name", ["name", "org/na me", "org/name.git"])
def test_a_wrong_name_is_told_before_anything_is_made(run: Path, server: HubServer, name: str) -> None:
    shutil.rmtree(run / "dataset")
    done = cai("publish", run, "--repo", name)
    assert done.code == 1
    assert "no repository" in done.said
    assert not (run / "dataset").exists()


def test_what_is_published_with_its_store_is_made_again_from_the_page(run: Path, server: HubServer) -> None:
    assert publish(run, "--with-store").code == 0
    made = cai("rebuild", REPO)
    assert made.code == 0, made.said
    assert "Identical" in made.said
    assert "Nothing to push" in publish(run, "--with-store").said
    without = publish(run)
    assert "Pushed version 2" in without.said
    assert "The source rows and the answers are not published any more." in without.said
    assert "templates changed" not in without.said
    assert not [path for path in server.files(REPO) if path.startswith(("run/rows", "run/store"))]


# ---------------------------------------------------------------------- broken off


def test_ctrl_c_in_an_upload_leaves_the_page_as_it_was_and_the_same_command_goes_on(
    run: Path, tmp_path: Path
) -> None:
    with HubServer(tmp_path / "hub") as server:
        server.fail("upload", "hang", skip=1)
        broken = process(server, tmp_path / "home", "publish", run, "--repo", REPO)
        deadline = time.monotonic() + 60
        while (server.calls["upload"] < 2 or not server.uploaded) and time.monotonic() < deadline:
            assert broken.poll() is None
            time.sleep(0.05)
        broken.send_signal(signal.SIGINT)
        began = time.monotonic()
        out, err = broken.communicate(timeout=60)
        assert broken.returncode == 130, err
        assert time.monotonic() - began < 15
        assert "The same command goes on" in err
        assert "Traceback" not in err
        assert set(server.files(REPO)) == {".gitattributes"}
        kept = set(server.uploaded)
        again = process(server, tmp_path / "home", "publish", run, "--repo", REPO)
        out, err = again.communicate(timeout=120)
        assert again.returncode == 0, err
        assert "Pushed version 1" in out
        assert kept
        assert sum(oid in kept for oid in server.uploaded) == len(kept)


# ---------------------------------------------------------------------- what travels


def edited(run: Path, **changes: Any) -> None:
    """Write another recipe into a run."""
    from ruamel.yaml import YAML

    yaml = YAML(typ="rt")
    recipe = yaml.load((run / "recipe.yaml").read_text())
    for path, value in changes.items():
        place = recipe
        *folders, last = path.split("__")
        for folder in folders:
            place = place[int(folder) if folder.isdigit() else folder]
        place[last] = value
    with (run / "recipe.yaml").open("w") as file:
        yaml.dump(recipe, file)


def files_of(run: Path) -> dict[str, bytes]:
    with ReadRun(open_run(run)) as read:
        return {file.path: file.read() for file in published_files(read)}


def unpacked(file: PublishedFile) -> bytes:
    """What a reader can see in a file, where its bytes are packed."""
    if file.path.endswith(".parquet"):
        return repr(pq.read_table(io.BytesIO(file.read())).to_pylist()).encode() + file.read()
    return gzip.decompress(file.read()) if file.path.endswith(".gz") else file.read()


def test_no_path_of_the_machine_and_no_address_travels(run: Path, tmp_path: Path) -> None:
    edited(run, sources__0__path=str(run / "data"), engines__main__urls=["http://secret.example:8000"])
    for made in ("frozen", "store", "dataset"):
        shutil.rmtree(run / made)
    worked(run)  # begun with these names, so that they are frozen too
    (identity,) = (run / "frozen" / "engines").glob("*.json")
    fingerprint = Fingerprint(((-0.1, -2.3),), "0.9", "/models/mine").record()
    identity.with_name(f"{identity.stem}.fingerprint.json").write_bytes(orjson.dumps(fingerprint))
    (run / "place").mkdir()
    with ReadRun(open_run(run)) as read:
        files = {file.path: unpacked(file) for file in published_files(read, True, run / "place")}
    for word in (str(tmp_path), "secret.example", "/models/mine"):
        assert not [path for path, body in files.items() if word.encode() in body], word
    (known,) = (body for path, body in files.items() if path.endswith(".fingerprint.json"))
    assert orjson.loads(known) == {**fingerprint, "canaries": [[-0.1, -2.3]], "root": ""}
    assert b'# sources[1].path is published as "data"' in files["run/recipe.yaml"].replace(b"'", b'"')


def test_a_path_that_decides_answers_travels_and_is_told() -> None:
    recipe = load_recipe(ROOT / "cai" / "starter" / "recipe.yaml")
    engines = {"main": recipe.engines["main"].model_copy(update={"model": "/models/mine"})}
    made = portable(recipe.model_copy(update={"engines": engines, "constitutions": {"*": "/data/own.yaml"}}))
    assert made.recipe.engines["main"].model == "/models/mine"
    assert [note.partition(" ")[0] for note in made.notes] == ["engines.main.model", "constitutions.*"]


def test_how_a_server_was_started_travels_without_what_is_the_machines_own() -> None:
    section = EngineSection.model_validate(
        {
            "kind": "server",
            "model": "org/model",
            "tokenizer": "/models/tokenizer",
            "serve": {
                "host": "10.1.2.3",
                "python": "/opt/bin/python",
                "arguments": [
                    "--max-model-len", "8192", "--api-key", "sk-1", "--download-dir", "/models",
                    "--tokenizer-mode", "auto", "--max-num-batched-tokens", "512", "--port=81",
                    "--lora-modules", "sql=/models/mine/lora", "--speculative-config", '{"model": "/models/mine/draft"}',
                    "--data-parallel-address", "head-node", "--kv-transfer-config", '{"kv": "10.0.0.7"}',
                ],
            },
        }
    )  # fmt: skip
    recipe = load_recipe(ROOT / "cai" / "starter" / "recipe.yaml").model_copy(
        update={"engines": {"main": section}}
    )
    made = portable(recipe).recipe.engines["main"]
    assert made.tokenizer == "tokenizer"
    assert made.serve is not None
    assert made.serve.arguments == [
        "--max-model-len", "8192", "--tokenizer-mode", "auto", "--max-num-batched-tokens", "512",
    ]  # fmt: skip
    assert (made.serve.python, made.serve.host) == (None, "127.0.0.1")


def test_a_file_whose_name_could_not_be_fetched_again_is_not_published(run: Path) -> None:
    shutil.copytree(ROOT / "prompts", run / "prompts")
    part = run / "prompts" / "conversation.j2"
    part.rename(part.with_name("talk: all.j2"))
    for path in (run / "prompts").glob("*.j2"):
        path.write_text(path.read_text().replace('"conversation.j2"', '"talk: all.j2"'))
    worked(run)
    with ReadRun(open_run(run)) as read, pytest.raises(CaiError, match=r"talk: all\.j2' has a name"):
        published_files(read)


def test_templates_of_both_forms_are_told_apart_where_they_include_files_of_one_name(run: Path) -> None:
    edited(run, engines__base={"kind": "scripted", "model": "b", "form": "completion", "script": "script.py"})
    edited(run, roles={"revise": "base"})
    worked(run)
    with ReadRun(open_run(run)) as read:
        told = read_facts(read, ask_hub=False).templates
    for name in ("conversation.j2", "base/conversation.j2"):
        assert told[name] == (ROOT / "prompts" / name).read_text()


def test_the_published_recipe_has_the_generation_and_the_engines_of_the_original(
    run: Path, tmp_path: Path
) -> None:
    files = files_of(run)
    place = tmp_path / "taken"
    for path, body in files.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(body)
    with ReadRun(open_run(run)) as read:
        original = read.generation.digest
    folder = place / "run" / "frozen" / original
    shutil.copytree(folder / "principles", place / "run" / "principles")
    principles = next((folder / "principles").iterdir())
    shutil.copytree(principles, place / "run" / "principles", dirs_exist_ok=True)
    shutil.copytree(folder / "prompts", place / "run" / "prompts")
    recipe = load_recipe(place / "run" / "recipe.yaml")
    engine = recipe.engines["main"]
    assert f"run/frozen/engines/{declared_digest(engine, place / 'run')}.json" in files
    identity = frozen_identity(place / "run", engine)
    assert identity is not None
    inputs = load_inputs(recipe, place / "run")
    assert generation_of(place / "run", inputs, {"main": identity}).digest == original


def test_only_one_generation_travels(run: Path) -> None:
    principles = run / "principles" / "own.yaml"
    principles.write_text(principles.read_text().replace("rule 2?", "rule 2, please?"))
    worked(run)
    assert len(list((run / "frozen").glob("*/generation.json"))) == 2
    with ReadRun(open_run(run)) as read:
        digest = read.generation.digest
        files = [file.path for file in published_files(read)]
    frozen = {path.split("/")[2] for path in files if path.startswith("run/frozen/")}
    assert frozen == {digest, "engines"}


def test_a_dataset_of_another_generation_is_not_published(run: Path) -> None:
    summary = run / "dataset" / "summary.json"
    summary.write_bytes(summary.read_bytes().replace(b'"generation": "', b'"generation": "0'))
    with ReadRun(open_run(run)) as read, pytest.raises(CaiError, match="is of generation"):
        published_files(read)


def test_equal_runs_give_equal_files(run: Path, finished: Path) -> None:
    assert files_of(run) == files_of(finished)


def test_of_a_review_what_was_answered_travels_and_nothing_that_spoils_the_rest(run: Path) -> None:
    from cai.review import read_key, read_reviewers

    assert cai("review", run, "--sample", "10").code == 0
    assert not [path for path in files_of(run) if path.startswith("review/")]
    key = read_key(run / "review")
    assert key is not None
    answered = [item.item for item in key.items[:4]]
    answers = run / "answers.csv"
    answers.write_text("item,answer\n" + "".join(f"{item},1\n" for item in answered))
    assert cai("review", run, "--answers", answers, "--reviewer", "ann").code == 0
    place = run.parent / "taken"
    place.mkdir()
    for path, body in files_of(run).items():
        if path.startswith("review/"):
            (place / path.removeprefix("review/")).write_bytes(body)
    published = read_key(place)
    assert published is not None
    assert [item.item for item in published.items] == answered
    (ann,) = read_reviewers(place, published)
    assert ann.answers == dict.fromkeys(answered, "1")


# ---------------------------------------------------------------------- trained from the page

TRAIN = """
import sys
from pathlib import Path
from tests.trl_training import train_two_steps
repo, folder, *cases = sys.argv[1:]
for case in cases:
    config, kind = case.split("/")
    trained = train_two_steps(repo, config, Path(folder), kind)
    assert len(trained.losses) == 2, case
    print("trained", case)
"""


@pytest.mark.slow
def test_stock_trl_trainers_train_from_the_page(run: Path, server: HubServer, tmp_path: Path) -> None:
    assert publish(run).code == 0
    cases = ["preferences/DPO", "preferences-human/Reward", "sft/SFT", "unpaired/KTO"]
    trained = subprocess.run(
        [sys.executable, "-c", TRAIN, REPO, str(tmp_path / "scratch"), *cases],
        cwd=ROOT,
        env={**environment(server, tmp_path / "home"), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert trained.returncode == 0, trained.stderr
    told = [line for line in trained.stdout.splitlines() if line.startswith("trained ")]
    assert told == [f"trained {case}" for case in cases]
