"""The store under any sequence of puts, commits, crashes, reopenings and damage; and readers under any bytes."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cai.digest import digest
from cai.store import Store
from tests.fuzz import DATA_TARGETS, run

KEYS = [digest("machine", i) for i in range(12)]
WHICH = st.integers(0, len(KEYS) - 1)


class StoreMachine(RuleBasedStateMachine):
    """A store beside what it should hold: `disk` what is committed, `buffer` what may be lost."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
        self.disk: dict[str, int] = {}
        self.buffer: dict[str, int] = {}
        self.number = 0
        self.store = self._open()

    def _open(self) -> Store:
        return Store(self.folder / "store", writable=True, segment_bytes=600)

    @rule(which=WHICH, size=st.integers(0, 300))
    def put(self, which: int, size: int) -> None:
        """A new answer, maybe of a digest that has one."""
        self.number += 1
        self.store.put(KEYS[which], {"n": self.number, "text": "x" * size}, {"row": "r"})
        self.buffer[KEYS[which]] = self.number

    @rule()
    def commit(self) -> None:
        """All that was put is on disk."""
        self.store.commit()
        self.disk |= self.buffer
        self.buffer = {}

    @rule()
    def reopen(self) -> None:
        """Closed in order; nothing is lost."""
        self.store.close()
        self.disk |= self.buffer
        self.buffer = {}
        self.store = self._open()

    @rule(torn=st.binary(max_size=40).filter(lambda data: b"\n" not in data), index=st.booleans())
    def crash(self, torn: bytes, index: bool) -> None:
        """Killed: what was not committed is gone, the index is as last saved, half a line may lie at the end."""
        self.store._buffer.clear()
        self.store._index_works = False
        self.store.close()
        self.buffer = {}
        with sorted((self.folder / "store").glob("segment-*.jsonl"))[-1].open("ab") as file:
            file.write(torn)
        if not index:
            shutil.rmtree(self.folder / "store" / "index", ignore_errors=True)
        self.store = self._open()

    @rule(seed=st.integers(0, 2**32))
    def damage(self, seed: int) -> None:
        """One byte of a committed line is flipped: that record is gone (an older one may not come back), no other."""
        self.reopen()
        drawn = random.Random(seed)
        held = [(place, key) for key in self.disk if (place := self.store._index.find(bytes.fromhex(key)))]
        if not held:
            return
        (number, offset, length), key = drawn.choice(held)
        self.store.close()
        path = self.folder / "store" / f"segment-{number:06d}.jsonl"
        data = bytearray(path.read_bytes())
        data[offset + drawn.randrange(length - 1)] ^= 1 << drawn.randrange(4)
        path.write_bytes(data)
        self.store = self._open()
        assert self.store.get(key) is None
        del self.disk[key]
        self.number += 1  # the damaged record is asked again, as a run would
        self.store.put(key, {"n": self.number, "text": ""}, {})
        self.commit()
        self.disk[key] = self.number

    @invariant()
    def holds_what_it_should(self) -> None:
        """Every record is the newest that was put; nothing else is there."""
        expected = self.disk | self.buffer
        for key in KEYS:
            record = self.store.get(key)
            assert (record.answer["n"] if record is not None else None) == expected.get(key)

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)

CASES = 20_000


def test_no_answer_of_a_server_in_twenty_thousand_is_more_than_a_fault() -> None:
    fates = run("answers", DATA_TARGETS["answers"], CASES, seed=1)
    assert CASES * 0.2 < fates["refused"] < CASES


def test_no_transcript_in_twenty_thousand_breaks_the_parser() -> None:
    fates = run("transcripts", DATA_TARGETS["transcripts"], CASES, seed=1)
    assert CASES * 0.05 < fates["used"] < CASES
