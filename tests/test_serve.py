"""Starting, awaiting and stopping vLLM, with a package named `vllm` that speaks its few endpoints.

The real vLLM is tested by `make test-vllm`.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cai.engine import serve, supervisor
from cai.engine.kinds import LazyEngine, make_engine
from cai.engine.serve import VllmServer
from cai.errors import EngineDownError, EngineRefusedError, MissingExtraError
from cai.recipe import EngineSection, ServeSection
from tests.chat_shapes import CHATML, byte_level, save
from tests.test_server_engine import generate

STAND_IN = """
import argparse, http.server, json, os, signal, sys, time
from pathlib import Path

parser = argparse.ArgumentParser()
for name in ("model", "served-model-name", "host", "generation-config", "max-logprobs", "behave", "notes"):
    parser.add_argument("--" + name, default="")
parser.add_argument("--port", type=int)
parser.add_argument("--enable-prefix-caching", action="store_true")
args, rest = parser.parse_known_args()
notes = Path(args.notes)
asked = {"argv": sys.argv[1:], "key": os.environ.get("VLLM_API_KEY"), "pid": os.getpid(), "probes": 0}
asked["invariant"] = os.environ.get("VLLM_BATCH_INVARIANT")
notes.write_text(json.dumps(asked))
print("INFO starting", args.model)
if args.behave == "dies":
    for number in range(30):
        print("line", number, file=sys.stderr)
    sys.exit("RuntimeError: no room for the KV cache")
if args.behave == "hangs":
    time.sleep(600)
if args.behave == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

class Handler(http.server.BaseHTTPRequestHandler):
    def reply(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def do_GET(self):
        self.reply(200, {})
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked["probes"] += 1
        asked["body"] = body
        notes.write_text(json.dumps(asked))
        if asked["key"] and self.headers.get("Authorization") != "Bearer " + asked["key"]:
            return self.reply(401, {"error": "Unauthorized"})
        if body["model"] != args.served_model_name:
            return self.reply(404, {"error": {"message": "The model does not exist."}})
        if args.behave == "refuses":
            return self.reply(400, {"error": {"message": "logprobs are switched off"}})
        if args.behave == "unscored" or asked["probes"] < 2:
            return self.reply(200, {"choices": [{"text": "x", "logprobs": None}]})
        self.reply(200, {"choices": [{"text": "x", "logprobs": {"top_logprobs": [{"token_id:0": -1.0}]}}]})

print("INFO listening")
http.server.HTTPServer((args.host, args.port), Handler).serve_forever()
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Bench:
    """A python that has the stand-in for vLLM, and sections that use it."""

    def __init__(self, folder: Path) -> None:
        package = folder / "packages" / "vllm" / "entrypoints" / "openai"
        package.mkdir(parents=True)
        (package / "api_server.py").write_text(STAND_IN)
        self.python = folder / "python"
        self.python.write_text(
            f'#!/bin/sh\nPYTHONPATH="{folder / "packages"}" PYTHONUNBUFFERED=1 exec "{sys.executable}" "$@"\n'
        )
        self.python.chmod(0o755)
        self.notes = folder / "notes.json"
        self.log = folder / "logs" / "vllm.log"

    def section(self, behave: str = "", **fields: Any) -> EngineSection:
        arguments = ["--notes", str(self.notes), "--behave", behave]
        settings = {"port": free_port(), "python": str(self.python), "arguments": arguments, **fields}
        return EngineSection(kind="server", model="toy", path="some/folder", serve=ServeSection(**settings))

    def server(self, behave: str = "", **fields: Any) -> VllmServer:
        return VllmServer(self.section(behave, **fields), self.log)

    def seen(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.notes.read_text())
        return found


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(serve, "POLL_S", 0.02)
    monkeypatch.delenv("CAI_API_KEY", raising=False)
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    return Bench(tmp_path)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_it_is_ready_only_when_a_scored_request_is_answered(bench: Bench) -> None:
    async with bench.server() as server:
        seen = bench.seen()
        assert seen["probes"] == 2, "the first answer had no log-probabilities"
        assert seen["body"]["model"] == "toy"
        assert len(seen["body"]["prompt"].split()) >= 64
        assert is_running(seen["pid"])
    assert not is_running(seen["pid"])
    assert "INFO listening" in server.log_path.read_text()


async def test_batch_invariance_is_asked_of_vllm_where_the_recipe_says_so(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VLLM_BATCH_INVARIANT", raising=False)
    async with bench.server(batch_invariant=True):
        assert bench.seen()["invariant"] == "1"
    async with bench.server():
        assert bench.seen()["invariant"] is None


async def test_the_flags_are_right_and_arguments_of_the_recipe_come_last(bench: Bench) -> None:
    async with bench.server() as server:
        argv = bench.seen()["argv"]
    flags = dict(pairwise(argv))
    assert flags["--model"] == "some/folder"
    assert flags["--served-model-name"] == "toy"
    assert flags["--host"] == "127.0.0.1"
    assert flags["--generation-config"] == "vllm"
    assert int(flags["--max-logprobs"]) >= 20
    assert "--enable-prefix-caching" in argv
    assert argv[-4:-1] == ["--notes", str(bench.notes), "--behave"]
    assert server.url == f"http://127.0.0.1:{flags['--port']}"


def test_a_model_of_the_hub_is_pinned_to_its_revision() -> None:
    section = EngineSection(
        kind="server", model="org/name", revision="abc", dtype="float32", tokenizer="t", serve=ServeSection()
    )
    command = VllmServer(section).command()
    flags = dict(pairwise(command))
    assert flags["--model"] == "org/name"
    assert flags["--revision"] == "abc"
    assert flags["--dtype"] == "float32"
    assert flags["--tokenizer"] == "t"


async def test_a_server_that_dies_early_shows_the_end_of_its_log(bench: Bench) -> None:
    server = bench.server("dies")
    await server.start()
    with pytest.raises(EngineDownError) as caught:
        await server.wait_ready()
    message = str(caught.value)
    assert "ended with code 1" in message
    assert "no room for the KV cache" in message
    assert "line 29" in message
    assert "line 3\n" not in message
    assert str(bench.log) in message


async def test_a_server_that_never_answers_is_stopped_after_the_timeout(bench: Bench) -> None:
    server = bench.server("hangs", ready_timeout_s=1.0)
    await server.start()
    with pytest.raises(EngineDownError, match="within 1 s"):
        await server.wait_ready()
    assert not is_running(bench.seen()["pid"])


async def test_answers_without_logprobs_are_not_ready(bench: Bench) -> None:
    server = bench.server("unscored", ready_timeout_s=1.0)
    await server.start()
    with pytest.raises(EngineDownError, match="within 1 s"):
        await server.wait_ready()


async def test_a_refusal_is_told_at_once(bench: Bench) -> None:
    server = bench.server("refuses")
    await server.start()
    with pytest.raises(EngineRefusedError, match="logprobs are switched off"):
        await server.wait_ready()
    assert not is_running(bench.seen()["pid"])


async def test_a_server_that_ignores_sigterm_is_killed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "STOP_S", 0.2)
    server = bench.server("stubborn")
    await server.start()
    await server.wait_ready()
    await server.stop()
    assert await server.wait_ended() == -9
    await server.stop()


async def test_a_taken_port_is_refused_before_anything_starts(bench: Bench) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = bench.server(port=listener.getsockname()[1])
        with pytest.raises(EngineRefusedError, match="already listens"):
            await server.start()
    assert not bench.notes.exists()
    await server.stop()


async def test_the_log_of_a_server_that_crashed_stays_where_it_cannot_be_started_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    server = VllmServer(bench.section())
    await server.start()
    await server.wait_ready()
    process = server._process
    assert process is not None
    process.kill()
    await server.wait_ended()

    async def taken() -> None:
        raise EngineRefusedError("Something already listens.", "")

    monkeypatch.setattr(server, "_check_port", taken)
    with pytest.raises(EngineRefusedError, match="already listens"):
        await server.restart()
    assert server.log_path.read_text() != ""


async def test_others_can_reach_it_only_with_a_key(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineRefusedError, match="Set CAI_API_KEY"):
        await bench.server(host="0.0.0.0").start()
    monkeypatch.setenv("CAI_API_KEY", "secret")
    async with bench.server(host="0.0.0.0") as server:
        seen = bench.seen()
    assert seen["key"] == "secret"
    assert "secret" not in " ".join(seen["argv"])
    assert server.url.startswith("http://127.0.0.1:")


async def test_a_python_without_vllm_says_how_to_install_it(bench: Bench) -> None:
    empty = bench.python.with_name("empty")
    empty.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -I "$@"\n')
    empty.chmod(0o755)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[vllm\]"):
        await bench.server(python=str(empty)).start()
    with pytest.raises(EngineRefusedError, match="no python"):
        await bench.server(python=str(bench.python.with_name("nowhere"))).start()


AS_VLLM = """
import os, runpy, sys
from pathlib import Path

given = sys.argv[1:]
said = {name: given[given.index(name) + 1] for name in ("--port", "--served-model-name", "--tokenizer", "--notes")}
with Path(said["--notes"]).open("a") as notes:
    notes.write(f"{os.getpid()}\\n")
print("INFO a small server as", said["--served-model-name"])
sys.argv = ["small_server.py", "--port", said["--port"], "--model", said["--served-model-name"]]
sys.argv += ["--tokenizer", said["--tokenizer"]]
runpy.run_path(SERVER, run_name="__main__")
"""


def supervised(bench: Bench, folder: Path) -> LazyEngine:
    """An engine that starts its server itself: the small one, by the flags of vLLM."""
    package = folder / "packages" / "vllm" / "entrypoints" / "openai" / "api_server.py"
    small = Path(__file__).with_name("small_server.py")
    package.write_text(AS_VLLM.replace("SERVER", repr(str(small))))
    save(byte_level(), CHATML, folder / "tokenizer")
    section = bench.section(with_run=True).model_copy(
        update={"tokenizer": str(folder / "tokenizer"), "retry_s": 0.5}
    )
    return LazyEngine(
        "judge",
        section,
        make=lambda: make_engine("judge", section, "2026-11-21"),
        settle=lambda identity: identity,
        known=None,
    )


async def crash(bench: Bench, count: int) -> None:
    """Kill the server that was started last, once `count` have been started."""
    for _ in range(400):
        pids = bench.notes.read_text().split()
        if len(pids) == count:
            break
        await asyncio.sleep(0.05)
    os.kill(int(pids[-1]), 9)


async def test_a_server_of_the_run_that_crashes_is_started_again_and_calls_wait_for_it(
    bench: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "tokenizer").mkdir()
    engine = supervised(bench, tmp_path)
    await engine.open()
    [told] = [record.getMessage() for record in caplog.records if "Starting vLLM" in record.getMessage()]
    assert told.endswith(".log"), "whoever waits for it can read along"
    try:
        request = generate("hello")
        first = await engine.generate(request)
        await crash(bench, 1)
        with caplog.at_level("WARNING", "cai"):
            assert await engine.generate(request) == first  # later than retry_s: it is known to come up again
    finally:
        await engine.close()
    assert len(bench.notes.read_text().split()) == 2
    assert "started again (1 of 3)" in caplog.text
    assert "INFO a small server as toy" in caplog.text
    assert not is_running(int(bench.notes.read_text().split()[-1]))


async def test_a_server_that_crashes_too_often_ends_the_engine_with_the_end_of_its_log(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "RESTARTS_MAX", 1)
    (tmp_path / "tokenizer").mkdir()
    engine = supervised(bench, tmp_path)
    await engine.open()
    try:
        await crash(bench, 1)
        await engine.generate(generate("hello"))
        await crash(bench, 2)
        await asyncio.sleep(0.3)
        with pytest.raises(EngineDownError, match="It was started again 1 times before") as caught:
            await engine.generate(generate("hello again"))
    finally:
        await engine.close()
    assert "ended with code -9 while the run was using it" in str(caught.value)
    assert "INFO a small server as toy" in str(caught.value)
