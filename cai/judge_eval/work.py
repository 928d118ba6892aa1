"""Asking: items go through all their ways, a bounded number at a time.

What was answered lies in the store by then, so that stopping loses nothing and the same again asks
only for what is missing. An item whose engine fails for good is set aside, named, and taken up again
by the next go; an engine that is down or refuses everything ends the work.

What this module does not know: what is asked, what is made of the answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from cai.abreast import PromptTooLongError, abreast, by_workers
from cai.ask import RowAsk, StoppedError
from cai.errors import CaiError, EngineDownError, EngineError, EngineRefusedError, RunError
from cai.job import Progress
from cai.judge_eval.item import Item
from cai.judge_eval.verdict import HarmVerdict, Verdict
from cai.judge_eval.ways import Way

Found = Verdict | HarmVerdict


class Asks(Protocol):
    """The part of an opened engine and its store that this needs."""

    def for_row(self, row: str) -> RowAsk:
        """What to ask with for one item."""

    def done(self, asked: RowAsk) -> None:
        """The item waits for nothing any more."""


@dataclass(frozen=True, slots=True)
class Failed:
    """An item that could not be asked: where it stands, and the error."""

    line: int
    error: str


class Work:
    """One go at an evaluation. `verdicts`: of each way, by the item's number."""

    def __init__(self, items: Sequence[Item], ways: Sequence[Way], asking: Asks) -> None:
        self.items = tuple(items)
        self.ways = tuple(ways)
        self.verdicts: dict[str, dict[int, Found]] = {way.name: {} for way in ways}
        self.failed: list[Failed] = []
        self.progress = Progress(total=len(self.items))
        self._asking = asking
        self._stopping = False
        self._fatal: CaiError | None = None

    def stop(self) -> None:
        """Take no more items; whoever calls this also stops `ask`, so that nothing new is sent."""
        self._stopping = True

    async def work(self, in_flight: int) -> None:
        """Ask about all items.

        Raises: EngineDownError, EngineRefusedError, StoreError; what was answered by then is kept.
        """
        numbers = iter(range(len(self.items)))
        await by_workers(min(in_flight, len(self.items)), lambda: self._worker(numbers))
        if self._fatal is not None:
            raise self._fatal
        self.failed.sort(key=lambda item: item.line)

    async def _worker(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            if self._stopping:
                return
            try:
                await self._item(number)
            except StoppedError:
                return
            except (EngineDownError, EngineRefusedError, RunError) as error:
                self._fatal = self._fatal or error
                self._stopping = True

    async def _item(self, number: int) -> None:
        item = self.items[number]
        ways = [way for way in self.ways if way.fits(item)]
        asked = self._asking.for_row(item.id)
        self.progress.in_flight += 1
        try:
            found = await abreast([_ask(way, item, asked) for way in ways])
        except (EngineDownError, EngineRefusedError):
            raise
        except EngineError as error:
            self.failed.append(Failed(item.line, error.problem))
            self.progress.quarantined[type(error).__name__] += 1
            return
        finally:
            self.progress.in_flight -= 1
            self._asking.done(asked)
        for way, verdict in zip(ways, found, strict=True):
            self.verdicts[way.name][number] = verdict
        self.progress.finished += 1


async def _ask(way: Way, item: Item, asked: RowAsk) -> Found:
    try:
        return await way.ask(item, asked)
    except PromptTooLongError:
        if way.is_harm:
            return HarmVerdict((None,) * len(item.responses), too_long=True)
        return Verdict(None, too_long=True)
