"""A key is nowhere: not in any file that a run writes, not in what it prints, whatever goes wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chat_shapes import CHATML, byte_level, save
from tests.torture import RECIPE, Server
from tests.toy_source import write_constitution, write_rows

KEY = "sk-planted-key-5521"
PASSWORD = "planted-password-8842"
CAI = [sys.executable, "-c", "from cai.cli import main; main()"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A small server that wants the key."""
    folder = tmp_path_factory.mktemp("tokenizer")
    save(byte_level(), CHATML, folder)
    made = Server(folder, api_key=KEY)
    yield made
    made.kill()


def _run_folder(folder: Path, url: str, retry_s: float) -> Path:
    run = folder / "runs" / "test"
    run.mkdir(parents=True)
    write_rows(run, 6)
    write_constitution(run, principles=2)
    recipe = RECIPE.format(url=url, timeout=3).replace("retry_s: 60", f"retry_s: {retry_s}")
    (run / "recipe.yaml").write_text(recipe)
    return run


def _cai(*words: object, key: str = KEY) -> tuple[int, str]:
    environment = {**os.environ, "CAI_API_KEY": key}
    done = subprocess.run(
        [*CAI, *map(str, words)],
        capture_output=True,
        text=True,
        env=environment,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def _nowhere(run: Path, words: str, recipe: bool = True) -> None:
    """Neither in what was printed nor in any file; `recipe`: whether the person's own file is looked at."""
    for secret in (KEY, PASSWORD):
        assert secret not in words
        for path in run.rglob("*"):
            if path.is_file() and (recipe or path != run / "recipe.yaml"):
                assert secret.encode() not in path.read_bytes(), path


def test_a_key_is_in_no_file_and_no_word_of_a_run_with_errors(server: Server, tmp_path: Path) -> None:
    run = _run_folder(tmp_path, server.url, retry_s=0.5)
    said = ""
    for kind in ("500", "401", "error-inside", "nan"):
        server.fault(kind, rate=0.5)
        said += _cai("run", run)[1]
    server.fault()
    code, words = _cai("run", run)
    assert code == 0, words
    for verb in (("status",), ("show", "--row", "1", "--full"), ("compare",), ("doctor",)):
        said += _cai(verb[0], run, *verb[1:])[1]
    _nowhere(run, said + words)


def test_a_server_that_repeats_a_wrong_key_does_not_get_it_printed(server: Server, tmp_path: Path) -> None:
    run = _run_folder(tmp_path, server.url, retry_s=0.5)
    code, words = _cai("run", run, key=f"{KEY}-but-wrong")
    assert code == 1
    assert "401" in words or "key" in words
    _nowhere(run, words)


def test_a_password_in_an_address_stays_in_the_recipe_that_a_person_wrote(
    server: Server, tmp_path: Path
) -> None:
    address = server.url.replace("http://", f"http://user:{PASSWORD}@")
    run = _run_folder(tmp_path, address, retry_s=0.5)
    said = _cai("run", run)[1]
    server.fault("500", rate=0.5)
    said += _cai("run", run)[1]
    server.fault()
    said += _cai("run", run)[1] + _cai("status", run)[1] + _cai("doctor", run)[1]
    _nowhere(run, said, recipe=False)
