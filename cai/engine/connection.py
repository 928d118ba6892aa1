"""HTTP to one or several servers of one model: who goes first, what is tried again, what a fault is.

Calls are admitted by priority, at most `limit` requests in flight; each goes to the server with
the fewest in flight that has not just failed. A first failure that may pass hands the call to
tenacity: exponential waits with jitter, never shorter than the server's Retry-After, for at
most `retry_s`. Calls that wait to be tried again keep their place, so a server that is down is
not flooded.

Every fault has a kind, counted in `faults`, and each kind an error:

    refused      no connection                             EngineDownError
    reset        the connection broke, in the body or before TransientEngineError
    timeout      no answer within the time limit           TransientEngineError
    busy         429                                       TransientEngineError
    failed       408, 425, 5xx                             TransientEngineError
    malformed    200, but not JSON (cut off, or garbage)   TransientEngineError
    error inside 200, with an error in it                  TransientEngineError
    unfinished   a text that neither stopped nor was cut   TransientEngineError
    denied       401, 403                                  EngineRefusedError
    rejected     any other status                          EngineRefusedError
    choices      none, too few, too many                   EngineAnswerError
    text         no text, or no token counts               EngineAnswerError
    logprobs     missing, or fewer than asked              EngineAnswerError
    nan          a log-probability that is no number       EngineAnswerError

What this module does not know: what is asked, tokens, models.
"""

from __future__ import annotations

import asyncio
import email.utils
import heapq
import io
import itertools
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
import tenacity
import tenacity.asyncio
from yarl import URL

from cai.engine.wire import Unreadable, error_of, read_json
from cai.errors import (
    EngineAnswerError,
    EngineDownError,
    EngineError,
    EngineRefusedError,
    TransientEngineError,
)

_log = logging.getLogger("cai")

FAULTS: dict[str, type[EngineError]] = {
    "refused": EngineDownError,
    "reset": TransientEngineError,
    "timeout": TransientEngineError,
    "busy": TransientEngineError,
    "failed": TransientEngineError,
    "malformed": TransientEngineError,
    "error inside": TransientEngineError,
    "unfinished": TransientEngineError,
    "denied": EngineRefusedError,
    "rejected": EngineRefusedError,
    "choices": EngineAnswerError,
    "text": EngineAnswerError,
    "logprobs": EngineAnswerError,
    "nan": EngineAnswerError,
}
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
LONGEST_ASKED_WAIT_S = 300.0
"""What a server's Retry-After may ask for at most."""

COOLING_S = 1.0
"""How long a server that failed is passed over, if there is another."""

CONNECT_S = 10.0
_STREAMED_BYTES = 1_000_000
_Answer = TypeVar("_Answer")


class Status(Exception):  # noqa: N818 (never leaves the engine: mapped to an EngineError here)
    """An answer with a status other than 200."""

    def __init__(self, status: int, body: bytes, retry_after: str | None) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.body = body
        self.retry_after = retry_after


@dataclass(slots=True, eq=False)
class Place:
    """One server: its address, how many requests it has, until when it is passed over."""

    url: str
    completions: URL
    chat: URL
    in_flight: int = 0
    cooling_until: float = 0.0


class Gate:
    """Lets callers in by priority (lower first, then by arrival) while fewer than `limit` are in.

    A caller that stands for several requests is let in while there is room for one.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.inside = 0
        self._waiting: list[tuple[int, int, int, asyncio.Future[None]]] = []
        self._arrivals = itertools.count()

    async def enter(self, priority: int, weight: int) -> None:
        """Wait to be let in. Cancelled while waiting, the caller is not in."""
        if self.inside < self.limit and not self._waiting:
            self.inside += weight
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (priority, next(self._arrivals), weight, future))
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.leave(weight)
            raise

    def leave(self, weight: int) -> None:
        """Go, and let in whoever is next."""
        self.inside -= weight
        while self._waiting and self.inside < self.limit:
            _, _, next_weight, future = heapq.heappop(self._waiting)
            if not future.done():
                self.inside += next_weight
                future.set_result(None)


class Connection:
    """HTTP to the servers at `urls`. `key`: the API key or nothing; it appears in no message.
    `hint`: what to do where a server cannot be reached.

    `faults` counts what went wrong, by kind, what was tried again included. Open it inside a
    running event loop.
    """

    def __init__(
        self,
        urls: list[str],
        limit: int,
        timeout_s: float,
        retry_s: float,
        key: str = "",
        hint: str = "Is it running?",
    ) -> None:
        self.faults: dict[str, int] = {}
        self.places = [_place(url) for url in urls]
        self._gate = Gate(limit)
        self._retry_s = retry_s
        self._timeout_s = timeout_s
        self._key = key
        self._hint = hint
        self._session: aiohttp.ClientSession | None = None

    def open(self) -> None:
        """Make ready; nothing travels yet."""
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        self._session = aiohttp.ClientSession(
            headers=headers,
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
            timeout=aiohttp.ClientTimeout(total=self._timeout_s, sock_connect=CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close all connections; a server stops what it computes for them."""
        if self._session is not None:
            await self._session.close()

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

        Raises: the errors of the table above; Status where a server says 400, for the caller
        to look into and hand to `refused`.
        """
        try:
            return await self._once(body, weight, read, chat)
        except TransientEngineError as error:
            first: TransientEngineError | None = error
        async for attempt in self._retrying():
            with attempt:
                if first is not None:
                    raised, first = first, None
                    raise raised
                return await self._once(body, weight, read, chat)
        raise AssertionError("tenacity raises or answers")

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
            return read(read_json(answer))
        except (aiohttp.ClientError, OSError, TimeoutError, Unreadable, Status) as error:
            if isinstance(error, Status) and error.status == 400:
                raise
            raise self.mapped(error, place) from error
        finally:
            place.in_flight -= weight

    async def stream(self, body: bytes) -> AsyncIterator[dict[str, Any]]:
        """Send a body that asks for a stream, and give each of its events; never tried again.

        Raises: the errors of the table above; Status where a server says 400.
        """
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
                        return
                    if event and line.startswith(b"data:"):
                        yield read_json(event)
        except (aiohttp.ClientError, OSError, TimeoutError, Unreadable, Status) as error:
            if isinstance(error, Status) and error.status == 400:
                raise
            raise self.mapped(error, place) from error
        finally:
            place.in_flight -= 1

    async def ask(self, place: Place, path: str, body: bytes | None = None) -> dict[str, Any]:
        """GET or POST anything else of one server, tried again while that may help.

        Raises: the errors of the table above; Status where the server says 4xx (but 408, 425, 429).
        """
        assert self._session is not None, "open the connection first"
        async for attempt in self._retrying(self._say_waiting):
            with attempt:
                try:
                    method = "GET" if body is None else "POST"
                    async with self._session.request(method, place.url + path, data=body) as response:
                        answer = await response.read()
                        if response.status != 200:
                            raise Status(response.status, answer, response.headers.get("Retry-After"))
                    return read_json(answer)
                except (aiohttp.ClientError, OSError, TimeoutError, Unreadable, Status) as error:
                    if isinstance(error, Status) and _kind_of_status(error.status) in ("denied", "rejected"):
                        raise
                    raise self.mapped(error, place) from error
        raise AssertionError("tenacity raises or answers")

    def mapped(self, error: Exception, place: Place | None = None) -> EngineError:
        """The one place where what HTTP, sockets and answers raise becomes an error of ours; counted."""
        kind, words = _kind(error)
        self.faults[kind] = self.faults.get(kind, 0) + 1
        name = place.url if place is not None else ", ".join(place.url for place in self.places)
        if place is not None and issubclass(FAULTS[kind], TransientEngineError):
            place.cooling_until = time.monotonic() + COOLING_S
        problem = f"The server at {name} {self._safe(words)}."
        remedy = self._hint if kind == "refused" else _REMEDIES.get(kind, "")
        if issubclass(FAULTS[kind], TransientEngineError):
            after = _seconds(error.retry_after) if isinstance(error, Status) else None
            return FAULTS[kind](problem, remedy, after)  # type: ignore[call-arg]
        return FAULTS[kind](problem, remedy)

    def _choose(self) -> Place:
        if len(self.places) == 1:
            return self.places[0]
        now = time.monotonic()
        return min(self.places, key=lambda place: (place.cooling_until > now, place.in_flight))

    def _retrying(
        self, say: Callable[[tenacity.RetryCallState], None] | None = None
    ) -> tenacity.asyncio.AsyncRetrying:
        return tenacity.asyncio.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(TransientEngineError),
            wait=_wait,
            stop=tenacity.stop_before_delay(self._retry_s),
            before_sleep=say,
            reraise=True,
        )

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


_REMEDIES = {
    "timeout": "Raise the engine's `timeout_s`, or lower its `concurrency`.",
    "denied": "Put the right key into the environment variable that `api_key_variable` names.",
    "rejected": "Is it a vLLM server of version 0.32 or newer?",
    "nan": "Does the model compute in float16? Try bfloat16.",
}


def _kind(error: Exception) -> tuple[str, str]:
    """The kind of a fault, and how a sentence about the server goes on."""
    if isinstance(error, Unreadable):
        return error.kind, f"gave an answer that is none: {error}"
    if isinstance(error, Status):
        message = str(error_of(error.body).get("message", "")).rstrip(". ")
        words = f"answered with status {error.status}" + (f": {message}" if message else "")
        return _kind_of_status(error.status), words
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "refused", "cannot be reached (no answer to a connection)"
    if isinstance(error, TimeoutError):  # before OSError, which it is a kind of
        return "timeout", "did not answer in time"
    if isinstance(error, (aiohttp.ClientConnectorError, ConnectionRefusedError)):
        return "refused", "cannot be reached (no connection)"
    if isinstance(error, (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError)):
        return "rejected", "has an address that is none"
    return "reset", f"broke the connection ({type(error).__name__})"


def _kind_of_status(status: int) -> str:
    if status == 429:
        return "busy"
    if status in (408, 425) or status >= 500:
        return "failed"
    return "denied" if status in (401, 403) else "rejected"


def _seconds(retry_after: str | None) -> float | None:
    """What a Retry-After header asks for, in seconds; it is a number or a date."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None


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
