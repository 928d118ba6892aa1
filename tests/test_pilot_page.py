"""The pilot's page: it fits 80 columns, and its figures are those of `cai compare` on the same rows."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from cai.outcome import Feedback, Outcome, Revision, Round
from cai.pilot import summarise
from cai.share import Share
from tests.command_line import CAI, cai, plain
from tests.toy_source import write_run


def _feedback(probability: float | None) -> Feedback:
    names = ("human", "human", "chosen", "rejected", "good", "bad", "own", "main")
    return Feedback(*names, (), probability, 0.5, 0.9, 0, 10)  # type: ignore[arg-type]


def _round(number: int, text: str, usable: bool) -> Round:
    return Round(number, "p", "", "", text, text, "stop", () if usable else ("empty",), usable, 5, 5, ())


def test_figures_are_counted_as_the_comparison_counts_them() -> None:
    rows = [
        Outcome("a", None, (), (), (_feedback(0.8),)),
        Outcome("b", None, (), (), (_feedback(0.2),)),
        Outcome("c", None, (), (), (_feedback(0.51),)),  # within the threshold: tied
        Outcome("d", None, (), (), (_feedback(None),)),
    ]
    summary = summarise(rows, 0, tie_threshold=0.02)
    assert summary.agreement == Share(1, 2)
    assert (summary.ties, summary.abstained) == (1, 1)
    assert summarise(rows, 0).agreement == Share(2, 3)


def test_a_response_counts_as_usable_by_its_last_usable_round() -> None:
    mended = Revision("rejected", "bad", (_round(1, "better", True), _round(2, "", False)))
    same = Revision("rejected", "bad", (_round(1, "bad", True),))
    broken = Revision("rejected", "bad", (_round(1, "", False),))
    rows = [
        Outcome(name, None, (item,), (), ()) for name, item in zip("abc", (mended, same, broken), strict=True)
    ]
    summary = summarise(rows, 0)
    assert summary.usable == Share(2, 3)
    assert summary.unchanged == Share(1, 2)


def test_the_page_fits_80_columns_and_says_what_the_comparison_says(tmp_path: Path) -> None:
    import subprocess

    run = write_run(tmp_path, rows=12, pilot=12)
    source = run / "script.py"
    source.write_text(
        source.read_text().replace("A kinder answer,", "A kinder answer, " + "very " * 60 + ",")
    )
    done = subprocess.run(
        [*CAI, "run", "runs/test", "--yes"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**plain(), "COLUMNS": "80"},
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    page = done.stdout[: done.stdout.index("Verdict")] if "Verdict" in done.stdout else done.stdout
    assert max(len(line.rstrip()) for line in page.splitlines()) <= 80
    found = re.search(r"Agreement: ([\d.]+) % .*n (\d+)\)", page)
    assert found is not None
    compared = json.loads(cai("compare", run, "--json").stdout)["agreement"]["decided"]
    assert float(found[1]) == round(100 * compared["value"], 1)
    assert int(found[2]) == compared["n"]
    assert os.path.exists(run / "comparison.json")
