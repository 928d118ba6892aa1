"""The doctor on a real vLLM: tiny random Llamas under chat templates of the shapes of known families.

What the doctor reports of BOS, thinking, roles and the beginning of the answer is held against what
the server itself renders, and its most probable tokens against transformers in this process.

Run by `make test-vllm`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from cai.doctor.faults import Fault
from cai.doctor.patients import shipped_probes
from cai.doctor.probes import load_probes
from cai.doctor.target import examine_target, server_target
from cai.engine.connection import Connection
from cai.engine.encoding import load_encoder
from cai.engine.local import LocalEngine
from cai.engine.serve import VllmServer
from cai.engine.server_position import CHAT, OPTION_IDS, TOKEN_IDS, TOKENIZE, ServerProbe
from cai.prompting import load_prompts
from cai.recipe import EngineSection
from cai.shipped import shipped
from tests.chat_shapes import ALWAYS_THINKING, TEMPLATES, TOKENIZERS, save
from tests.real_vllm import environment, free_port, section, vllm_python

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(vllm_python() is None, reason="no vLLM environment; `make test-vllm` builds one"),
    pytest.mark.asyncio(loop_scope="module"),
]

SHAPES = {**TEMPLATES, "always_thinking": ALWAYS_THINKING}

# served template and tokenizer -> shapes put to that server: BOS, system role, opens thinking, thinking
SERVED = {"headers": "gpt2-bos", "thinking": "qwen"}
SEEN = {
    "headers": {
        "headers": (1, True, False, "none"),
        "alternating": (1, False, False, "none"),
        "chatml": (1, True, False, "none"),
    },
    "thinking": {
        "thinking": (0, True, False, "closed"),
        "always_thinking": (0, True, True, "closed"),
        "channels": (0, True, False, "none"),
    },
}
REQUEST = (
    load_probes(shipped_probes())
    .requests("server", load_prompts(shipped("prompts"), "chat", ("judgement",)), range(1))[0]
    .request
)


def _random_llama(template: str, tokenizer: str, folder: Path) -> None:
    """A tiny Llama of random weights, with a tokenizer and a chat template."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    made = TOKENIZERS[tokenizer]()
    save(made, SHAPES[template], folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=made.get_vocab_size(),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        bos_token_id=0,
        eos_token_id=1,
        initializer_range=0.2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


@asynccontextmanager
async def _serving(shape: str, folder: Path) -> AsyncIterator[EngineSection]:
    _random_llama(shape, SERVED[shape], folder)
    engine = section(free_port(), model="shape", path=str(folder), tokenizer=str(folder))
    with environment():
        server = VllmServer(engine)
        await server.start()
    try:
        await server.wait_ready()
        yield engine
    finally:
        await server.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=SERVED)
async def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[str, EngineSection]]:
    folder = tmp_path_factory.mktemp(request.param)
    async with _serving(request.param, folder) as engine:
        yield request.param, engine


async def test_every_shape_is_seen_as_it_is(
    served: tuple[str, EngineSection], tmp_path_factory: pytest.TempPathFactory
) -> None:
    name, engine = served
    for shape, expected in SEEN[name].items():
        folder = tmp_path_factory.mktemp(shape)
        save(TOKENIZERS[SERVED[name]](), SHAPES[shape], folder)
        target = await server_target(engine.urls[0], "", str(folder), "chat")
        assert target.section.model == "shape"
        found = await examine_target(target)
        position = found.position
        assert position is not None
        seen = (position.bos, position.system_role, position.opens_thinking, position.thinking)
        assert seen == expected, shape
        assert position.prefix_stands is True
        assert position.path == TOKEN_IDS
        assert position.offers == {TOKEN_IDS: True, OPTION_IDS: True, TOKENIZE: True, CHAT: True}
        assert len(position.top) == 20
        assert found.fault is Fault.LOW_OPTION_MASS, "random weights name no option"
        assert found.mass is not None
        assert found.mass.mean is not None
        assert found.mass.mean < 0.2
        assert found.context_tokens == 2048


async def test_the_ids_are_those_of_the_servers_own_rendering(served: tuple[str, EngineSection]) -> None:
    _, engine = served
    today = datetime.now(UTC).date().isoformat()
    encoder = load_encoder(str(engine.tokenizer), "", "chat", engine.template_args, today)
    messages = [{"role": m.role, "content": m.text} for m in REQUEST.rendered.messages]
    messages.append({"role": "assistant", "content": REQUEST.rendered.answer_text})
    body: dict[str, Any] = {
        "model": engine.model,
        "messages": messages,
        "continue_final_message": True,
        "add_generation_prompt": False,
        "chat_template_kwargs": engine.template_args,
    }
    async with aiohttp.ClientSession(engine.urls[0]) as http, http.post("/tokenize", json=body) as answer:
        assert answer.status == 200
        assert encoder.encode(REQUEST) == (await answer.json())["tokens"]


async def test_the_most_probable_tokens_are_those_of_transformers(served: tuple[str, EngineSection]) -> None:
    _, engine = served
    target = await server_target(engine.urls[0], "", str(engine.tokenizer), "chat")
    remote = (await examine_target(target)).position
    local = LocalEngine(
        "local", EngineSection(kind="local", model="shape", path=engine.path, device="cpu"), target.date
    )
    await local.open()
    try:
        near = await local.position(REQUEST)
    finally:
        await local.close()
    assert remote is not None
    assert remote.text == near.text
    assert [token.id for token in remote.top[:5]] == [token.id for token in near.top[:5]]
    for one, two in zip(remote.top, near.top, strict=True):
        assert one.probability == pytest.approx(two.probability, abs=1e-3)


async def test_what_the_server_renders_itself_is_seen_as_well(served: tuple[str, EngineSection]) -> None:
    name, engine = served
    connection = Connection(engine.urls, 4, 60.0, 5.0)
    connection.open()
    try:
        found = await ServerProbe(connection, engine, None, {}).position(REQUEST)
        today = datetime.now(UTC).date().isoformat()
        encoder = load_encoder(str(engine.tokenizer), "", "chat", engine.template_args, today)
        ours = await ServerProbe(connection, engine, encoder, {}).position(REQUEST)
    finally:
        await connection.close()
    assert found.path == CHAT
    assert found.prefix_stands is True
    assert found.thinking == SEEN[name][name][3]
    assert found.prompt_tokens == ours.prompt_tokens
    assert [token.id for token in found.last] == [token.id for token in ours.last]
    assert found.bos == (1 if name == "headers" else None)  # without a BOS nothing shows
    assert len(found.top) == 20
    for one, two in zip(found.top, ours.top, strict=True):
        assert one.probability == pytest.approx(two.probability, abs=1e-4)
