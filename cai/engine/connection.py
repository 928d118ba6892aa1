"""HTTP to one or several servers of one model: who goes first, and what is tried again.

Calls are admitted by priority, at most `limit` requests in flight; each goes to the server with
the fewest in flight that has not just failed. A first failure that may pass hands the call to
tenacity: exponential waits with jitter, never shorter than the server's Retry-After, for at
most `retry_s`. Calls that wait to be tried again keep their place, so a server that is down is
not flooded: while it is (cai/engine/breaker.py) nothing is sent, and that time is not theirs.

Before an answer that came over a new connection is believed, `check` looks whether the same model
still answers there; and so it does every CHECK_EVERY_S.

Every fault has a kind, counted in `faults`, and each kind an error: cai/engine/fault_kinds.py.

What this module does not know: what is asked, tokens, models.
"""

from __future__ import annotations

import asyncio
import io
import logging
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import aiohttp
import tenacity
import tenacity.asyncio
from yarl import URL

from cai.engine.breaker import Breaker, Place
from cai.engine.fault_kinds import (
    FAULTS,
    REMEDIES,
    Status,
    kind_of,
    kind_of_status,
    seconds_of,
)
from cai.engine.gate import Gate
from cai.engine.wire import Unreadable, read_json
from cai.errors import EngineDownError, EngineError, TransientEngineError

_log = logging.getLogger("cai")

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
LONGEST_ASKED_WAIT_S = 300.0
"""What a server's Retry-After may ask for at most."""

CONNECT_S = 10.0
PROBE_S = 60.0
"""How long a server may take to answer a probe."""

STALL_S = 900.0
FRESH_S = 2.0
"""A connection opened this soon after a look at the model needs no other look: no server loads one faster."""

CHECK_EVERY_S = 60.0
_STREAMED_BYTES = 1_000_000
_Answer = TypeVar("_Answer")
_FOREIGN = (aiohttp.ClientError, OSError, TimeoutError, Unreadable, Status)


class Connection:
    """HTTP to the servers at `urls`. `key`: the API key or nothing; it appears in no message.
    `hint`: what to do where a server cannot be reached. `stall_s`: see cai/engine/breaker.py.

    `faults` counts what went wrong, by kind, what was tried again included. Open it inside a
    running event loop. `check`, once set, is awaited to see whether a server still has the same
    model; it raises an EngineError.
    """

    def __init__(
        self,
        urls: list[str],
        limit: int,
        timeout_s: float,
        retry_s: float,
        key: str = "",
        hint: str = "Is it running?",
        stall_s: float = STALL_S,
    ) -> None:
        self.faults: dict[str, int] = {}
        self.places = [_place(url) for url in urls]
        self.check: Callable[[Place], Awaitable[None]] | None = None
        self._gate = Gate(limit)
        self.breaker = Breaker(
            self.places, retry_s, stall_s, self._probe, self.close, lambda: self._gate.inside
        )
        self._retry_s = retry_s
        self._timeout_s = timeout_s
        self._key = key
        self._hint = hint
        self._session: aiohttp.ClientSession | None = None
        self._connected_at = 0.0

    def open(self) -> None:
        """Make ready; nothing travels yet."""
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        self._session = aiohttp.ClientSession(
            headers=headers,
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60, socket_factory=self._new_socket),
            timeout=aiohttp.ClientTimeout(total=self._timeout_s, sock_connect=CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self.breaker.start()

    def _new_socket(self, address: Any) -> socket.socket:
        """A connection is made: whoever answers may be another than before."""
        self._connected_at = time.monotonic()
        family, kind, protocol, _, _ = address
        return socket.socket(family=family, type=kind, proto=protocol)

    async def close(self) -> None:
        """Close all connections; a server stops what it computes for them."""
        if self._session is not None:
            await self._session.close()

    async def stop(self) -> None:
        """Close, and end what runs in the background."""
        await self.breaker.stop()
        await self.close()

    @asynccontextmanager
    async def admitted(self, priority: int, weight: int = 1) -> AsyncIterator[None]:
        """A place among those in flight, for a call of `weight` requests."""
        await self._gate.enter(priority, weight)
        try:
            yield
        finally:
            self._gate.leave(weight)

    async def complete(
        self, body: bytes, weight: int, read: Callable[[dict[str, Any]], _Answer], chat: bool = False
    ) -> _Answer:
        """Send a body, and give what `read` makes of the answer.

        Raises: the errors of cai/engine/fault_kinds.py; Status where a server says 400, for the
        caller to look into and hand to `mapped`.
        """
        waited_s = 0.0 if self.breaker.is_closed else await self.breaker.wait()
        try:
            return await self._once(body, weight, read, chat)
        except TransientEngineError as error:
            first: TransientEngineError | None = error
        began_s = time.monotonic()
        waited_s = 0.0

        def over(state: tenacity.RetryCallState) -> bool:
            if not self.breaker.is_closed:
                return False  # the wait for a server has a limit of its own
            own_s = (state.seconds_since_start or 0.0) - waited_s + state.upcoming_sleep
            return own_s >= self._retry_s and not self._nobody_answered(state, began_s)

        async for attempt in self._retrying(over):
            with attempt:
                if first is not None:
                    raised, first = first, None
                    raise raised
                waited_s += await self.breaker.wait()
                return await self._once(body, weight, read, chat)
        raise AssertionError("tenacity raises or answers")

    def _nobody_answered(self, state: tenacity.RetryCallState, began_s: float) -> bool:
        """Whether a call ran out of time as all others do: then the server has stalled, and it is for
        the watchdog to say so, not for this one row."""
        error = state.outcome.exception() if state.outcome is not None else None
        timed_out = error is not None and isinstance(error.__cause__, TimeoutError)
        return (
            timed_out and self.breaker.fatal is None and self.breaker.progress_at < began_s - self._timeout_s
        )

    async def _once(
        self, body: bytes, weight: int, read: Callable[[dict[str, Any]], _Answer], chat: bool
    ) -> _Answer:
        place = self._choose()
        place.in_flight += weight
        try:
            data: Any = body if len(body) < _STREAMED_BYTES else io.BytesIO(body)
            assert self._session is not None, "open the connection first"
            async with self._session.post(place.chat if chat else place.completions, data=data) as response:
                answer = await response.read()
                if response.status != 200:
                    raise Status(response.status, answer, response.headers.get("Retry-After"))
            got = read(read_json(answer))
        except _FOREIGN as error:
            self.breaker.raise_if_ended()
            if isinstance(error, Status) and error.status == 400:
                raise
            raise self._failed(error, place) from error
        finally:
            place.in_flight -= weight
        place.failures = 0
        now_s = self.breaker.progress_at = time.monotonic()
        if place.checked_at < self._connected_at - FRESH_S or now_s - place.checked_at > CHECK_EVERY_S:
            await self._checked(place)
        return got

    async def _checked(self, place: Place) -> None:
        """Look once, however many wait for it, whether a server still has the model it had.

        Raises: EngineRefusedError where it has another one: the engine has ended then.
        """
        if self.check is None:
            return
        asked_s = time.monotonic()
        async with place.checking:
            if place.checked_at >= asked_s:
                return
            try:
                await self.check(place)
            except TransientEngineError:
                raise
            except EngineError as error:
                self.breaker.end(error)
                raise
            place.checked_at = time.monotonic()

    async def _probe(self, place: Place) -> None:
        """Whether a server answers: its health first, then what `check` asks. Raises: EngineError."""
        try:
            async with asyncio.timeout(min(PROBE_S, self._timeout_s)):
                try:
                    await self.ask_once(place, "/health", counted=False)
                except Status as error:
                    if error.status != 404:
                        raise self.mapped(error, place, counted=False) from error
                await self._checked(place)
        except TimeoutError as error:
            raise self.mapped(error, place, counted=False) from error

    async def stream(self, body: bytes) -> AsyncIterator[dict[str, Any]]:
        """Send a body that asks for a stream, and give each of its events; never tried again.

        Raises: the errors of cai/engine/fault_kinds.py; Status where a server says 400.
        """
        await self.breaker.wait()
        place = self._choose()
        place.in_flight += 1
        try:
            assert self._session is not None, "open the connection first"
            async with self._session.post(place.completions, data=body) as response:
                if response.status != 200:
                    raise Status(response.status, await response.read(), response.headers.get("Retry-After"))
                async for line in response.content:
                    event = line.strip().removeprefix(b"data:").strip()
                    if event == b"[DONE]":
                        self.breaker.progress_at = time.monotonic()
                        return
                    if event and line.startswith(b"data:"):
                        yield read_json(event)
        except _FOREIGN as error:
            self.breaker.raise_if_ended()
            if isinstance(error, Status) and error.status == 400:
                raise
            raise self._failed(error, place) from error
        finally:
            place.in_flight -= 1

    async def ask(self, place: Place, path: str, body: bytes | None = None) -> dict[str, Any]:
        """GET or POST anything else of one server, tried again while that may help.

        Raises: the errors of cai/engine/fault_kinds.py; Status where the server says 4xx (but 408,
        425, 429).
        """
        over = tenacity.stop_before_delay(self._retry_s)
        async for attempt in self._retrying(over, self._say_waiting):
            with attempt:
                return await self.ask_once(place, path, body)
        raise AssertionError("tenacity raises or answers")

    async def ask_once(
        self, place: Place, path: str, body: bytes | None = None, counted: bool = True
    ) -> dict[str, Any]:
        """The same, tried once; an answer without a body is an empty object."""
        assert self._session is not None, "open the connection first"
        try:
            method = "GET" if body is None else "POST"
            async with self._session.request(method, place.url + path, data=body) as response:
                answer = await response.read()
                if response.status != 200:
                    raise Status(response.status, answer, response.headers.get("Retry-After"))
            return read_json(answer) if answer else {}
        except RuntimeError as error:  # the session was closed meanwhile
            self.breaker.raise_if_ended()
            raise EngineDownError(f"The connection to {place.url} is closed.") from error
        except _FOREIGN as error:
            if isinstance(error, Status) and kind_of_status(error.status) in ("denied", "rejected"):
                raise
            raise self.mapped(error, place, counted) from error

    def mapped(self, error: Exception, place: Place | None = None, counted: bool = True) -> EngineError:
        """The one place where what HTTP, sockets and answers raise becomes an error of ours; counted."""
        kind, words = kind_of(error)
        if counted:
            self.faults[kind] = self.faults.get(kind, 0) + 1
        name = place.url if place is not None else ", ".join(place.url for place in self.places)
        problem = f"The server at {name} {self._safe(words)}."
        remedy = self._hint if kind == "refused" else REMEDIES.get(kind, "")
        if issubclass(FAULTS[kind], TransientEngineError):
            after = seconds_of(error.retry_after) if isinstance(error, Status) else None
            return FAULTS[kind](problem, remedy, after)  # type: ignore[call-arg]
        return FAULTS[kind](problem, remedy)

    def _failed(self, error: Exception, place: Place) -> EngineError:
        """`mapped`, of a call on the way of a row: the breaker hears of it."""
        mapped = self.mapped(error, place)
        if isinstance(mapped, TransientEngineError):
            self.breaker.failed(place, kind_of(error)[0])
        return mapped

    def _choose(self) -> Place:
        if len(self.places) == 1:
            return self.places[0]
        now = time.monotonic()
        return min(self.places, key=lambda place: (place.down, place.cooling_until > now, place.in_flight))

    def _retrying(
        self,
        over: Callable[[tenacity.RetryCallState], bool],
        say: Callable[[tenacity.RetryCallState], None] | None = None,
    ) -> tenacity.asyncio.AsyncRetrying:
        return tenacity.asyncio.AsyncRetrying(
            retry=tenacity.retry_if_exception(lambda error: self._may_pass(error)),
            wait=lambda state: _wait(state) if self.breaker.is_closed else 0.0,
            stop=over,
            before_sleep=say,
            reraise=True,
        )

    def _may_pass(self, error: BaseException) -> bool:
        return isinstance(error, TransientEngineError) and self.breaker.fatal is None

    def _say_waiting(self, state: tenacity.RetryCallState) -> None:
        """A server that is asked for the first time may be starting: say once how long we wait for it."""
        error = state.outcome.exception() if state.outcome is not None else None
        if state.attempt_number == 1 and isinstance(error, TransientEngineError):
            hint = f" {error.remedy}" if error.remedy else ""
            _log.warning("%s%s It is tried for %s.", error.problem, hint, _time(self._retry_s))

    def _safe(self, words: str) -> str:
        """Words of a server, without the key and without what could steer a terminal."""
        if self._key:
            words = words.replace(self._key, "***")
        return "".join(letter if letter.isprintable() else " " for letter in words)[:500]


def _time(seconds: float) -> str:
    """`5 min`, `90 s`."""
    return f"{seconds / 60:g} min" if seconds >= 60 and seconds % 60 == 0 else f"{seconds:g} s"


_jitter = tenacity.wait_random_exponential(multiplier=FIRST_WAIT_S, max=LONGEST_WAIT_S)


def _wait(state: tenacity.RetryCallState) -> float:
    """How long to wait, in seconds."""
    error = state.outcome.exception() if state.outcome is not None else None
    asked = error.retry_after_s if isinstance(error, TransientEngineError) else None
    return max(_jitter(state), min(asked or 0.0, LONGEST_ASKED_WAIT_S))


def _place(url: str) -> Place:
    base = url.rstrip("/").removesuffix("/v1")
    return Place(base, URL(f"{base}/v1/completions"), URL(f"{base}/v1/chat/completions"))
