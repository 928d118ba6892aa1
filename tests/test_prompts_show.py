"""`cai prompts show`: parts with their origins, tokens, and what a row's requests share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cai.conversation import Turn
from cai.principle import Constitution, Principle
from cai.prompting import load_prompts
from cai.source import Row
from cai.workbench.prompts import requests_of, sharing, text_of
from tests.test_workbench import _cai, _run

ROOT = Path(__file__).resolve().parent.parent
ROW = Row(
    id="0" * 32,
    source="s",
    subset="x",
    split="train",
    line=1,
    position=0,
    prompt=(Turn("user", " How are you?"),),
    responses={"chosen": Turn("assistant", " Fine."), "rejected": Turn("assistant", " Go.")},
    flags=(),
    fields={},
)
PRINCIPLES = [
    Principle(id=f"p{i}", text=f"T{i}.", critique=f"C{i}.", revision=f"R{i}.", judgement=f"J{i}?")
    for i in range(3)
]
OWN = Constitution("own", "Own", tuple(PRINCIPLES), Path("own.yaml"))


def test_judgements_of_a_row_share_all_but_the_question_within_an_order() -> None:
    prompts = load_prompts(ROOT / "prompts", "chat", ["judgement"])
    requests = requests_of("judgement", prompts, ROW, OWN, PRINCIPLES)
    assert len(requests) == 6
    made = sharing(requests, len)
    assert made.breaks_at == ""
    assert made.shared / made.tokens > 0.6


def test_a_template_that_breaks_sharing_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "judgement.j2").write_text(
        '{% message "user" %}\nHere is a rule.\n{{ principle.judgement }}\n'
        "{% for turn in turns %}{{ turn.text }}{% endfor %}\n{{ response_a }}\n{{ response_b }}\n"
        "{% endmessage %}\n{% answer %}It is{% endanswer %}\n"
    )
    prompts = load_prompts(tmp_path, "chat", ["judgement"])
    made = sharing(requests_of("judgement", prompts, ROW, OWN, PRINCIPLES), len)
    assert made.breaks_at == f"{tmp_path.name}/judgement.j2:3"


def test_tokens_that_are_shared_are_counted_by_hand() -> None:
    prompts = load_prompts(ROOT / "prompts", "chat", ["judgement"])
    one, two, *_ = requests_of("judgement", prompts, ROW, OWN, PRINCIPLES)
    made = sharing([one, two], len)
    assert made.tokens == len(text_of(one)) + len(text_of(two))
    assert made.shared == text_of(one).index("J0?") + 1


@pytest.mark.parametrize(
    "stage", ["critique", "revision", "judgement", "harm", "response", "reasoned-judgement"]
)
def test_every_stage_is_shown_for_a_row_in_both_forms(tmp_path: Path, stage: str) -> None:
    run = _run(tmp_path)
    for form in ("chat", "completion"):
        done = _cai("prompts", "show", run, "--stage", stage, "--row", 2, "--form", form, "--json")
        assert done.returncode == 0, done.stderr
        parts = [part for section in json.loads(done.stdout)["sections"] for part in section["parts"]]
        assert any("Question 1?" in part["text"] for part in parts if part["kind"] == "row")
        assert all(part["origin"] for part in parts)


def test_the_page_tells_tokens_and_sharing_and_refuses_wrong_names(tmp_path: Path) -> None:
    run = _run(tmp_path)
    shown = _cai("prompts", "show", run).stdout
    assert "This request: about" in shown
    assert "cost a server next to nothing" in " ".join(shown.split())
    assert "did you mean 'judgement'" in _cai("prompts", "show", run, "--stage", "judgment").stderr
    assert "did you mean 'kind'" in _cai("prompts", "show", run, "--principle", "kin").stderr
