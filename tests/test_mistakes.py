"""Mistakes in a recipe are told in plain words: what stands there, what may stand there, and the nearest name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cai.errors import InputError, RecipeError
from cai.recipe import load_recipe
from cai.shipped import find

GOOD = """\
sources:
  - {kind: hh-rlhf, path: data}
engines:
  main: {kind: scripted, model: m}
"""
FOREIGN = re.compile(
    r"(?i)input should|valid (?:integer|string|list|dict|number|boolean)|field required|extra inputs|"
    r"pydantic|literal\[|constrained|str_|int_|unable to parse|NoneType|dictionary|permitted"
)
"""Words of the checking library's own."""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "kind: hh-rlhf",
            "kind: hh",
            "2:6: sources.0.kind: the text 'hh' stands here, it has to be 'hh-rlhf', 'jsonl', 'hub', 'red-team' or 'published', did you mean 'hh-rlhf'?",
        ),
        (
            "kind: scripted",
            "kind: sever",
            "engines.main.kind: the text 'sever' stands here, it has to be 'server', 'local' or 'scripted', did you mean 'server'?",
        ),
        (
            "engines:",
            "feedback: {principles: lots}\nengines:",
            "3:12: feedback.principles: the text 'lots' stands here, it has to be 'all' or a whole number",
        ),
        ("engines:", "feedback: {principles: 0}\nengines:", "it has to be 'all' or 1 or more"),
        ("engines:", "feedback: {pairs: [humna]}\nengines:", "feedback.pairs.0: the text 'humna'"),
        ("engines:", "feedback: {pairs: human}\nengines:", "it has to be a list; write [human]"),
        ("engines:", "feedback: {harm: yes}\nengines:", "it has to be true or false; write true"),
        ("engines:", "seed: '5'\nengines:", "it has to be a whole number; leave the quotes out"),
        ("engines:", "seed: 1.5\nengines:", "seed: 1.5 stands here, it has to be a whole number"),
        ("engines:", "revise: {rounds: 0}\nengines:", "revise.rounds: 0 stands here, it has to be 1 or more"),
        ("engines:", "rounds: 3\nengines:", "unknown key 'rounds', it belongs under 'revise'"),
        ("engines:", "dataset: {tie_threshold: 0.7}\nengines:", "it has to be less than 0.5"),
        ("engines:", "dataset: {clamp: [0.1]}\nengines:", "it has to be at least 2 entries long"),
        ("engines:", "doctor: {probs: x}\nengines:", "unknown key 'probs', did you mean 'probes'?"),
        ("engines:", "doctor: true\nengines:", "it has to be a set of keys and values or false"),
        (
            "engines:",
            "roles: {judge: 3}\nengines:",
            "roles.judge: 3 stands here, it has to be a text or a list",
        ),
        (
            "engines:",
            "roles: {judge: [main, 3]}\nengines:",
            "roles.judge.1: 3 stands here, it has to be a text",
        ),
        ("engines:", "pilot: 20\nengines:", "pilot: 20 stands here, it has to be a set of keys and values"),
        ("engines:", "constitutions: {}\nengines:", "it has to be at least 1 entry long"),
        (
            "kind: hh-rlhf, ",
            "",
            "sources.0.kind is missing: it is 'hh-rlhf', 'jsonl', 'hub', 'red-team' or 'published'",
        ),
        (", model: m", "", "engines.main.model is missing"),
        ("sources:", "sourcs:", "unknown key 'sourcs', did you mean 'sources'?"),
        (
            "engines:",
            "feedback: {reasoning: {samples: 3}}\nengines:",
            "feedback.reasoning: several samples need a temperature",
        ),
        (
            "engines:",
            "feedback: {reasoning: true}\nengines:",
            "true stands here, it has to be a set of keys and values",
        ),
        (
            "engines:",
            "revise: {sampling: {temperature: hot}}\nengines:",
            "revise.sampling.temperature: the text 'hot' stands here, it has to be a number",
        ),
        ("engines:", "revise: {sampling: {temperature: .nan}}\nengines:", "it has to be a finite number"),
        ("path: data", "path: data, limit: -3", "sources.0.limit: -3 stands here, it has to be 1 or more"),
        ("model: m", "model: m, dtype: float8", "did you mean 'float32'?"),
        ("model: m", "model: m, serve: yes", "engines.main.serve: the text 'yes'"),
        ("model: m", "model: m, serve: {port: 99999}", "it has to be 65,535 or less"),
        ("model: m", "model: null", "engines.main.model: nothing stands here, it has to be a text"),
        (
            "sources:\n  - {kind: hh-rlhf, path: data}",
            "sources: []",
            "sources: an empty list stands here, it has to be at least 1 entry long",
        ),
    ],
)
def test_a_mistake_in_a_recipe_is_told_in_plain_words(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert message in str(caught.value)
    assert FOREIGN.search(str(caught.value)) is None


def test_several_mistakes_are_told_at_once_each_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("seed: x\npilot: {rows: many}\n" + GOOD)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert str(caught.value).splitlines() == [
        "2 mistakes:",
        f"  {path}:1:1: seed: the text 'x' stands here, it has to be a whole number",
        f"  {path}:2:9: pilot.rows: the text 'many' stands here, it has to be a whole number",
    ]


@pytest.mark.parametrize(
    ("kind", "suffix", "name", "message"),
    [
        ("principles", ".yaml", "harmles", "There is no harmles, did you mean 'harmless'? Looked at"),
        ("", "", "promts", "There is no promts, did you mean 'prompts'? Looked at"),
        ("principles", ".yaml", "zzz", "There is no zzz; looked at"),
    ],
)
def test_a_file_that_is_not_there_is_told_with_the_nearest_that_is(
    tmp_path: Path, kind: str, suffix: str, name: str, message: str
) -> None:
    (tmp_path / "prompts").mkdir()
    with pytest.raises(InputError) as caught:
        find(name, tmp_path, kind, suffix)
    assert message in str(caught.value)
