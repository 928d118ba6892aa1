"""A wheel built from the repository and installed elsewhere is the whole program.

It is built from a copy of the tracked files and used from an unrelated folder, in processes of
their own that are given only the installed folder, ahead of what the environment has.

What this module does not know: what the principles, templates and weights are worth.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path

import pytest

from cai import __version__

ROOT = Path(__file__).resolve().parent.parent
WHEEL_MIB = 12
HEAVY = {"torch", "transformers", "vllm", "datasets", "sklearn", "statsmodels", "scipy"}

RECIPE = """\
sources:
  - {kind: jsonl, path: pairs.jsonl}
engines:
  main: {kind: scripted, model: echo, script: echo}
"""


@dataclass(frozen=True)
class Installed:
    """A copy of the tracked files, its wheel, where that is installed, an unrelated working folder."""

    copy: Path
    wheel: Path
    folder: Path
    elsewhere: Path

    def run(self, *words: object) -> subprocess.CompletedProcess[str]:
        """Run a command with the installed folder first on Python's path."""
        return subprocess.run(
            [str(word) for word in words],
            capture_output=True,
            text=True,
            cwd=self.elsewhere,
            env={**os.environ, "PYTHONPATH": str(self.folder), "COLUMNS": "100", "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            check=False,
        )

    def cai(self, *words: object) -> subprocess.CompletedProcess[str]:
        """Run the installed `cai` command."""
        return self.run(self.folder / "bin" / "cai", *words)

    def python(self, code: str) -> str:
        """Run Python code; returns what it prints."""
        done = self.run(sys.executable, "-c", code)
        assert done.returncode == 0, done.stderr
        return done.stdout


def _tracked() -> list[str]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("this is no git checkout, so nothing says which files belong to the project")
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def _places(tracked: list[str]) -> dict[str, str]:
    """Where each tracked file belongs in the wheel, by its place in the repository."""
    shipped = {
        name: f"cai/shipped/{name}" for name in tracked if name.startswith(("principles/", "prompts/"))
    }
    return {name: name for name in tracked if name.startswith("cai/")} | shipped


def _check(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("wheel")
    copy, elsewhere = folder / "copy", folder / "elsewhere"
    elsewhere.mkdir()
    for name in _tracked():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, copy / name)
    here = ["--no-isolation"] if importlib.util.find_spec("hatchling") else []
    build = [sys.executable, "-m", "build", "--wheel", *here, "--outdir", str(folder / "dist"), str(copy)]
    _check(subprocess.run(build, capture_output=True, text=True, cwd=elsewhere, check=False))
    (wheel,) = (folder / "dist").glob("*.whl")
    target = folder / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    install = [*pip, "--no-index", "--target", str(target), str(wheel)]
    _check(subprocess.run(install, capture_output=True, text=True, cwd=elsewhere, check=False))
    return Installed(copy, wheel, target, elsewhere)


@pytest.fixture
def bare_run(installed: Installed) -> Path:
    """A run's folder with a small JSON-lines source and nothing else of a project around it."""
    run = installed.elsewhere / "bare"
    run.mkdir(exist_ok=True)
    pairs = [
        {"prompt": f"How do I wash a window, try {i}?", "chosen": f"With water {i}.", "rejected": f"No {i}."}
        for i in range(6)
    ]
    (run / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs), "utf-8")
    (run / "recipe.yaml").write_text(RECIPE, "utf-8")
    return run


def test_the_wheel_holds_the_tracked_files_of_the_program_and_nothing_else(installed: Installed) -> None:
    places = _places(_tracked())
    with zipfile.ZipFile(installed.wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert held == set(places.values())
        differ = [
            name
            for name, place in places.items()
            if archive.read(place) != (installed.copy / name).read_bytes()
        ]
    assert not differ


def test_the_wheel_is_small_and_holds_no_tests_and_no_runs(installed: Installed) -> None:
    assert installed.wheel.stat().st_size <= WHEEL_MIB * 2**20
    with zipfile.ZipFile(installed.wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
        folders = {part for name in archive.namelist() for part in name.split("/")[:-1]}
    assert tops == {"cai", f"cai-{__version__}.dist-info"}
    assert not folders & {"tests", "runs", "__pycache__"}


def test_the_wheel_is_typed_and_has_the_command_and_the_licence(installed: Installed) -> None:
    with zipfile.ZipFile(installed.wheel) as archive:
        about = f"cai-{__version__}.dist-info"
        names = archive.namelist()
        entries = ConfigParser()
        entries.read_string(archive.read(f"{about}/entry_points.txt").decode())
        metadata = archive.read(f"{about}/METADATA").decode()
    assert "cai/py.typed" in names
    assert f"{about}/licenses/LICENSE" in names
    assert dict(entries["console_scripts"]) == {"cai": "cai.cli:main"}
    assert "License-Expression: Apache-2.0" in metadata
    assert "Requires-Python: >=3.11" in metadata


def test_what_is_imported_is_the_wheel_and_not_the_repository(installed: Installed) -> None:
    places = ast.literal_eval(
        installed.python("import cai, cai.shipped; print([cai.__file__, cai.shipped.__file__])")
    )
    assert all(Path(place).is_relative_to(installed.folder) for place in places)


def test_an_installed_program_finds_everything_that_is_shipped(installed: Installed) -> None:
    tracked = _tracked()
    names = [name for name in tracked if name.startswith(("principles/", "prompts/"))]
    names += ["starter/recipe.yaml", "toy/recipe.yaml", "toy/model", "toy/probes.yaml", "doctor/probes.yaml"]
    code = f"from cai.shipped import shipped; print([str(shipped(name)) for name in {names!r}])"
    found = [Path(place) for place in ast.literal_eval(installed.python(code))]
    assert len(found) == len(names) > 10
    assert all(path.exists() and path.is_relative_to(installed.folder) for path in found)

    model = Path(installed.python("from cai.toy import MODEL_FOLDER; print(MODEL_FOLDER)").strip())
    assert model.is_relative_to(installed.folder)
    expected = {Path(name).name for name in tracked if name.startswith("cai/toy/model/")}
    assert expected <= {path.name for path in model.iterdir()}
    assert (model / "model.safetensors").is_file() == ("model.safetensors" in expected)


def test_constitutions_templates_of_both_forms_and_worked_judgements_load(installed: Installed) -> None:
    code = (
        "from cai.constitution_file import load_constitution\n"
        "from cai.examples import load_examples\n"
        "from cai.prompting import load_prompts\n"
        "from cai.shipped import find, shipped\n"
        "load_examples(find('judgements', None, 'prompts/examples', '.yaml'), reasoned=True)\n"
        "for form in ('chat', 'completion'): load_prompts(shipped('prompts'), form)\n"
        "for path in shipped('principles').glob('*.yaml'): print(load_constitution(path).name)"
    )
    names = {Path(name).stem for name in _tracked() if Path(name).match("principles/*.yaml")}
    assert set(installed.python(code).split()) == names


def test_cai_init_writes_a_project_whose_recipe_names_what_is_there(installed: Installed) -> None:
    done = installed.cai("init", "project")
    _check(done)
    project = installed.elsewhere / "project"
    assert f"cd {project.name}" in done.stderr
    code = (
        "from pathlib import Path\n"
        "from cai.frozen import load_inputs\n"
        "from cai.recipe import load_recipe\n"
        "run = Path('project/runs/first').resolve()\n"
        "recipe = load_recipe(run / 'recipe.yaml')\n"
        "inputs = load_inputs(recipe, run)\n"
        "print([str(inputs.prompts_folder), sorted(inputs.constitutions)])"
    )
    prompts, constitutions = ast.literal_eval(installed.python(code))
    assert Path(prompts) == project / "prompts"
    for name in constitutions:
        copied = project / "principles" / f"{name}.yaml"
        assert copied.read_bytes() == (installed.copy / "principles" / copied.name).read_bytes()
    assert "already holds" in installed.cai("init", "project").stderr


def test_cai_run_works_end_to_end_with_what_the_wheel_holds(installed: Installed, bare_run: Path) -> None:
    done = installed.cai("run", bare_run.name)
    _check(done)
    assert "6 of 6 rows" in done.stderr
    assert "Agreement with the human labels" in done.stdout
    assert json.loads((bare_run / "comparison.json").read_text("utf-8"))["rows"] == 6
    status = json.loads(installed.cai("status", bare_run.name, "--json").stdout)
    assert status["rows"]["finished"] == 6
    shown = installed.cai("show", bare_run.name, "--row", 1, "--full")
    assert "prompts/judgement.j2:" in shown.stdout
    assert "principles/harmless.yaml:" in shown.stdout


def test_help_needs_none_of_the_heavy_packages(installed: Installed) -> None:
    code = (
        "import sys\n"
        "from cai.cli import main\n"
        "sys.argv = ['cai', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print({HEAVY!r} & set(sys.modules) or 'light')"
    )
    printed = installed.python(code)
    assert printed.startswith("Usage: cai ")
    assert printed.splitlines()[-1] == "light"


def test_a_report_is_written_with_what_the_wheel_holds(installed: Installed, bare_run: Path) -> None:
    _check(installed.cai("run", bare_run.name))
    _check(installed.cai("report", bare_run.name))
    assert (bare_run / "report.html").read_text("utf-8").startswith("<!doctype html>")
    assert (bare_run / "report.md").is_file()
