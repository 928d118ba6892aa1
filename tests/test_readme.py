"""What the README and its neighbours say is so: commands, files, words, excerpts, public names.

What this module does not know: what a run makes of its rows; the excerpts come from a real run of
the demo by tests/fill_readme.py.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer.main

import cai
import cai.compare
import cai.dataset
import cai.errors
import cai.store
import cai.toy
from cai.recipe import load_recipe
from tests.fill_readme import README, ROW, excerpts, help_excerpt

ROOT = README.parent
TEXT = README.read_text("utf-8")

GLOSSARY = """
row, conversation, turn, prompt, response, principle, constitution, template, request, completion,
critique, revision, preference pair, judgement, feedback, comparison, recipe, run, store
""".replace("\n", " ").strip()
"""The words that mean one thing everywhere: code, YAML keys, command line, columns."""

MACHINE_WORDS = {
    "a folder of somebody's machine": r"(?<![\w.])/(?:work|root|home/\w+|Users/\w+|mnt|tmp)/",
    "a job's folder": "bash_" + "jobs",
    "how the text came about": r"\b(?:sand" + r"box(?:ed)?|chat" + r"gpt|copi" + r"lot)\b",
    "a secret": r"\b(?:hf_[A-Za-z0-9]{30,}|sk-[A-Za-z0-9]{20,}|AKIA[0-9A-Z]{16})\b",
}
"""What no tracked text may hold, by reason: patterns, case ignored. Split so that they are not found here."""
ALLOWED = re.compile("jinja2(?:.|'s )sand" + "box")
"""jinja2's own name for its restricted environment."""

MADE_LATER = {"runs/"}
"""Folders of the tree that a clone does not hold: `cai` makes them."""

PUBLIC = {
    cai.toy: ["MODEL_FOLDER", "TRUTH_FILE", "read_truth", "truth_key", "write_world"],
    cai.dataset: [
        "CONFIGS",
        "ROUNDING",
        "Column",
        "DatasetSummary",
        "Label",
        "PairAccount",
        "arrow_schema",
        "build_dataset",
        "label",
        "tie_threshold",
    ],
    cai.compare: [
        "Comparison",
        "Estimate",
        "Planted",
        "Rate",
        "compare",
        "print_comparison",
        "write_comparison",
    ],
    cai.store: ["DAMAGE_SHOWN", "SEGMENT_BYTES", "Damage", "Record", "Store"],
}
"""Names that others import; a change here is a change that users see."""

MODEL_IS_TRAINED = 0.9
"""What the embedded model judges rightly, at least, once it is no trial any more (tests/test_toy_model.py)."""


@cache
def _tracked() -> tuple[str, ...]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("this is no git checkout, so nothing says which files belong to the project")
    return tuple(name for name in done.stdout.split("\0") if name and (ROOT / name).is_file())


def _texts() -> dict[str, str]:
    """Every tracked text file by name."""
    found = {}
    for name in _tracked():
        with contextlib.suppress(UnicodeDecodeError):
            found[name] = (ROOT / name).read_bytes().decode("utf-8")
    return found


def _fenced(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


def _code(text: str) -> list[str]:
    """Code of a Markdown text outside of excerpts and fences: spans, and indented lines."""
    text = re.sub(r"<!-- excerpt:.*?<!-- end excerpt -->", "", text, flags=re.DOTALL)
    text = re.sub(r"<!-- tree -->.*?<!-- end tree -->", "", text, flags=re.DOTALL)
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    lines = re.findall(r"^ {4}(.*)", text, re.MULTILINE)
    return [line.split("  #")[0].strip() for line in lines] + re.findall(r"`([^`\n]+)`", text)


def _verbs() -> dict[str, set[str]]:
    """The verbs of the command line, those within a verb as `store verify`, each with its options."""
    from cai.cli import _verbs as enter
    from cai.cli import app

    if not app.registered_commands:
        enter()

    def within(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
        for name, verb in group.commands.items():
            yield before + name, verb
            if hasattr(verb, "commands"):
                yield from within(verb, f"{before}{name} ")

    return {
        name: {option for parameter in verb.params for option in parameter.opts}
        for name, verb in within(typer.main.get_command(app))
    }


def _make_targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    return set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))


# ---------------------------------------------------------------------- excerpts


def test_the_help_in_the_readme_is_what_the_command_prints() -> None:
    assert excerpts(TEXT)["help"] == help_excerpt(), "type: python -m tests.fill_readme"


def test_the_help_lists_every_verb_with_a_sentence() -> None:
    listed = re.findall(r"^  ([a-z][a-z-]*) {2,}(\S.*)$", help_excerpt().split("Commands:")[1], re.MULTILINE)
    assert {name for name, _ in listed} == {name for name in _verbs() if " " not in name}
    assert all(sentence.endswith(".") for _, sentence in listed)


def _trial_model() -> str:
    """Why the demo's excerpts cannot be there yet, or nothing."""
    metrics = ROOT / "cai" / "toy" / "model" / "metrics.json"
    if not (metrics.parent / "model.safetensors").is_file() or not metrics.is_file():
        return "the embedded model is not trained yet, so the demo has nothing to show"
    right = json.loads(metrics.read_text("utf-8"))["judgement_right"]
    if right < MODEL_IS_TRAINED:
        return f"the embedded model is a trial one (it judges {right:.0%} rightly), so the demo has nothing to show"
    return ""


@pytest.mark.skipif(bool(_trial_model()), reason=_trial_model())
def test_every_excerpt_is_filled() -> None:
    found = excerpts(TEXT)
    assert set(found) == {"stories", "comparison", "show", "help"}
    empty = [name for name, content in found.items() if not content]
    assert not empty, "type: make demo && python -m tests.fill_readme"
    assert "What was planted:" in found["stories"]
    assert "The AI agrees with the human label on " in found["comparison"]
    assert "Flips found: " in found["comparison"]
    assert re.search(r"^answer: P\(A\) = 0\.\d{4}, P\(B\) = 0\.\d{4}", found["show"], re.MULTILINE)
    assert f"--row {ROW}`" in TEXT


def test_every_line_that_the_show_excerpt_locates_in_a_file_stands_there() -> None:
    """A template's line stands at the line named; a principle's text, which YAML folds, at it or below."""
    located = re.findall(
        r"^ *((?:prompts|principles)/\S+):(\d+) │ (.+)$", excerpts(TEXT)["show"], re.MULTILINE
    )
    for name, line, text in located:
        lines = (ROOT / name).read_text("utf-8").split("\n")
        below = " ".join(part.strip() for part in lines[int(line) - 1 :])
        place = lines[int(line) - 1] if name.startswith("prompts/") else below
        assert text.removesuffix(" …") in place, f"{name}:{line} does not say {text!r}"


# ---------------------------------------------------------------------- files


def _tree() -> list[str]:
    """The paths that the README's tree names, folders with a slash at the end."""
    inside = TEXT.split("<!-- tree -->\n")[1].split("<!-- end tree -->")[0]
    paths: list[str] = []
    parents: list[str] = []
    for line in inside.strip("\n").split("\n"):
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2 - 2
        parents[depth:] = [name] if name.endswith("/") else []
        paths.append("".join(parents[:depth]) + name)
    return paths


def test_the_file_tree_names_only_what_exists() -> None:
    tracked = _tracked()
    absent = [
        path
        for path in _tree()
        if path not in MADE_LATER and not any(name == path or name.startswith(path) for name in tracked)
    ]
    assert not absent


def test_the_file_tree_names_every_folder_at_the_top_and_every_part_of_the_program() -> None:
    folders = {name.split("/")[0] + "/" for name in _tracked() if "/" in name}
    parts = {
        name.removesuffix("__init__.py") for name in _tracked() if re.match(r"cai/\w+/__init__\.py$", name)
    }
    assert (folders | parts) - set(_tree()) == set()


@pytest.mark.parametrize("name", [name for name in _texts() if name.endswith(".md")])
def test_every_relative_link_leads_somewhere(name: str) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", (ROOT / name).read_text("utf-8"))
    here = [link for link in links if not re.match(r"[a-z]+:", link)]
    broken = [link for link in here if not ((ROOT / name).parent / link).exists()]
    assert not broken


def test_files_that_the_readme_names_in_code_exist() -> None:
    folders = tuple(folder for folder in _tree() if folder.count("/") == 1 and folder not in MADE_LATER)
    named = {word for code in _code(TEXT) for word in code.split() if word.startswith(folders)}
    named |= set(
        re.findall(r"\S+/\S+\.(?:py|md)\b", TEXT.split("<!-- tree -->")[1].split("<!-- end tree")[0])
    )
    absent = {word for word in named if not (ROOT / word).exists()}
    assert len(named) > 2
    assert not absent


@pytest.mark.parametrize("reason", MACHINE_WORDS)
def test_no_text_of_the_project_speaks_of_the_machine_it_was_written_on(reason: str) -> None:
    pattern = re.compile(MACHINE_WORDS[reason], re.IGNORECASE)
    found = [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, text in _texts().items()
        for number, line in enumerate(text.split("\n"), start=1)
        if pattern.search(ALLOWED.sub("", line))
    ]
    assert not found


# ---------------------------------------------------------------------- commands


def test_every_make_target_named_exists() -> None:
    for name in ("README.md", "CONTRIBUTING.md"):
        code = "\n".join(_code((ROOT / name).read_text("utf-8")))
        named = set(re.findall(r"\bmake ([a-z][a-z-]*)", code))
        assert {"test", "test-vllm"} <= named
        assert named <= _make_targets()


def test_every_verb_and_option_named_in_the_docs_exists() -> None:
    verbs = _verbs()
    for name in [name for name in _texts() if name.endswith(".md")]:
        for code in _code((ROOT / name).read_text("utf-8")):
            for verb, rest in re.findall(r"(?:^|&& |; )cai ([a-z][a-z-]*)([^&;]*)", code):
                assert verb in verbs, f"{name}: {code}"
                own = {known.split()[1] for known in verbs if known.startswith(f"{verb} ")}
                if own:
                    inner, _, rest = rest.strip().partition(" ")
                    if not inner or inner.startswith("-"):
                        continue
                    assert set(inner.split("|")) <= own, f"{name}: {code}"
                    verb = f"{verb} {inner.split('|')[0]}"
                options = set(re.findall(r"--[a-z][a-z-]*", rest))
                assert options <= verbs[verb], f"{name}: {code}"
    named = {word for code in _code(TEXT) for word in re.findall(r"^cai ([a-z-]+)", code)}
    assert {"init", "serve", "run", "show"} <= named


def test_a_lone_option_in_the_readme_belongs_to_some_verb() -> None:
    lone = {code for code in _code(TEXT) if re.fullmatch(r"--[a-z-]+", code)}
    assert lone
    assert lone <= set().union(*_verbs().values())


def test_the_extras_that_the_readme_installs_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = set(re.findall(r"'\.\[([a-z]+)\]'", TEXT))
    assert named == {"vllm", "local", "train"}
    assert named <= set(project["optional-dependencies"])


# ---------------------------------------------------------------------- what the README shows


def test_the_recipe_in_the_readme_is_a_recipe(tmp_path: Path) -> None:
    (text,) = _fenced("yaml")
    (tmp_path / "recipe.yaml").write_text(text, "utf-8")
    recipe = load_recipe(tmp_path / "recipe.yaml")
    assert recipe.constitution_for("helpful-base") == "helpful-honest"
    for name in recipe.constitutions.values():
        assert (ROOT / "principles" / f"{name}.yaml").is_file()


def test_the_python_in_the_readme_compiles_and_loads_a_config_that_exists() -> None:
    (code,) = _fenced("python")
    tree = ast.parse(code)
    (call,) = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    config = ast.literal_eval(call.args[1])
    assert config in cai.dataset.CONFIGS


def test_the_readme_describes_every_config_of_the_dataset() -> None:
    table = TEXT.split("| config |")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == set(cai.dataset.CONFIGS)


def test_the_glossary_holds_every_word_with_its_meaning() -> None:
    table = TEXT.split("| word | meaning |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", table, re.MULTILINE)
    words = {word.strip() for names, meaning in rows if len(meaning) > 5 for word in names.split(",")}
    assert words >= {word.strip() for word in GLOSSARY.split(",")}


def test_the_exit_codes_are_those_of_the_command_line() -> None:
    from cai import cli

    said = re.search(r"^Exit codes: (.*)$", TEXT, re.MULTILINE)
    assert said is not None
    codes = set(re.findall(r"\b(\d+) ", said[1]))
    assert codes == {"0", "1", "2", "3", "130"}
    assert codes <= set(re.findall(r"\b\d+\b", cli.__doc__ or ""))


# ---------------------------------------------------------------------- names, licence, changelog


@pytest.mark.parametrize("module", PUBLIC, ids=lambda module: str(module.__name__))
def test_the_public_names_are_these_and_all_of_them_are_there(module: ModuleType) -> None:
    names = PUBLIC[module]
    assert module.__all__ == names
    assert all(hasattr(module, name) for name in names)


def _drawn_errors() -> dict[str, str | None]:
    """The tree in the header of cai/errors.py: each class with the class it hangs on."""
    found: dict[str, str | None] = {}
    above: list[tuple[int, str]] = []
    for line in (cai.errors.__doc__ or "").split("\n"):
        drawn = re.match(r"^([ │├└─]*)([A-Z]\w+Error)\s+\S", line)
        if drawn:
            depth = len(drawn[1])
            above = [(at, name) for at, name in above if at < depth]
            found[drawn[2]] = above[-1][1] if above else None
            above.append((depth, drawn[2]))
    return found


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    classes = {name: kind for name, kind in vars(cai.errors).items() if isinstance(kind, type)}
    real = {name: kind.__base__.__name__ for name, kind in classes.items() if kind.__base__}
    drawn = {name: above or "Exception" for name, above in _drawn_errors().items()}
    assert drawn == real
    assert drawn["EngineDownError"] == "TransientEngineError"
    assert all(issubclass(kind, cai.errors.CaiError) and kind.__doc__ for kind in classes.values())


def test_the_changelog_speaks_of_this_version_or_of_what_is_to_come() -> None:
    titles = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert titles
    assert titles[0] == "Unreleased" or titles[0].split()[0].strip("[]") == cai.__version__


def test_the_licence_is_apache_2_0_everywhere() -> None:
    licence = (ROOT / "LICENSE").read_text("utf-8")
    assert "Apache License" in licence
    assert "Version 2.0, January 2004" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["license"] == "Apache-2.0"
    assert "Apache-2.0" in TEXT


# ---------------------------------------------------------------------- the tool that fills the README


def test_filling_replaces_one_excerpt_and_filling_again_changes_nothing() -> None:
    from tests.fill_readme import fill

    text = "a\n\n<!-- excerpt: help -->\n<!-- end excerpt -->\n\nb\n<!-- excerpt: show -->\nold\n<!-- end excerpt -->\n"
    once = fill(text, "help", "\\1 new")
    assert once == text.replace("help -->\n", "help -->\n\n\\1 new\n\n", 1)
    assert fill(once, "help", "\\1 new") == once
    assert excerpts(once) == {"help": "\\1 new", "show": "old"}


def test_filling_says_what_is_missing_and_leaves_it_alone(tmp_path: Path) -> None:
    copy = tmp_path / "README.md"
    copy.write_text(TEXT, "utf-8")
    words = [sys.executable, "-m", "tests.fill_readme", str(tmp_path / "none"), "--readme", str(copy)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    said = dict(line.split(maxsplit=1) for line in io.StringIO(done.stdout))
    assert said["help"].strip() == "unchanged"
    assert all(said[name].startswith("missing: ") for name in ("stories", "comparison", "show"))
    assert copy.read_text("utf-8") == TEXT
