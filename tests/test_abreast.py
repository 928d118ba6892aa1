"""Workers side by side: all of them run, and the first error of one comes out by itself."""

from __future__ import annotations

import asyncio

import pytest

from cai.abreast import by_workers


async def test_so_many_workers_run_at_the_same_time_and_all_are_waited_for() -> None:
    meet = asyncio.Barrier(3)
    done: list[int] = []

    async def worker() -> None:
        done.append(await meet.wait())

    await by_workers(3, worker)
    assert sorted(done) == [0, 1, 2]


async def test_there_is_always_one_worker() -> None:
    done: list[str] = []

    async def worker() -> None:
        done.append("one")

    await by_workers(0, worker)
    assert done == ["one"]


async def test_the_first_error_comes_alone_and_the_other_workers_are_cancelled() -> None:
    numbers = iter(range(3))
    cancelled: list[int] = []

    async def worker() -> None:
        number = next(numbers)
        if number == 2:
            raise LookupError("what no worker expects")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(number)
            raise

    with pytest.raises(LookupError, match="what no worker expects"):
        await by_workers(3, worker)
    assert sorted(cancelled) == [0, 1]
