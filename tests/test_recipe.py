"""Recipes: defaults are written out, mistakes are named at once with their place."""

from __future__ import annotations

from pathlib import Path

import pytest

from cai.errors import InputError, RecipeError
from cai.recipe import Recipe, load_recipe
from cai.shipped import find, shipped

GOOD = """\
sources:
  - kind: hh-rlhf
    path: data
engines:
  small: {kind: scripted, model: one}
  large: {kind: scripted, model: two}
roles:
  judge: large
"""


def _load(folder: Path, text: str) -> Recipe:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return load_recipe(path)


def test_a_short_recipe_is_enough_and_every_default_is_written_down(tmp_path: Path) -> None:
    recipe = _load(tmp_path, GOOD)
    assert recipe.engine_for("judge") == "large"
    assert recipe.engine_for("revise") == "small"
    assert recipe.roles_used() == ["revise", "judge"]
    assert recipe.model_dump()["pilot"]["rows"] == 200
    assert Recipe.model_validate(recipe.model_dump()) == recipe


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("path: data", "pth: data", r"recipe.yaml:3:5: unknown key 'pth', did you mean 'path'\?"),
        ("kind: hh-rlhf", "kind: hh", r"recipe.yaml:2:5: sources.0.kind"),
        (
            "judge: large",
            "judge: larg",
            r"recipe.yaml:8:3: there is no engine 'larg', did you mean 'large'\?",
        ),
        ("roles:", "seed: -1\nroles:", r"recipe.yaml:7:1: seed"),
        ("roles:", "seed: yes\nroles:", r"recipe.yaml:7:1: seed"),
        ("roles:", "revise: null\nroles:", r"pairs of kind 'revised' need the revise section"),
        ("roles:", "revise: null\nfeedback: null\nroles:", r"nothing to do"),
        ("judge: large", "judge: [large, large]", r"recipe.yaml:8:3: a judge is named twice"),
        (
            "model: two}",
            "model: two, form: completion}\nfeedback: {reasoning: {thinking: true}}",
            r"recipe.yaml:7:24: thinking needs a chat template, and 'large' has the form completion",
        ),
        (
            "roles:",
            "feedback: {reasoning: {samples: 5}}\nroles:",
            r"recipe.yaml:7:12: feedback.reasoning: several samples need a temperature above 0",
        ),
        (
            "roles:",
            "feedback: {pairs: [sampled], samples: 3}\nrevise: null\nroles:",
            r"recipe.yaml:7:30: feedback.samples: samples are compared two by two",
        ),
        ("roles:", "dataset: {clamp: [0.6, 0.4]}\nroles:", r"recipe.yaml:7:11: dataset.clamp: the lower"),
        ("roles:", "dataset: {clamp: [0.1, 0.3]}\nroles:", r"dataset.clamp: .*0.5 lies between"),
        ("roles:", "dataset: {clamp: [0.7, 0.9]}\nroles:", r"dataset.clamp: .*0.5 lies between"),
        ("roles:", "dataset: {clamp: [0.5, 0.5]}\nroles:", r"dataset.clamp: the lower"),
        ("model: one", "model: one, kind: local", r"recipe.yaml:5"),
        ("kind: scripted, model: one", "kind: server, model: one", r"needs urls"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        _load(tmp_path, GOOD.replace(old, new, 1))


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        _load(tmp_path, GOOD.replace("path:", "pth:").replace("model: one", "modell: one"))
    assert caught.value.problem.count("recipe.yaml:") >= 3


def test_the_first_constitution_pattern_that_fits_counts(tmp_path: Path) -> None:
    recipe = _load(
        tmp_path, GOOD + 'constitutions:\n  "helpful-*": helpful-honest\n  harmless-base: harmless\n'
    )
    assert recipe.constitution_for("helpful-online") == "helpful-honest"
    assert recipe.constitution_for("harmless-base") == "harmless"
    assert recipe.constitution_for("other") is None


def test_speed_and_addresses_do_not_decide_answers(tmp_path: Path) -> None:
    plain = _load(tmp_path, GOOD)
    faster = _load(
        tmp_path, GOOD + "run: {rows_in_flight: 7}\npilot: {rows: 3}\ndataset: {tie_threshold: 0.1}\n"
    )
    other = _load(tmp_path, GOOD + "revise: {rounds: 3}\n")
    assert plain.deciding() == faster.deciding()
    assert plain.deciding() != other.deciding()


def test_bounds_for_labels_lie_on_either_side_of_even(tmp_path: Path) -> None:
    for bounds in ([0.4, 0.6], [0.5, 0.9], [0.0, 1.0]):
        assert _load(tmp_path, GOOD + f"dataset: {{clamp: {bounds}}}\n").dataset.clamp == bounds


@pytest.mark.parametrize(
    ("sections", "idle", "felt"),
    [
        ("revise: {critique: false%s}", ", critique_sampling: {max_tokens: 9}", ", rounds: 3"),
        ("feedback: {harm: true%s}", ", sample_sampling: {max_tokens: 9}", ", combine: log-odds"),
        ("feedback: {harm: true%s}", ", samples: 8", ", min_option_mass: 0.4"),
        ("feedback: {harm: true%s}", ", examples: judgements", ", principles: 3"),
        ("feedback: {pairs: [human, sampled]%s}", "", ", samples: 8"),
        ("feedback: {pairs: [human, sampled]%s}", "", ", sample_sampling: {max_tokens: 9}"),
        ("revise: {of: fresh}\nfeedback: {harm: true%s}", "", ", sample_sampling: {max_tokens: 9}"),
        ("revise: {critique: true%s}", "", ", critique_sampling: {max_tokens: 9}"),
    ],
)
def test_what_decides_nothing_under_the_other_values_makes_no_other_generation(
    tmp_path: Path, sections: str, idle: str, felt: str
) -> None:
    plain = _load(tmp_path, GOOD + sections % "" + "\n").deciding()
    assert _load(tmp_path, GOOD + sections % idle + "\n").deciding() == plain
    assert _load(tmp_path, GOOD + sections % felt + "\n").deciding() != plain


def test_files_are_found_beside_the_recipe_then_in_the_project_then_in_the_package(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "one"
    run.mkdir(parents=True)
    assert find("harmless", run, "principles", ".yaml") == shipped("principles/harmless.yaml")
    (tmp_path / "principles").mkdir()
    (tmp_path / "principles" / "harmless.yaml").write_text("x")
    assert find("harmless", run, "principles", ".yaml") == tmp_path / "principles" / "harmless.yaml"
    (run / "principles").mkdir()
    (run / "principles" / "harmless.yaml").write_text("x")
    assert find("harmless", run, "principles", ".yaml") == run / "principles" / "harmless.yaml"
    (run / "mine.yaml").write_text("x")
    assert find("mine.yaml", run, "principles", ".yaml") == run / "mine.yaml"
    with pytest.raises(InputError, match=r"There is no absent; looked at .*principles/absent.yaml"):
        find("absent", run, "principles", ".yaml")


def test_the_working_folder_alone_is_never_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "own.yaml").write_text("x")
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(InputError):
        find("own", tmp_path / "run", "principles", ".yaml")


def test_the_starter_recipe_is_valid() -> None:
    recipe = load_recipe(shipped("starter/recipe.yaml"))
    assert recipe.engines["main"].kind == "server"
