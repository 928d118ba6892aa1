"""A small hh-rlhf folder and a recipe over it, for tests of the job and the command line.

What this module does not know: what is tested with them.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import orjson

RECIPE = """\
sources:
  - {{kind: hh-rlhf, path: data}}
engines:
  main: {{kind: scripted, model: {model}, script: {script}, concurrency: 8}}
constitutions: {{"*": own}}
revise: {{rounds: 2, sampling: {{temperature: 0}}, critique_sampling: {{temperature: 0}}}}
pilot: {{rows: {pilot}}}
doctor: false
"""

SCRIPT = """
from cai.digest import draw
from cai.errors import EngineAnswerError


def generate(request):
    text = request.rendered.messages[0].text
    if "POISON" in text:
        raise EngineAnswerError("poisoned")
    if request.labels["stage"] == "critique":
        return "It could be kinder to number %d." % (draw(text) % 100)
    return "A kinder answer, number %d." % (draw(*[m.text for m in request.rendered.messages]) % 100)


def score(request):
    text = request.rendered.messages[0].text
    a = 0.1 + 0.8 * (draw(text) % 1000) / 1000
    return [a * 0.98, (1 - a) * 0.98]
"""


def write_rows(folder: Path, count: int, poisoned: tuple[int, ...] = ()) -> None:
    """Write `count` rows as data/harmless-base/train.jsonl.gz."""
    path = folder / "data" / "harmless-base" / "train.jsonl.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for i in range(count):
        asked = f"\n\nHuman: Question {i}{' POISON' if i in poisoned else ''}?\n\nAssistant:"
        row = {"chosen": f"{asked} A fine answer {i}.", "rejected": f"{asked} A poor answer {i}."}
        lines.append(orjson.dumps(row))
    path.write_bytes(gzip.compress(b"\n".join(lines) + b"\n", mtime=0))


def write_constitution(folder: Path, principles: int = 3, change: str = "") -> None:
    """Write principles/own.yaml; `change` is added to the last principle's judgement question."""
    lines = ["constitution: own", "title: Own", "principles:"]
    for i in range(principles):
        extra = change if i == principles - 1 else ""
        lines += [
            f"  - id: p{i}",
            f"    text: Rule {i}.",
            f"    critique: Say where the response breaks rule {i}.",
            f"    revision: Rewrite the response by rule {i}.",
            f"    judgement: Which response is better by rule {i}{extra}?",
        ]
    (folder / "principles").mkdir(exist_ok=True)
    (folder / "principles" / "own.yaml").write_text("\n".join(lines) + "\n")


def write_run(folder: Path, rows: int = 12, pilot: int = 0, poisoned: tuple[int, ...] = ()) -> Path:
    """Write a whole run folder; returns it."""
    run = folder / "runs" / "test"
    run.mkdir(parents=True, exist_ok=True)
    write_rows(run, rows, poisoned)
    write_constitution(run)
    (run / "script.py").write_text(SCRIPT)
    (run / "recipe.yaml").write_text(RECIPE.format(model="m", script="script.py", pilot=pilot))
    return run
