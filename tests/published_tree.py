"""A published dataset in a folder, made of a run as `cai publish --with-store` does, for tests.

What this module does not know: what is tested with it.
"""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path

import orjson
from rich.console import Console

from cai.cli.dataset import build_run
from cai.cli.run import Wish, work
from cai.publish.file import CARD, MANIFEST, PublishedFile
from cai.publish.manifest import make_manifest
from cai.publish.tree import published_files
from cai.reading import ReadRun
from cai.review import Answers, export_review, write_answers
from cai.review.key import Answer
from cai.run_folder import open_run
from tests.toy_source import write_constitution, write_rows


def publish_into(folder: Path, run: Path, with_store: bool = True) -> Path:
    """Write what a push of the run would hold into `folder/published`; returns that folder."""
    with ReadRun(open_run(run)) as read:
        files = published_files(read, with_store, folder / "made")
        files.append(PublishedFile(CARD, b"# The card\n"))
        summary = orjson.loads((run / "dataset" / "summary.json").read_bytes())
        files.append(make_manifest(run.name, files, (), summary).as_file())
    place = folder / "published"
    for file in files:
        (place / file.path).parent.mkdir(parents=True, exist_ok=True)
        (place / file.path).write_bytes(file.read())
    return place


def listed_anew(place: Path, path: str) -> None:
    """Let the manifest list a file as it now is, or no more: what a dishonest publisher could do."""
    manifest = orjson.loads((place / MANIFEST).read_bytes())
    file = PublishedFile(path, place / path)
    if (place / path).is_file():
        manifest["files"][path] = {"sha256": file.sha256, "size": file.size}
    else:
        manifest["files"].pop(path, None)
    (place / MANIFEST).write_bytes(orjson.dumps(manifest))


# ---------------------------------------------------------------------- a run that uses everything

RICH_RECIPE = """\
seed: 3
sources:
  - {kind: hh-rlhf, path: data}
  - {kind: red-team, path: attempts.jsonl, limit: 4}
  - {kind: jsonl, path: own}
engines:
  main: {kind: scripted, model: m, script: script.py, concurrency: 8}
  other: {kind: scripted, model: n, script: script.py, revision: two}
roles: {judge: [main, other]}
constitutions: {"red-team-*": {CONSTITUTION}, "own*": {CONSTITUTION}, "harmless-*": {CONSTITUTION}}
too_long: drop-oldest-turns
revise: {of: both, rounds: 2}
feedback:
  pairs: [human, revised, sampled]
  samples: 4
  reasoning: {max_tokens: 64, samples: 2, temperature: 0.7}
pilot: {rows: 0}
doctor: false
"""

RICH_SCRIPT = """
from cai.digest import draw

CONTEXT_TOKENS = 900


def generate(request):
    texts = [m.text for m in request.rendered.messages]
    if request.labels["stage"] == "response":
        return "As a fresh reply, number %d." % (draw(request.seed, *texts) % 100)
    return "A kinder answer, number %d." % (draw(request.seed, *texts) % 100)


def score(request):
    number = draw(*[m.text for m in request.rendered.messages], request.rendered.answer_text)
    if number % 5 == 0:
        return [0.1, 0.1]
    a = 0.1 + 0.8 * (number % 1000) / 1000
    return [a * 0.98, (1 - a) * 0.98]
"""


def rich_run(folder: Path, constitution: str = "own") -> Path:
    """A run whose sources and recipe hold every oddity; not worked on yet."""
    run = folder / "runs" / "rich"
    run.mkdir(parents=True)
    write_rows(run, 5)
    path = run / "data" / "harmless-base" / "train.jsonl.gz"
    lines = gzip.decompress(path.read_bytes()).splitlines()
    long = "".join(f"\n\nHuman: {'word ' * 150}\n\nAssistant: Yes." for _ in range(6))
    lines += [
        lines[0],  # equal to the first
        b'{"chosen": "\\u00e9", "rejected": 3, "n": NaN}',
        b"\xff no JSON at all",
        orjson.dumps({"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: c\n\nAssistant: d"}),
        lines[0],
        orjson.dumps(
            {
                "rejected": f"{long}\n\nHuman: And?\n\nAssistant: No.",
                "chosen": f"{long}\n\nHuman: And?\n\nAssistant: Hm.",
            }
        ),
    ]
    path.write_bytes(gzip.compress(b"\n".join(lines) + b"\n", mtime=0))
    talk = "\n\nHuman: One?\n\nAssistant: Two.\n\nHuman: Three?\n\nAssistant: Four.\n\nHuman: Five?"
    attempts = [
        {"transcript": talk, "rating": 1.5, "tags": ["x"]},
        {"transcript": "nobody"},
        {"transcript": talk},
    ]
    (run / "attempts.jsonl").write_bytes(b"\n".join(map(orjson.dumps, attempts)))
    (run / "own").mkdir()
    turns = [{"role": "assistant", "content": "Fine."}], [{"role": "assistant", "content": "Bad."}]
    own = {
        "z": {"b": 1, "a": [2.50, -0.0]},
        "prompt": "Ask.",
        "chosen": turns[0],
        "rejected": turns[1],
        "a": None,
    }
    (run / "own" / "test.jsonl").write_bytes(orjson.dumps(own))
    (run / "own" / "left-out.jsonl").write_bytes(orjson.dumps(own))
    write_constitution(run)
    (run / "script.py").write_text(RICH_SCRIPT)
    (run / "recipe.yaml").write_text(RICH_RECIPE.replace("{CONSTITUTION}", constitution))
    return run


def worked(run: Path) -> Path:
    """The run, worked on to its end, with its dataset."""

    def build(target: Path) -> None:
        build_run(target, Console(quiet=True))

    assert asyncio.run(work(run, Wish(yes=True), build)) == 0
    return run


def reviewed(run: Path) -> Path:
    """The run, with a noise floor that was measured and a person's answers, and its dataset by both."""
    (run / "noise.json").write_bytes(orjson.dumps({"noise_floor": 0.01}))
    key = export_review(run / "dataset", run / "review", 4, None, run.name)
    answers: dict[str, Answer] = {item.item: "1" for item in key.items[:2]}
    write_answers(run / "review", Answers(key.sheet, "ann", answers, len(key.items) - 2))
    build_run(run, Console(quiet=True))
    return run
