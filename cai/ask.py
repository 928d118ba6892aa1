"""`ask`: all that a step can do to the world. It answers from the store, or asks an engine.

A request is digested, looked up, and only if it is not there sent to its engine; the answer is
put into the store before the step sees it. Two steps that ask the same at once share one
request. What a step cannot see: servers, retries, caches, files.

`Ask` also knows how many admitted rows wait for an answer; when all do, engines that gather
batches are told to send what they have.

What this module does not know: what is asked and why; how a request travels.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import cast

from cai.engine import Engine
from cai.engine.identity import Identity
from cai.engine.kinds import LazyEngine
from cai.request import (
    Answer,
    Completion,
    GenerateRequest,
    Labels,
    Request,
    ScoreRequest,
    Scores,
    read_answer,
)
from cai.store import Record, Store


@dataclass
class Account:
    """Counts for one stage of one engine, over this process's life.

    `asked` = `from_store` + `shared` (asked twice at once) + `answered` + `failed` + `stopped` (not
    sent, since the run was being stopped) + those under way.
    """

    asked: int = 0
    from_store: int = 0
    shared: int = 0
    answered: int = 0
    stopped: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def under_way(self) -> int:
        """Asked, and no end of it yet; 0 once a run has ended."""
        ended = self.from_store + self.shared + self.answered + self.stopped + self.failed.total()
        return self.asked - ended


class StoppedError(Exception):
    """The run is being stopped, and this request would have cost something. Not a CaiError: the
    job (cai/job.py) takes it as the end of a row that will be replayed."""


class BusyClock:
    """How long anything was under way, however much at once; entered once for each."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._under_way = 0
        self._since = 0.0
        self._before = 0.0

    @property
    def seconds(self) -> float:
        """By now."""
        return self._before + (self._now() - self._since if self._under_way else 0.0)

    def __enter__(self) -> None:
        if not self._under_way:
            self._since = self._now()
        self._under_way += 1

    def __exit__(self, *_: object) -> None:
        self._under_way -= 1
        if not self._under_way:
            self._before += self._now() - self._since


class Ask:
    """Answers requests for all rows of a run. Steps get a `RowAsk` from `for_row`."""

    def __init__(
        self,
        store: Store,
        engines: Mapping[str, Engine],
        identities: Mapping[str, Identity],
        reuse: Sequence[Store] = (),
    ) -> None:
        self.store = store
        self.reuse = list(reuse)
        self.engines = engines
        self.retry_too_long = False
        self.on_text: Callable[[GenerateRequest, str], None] | None = None
        """Where it is set, texts are asked for piece by piece, and it is told each as it comes."""
        self.accounts: dict[tuple[str, str], Account] = {}
        self._digests = {name: identity.digest for name, identity in identities.items()}
        self._under_way: dict[str, asyncio.Future[Answer]] = {}
        self._admitted: set[int] = set()
        self._waiting: Counter[int] = Counter()
        self._stopping = False
        self.clock = BusyClock()
        for engine in engines.values():
            if isinstance(engine, LazyEngine):
                engine.on_late = self._flush_if_all_wait

    def stop(self) -> None:
        """From now on answer from the store alone; what is under way is still answered and kept."""
        self._stopping = True

    def for_row(self, row: str, number: int) -> RowAsk:
        """What one row's steps ask with; `number` counts admitted rows and is their priority."""
        self._admitted.add(number)
        return RowAsk(self, row, number)

    def leave(self, number: int) -> None:
        """A row is done (or failed) and waits for nothing any more."""
        self._admitted.discard(number)
        self._waiting.pop(number, None)
        self._flush_if_all_wait()

    def account(self, request: Request) -> Account:
        """The account that a request is booked on."""
        key = (request.engine, str(request.labels.get("stage", "")))
        account = self.accounts.get(key)
        if account is None:
            account = self.accounts[key] = Account()
        return account

    def digest(self, request: Request) -> str:
        """A request's identity."""
        return request.digest(self._digests[request.engine])

    def stored(self, request: Request, digest: str) -> Answer | None:
        """The answer that the store holds, or one of the stores to reuse (it is then copied in).

        With `retry_too_long`, one that says `too_long` counts as absent, unless the context is known to be
        no larger than it was.
        """
        record = self.store.get(digest) or self._reused(request, digest)
        if record is None:
            return None
        answer = read_answer(record.answer)
        if self.retry_too_long and answer.finish == "too_long":
            now, then = self.engines[request.engine].context_tokens, answer.context_tokens
            if now is None or then is None or now > then:
                return None
        return answer

    def _reused(self, request: Request, digest: str) -> Record | None:
        for store in self.reuse:
            record = store.get(digest)
            if record is not None:
                self.store.put(digest, record.answer, request.labels)
                return record
        return None

    async def ask(self, requests: Sequence[Request], row: RowAsk) -> list[Answer]:
        """Answer requests of one kind to one engine, in their order.

        Raises: EngineError, StoreError; StoppedError where the run is stopping and the store
        does not hold the answer.
        """
        digests = [self.digest(request) for request in requests]
        answers: dict[str, Answer] = {}
        missing: dict[str, Request] = {}
        shared: dict[str, asyncio.Future[Answer]] = {}
        for key, request in zip(digests, requests, strict=True):
            account = self.account(request)
            if key in answers or key in missing or key in shared:
                account.asked += 1
                account.shared += 1
                continue
            if key in self._under_way:
                account.asked += 1
                account.shared += 1
                shared[key] = self._under_way[key]
                continue
            answer = self.stored(request, key)
            if answer is not None:
                account.asked += 1
                account.from_store += 1
                answers[key] = answer
            else:
                missing[key] = request
        if missing:
            account = self.account(next(iter(missing.values())))
            account.asked += len(missing)
            if self._stopping:
                account.stopped += len(missing)
                raise StoppedError
            answers.update(await self._send(missing, row))
        for key, future in shared.items():
            answers[key] = await self._wait(future, row)
        return [answers[key] for key in digests]

    async def _send(self, missing: dict[str, Request], row: RowAsk) -> dict[str, Answer]:
        loop = asyncio.get_running_loop()
        for key in missing:
            self._under_way[key] = loop.create_future()
        requests = list(missing.values())
        account = self.account(requests[0])
        self._begin_wait(row.number)
        try:
            got = await self._travel(requests, row.number)
            for (key, request), answer in zip(missing.items(), got, strict=True):
                self._keep(key, request, answer, account)
        except BaseException as error:  # a cancelled row too: whoever waits for the same request hears of it
            account.failed[type(error).__name__] += sum(key in self._under_way for key in missing)
            for key in missing:
                future = self._under_way.pop(key, None)
                if future is not None and isinstance(error, Exception):
                    future.set_exception(error)
                    future.exception()  # seen, even where nobody else waits
                elif future is not None:
                    future.cancel()
            raise
        finally:
            self._end_wait(row.number)
        return dict(zip(missing, got, strict=True))

    def _keep(self, key: str, request: Request, answer: Answer, account: Account) -> None:
        """Store an answer, count it, and give it to whoever asked the same."""
        self.store.put(key, answer.record(), request.labels)
        account.answered += 1
        if answer.finish != "too_long":  # which no model has read
            account.prompt_tokens += answer.prompt_tokens
        if isinstance(answer, Completion):
            account.completion_tokens += answer.completion_tokens
        self._under_way.pop(key).set_result(answer)

    async def _travel(self, requests: list[Request], priority: int) -> Sequence[Answer]:
        with self.clock:
            return await self._answers(requests, priority)

    async def _answers(self, requests: list[Request], priority: int) -> Sequence[Answer]:
        engine = self.engines[requests[0].engine]
        if isinstance(requests[0], ScoreRequest):
            return await engine.score(cast(list[ScoreRequest], requests), priority)
        [request] = requests
        assert isinstance(request, GenerateRequest)
        if self.on_text is not None and isinstance(engine, LazyEngine):
            return [await engine.stream(request, partial(self.on_text, request), priority)]
        return [await engine.generate(request, priority)]

    async def _wait(self, future: asyncio.Future[Answer], row: RowAsk) -> Answer:
        self._begin_wait(row.number)
        try:
            return await asyncio.shield(future)
        finally:
            self._end_wait(row.number)

    def _begin_wait(self, number: int) -> None:
        self._waiting[number] += 1
        # Looked at after every task that is ready now has run: they may have more to ask.
        asyncio.get_running_loop().call_soon(self._flush_if_all_wait)

    def _end_wait(self, number: int) -> None:
        self._waiting[number] -= 1
        if self._waiting[number] <= 0:
            del self._waiting[number]

    def _flush_if_all_wait(self) -> None:
        if self._admitted and len(self._waiting) >= len(self._admitted):
            for engine in self.engines.values():
                engine.flush()


class RowAsk:
    """`ask` as one row's steps see it; it adds the row to the labels."""

    __slots__ = ("_ask", "number", "row")

    def __init__(self, ask: Ask, row: str, number: int) -> None:
        self._ask = ask
        self.row = row
        self.number = number

    async def generate(self, request: GenerateRequest) -> Completion:
        """Ask for a text. Raises: EngineError, StoreError."""
        request.labels["row"] = self.row
        [answer] = await self._ask.ask([request], self)
        assert isinstance(answer, Completion)
        return answer

    async def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        """Ask for option probabilities; the requests share a beginning. Raises: EngineError, StoreError."""
        for request in requests:
            request.labels["row"] = self.row
        return cast(list[Scores], await self._ask.ask(requests, self))

    def digest(self, request: Request) -> str:
        """A request's identity, to remember beside its answer."""
        return self._ask.digest(request)


__all__ = ["Account", "Ask", "Labels", "RowAsk", "StoppedError"]
