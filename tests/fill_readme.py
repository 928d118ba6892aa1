"""Fills the README's excerpts from reality: `cai --help`, and a finished run of the demo.

    python -m tests.fill_readme [RUN]     # RUN: runs/demo by default, as `make demo` leaves it

An excerpt stands between `<!-- excerpt: NAME -->` and `<!-- end excerpt -->`:

    help         what `cai --help` prints
    stories      the first two stories of RUN/stories.md, quoted
    comparison   agreement and planted truth, as `cai demo` prints them
    show         a row's story up to its first judgements, and one exact request, as `cai show` prints them

What is left out inside an excerpt is marked by a line of its own that begins with `…`. An excerpt whose
origin is missing stays as it is, is named, and the exit code is 1. Filling twice changes nothing.

What this module does not know: whether the text around the excerpts is true (tests/test_readme.py).
"""

from __future__ import annotations

import argparse
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from cai.compare import compare, print_comparison
from cai.errors import CaiError, InputError, RunError
from cai.reading import ReadRun
from cai.run_folder import open_run
from cai.source import Row
from cai.toy.demo import planted, truth_by_row

README = Path(__file__).resolve().parent.parent / "README.md"
COLUMNS = 96
LINE_CHARACTERS = 120
STORIES = 2
ROW = 2
"""The row that the README speaks of."""

PRINCIPLES_SHOWN = 3
"""The principles whose judgements the README shows."""

_EXCERPT = re.compile(r"(<!-- excerpt: ([a-z]+) -->\n)(.*?)(<!-- end excerpt -->)", re.DOTALL)
_CAI = [sys.executable, "-c", "import sys; sys.argv[0] = 'cai'; from cai.cli import main; main()"]


def excerpts(text: str) -> dict[str, str]:
    """The excerpts of a README by name, without the blank lines around them."""
    return {name: content.strip("\n") for _, name, content, _ in _EXCERPT.findall(text)}


def fill(text: str, name: str, content: str) -> str:
    """The README with one excerpt replaced. Raises: InputError where it has no such excerpt."""
    if name not in excerpts(text):
        raise InputError(f"The README has no excerpt {name!r}.", f"Add <!-- excerpt: {name} --> to it.")

    def replacement(found: re.Match[str]) -> str:
        return f"{found[1]}\n{content}\n\n{found[4]}" if found[2] == name else found[0]

    return _EXCERPT.sub(replacement, text)


def help_excerpt() -> str:
    """What `cai --help` prints."""
    return _fenced(_cai("--help"))


def stories_excerpt(run: Path) -> str:
    """The first stories of the demo, quoted; their headings become bold lines.

    Raises: RunError where the run has none.
    """
    path = run / "stories.md"
    if not path.is_file():
        raise RunError(f"{path} is missing.", "Type: make demo")
    told = re.split(r"^(?=## )", path.read_text("utf-8"), flags=re.MULTILINE)[1:]
    if len(told) < STORIES:
        raise RunError(f"{path} tells {len(told)} stories, not {STORIES}.", "Look at the demo's model.")
    lines = "".join(told[:STORIES]).rstrip("\n").split("\n")
    bold = [re.sub(r"^## (.*)", r"**\1**", line) for line in lines]
    return "\n".join(f"> {line}".rstrip() for line in bold)


def comparison_excerpt(run: Path) -> str:
    """The verdict, the main table and the planted truth, computed as `cai demo` does.

    Raises: CaiError where the run is not finished or is not the demo.
    """
    folder = open_run(run)
    if not (folder.dataset / "summary.json").is_file():
        raise RunError(f"{run} has no dataset yet.", "Type: make demo")
    with ReadRun(folder) as reading:
        rows = [item for item in reading.source.items() if isinstance(item, Row)]
    comparison = compare(folder.dataset, planted(truth_by_row(folder.path, rows)))
    screen = io.StringIO()
    print_comparison(Console(file=screen, width=COLUMNS, highlight=False), comparison)
    lines = [line.rstrip() for line in screen.getvalue().split("\n")]
    titles = ("Verdict", "Agreement with the human labels", "Against the planted truth")
    parts = [[*_section(lines, title), "…"] for title in titles]
    return _fenced([line for part in parts for line in part][:-1])


def show_excerpt(run: Path) -> str:
    """A row's story up to its first judgements, then the request that its last line names, whole.

    Raises: RunError where the run cannot show them.
    """
    story = [_short(line.rstrip()) for line in _cai("show", str(run), "--row", str(ROW))]
    first = next((n for n, line in enumerate(story) if line.startswith("judgement")), None)
    if first is None:
        raise RunError(f"`cai show {run} --row {ROW}` shows no judgement.", "Type: make demo")
    words = story[-1].split()[1:]
    request = [_short(line.rstrip()) for line in _cai(*words)]
    typed = " ".join(["$ cai", *words])
    return _fenced([*story[: first + 2 + 2 * PRINCIPLES_SHOWN], "…", typed, *request])


def _section(lines: Sequence[str], title: str) -> list[str]:
    """A part of the comparison: its title, and what is indented or tabulated under it."""
    begin = _first(lines, title)
    end = next((n for n in range(begin, len(lines)) if not lines[n]), len(lines))
    return list(lines[begin:end])


def _first(lines: Sequence[str], begins: str) -> int:
    for number, line in enumerate(lines):
        if line.startswith(begins):
            return number
    raise RunError(f"The comparison does not say {begins.strip()!r}.", "Type: make demo")


def _short(line: str) -> str:
    return line if len(line) <= LINE_CHARACTERS else f"{line[: LINE_CHARACTERS - 2]} …"


def _fenced(lines: Sequence[str]) -> str:
    return "\n".join(["```text", *lines, "```"])


def _cai(*words: str) -> list[str]:
    """What a verb prints, line by line. Raises: RunError where it fails, with what it says."""
    plain = {**os.environ, "COLUMNS": str(COLUMNS), "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run([*_CAI, *words], capture_output=True, text=True, env=plain, check=False)
    if done.returncode:
        raise RunError(" ".join(done.stderr.split()) or f"`cai {' '.join(words)}` failed.")
    return done.stdout.rstrip("\n").split("\n")


def main() -> None:
    """Fill every excerpt whose origin is there; say what is filled, unchanged and missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.fill_readme", description="Fill the README.")
    parser.add_argument("run", nargs="?", type=Path, default=Path("runs/demo"))
    parser.add_argument("--readme", type=Path, default=README)
    given = parser.parse_args()
    makers: dict[str, Callable[[], str]] = {
        "help": help_excerpt,
        "stories": lambda: stories_excerpt(given.run),
        "comparison": lambda: comparison_excerpt(given.run),
        "show": lambda: show_excerpt(given.run),
    }
    before = text = given.readme.read_text("utf-8")
    missing = False
    for name, make in makers.items():
        try:
            after = fill(text, name, make())
        except CaiError as error:
            missing = True
            print(f"{name:<12} missing: {error}")
            continue
        print(f"{name:<12} {'unchanged' if after == text else 'filled'}")
        text = after
    if text != before:
        given.readme.write_text(text, "utf-8")
    sys.exit(1 if missing else 0)


if __name__ == "__main__":
    main()
