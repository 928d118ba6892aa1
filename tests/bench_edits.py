"""What edits of a finished run of many rows ask again, held against two other counts of the same.

    python -m tests.bench_edits [--rows 10000]

16 principles, of which three are drawn to judge each pair, one round of revision, both pairs; the
scripted engine answers and counts what it is asked. Then one edit after the other, each gone on with
by `--edited`: a question reworded, a principle reworded whole, a principle added, the file turned round
with comments in it. For each three numbers, which must be equal:

    asked      what the engine counted
    digests    what `cai.workbench.changes` tells before anything is asked (what follows: at most)
    outcomes   counted from the rows' outcomes before and after, by principle and text, without digests

What this module does not know: how a request gets its identity.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from cai.frozen import load_inputs, row_plans
from cai.outcome import Feedback, Outcome, outcome_digest, read_outcome
from cai.reading import ReadRun
from cai.recipe import load_recipe
from cai.run_folder import RunFolder, open_run
from cai.settled import frozen_identity
from cai.workbench.changes import Changes, count_changes
from tests.toy_source import write_rows

RECIPE = """\
sources:
  - {kind: hh-rlhf, path: data}
engines:
  main: {kind: scripted, model: m, script: script.py, concurrency: 64}
constitutions: {"*": own}
revise: {rounds: 1, critique: false, sampling: {temperature: 0}}
feedback: {pairs: [human, revised], principles: 3, harm: false}
pilot: {rows: 0}
doctor: false
"""
SCRIPT = """
import atexit
from pathlib import Path
from cai.digest import digest, draw

COUNTS = {"revision": 0, "judgement": 0}
atexit.register(lambda: Path("counts.json").write_text(__import__("json").dumps(COUNTS)))


def generate(request):
    COUNTS["revision"] += 1
    return "A kinder answer, " + digest("x", [m.text for m in request.rendered.messages])


def score(request):
    COUNTS["judgement"] += 1
    a = 0.1 + 0.8 * (draw(request.rendered.messages[0].text) % 1000) / 1000
    return [a * 0.98, (1 - a) * 0.98]
"""
GO = """
import sys
from pathlib import Path
from cai.cli.run import Wish, work_until_stopped
sys.exit(work_until_stopped(Path("."), Wish(yes=True, meant="edited"), lambda run: None))
"""
FORMS = ("text", "critique", "revision", "judgement")


@dataclass
class Rules:
    """The constitution as a person edits it: words by principle, in order."""

    words: dict[str, dict[str, str]]
    comment: str = ""

    def write(self, run: Path) -> None:
        """principles/own.yaml."""
        lines = [f"# {self.comment}"] if self.comment else []
        lines += ["constitution: own", "title: Own", "principles:"]
        for name, words in self.words.items():
            lines.append(f"  - id: {name}" + (f"  # {self.comment}" if self.comment else ""))
            lines += [f"    {form}: {words[form]}" for form in FORMS]
        (run / "principles").mkdir(exist_ok=True)
        (run / "principles" / "own.yaml").write_text("\n".join(lines) + "\n")


def principle(name: str, change: str = "") -> dict[str, str]:
    """A principle's words."""
    return {
        "text": f"Rule {name}{change}.",
        "critique": f"Say where the response breaks rule {name}{change}.",
        "revision": f"Rewrite the response by rule {name}{change}.",
        "judgement": f"Which response is better by rule {name}{change}?",
    }


@dataclass
class Shape:
    """What a row's outcome says that does not depend on digests."""

    revised_by: str
    text: str
    judges: dict[str, frozenset[str]] = field(default_factory=dict)


def shapes(run: RunFolder) -> dict[str, Shape]:
    """The shape of each row of the generation that the run last worked with."""
    found = {}
    with ReadRun(run) as read:
        for row, _ in read.source.ids():
            record = read.store.get(outcome_digest(row, read.generation.digest))
            assert record is not None, row
            found[row] = _shape(read_outcome(record.answer))
    return found


def _shape(outcome: Outcome) -> Shape:
    [revision] = outcome.revisions
    [round_] = revision.rounds
    shape = Shape(round_.principle, round_.raw)
    for item in outcome.feedback:
        assert isinstance(item, Feedback)
        shape.judges[item.kind] = frozenset(judgement.principle for judgement in item.judgements)
        assert len(item.judgements) == 2 * len(shape.judges[item.kind])
    return shape


def from_outcomes(
    before: dict[str, Shape], after: dict[str, Shape], reworded: dict[str, set[str]]
) -> dict[str, int]:
    """How many requests are new, by reason. `reworded`: form -> principles whose words were changed."""
    counts = {"contain it": 0, "draw moved": 0, "follow": 0}
    for row, now in after.items():
        then = before[row]
        if now.revised_by != then.revised_by:
            counts["draw moved"] += 1
        elif now.revised_by in reworded.get("revision", set()):
            counts["contain it"] += 1
        for kind, judges in now.judges.items():
            for name in judges:
                if kind == "revised" and now.text != then.text:
                    counts["follow"] += 2
                elif name not in then.judges[kind]:
                    counts["draw moved"] += 2
                elif name in reworded.get("judgement", set()):
                    counts["contain it"] += 2
    return counts


def from_digests(run: RunFolder) -> Changes:
    """What the edit that was made would ask, told before anything is asked."""
    now = load_recipe(run.recipe)
    identity = frozen_identity(run.path, now.engines["main"])
    assert identity is not None
    with ReadRun(run) as read:  # the generation that the run last worked with
        old, new = row_plans(read.inputs)["own"], row_plans(load_inputs(now, run.path))["own"]
        counting = count_changes(
            read.source.items(), lambda _: old, lambda _: new, read.store, {"main": identity}
        )
        return asyncio.run(counting)


def go(run: Path) -> tuple[dict[str, int], float]:
    """Go on with the run; what its engine was asked, and seconds of processor time."""
    (run / "counts.json").unlink(missing_ok=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", GO], cwd=run, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    path = run / "counts.json"  # not there where the engine was not even opened
    counts = orjson.loads(path.read_bytes()) if path.exists() else {}
    return {key: value for key, value in counts.items() if value}, after.ru_utime - before.ru_utime


Edit = tuple[str, Callable[[Rules], None], dict[str, set[str]]]


def edits() -> Iterator[Edit]:
    """Name, what it does to the constitution, and which words of which principles it changes."""

    def reword_question(rules: Rules) -> None:
        rules.words["p05"]["judgement"] = "Which response is better by another rule?"

    def reword_whole(rules: Rules) -> None:
        rules.words["p11"] = principle("p11", " now")

    def add(rules: Rules) -> None:
        rules.words["p16"] = principle("p16")

    def reorder(rules: Rules) -> None:
        rules.words = dict(reversed(rules.words.items()))
        rules.comment = "a comment"

    yield "one question of 16 reworded", reword_question, {"judgement": {"p05"}}
    yield "one principle of 16 reworded whole", reword_whole, {"judgement": {"p11"}, "revision": {"p11"}}
    yield "a seventeenth principle added", add, {}
    yield "the file turned round, with comments", reorder, {}


def measure(folder: Path, rows: int) -> dict[str, object]:
    """All edits, one after the other."""
    run = folder / "runs" / "edits"
    run.mkdir(parents=True)
    write_rows(run, rows)
    rules = Rules({f"p{i:02d}": principle(f"p{i:02d}") for i in range(16)})
    rules.write(run)
    (run / "script.py").write_text(SCRIPT)
    (run / "recipe.yaml").write_text(RECIPE)
    asked, cpu = go(run)
    opened = open_run(run)
    told: dict[str, object] = {"rows": rows, "first run": {"asked": asked, "cpu_s": round(cpu, 1)}}
    before = shapes(opened)
    for name, edit, reworded in edits():
        edit(rules)
        rules.write(run)
        began = time.process_time()
        predicted = from_digests(opened)
        counting_s = time.process_time() - began
        asked, cpu = go(run)
        after = shapes(opened)
        counts = from_outcomes(before, after, reworded)
        before = after
        total = sum(asked.values())
        assert total == sum(counts.values()), (name, asked, counts)
        assert predicted.direct <= total <= predicted.direct + predicted.follow_at_most, (name, predicted)
        told[name] = {
            "asked": asked,
            "outcomes": counts,
            "digests": {
                "direct": predicted.direct,
                "follow_at_most": predicted.follow_at_most,
                "kept": predicted.kept,
                "rows_touched": predicted.rows_touched,
            },
            "cpu_s": {"counting": round(counting_s, 1), "going on": round(cpu, 1)},
        }
        sys.stderr.write(f"{name}: {told[name]}\n")
    return told


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        told = {"cores": os.cpu_count(), "load": os.getloadavg()[0], **measure(Path(folder), options.rows)}
    sys.stdout.write(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode() + "\n")


if __name__ == "__main__":
    main()
