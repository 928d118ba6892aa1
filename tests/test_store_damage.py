"""A small store cut and flipped at every byte: all that is undamaged is used, what is damaged is located."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cai.digest import digest
from cai.store import Store
from cai.store.log import scan

KEYS = [digest("damage", i) for i in range(5)]
SEGMENT = "segment-000001.jsonl"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of five records, the first two committed apart from the others; its index is whole."""
    folder = tmp_path_factory.mktemp("whole") / "store"
    with Store(folder, writable=True) as store:
        for i, key in enumerate(KEYS):
            store.put(key, {"text": f"é {i}"}, {"row": f"r{i}"})
            if i == 1:
                store.commit()
    return folder


def _bounds(data: bytes) -> list[tuple[int, int]]:
    """Where each line begins and ends, newline included."""
    ends = [place + 1 for place, byte in enumerate(data) if byte == 10]
    return list(zip([0, *ends[:-1]], ends, strict=True))


def _damaged(whole: Path, folder: Path, data: bytes, index: bool) -> Path:
    """The store with another segment, with its index or without."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    (folder / SEGMENT).write_bytes(data)
    if not index:
        shutil.rmtree(folder / "index")
    return folder


def _sound(folder: Path) -> list[int]:
    with Store(folder) as store:
        found = [i for i, key in enumerate(KEYS) if (record := store.get(key)) is not None and _is(record, i)]
        assert [i for i, key in enumerate(KEYS) if key in store] == found
        assert {record.digest for record in store.records()} == {KEYS[i] for i in found}
    return found


def _is(record: object, i: int) -> bool:
    """Whether a record is exactly what was put; one that is not would be the worst of all faults."""
    told = (getattr(record, "digest", None), getattr(record, "answer", None), getattr(record, "labels", None))
    assert told == (KEYS[i], {"text": f"é {i}"}, {"row": f"r{i}"})
    return True


@pytest.mark.parametrize("index", [True, False])
def test_a_store_cut_at_any_byte_keeps_every_whole_record_and_goes_on(
    whole: Path, tmp_path: Path, index: bool
) -> None:
    data = (whole / SEGMENT).read_bytes()
    bounds = _bounds(data)
    for cut in range(len(data) + 1):
        folder = _damaged(whole, tmp_path / "store", data[:cut], index)
        kept = [i for i, (_, end) in enumerate(bounds) if end <= cut]
        assert _sound(folder) == kept, f"cut at byte {cut}"
        if cut % 25 and cut not in [end for _, end in bounds]:
            continue  # what follows costs an fsync or two
        with Store(folder, writable=True) as store:
            assert store.damage == [], f"cut at byte {cut}"
            for i in range(len(kept), 5):
                store.put(KEYS[i], {"text": f"é {i}"}, {"row": f"r{i}"})
        assert (folder / SEGMENT).read_bytes() == data, f"cut at byte {cut}"
        assert _sound(folder) == [0, 1, 2, 3, 4], f"cut at byte {cut}"


FLIPS: dict[str, Callable[[int], int]] = {
    "lowest bit": lambda byte: byte ^ 1,
    "highest bit": lambda byte: byte ^ 128,
    "newline": lambda byte: 10,
}


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("flip", list(FLIPS))
def test_a_store_flipped_at_any_byte_loses_the_record_alone_and_locates_it(
    whole: Path, tmp_path: Path, flip: str, index: bool
) -> None:
    data = (whole / SEGMENT).read_bytes()
    bounds = _bounds(data)
    for at, byte in enumerate(data):
        changed = FLIPS[flip](byte)
        if changed == byte:
            continue
        folder = _damaged(whole, tmp_path / "store", data[:at] + bytes([changed]) + data[at + 1 :], index)
        own = next(i for i, (_, end) in enumerate(bounds) if at < end)
        with Store(folder) as store:
            got = [
                i for i, key in enumerate(KEYS) if (record := store.get(key)) is not None and _is(record, i)
            ]
        assert [i for i in range(5) if i != own] == [i for i in got if i != own], f"{flip} at byte {at}"
        _is_located(folder, bounds, at)
        if at % 25 and at != bounds[own][1] - 1:
            continue  # what follows costs an fsync or two
        with Store(folder, writable=True) as store:
            store.put(KEYS[own], {"text": f"é {own}"}, {"row": f"r{own}"})
        shutil.rmtree(folder / "index")  # it must be found in the segment itself
        with Store(folder) as store:
            assert all(_is(store.get(key), i) for i, key in enumerate(KEYS)), f"{flip} at byte {at}"
            assert {record.digest for record in store.records()} == set(KEYS)


def _is_located(folder: Path, bounds: list[tuple[int, int]], at: int) -> None:
    """A scan (what `cai store verify` does) names the damaged bytes; a torn end is no damage, but no line."""
    damage = [item for item in scan(folder / SEGMENT, 1) if not isinstance(item, (tuple, int))]
    end = next(item for item in scan(folder / SEGMENT, 1) if isinstance(item, int))
    located = any(item.offset <= at < item.offset + item.length for item in damage)
    assert located or end <= at == bounds[-1][1] - 1, f"damage at byte {at} is not located"


def test_an_index_flipped_or_cut_at_any_byte_costs_nothing(whole: Path, tmp_path: Path) -> None:
    names = [path.name for path in (whole / "index").iterdir()]
    assert names
    data = (whole / SEGMENT).read_bytes()
    for name in names:
        content = (whole / "index" / name).read_bytes()
        for at in range(len(content)):
            for broken in (content[:at], content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]):
                folder = _damaged(whole, tmp_path / "store", data, index=True)
                (folder / "index" / name).write_bytes(broken)
                with Store(folder) as store:
                    assert all(_is(store.get(key), i) for i, key in enumerate(KEYS)), f"{name}, byte {at}"
