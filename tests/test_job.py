"""The job: rows stream, nothing is asked twice, failures cost the row that failed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cai.errors import EngineDownError
from cai.live import LiveRun
from cai.outcome import outcome_digest
from cai.run_folder import open_run
from cai.store import Store
from tests.toy_source import write_constitution, write_rows, write_run

PER_ROW = {"critique": 2, "revision": 2, "judgement": 2 * 2 * 3}


async def _work(run: Path, rows_in_flight: int = 5) -> dict[str, tuple[int, int]]:
    """Work on a run; returns (asked anew, from the store) by stage."""
    async with LiveRun(open_run(run)) as live:
        await live.job.work(rows_in_flight)
        return {stage: (a.answered, a.from_store) for (_, stage), a in live.ask.accounts.items()}


def _outcomes(run: Path) -> dict[str, object]:
    with Store(run / "store") as store:
        return {r.digest: r.answer for r in store.records() if r.labels["stage"] == "outcome"}


async def test_every_row_goes_through_all_its_steps(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=12)
    asked = await _work(run)
    assert asked["critique"] == (24, 0)
    assert asked["revision"] == (24, 0)
    assert len(_outcomes(run)) == 12


async def test_a_finished_run_asks_nothing_and_needs_no_engine(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    script = run / "script.py"
    closed = f"import os\nassert not os.path.exists({str(run / 'closed')!r}), 'the engine was opened'\n"
    script.write_text(closed + script.read_text())
    await _work(run)
    (run / "closed").touch()
    async with LiveRun(open_run(run)) as live:
        await live.job.work(5)
        assert live.ask.accounts == {}
        assert live.job.progress.before == 12
        assert not any(engine.is_open for engine in live.engines.values())


async def test_the_number_of_rows_in_flight_changes_no_outcome(tmp_path: Path) -> None:
    one, two = write_run(tmp_path / "a"), write_run(tmp_path / "b")
    await _work(one, rows_in_flight=1)
    await _work(two, rows_in_flight=50)
    assert _outcomes(one) == _outcomes(two)


async def test_a_run_that_is_stopped_goes_on_without_asking_anything_twice(tmp_path: Path) -> None:
    undisturbed = write_run(tmp_path / "a", rows=30)
    total = await _work(undisturbed)
    run = write_run(tmp_path / "b", rows=30)
    asked: dict[str, int] = {}
    for go in range(40):
        async with LiveRun(open_run(run)) as live:
            work = asyncio.create_task(live.job.work(4))
            for _ in range(25 + 7 * go):
                await asyncio.sleep(0)
            live.job.stop()
            await work
            for (_, stage), account in live.ask.accounts.items():
                asked[stage] = asked.get(stage, 0) + account.answered
        if len(_outcomes(run)) == 30:
            break
    assert go > 1
    assert asked == {stage: answered for stage, (answered, _) in total.items()}
    assert _outcomes(run) == _outcomes(undisturbed)


async def test_an_edited_principle_asks_again_only_what_it_changes(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=10)
    first = await _work(run)
    write_constitution(run, change=" now")
    again = await _work(run)
    assert again["critique"] == (0, 20)
    assert again["revision"] == (0, 20)
    # one principle of three, in both orders, for each pair
    assert again["judgement"][0] == first["judgement"][0] // 3
    assert again["judgement"][1] == first["judgement"][0] * 2 // 3
    write_constitution(run)
    async with LiveRun(open_run(run)) as live:
        await live.job.work(5)
        assert live.ask.accounts == {}


async def test_a_comment_in_a_constitution_replays_nothing(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=4)
    await _work(run)
    path = run / "principles" / "own.yaml"
    path.write_text("# a comment\n" + path.read_text())
    assert await _work(run) == {}


async def test_an_inserted_row_costs_its_own_requests_alone(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=8)
    await _work(run)
    write_rows(run, 9)
    asked = await _work(run)
    assert asked["critique"] == (2, 0)
    assert asked["judgement"][0] <= PER_ROW["judgement"]


async def test_a_row_whose_engine_fails_is_quarantined_and_the_others_finish(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=10, poisoned=(3, 7))
    async with LiveRun(open_run(run)) as live:
        await live.job.work(4)
        assert dict(live.job.progress.quarantined) == {"EngineAnswerError": 2}
        assert live.job.progress.finished == 8
    assert len((run / "quarantine.jsonl").read_text().splitlines()) == 2


async def test_an_engine_that_is_down_stops_the_job_and_keeps_what_was_answered(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=10)
    async with LiveRun(open_run(run)) as live:
        engine = live.engines["main"]
        inner = engine.inner
        assert inner is not None
        inner._failures = {30: EngineDownError("nobody answers")}  # type: ignore[attr-defined]
        with pytest.raises(EngineDownError):
            await live.job.work(3)
    with Store(run / "store") as store:
        kept = sum(1 for record in store.records() if record.labels["stage"] != "outcome")
    assert kept >= 20


async def test_a_slow_row_holds_nobody_up(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=20)
    async with LiveRun(open_run(run)) as live:
        engine = live.engines["main"]
        inner = engine.inner
        assert inner is not None
        slow = asyncio.Event()
        answer = inner.generate

        async def generate(request, priority=0):  # type: ignore[no-untyped-def]
            if "Question 0?" in request.rendered.messages[0].text:
                await slow.wait()
            return await answer(request, priority)

        inner.generate = generate  # type: ignore[method-assign]
        work = asyncio.create_task(live.job.work(3))
        for _ in range(400):
            await asyncio.sleep(0.005)
            if live.job.progress.finished == 19:
                break
        assert live.job.progress.finished == 19
        assert live.job.progress.in_flight == 1
        slow.set()
        await work
        assert live.job.progress.finished == 20


async def test_no_more_rows_than_asked_for_are_under_way(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=30)
    async with LiveRun(open_run(run)) as live:
        most = 0
        work = asyncio.create_task(live.job.work(4))
        while not work.done():
            most = max(most, live.job.progress.in_flight)
            await asyncio.sleep(0)
        assert most == 4


async def test_an_outcome_names_the_exact_request_of_every_answer(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=3)
    await _work(run)
    with Store(run / "store") as store:
        for outcome in _outcomes(run).values():
            assert isinstance(outcome, dict)
            for feedback in outcome["feedback"]:
                for judgement in feedback["judgements"]:
                    record = store.get(judgement["request"])
                    assert record is not None
                    assert record.answer["logprobs"] == judgement["logprobs"]
                    assert record.labels["principle"] == judgement["principle"]
                    assert record.labels["order"] == judgement["order"]
            for revision in outcome["revisions"]:
                for item in revision["rounds"]:
                    record = store.get(item["requests"][1])
                    assert record is not None
                    assert record.answer["text"] == item["raw"]


async def test_a_finished_row_is_remembered_under_its_generation(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=2)
    async with LiveRun(open_run(run)) as live:
        await live.job.work(2)
        rows = [row for row, _ in live.source.ids()]
        assert all(outcome_digest(row, live.generation.digest) in live.store for row in rows)
        assert not any(outcome_digest(row, "other") in live.store for row in rows)


async def test_the_order_of_constitution_patterns_is_part_of_a_generation(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=3)
    (run / "principles" / "two.yaml").write_text(
        (run / "principles" / "own.yaml")
        .read_text()
        .replace("constitution: own", "constitution: two")
        .replace("rule", "law")
    )
    recipe = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(recipe.replace('{"*": own}', '{"*": own, "harmless-*": two}'))
    await _work(run)
    (run / "recipe.yaml").write_text(recipe.replace('{"*": own}', '{"harmless-*": two, "*": own}'))
    assert (await _work(run))["judgement"][0] > 0


async def test_a_constitution_can_be_named_by_its_path(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=2)
    recipe = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(recipe.replace('{"*": own}', '{"*": principles/own.yaml}'))
    assert (await _work(run))["critique"] == (4, 0)


async def test_an_edited_script_is_another_engine(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=2)
    await _work(run)
    script = run / "script.py"
    script.write_text(script.read_text().replace("kinder", "warmer"))
    assert (await _work(run))["critique"] == (4, 0)


async def test_an_outcome_that_is_damaged_is_made_again(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=4)
    await _work(run)
    before = _outcomes(run)
    path = run / "store" / "segment-000001.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    number = next(i for i, line in enumerate(lines) if b'"stage":"outcome"' in line)
    lines[number] = lines[number].replace(b"kinder", b"kindor", 1)
    path.write_bytes(b"".join(lines))
    asked = await _work(run)
    assert all(anew == 0 for anew, _ in asked.values())
    assert _outcomes(run) == before


async def test_a_store_that_cannot_be_written_ends_the_job_with_one_error(tmp_path: Path) -> None:
    import os

    from cai.errors import StoreError

    run = write_run(tmp_path, rows=20)

    async def work() -> None:
        async with LiveRun(open_run(run)) as live:
            assert live.store._file is not None
            os.close(live.store._file)
            live.store._file = os.open("/dev/full", os.O_WRONLY)
            inner = live.engines["main"].inner
            assert inner is not None
            inner._delay_s = 0.05  # type: ignore[attr-defined]
            await live.job.work(4)

    with pytest.raises(StoreError, match="No space left"):
        await asyncio.wait_for(work(), 30)


class _Batching:
    """An engine that answers only what has been flushed, as the local one does."""

    name = "main"
    context_tokens = None
    concurrency = 64

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.identity = inner.identity
        self._waiting: list[asyncio.Future[None]] = []

    async def open(self) -> None:
        await asyncio.sleep(0.05)

    async def close(self) -> None:
        pass

    async def generate(self, request: Any, priority: int = 0) -> Any:
        await self._turn()
        return await self._inner.generate(request, priority)

    async def score(self, requests: Any, priority: int = 0) -> Any:
        await self._turn()
        return await self._inner.score(requests, priority)

    async def _turn(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

    def flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)


async def test_a_resumed_run_does_not_wait_for_ever_on_an_engine_that_gathers_batches(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=3)
    await _work(run)
    write_rows(run, 5)
    async with LiveRun(open_run(run)) as live:
        lazy = live.engines["main"]
        make = lazy._make
        lazy._make = lambda: _Batching(make())  # type: ignore[assignment, return-value]
        await asyncio.wait_for(live.job.work(8), 20)
        assert live.job.progress.finished == 2


async def test_rows_whose_prompt_did_not_fit_come_back_when_asked_to_and_more_fits(tmp_path: Path) -> None:
    from cai.request import Completion

    run = write_run(tmp_path, rows=3)
    async with LiveRun(open_run(run)) as live:
        inner = live.engines["main"].inner
        assert inner is not None
        answer = inner.generate

        async def generate(request: Any, priority: int = 0) -> Completion:
            if "Question 1?" in request.rendered.messages[0].text:
                return Completion("", "too_long", 900, 0, 512)
            return await answer(request, priority)

        inner.generate = generate  # type: ignore[method-assign]
        await live.job.work(4)
        assert dict(live.job.progress.excluded) == {"prompt_too_long": 1}
    assert await _work(run) == {}
    async with LiveRun(open_run(run)) as live:
        await live.retry_too_long()
        live.engines["main"].context_tokens = 1024
        await live.job.work(4)
        assert live.job.progress.finished == 1


READS = """
import sys, asyncio
from pathlib import Path
opened = []
sys.addaudithook(lambda event, args: opened.append(args[0]) if event == "open" else None)
from cai.cli.run import Wish, work
inputs = None
if sys.argv[2] == "told":
    from cai.cli.edited import inputs_meant
    from cai.run_folder import open_run
    inputs = inputs_meant(open_run(Path(sys.argv[1])), "")
asyncio.run(work(Path(sys.argv[1]), Wish(skip_doctor=True), lambda target: None, inputs))
names = [Path(name).name for name in opened if isinstance(name, (str, Path))]
print(names.count("train.jsonl.gz"), names.count("own.yaml"))
"""


def test_going_on_reads_the_source_once_and_what_people_wrote_once(tmp_path: Path) -> None:
    """With the pilot's rows done and approved; one row is left, and it is asked."""
    run = write_run(tmp_path, rows=12)
    recipe = (run / "recipe.yaml").read_text().replace("pilot: {rows: 0}", "pilot: {rows: 3}")
    (run / "recipe.yaml").write_text(recipe)

    def go(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done

    go("-m", "cai", "run", run, "--yes")
    generation = next(path.parent.name for path in run.glob("frozen/*/generation.json"))
    with Store(run / "store") as store:
        outcomes = [r for r in store.records() if r.labels["stage"] == "outcome"]
    last = outcome_digest(str(outcomes[-1].answer["row"]), generation)
    segment = next((run / "store").glob("segment-*.jsonl"))
    kept = [line for line in segment.read_bytes().splitlines(True) if last.encode() not in line]
    segment.write_bytes(b"".join(kept))
    assert go("-c", READS, run, "told").stdout.split() == ["1", "1"]
    assert len(_outcomes(run)) == 12
