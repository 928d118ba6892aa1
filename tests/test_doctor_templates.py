"""What the doctor sees of chat templates: BOS, thinking, roles, the beginning of the answer, spellings.

The templates have the shapes of the known families (tests/chat_shapes.py); servers are small real
ones that render as vLLM does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cai.cli.run import Wish, work
from cai.doctor.direct import DirectAsk
from cai.doctor.examine import Patient, examine
from cai.doctor.faults import Fault, Warned
from cai.doctor.patients import shipped_probes
from cai.doctor.probes import load_probes
from cai.engine.encoded_position import encoded_position
from cai.engine.encoding import Encoder, load_encoder
from cai.engine.position import Position
from cai.engine.server import ServerEngine
from cai.engine.server_position import CHAT, OPTION_IDS, TOKEN_IDS, TOKENIZE
from cai.errors import DoctorError, RolesRefusedError
from cai.prompting import load_prompts
from cai.recipe import EngineSection
from cai.request import ScoreRequest
from cai.shipped import shipped
from tests.chat_shapes import (
    ALWAYS_THINKING,
    CHATML,
    CL100K,
    HEADERS,
    TEMPLATES,
    TOKENIZERS,
    byte_level,
    save,
)
from tests.test_server_engine import Small
from tests.toy_source import write_run

DATE = "2026-11-21"
PROMPTS = load_prompts(shipped("prompts"), "chat", ("judgement",))
PROBES = load_probes(shipped_probes())
REQUEST: ScoreRequest = PROBES.requests("main", PROMPTS, range(1))[0].request

DOUBLED = "{{ bos_token }}" + HEADERS
NOBODY_SPEAKS = "{{ raise_exception('begin with what the tools say') }}"
SWALLOWS_USERS = CHATML.replace("message.content", "(message.content if message.role != 'user' else '')")
LEFT_OPEN = CHATML.replace(
    "message.role + '\\n' +", "message.role + '\\n' + ('<think>\\n' if message.role == 'assistant' else '') +"
)
SHAPES = {**TEMPLATES, "always_thinking": ALWAYS_THINKING, "doubled": DOUBLED}

# template, tokenizer -> BOS tokens, system role, the template opens thinking, thinking at the answer
SEEN = {
    ("chatml", "gpt2"): (0, True, False, "none"),
    ("chatml", "gpt2-bos"): (1, True, False, "none"),
    ("chatml", "metaspace-first"): (1, True, False, "none"),
    ("headers", "gpt2-bos"): (1, True, False, "none"),
    ("headers", "qwen"): (1, True, False, "none"),
    ("alternating", "gpt2-bos"): (1, False, False, "none"),
    ("alternating", "metaspace-always"): (1, False, False, "none"),
    ("thinking", "qwen"): (0, True, False, "closed"),
    ("always_thinking", "qwen"): (0, True, True, "closed"),
    ("channels", "cl100k"): (0, True, False, "none"),
    ("looks_inside", "gpt2"): (0, True, False, "none"),
    ("doubled", "gpt2-bos"): (2, True, False, "none"),
}


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Folders of tokenizers with chat templates, each made once."""
    known: dict[tuple[str, str], Path] = {}

    def make(template: str, tokenizer: str) -> Path:
        key = (template, tokenizer)
        if key not in known:
            known[key] = tmp_path_factory.mktemp("shape")
            save(TOKENIZERS[tokenizer](), template, known[key])
        return known[key]

    return make


def _encoder(folder: Path, **arguments: Any) -> Encoder:
    return load_encoder(folder, "", "chat", arguments or {"enable_thinking": False}, DATE)


@pytest.mark.parametrize("shape, tokenizer", SEEN)
def test_bos_roles_and_thinking_are_seen_for_every_shape(
    folder_of: Callable[[str, str], Path], shape: str, tokenizer: str
) -> None:
    known = encoded_position(_encoder(folder_of(SHAPES[shape], tokenizer)), REQUEST)
    seen = (known["bos"], known["system_role"], known["opens_thinking"], known["thinking"])
    assert seen == SEEN[shape, tokenizer]
    assert known["prefix_stands"] is True
    assert known["text"].endswith("The answer is Response")


@pytest.mark.parametrize("shape, tokenizer", SEEN)
def test_the_last_tokens_are_the_end_of_the_text(
    folder_of: Callable[[str, str], Path], shape: str, tokenizer: str
) -> None:
    known = encoded_position(_encoder(folder_of(SHAPES[shape], tokenizer)), REQUEST)
    told = "".join(token.text for token in known["last"])
    assert known["text"].replace(" ", "").endswith(told.replace(" ", ""))


def test_spellings_by_hand(folder_of: Callable[[str, str], Path]) -> None:
    encoder = _encoder(folder_of(CHATML, "gpt2"))
    known = encoded_position(encoder, REQUEST)
    found = {(item.option, item.written): item for item in known["spellings"]}
    assert found["A", " A"].first.text == " A"
    assert found["A", " A"].counted
    assert found["A", "A"].first.text == "A"
    assert found["A", "A"].counted
    assert found["A", "(A"].first.text == "("
    assert not found["A", "(A"].counted  # "(" begins "(B" as well
    assert found["A", " (A"].first.text == found["B", " (B"].first.text
    counted = {item.first.id for item in known["spellings"] if item.option == "A" and item.counted}
    assert counted == set(encoder.options(REQUEST)[0])


def test_a_bracket_and_a_letter_in_one_token_count_as_that_letter(
    tmp_path: Path,
) -> None:
    save(byte_level(pattern=CL100K, more=["(A)\n(B)\n"] * 500), CHATML, tmp_path)
    known = encoded_position(_encoder(tmp_path), REQUEST)
    first = {item.written: item for item in known["spellings"]}
    assert first["(A"].first.text == "(A"
    assert first["(B"].first.text == "(B"
    assert first["(A"].counted
    assert first["(B"].counted
    assert not first[" (A"].counted


def test_a_template_that_refuses_or_leaves_out_the_user_is_told_by_its_class(
    folder_of: Callable[[str, str], Path],
) -> None:
    for template in (NOBODY_SPEAKS, SWALLOWS_USERS):
        with pytest.raises(RolesRefusedError):
            _encoder(folder_of(template, "gpt2")).encode(REQUEST)


# ---------------------------------------------------------------------- through a server


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable[..., Small]]:
    """Starts servers, each set of arguments once, and ends them all."""
    running: dict[tuple[str, ...], Small] = {}

    def start(*arguments: str) -> Small:
        if arguments not in running:
            running[arguments] = Small(*arguments)
        return running[arguments]

    yield start
    for server in running.values():
        server.stop()


async def _position(small: Small, **settings: Any) -> Position:
    values = {"kind": "server", "model": "small", "urls": [small.url], "retry_s": 2.0, **settings}
    engine = ServerEngine("main", EngineSection.model_validate(values), DATE)
    await engine.open()
    try:
        return await engine.position(REQUEST)
    finally:
        await engine.close()


async def test_a_server_that_takes_token_ids_is_seen_to_do_so(
    serve: Callable[..., Small], folder_of: Callable[[str, str], Path]
) -> None:
    found = await _position(serve("--tokenizer", str(folder_of(HEADERS, "gpt2-bos"))))
    assert found.path == TOKEN_IDS
    assert found.offers == {TOKEN_IDS: True, OPTION_IDS: True, TOKENIZE: True, CHAT: True}
    assert len(found.top) == 20
    assert found.top[0].probability >= found.top[-1].probability  # type: ignore[operator]
    assert all(token.id is not None for token in found.top)


async def test_a_server_without_token_ids_is_asked_what_it_renders(
    serve: Callable[..., Small], folder_of: Callable[[str, str], Path]
) -> None:
    found = await _position(serve("--tokenizer", str(folder_of(HEADERS, "gpt2-bos")), "--chat-only"))
    assert found.path == CHAT
    assert found.rendered_by == "server"
    assert found.offers == {TOKEN_IDS: False, OPTION_IDS: False, TOKENIZE: True, CHAT: True}
    assert found.text is not None
    assert found.text.endswith("The answer is Response")
    assert found.prefix_stands is True
    assert (found.bos, found.bos_text) == (1, "<s>")
    assert [token.text for token in found.top] == [" A", " B", "A", "The"]


async def test_a_server_that_tells_nothing_leaves_unknown_what_is_unknown(
    serve: Callable[..., Small], folder_of: Callable[[str, str], Path]
) -> None:
    found = await _position(serve("--tokenizer", str(folder_of(CHATML, "gpt2")), "--plain"))
    assert found.path == CHAT
    assert found.text is None
    assert found.bos is None
    assert found.prefix_stands is None


async def test_no_token_ids_is_a_warning_and_no_fault(
    serve: Callable[..., Small], folder_of: Callable[[str, str], Path]
) -> None:
    small = serve("--tokenizer", str(folder_of(CHATML, "gpt2")), "--chat-only")
    values = {"kind": "server", "model": "small", "urls": [small.url], "retry_s": 2.0}
    engine = ServerEngine("main", EngineSection.model_validate(values), DATE)
    await engine.open()
    try:
        found = await examine(Patient("main", "small", PROMPTS), None, DirectAsk(engine), engine.position)
        assert found.fault is None
        found = await examine(Patient("main", "small", PROMPTS), PROBES, DirectAsk(engine), engine.position)
    finally:
        await engine.close()
    assert Warned.NO_TOKEN_IDS in found.warnings
    assert found.fault not in (Fault.PREFIX_SWALLOWED, Fault.DOUBLE_BOS, Fault.NEVER_LEAVES_THINKING)


# fault -> template, tokenizer, what the server is told
SABOTEURS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "double_bos": (DOUBLED, "gpt2-bos", ()),
    "roles_refused": (NOBODY_SPEAKS, "gpt2", ()),
    "prefix_swallowed": (CHATML, "gpt2", ("--chat-only", "--deaf")),
    "never_leaves_thinking": (LEFT_OPEN, "qwen", ("--chat-only",)),
    "context_too_small": (CHATML, "gpt2", ("--context", "100")),
}


def _server_run(folder: Path, url: str) -> Path:
    run = write_run(folder, rows=250)
    recipe = run / "recipe.yaml"
    text = recipe.read_text().replace("doctor: false\n", "")
    begin, end = text.index("  main:"), text.index("constitutions:")
    engine = f"  main: {{kind: server, model: small, urls: '{url}', retry_s: 2}}\n"
    recipe.write_text(text[:begin] + engine + text[end:])
    return run


@pytest.mark.parametrize("name", SABOTEURS)
async def test_a_run_on_a_faulty_template_is_stopped_by_the_faults_name_before_the_first_row(
    tmp_path: Path,
    serve: Callable[..., Small],
    folder_of: Callable[[str, str], Path],
    name: str,
) -> None:
    template, tokenizer, arguments = SABOTEURS[name]
    small = serve("--tokenizer", str(folder_of(template, tokenizer)), *arguments)
    run = _server_run(tmp_path, small.url)
    for _ in range(2):  # and again, now that the engine's identity is frozen
        with pytest.raises(DoctorError) as stopped:
            await work(run, Wish())
        assert stopped.value.problem.startswith(f"{name}: ")
        assert stopped.value.faults == (name,)
    if name != "roles_refused":
        report = json.loads((run / "doctor.json").read_bytes())
        assert report["engines"][0]["fault"]["name"] == name


async def test_two_like_tokens_at_the_beginning_of_a_servers_own_rendering_are_a_doubled_bos(
    tmp_path: Path, serve: Callable[..., Small], folder_of: Callable[[str, str], Path]
) -> None:
    small = serve("--tokenizer", str(folder_of(DOUBLED, "gpt2-bos")), "--chat-only")
    with pytest.raises(DoctorError, match="double_bos: "):
        await work(_server_run(tmp_path, small.url), Wish())


def test_a_position_is_plain_data() -> None:
    position = Position("somewhere", {})
    assert replace(position, bos=1).bos == 1
    assert position.top == ()
