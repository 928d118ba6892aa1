"""`make bench`: what the client costs, and what it leaves of a server's throughput.

Client cost: the whole job (source, rendering, token ids, durable store, progress on) against an
instant server in a process of its own, interleaved with a bare loop that sends bodies of the
same kind and size with the same HTTP client. CPU is this process's, divided by requests (a
request is one completion or one scored prompt, however many travel in a call).

Throughput: the whole job against a real vLLM (where its environment is there), interleaved
with an ideal client that sends the very same bodies with nothing to wait for but the server.

    python -m tests.bench [--rows N] [--vllm-rows N] [--repeats N] [--skip-client] [--skip-vllm] [--profile FILE]

What this module does not know: how an engine or a job works; it measures them from outside.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import cProfile
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import uvloop
from rich.console import Console
from ruamel.yaml import YAML

from cai.cli.display import Display
from cai.engine.serve import VllmServer
from cai.live import LiveRun
from cai.run_folder import open_run
from cai.shipped import shipped
from cai.toy import MODEL_FOLDER, write_world
from tests.real_vllm import environment, free_port, section, vllm_python

IN_FLIGHT = 256


class Recorder:
    """A trace of the bodies that a job sends, for the ideal client and the bare loop."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def config(self) -> aiohttp.TraceConfig:
        """What aiohttp calls for each chunk that is sent."""
        trace = aiohttp.TraceConfig()

        async def sent(_: Any, __: Any, chunk: aiohttp.TraceRequestChunkSentParams) -> None:
            self.bodies.append(bytes(chunk.chunk))

        trace.on_request_chunk_sent.append(sent)
        return trace


def write_run(folder: Path, name: str, url: str, rows: int, shape: str) -> Path:
    """A run over the toy world against a server; `shape`: `whole`, `texts` or `judgements`."""
    run = folder / "runs" / name
    run.mkdir(parents=True)
    source = folder / f"data-{rows}"
    if not source.exists():
        write_world(source, seed=5, pairs=rows)
    recipe = YAML(typ="safe").load(shipped("toy/recipe.yaml").read_text("utf-8"))
    engine = {"kind": "server", "model": "cai-toy", "urls": [url], "tokenizer": str(MODEL_FOLDER)}
    recipe["engines"] = {"toy": {**engine, "concurrency": IN_FLIGHT}}
    recipe["sources"][0]["path"] = str(source / "hh-rlhf")
    if shape == "texts":
        recipe["feedback"] = None
    if shape == "judgements":
        recipe["revise"] = None
        recipe["feedback"] = {"pairs": ["human"], "principles": "all"}
    with (run / "recipe.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(recipe, file)
    return run


async def run_job(run: Path, recorder: Recorder | None = None) -> tuple[float, float, int]:
    """Run a job once; returns CPU seconds of this process, wall seconds, requests."""
    quiet = Console(file=(run / "progress.txt").open("w"), force_terminal=True, width=100)
    async with LiveRun(open_run(run)) as live:
        for engine in live.engines.values():
            await engine.open()
            if recorder is not None:
                _listen(engine.inner, recorder)
        cpu, wall = time.process_time(), time.perf_counter()
        async with Display("bench", live.job.progress, live.ask, quiet):
            await live.job.work(live.rows_in_flight)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        requests = sum(account.answered for account in live.ask.accounts.values())
        assert not live.job.progress.quarantined
    return cpu, wall, requests


def _listen(engine: Any, recorder: Recorder) -> None:
    """Have the engine's HTTP session report what it sends."""
    found = {value for value in _inside(engine) if isinstance(value, aiohttp.ClientSession)}
    assert found, "the engine holds no HTTP session"
    for http in found:
        config = recorder.config()
        config.freeze()
        http.trace_configs.append(config)


def _inside(item: Any, depth: int = 3) -> list[Any]:
    values = list(vars(item).values()) if hasattr(item, "__dict__") else []
    values += [inner for value in values if isinstance(value, (list, tuple)) for inner in value]
    values += [inner for value in values if isinstance(value, dict) for inner in value.values()]
    if depth:
        values += [
            deep
            for value in values
            if type(value).__module__.startswith("cai")
            for deep in _inside(value, depth - 1)
        ]
    return values


async def send_all(url: str, bodies: list[bytes], in_flight: int) -> tuple[float, float]:
    """Send bodies with a bare loop of the same HTTP client; returns CPU and wall seconds."""
    waiting = iter(bodies)
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:

        async def worker() -> None:
            for body in waiting:
                async with http.post(f"{url}/v1/completions", data=body, headers=headers) as response:
                    orjson.loads(await response.read())

        cpu, wall = time.process_time(), time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(in_flight)))
        return time.process_time() - cpu, time.perf_counter() - wall


@contextlib.asynccontextmanager
async def instant_server() -> AsyncIterator[str]:
    """tests/small_server.py in a process of its own, answering at once."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "tests/small_server.py", "--port", "0", "--instant"),
        *("--model", "cai-toy", "--tokenizer", str(MODEL_FOLDER)),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    line = await process.stdout.readline()
    try:
        yield f"http://127.0.0.1:{orjson.loads(line)['port']}"
    finally:
        process.terminate()
        await process.wait()


def spread(values: list[float], form: str = "{:.0f}") -> str:
    """`median (least to most)`."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{form.format(middle)} ({form.format(low)} to {form.format(high)})"


async def bench_client(folder: Path, rows: int, repeats: int) -> None:
    """Client CPU per request, for three shapes of recipe, beside the bare loop."""
    async with instant_server() as url:
        for shape in ("texts", "judgements", "whole"):
            job_cpu, job_rate, bare_cpu, bare_rate = [], [], [], []
            per_call = 0.0
            for repeat in range(repeats + 1):
                recorder = Recorder() if repeat == 0 else None
                run = write_run(folder, f"{shape}-{repeat}", url, rows, shape)
                cpu, wall, requests = await run_job(run, recorder)
                if recorder is not None:  # a warm-up, which also records what to send bare
                    bodies = recorder.bodies
                    per_call = requests / len(bodies)
                    await send_all(url, bodies, IN_FLIGHT)
                    continue
                job_cpu.append(cpu / requests * 1e6)
                job_rate.append(requests / wall)
                cpu, wall = await send_all(url, bodies, IN_FLIGHT)
                bare_cpu.append(cpu / len(bodies) * 1e6)
                bare_rate.append(len(bodies) / wall)
            print(f"{shape}: {requests:,} requests in {len(bodies):,} calls ({per_call:.1f} a call)")
            print(f"  job        {spread(job_cpu)} us of client CPU a request, {spread(job_rate)} requests/s")
            print(f"  bare loop  {spread(bare_cpu)} us of client CPU a call, {spread(bare_rate)} calls/s")


async def bench_vllm(folder: Path, rows: int, repeats: int) -> None:
    """Throughput on a real vLLM beside an ideal client with the same bodies."""
    engine = section(free_port())
    os.environ["VLLM_SERVER_DEV_MODE"] = "1"  # lets the prefix cache be emptied
    with environment():
        server = VllmServer(engine)
        await server.start()
    try:
        await server.wait_ready()
        url = engine.urls[0]
        recorder = Recorder()
        await run_job(write_run(folder, "vllm-warm", url, rows, "whole"), recorder)
        job, ideal = [], []
        for repeat in range(repeats):
            await _forget(url)
            _, wall, requests = await run_job(write_run(folder, f"vllm-{repeat}", url, rows, "whole"))
            job.append(requests / wall)
            await _forget(url)
            _, wall = await send_all(url, recorder.bodies, IN_FLIGHT)
            ideal.append(requests / wall)
        ratios = [a / b for a, b in zip(job, ideal, strict=True)]
        print(f"vLLM: {requests:,} requests in {len(recorder.bodies):,} calls")
        print(f"  job           {spread(job)} requests/s")
        print(f"  ideal client  {spread(ideal)} requests/s")
        print(f"  ratio         {spread(ratios, '{:.3f}')}")
    finally:
        await server.stop()


async def _forget(url: str) -> None:
    """Empty the server's prefix cache, so that both clients begin alike."""
    async with aiohttp.ClientSession() as http, http.post(f"{url}/reset_prefix_cache") as response:
        response.raise_for_status()


def machine() -> str:
    """Where this was measured, and with what."""
    names = ("aiohttp", "orjson", "uvloop", "tokenizers", "pydantic")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"{line.split(':')[1].strip()}; Python {platform.python_version()}, {versions}"
    return f"{platform.processor()}; Python {platform.python_version()}, {versions}"


def main() -> None:
    """Run the benchmarks and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--vllm-rows", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--skip-client", action="store_true")
    parser.add_argument("--skip-vllm", action="store_true")
    parser.add_argument("--profile", type=Path)
    wanted = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="cai-bench-"))
    print(machine())
    profiler = cProfile.Profile() if wanted.profile else None
    try:
        if profiler is not None:
            profiler.enable()
        if not wanted.skip_client:
            uvloop.run(bench_client(folder, wanted.rows, wanted.repeats))
        if profiler is not None:
            profiler.disable()
            profiler.dump_stats(wanted.profile)
        if wanted.skip_vllm or vllm_python() is None:
            print(
                "vLLM: skipped" if wanted.skip_vllm else "vLLM: no environment; `make test-vllm` builds one"
            )
        else:
            uvloop.run(bench_vllm(folder, wanted.vllm_rows, wanted.repeats))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
