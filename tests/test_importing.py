"""Import: other people's constitutions, word for word, with what does not map reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cai.constitution_file import parse_constitution
from cai.errors import ConstitutionError
from cai.workbench.importing import NOT_STATED, as_yaml, import_constitution

SHARED = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
PAPER = SHARED / "cai-paper"
needs_samples = pytest.mark.skipif(not PAPER.is_dir(), reason="the sample files are not there")


def _file(folder: Path, data: Any, name: str = "theirs.json") -> Path:
    path = folder / name
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def _back(path: Path) -> list[dict[str, Any]]:
    """What a constitution file made from an import says, as dictionaries."""
    made = parse_constitution(as_yaml(import_constitution(path), "own", "Own"), Path("own.yaml"))
    return [principle.model_dump() for principle in made.principles]


def test_the_papers_revision_instructions_lose_their_labels_and_nothing_else(tmp_path: Path) -> None:
    item = {
        "prompt": ["\n\nCritiqueRequest: Find  the harm: a #1\nthing.\n\nCritique:"],
        "edit_request": "\n\nRevisionRequest: Please fix it.\n\nRevision:",
    }
    [principle] = _back(_file(tmp_path, {"harmful0": item}))
    assert principle["id"] == "harmful0"
    assert principle["critique"] == "Find  the harm: a #1\nthing."
    assert principle["revision"] == "Please fix it."
    assert "Which response keeps this rule better?" in principle["judgement"]
    assert principle["licence"] == NOT_STATED


def test_what_has_no_place_is_reported_and_kept(tmp_path: Path) -> None:
    data = {
        "constitutions": [{"critic": "C?", "revision": "R.", "note": 7}, {"no": 1}],
        "system_chat": [[1], [2]],
    }
    made = import_constitution(_file(tmp_path, data))
    assert [entry["critique"] for entry in made.principles] == ["C?"]
    assert made.left_over == {"constitutions": [{"note": 7}, {"no": 1}], "system_chat": [[1], [2]]}
    assert "system_chat (2 items) has no place in a constitution" in made.reports
    assert any("no judgement: it is made from their text" in line for line in made.reports)


def test_an_entry_without_a_critique_request_is_left_over(tmp_path: Path) -> None:
    empty = {"prompt": [], "edit_request": "Please fix it."}
    made = import_constitution(_file(tmp_path, {"a": empty, "b": {**empty, "prompt": ["Find it."]}}))
    assert [entry["id"] for entry in made.principles] == ["b"]
    assert made.left_over == {"a": empty}
    assert "a has no critique request and is left over" in made.reports


def test_judgement_instructions_lose_the_word_options(tmp_path: Path) -> None:
    [principle] = _back(_file(tmp_path, ["\nPlease choose the better one. Options:"]))
    assert principle["judgement"] == "Please choose the better one."


@pytest.mark.parametrize("text", ['["Be kind.", "Be kind."]', "# ours\nBe kind.\n\n  Be kind.\n"])
def test_a_list_of_sentences_becomes_rules(tmp_path: Path, text: str) -> None:
    principles = _back(_file(tmp_path, text, "rules.txt"))
    assert [p["text"] for p in principles] == ["Be kind.", "Be kind."]
    assert len({p["id"] for p in principles}) == 2


def test_worked_examples_are_no_principles(tmp_path: Path) -> None:
    with pytest.raises(ConstitutionError, match="1 worked examples and no principles"):
        import_constitution(_file(tmp_path, [{"prompt": "x", "corrects": ["y"], "incorrects": ["z"]}]))


@pytest.mark.parametrize("data", ["{", "[1, 2]", '{"a": 1}', "", "[]"])
def test_anything_else_is_refused_by_name(tmp_path: Path, data: str) -> None:
    with pytest.raises(ConstitutionError, match=r"theirs\.json"):
        import_constitution(_file(tmp_path, data))


@needs_samples
@pytest.mark.parametrize(
    ("name", "kind", "form"),
    [
        ("cai-paper/CritiqueRevisionInstructions.json", "paper-revision", "critique"),
        ("cai-paper/RLMadisonInstructions.json", "paper-comparison", "judgement"),
        ("llm-swarm-constitution.json", "llm-swarm", "critique"),
    ],
)
def test_the_real_files_come_through_word_for_word(name: str, kind: str, form: str) -> None:
    raw = (SHARED / name).read_text("utf-8")
    made = import_constitution(SHARED / name)
    principles = _back(SHARED / name)
    assert (made.kind, len(principles)) == (kind, 16)
    for entry, principle in zip(made.principles, principles, strict=True):
        assert {key: principle[key] for key in entry} == entry
        assert (
            json.dumps(principle[form])[1:-1] in raw
            or json.dumps(principle[form], ensure_ascii=False)[1:-1] in raw
        )


@needs_samples
def test_the_papers_few_shot_files_are_told_apart() -> None:
    for path in sorted(PAPER.glob("*FewShot*.json")):
        with pytest.raises(ConstitutionError, match="worked examples and no principles"):
            import_constitution(path)
