"""Constitution files: includes, overrides, forms made from a principle's text, mistakes with their places."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cai.constitution_file import load_constitution, parse_constitution, schema
from cai.errors import ConstitutionError
from cai.principle import FORMS, Constitution

ROOT = Path(__file__).resolve().parent.parent
BASE = """\
constitution: base
title: Base
principles:
  - id: kind
    text: The response is kind.
    critique: Is it kind?
    revision: Make it kind.
    judgement: Which is kinder?
    tags: [tone]
  - id: brief
    text: The response is brief.
"""


def _write(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


def _load(folder: Path, text: str, name: str = "own") -> Constitution:
    _write(folder, "base", BASE)
    return load_constitution(_write(folder, name, f"constitution: {name}\ntitle: Own\n" + text))


def _refused(folder: Path, text: str) -> str:
    with pytest.raises(ConstitutionError) as caught:
        _load(folder, text)
    return caught.value.problem


def _by_id(constitution: Constitution, name: str) -> dict[str, str]:
    found = next(p for p in constitution.principles if p.id == name)
    return {form: getattr(found, form) for form in FORMS}


def test_a_form_that_is_left_out_is_made_from_the_text(tmp_path: Path) -> None:
    own = _load(tmp_path, "principles:\n  - {id: brief, text: The response is brief.}\n")
    forms = _by_id(own, "brief")
    assert "Which response keeps this rule better?" in forms["judgement"]
    for form in ("critique", "revision", "judgement"):
        assert "The response is brief." in forms[form]
        assert "{text}" not in forms[form]
    value = own.value(own.principles[0], "critique")
    assert value.origin == f"{tmp_path.name}/own.yaml:4 made by forms/default.yaml:3"


def test_a_question_for_the_worse_response_is_made_where_the_polarity_says_so(tmp_path: Path) -> None:
    own = _load(tmp_path, "principles:\n  - {id: rude, text: It is polite., polarity: worse}\n")
    assert "breaks this rule more?" in own.principles[0].judgement


def test_a_constitution_brings_stand_ins_of_its_own(tmp_path: Path) -> None:
    text = "forms:\n  judgement: 'Under \"{text}\", which wins?'\nprinciples:\n  - {id: brief, text: Be brief.}\n"
    own = _load(tmp_path, text)
    assert own.principles[0].judgement == 'Under "Be brief.", which wins?'
    assert own.principles[0].critique.startswith("Here is a rule")


@pytest.mark.parametrize(
    ("form", "fault"),
    [
        ("Which is {textt}?", r"forms.judgement uses {textt}; the one name it may use is {text}"),
        ("Which is better?", r"forms.judgement never uses {text}"),
    ],
)
def test_a_stand_in_with_a_wrong_name_is_refused(tmp_path: Path, form: str, fault: str) -> None:
    said = _refused(tmp_path, f"forms:\n  judgement: '{form}'\nprinciples:\n  - {{id: a, text: A.}}\n")
    assert "own.yaml:4:3" in said
    assert fault in said


def test_included_principles_come_first_and_may_be_left_out(tmp_path: Path) -> None:
    own = _load(tmp_path, "include: [base]\nprinciples:\n  - {id: own, text: Own.}\n")
    assert [p.id for p in own.principles] == ["kind", "brief", "own"]
    own = _load(tmp_path, "include: [{constitution: base, leave_out: [brief]}]\n")
    assert [p.id for p in own.principles] == ["kind"]
    assert set(own.files) == {"own.yaml", "base.yaml", "forms/default.yaml"}


def test_a_shipped_constitution_is_included_by_its_name(tmp_path: Path) -> None:
    own = _load(tmp_path, "include: [harmless]\nprinciples:\n  - {id: own, text: Own.}\n")
    shipped = load_constitution(ROOT / "principles" / "harmless.yaml")
    assert [p.id for p in own.principles] == [p.id for p in shipped.principles] + ["own"]
    assert own.value(own.principles[0], "text").origin.startswith("principles/harmless.yaml:")


def test_an_override_changes_what_it_says_and_keeps_the_rest_and_the_place(tmp_path: Path) -> None:
    text = "include: [base]\nprinciples:\n  - {id: kind, override: true, judgement: Which is warmer?, weight: 2}\n"
    own = _load(tmp_path, text)
    kind = own.principles[0]
    assert (kind.id, kind.judgement, kind.weight, kind.tags) == ("kind", "Which is warmer?", 2.0, ["tone"])
    assert kind.critique == "Is it kind?"
    assert own.value(kind, "judgement").origin == f"{tmp_path.name}/own.yaml:5"
    assert own.value(kind, "critique").origin == f"{tmp_path.name}/base.yaml:6"


def test_an_overridden_text_makes_those_forms_anew_that_were_made_from_it(tmp_path: Path) -> None:
    text = "include: [base]\nprinciples:\n  - {id: brief, override: true, text: The response is short.}\n  - {id: kind, override: true, text: It is gentle.}\n"
    own = _load(tmp_path, text)
    assert "The response is short." in _by_id(own, "brief")["critique"]
    assert _by_id(own, "kind")["critique"] == "Is it kind?"


def test_what_is_reached_on_two_ways_is_there_once(tmp_path: Path) -> None:
    _write(tmp_path, "left", "constitution: left\ntitle: L\ninclude: [base]\n")
    _write(tmp_path, "right", "constitution: right\ntitle: R\ninclude: [base]\n")
    own = _load(tmp_path, "include: [left, right]\n")
    assert [p.id for p in own.principles] == ["kind", "brief"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("include: [baze]\n", r"own.yaml:3:11: There is no baze"),
        ("include: [baze]\n", r"did you mean 'base'"),
        (
            "include: [{constitution: base, leave_out: [kin]}]\n",
            r"base has no principle 'kin', did you mean 'kind'",
        ),
        (
            "include: [base]\nprinciples:\n  - {id: kind, text: x}\n",
            r"own.yaml:5:6: the id 'kind' is taken by",
        ),
        ("include: [base]\nprinciples:\n  - {id: kind, text: x}\n", r"write override: true"),
        (
            "include: [base]\nprinciples:\n  - {id: kid, override: true, text: x}\n",
            r"no included principle has the id 'kid' to override, did you mean 'kind'",
        ),
        ("principles:\n  - {id: a, text: x, weight: 0}\n", r"own.yaml:4:22: principles.0.weight"),
        ("principles:\n  - {id: a, text: x, weight: -1}\n", r"principles.0.weight"),
        ("principles:\n  - {id: a, critique: x}\n", r"own.yaml:4:6: the principle 'a' has no text"),
        ("principles: []\n", r"there are no principles"),
        ("principles:\n  - {id: a, text: x, polarity: bad}\n", r"principles.0.polarity"),
        (
            "principles:\n  - {id: a, text: x, tests: [{prompt: [], better: x, worse: y}]}\n",
            r"must end with a turn of the user",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place_and_the_nearest_name(
    tmp_path: Path, text: str, fault: str
) -> None:
    assert fault in _refused(tmp_path, text)


def test_a_circle_of_includes_is_named_whole(tmp_path: Path) -> None:
    _write(tmp_path, "other", "constitution: other\ntitle: O\ninclude: [own]\n")
    said = _refused(tmp_path, "include: [other]\n")
    assert "in a circle: own.yaml > other.yaml > own.yaml" in said
    assert "in a circle: own.yaml > own.yaml" in _refused(tmp_path, "include: [own]\n")


def test_mistakes_of_every_kind_and_file_are_named_at_once(tmp_path: Path) -> None:
    _write(tmp_path, "broken", "constitution: broken\ntitle: B\nprinciples:\n  - {id: a, txet: x}\n")
    said = _refused(
        tmp_path,
        "include: [broken, nowhere]\nprinciples:\n  - {id: b, text: '{{ x }}'}\n  - {id: b, text: y}\n",
    )
    for fault in (
        "broken.yaml:4:13: unknown key 'txet', did you mean 'text'",
        "no nowhere",
        "template marks",
        "taken by",
    ):
        assert fault in said


def test_two_files_of_one_name_are_not_mixed_up(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    _write(inner, "base", BASE.replace("kind", "warm"))
    assert "another constitution called base.yaml" in _refused(tmp_path, "include: [base, inner/base]\n")


def test_tests_of_a_principle_are_kept_and_change_nothing_that_is_asked(tmp_path: Path) -> None:
    plain = "principles:\n  - id: kind\n    text: Be kind.\n"
    tests = "    tests:\n      - {prompt: Hello, better: Hi!, worse: Go.}\n      - {prompt: [{role: user, text: Hey}], better: Hi!, worse: Go.}\n"
    without, with_tests = _load(tmp_path, plain), _load(tmp_path, plain + tests)
    assert without.digest == with_tests.digest
    first, second = with_tests.principles[0].tests
    assert (first.turns[0].text, first.better, first.worse) == ("Hello", "Hi!", "Go.")
    assert second.turns[0].text == "Hey"


def test_a_text_can_be_read_as_if_it_were_saved(tmp_path: Path) -> None:
    path = _write(tmp_path, "base", BASE)
    assert parse_constitution(BASE.replace("brief", "short"), path).principles[1].id == "short"


def test_the_schema_knows_every_key_and_accepts_the_shipped_files() -> None:
    made = schema()
    assert set(made["properties"]) == {
        "constitution",
        "title",
        "description",
        "licence",
        "include",
        "areas",
        "forms",
        "principles",
    }
    assert all("description" in item for item in made["$defs"]["PrincipleEntry"]["properties"].values())
    kept = ROOT / "principles" / "schema.json"
    assert json.loads(kept.read_text()) == made, (
        "write it anew: cai principles schema > principles/schema.json"
    )


DEFAULT_FORMS = """\
critique: "Where does it break: {text}"
revision: "Mend it: {text}"
judgement: "Which keeps it: {text}"
judgement_worse: "Which breaks it: {text}"
"""


def _plain(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "own.yaml"
    path.write_text("constitution: own\ntitle: Own\nprinciples:\n- {id: kind, text: Be kind.}\n", "utf-8")
    return path


def test_a_folders_own_default_forms_stand_in_for_those_of_the_package(tmp_path: Path) -> None:
    path = _plain(tmp_path)
    assert "forms/default.yaml" in load_constitution(path).files  # the package's
    (tmp_path / "forms").mkdir()
    (tmp_path / "forms" / "default.yaml").write_text(DEFAULT_FORMS, "utf-8")
    constitution = load_constitution(path)
    assert constitution.principles[0].judgement == "Which keeps it: Be kind."
    assert constitution.files["forms/default.yaml"] == DEFAULT_FORMS
    assert constitution.origins["kind", "judgement"].endswith("made by forms/default.yaml:3")


def test_default_forms_that_nothing_was_made_by_are_no_file_of_a_constitution(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(
        "constitution: own\ntitle: Own\nprinciples:\n- {id: kind, text: Be kind., critique: C, revision: R, judgement: J}\n",
        "utf-8",
    )
    assert list(load_constitution(path).files) == ["own.yaml"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("critique: 'a {text}'\n", "there is no revision"),
        (DEFAULT_FORMS.replace("Mend it: {text}", "Mend it"), "default.yaml:2:1: revision never uses {text}"),
        (DEFAULT_FORMS.replace("Mend it: {text}", "{text} {name}"), "uses {name}"),
        (DEFAULT_FORMS + "judgment: 'x {text}'\n", "judgment"),
        ("- a\n", "default.yaml"),
    ],
)
def test_a_mistake_in_a_folders_default_forms_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = _plain(tmp_path)
    (tmp_path / "forms").mkdir()
    (tmp_path / "forms" / "default.yaml").write_text(text, "utf-8")
    with pytest.raises(ConstitutionError) as caught:
        load_constitution(path)
    assert said in str(caught.value)
