"""Kill a real run again and again, and hold its dataset byte for byte to an undisturbed one.

    python -m tests.torture --kills 100

A run of `cai run` against tests/small_server.py (a process of its own) is ended with SIGKILL at
instants drawn from a seed, and gone on with, until it finishes; then another one begins, until
there were enough kills. `--faults` lets one answer in five of the server go wrong, in all ways in
turn; `--server-kills` kills the server too, and starts it again a moment later.

What this module does not know: how a run survives.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from tests.chat_shapes import CHATML, byte_level, save
from tests.toy_source import write_constitution, write_rows

SERVER = Path(__file__).with_name("small_server.py")
CAI = [sys.executable, "-c", "from cai.cli import main; main()", "run"]
RATE = 0.2
FAULTS = (
    "429", "429-after", "500", "502", "503", "504", "reset", "reset-early", "truncated", "garbage",
    "error-inside", "nan", "null-logprob", "no-logprobs", "fewer-logprobs", "no-choices", "more-choices",
    "no-text", "aborted", "hang", "trickle",
)  # fmt: skip
"""All that a server may do wrong for a while; what says that every request is wrong ends a run, rightly."""

RECIPE = """\
sources:
  - {{kind: hh-rlhf, path: data}}
engines:
  main: {{kind: server, model: small, urls: "{url}", concurrency: 8, retry_s: 60, timeout_s: {timeout}}}
constitutions: {{"*": own}}
revise: {{rounds: 2}}
pilot: {{rows: 0}}
doctor: false
"""


class Server:
    """The small server on a port that it keeps through its deaths."""

    def __init__(self, tokenizer: Path, delay_s: float = 0.0, api_key: str = "") -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._arguments = ["--port", str(self.port), "--tokenizer", str(tokenizer), "--delay", str(delay_s)]
        self._arguments += ["--api-key", api_key] if api_key else []
        self.kills = 0
        self.faults = 0
        self._process: subprocess.Popen[str]
        self.start()

    def start(self) -> None:
        """Start it and wait until it listens."""
        self._process = subprocess.Popen(
            [sys.executable, str(SERVER), *self._arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # it tells of every client that went away
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline(), "the small server did not start"

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(OSError, AssertionError):
            self.faults += self.counters().get("faults", 0)
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def counters(self) -> dict[str, int]:
        """What went through since it started."""
        with urllib.request.urlopen(f"{self.url}/counters", timeout=10) as answer:
            counted: dict[str, int] = orjson.loads(answer.read())
        return counted

    def fault(self, kind: str = "", rate: float = 1.0, seconds: float = 1.0) -> None:
        """Let this share of the answers go wrong from now on; no kind: let all be well."""
        body = orjson.dumps({"kind": kind, "rate": rate, "seconds": seconds} if kind else {})
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/fault", body), timeout=10).close()


@dataclass
class Account:
    """What a torture did: kills of the run by what was under way, its ends, whole runs compared."""

    kills: Counter[str] = field(default_factory=Counter)
    instants_s: list[float] = field(default_factory=list)
    ends: Counter[int] = field(default_factory=Counter)
    runs: int = 0
    same: int = 0
    server_kills: int = 0
    faults: int = 0
    undisturbed_s: float = 0.0
    wall_s: float = 0.0

    def record(self) -> dict[str, object]:
        """As plain data."""
        told = {
            "kills": self.kills.total(), "killed_while": dict(self.kills),
            "whole_runs": self.runs, "whole_runs_identical": self.same,
            "exit_codes": {str(code): count for code, count in sorted(self.ends.items())},
            "server_kills": self.server_kills, "faults": self.faults,
            "undisturbed_s": round(self.undisturbed_s, 2), "wall_s": round(self.wall_s, 1),
        }  # fmt: skip
        if self.instants_s:
            told["instants_s"] = [round(min(self.instants_s), 3), round(max(self.instants_s), 3)]
        return told


def dataset_bytes(run: Path) -> dict[str, bytes]:
    """Every Parquet file of a run's dataset."""
    folder = run / "dataset"
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.parquet"))}


class Torture:
    """One server, one undisturbed run to compare with, and any number of runs that are killed."""

    def __init__(self, folder: Path, rows: int, delay_s: float = 0.01, timeout_s: float = 60.0) -> None:
        self.folder = folder
        tokenizer = folder / "tokenizer"
        tokenizer.mkdir()
        save(byte_level(), CHATML, tokenizer)
        self.server = Server(tokenizer, delay_s)
        self._rows = rows
        self._timeout_s = timeout_s
        self._runs = 0
        self.account = Account()
        began = time.monotonic()
        run = self.new_run()
        code, words = self.go(run)
        assert code == 0, words
        self.account.undisturbed_s = time.monotonic() - began
        self.expected = dataset_bytes(run)
        assert self.expected, words

    def new_run(self) -> Path:
        """A run folder on which nothing was worked yet; its name is that of all the others."""
        run = self.folder / f"go-{self._runs}" / "runs" / "test"
        self._runs += 1
        run.mkdir(parents=True)
        write_rows(run, self._rows)
        write_constitution(run, principles=2)
        (run / "recipe.yaml").write_text(RECIPE.format(url=self.server.url, timeout=self._timeout_s))
        return run

    def go(self, run: Path, kill_after_s: float | None = None) -> tuple[int, str]:
        """Run or go on; killed after so many seconds. Returns the exit code (-9: killed) and the words."""
        process = subprocess.Popen(
            [*CAI, str(run)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, "NO_COLOR": "1", "TERM": "dumb"},
        )
        try:
            words, _ = process.communicate(timeout=kill_after_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            words, _ = process.communicate()
        return process.returncode, words

    def torture(self, kills: int, seed: int) -> Account:
        """Kill and go on until there were so many kills and the run at hand has finished."""
        drawn = random.Random(seed)
        began = time.monotonic()
        while self.account.kills.total() < kills:
            self._one(drawn, kills)
        self.account.wall_s += time.monotonic() - began
        return self.account

    def _one(self, drawn: random.Random, kills: int) -> None:
        """One run from its beginning to its end, and its dataset held to the undisturbed one."""
        run = self.new_run()
        failed = 0
        while True:
            enough = self.account.kills.total() >= kills
            instant = None if enough else drawn.uniform(0.0, self.account.undisturbed_s)
            before = _stage(run)
            began = time.monotonic()
            code, words = self.go(run, instant)
            if code == 0 and before == "nothing":  # the machine may have become quicker
                took = time.monotonic() - began
                self.account.undisturbed_s = min(self.account.undisturbed_s, took)
            if code == -signal.SIGKILL:
                assert instant is not None, words
                self.account.kills[f"{before} → {_stage(run)}"] += 1
                self.account.instants_s.append(instant)
                continue
            self.account.ends[code] += 1
            assert code in (0, 1, 3), f"exit code {code}:\n{words}"
            assert "Traceback" not in words, words
            if code == 0:
                break
            failed += 1  # 3: rows in quarantine; 1: a server that was away for too long
            assert failed < 40, words
        self.account.runs += 1
        made = dataset_bytes(run)
        assert made.keys() == self.expected.keys(), f"{run}: {sorted(made)}"
        differ = [name for name, data in made.items() if data != self.expected[name]]
        assert not differ, f"{run}: {differ} differ from the undisturbed run's"
        self.account.same += 1
        shutil.rmtree(run.parents[1])

    @contextlib.contextmanager
    def disturbed(self, faults: bool, server_kills: bool, seed: int) -> Iterator[None]:
        """Faults in turn, a tenth of a second each, and deaths of the server, until it ends."""
        ending = threading.Event()
        thread = threading.Thread(target=self._disturb, args=(ending, faults, server_kills, seed))
        thread.start()
        try:
            yield
        finally:
            ending.set()
            thread.join()
            self.server.fault()
            self.account.faults = self.server.faults + self.server.counters().get("faults", 0)
            self.account.server_kills = self.server.kills

    def _disturb(self, ending: threading.Event, faults: bool, server_kills: bool, seed: int) -> None:
        drawn = random.Random(seed)
        turn = 0
        death = time.monotonic() + drawn.uniform(1, 4)
        while not ending.wait(0.1):
            if server_kills and time.monotonic() > death:
                self.server.kill()
                self.server.kills += 1
                ending.wait(drawn.uniform(0, 0.5))
                self.server.start()
                death = time.monotonic() + drawn.uniform(1, 4)
            if faults:
                self.server.fault(FAULTS[turn % len(FAULTS)], RATE, seconds=0.5)
                turn += 1

    def close(self) -> None:
        """End the server."""
        self.server.kill()


def _stage(run: Path) -> str:
    """How far a run has come, by what lies in its folder."""
    if (run / "comparison.json").exists():
        return "compared"
    if (run / "dataset").exists():
        return "dataset"
    sizes = [path.stat().st_size for path in (run / "store").glob("segment-*.jsonl")]
    return "asking" if sum(sizes) else "opened" if sizes else "nothing"


def main() -> None:
    """Torture until there were so many kills; print the account as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--rows", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--server-kills", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        torture = Torture(Path(folder), options.rows, delay_s=0.03, timeout_s=3.0)
        try:
            with torture.disturbed(options.faults, options.server_kills, options.seed):
                torture.torture(options.kills, options.seed)
        finally:
            torture.close()
            told = orjson.dumps(torture.account.record(), option=orjson.OPT_INDENT_2).decode()
            sys.stdout.write(f"seed {options.seed}\n{told}\n")


if __name__ == "__main__":
    main()
