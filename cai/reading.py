"""A run opened for reading: recipe, inputs, store, without engines and without the lock.

`cai status`, `show` and `dataset` stand on it; it can be opened while another process works on
the run. Where the recipe, principles or templates have been edited since the run last worked, the
generation that it last worked with is read instead, whole, and one warning names what was edited.

What this module does not know: how a run is worked on (cai/live.py).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

from cai.engine.identity import Identity
from cai.errors import InputError, RunError
from cai.frozen import Generation, Inputs, generation_of, load_inputs, row_plans
from cai.generations import Past, changed_since, frozen_generations, read_generation
from cai.outcome import Outcome, outcome_digest, read_outcome
from cai.recipe import Recipe, load_recipe
from cai.run_folder import RunFolder
from cai.settled import frozen_identity
from cai.source import Source, open_sources
from cai.steps import RowPlan
from cai.store import Store

_log = logging.getLogger("cai")
_warned: set[tuple[Path, str]] = set()


class ReadRun:
    """A run for reading; use it as a context manager.

    `changed`: the files that were edited since the generation that is read; mostly none.
    Raises: RunError where the run has not begun; InputError and its kinds; StoreError.
    """

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.recipe: Recipe
        self.inputs: Inputs
        self.identities: Mapping[str, Identity] = {}
        self.generation: Generation
        self.changed: list[str] = []
        if not run.frozen.is_dir():
            load_recipe(run.recipe)  # a mistake in it is said first
            raise RunError(f"The run {run.name} has not begun.", f"Type: cai run {run.shown}")
        if not run.store.is_dir():
            raise RunError(f"The run {run.name} has no store.", f"Type: cai run {run.shown}")
        self.store = Store(run.store)
        try:
            self._choose()
        except BaseException:  # a Ctrl-C too: the store is closed
            self.store.close()
            raise
        self._plans: Mapping[str, RowPlan] = row_plans(self.inputs)

    def _choose(self) -> None:
        """The generation of what now stands, where the run has begun with it; else the last one."""
        now: Recipe | None = None
        inputs: Inputs | None = None
        mistake: InputError | None = None
        try:
            now = load_recipe(self.run.recipe)
            inputs = load_inputs(now, self.run.path)
        except InputError as error:
            mistake = error
        identities = _identities(self.run, now) if now is not None else None
        if now is not None and inputs is not None and identities is not None:
            generation = generation_of(self.run.path, inputs, identities)
            if generation.is_frozen:
                self.recipe, self.inputs, self.identities = now, inputs, identities
                self.generation = generation
                self.source: Source = open_sources(now.sources, self.run.path)
                return
        past = self._last_worked_with(now, mistake)
        self.recipe, self.inputs, self.identities = past.inputs.recipe, past.inputs, past.identities
        self.generation = past.generation
        self.changed = changed_since(past, self.run, now, inputs)
        self._warn(mistake)

    def _last_worked_with(self, now: Recipe | None, mistake: InputError | None) -> Past:
        """The latest generation with an outcome, or else the latest."""
        generations = frozen_generations(self.run)
        if not generations:
            raise mistake or RunError(
                f"The run {self.run.name} has not begun.", f"Type: cai run {self.run.shown}"
            )
        latest: Past | None = None
        for generation in generations:
            past = read_generation(generation, now)
            source = open_sources(past.inputs.recipe.sources, self.run.path)
            if any(outcome_digest(row, generation.digest) in self.store for row, _ in source.ids()):
                self.source = source
                return past
            if latest is None:
                latest, self.source = past, source
        assert latest is not None
        return latest

    def _warn(self, mistake: InputError | None) -> None:
        """Once in a process: `cai publish` opens its run several times."""
        warning = self._warning(mistake)
        if (self.run.path, warning) not in _warned:
            _warned.add((self.run.path, warning))
            _log.warning("%s", warning)

    def _warning(self, mistake: InputError | None) -> str:
        said = f" ({mistake.problem.rstrip('.')})" if mistake is not None else ""
        files = ", ".join(self.changed)
        verb = "has" if len(self.changed) == 1 else "have"
        then = "To go on, mend it and type" if mistake is not None else "For the change, type"
        return (
            f"{files} {verb} changed since {self.run.name} last ran{said}; this is what it last worked with, "
            f"generation {self.generation.digest[:12]}. {then}: cai run {self.run.shown}"
        )

    def plan(self, subset: str) -> RowPlan | None:
        """What is done to the rows of a subset, or None where the recipe has no constitution for it."""
        name = self.recipe.constitution_for(subset)
        return self._plans[name] if name is not None else None

    def outcomes(self, rows: Iterable[str]) -> dict[str, Outcome]:
        """The outcomes of those rows that are finished, by row id."""
        found = {}
        for row in rows:
            record = self.store.get(outcome_digest(row, self.generation.digest))
            if record is not None:
                found[row] = read_outcome(record.answer)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()


def _identities(run: RunFolder, recipe: Recipe) -> dict[str, Identity] | None:
    """Who the recipe's engines are, or None where the run has not met one of them."""
    found = {}
    for name in recipe.engines_used():
        identity = frozen_identity(run.path, recipe.engines[name])
        if identity is None:
            return None
        found[name] = identity
    return found
