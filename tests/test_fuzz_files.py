"""Files that people write, broken at random: each loads, or is refused with its place; none hangs.

`make fuzz` holds a hundred thousand cases of all that is read from outside (tests/fuzz.py).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from cai.errors import TemplateError
from cai.prompting import load_prompts
from tests.fuzz import DATA_TARGETS, SHARES, SLOW_S, CrashError, file_targets, run

ROOT = Path(__file__).resolve().parent.parent
CASES = 1_000
"""For each kind of file of which there is most; a sixth of it for the others."""


@pytest.mark.parametrize(
    ("target", "cases"),
    [
        ("constitutions", CASES),
        ("recipes", CASES),
        ("templates (critique)", CASES),
        ("templates (judgement)", CASES),
        ("examples", CASES // 6),
        ("imports", CASES // 6),
    ],
)
def test_broken_files_load_or_are_refused_with_their_place(tmp_path: Path, target: str, cases: int) -> None:
    fates = run(target, file_targets(tmp_path)[target], cases, seed=1)
    assert min(fates["used"], fates["refused"]) > cases // 25


def test_no_line_of_a_source_in_five_thousand_is_more_than_unreadable() -> None:
    fates = run("lines", DATA_TARGETS["lines"], 5_000, seed=1)
    assert min(fates["used"], fates["refused"]) > 500


def test_a_crash_is_told_with_its_case() -> None:
    """Whatever is no error of ours, an endless case among it, ends the target."""

    def crashes(error: BaseException) -> None:
        def take() -> Any:
            raise error

        with pytest.raises(CrashError, match="any, case 0: 'the case'") as crash:
            run("any", lambda drawn: ("the case", take), 3)
        assert crash.value.__cause__ is error

    crashes(KeyError("x"))
    crashes(RecursionError())
    assert sum(SHARES.values()) < 100


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
