"""How long a run with many finished rows takes to its first new request, and in how much memory.

    python -m tests.bench_resume --rows 100000

Makes a run over so many hh-rlhf rows whose outcomes are all in its store (made up, of the size of
real ones), but for the last row, and goes on with it in a process of its own; the scripted engine
writes down when it is first asked. First with a source file that is newer than the run's last start
(its rows are counted again), then as it was left, then with the store's index removed.

What this module does not know: how a run resumes.
"""

from __future__ import annotations

import argparse
import gzip
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson

from cai.digest import digest
from cai.outcome import outcome_digest
from cai.reading import ReadRun
from cai.run_folder import RunFolder
from cai.store import Store
from tests.toy_source import SCRIPT, write_run

CAI = [sys.executable, "-c", "from cai.cli import main; main()", "run"]
MARK = "    import time, pathlib; p = pathlib.Path({mark!r}); p.exists() or p.write_text(str(time.time()))\n"


def make(folder: Path, rows: int, requests: int) -> Path:
    """A run with all rows but the last finished, each with so many answers beside its outcome."""
    run = write_run(folder, rows=2)
    mark = MARK.format(mark=str(folder / "first"))
    script = SCRIPT.replace("def generate(request):\n", "def generate(request):\n" + mark)
    (run / "script.py").write_text(script.replace("def score(request):\n", "def score(request):\n" + mark))
    subprocess.run([*CAI, str(run)], check=True, capture_output=True)
    shutil.rmtree(run / "dataset")
    (run / "comparison.json").unlink()
    with gzip.open(run / "data" / "harmless-base" / "train.jsonl.gz", "wb", 1) as file:
        for i in range(rows):
            asked = f"\n\nHuman: {'What should one do? ' * 20}{i}\n\nAssistant:"
            file.write(
                orjson.dumps({"chosen": f"{asked} {'Fine. ' * 60}", "rejected": f"{asked} No."}) + b"\n"
            )
    with ReadRun(RunFolder(run)) as read:
        generation = read.generation.digest
        ids = [row for row, _ in read.source.ids()]
        old = next(record for record in read.store.records() if record.labels.get("stage") == "outcome")
    scores = {"logprobs": [-0.6931, -0.6931], "outside": 0.001, "prompt_tokens": 300, "finish": "stop"}
    with Store(run / "store", writable=True) as store:
        for number, row in enumerate(ids[:-1]):
            for i in range(requests):
                store.put(digest("bench", [row, i]), scores, {"row": row, "stage": "judgement"})
            outcome = {**old.answer, "row": row}
            store.put(outcome_digest(row, generation), outcome, {"row": row, "stage": "outcome"})
            if number % 20_000 == 0:
                store.commit()
    (folder / "first").unlink()
    return run


def resume(run: Path, mark: Path) -> dict[str, float]:
    """Seconds to the first new request by the clock and of the processor, and peak memory; then it is killed."""
    began = time.time()
    process = subprocess.Popen([*CAI, str(run)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peak = cpu = 0.0
    while not mark.exists() and process.poll() is None:
        time.sleep(0.01)
    status = Path(f"/proc/{process.pid}/status")
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith("VmHWM"):
            peak = int(line.split()[1]) / 1024
    times = Path(f"/proc/{process.pid}/stat")
    if times.exists():
        cpu = sum(map(int, times.read_text().rsplit(")", 1)[1].split()[11:13])) / os.sysconf("SC_CLK_TCK")
    process.kill()
    process.wait()
    assert mark.exists(), process.stderr.read().decode() if process.stderr else ""
    asked = float(mark.read_text())
    mark.unlink()
    return {
        "first_request_s": round(asked - began, 2),
        "processor_s": round(cpu, 2),
        "peak_mib": round(peak),
    }


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=4, help="answers beside each outcome")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = make(Path(folder), options.rows, options.requests)
        told: dict[str, object] = {"rows": options.rows, "cores": os.cpu_count()}
        told["load"] = round(os.getloadavg()[0], 1)
        told["store_mb"] = sum(path.stat().st_size for path in run.rglob("segment-*.jsonl")) // 10**6
        for name in ("source changed", "as it was left", "without index"):
            if name == "without index":
                shutil.rmtree(run / "store" / "index")
            told[name] = resume(run, Path(folder) / "first")
        sys.stdout.write(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode() + "\n")


if __name__ == "__main__":
    main()
