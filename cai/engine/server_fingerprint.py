"""Taking a server's fingerprint, and holding the server to it.

At the start, before an answer over a new connection is believed, once a minute and when a server that was
down comes back, each server is asked the canary prompts of cai/engine/fingerprint.py.

What this module does not know: when that is (cai/engine/connection.py), where a fingerprint is kept.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from cai.engine.breaker import Place
from cai.engine.connection import Connection
from cai.engine.encoding import Encoder
from cai.engine.fault_kinds import Status
from cai.engine.fingerprint import (
    TOLERANCE,
    Fingerprint,
    canary_requests,
    difference,
    said_differences,
)
from cai.engine.wire import Unreadable, chat_body, choices_of, read_chat_scores, read_scores, score_body
from cai.errors import EngineRefusedError
from cai.recipe import EngineSection

_log = logging.getLogger("cai")


class Canaries:
    """Asks the canary prompts. `encoder` None: requests go as chats."""

    def __init__(
        self,
        name: str,
        connection: Connection,
        section: EngineSection,
        encoder: Encoder | None,
        context_tokens: int | None,
    ) -> None:
        self._connection = connection
        self._section = section
        self._bodies: list[bytes] = []
        self._requests = canary_requests(name, "text" if section.form == "completion" else "user")
        self._warned: set[str] = set()
        self._known = Fingerprint()
        self._seen: dict[str, Fingerprint] = {}
        self._ask: Callable[..., Awaitable[dict[str, Any]]] = connection.ask
        self._spelt: list[tuple[tuple[tuple[int, ...], ...], int]] = []
        self._by_ids = encoder is not None
        if encoder is None:
            self._bodies = [chat_body(section, each) for each in self._requests]
            return
        prompts = [encoder.encode(each) for each in self._requests]
        if context_tokens is not None:
            prompts = [ids[-max(1, context_tokens - 1) :] for ids in prompts]
        options = [encoder.options(each) for each in self._requests]
        self._spelt = [(each, len(ids)) for each, ids in zip(options, prompts, strict=True)]
        tokens = sorted({token for each in options for ids in each for token in ids})
        self._bodies = [score_body(section.model, prompts, tokens)]

    async def begin(self) -> Fingerprint:
        """Ask every server, and hold all to what the first answers. Raises: EngineError."""
        places = self._connection.places
        self._ask = self._connection.ask
        for place in places:
            self._seen[place.url] = await self._of(place)
            place.checked_at = time.monotonic()
        self._ask = partial(self._connection.ask_once, counted=False)
        self.hold(self._seen[places[0].url])
        self._connection.check = self._check
        return self._known

    def hold(self, known: Fingerprint) -> None:
        """From now on every server has this fingerprint. Raises: EngineRefusedError where one has not."""
        self._known = known
        for place in self._connection.places:
            self._compare(self._seen[place.url], place)

    async def _check(self, place: Place) -> None:
        self._compare(await self._of(place), place)

    async def _of(self, place: Place) -> Fingerprint:
        """What a server answers now. Raises: EngineError."""
        models = await self._told(place, "/v1/models")
        data = models.get("data")
        known = [each for each in data if isinstance(each, dict)] if isinstance(data, list) else []
        mine = next((each for each in known if each.get("id") == self._section.model), None)
        if known and mine is None:
            offered = ", ".join(str(each.get("id")) for each in known)
            raise EngineRefusedError(
                f"The server at {place.url} has no model {self._section.model!r} any more; it has: {offered}.",
                "Serve the model that this run began with again, then type the same command.",
            )
        version = (await self._told(place, "/version")).get("version")
        root = (mine or {}).get("root")
        return Fingerprint(await self._canaries(place), _text(version), _text(root))

    def _compare(self, now: Fingerprint, place: Place) -> None:
        known = self._known
        said = said_differences(known, now)
        off = difference(known, now)
        if off is not None and off > TOLERANCE:
            and_says = f"; it says: {', '.join(said)}" if said else ""
            raise EngineRefusedError(
                f"The server at {place.url} has another model under the name {self._section.model!r} than this run "
                f"began with: on fixed questions its log-probabilities differ by {off:.2f} ({TOLERANCE} is the most "
                f"that one model may){and_says}.",
                "Serve the model that the run began with again; or, if another is meant, give it another `revision` "
                "in the recipe: its answers are then asked anew.",
            )
        for words in said:
            if words not in self._warned:
                self._warned.add(words)
                _log.warning("%s now says: %s; on fixed questions it answers as before.", place.url, words)

    async def _told(self, place: Place, path: str) -> dict[str, Any]:
        """What a server says of itself, or nothing where it does not. Raises: EngineError."""
        try:
            return await self._ask(place, path)
        except Status:
            return {}

    async def _canaries(self, place: Place) -> tuple[tuple[float, ...], ...]:
        path = "/v1/completions" if self._by_ids else "/v1/chat/completions"
        try:
            answers = [await self._ask(place, path, body) for body in self._bodies]
            if not self._by_ids:
                scores = [
                    read_chat_scores(answer, each.options)
                    for answer, each in zip(answers, self._requests, strict=True)
                ]
            else:
                choices = choices_of(answers[0], len(self._spelt))
                scores = [
                    read_scores(choice, options, length)
                    for choice, (options, length) in zip(choices, self._spelt, strict=True)
                ]
        except Status:
            return ()
        except Unreadable as error:
            if error.kind in ("error inside", "malformed"):
                raise self._connection.mapped(error, place) from error
            return ()  # whether a server can score at all is not for a guard to say
        return tuple(each.logprobs for each in scores)


def _text(said: Any) -> str:
    return said if isinstance(said, str) else ""
