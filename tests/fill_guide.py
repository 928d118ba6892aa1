"""Fills the figures of docs/principles.md from the embedded model and a small run in the toy world.

    python -m tests.fill_guide     # about a minute

Figures stand between `<!-- excerpt: NAME -->` and `<!-- end excerpt -->`:

    measured     the weights that the figures are of, and on how many cases
    lint         what `cai principles lint` says of the page's two-in-one question
    judgements   judgement questions on made-up cases whose truth is known (tests/guide_trials.py)
    critiques    critique requests on the same
    costs        what edits of one principle ask again, told from digests

The constitutions tried are the page's own: each YAML block that begins `# principles/NAME.yaml`
is a file. What a table shows is said beneath it, in words that are chosen by its figures.

What this module does not know: whether the text around the figures is true.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cai.compare.statistics import rate
from cai.constitution_file import load_constitution
from cai.principle import FORMS, Principle
from cai.shipped import shipped
from cai.toy import MODEL_FOLDER
from cai.toy.demo import write_demo
from tests.fill_readme import excerpts, fill
from tests.guide_trials import CASES, PRINCIPLE, Judged, Revised, judged, revised

GUIDE = Path(__file__).resolve().parent.parent / "docs" / "principles.md"
ROWS = 24
SURE = 0.75
"""The share of cases from which a table's text says that a model can do something."""
_CAI = [sys.executable, "-c", "import sys; sys.argv[0] = 'cai'; from cai.cli import main; main()"]
_FILE = re.compile(r"^```yaml\n# (principles/[a-z-]+\.yaml)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
QUESTIONS = {"as shipped": "", "vague": "vague", "two-in-one": "two-in-one", "polarity: worse": "turned"}
REQUESTS = {"as shipped": "", "fault taken for granted": "taken-for-granted"}


def files(text: str) -> dict[str, str]:
    """The files that the page shows: name and content."""
    return dict(_FILE.findall(text))


def write_files(text: str, folder: Path) -> None:
    """Write the page's files into a folder. Raises: OSError."""
    for name, content in files(text).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8")


def small_run(run: Path, rows: int) -> None:
    """Write the demo's run with so few rows. Raises: OSError."""
    write_demo(run)
    path = run / "recipe.yaml"
    text = path.read_text("utf-8")
    source = "    path: data/hh-rlhf\n"
    assert source in text
    text = text.replace(source, f"{source}    limit: {rows}\n")
    path.write_text(re.sub(r"(?m)^  rows: \d+$", "  rows: 4", text), "utf-8")


def weights() -> str:
    """What the embedded weights are known by: the first digits of their SHA-256."""
    return hashlib.sha256((Path(MODEL_FOLDER) / "model.safetensors").read_bytes()).hexdigest()[:12]


def measured_excerpt() -> str:
    """What the figures are of."""
    return (
        f"Measured on the embedded model (weights `{weights()}`), which knows a toy world and eight rules, on "
        f"{CASES} cases or twice as many, with 95 % intervals. It shows what can go wrong, not how often it "
        "does with your model."
    )


def lint_excerpt(folder: Path) -> str:
    """What lint says of the page's own line in the two-in-one question."""
    name = "principles/two-in-one.yaml"
    lines = _cai(folder, "principles", "lint", name, ok=(1,))
    begin = next(at for at, line in enumerate(lines) if line.startswith(f"{name}:"))
    end = next(at for at in range(begin + 1, len(lines)) if not lines[at].startswith(" ")) - 1
    kept = [line.rstrip() for line in lines[begin : end + 1]]
    while "[two-questions]" not in " ".join(kept):
        end += 1
        kept.append(lines[end].rstrip())
    return "\n".join(["```text", *kept, "```"])


def judgements_excerpt(run: Path, folder: Path) -> str:
    """The questions on the made-up cases."""
    found = dict(zip(QUESTIONS, judged(run, _paths(folder, QUESTIONS)), strict=True))
    rows = []
    for name, item in found.items():
        sound, untrue = _won(item.sound), _won(item.untrue)
        mean = sum(_mean(item.untrue)) / len(item.untrue)
        rows.append([name, _share(sound, CASES), _share(untrue, CASES), f"{mean:.2f}"])
    head = [
        f"question of `{PRINCIPLE}`",
        "sound beats rude, in both orders",
        "made-up fact beats rude, in both orders",
        "mean probability there",
    ]
    return f"{_table(head, rows)}\n\n{about_questions(found)}"


def about_questions(found: Mapping[str, Judged]) -> str:
    """What the table of questions shows, in words."""
    shipped_sound, shipped_untrue = (
        _won(found["as shipped"].sound) / CASES,
        _won(found["as shipped"].untrue) / CASES,
    )
    vague = found["vague"]
    said = []
    if _won(vague.sound) / CASES >= SURE:
        said.append(
            "A question about nothing in particular does well where one response is plainly worse: the first "
            "column cannot tell a good question from a bad one."
        )
    if shipped_untrue >= SURE:
        said.append(
            "The second can: both responses have a flaw there, and only the question says which counts. "
            f"The vague one gets {_won(vague.untrue)} of {CASES} right."
        )
    elif shipped_sound >= SURE:
        said.append(
            "The second column could, because both responses have a flaw there and only the question says "
            "which counts; but these weights scarcely read the question, in any of these wordings."
        )
    turned = _won(found["polarity: worse"].sound) / CASES
    if turned < SURE:
        said.append(
            "Asked for the worse response, this model names the better one still: it has not learnt to. "
            "Hold your own model to its tests before you trust a question of polarity worse."
        )
    return " ".join(said)


def critiques_excerpt(run: Path, folder: Path) -> str:
    """The critique requests on the made-up cases."""
    found = dict(zip(REQUESTS, revised(run, _paths(folder, REQUESTS)), strict=True))
    rows = [
        [
            name,
            _share(each.found, each.rude),
            _share(each.invented, each.others),
            _share(each.spoilt, each.others),
        ]
        for name, each in found.items()
    ]
    head = [
        f"critique of `{PRINCIPLE}`",
        "rude words quoted",
        "something found where nothing is rude",
        "polite response rewritten",
    ]
    return f"{_table(head, rows)}\n\n{about_critiques(found)}"


def about_critiques(found: Mapping[str, Revised]) -> str:
    """What the table of critiques shows, in words."""
    own, granted = found["as shipped"], found["fault taken for granted"]
    if granted.invented > own.invented:
        said = (
            f"Taken for granted, a fault is found in {granted.invented} polite responses of {granted.others}; "
            f"with a way out in {own.invented}."
        )
    else:
        said = "These weights find no more faults when a fault is taken for granted; do not count on it elsewhere."
    return said


def costs_excerpt(run: Path, folder: Path) -> str:
    """What edits of one principle ask again, of a whole run."""
    known = load_constitution(shipped("principles/toy.yaml"))
    principle = next(each for each in known.principles if each.id == PRINCIPLE)
    rows = []
    for number, (name, text) in enumerate(_edits(principle).items()):
        path = folder / "edits" / f"edit-{number}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"constitution: edit-{number}\ntitle: {json.dumps(name)}\n{text}", "utf-8")
        told = _cai(
            *(folder, "principles", "diff", "toy", str(path), "--run", str(run), "--sample", "0", "--json")
        )
        made = json.loads("\n".join(told))["changes"]
        stages = ", ".join(f"{count} {stage}" for stage, count in sorted(made["stages"].items()))
        rows.append(
            [name, stages or "none", f"{made['follow_at_most']}", f"{made['rows_touched']} of {ROWS}"]
        )
    whole = json.loads("\n".join(told))["changes"]["requests"]
    head = ["edit", "changed", "may follow", "rows"]
    about = (
        f"Of a run of {ROWS} rows, eight principles, two rounds of critique and revision, human and revised "
        f"pairs judged in both orders (some {round(whole, -2)} requests)."
    )
    return f"{_table(head, rows)}\n\n{about}"


def _edits(principle: Principle) -> dict[str, str]:
    """Constitutions that differ from the toy one in one thing."""

    def override(line: str) -> str:
        return f"include: [toy]\nprinciples:\n  - id: {PRINCIPLE}\n    override: true\n    {line}\n"

    forms = "".join(f"    {form}: {json.dumps(getattr(principle, form))}\n" for form in FORMS)
    left_out = f"include: [{{constitution: toy, leave_out: [{PRINCIPLE}]}}]\nprinciples:\n"
    return {
        "`tests`, `tags`, `weight`": override("weight: 2\n    tags: [tone]\n    tests: []"),
        "`judgement` of one principle": override("judgement: Which response is kinder to the user?"),
        "`revision` of one": override("revision: Rewrite the response so that it is kind. Keep the rest."),
        "`critique` of one": override("critique: Quote unkind words, or say plainly that there are none."),
        "one principle more": "include: [toy]\nprinciples:\n  - id: kindness\n    text: The response is kind.\n",
        "another `id`": f"{left_out}  - id: politeness\n{forms}",
    }


# ------------------------------------------------------------------------------ small parts


def _paths(folder: Path, names: Mapping[str, str]) -> list[Path]:
    own = shipped("principles/toy.yaml")
    return [folder / "principles" / f"{name}.yaml" if name else own for name in names.values()]


def _share(count: int, of: int) -> str:
    """A count with the interval of its share (Wilson)."""
    made = rate(count, of)
    low, high = ((value or 0.0) * 100 for value in (made.low, made.high))
    return f"{count} of {of} ({low:.0f} to {high:.0f} %)"


def _won(results: Sequence[object]) -> int:
    return sum(getattr(item, "verdict") == "passed" for item in results)  # noqa: B009


def _mean(results: Sequence[object]) -> list[float]:
    return [0.5 + (getattr(item, "margin") or 0.0) for item in results]  # noqa: B009


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cai(folder: Path, *words: str, ok: tuple[int, ...] = (0,)) -> list[str]:
    """What a verb prints when typed in a folder."""
    plain = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run(
        [*_CAI, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        env=plain,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode not in ok:
        sys.exit(f"cai {' '.join(words)}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout.rstrip("\n").split("\n")


def main() -> None:
    """Fill every excerpt; say what is filled and what is unchanged."""
    parser = argparse.ArgumentParser(prog="python -m tests.fill_guide", description="Fill the guide.")
    parser.add_argument("--guide", type=Path, default=GUIDE)
    given = parser.parse_args()
    before = text = given.guide.read_text("utf-8")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        run = folder / "runs" / "demo"
        write_files(text, folder)
        small_run(run, ROWS)
        _cai(folder, "run", str(run), "--yes", "--skip-doctor")
        makers: dict[str, Callable[[], str]] = {
            "measured": measured_excerpt,
            "lint": lambda: lint_excerpt(folder),
            "judgements": lambda: judgements_excerpt(run, folder),
            "critiques": lambda: critiques_excerpt(run, folder),
            "costs": lambda: costs_excerpt(run, folder),
        }
        assert set(makers) == set(excerpts(text)), "the page has other excerpts"
        for name, make in makers.items():
            after = fill(text, name, make())
            print(f"{name:<12} {'unchanged' if after == text else 'filled'}", flush=True)
            text = after
    if text != before:
        given.guide.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
