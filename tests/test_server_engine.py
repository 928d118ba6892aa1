"""The server engine against a real HTTP server that speaks vLLM's protocol and misbehaves on demand."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cai.engine.encoding import load_encoder
from cai.engine.gate import Gate
from cai.engine.server import ServerEngine
from cai.errors import (
    CaiError,
    EngineAnswerError,
    EngineDownError,
    EngineRefusedError,
    TransientEngineError,
)
from cai.parts import Message, Part
from cai.recipe import EngineSection
from cai.request import Completion, GenerateRequest, Sampling, ScoreRequest
from cai.template import Rendered
from tests.chat_shapes import ALTERNATING, CHATML, byte_level, save

SERVER = Path(__file__).with_name("small_server.py")
KEY = "sk-planted-key-7731"


class Small:
    """A small server in a process of its own."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(SERVER), *arguments], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.port: int = json.loads(self.process.stdout.readline())["port"]
        self.url = f"http://127.0.0.1:{self.port}"

    def counters(self) -> dict[str, int]:
        """What went through."""
        with urllib.request.urlopen(f"{self.url}/counters", timeout=10) as answer:
            counted: dict[str, int] = json.load(answer)
        return counted

    def fault(self, kind: str = "", **how: Any) -> None:
        """Let the next calls go wrong."""
        body = json.dumps({"kind": kind, **how} if kind else {}).encode()
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/fault", body), timeout=10).close()

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer folder with a chat template."""
    folder = tmp_path_factory.mktemp("small")
    save(byte_level(), CHATML, folder)
    return folder


@pytest.fixture(scope="module")
def started() -> Iterator[Callable[..., Small]]:
    """Starts servers, each set of arguments once, and ends them all."""
    running: dict[tuple[str, ...], Small] = {}

    def start(*arguments: str) -> Small:
        if arguments not in running:
            running[arguments] = Small(*arguments)
        running[arguments].fault()
        return running[arguments]

    yield start
    for server in running.values():
        server.stop()


@pytest.fixture
def small(started: Callable[..., Small], tokenizer: Path) -> Small:
    """A server with the tokenizer and a context of 300 tokens."""
    return started("--tokenizer", str(tokenizer), "--context", "300")


def serving(tokenizer: Path) -> Iterator[Callable[..., Small]]:
    """What starts servers with a tokenizer; they all end when it is left."""
    running: list[Small] = []

    def start(*arguments: str) -> Small:
        running.append(Small("--tokenizer", str(tokenizer), *arguments))
        return running[-1]

    yield start
    for server in running:
        if server.process.poll() is None:
            server.stop()


def engine(*servers: Small, **settings: Any) -> ServerEngine:
    """An engine of these servers, not yet open; it gives up after two seconds."""
    values = {
        "kind": "server",
        "model": "small",
        "urls": [s.url for s in servers],
        "retry_s": 2.0,
        **settings,
    }
    return ServerEngine("judge", EngineSection(**values), "2026-11-21")


def generate(text: str, answer: str = "", **sampling: Any) -> GenerateRequest:
    """A request for a text."""
    return GenerateRequest(
        "judge", rendered(text, answer), Sampling(**{"max_tokens": 40, **sampling}), seed=7
    )


def score(text: str, options: tuple[str, ...] = ("A", "B")) -> ScoreRequest:
    """A request for two options' probabilities."""
    return ScoreRequest("judge", rendered(text, "The answer is Response"), options)


def rendered(text: str, answer: str = "") -> Rendered:
    """One user message, and how the answer begins."""
    beginning = (Part(answer, "template", "test"),) if answer else ()
    return Rendered((Message("user", (Part(text, "row", "test"),)),), beginning)


async def test_it_learns_model_context_and_tokenizer_from_the_server(small: Small, tokenizer: Path) -> None:
    one = engine(small)
    await one.open()
    assert one.context_tokens == 300
    assert one.identity.chat_template == CHATML
    assert one.identity.model == "small"
    await one.close()
    await one.close()


async def test_a_wrong_model_name_lists_what_the_server_has(small: Small) -> None:
    with pytest.raises(EngineRefusedError, match="no model 'other'; it has: small"):
        await engine(small, model="other").open()


async def test_another_tokenizer_than_the_servers_is_refused(small: Small, tmp_path: Path) -> None:
    files = byte_level()
    structure = json.loads(files.to_str())
    structure["model"]["merges"] = structure["model"]["merges"][:20]
    (tmp_path / "tokenizer.json").write_text(json.dumps(structure))
    (tmp_path / "chat_template.jinja").write_text(CHATML)
    with pytest.raises(EngineRefusedError, match="other tokens of the same text"):
        await engine(small, tokenizer=str(tmp_path)).open()


async def test_another_chat_template_than_the_servers_is_said_in_the_log(
    small: Small, tokenizer: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "tokenizer.json").write_text((tokenizer / "tokenizer.json").read_text())
    (tmp_path / "chat_template.jinja").write_text(ALTERNATING)
    one = engine(small, tokenizer=str(tmp_path))
    with caplog.at_level(logging.WARNING, "cai"):
        await one.open()
    await one.close()
    assert "another chat template" in caplog.text


async def test_equal_requests_get_equal_texts_and_exact_counts(small: Small, tokenizer: Path) -> None:
    one = engine(small)
    await one.open()
    request = generate("What is kind?", temperature=1.0)
    first, second = await one.generate(request), await one.generate(request)
    cut = await one.generate(generate("What is kind?", max_tokens=2))
    await one.close()
    ids = load_encoder(tokenizer, "", "chat", {"enable_thinking": False}, "").encode(request)
    assert first == second
    assert first.finish == "stop"
    assert first.prompt_tokens == len(ids)
    assert (cut.finish, cut.completion_tokens) == ("length", 2)


async def test_a_streamed_text_is_the_same_text_and_comes_in_pieces(small: Small) -> None:
    one = engine(small)
    await one.open()
    request = generate("What is kind?", temperature=1.0)
    pieces: list[str] = []
    streamed = await one.stream(request, pieces.append)
    assert streamed == await one.generate(request)
    assert "".join(pieces) == streamed.text
    assert len(pieces) > 2
    long = await one.stream(generate("word " * 400), pieces.append)
    assert long.finish == "too_long"
    await one.close()


async def test_a_stream_that_ends_early_is_no_answer(small: Small) -> None:
    from cai.engine.wire import StreamedCompletion, Unreadable

    begun = StreamedCompletion(5)
    assert begun.add({"choices": [{"index": 0, "text": "Hel", "finish_reason": None}]}) == "Hel"
    with pytest.raises(Unreadable, match="not finished"):
        begun.completion()


async def test_a_list_travels_in_one_call_and_its_answers_come_in_order(small: Small) -> None:
    one = engine(small)
    await one.open()
    requests = [score(f"Which is kinder? Principle {n}") for n in range(32)]
    before = small.counters()
    together = await one.score(requests)
    after = small.counters()
    apart = [(await one.score([request]))[0] for request in requests]
    await one.close()
    assert after["calls"] - before["calls"] == 1
    assert after["prompts"] - before["prompts"] == 32
    assert together == apart
    assert len({scores.logprobs for scores in together}) == 32


async def test_a_prompt_that_is_too_long_is_answered_without_travelling(small: Small) -> None:
    one = engine(small)
    await one.open()
    before = small.counters()
    long = "word " * 400
    text = await one.generate(generate(long))
    scores = await one.score([score("short"), score(long), score("short too")])
    tight = await one.generate(generate("short", max_tokens=299))
    after = small.counters()
    await one.close()
    assert (text.finish, text.context_tokens, text.text) == ("too_long", 300, "")
    assert [each.finish for each in scores] == ["stop", "too_long", "stop"]
    assert scores[1].logprobs == ()
    assert tight.finish == "too_long"
    assert after["prompts"] - before["prompts"] == 2


async def test_a_context_smaller_than_the_server_says_spoils_no_other_answer(small: Small) -> None:
    one = engine(small)
    await one.open()
    one.context_tokens = None
    scores = await one.score([score("short"), score("word " * 400), score("short too")])
    text = await one.generate(generate("word " * 400))
    await one.close()
    assert [each.finish for each in scores] == ["stop", "too_long", "stop"]
    assert text.finish == "too_long"


PASSING = {
    "429": "busy",
    "500": "failed",
    "502": "failed",
    "503": "failed",
    "504": "failed",
    "reset": "reset",
    "reset-early": "reset",
    "truncated": "malformed",
    "garbage": "malformed",
    "error-inside": "error inside",
}


@pytest.mark.parametrize("kind", PASSING)
async def test_a_fault_that_passes_is_tried_again_and_counted(small: Small, kind: str) -> None:
    one = engine(small)
    await one.open()
    expected = await one.score([score("which?")])
    small.fault(kind, times=2)
    assert await one.score([score("which?")]) == expected
    await one.close()
    assert one.faults == {PASSING[kind]: 2}


@pytest.mark.parametrize(
    "kind,fault,error",
    [
        ("nan", "nan", EngineAnswerError),
        ("null-logprob", "logprobs", EngineAnswerError),
        ("no-logprobs", "logprobs", EngineAnswerError),
        ("fewer-logprobs", "logprobs", EngineAnswerError),
        ("no-choices", "choices", EngineAnswerError),
        ("more-choices", "choices", EngineAnswerError),
        ("401", "denied", EngineRefusedError),
        ("404", "rejected", EngineRefusedError),
        ("400", "rejected", EngineRefusedError),
        ("500", "failed", TransientEngineError),
    ],
)
async def test_a_fault_that_stays_is_an_error_of_its_class(
    small: Small, kind: str, fault: str, error: type[CaiError]
) -> None:
    one = engine(small, retry_s=0.5)
    await one.open()
    small.fault(kind)
    with pytest.raises(error):
        await one.score([score("which?")])
    await one.close()
    assert set(one.faults) == {fault}
    assert one.faults[fault] == 1 or error is TransientEngineError


@pytest.mark.parametrize("kind,error", [("no-text", EngineAnswerError), ("aborted", TransientEngineError)])
async def test_a_text_that_is_none_is_an_error(small: Small, kind: str, error: type[CaiError]) -> None:
    one = engine(small, retry_s=0.3)
    await one.open()
    small.fault(kind)
    with pytest.raises(error):
        await one.generate(generate("hello"))
    await one.close()


@pytest.mark.parametrize("kind", ["hang", "trickle"])
async def test_a_server_that_never_finishes_is_timed_out(small: Small, kind: str) -> None:
    one = engine(small, timeout_s=0.4, retry_s=5.0)
    await one.open()
    small.fault(kind, times=1, seconds=0.2 if kind == "trickle" else 60)
    assert isinstance(await one.generate(generate("hello")), Completion)
    await one.close()
    assert one.faults == {"timeout": 1}


async def test_retry_after_is_honoured(small: Small) -> None:
    one = engine(small, retry_s=10.0)
    await one.open()
    small.fault("429-after", times=1, seconds=1)
    started = time.monotonic()
    await one.generate(generate("hello"))
    assert time.monotonic() - started >= 1.0
    await one.close()


async def test_a_server_that_cannot_be_reached_is_down_once_the_time_is_over() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    one = ServerEngine(
        "judge",
        EngineSection(kind="server", model="small", urls=[f"http://127.0.0.1:{port}"], retry_s=0.5),
        "2026-11-21",
    )
    with pytest.raises(EngineDownError, match="cannot be reached"):
        await one.open()


async def test_calls_wait_for_a_server_that_comes_back(small: Small, tokenizer: Path) -> None:
    own = Small("--tokenizer", str(tokenizer))
    one = engine(own, retry_s=30.0)
    await one.open()
    own.stop()
    waiting = asyncio.ensure_future(one.generate(generate("hello")))
    await asyncio.sleep(0.5)
    again = Small("--tokenizer", str(tokenizer), "--port", str(own.port))
    assert (await waiting).finish == "stop"
    await one.close()
    again.stop()


async def test_several_servers_share_the_work_and_one_that_fails_is_passed_over(
    started: Callable[..., Small], tokenizer: Path
) -> None:
    servers = [started("--tokenizer", str(tokenizer), "--delay", "0.01", "--model", "small", "--host", host)
               for host in ("127.0.0.1", "localhost")]  # fmt: skip
    one = engine(*servers)
    await one.open()
    before = [server.counters()["calls"] for server in servers]
    await asyncio.gather(*(one.generate(generate(f"hello {n}")) for n in range(40)))
    shares = [server.counters()["calls"] - count for server, count in zip(servers, before, strict=True)]
    servers[0].fault("500")
    await asyncio.gather(*(one.generate(generate(f"hello {n}")) for n in range(40)))
    await one.close()
    assert sum(shares) == 40
    assert min(shares) >= 15


async def test_never_more_in_flight_than_asked_for(started: Callable[..., Small], tokenizer: Path) -> None:
    server = started("--tokenizer", str(tokenizer), "--delay", "0.02")
    one = engine(server, concurrency=5)
    await one.open()
    await asyncio.gather(*(one.generate(generate(f"hello {n}")) for n in range(30)))
    await one.close()
    assert server.counters()["most_open"] == 5


async def test_older_rows_go_first() -> None:
    gate = Gate(1)
    await gate.enter(0, 1)
    order: list[int] = []

    async def caller(priority: int) -> None:
        await gate.enter(priority, 1)
        order.append(priority)
        gate.leave(1)

    tasks = [asyncio.ensure_future(caller(priority)) for priority in (5, 3, 9, 1)]
    await asyncio.sleep(0)
    tasks[2].cancel()
    await asyncio.sleep(0)
    gate.leave(1)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == [1, 3, 5]
    assert gate.inside == 0


async def test_a_caller_cancelled_as_it_is_let_in_gives_its_place_back() -> None:
    gate = Gate(1)
    await gate.enter(0, 1)
    second = asyncio.ensure_future(gate.enter(1, 1))
    third = asyncio.ensure_future(gate.enter(2, 1))
    await asyncio.sleep(0)
    gate.leave(1)
    second.cancel()
    await asyncio.wait_for(third, 1)
    assert second.cancelled()
    assert gate.inside == 1


async def test_a_cancelled_caller_leaves_no_one_waiting(small: Small) -> None:
    one = engine(small, concurrency=1)
    await one.open()
    small.fault("hang", times=1, seconds=60)
    stuck = asyncio.ensure_future(one.generate(generate("hello"), 0))
    await asyncio.sleep(0.1)
    queued = asyncio.ensure_future(one.generate(generate("hello"), 1))
    granted = asyncio.ensure_future(one.generate(generate("hello"), 2))
    await asyncio.sleep(0.1)
    queued.cancel()
    stuck.cancel()
    assert (await asyncio.wait_for(granted, 5)).finish == "stop"
    await asyncio.gather(stuck, queued, return_exceptions=True)
    await one.close()


async def test_the_key_is_sent_and_never_shown(
    started: Callable[..., Small], tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = started("--tokenizer", str(tokenizer), "--api-key", KEY)
    monkeypatch.setenv("SMALL_KEY", KEY)
    one = engine(server, api_key_variable="SMALL_KEY")
    await one.open()
    await one.close()
    monkeypatch.setenv("SMALL_KEY", KEY + "x")
    with pytest.raises(EngineRefusedError, match="api_key_variable") as raised:
        await engine(server, api_key_variable="SMALL_KEY").open()
    assert KEY not in str(raised.value)


async def test_without_token_ids_it_falls_back_to_chat_and_says_so_once(
    started: Callable[..., Small], tokenizer: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = started("--tokenizer", str(tokenizer), "--plain")
    one = engine(server)
    with caplog.at_level(logging.WARNING, "cai"):
        await one.open()
        text = await one.generate(generate("hello", "Sure"))
        scores = await one.score([score("which?"), score("which else?")])
    await one.close()
    assert caplog.text.count("/v1/chat/completions") == 1
    assert text.finish == "stop"
    assert len({each.logprobs for each in scores}) == 2
    assert scores[0].outside == pytest.approx(0.05, abs=1e-6)


async def test_a_base_model_without_token_ids_is_refused(
    started: Callable[..., Small], tokenizer: Path
) -> None:
    server = started("--tokenizer", str(tokenizer), "--plain")
    with pytest.raises(EngineRefusedError, match="does not take token ids"):
        await engine(server, form="completion").open()


async def test_without_a_tokenizer_a_chat_model_is_still_asked(
    started: Callable[..., Small], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    server = started("--model", "small")
    one = engine(server)
    with caplog.at_level(logging.WARNING, "cai"):
        await one.open()
    assert (await one.generate(generate("hello"))).finish == "stop"
    await one.close()
    assert "no tokenizer is at hand" in caplog.text
