"""Servers that are down, stall, come back, or come back as another model."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cai.engine import connection
from cai.engine.fingerprint import LEAST, TOLERANCE, Fingerprint, difference, said_differences
from cai.errors import EngineDownError, EngineRefusedError, TransientEngineError
from tests.chat_shapes import CHATML, byte_level, save
from tests.test_server_engine import Small, engine, generate, score, serving


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer with a chat template."""
    path = tmp_path_factory.mktemp("faults")
    save(byte_level(), CHATML, path)
    return path


@pytest.fixture
def serve(folder: Path) -> Iterator[Callable[..., Small]]:
    yield from serving(folder)


def swap(server: Small, weights: str) -> None:
    """Make a server another model under the same name."""
    body = json.dumps({"weights": weights}).encode()
    urllib.request.urlopen(urllib.request.Request(f"{server.url}/swap", body), timeout=10).close()


# ---------------------------------------------------------------------- down


async def test_while_a_server_is_down_nothing_is_sent_and_no_call_loses_its_time(
    serve: Callable[..., Small],
) -> None:
    server = serve()
    one = engine(server, retry_s=20.0, concurrency=8)
    await one.open()
    expected = await one.generate(generate("hello 3"))
    server.stop()
    waiting = [asyncio.ensure_future(one.generate(generate(f"hello {n}"))) for n in range(30)]
    await asyncio.sleep(3.0)
    faults = dict(one.faults)
    again = serve("--port", str(server.port))
    answers = await asyncio.gather(*waiting)
    calls = again.counters()["calls"]
    await one.close()
    # The eight that were admitted found out, once each; nobody else went, and nobody went again.
    assert sum(faults.values()) <= 8
    assert one.faults == faults
    assert answers[3] == expected
    assert calls <= 30 + 2  # and the probe


async def test_the_time_that_a_server_was_down_is_not_taken_from_a_calls_own(
    serve: Callable[..., Small],
) -> None:
    server = serve()
    one = engine(server, retry_s=3.0, concurrency=8)
    await one.open()
    server.fault("503")
    waiting = [asyncio.ensure_future(one.generate(generate(f"hello {n}"))) for n in range(8)]
    await asyncio.sleep(2.5)
    server.fault("429", every=4, times=3)  # up again, and still not easy: some calls have to try once more
    answers = await asyncio.gather(*waiting)
    await one.close()
    assert all(answer.finish == "stop" for answer in answers)
    assert one.faults["busy"] >= 2


async def test_without_any_server_for_the_time_given_every_call_ends_with_engine_down(
    serve: Callable[..., Small],
) -> None:
    server = serve()
    one = engine(server, retry_s=1.0, concurrency=4)
    await one.open()
    server.stop()
    started = time.monotonic()
    results = await asyncio.gather(
        *(one.generate(generate(f"hello {n}")) for n in range(12)), return_exceptions=True
    )
    took = time.monotonic() - started
    with pytest.raises(EngineDownError, match="cannot be reached"):
        await one.generate(generate("later"))
    await one.close()
    assert {type(result) for result in results} == {EngineDownError}
    assert 0.9 <= took < 4


async def test_a_server_that_only_fails_is_down_and_comes_back(
    serve: Callable[..., Small], caplog: pytest.LogCaptureFixture
) -> None:
    server = serve()
    one = engine(server, retry_s=20.0, concurrency=16)
    await one.open()
    server.fault("503")
    with caplog.at_level(logging.WARNING, "cai"):
        waiting = [asyncio.ensure_future(one.generate(generate(f"hello {n}"))) for n in range(40)]
        await asyncio.sleep(2.0)
        assert one.faults["failed"] <= 16 + 5  # those that were under way, and hardly any twice
        server.fault()
        answers = await asyncio.gather(*waiting)
    await one.close()
    assert all(answer.finish == "stop" for answer in answers)
    assert caplog.text.count("No server answers") == 1
    assert caplog.text.count("answers again") == 1


async def test_of_several_servers_one_may_be_down_while_the_others_go_on(
    serve: Callable[..., Small],
) -> None:
    servers = [serve("--delay", "0.01"), serve("--delay", "0.01")]
    one = engine(*servers, retry_s=1.0, concurrency=8)
    await one.open()
    servers[0].stop()
    before = servers[1].counters()["calls"]
    await asyncio.gather(*(one.generate(generate(f"hello {n}")) for n in range(100)))
    await asyncio.sleep(1.5)  # longer than retry_s: the others are up, so nothing ends
    await asyncio.gather(*(one.generate(generate(f"more {n}")) for n in range(20)))
    back = serve("--port", str(servers[0].port))
    await asyncio.sleep(5.5)  # the longest pause between probes
    await asyncio.gather(*(one.generate(generate(f"again {n}")) for n in range(40)))
    shared = back.counters()["calls"]
    await one.close()
    assert servers[1].counters()["calls"] - before >= 120
    assert one.faults["refused"] + one.faults.get("reset", 0) <= 8
    assert shared >= 10


# ---------------------------------------------------------------------- stalled


async def test_a_server_that_answers_health_checks_and_no_request_ends_the_engine_with_the_reason(
    serve: Callable[..., Small],
) -> None:
    server = serve()
    one = engine(server, stall_s=1.0, timeout_s=1.5, retry_s=0.0, concurrency=4)
    await one.open()
    server.fault("hang", seconds=60)
    started = time.monotonic()
    results = await asyncio.gather(
        *(one.generate(generate(f"hello {n}")) for n in range(8)), return_exceptions=True
    )
    await one.close()
    assert time.monotonic() - started < 8
    assert {type(result) for result in results} == {EngineDownError}
    assert "makes no progress" in str(results[0])


async def test_one_request_that_hangs_ends_nothing_while_the_server_answers_others(
    serve: Callable[..., Small],
) -> None:
    server = serve()
    one = engine(server, stall_s=0.4, timeout_s=2.0, retry_s=0.0)
    await one.open()
    server.fault("hang", seconds=60, times=1)
    with pytest.raises(TransientEngineError, match="in time") as raised:
        await one.generate(generate("hello"))
    assert type(raised.value) is TransientEngineError
    assert (await one.generate(generate("hello"))).finish == "stop"
    await one.close()


# ---------------------------------------------------------------------- another model


def test_fingerprints_differ_by_the_largest_difference_of_a_log_probability() -> None:
    known = Fingerprint(((-0.5, -1.0), (-0.1, -2.5)), "0.32.0", "/models/a")
    assert difference(known, Fingerprint(((-0.5, -1.25), (-0.2, -2.5)))) == pytest.approx(0.25)
    assert difference(known, Fingerprint(((-0.5, -1.0), (-0.1, -3.5)))) == pytest.approx(1.0)
    assert difference(known, Fingerprint()) is None
    rare = Fingerprint(((LEAST - 1, -1.0),))
    assert difference(rare, Fingerprint(((LEAST - 40, -1.0),))) == 0.0
    assert said_differences(known, Fingerprint((), "0.33.0", "/models/a")) == ["version 0.33.0 (was 0.32.0)"]


async def test_a_server_that_restarts_with_another_model_is_refused_before_an_answer_is_believed(
    serve: Callable[..., Small], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "FRESH_S", 0.0)
    server = serve()
    one = engine(server, retry_s=10.0)
    await one.open()
    await one.generate(generate("hello"))
    server.stop()
    serve("--port", str(server.port), "--weights", "other")
    with pytest.raises(EngineRefusedError, match="another model under the name 'small'"):
        await one.score([score("which?")])
    with pytest.raises(EngineRefusedError, match="another model"):  # and for everybody after
        await one.generate(generate("hello"))
    await one.close()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (("--weights", "other"), "another model"),
        (("--model", "large"), "no model 'small' any more; it has: large"),
    ],
)
async def test_a_server_that_comes_back_as_another_model_is_refused_by_the_probe(
    serve: Callable[..., Small], other: tuple[str, str], message: str
) -> None:
    server = serve()
    one = engine(server, retry_s=60.0)
    await one.open()
    server.stop()
    waiting = asyncio.ensure_future(one.generate(generate("hello")))
    await asyncio.sleep(0.5)
    serve("--port", str(server.port), *other)
    with pytest.raises(EngineRefusedError, match=message):
        await waiting
    await one.close()


async def test_a_model_that_is_swapped_behind_a_kept_connection_is_found_out_within_a_minute(
    serve: Callable[..., Small], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    one = engine(server)
    await one.open()
    swap(server, "other")
    await one.generate(generate("hello"))
    assert connection.CHECK_EVERY_S == 60.0
    monkeypatch.setattr(connection, "CHECK_EVERY_S", 0.0)
    with pytest.raises(EngineRefusedError, match="another model"):
        await one.generate(generate("hello"))
    await one.close()


async def test_the_same_model_is_the_same_after_a_restart_and_through_the_chat_endpoint(
    serve: Callable[..., Small], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "FRESH_S", 0.0)
    for how in ((), ("--chat-only",)):
        server = serve(*how)
        one = engine(server, retry_s=20.0)
        await one.open()
        assert len(one.fingerprint.canaries) == 3
        first = await one.generate(generate("hello"))
        server.stop()
        serve("--port", str(server.port), *how)
        assert await one.generate(generate("hello")) == first
        await one.close()


async def test_a_run_keeps_the_fingerprint_and_refuses_another_model_when_it_goes_on(
    serve: Callable[..., Small], tmp_path: Path
) -> None:
    from cai.engine.kinds import LazyEngine, make_engine
    from cai.recipe import EngineSection
    from cai.settled import freeze_fingerprint, freeze_identity

    server = serve()
    section = EngineSection(kind="server", model="small", urls=[server.url], date="2026-11-21")

    def lazy() -> LazyEngine:
        return LazyEngine(
            "judge",
            section,
            make=lambda: make_engine("judge", section, "2026-11-21"),
            settle=lambda identity: freeze_identity(tmp_path, section, identity),
            known=None,
            settle_fingerprint=lambda found: freeze_fingerprint(tmp_path, section, found),
        )

    first = lazy()
    await first.open()
    digest = first.identity.digest
    await first.close()
    [kept] = (tmp_path / "frozen" / "engines").glob("*.fingerprint.json")
    record: dict[str, Any] = json.loads(kept.read_text())
    assert record["version"] == "0.32.0"
    assert len(record["canaries"]) == 3
    second = lazy()
    await second.open()
    assert second.identity.digest == digest
    await second.close()
    record["canaries"][1][0] += TOLERANCE + 0.01
    kept.write_text(json.dumps(record))
    with pytest.raises(EngineRefusedError, match=r"differ by 0\.51"):
        await lazy().open()


async def test_faults_are_counted_by_kind_over_all_goes_and_status_shows_them(
    serve: Callable[..., Small], tmp_path: Path
) -> None:
    from cai.cli.display import Meter
    from cai.cli.status import read_status
    from cai.live import LiveRun
    from cai.reading import ReadRun
    from cai.run_folder import open_run
    from tests.toy_source import write_run

    server = serve()
    run = write_run(tmp_path, rows=4)
    recipe = (run / "recipe.yaml").read_text()
    scripted = "{kind: scripted, model: m, script: script.py, concurrency: 8}"
    assert scripted in recipe
    (run / "recipe.yaml").write_text(
        recipe.replace(scripted, f"{{kind: server, model: small, urls: ['{server.url}']}}")
    )
    for kind, faults in (("429", {"busy": 2}), ("garbage", {"busy": 2, "malformed": 2})):
        async with LiveRun(open_run(run)) as live:
            for engine_ in live.engines.values():
                await engine_.open()
            server.fault(kind, times=2)
            await live.job.work(
                2, set([row for row, _ in live.source.ids()][: 2 if kind == "429" else 4]).__contains__
            )
            line = Meter("run", live.job.progress, live.ask).read().last_line(1.0)
            assert f"2 retries ({'busy' if kind == '429' else 'malformed'} 2)" in line
        with ReadRun(open_run(run)) as read:
            figures = read_status(read)
        assert figures["faults"] == {"main": faults}
        assert figures["unbalanced"] == []
