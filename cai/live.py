"""A run put together: recipe, frozen inputs, engines, store, and the job over them.

`LiveRun` is what a verb holds while a run is being worked on. It takes the store's lock first,
loads everything that people wrote, settles who the engines are, freezes the generation, and
only then is there a job. Engines open at their first request.

What this module does not know: the pilot, the terminal, what a dataset is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from cai.ask import Ask
from cai.engine.identity import Identity
from cai.engine.kinds import LazyEngine, make_engine
from cai.errors import InputError, RecipeError, RunError
from cai.frozen import Generation, Inputs, freeze, load_inputs, row_plans
from cai.generations import remember
from cai.job import Job, rows_in_flight
from cai.recipe import EngineSection, Recipe, load_recipe
from cai.run_folder import RunFolder
from cai.settled import freeze_fingerprint, freeze_identity, frozen_date, frozen_identity, refuse_twin_judges
from cai.shipped import find
from cai.source import Source, open_sources
from cai.steps import RowPlan
from cai.store import Store
from cai.tally import SAVE_EVERY_S, Tally, read_tally

STARTER_MODEL = "your-org/your-model"
"""What stands in the starter recipe until a person writes a model's name."""


def located(section: EngineSection, run: RunFolder) -> EngineSection:
    """An engine's section with its model and tokenizer folders found, as files that a recipe names are.

    A name that is no folder stays as it is: it may be one of the Hub's.
    """
    found: dict[str, str] = {}
    for key in ("path", "tokenizer", "script"):
        name = getattr(section, key)
        if name is None or (key == "script" and not name.endswith(".py")):
            continue
        try:
            found[key] = str(find(name, run.path))
        except InputError:
            if key == "script":
                raise
    return section.model_copy(update=found)


def lazy_engine(recipe: Recipe, run: RunFolder, name: str) -> LazyEngine:
    """An engine of a run's recipe, which opens at its first request and is who the run knows it as."""
    declared = recipe.engines[name]
    section = located(declared, run)
    date = frozen_date(run.path, declared)
    return LazyEngine(
        name,
        section,
        make=lambda: make_engine(name, section, date, run.shown),
        settle=lambda identity: freeze_identity(run.path, declared, identity),
        known=frozen_identity(run.path, declared),
        settle_fingerprint=lambda fingerprint: freeze_fingerprint(run.path, declared, fingerprint),
    )


def refuse_placeholders(recipe: Recipe, run: RunFolder) -> None:
    """Raises: RecipeError where an engine still has the starter recipe's model."""
    for name, section in recipe.engines.items():
        if section.model == STARTER_MODEL:
            raise RecipeError(
                f"{run.recipe}: the engine {name!r} still has the starter's model, {STARTER_MODEL}, which is no model.",
                "Write there the name by which your server knows its model (vLLM's --model or --served-model-name).",
            )


def reused_stores(recipe: Recipe, run: RunFolder) -> list[Path]:
    """The stores of the runs in `run.reuse`, found from the run's folder or from where runs/ lies.

    Raises: RecipeError where one is not there, or is this run's own.
    """
    found = []
    for name in recipe.run.reuse:
        given = Path(name).expanduser()
        places = [given] if given.is_absolute() else [run.path / given, run.path.parent.parent / given]
        folder = next((place / "store" for place in places if (place / "store").is_dir()), None)
        if folder is None:
            raise RecipeError(
                f"{run.recipe}: there is no store of a run in {name}, which run.reuse names.",
                "Name a run's folder, such as runs/other.",
            )
        if folder.resolve() == run.store.resolve():
            raise RecipeError(f"{run.recipe}: run.reuse names this run itself.", "Name another run.")
        found.append(folder)
    return found


class LiveRun:
    """An opened run; use it as an asynchronous context manager.

    `inputs`: what to work with, loaded before; None: what the recipe names as it stands now.
    Raises on entering: RunLockedError, StoreError, InputError and its kinds, EngineError.
    """

    def __init__(self, run: RunFolder, inputs: Inputs | None = None) -> None:
        self.run = run
        self.recipe: Recipe = inputs.recipe if inputs is not None else load_recipe(run.recipe)
        refuse_placeholders(self.recipe, run)
        self.inputs: Inputs = inputs if inputs is not None else load_inputs(self.recipe, run.path)
        self.source: Source = open_sources(self.recipe.sources, run.path)
        self.engines: dict[str, LazyEngine] = {}
        self.identities: dict[str, Identity] = {}
        self._plans: Mapping[str, RowPlan] = row_plans(self.inputs)
        self.store: Store
        self._reused: list[Store] = []
        self.ask: Ask
        self.generation: Generation
        self.job: Job
        self._tally = Tally()
        self._saving: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.store = Store(self.run.store, writable=True)
        try:
            await self._begin()
        except BaseException:  # a Ctrl-C too: the store is closed and its lock let go of
            await self._end()
            raise
        return self

    async def _begin(self) -> None:
        for name in self.recipe.engines_used():
            self.engines[name] = lazy_engine(self.recipe, self.run, name)
        for name, engine in self.engines.items():
            known = frozen_identity(self.run.path, self.recipe.engines[name])
            if known is None:
                await engine.open()
            self.identities[name] = known or engine.identity
        refuse_twin_judges(self.recipe, self.identities)
        self.generation = freeze(self.run.path, self.inputs, self.identities)
        remember(self.run, self.generation)
        self._reused = [Store(folder) for folder in reused_stores(self.recipe, self.run)]
        self.ask = Ask(self.store, self.engines, self.identities, self._reused)
        self.job = Job(self.run, self.source, self.plan, self.ask, self.store, self.generation.digest)
        self._tally = read_tally(self.run.tally)
        self.store.start()
        self._saving = asyncio.get_running_loop().create_task(self._save_for_ever())

    async def _save_for_ever(self) -> None:
        while True:
            await asyncio.sleep(SAVE_EVERY_S)
            self._save_tally()

    def _save_tally(self) -> None:
        """Write what this go has done by now; a folder that cannot be written is the store's to tell."""
        if self.ask.accounts:
            with contextlib.suppress(RunError):
                self._tally.with_go(self.ask).save(self.run.tally)

    def plan(self, subset: str) -> RowPlan | None:
        """What is done to the rows of a subset, or None where the recipe has no constitution for it."""
        name = self.recipe.constitution_for(subset)
        return self._plans[name] if name is not None else None

    def rows_left(self) -> int:
        """How many rows are not finished; one pass over the source's ids."""
        return sum(not self.job.finished(row) for row, _ in self.source.ids())

    def has_rows_left(self) -> bool:
        """Whether any row is not finished; looks no further than the first, from where the job goes on."""
        return self.job.any_left()

    async def retry_too_long(self) -> None:
        """Take up rows again that did not fit whole, where an engine's context is larger now.

        Raises: EngineError, since every engine is opened to learn its context.
        """
        for engine in self.engines.values():
            await engine.open()
        self.ask.retry_too_long = True
        self.job.retry_too_long()

    @property
    def rows_in_flight(self) -> int:
        """How many rows to have under way."""
        wanted = {name: engine.concurrency for name, engine in self.engines.items()}
        return rows_in_flight(self.recipe.run.rows_in_flight, wanted)

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def _end(self) -> None:
        if self._saving is not None:
            self._saving.cancel()
            self._save_tally()
        try:
            closed = await asyncio.gather(
                *(engine.close() for engine in self.engines.values()), return_exceptions=True
            )
        finally:
            try:
                await self.store.stop()
            finally:
                for store in (self.store, *self._reused):
                    store.close()
        for error in closed:
            if isinstance(error, BaseException):
                raise error
