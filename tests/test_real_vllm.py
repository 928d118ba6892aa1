"""The whole job on a real vLLM: the same rows, the same recipe, the same labels as in this process.

Run by `make test-vllm`.
"""

from __future__ import annotations

import asyncio
import math
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import pytest_asyncio
from ruamel.yaml import YAML

from cai.doctor.before_run import examine_run
from cai.engine.encoding import load_encoder
from cai.engine.local import LocalEngine
from cai.engine.serve import VllmServer
from cai.engine.server import ServerEngine
from cai.engine.server_position import TOKEN_IDS
from cai.live import LiveRun
from cai.outcome import Outcome, read_outcome
from cai.recipe import EngineSection
from cai.request import GenerateRequest, Request, ScoreRequest
from cai.run_folder import open_run
from cai.store import Store
from cai.toy import MODEL_FOLDER, write_world
from tests.real_vllm import environment, free_port, section, vllm_python

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(vllm_python() is None, reason="no vLLM environment; `make test-vllm` builds one"),
    pytest.mark.asyncio(loop_scope="module"),
]

ROWS = 32


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served() -> AsyncIterator[EngineSection]:
    engine = section(free_port())
    with environment():
        server = VllmServer(engine)
        await server.start()
    try:
        await server.wait_ready()
        yield engine
    finally:
        await server.stop()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vllm")
    write_world(folder / "data", seed=3, pairs=ROWS)
    return folder


def _write_run(folder: Path, name: str, engine: dict[str, Any], **feedback: Any) -> Path:
    from cai.shipped import shipped

    run = folder / "runs" / name
    run.mkdir(parents=True, exist_ok=True)
    shutil.copytree(folder / "data", run / "data", dirs_exist_ok=True)
    recipe = YAML(typ="safe").load(shipped("toy/recipe.yaml").read_text("utf-8"))
    recipe["engines"] = {"toy": engine}
    recipe["feedback"].update(feedback)
    with (run / "recipe.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(recipe, file)
    return run


def _server_run(folder: Path, name: str, served: EngineSection, **feedback: Any) -> Path:
    content = {"kind": "server", "model": served.model, "urls": served.urls, "tokenizer": str(MODEL_FOLDER)}
    return _write_run(folder, name, {**content, "concurrency": 32}, **feedback)


def _local_run(folder: Path, name: str) -> Path:
    return _write_run(
        folder, name, {"kind": "local", "model": "cai-toy", "path": "toy/model", "device": "cpu"}
    )


async def _work(run: Path) -> dict[str, Outcome]:
    async with LiveRun(open_run(run)) as live:
        await live.job.work(live.rows_in_flight)
        assert not live.job.progress.quarantined
    with Store(run / "store") as store:
        found = (read_outcome(r.answer) for r in store.records() if r.labels["stage"] == "outcome")
        return {outcome.row: outcome for outcome in found}


async def test_the_job_on_vllm_gives_the_labels_that_it_gives_in_this_process(
    served: EngineSection, runs: Path
) -> None:
    remote = await _work(_server_run(runs, "remote", served))
    local = await _work(_local_run(runs, "local"))
    assert set(remote) == set(local)
    assert len(remote) == ROWS
    differences = []
    same_revisions = 0
    for row, outcome in remote.items():
        other = local[row]
        same_revisions += [r.final and r.final.text for r in outcome.revisions] == [
            r.final and r.final.text for r in other.revisions
        ]
        pairs = {(f.kind, f.first_text, f.second_text): f for f in other.feedback}
        for feedback in outcome.feedback:
            twin = pairs.get((feedback.kind, feedback.first_text, feedback.second_text))
            if twin is None:
                continue
            for a, b in zip(feedback.judgements, twin.judgements, strict=True):
                assert a.principle == b.principle
                assert a.order == b.order
                assert a.probability is not None
                assert b.probability is not None
                differences.append(abs(a.probability - b.probability))
                assert a.outside == pytest.approx(b.outside, abs=0.005)
    mean = sum(differences) / len(differences)
    print(f"\n{len(differences)} judgements: |dp| mean {mean:.6f}, most {max(differences):.6f}; "
          f"{same_revisions} of {ROWS} rows with equal revisions")  # fmt: skip
    assert len(differences) >= ROWS * 14
    assert mean <= 0.001
    assert max(differences) <= 0.02
    assert same_revisions >= 0.9 * ROWS


async def test_the_doctor_finds_the_embedded_model_fit_before_the_first_row(
    served: EngineSection, runs: Path
) -> None:
    said: list[str] = []
    run = open_run(_server_run(runs, "examined", served))
    async with LiveRun(run) as live:
        await examine_run(live, said.append)
    report = orjson.loads(run.doctor.read_bytes())
    assert report["fit"] is True
    assert report["engines"][0]["position"]["path"] == TOKEN_IDS
    assert report["engines"][0]["requests"] <= 65
    print(f"\n{said[0]}")


async def test_vllm_asked_twice_answers_the_same(served: EngineSection, runs: Path) -> None:
    first = await _work(_server_run(runs, "first", served))
    second = await _work(_server_run(runs, "second", served))
    differences = [
        abs(a.probability - b.probability)
        for row in first
        for f, g in zip(first[row].feedback, second[row].feedback, strict=True)
        for a, b in zip(f.judgements, g.judgements, strict=True)
        if f.second_text == g.second_text and f.first_text == g.first_text
        if a.probability is not None and b.probability is not None
    ]
    print(f"\nasked twice: {len(differences)} judgements, |dp| most {max(differences):.2e}")
    assert len(differences) >= ROWS * 14
    assert max(differences) <= 1e-4
    same = sum(first[row].revisions == second[row].revisions for row in first)
    assert same >= 0.95 * ROWS


async def _requests(runs: Path, name: str, served: EngineSection, **feedback: Any) -> list[Request]:
    """Real requests of a few rows, captured on their way to the engine."""
    run = _server_run(runs, name, served, **feedback)
    captured: list[Request] = []
    async with LiveRun(open_run(run)) as live:
        ask = live.ask.ask

        async def listen(requests, row):  # type: ignore[no-untyped-def]
            captured.extend(requests)
            return await ask(requests, row)

        live.ask.ask = listen  # type: ignore[method-assign]
        rows = {row for row, _ in list(live.source.ids())[:4]}
        await live.job.work(4, rows.__contains__)
    return captured


async def test_our_token_ids_are_those_of_the_servers_own_chat_rendering(
    served: EngineSection, runs: Path
) -> None:
    encoder = load_encoder(MODEL_FOLDER, "", "chat", served.template_args, "2026-01-01")
    captured = await _requests(runs, "for-ids", served)
    assert any(isinstance(request, GenerateRequest) for request in captured)
    async with aiohttp.ClientSession(served.urls[0]) as http:
        for request in captured[:40]:
            messages = [{"role": m.role, "content": m.text} for m in request.rendered.messages]
            body: dict[str, Any] = {"model": served.model, "messages": messages}
            if request.rendered.answer_text:
                messages.append({"role": "assistant", "content": request.rendered.answer_text})
                body |= {"continue_final_message": True, "add_generation_prompt": False}
            async with http.post("/tokenize", json=body) as response:
                assert response.status == 200
                assert encoder.encode(request) == (await response.json())["tokens"]


async def test_a_list_of_prompts_and_single_chats_give_the_same_probabilities(
    served: EngineSection, runs: Path
) -> None:
    encoder = load_encoder(MODEL_FOLDER, "", "chat", served.template_args, "2026-01-01")
    scores = [r for r in await _requests(runs, "for-scores", served) if isinstance(r, ScoreRequest)][:14]
    engine = ServerEngine("main", served, "2026-01-01")
    await engine.open()
    try:
        together = await engine.score(scores)
    finally:
        await engine.close()
    options = encoder.options(scores[0])
    async with aiohttp.ClientSession(served.urls[0]) as http:
        for request, score in zip(scores, together, strict=True):
            messages = [{"role": m.role, "content": m.text} for m in request.rendered.messages]
            messages.append({"role": "assistant", "content": request.rendered.answer_text})
            body = {
                "model": served.model,
                "messages": messages,
                "continue_final_message": True,
                "add_generation_prompt": False,
                "max_tokens": 1,
                "temperature": 0,
                "logprobs": True,
                "logprob_token_ids": [token for option in options for token in option],
                "return_tokens_as_token_ids": True,
            }
            async with http.post("/v1/chat/completions", json=body) as response:
                content = (await response.json())["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
            found = {item["token"]: item["logprob"] for item in content}
            alone = [sum(math.exp(found[f"token_id:{token}"]) for token in option) for option in options]
            p_alone = alone[0] / sum(alone)
            p_together = 1 / (1 + math.exp(score.logprobs[1] - score.logprobs[0]))
            assert p_together == pytest.approx(p_alone, abs=1e-5)


async def test_judgements_after_reasoning_and_harm_ratings_are_scored_as_in_this_process(
    served: EngineSection, runs: Path
) -> None:
    reasoning = {"max_tokens": 60, "samples": 2, "temperature": 1.0}
    captured = await _requests(
        runs, "reasoned", served, reasoning=reasoning, harm=True, principles=2, combine="log-odds"
    )
    by_stage: dict[str, list[Request]] = {}
    for request in captured:
        by_stage.setdefault(str(request.labels["stage"]), []).append(request)
    with Store(runs / "runs" / "reasoned" / "store") as store:
        outcomes = [read_outcome(r.answer) for r in store.records() if r.labels["stage"] == "outcome"]
    judgements = [j for outcome in outcomes for f in outcome.feedback for j in f.judgements]
    assert len(by_stage["reasoning"]) == len(judgements)
    assert all(j.reasoning_request for j in judgements)
    assert len(by_stage["judgement"]) == sum(j.abstained != "unfinished" for j in judgements)
    assert len(by_stage["harm"]) == sum(len(outcome.harm) for outcome in outcomes) > 0
    assert len({j.reasoning_request for j in judgements}) == len(judgements)  # each sample has its own seed
    assert len({j.reasoning for j in judgements}) > len(judgements) // 4  # a trained model says much twice
    local = LocalEngine(
        "here", EngineSection(kind="local", model="cai-toy", path=str(MODEL_FOLDER)), "2026-01-01"
    )
    server = ServerEngine("main", served, "2026-01-01")
    await asyncio.gather(local.open(), server.open())
    try:
        for stage in ("judgement", "harm"):
            scored = [request for request in by_stage[stage][:8] if isinstance(request, ScoreRequest)]
            there = await server.score(scored)
            waiting = asyncio.create_task(local.score(scored))
            while not waiting.done():
                local.flush()
                await asyncio.sleep(0.01)
            for one, other in zip(there, await waiting, strict=True):
                assert one.logprobs == pytest.approx(other.logprobs, abs=0.02)
                assert one.outside == pytest.approx(other.outside, abs=0.005)
    finally:
        await local.close()
        await server.close()


async def test_a_prompt_that_is_too_long_is_an_answer_and_spoils_no_other(
    served: EngineSection, runs: Path
) -> None:
    from cai.conversation import Turn
    from cai.parts import Value
    from cai.prompting import OPTIONS, load_prompts, turn_values
    from cai.shipped import shipped

    prompts = load_prompts(shipped("prompts"), "chat")

    def request(text: str) -> ScoreRequest:
        turns = turn_values([Turn("user", " " + text)], "row")
        principle = {
            form: Value("Which is better?", "principle", "p")
            for form in ("text", "critique", "revision", "judgement")
        }
        a, b = Value("one", "row", "a"), Value("two", "row", "b")
        return ScoreRequest("main", prompts.judgement(turns, a, b, principle), OPTIONS)

    engine = ServerEngine("main", served, "2026-01-01")
    await engine.open()
    try:
        short, long, other = await engine.score([request("hello"), request("word " * 4000), request("bye")])
    finally:
        await engine.close()
    assert long.finish == "too_long"
    assert long.context_tokens == 2048
    assert short.finish == other.finish == "stop"
    assert all(math.isfinite(value) for value in (*short.logprobs, *other.logprobs))


async def test_a_wrong_model_name_is_refused_with_the_names_there_are(served: EngineSection) -> None:
    from cai.errors import EngineRefusedError

    engine = ServerEngine("main", served.model_copy(update={"model": "no-such-model"}), "2026-01-01")
    with pytest.raises(EngineRefusedError, match="cai-toy"):
        await asyncio.wait_for(engine.open(), 30)
    await engine.close()
