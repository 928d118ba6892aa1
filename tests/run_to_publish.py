"""Small runs that are worked on to their end, to be published: a sound one, and ones with faults.

What this module does not know: what is tested with them.
"""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from cai.cli.dataset import build_run
from cai.cli.report import report_run
from cai.cli.run import Wish, work
from cai.publish.facts import CardFacts, read_facts
from cai.publish.gate import findings
from cai.publish.rights import Finding, Statements, statements_of
from cai.publish.scan import ScanReport, scan
from cai.reading import ReadRun
from cai.run_folder import open_run
from tests.toy_source import write_constitution, write_run

SOUND = """
from cai.errors import EngineAnswerError

WRITTEN = "A kinder answer, though a longer one than before."


def generate(request):
    text = request.rendered.messages[0].text
    if "POISON" in text:
        raise EngineAnswerError("poisoned")
    if request.labels["stage"] == "critique":
        return "It could be kinder."
    return WRITTEN


def score(request):
    text = request.rendered.messages[0].text
    if "<response_b>" not in text:
        return [0.2, 0.7]
    a, b = text.split("<response_a>")[1].split("<response_b>")
    good = 0.85 * ("fine" in a or "kinder" in a) + 0.1 * ("fine" in b or "kinder" in b)
    return [good * 0.98, (1 - good) * 0.98]
"""
COIN = SOUND.replace(
    "    return [good * 0.98, (1 - good) * 0.98]",
    "    from cai.digest import draw\n"
    "    number = draw(*sorted([a.split('</')[0].strip(), b.split('</')[0].strip()]))\n"
    "    good = 0.85 if (number % 2 == 0) == ('fine' in a or 'kinder' in a) else 0.1\n"
    "    return [good * 0.98, (1 - good) * 0.98]",
)
PLACE = SOUND.replace("    return [good * 0.98, (1 - good) * 0.98]", "    return [0.9 + good / 100, 0.05]")
"""Answers A whatever stands there."""

RECIPE_MORE = """\
publish:
  licence: cc-by-4.0
  languages: [en]
  terms: {m: A script has no terms.}
"""


def worked(
    folder: Path, script: str = SOUND, rows: int = 16, licensed: bool = True, more: str = RECIPE_MORE
) -> Path:
    """A run worked on to its end, with dataset, comparison and report."""
    run = write_run(folder, rows)
    (run / "script.py").write_text(script)
    if licensed:
        write_constitution(run)
        path = run / "principles" / "own.yaml"
        path.write_text(path.read_text().replace("title: Own", "title: Own\nlicence: MIT"))
    with (run / "recipe.yaml").open("a") as file:
        file.write(more)
    go(run)
    return run


def go(run: Path, pilot_only: bool = False) -> None:
    """Work on a run, and make its dataset and report."""

    def build(target: Path) -> None:
        build_run(target, Console(quiet=True))

    asyncio.run(work(run, Wish(yes=True, pilot_only=pilot_only), build))
    build_run(run, Console(quiet=True))
    report_run(run)


def copy_of(run: Path, folder: Path) -> Path:
    """A copy of a run, to be spoilt."""
    return Path(shutil.copytree(run, folder / "runs" / "test"))


@dataclass(frozen=True)
class Read:
    """A run as it is read to be published."""

    facts: CardFacts
    statements: Statements
    scanned: ScanReport
    found: list[Finding]

    @property
    def names(self) -> list[str]:
        """What was found, by name."""
        return [item.name for item in self.found]


def read(run: Path, private: bool = True, ask_hub: bool = False) -> Read:
    """Read a run as `cai publish` does."""
    with ReadRun(open_run(run)) as reading:
        said = statements_of(reading.recipe.publish, private)
        facts = read_facts(reading, said.source, ask_hub)
    scanned = scan(run / "dataset")
    return Read(facts, said, scanned, findings(facts, said, scanned))
