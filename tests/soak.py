"""A million rows of two requests each, against an instant server that fails now and then.

    python -m tests.soak FOLDER [--rows N] [--rate R] [--kill-at SHARE] [--docs docs] [--go-on]

Writes so many rows of hh-rlhf's form into FOLDER (made from a seed, short texts, one in twenty in the test split), judges each pair
by one principle in both orders, and has the server answer one call in a hundred with a 429, a 500,
a 503, a reset, a cut or unreadable body, or an error inside a 200. The run is killed (SIGKILL) once on
its way and gone on with; when it is done it is gone on with once more, for one row that was added.
Then `cai dataset` and `cai compare`, each in a process of its own.

Every second the memory and processor time of the process, the size of the store and what the
server has counted go into FOLDER/samples.csv; FOLDER/soak.json holds the figures. With `--docs` both
are made into docs/soak.md and docs/soak.svg (`--only-page` makes these from what lies in FOLDER).
Where the measuring itself was ended, `--go-on` goes on with the run as it lies there; what the server had
counted by then is taken from the samples, where it is not told apart by kinds of fault.

What this module does not know: how a run works; it measures from outside.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import orjson

from cai.toy import MODEL_FOLDER

SERVER = Path(__file__).with_name("small_server.py")
CAI = [sys.executable, "-c", "from cai.cli import main; main()"]
FAULTS = ("429", "500", "503", "reset", "truncated", "garbage", "error-inside")
EVERY_S = 1.0
HELD_OUT = 0.05
"""Share of the rows that is another split, so that the dataset is searched for leaks."""
TICK = os.sysconf("SC_CLK_TCK")
COLUMNS = (
    *("seconds", "go", "phase", "rss_mib", "own_mib", "cpu_s", "store_mb", "index_mb"),
    *("calls", "faults", "in_flight", "load"),
)
RECIPE = """\
sources:
  - {{kind: hh-rlhf, path: data}}
engines:
  main: {{kind: server, model: soak, urls: "{url}", tokenizer: "{tokenizer}", concurrency: 256}}
constitutions: {{"*": own}}
feedback: {{pairs: [human], principles: all, harm: false, min_option_mass: 0}}
revise: null
pilot: {{rows: 200}}
doctor: false
"""
PRINCIPLES = """\
constitution: own
title: Own
principles:
  - id: kind
    text: Be kind.
    judgement: Which response is kinder?
"""
WORDS = [
    "what",
    "should",
    "one",
    "do",
    "when",
    "a",
    "friend",
    "asks",
    "for",
    "help",
    "with",
    "the",
    "garden",
    "and",
    "there",
    "is",
    "no",
    "time",
    "left",
    "today",
    "because",
    "work",
    "was",
    "long",
    "but",
    "they",
    "were",
    "kind",
    "before",
    "please",
    "tell",
    "me",
    "how",
    "to",
    "say",
    "this",
    "without",
    "being",
    "unkind",
    "or",
    "dishonest",
    "you",
    "could",
    "write",
    "a",
    "short",
    "note",
    "first",
    "then",
    "call",
    "tomorrow",
    "morning",
    "maybe",
    "bring",
    "some",
    "bread",
    "it",
    "is",
    "fine",
    "to",
    "rest",
]


def write_rows(path: Path, rows: int, seed: int = 0) -> None:
    """Rows of hh-rlhf's form, about 300 bytes each, streamed to disk."""
    drawn = random.Random(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb", buffering=1 << 20) as file:
        for number in range(rows):
            file.write(_row(drawn, number))


def _row(drawn: random.Random, number: int) -> bytes:
    def said(least: int, most: int) -> str:
        return " ".join(drawn.choices(WORDS, k=drawn.randint(least, most)))

    asked = f"\n\nHuman: {said(4, 12)} {number}?\n\nAssistant:"
    if number % 3 == 0:
        asked = f"\n\nHuman: {said(3, 6)}?\n\nAssistant: {said(3, 6)}.{asked}"
    row = {"chosen": f"{asked} {said(4, 20)}.", "rejected": f"{asked} {said(4, 20)}."}
    return orjson.dumps(row) + b"\n"


def write_run(folder: Path, url: str, rows: int) -> Path:
    """The run's folder, with its rows."""
    run = folder / "run"
    (run / "principles").mkdir(parents=True)
    (run / "principles" / "own.yaml").write_text(PRINCIPLES)
    (run / "recipe.yaml").write_text(RECIPE.format(url=url, tokenizer=MODEL_FOLDER))
    held_out = round(HELD_OUT * rows)
    write_rows(run / "data" / "harmless-base" / "train.jsonl", rows - held_out)
    write_rows(run / "data" / "harmless-base" / "test.jsonl", held_out, seed=1)
    return run


@contextmanager
def server(rate: float) -> Iterator[str]:
    """The instant server in a process of its own, faults on; gives its address."""
    command = [sys.executable, str(SERVER), "--port", "0", "--instant", "--variants", "500"]
    command += ["--model", "soak", "--tokenizer", str(MODEL_FOLDER)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    url = f"http://127.0.0.1:{orjson.loads(process.stdout.readline())['port']}"
    try:
        fault = orjson.dumps({"kinds": FAULTS, "rate": rate})
        urllib.request.urlopen(urllib.request.Request(f"{url}/fault", data=fault, method="POST")).read()
        yield url
    finally:
        process.terminate()
        process.wait()


def counters(url: str) -> dict[str, int]:
    """What the server has counted."""
    with urllib.request.urlopen(f"{url}/counters", timeout=30) as answer:
        found: dict[str, int] = orjson.loads(answer.read())
        return found


@dataclass
class Watched:
    """A process of ours until its end: exit code, seconds, processor time, peak memory."""

    code: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0
    peak_mib: float = 0.0
    own_mib: float = 0.0
    first_call_s: float | None = None
    peak_by_phase: dict[str, float] = field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        """As the page has it."""
        told: dict[str, Any] = {"exit": self.code, "seconds": round(self.seconds, 1)}
        told |= {
            "cpu_s": round(self.cpu_s, 1),
            "peak_mib": round(self.peak_mib),
            "own_mib": round(self.own_mib),
        }
        if self.first_call_s is not None:
            told["first_call_s"] = round(self.first_call_s, 2)
        told["peak_mib_by_phase"] = {name: round(peak) for name, peak in self.peak_by_phase.items()}
        return told


class Watch:
    """Runs a verb and writes down once a second how it does."""

    def __init__(self, run: Path, url: str, samples: TextIO, earlier: dict[str, Any]) -> None:
        self._run = run
        self._url = url
        self._file = samples
        self._samples = csv.writer(samples)
        if not earlier:
            self._samples.writerow(COLUMNS)
        self._earlier = earlier
        self._began = time.monotonic() - earlier.get("seconds", 0)
        self._go = int(earlier.get("go", 0))

    def __call__(self, *arguments: str, kill_when: Callable[[], bool] | None = None) -> Watched:
        """Run `cai` with these arguments to its end, or until `kill_when` says so."""
        self._go += 1
        watched = Watched()
        calls = counters(self._url).get("calls", 0)
        log = (self._run.parent / f"go-{self._go}.log").open("w")
        began = time.monotonic()
        process = subprocess.Popen([*CAI, *arguments, str(self._run)], stdout=log, stderr=log)
        due = began
        while process.poll() is None:
            waits = arguments[0] == "run" and watched.first_call_s is None
            time.sleep(0.02 if waits else 0.1)
            now = time.monotonic()
            if waits and counters(self._url).get("calls", 0) > calls:
                watched.first_call_s = now - began
            if now >= due:
                due += EVERY_S
                self._sample(process.pid, watched)
                if kill_when is not None and kill_when():
                    process.send_signal(signal.SIGKILL)
        watched.seconds = time.monotonic() - began
        watched.code = process.returncode
        log.close()
        return watched

    def _sample(self, pid: int, watched: Watched) -> None:
        try:
            status = dict(
                line.split(":", 1)
                for line in Path(f"/proc/{pid}/status").read_text().splitlines()
                if ":" in line
            )
            times = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
            rss, peak = (int(status[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
            own = int(status["RssAnon"].split()[0]) / 1024
        except (OSError, KeyError, IndexError):
            return  # it has just ended
        phase = self._phase()
        watched.cpu_s = sum(map(int, times)) / TICK
        watched.peak_mib = max(watched.peak_mib, peak)
        watched.own_mib = max(watched.own_mib, own)
        watched.peak_by_phase[phase] = max(watched.peak_by_phase.get(phase, 0.0), rss)
        counted = counters(self._url)
        store = sum(path.stat().st_size for path in self._run.glob("store/segment-*.jsonl")) / 1e6
        index = sum(path.stat().st_size for path in self._run.glob("store/index/table-*.bin")) / 1e6
        self._samples.writerow(
            [
                *(round(time.monotonic() - self._began, 1), self._go, phase),
                *(round(item, 1) for item in (rss, own, watched.cpu_s, store, index)),
                *(counted.get(name, 0) + int(self._earlier.get(name, 0)) for name in ("calls", "faults")),
                *(counted.get("open", 0), round(os.getloadavg()[0], 1)),
            ]
        )
        self._file.flush()

    def _phase(self) -> str:
        if (self._run / ".dataset-new").exists():
            return "dataset"
        return "comparison" if (self._run / "dataset").exists() else "rows"


def last_sample(folder: Path) -> dict[str, Any]:
    """The last thing that was measured in a folder, numbers as numbers."""
    with (folder / "samples.csv").open(newline="") as file:
        *_, last = csv.DictReader(file)
    return {name: value if name == "phase" else float(value) for name, value in last.items()}


def soak(folder: Path, rows: int, rate: float, kill_at: float, go_on: bool = False) -> dict[str, Any]:
    """The whole of it; returns the figures, which lie in FOLDER/soak.json too."""
    told: dict[str, Any] = {"rows": rows, "rate": rate, "date": time.strftime("%Y-%m-%d"), **machine()}
    earlier = last_sample(folder) if go_on else {}
    with server(rate) as url, (folder / "samples.csv").open("a" if go_on else "w", newline="") as samples:
        run = folder / "run" if go_on else write_run(folder, url, rows)
        source = run / "data" / "harmless-base" / "train.jsonl"
        told["source_mb"] = round(sum(p.stat().st_size for p in source.parent.iterdir()) / 1e6)
        told["goes"] = {}
        if go_on:
            told |= orjson.loads((folder / "soak.json").read_bytes())
            told["before"] = {name: int(earlier[name]) for name in ("calls", "faults")}
            recipe = (run / "recipe.yaml").read_text()
            (run / "recipe.yaml").write_text(re.sub(r'urls: "[^"]*"', f'urls: "{url}"', recipe))
        watch = Watch(run, url, samples, earlier)

        def go(name: str, *arguments: str, kill_when: Callable[[], bool] | None = None) -> None:
            done = watch(*arguments, kill_when=kill_when)
            told["goes"][name] = done.told()
            sys.stderr.write(f"{name}: {told['goes'][name]}\n")
            (folder / "soak.json").write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2))

        killed_at = round(kill_at * rows)
        if not go_on:
            go("run, killed", "run", "--yes", kill_when=lambda: counters(url).get("calls", 0) >= killed_at)
        go("resumed to the end", "run", "--yes")
        told["server"] = counters(url)
        told["store_mb"] = round(sum(p.stat().st_size for p in run.glob("store/segment-*.jsonl")) / 1e6)
        shutil.rmtree(run / "dataset")
        with source.open("ab") as file:
            file.write(_row(random.Random(-1), rows))
        # Ends when the one new row is there: what follows is measured by itself below.
        go("one new row", "run", "--yes", kill_when=lambda: (run / ".dataset-new").exists())
        for name, arguments in (
            *(("dataset", ("dataset",)), ("compare", ("compare",)), ("status", ("status",))),
            ("store verify", ("store", "verify")),
        ):
            go(name, *arguments)
    told["status"] = orjson.loads(
        subprocess.run([*CAI, "status", str(run), "--json"], capture_output=True).stdout
    )
    told["summary"] = orjson.loads((run / "dataset" / "summary.json").read_bytes())
    (folder / "soak.json").write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2))
    return told


def machine() -> dict[str, Any]:
    """Where this is measured, and with what."""
    from importlib.metadata import version

    names = ("aiohttp", "orjson", "pyarrow", "uvloop", "tokenizers")
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    processor = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout
    return {
        "commit": commit.strip(),
        "processor": processor,
        "cores": os.cpu_count(),
        "load_at_start": round(os.getloadavg()[0], 1),
        "versions": {"Python": sys.version.split()[0], **{name: version(name) for name in names}},
    }


def main() -> None:
    """Measure, and make the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rate", type=float, default=0.015, help="share of calls that go wrong")
    parser.add_argument("--kill-at", type=float, default=0.4, help="after which share of the calls")
    parser.add_argument("--docs", type=Path, help="write soak.md and soak.svg into this folder")
    parser.add_argument("--only-page", action="store_true", help="measure nothing, make the page")
    parser.add_argument(
        "--commit", default="", help="what was measured, where the working folder does not say"
    )
    parser.add_argument("--go-on", action="store_true", help="go on with what lies in FOLDER")
    options = parser.parse_args()
    if not options.only_page:
        options.folder.mkdir(parents=True, exist_ok=options.go_on)
        soak(options.folder.resolve(), options.rows, options.rate, options.kill_at, options.go_on)
    if options.docs is not None:
        from tests.soak_page import write_page

        write_page(options.folder, options.docs, options.commit)


if __name__ == "__main__":
    main()
