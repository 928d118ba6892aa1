"""A real vLLM that is started again: the same model goes on, another under its name is refused.

Run by `make test-vllm`. What this module does not know: the job on a server that stays (test_real_vllm.py).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from cai.engine.fingerprint import TOLERANCE, Fingerprint, difference
from cai.engine.serve import VllmServer
from cai.engine.server import ServerEngine
from cai.engine.thoughts import answered
from cai.engine.wire import chat_body, read_completion
from cai.errors import EngineRefusedError
from cai.live import LiveRun
from cai.parts import Message, Part
from cai.recipe import EngineSection
from cai.request import GenerateRequest, Sampling
from cai.run_folder import open_run
from cai.template import Rendered
from cai.toy import MODEL_FOLDER, write_world
from tests.real_vllm import ARGUMENTS, environment, free_port, section, vllm_python
from tests.test_real_vllm import _server_run

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(vllm_python() is None, reason="no vLLM environment; `make test-vllm` builds one"),
]


def _models(folder: Path) -> tuple[Path, Path]:
    """Two models with one tokenizer, which has the marks of thinking: the embedded one, and random weights."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(MODEL_FOLDER)
    tokenizer.add_tokens(["<think>", "</think>"])
    torch.manual_seed(7)
    embedded = AutoModelForCausalLM.from_pretrained(MODEL_FOLDER, dtype=torch.float32)
    embedded.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    places = folder / "embedded", folder / "random"
    for place, model in zip(places, (embedded, type(embedded)(embedded.config)), strict=True):
        model.save_pretrained(place)
        tokenizer.save_pretrained(place)
    return places


@asynccontextmanager
async def _serving(engine: EngineSection) -> AsyncIterator[None]:
    with environment():
        server = VllmServer(engine)
        await server.start()
    try:
        await server.wait_ready()
        yield
    finally:
        await server.stop()


def _engine(port: int, model: Path) -> EngineSection:
    """A server of a model; its reasoning parser takes all before `</think>` for thinking."""
    serve = {
        "port": port,
        "python": str(vllm_python()),
        "arguments": [*ARGUMENTS, "--reasoning-parser", "deepseek_r1"],
        "ready_timeout_s": 400,
    }
    return section(port, path=str(model), tokenizer=str(model), serve=serve)


async def _go_on(run: Path, rows: int) -> int:
    """Do the first rows of a run; how many are left. Raises: EngineRefusedError."""
    async with LiveRun(open_run(run)) as live:
        for engine in live.engines.values():
            await engine.open()
        wanted = {row for row, _ in list(live.source.ids())[:rows]}
        await live.job.work(live.rows_in_flight, wanted.__contains__)
        assert not live.job.progress.quarantined
        return live.rows_left()


async def _fingerprint(engine: EngineSection) -> Fingerprint:
    one = ServerEngine("main", engine, "2026-01-01")
    await one.open()
    await one.close()
    return one.fingerprint


JSON = {"Content-Type": "application/json"}


async def _thinks(engine: EngineSection) -> None:
    """What vLLM's parser takes for thinking comes in a field of its own, which is read as such."""
    message = Message("user", (Part("Say something.", "template", "test"),))
    request = GenerateRequest("main", Rendered((message,), ()), Sampling(max_tokens=12))
    async with (
        aiohttp.ClientSession(engine.urls[0]) as http,
        http.post("/v1/chat/completions", data=chat_body(engine, request), headers=JSON) as response,
    ):
        answer = await response.json()
        assert response.status == 200, answer
    done = answered(read_completion(answer, None), request, engine.thinking.known, "no", None)
    said = answer["choices"][0]["message"]
    print(f"\nvLLM's message: {sorted(k for k, v in said.items() if v)}; usage {answer['usage']}")
    assert done.text == ""
    assert done.reasoning.strip()
    assert done.completion_tokens > 0


async def test_a_run_goes_on_with_the_same_weights_and_refuses_others_under_the_same_name(
    tmp_path: Path,
) -> None:
    embedded, random = _models(tmp_path)
    write_world(tmp_path / "data", seed=3, pairs=8)
    engine = _engine(free_port(), embedded)
    run = _server_run(tmp_path, "restarted", engine)
    async with _serving(engine):
        await _thinks(engine)
        first = await _fingerprint(engine)
        assert await _go_on(run, 3) == 5
    async with _serving(engine):  # the same weights, another process
        second = await _fingerprint(engine)
        assert await _go_on(run, 5) == 3
    async with _serving(_engine(engine.serve.port if engine.serve else 0, random)):
        third = await _fingerprint(engine)
        with pytest.raises(EngineRefusedError, match="another model under the name 'cai-toy'"):
            await _go_on(run, 8)
    same, other = difference(first, second), difference(first, third)
    print(f"\nstarted again: {same} nats; other weights: {other} nats; {TOLERANCE} is the most")
    assert len(first.canaries) == 3
    assert same is not None
    assert other is not None
    assert same <= TOLERANCE / 10
    assert other >= TOLERANCE * 4
