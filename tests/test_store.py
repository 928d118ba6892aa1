"""The store: what was acknowledged is there, and damage costs no more than what is damaged."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cai.digest import digest
from cai.errors import RunLockedError, StoreError
from cai.store import Store
from cai.store.index import Index

KEYS = [digest("test", i) for i in range(200)]


def _fill(folder: Path, count: int = 50, segment_bytes: int = 10**9) -> None:
    with Store(folder, writable=True, segment_bytes=segment_bytes) as store:
        for i in range(count):
            store.put(KEYS[i], {"text": f"answer {i}", "n": i}, {"row": "r", "stage": "s"})
            if i % 7 == 0:
                store.commit()


def test_what_was_put_can_be_got_at_once_and_after_reopening(tmp_path: Path) -> None:
    with Store(tmp_path, writable=True) as store:
        store.put(KEYS[0], {"text": "é“’"}, {"row": "r"})
        record = store.get(KEYS[0])
        assert record is not None
        assert record.answer == {"text": "é“’"}
    with Store(tmp_path) as store:
        record = store.get(KEYS[0])
        assert record is not None
        assert record.labels == {"row": "r"}
        assert store.get(KEYS[1]) is None
        assert KEYS[0] in store
        assert KEYS[1] not in store


def test_a_segment_is_json_lines_that_any_tool_reads(tmp_path: Path) -> None:
    _fill(tmp_path, 3)
    lines = [json.loads(line) for line in (tmp_path / "segment-000001.jsonl").read_text().splitlines()]
    assert [set(line) for line in lines] == [{"digest", "answer", "labels", "crc"}] * 3
    assert lines[2]["answer"] == {"text": "answer 2", "n": 2}


def test_one_process_writes_and_the_error_names_it(tmp_path: Path) -> None:
    with Store(tmp_path, writable=True):
        with pytest.raises(RunLockedError, match=f"process {os.getpid()}"):
            Store(tmp_path, writable=True)
        with Store(tmp_path) as reader:
            assert len(reader) == 0
    Store(tmp_path, writable=True).close()


@pytest.mark.parametrize("cut", [1, 5, 40, 90])
def test_a_torn_last_line_is_cut_before_the_first_append(tmp_path: Path, cut: int) -> None:
    _fill(tmp_path, 10)
    shutil.rmtree(tmp_path / "index")
    path = tmp_path / "segment-000001.jsonl"
    data = path.read_bytes()
    path.write_bytes(data[:-cut])
    with Store(tmp_path, writable=True) as store:
        assert store.get(KEYS[9]) is None
        assert all(store.get(key) is not None for key in KEYS[:9])
        store.put(KEYS[9], {"text": "again"}, {})
    with Store(tmp_path) as store:
        assert store.get(KEYS[9]) is not None
        assert store.damage == []


def test_damage_costs_the_damaged_record_alone_and_is_located(tmp_path: Path) -> None:
    _fill(tmp_path, 10)
    shutil.rmtree(tmp_path / "index")
    path = tmp_path / "segment-000001.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[4] = lines[4].replace(b"answer 4", b"answer X")
    path.write_bytes(b"".join(lines))
    with Store(tmp_path) as store:
        assert [(d.segment, d.offset) for d in store.damage] == [(1, sum(map(len, lines[:4])))]
        assert store.get(KEYS[4]) is None
        assert [i for i in range(10) if store.get(KEYS[i]) is not None] == [0, 1, 2, 3, 5, 6, 7, 8, 9]


def test_damage_under_an_index_is_seen_when_the_record_is_read(tmp_path: Path) -> None:
    _fill(tmp_path, 10)
    path = tmp_path / "segment-000001.jsonl"
    path.write_bytes(path.read_bytes().replace(b"answer 4", b"answer X"))
    with Store(tmp_path) as store:
        assert store.get(KEYS[4]) is None
        assert len(store.damage) == 1


def test_a_walk_over_the_store_notices_what_it_leaves_out(tmp_path: Path) -> None:
    _fill(tmp_path, 10)
    path = tmp_path / "segment-000001.jsonl"
    path.write_bytes(path.read_bytes().replace(b"answer 4", b"answer X"))
    with Store(tmp_path) as store:
        assert store.damage == []  # the index does not know it
        assert len(list(store.records())) == 9
        [damage] = store.damage
    assert b"answer X" in path.read_bytes()[damage.offset : damage.offset + damage.length]


def test_segments_roll_and_all_are_read(tmp_path: Path) -> None:
    _fill(tmp_path, 100, segment_bytes=500)
    assert len(list(tmp_path.glob("segment-*.jsonl"))) > 5
    for index in (True, False):
        if not index:
            shutil.rmtree(tmp_path / "index")
        with Store(tmp_path) as store:
            assert all(store.get(key) is not None for key in KEYS[:100])
            assert len(list(store.records())) == 100


def test_a_missing_segment_is_an_error_not_an_empty_store(tmp_path: Path) -> None:
    _fill(tmp_path, 20)
    (tmp_path / "segment-000001.jsonl").unlink()
    with pytest.raises(StoreError, match="lacks a segment"):
        Store(tmp_path)


def test_a_later_record_of_the_same_digest_wins(tmp_path: Path) -> None:
    with Store(tmp_path, writable=True) as store:
        store.put(KEYS[0], {"text": "old"}, {})
        store.commit()
        store.put(KEYS[0], {"text": "new"}, {})
    with Store(tmp_path) as store:
        record = store.get(KEYS[0])
        assert record is not None
        assert record.answer == {"text": "new"}


async def test_synced_means_on_disk(tmp_path: Path) -> None:
    store = Store(tmp_path, writable=True)
    store.start()
    for key in KEYS[:20]:
        store.put(key, {"text": "x"}, {})
    await store.synced()
    assert len((tmp_path / "segment-000001.jsonl").read_bytes().splitlines()) == 20
    await store.stop()
    store.close()


@pytest.mark.parametrize("written", [False, True])
async def test_a_commit_that_is_cancelled_loses_nothing_and_nobody_waits_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: bool
) -> None:
    """A Ctrl-C that ends every task at once ends the background commit too, at any moment of it."""
    plain = os.fsync
    writing = threading.Event()

    def slow(file: int) -> None:
        writing.set()
        time.sleep(0.2)
        plain(file)

    store = Store(tmp_path, writable=True)
    monkeypatch.setattr("cai.store.store.os.fsync", slow)
    store.start()
    store.put(KEYS[0], {"text": "under way"}, {})
    await asyncio.sleep(0.01)
    if written:
        assert await asyncio.to_thread(writing.wait, 5)
        store.put(KEYS[1], {"text": "came meanwhile"}, {})
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    async with asyncio.timeout(5):
        await store.stop()
    store.close()
    with Store(tmp_path) as reader:
        assert KEYS[0] in reader
        assert (KEYS[1] in reader) is written


async def test_a_full_disk_is_an_error_and_keeps_what_was_there(tmp_path: Path) -> None:
    _fill(tmp_path, 10)
    store = Store(tmp_path, writable=True)
    assert store._file is not None
    os.close(store._file)
    store._file = os.open("/dev/full", os.O_WRONLY)
    store.start()
    store.put(KEYS[20], {"text": "x"}, {})
    with pytest.raises(StoreError, match="No space left"):
        await store.synced()
    with pytest.raises(StoreError, match="No space left"):
        store.put(KEYS[21], {"text": "x"}, {})
    with pytest.raises(StoreError):
        await store.stop()
    store.close()
    with Store(tmp_path) as store:
        assert sum(store.get(key) is not None for key in KEYS) == 10


def test_the_index_finds_everything_across_many_tables(tmp_path: Path) -> None:
    index = Index(tmp_path, writable=True)
    keys = [bytes.fromhex(digest("index", i)) for i in range(3000)]
    for i, key in enumerate(keys):
        index.add(key, (1 + i % 3, i, 7))
        if i % 250 == 249:
            index.save({1: i})
    assert len(list(tmp_path.glob("table-*.bin"))) < 6
    again = Index(tmp_path, writable=False)
    assert len(again) == 3000
    assert all(again.find(key) == (1 + i % 3, i, 7) for i, key in enumerate(keys))
    assert again.find(bytes(16)) is None


def test_an_index_whose_tables_are_merged_while_it_is_opened_is_opened_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Index(tmp_path, writable=True)
    keys = [bytes.fromhex(digest("index", i)) for i in range(100)]
    for i, key in enumerate(keys):
        writer.add(key, (1, i, 7))
        if i == 49:
            writer.save({1: i})
    plain = Index._open
    opened: list[str] = []

    def merged_meanwhile(self: Index, name: str, crc: int) -> object:
        if not opened:
            writer.save({1: 99})
        opened.append(name)
        return plain(self, name, crc)

    monkeypatch.setattr(Index, "_open", merged_meanwhile)
    reader = Index(tmp_path, writable=False)
    assert len(opened) == 2
    assert reader.covered == {1: 99}
    assert all(reader.find(key) == (1, i, 7) for i, key in enumerate(keys))


def test_a_reader_without_an_index_holds_few_entries_in_memory_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, temporary = tmp_path / "store", tmp_path / "temporary"
    temporary.mkdir()
    _fill(folder, 150, segment_bytes=500)
    shutil.rmtree(folder / "index")
    before = sorted(folder.iterdir())
    monkeypatch.setattr("cai.store.index.RECENT", 20)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with Store(folder) as reader:
        assert len(reader._index._recent) < 20
        assert len(reader) == 150
        assert all(reader.get(key) is not None for key in KEYS[:150])
        assert reader.get(KEYS[150]) is None
        assert sorted(folder.iterdir()) == before
        assert list(temporary.iterdir()) == []


def test_a_damaged_index_is_made_again(tmp_path: Path) -> None:
    _fill(tmp_path, 20)
    for path in (tmp_path / "index").glob("table-*.bin"):
        path.write_bytes(path.read_bytes()[:-3])
    with Store(tmp_path) as store:
        assert all(store.get(key) is not None for key in KEYS[:20])


WRITER = """
import asyncio, sys
from pathlib import Path
from cai.digest import digest
from cai.store import Store

async def main():
    store = Store(Path(sys.argv[1]), writable=True)
    store.start()
    i = 0
    while True:
        for _ in range(20):
            store.put(digest("kill", i), {"text": "x" * 300, "n": i}, {})
            i += 1
        await store.synced()
        print(i, flush=True)

asyncio.run(main())
"""


def test_everything_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        acknowledged = 0
        for line in process.stdout:
            acknowledged = int(line)
            if acknowledged >= 100:
                break
        process.send_signal(signal.SIGKILL)
        process.wait()
        with Store(tmp_path) as store:
            assert all(store.get(digest("kill", i)) is not None for i in range(acknowledged))
            assert store.damage == []


async def test_waiting_on_nothing_returns_at_once(tmp_path: Path) -> None:
    store = Store(tmp_path, writable=True)
    store.start()
    await asyncio.wait_for(store.synced(), 0.05)
    await store.stop()
    store.close()


def test_a_segment_cut_within_what_is_indexed_is_scanned_anew_and_its_torn_line_cut(tmp_path: Path) -> None:
    _fill(tmp_path, 10)
    path = tmp_path / "segment-000001.jsonl"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 + 7])
    with Store(tmp_path, writable=True) as store:
        kept = [i for i in range(10) if KEYS[i] in store]
        assert kept == list(range(len(kept)))
        assert 3 <= len(kept) <= 6
        store.put(KEYS[9], {"text": "again"}, {})
    shutil.rmtree(tmp_path / "index")
    with Store(tmp_path) as store:
        assert store.damage == []
        assert KEYS[9] in store
        assert len(list(store.records())) == len(kept) + 1


def test_a_damaged_record_is_not_in_the_store(tmp_path: Path) -> None:
    _fill(tmp_path, 3)
    path = tmp_path / "segment-000001.jsonl"
    path.write_bytes(path.read_bytes().replace(b"answer 1", b"answer X"))
    with Store(tmp_path) as store:
        assert [key in store for key in KEYS[:3]] == [True, False, True]
        assert KEYS[1] not in store
        assert len(store.damage) == 1


async def test_a_new_segment_that_cannot_be_begun_is_an_error_for_everybody(tmp_path: Path) -> None:
    store = Store(tmp_path, writable=True, segment_bytes=100)
    store.start()
    store.put(KEYS[0], {"text": "x" * 200}, {})
    await store.synced()
    (tmp_path / "segment-000002.jsonl").mkdir()
    store.put(KEYS[1], {"text": "y"}, {})
    with pytest.raises(StoreError, match="segment-000002"):
        await asyncio.wait_for(store.synced(), 5)
    with pytest.raises(StoreError):
        store.put(KEYS[2], {"text": "z"}, {})
    with pytest.raises(StoreError):
        await store.stop()
    store.close()
    (tmp_path / "segment-000002.jsonl").rmdir()
    with Store(tmp_path) as reader:
        assert KEYS[0] in reader


async def test_an_index_that_cannot_be_saved_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "index").write_text("in the way")
    store = Store(tmp_path, writable=True)
    store.start()
    store.put(KEYS[0], {"text": "x"}, {})
    await store.synced()
    await store.stop()
    store.close()
    with Store(tmp_path) as reader:
        assert KEYS[0] in reader


def test_an_opening_that_fails_lets_go_of_the_lock(tmp_path: Path) -> None:
    _fill(tmp_path, 3)
    path = tmp_path / "segment-000001.jsonl"
    path.rename(tmp_path / "away")
    for _ in range(2):
        with pytest.raises(StoreError, match="lacks a segment"):
            Store(tmp_path, writable=True)
    (tmp_path / "away").rename(path)
    Store(tmp_path, writable=True).close()
