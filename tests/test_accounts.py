"""Accounts balance: every row has one fate, every request one end, whatever goes wrong; faults are counted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cai.accounts import Accounts, accounts_of
from cai.ask import Ask, BusyClock
from cai.digest import digest, draw
from cai.errors import EngineError, RunError
from cai.fates import Fates, Outcomes
from cai.live import LiveRun
from cai.outcome import outcome_digest
from cai.run_folder import open_run
from cai.store import Record, Store
from cai.tally import Tally, check_ended, read_tally, unbalanced
from tests.toy_source import write_run

CAI = [sys.executable, "-m", "cai"]

FAULTY = """
from cai.digest import draw
from cai.errors import EngineAnswerError, EngineDownError, TransientEngineError

KINDS = [EngineAnswerError, TransientEngineError, EngineDownError]
SALT, RATE, DOWN = {salt}, {rate}, {down}


def fail(request):
    text = "".join(m.text for m in request.rendered.messages)
    number = draw(SALT, text) % 1000
    if number < RATE:
        raise KINDS[number % 2]("a fault")
    if number == 999 and DOWN:
        raise EngineDownError("down")


def generate(request):
    fail(request)
    return "A kinder answer."


def score(request):
    fail(request)
    a = 0.1 + 0.8 * (draw(*[m.text for m in request.rendered.messages]) % 1000) / 1000
    return [a * 0.98, (1 - a) * 0.98]
"""


def pair(kind: str, probability: float | None, judge: str = "main") -> dict[str, object]:
    """What accounts need of a feedback."""
    return {"kind": kind, "judge": judge, "probability": probability}


def fates_of(
    outcomes: list[dict[str, Any]],
    failed: list[str],
    rows_in: int | None,
    kinds: tuple[str, ...],
    tie_threshold: float,
    of: list[str] | None = None,
) -> Fates:
    """The fates of rows named by letters."""
    known = Outcomes(kinds, tie_threshold)
    for outcome in outcomes:
        known.add(digest("row", outcome["row"]), outcome)
    named = [digest("row", row) for row in failed]
    return known.fates(named, rows_in, None if of is None else [digest("row", row) for row in of])


def test_the_accounts_of_five_rows_by_hand() -> None:
    outcomes: list[dict[str, Any]] = [
        {"row": "a", "excluded": None, "feedback": [pair("human", 0.9), pair("human", 0.1, "second"), pair("revised", 0.5)]},
        {"row": "b", "excluded": None, "feedback": [pair("human", None), pair("revised", 0.2), pair("revised", 0.8)]},
        {"row": "c", "excluded": "prompt_too_long", "feedback": []},
    ]  # fmt: skip
    stale = {"row": "a", "excluded": "prompt_too_long", "feedback": []}
    fates = fates_of([stale, *outcomes], ["b", "d"], 5, ("human", "revised", "sampled"), 0.1)
    assert (fates.finished, fates.excluded.total(), fates.quarantined, fates.unfinished) == (2, 1, 1, 1)
    human, revised, sampled = (fates.pairs[kind] for kind in ("human", "revised", "sampled"))
    assert (human.labelled, human.tied, human.abstained, human.without_pair) == (1, 0, 1, 0)
    assert (revised.labelled, revised.tied, revised.further_pairs) == (2, 1, 1)
    assert sampled.without_pair == 2
    assert fates.mistakes(5) == []


def test_rows_that_left_the_source_are_in_no_account() -> None:
    outcomes = [{"row": row, "excluded": None, "feedback": [pair("human", 0.9)]} for row in "abc"]
    fates = fates_of(outcomes, ["d"], 3, ("human",), 0.0, of=["c", "a", "d"])
    assert (fates.finished, fates.quarantined, fates.unfinished) == (2, 1, 0)
    assert fates.pairs["human"].labelled == 2
    assert fates_of([], [], 0, ("human",), 0.0, of=[]).mistakes(0) == []


def counted(folder: Path, anew: bool = False, tie_threshold: float = 0.1) -> tuple[Accounts, Fates]:
    """The accounts of a store with one generation, and its rows' fates."""
    with Store(folder) as store:
        found = accounts_of(store, "g", ("human",), tie_threshold, anew)
    return found, found.outcomes.fates([], None)


def put(store: Store, number: int, row: str, probability: float) -> None:
    """A judgement, and the outcome of a row, as a run records them."""
    answer = {"prompt_tokens": number, "completion_tokens": 1}
    store.put(digest("request", number), answer, {"stage": "judgement", "row": row})
    outcome = {"row": row, "excluded": None, "feedback": [pair("human", probability)]}
    store.put(outcome_digest(row, "g"), outcome, {"stage": "outcome", "row": row})


def fill(folder: Path, probabilities: list[float]) -> None:
    """A store with one judgement, and the outcome, of a row for each of these."""
    with Store(folder, writable=True) as store:
        for number, probability in enumerate(probabilities):
            put(store, number, f"row {number}", probability)


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 9), st.floats(0, 1)), max_size=8), max_size=5),
    st.integers(200, 2000),
)
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_walk_that_goes_on_counts_what_a_whole_walk_counts(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    goes: list[list[tuple[int, float]]],
    segment_bytes: int,
) -> None:
    monkeypatch.setattr("cai.accounts.WORTH_KEEPING", 1)
    folder = tmp_path_factory.mktemp("store")
    number, rows = 0, set()
    for go in goes:
        with Store(folder, writable=True, segment_bytes=segment_bytes) as store:
            for row, probability in go:
                number += 1
                rows.add(row)
                put(store, number, f"row {row}", probability)
        (found, fates), (whole, wanted) = counted(folder), counted(folder, anew=True)
        assert (found.stages, found.records) == (whole.stages, whole.records)
        assert fates == wanted
        assert fates.finished == len(rows)


def test_what_was_counted_is_not_gone_on_from_where_it_no_longer_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cai.accounts.WORTH_KEEPING", 1)
    fill(tmp_path, [0.9, 0.45] * 10)
    assert counted(tmp_path)[1].pairs["human"].tied == 10
    kept = tmp_path / "index" / "accounts.npz"
    good = kept.read_bytes()
    assert counted(tmp_path)[0].records == 40

    # Another threshold is another question.
    assert counted(tmp_path, tie_threshold=0.01)[1].pairs["human"].tied == 0
    # Whatever is wrong with the file, the store is counted again.
    for broken in (b"", good[:100], good[:300] + b"\0" + good[301:], b"PK" + good, good[::-1]):
        kept.write_bytes(broken)
        assert counted(tmp_path)[1].pairs["human"].tied == 10
    # A segment with other content, of the same length, is not the one that was counted.
    kept.write_bytes(good)
    segment = tmp_path / "segment-000001.jsonl"
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join([*lines[2:], *lines[:2]]))
    (tmp_path / "index" / "covered.json").unlink()
    read = []
    monkeypatch.setattr(Accounts, "add", lambda _, record, __: read.append(record))
    counted(tmp_path)
    assert len(read) == 40


def test_a_store_that_was_counted_is_not_walked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cai.accounts.WORTH_KEEPING", 10)
    fill(tmp_path, [0.9] * 20)
    counted(tmp_path)
    read = []
    plain = Accounts.add

    def add(self: Accounts, record: Record, generation: str) -> None:
        read.append(record)
        plain(self, record, generation)

    monkeypatch.setattr(Accounts, "add", add)
    assert counted(tmp_path)[1].finished == 20
    assert read == []
    with Store(tmp_path, writable=True) as store:
        put(store, 20, "row 20", 0.9)
    assert counted(tmp_path)[1].finished == 21
    assert len(read) == 2


def test_damage_that_one_walk_met_is_told_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cai.accounts.WORTH_KEEPING", 1)
    fill(tmp_path, [0.9] * 5)
    segment = tmp_path / "segment-000001.jsonl"
    segment.write_bytes(segment.read_bytes().replace(b"row 2", b"row X", 1))
    for _ in range(2):
        with Store(tmp_path) as store:
            assert accounts_of(store, "g", ("human",), 0.1).records == 9
            assert len(store.damage) == 1


def test_rows_with_many_sampled_pairs_have_few_patterns() -> None:
    outcomes = Outcomes(("sampled",), 0.1)
    for number in range(500):
        feedback = [pair("sampled", draw(number, i) % 1000 / 1000) for i in range(16)]
        outcomes.add(digest("row", number), {"excluded": None, "feedback": feedback})
    assert len(outcomes.patterns) < 154  # 16 labels of three kinds, in any order
    assert outcomes.fates([], 500).pairs["sampled"].further_pairs == 500 * 15


def test_a_broken_balance_is_told() -> None:
    outcomes = [{"row": str(n), "excluded": None, "feedback": [pair("human", 0.9)]} for n in range(3)]
    fates = fates_of(outcomes, [], 2, ("human",), 0.0)
    assert fates.mistakes(2)
    fates = fates_of(outcomes, [], 3, ("human",), 0.0)
    assert fates.mistakes(3) == []
    fates.pairs["human"].labelled += 1
    assert fates.mistakes(3) == ["the human pairs of 3 finished rows"]
    counts = {
        "asked": 9,
        "from_store": 2,
        "shared": 1,
        "answered": 4,
        "stopped": 1,
        "failed": {"X": 1},
        "under_way": 0,
    }
    assert unbalanced({"main judgement": counts}) == []
    wrong = unbalanced({"main judgement": {**counts, "answered": 5}})
    assert wrong == ["main judgement: 9 asked, 10 accounted for"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["finished", "excluded", "quarantined", "unfinished"]),
            st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=3),
            st.booleans(),
        ),
        max_size=30,
    ),
    st.floats(0, 0.4),
)
def test_any_rows_balance(rows: list[tuple[str, list[float | None], bool]], threshold: float) -> None:
    outcomes = []
    quarantined = []
    for number, (fate, probabilities, listed) in enumerate(rows):
        if fate in ("finished", "excluded"):
            reason = "prompt_too_long" if fate == "excluded" else None
            feedback = [pair("human", each) for each in probabilities] if reason is None else []
            outcomes.append({"row": str(number), "excluded": reason, "feedback": feedback})
        if fate == "quarantined" or (fate == "finished" and listed):
            quarantined.append(str(number))
    fates = fates_of(outcomes, quarantined, len(rows), ("human", "revised"), threshold)
    assert fates.mistakes(len(rows)) == []
    assert fates.unfinished == sum(fate == "unfinished" for fate, _, _ in rows)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    salt=st.integers(0, 10**6),
    rate=st.sampled_from([0, 20, 100, 400]),
    down=st.booleans(),
    stop_after=st.one_of(st.none(), st.integers(1, 200)),
)
def test_runs_with_faults_always_balance(
    tmp_path_factory: pytest.TempPathFactory, salt: int, rate: int, down: bool, stop_after: int | None
) -> None:
    run = write_run(tmp_path_factory.mktemp("balance"), rows=6)
    (run / "script.py").write_text(FAULTY.format(salt=salt, rate=rate, down=down))

    async def go(stop: int | None) -> tuple[Ask, int]:
        async with LiveRun(open_run(run)) as live:
            work = asyncio.ensure_future(live.job.work(4))
            if stop is not None:
                for _ in range(stop):
                    await asyncio.sleep(0)
                live.job.stop()
            with contextlib.suppress(EngineError):
                await work
            quarantined = live.job.progress.quarantined.total()
        check_ended(live.ask)
        return live.ask, quarantined

    first, _ = asyncio.run(go(stop_after))
    (run / "quarantine.jsonl").unlink(missing_ok=True)
    second, quarantined = asyncio.run(go(None))
    tally = read_tally(run / "tally.json")
    assert unbalanced(tally.requests, ended=True) == []
    asked = sum(account.asked for ask in (first, second) for account in ask.accounts.values())
    assert sum(counts["asked"] for counts in tally.requests.values()) == asked
    with Store(run / "store") as store:
        records = list(store.records())
    answered = sum(counts["answered"] for counts in tally.requests.values())
    assert answered == sum(record.labels["stage"] != "outcome" for record in records)
    outcomes = [record.answer for record in records if record.labels["stage"] == "outcome"]
    lines = (run / "quarantine.jsonl").read_text().splitlines() if quarantined else []
    fates = fates_of(outcomes, [json.loads(line)["row"] for line in lines], 6, ("human", "revised"), 0.0)
    assert fates.mistakes(6) == []
    assert fates.quarantined == quarantined


async def test_what_a_go_lost_breaks_the_balance_and_is_an_error(tmp_path: Path) -> None:
    async with LiveRun(open_run(write_run(tmp_path, rows=2))) as live:
        await live.job.work(2)
    check_ended(live.ask)
    live.ask.accounts["main", "critique"].answered -= 1
    with pytest.raises(RunError, match="main critique: 1 still under way after the end"):
        check_ended(live.ask)


def test_the_tally_of_a_run_adds_up_over_its_goes_and_status_shows_it(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=6, poisoned=(2,))
    assert subprocess.run([*CAI, "run", str(run)], capture_output=True, text=True).returncode == 3
    first = read_tally(run / "tally.json")
    assert subprocess.run([*CAI, "run", str(run)], capture_output=True, text=True).returncode == 3
    both = read_tally(run / "tally.json")
    assert (first.goes, both.goes) == (1, 2)
    assert first.seconds is not None
    assert both.seconds is not None
    assert both.seconds >= first.seconds >= 0
    assert first.requests["main critique"]["failed"] == {"EngineAnswerError": 1}
    assert both.requests["main critique"]["failed"] == {"EngineAnswerError": 2}
    assert both.requests["main critique"]["answered"] == 10
    shown = subprocess.run([*CAI, "status", str(run)], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert "rows      5 of 6 finished, 1 in quarantine" in shown.stdout
    assert "human: 5 labelled, 0 tied, 0 abstained" in shown.stdout
    assert "requests of 2 goes" in shown.stdout
    assert "main critique: 12 = 10 answered, 2 failed: EngineAnswerError" in shown.stdout


def test_time_counts_while_anything_is_under_way_and_once_however_much_that_is() -> None:
    now = 0.0
    clock = BusyClock(lambda: now)
    with clock:  # from 0 to 5
        now = 2.0
        with clock:
            now = 4.0
        assert clock.seconds == 4.0
        now = 5.0
    now = 100.0
    assert clock.seconds == 5.0
    with clock:
        now = 101.5
    assert clock.seconds == 6.5


def test_a_tally_of_before_time_was_counted_claims_none(tmp_path: Path) -> None:
    path = tmp_path / "tally.json"
    path.write_text('{"goes": 1, "requests": {}, "faults": {}}')
    assert read_tally(path).seconds is None


def test_status_says_that_a_balance_is_broken_and_fails(tmp_path: Path) -> None:
    run = write_run(tmp_path, rows=3)
    assert subprocess.run([*CAI, "run", str(run)], capture_output=True, text=True).returncode == 0
    tally = read_tally(run / "tally.json")
    tally.requests["main judgement"]["answered"] -= 1
    Tally(tally.goes, tally.requests, tally.faults).save(run / "tally.json")
    shown = subprocess.run([*CAI, "status", str(run)], capture_output=True, text=True)
    assert shown.returncode == 1
    assert "do not balance: main judgement" in shown.stderr
