"""The circuit breaker by itself: whoever waits for a server is told when nobody looks for it any more."""

from __future__ import annotations

import asyncio

import pytest
from yarl import URL

from cai.engine.breaker import Breaker, Place
from cai.errors import EngineDownError


async def test_a_watcher_that_fails_as_nobody_expects_ends_the_engine_and_leaves_nobody_waiting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ended = []

    async def probe(place: Place) -> None:
        raise ZeroDivisionError(place.url)

    async def end() -> None:
        ended.append(True)

    url = URL("http://127.0.0.1:9")
    place = Place(str(url), url, url)
    breaker = Breaker([place], 300.0, 300.0, probe, end, lambda: 0)
    breaker.failed(place, "refused")
    assert not breaker.is_closed
    with pytest.raises(EngineDownError, match=r"ZeroDivisionError: http://127\.0\.0\.1:9"):
        await asyncio.wait_for(breaker.wait(), 20)
    await breaker.stop()
    assert ended == [True]
    assert "What watches the servers failed" in caplog.text
