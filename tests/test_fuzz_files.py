"""Files that people write, broken at random: each loads, or is refused with its place; none hangs."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from cai.constitution_file import parse_constitution
from cai.errors import CaiError, TemplateError
from cai.examples import load_examples
from cai.prompting import load_prompts
from cai.recipe import load_recipe
from cai.workbench.importing import import_constitution
from cai.workbench.lint import lint

ROOT = Path(__file__).resolve().parent.parent
CASES = 2_500
"""For each kind of file; four kinds make ten thousand."""
SLOW_S = 5.0
CONSTITUTION = """\
# a comment
constitution: own
title: Own
include: [{constitution: toy, leave_out: [safety]}]
areas: [tone]
forms: {judgement: "Under {text}, which wins?"}
principles:
  - id: kind
    text: >-
      The response is kind,
      and so on.
    tags: [tone]
    weight: 2
    polarity: better
    tests:
      - {prompt: Hi, better: Hello!, worse: Go.}
  - {id: safety-2, text: It is safe., judgement: Which is safer?}
"""
RECIPE = """\
seed: 3
sources:
  - {kind: hh-rlhf, path: data, subsets: [harmless-base], limit: 10}
engines:
  main: {kind: server, model: org/name, urls: ["http://localhost:8000"], concurrency: 8}
roles: {judge: [main]}
constitutions: {"harmless-*": harmless, "*": helpful-honest}
revise: {rounds: 2, sampling: {temperature: 0.7, max_tokens: 100}}
feedback: {pairs: [human, revised], principles: all, min_option_mass: 0.5}
pilot: {rows: 20, min_agreement: 0.5}
"""
SPICE = [
    *(
        "{{",
        "}}",
        "{%",
        "%}",
        "{# ",
        "\t",
        "\x00",
        "\ufeff",
        "\u2028",
        "&a ",
        "*a",
        "!!python/object:os.system ",
        "? ",
    ),
    *(
        "---\n",
        "...\n",
        "null",
        "~",
        "1e999",
        "0x",
        "[" * 40,
        "{a: " * 30,
        "- " * 30,
        "'",
        '"',
        "|\n",
        ">-\n",
        "\r",
    ),
    *(
        "{{ ''.__class__.__mro__ }}",
        "{% for x in range(10**9) %}x{% endfor %}",
        "{{ turns|join }}",
        "{% include 'x' %}",
    ),
    *(
        "{{ response.text }}",
        "{% raw %}",
        "{{ self }}",
        "{{ [].append(1) }}",
        "é",
        "\ud7ff",
        "% ",
        "@",
        "`",
        ": ",
        "#",
    ),
]


def _mutated(text: str, chance: random.Random) -> str:
    """A text with one to four accidents."""
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(text) + 1)
        kind = chance.randrange(6)
        lines = text.splitlines(keepends=True) or [""]
        line = chance.randrange(len(lines))
        if kind == 0:
            text = text[:at] + chance.choice(SPICE) + text[at:]
        elif kind == 1:
            text = text[:at] + text[at + chance.randint(1, 12) :]
        elif kind == 2:
            lines.insert(chance.randrange(len(lines)), lines[line])
            text = "".join(lines)
        elif kind == 3:
            text = "".join(lines[:line] + lines[line + 1 :])
        elif kind == 4:
            lines[line] = chance.choice(["  ", " ", "\t", ""]) + lines[line].lstrip()
            text = "".join(lines)
        else:
            text = (
                text[:at]
                + chr(chance.choice([0, 9, 58, 123, 125, 37, 39, 0x85, 0xFFFD, 0x1F600]))
                + text[at + 1 :]
            )
    return text


def _hold(
    name: str, text: str, load: Callable[[str], object], accident: Callable[[str], str]
) -> Counter[str]:
    """Load `CASES` broken texts; returns how many loaded and how many were refused."""
    fates: Counter[str] = Counter()
    for number in range(CASES):
        broken = accident(text) if number else text
        begun = time.perf_counter()
        try:
            load(broken)
            fates["loaded"] += 1
        except CaiError as error:
            fates["refused"] += 1
            if name not in error.problem:
                raise AssertionError(f"not located: {error.problem!r} for {broken!r}") from error
        assert time.perf_counter() - begun < SLOW_S, broken
    assert fates["loaded"]
    assert fates["refused"] > CASES // 10
    return fates


def _located(name: str, error: CaiError) -> None:
    assert name in error.problem


def _accidents(seed: int) -> Callable[[str], str]:
    chance = random.Random(seed)
    return lambda text: _mutated(text, chance)


def test_broken_constitutions_load_or_are_refused_with_their_place() -> None:
    def load(text: str) -> None:
        lint(parse_constitution(text, ROOT / "principles" / "own.yaml"))

    _hold("own.yaml", CONSTITUTION, load, _accidents(1))


def test_broken_recipes_load_or_are_refused_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"

    def load(text: str) -> None:
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        load_recipe(path)

    _hold("recipe.yaml", RECIPE, load, _accidents(2))


@pytest.mark.parametrize("stage", ["critique", "judgement"])
def test_broken_templates_load_or_are_refused_with_their_place(tmp_path: Path, stage: str) -> None:
    folder = tmp_path / "prompts"
    folder.mkdir()
    (folder / "conversation.j2").write_text((ROOT / "prompts" / "conversation.j2").read_text())
    path = folder / f"{stage}.j2"

    def load(text: str) -> None:
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        load_prompts(folder, "chat", [stage])  # type: ignore[list-item]

    whole = (ROOT / "prompts" / f"{stage}.j2").read_text()
    _hold(".j2", whole, load, _accidents(3 if stage == "critique" else 4))


def test_broken_lists_of_examples_and_imports_are_refused_with_their_place(tmp_path: Path) -> None:
    chance = random.Random(5)
    examples = (ROOT / "prompts" / "examples" / "judgements.yaml").read_text()
    path = tmp_path / "judgements.yaml"
    for _ in range(200):
        path.write_bytes(_mutated(examples, chance).encode("utf-8", "surrogatepass"))
        try:
            load_examples(path, reasoned=False)
        except CaiError as error:
            _located("judgements.yaml", error)
    theirs = tmp_path / "theirs.json"
    for _ in range(500):
        theirs.write_bytes(
            _mutated('{"constitutions": [{"critic": "C?", "revision": "R."}]}', chance).encode(
                "utf-8", "surrogatepass"
            )
        )
        try:
            import_constitution(theirs)
        except CaiError as error:
            _located("theirs.json", error)


def test_a_template_cannot_reach_what_it_is_not_given(tmp_path: Path) -> None:
    whole = (ROOT / "prompts" / "judgement.j2").read_text()
    (tmp_path / "conversation.j2").write_text((ROOT / "prompts" / "conversation.j2").read_text())
    for reach in (
        "{{ response_a.__class__ }}",
        "{{ turns.__init__.__globals__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{% include '../../etc/passwd' %}",
        "{% for i in range(1000000000) %}x{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ cycler.__init__ }}",
        "{{ lipsum.__globals__ }}",
    ):
        (tmp_path / "judgement.j2").write_text(whole.replace("Here are two", reach + "Here are two"))
        begun = time.perf_counter()
        with pytest.raises(TemplateError, match=r"judgement\.j2"):
            load_prompts(tmp_path, "chat", ["judgement"])
        assert time.perf_counter() - begun < SLOW_S
