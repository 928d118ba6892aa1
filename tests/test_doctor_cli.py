"""`cai doctor` as a person uses it: real processes, exit codes, whole sentences."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cai.doctor.installed import look_around
from tests import command_line
from tests.chat_shapes import HEADERS, byte_level, save
from tests.test_doctor import JUDGE, SABOTEURS, SOUND
from tests.test_server_engine import Small
from tests.toy_source import write_run


def _cai(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return command_line.cai(*words, cwd=cwd, columns=80)


def _run_with(folder: Path, judge: str) -> Path:
    run = write_run(folder, rows=250)
    (run / "script.py").write_text(JUDGE + "\n\n" + judge + "\n")
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("doctor: false\n", ""))
    return run


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    folder = tmp_path_factory.mktemp("small")
    save(byte_level(bos=True), HEADERS, folder)
    server = Small("--tokenizer", str(folder))
    yield server
    server.stop()


def test_a_run_with_a_faulty_judge_ends_with_two_sentences_and_exit_code_1(tmp_path: Path) -> None:
    run = _run_with(tmp_path, SABOTEURS["labels_swapped"])
    done = _cai("run", run)
    assert done.returncode == 1
    assert done.stderr.startswith("cai: labels_swapped: The judge names the wrong response almost always")
    assert "See which response prompts/judgement.j2 shows as A" in done.stderr
    assert "--skip-doctor` goes on all the same" in done.stderr
    assert "Traceback" not in done.stderr
    status = json.loads(_cai("status", run, "--json").stdout)
    assert status["rows"]["finished"] == 0


def test_the_command_that_the_error_names_shows_the_fault(tmp_path: Path) -> None:
    run = _run_with(tmp_path, SABOTEURS["always_b"])
    command = re.search(r"`cai (doctor [^`]+)`", _cai("run", run).stderr)
    assert command is not None
    shown = _cai(*command[1].split())
    assert shown.returncode == 1
    assert "always_b  The judge answers B whichever response stands there." in shown.stdout
    assert "What to do: " in shown.stdout
    assert re.search(r"chose A +0 of 32, 0% \[0%, 11%\]", shown.stdout)


def test_a_sound_judge_gets_a_page_and_exit_code_0(tmp_path: Path) -> None:
    run = _run_with(tmp_path, SOUND)
    shown = _cai("doctor", run)
    assert shown.returncode == 0, shown.stderr
    assert "Fit to judge." in shown.stdout
    assert "The answer is Response" in shown.stdout
    assert all(len(line) <= 80 for line in shown.stdout.splitlines() if "│" not in line)
    report = json.loads(_cai("doctor", run / "recipe.yaml", "--engine", "main", "--json").stdout)
    assert report["fit"] is True
    assert report["engines"][0]["figures"]["right"]["interval"][0] > 0.5
    assert not (run / "doctor.json").exists()  # by hand, nothing is written
    assert not (run / "store").exists()


def test_a_server_is_examined_without_a_recipe(small: Small) -> None:
    shown = _cai("doctor", "--server", small.url)
    assert shown.returncode == 1, shown.stderr  # its answers are hashes
    assert "server: small" in shown.stdout
    assert re.search(r"BOS tokens +1 '<s>'", shown.stdout)
    assert re.search(r"system role +taken", shown.stdout)
    assert re.search(r"requests go to +/v1/completions with token ids", shown.stdout)
    assert "The 20 most probable tokens there:" in shown.stdout
    assert "<|head|>assistant<|end_head|>" in shown.stdout


def test_a_server_that_is_not_there_is_one_sentence() -> None:
    done = _cai("doctor", "--server", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert done.stderr.count("cai: ") >= 1
    assert "Traceback" not in done.stderr


def test_what_a_model_says_cannot_reach_the_terminal_as_commands(tmp_path: Path) -> None:
    judge = "SAYS = 'Neither\\x1b[31m of [bold]them[/bold]'\ndef judge(request): return [0.1, 0.1]"
    run = _run_with(tmp_path, judge)
    shown = _cai("doctor", run)
    assert shown.returncode == 1
    assert "low_option_mass" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert "[bold]them[/bold]" in shown.stdout
    assert "\x1b" not in _cai("run", run).stderr


@pytest.mark.parametrize(
    "words, sentence",
    [
        (("doctor", "nowhere"), "There is no recipe nowhere"),
        (("doctor", "nowhere", "--server", "http://127.0.0.1:9"), "both given"),
    ],
)
def test_mistakes_on_the_command_line_are_told(words: tuple[str, ...], sentence: str) -> None:
    done = _cai(*words)
    assert done.returncode == 1
    assert sentence in done.stderr


@pytest.mark.parametrize(
    "words,said",
    [
        (["--model", "m"], "--model is for --server URL"),
        (["RECIPE", "--base"], "--base is for --server URL"),
        (["--engine", "main"], "--engine is for a recipe or a run"),
        (["--server", "http://127.0.0.1:9", "--engine", "main"], "--engine is for a recipe or a run"),
    ],
)
def test_an_option_that_would_be_ignored_is_told(words: list[str], said: str) -> None:
    done = _cai("doctor", *words)
    assert done.returncode == 1
    assert said in done.stderr


def test_alone_it_tells_what_is_installed_and_what_to_do_about_the_rest(tmp_path: Path) -> None:
    shown = _cai("doctor", cwd=tmp_path)
    assert shown.returncode == 0
    for name in ("cai", "python", "torch", "transformers", "vllm", "gpu", "disk"):
        assert re.search(rf"^(ok|missing|note) +{name} ", shown.stdout, re.MULTILINE), name
    listed = json.loads(_cai("doctor", "--json", cwd=tmp_path).stdout)["installed"]
    assert {item["state"] for item in listed} <= {"ok", "missing", "note"}
    assert all(item["remedy"] for item in listed if item["state"] == "missing")


def test_a_token_of_the_hub_is_found_and_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    assert re.search(r"^note +hub token +none", _cai("doctor", cwd=tmp_path).stdout, re.MULTILINE)
    monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 20)
    shown = _cai("doctor", cwd=tmp_path).stdout
    assert re.search(r"^ok +hub token +found", shown, re.MULTILINE)
    assert "hf_x" not in shown


def test_looking_around_imports_nothing_heavy() -> None:
    code = (
        "import sys, pathlib\nfrom cai.doctor.installed import look_around\nlook_around(pathlib.Path('.'))\n"
        "sys.exit(bool({'torch', 'transformers', 'vllm'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert any(item.name == "disk" for item in look_around(Path()))
