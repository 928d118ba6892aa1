"""Asking on the workbench: a run's engines, outside of the run.

Answers are kept in a store of the workbench's own, `RUN/workbench/store/`, so nothing paid for is
lost and the run's store is only read: what the run has asked already is answered from there, even
while the run is going on. Engines are those of the run's recipe, with the identities that the
run froze; where the run has not begun, they are settled now.

What this module does not know: what is asked and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import orjson

from cai.ask import Ask, RowAsk
from cai.engine.identity import Identity
from cai.engine.kinds import LazyEngine
from cai.frozen import Inputs, load_inputs
from cai.generations import frozen_generations
from cai.live import lazy_engine
from cai.outcome import outcome_digest
from cai.recipe import Recipe, load_recipe
from cai.run_folder import RunFolder
from cai.settled import frozen_identity
from cai.store import Store


class Asking:
    """A run's engines, ready to be asked; use it as an asynchronous context manager.

    `names`: the engines that will be needed; `store`: where answers are kept, if not on the
    workbench. Raises on entering: RunLockedError where another
    workbench of this run is at work; InputError and its kinds; EngineError; StoreError.
    """

    def __init__(self, run: RunFolder, names: Sequence[str] | None = None, store: Path | None = None) -> None:
        self.run = run
        self.place = store if store is not None else run.path / "workbench" / "store"
        self.recipe: Recipe = load_recipe(run.recipe)
        self.inputs: Inputs = load_inputs(self.recipe, run.path)
        self.names = list(names if names is not None else self.recipe.engines_used())
        self.engines: dict[str, LazyEngine] = {}
        self.identities: dict[str, Identity] = {}
        self.ask: Ask
        self._stores: list[Store] = []
        self._rows = 0

    async def __aenter__(self) -> Self:
        try:
            own = Store(self.place, writable=True)
            self._stores.append(own)
            reuse = []
            if self.run.store.is_dir():
                reuse.append(Store(self.run.store))
                self._stores += reuse
            for name in self.names:
                engine = self.engines[name] = lazy_engine(self.recipe, self.run, name)
                if frozen_identity(self.run.path, self.recipe.engines[name]) is None:
                    await engine.open()
                self.identities[name] = engine.identity
            self.ask = Ask(own, self.engines, self.identities, reuse)
            own.start()
        except BaseException:  # a Ctrl-C too: stores and engines that are open are closed
            await self._end()
            raise
        return self

    def reload(self) -> None:
        """Read the constitutions and templates again. Raises: InputError and its kinds."""
        self.inputs = load_inputs(self.recipe, self.run.path)

    def turns_dropped(self, row: str) -> int:
        """How many of a row's oldest turns the run did without, asking the same engines; 0 where it is not known."""
        for generation in frozen_generations(self.run)[:1]:
            frozen = orjson.loads((generation.folder / "generation.json").read_bytes())
            who = {identity.digest for identity in self.identities.values()}
            if who != {*frozen["engines"].values(), *frozen["judges"]}:
                return 0
            for store in self.ask.reuse:
                record = store.get(outcome_digest(row, generation.digest))
                if record is not None:
                    return int(record.answer.get("turns_dropped", 0))
        return 0

    def for_row(self, row: str) -> RowAsk:
        """What to ask with for one row, or for anything that is no row (name it)."""
        self._rows += 1
        return self.ask.for_row(row, self._rows)

    def done(self, asked: RowAsk) -> None:
        """The row waits for nothing any more."""
        self.ask.leave(asked.number)

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def _end(self) -> None:
        for engine in self.engines.values():
            await engine.close()
        for index, store in enumerate(self._stores):
            try:
                if index == 0:
                    await store.stop()
            finally:
                store.close()
