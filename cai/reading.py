"""A run opened for reading: recipe, frozen inputs, store, without engines and without the lock.

`cai status`, `show` and `dataset` stand on it; it can be opened while another process works on
the run.

What this module does not know: how a run is worked on (cai/live.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Self

from cai.engine.identity import Identity
from cai.errors import RunError
from cai.frozen import Generation, Inputs, frozen_identity, generation_of, load_inputs, row_plans
from cai.outcome import Outcome, outcome_digest, read_outcome
from cai.recipe import Recipe, load_recipe
from cai.run_folder import RunFolder
from cai.source import Source, open_sources
from cai.steps import RowPlan
from cai.store import Store


class ReadRun:
    """A run for reading; use it as a context manager.

    Raises: RunError where the run has not begun with the recipe as it now stands; InputError
    and its kinds; StoreError.
    """

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.recipe: Recipe = load_recipe(run.recipe)
        self.inputs: Inputs = load_inputs(self.recipe, run.path)
        self.identities: dict[str, Identity] = {}
        for name in self.recipe.engines_used():
            identity = frozen_identity(run.path, self.recipe.engines[name])
            if identity is None and not run.frozen.is_dir():
                raise RunError(f"The run {run.name} has not begun.", f"Type: cai run {run.shown}")
            if identity is None:
                raise RunError(
                    f"The run {run.name} has not begun with the engine {name!r} as the recipe now describes it.",
                    f"Type: cai run {run.shown}",
                )
            self.identities[name] = identity
        self.generation: Generation = generation_of(run.path, self.inputs, self.identities)
        if not self.generation.is_frozen:
            raise RunError(
                f"The recipe, principles or templates of {run.name} have changed since it last ran.",
                f"Type: cai run {run.shown}; or undo the edit.",
            )
        if not run.store.is_dir():
            raise RunError(f"The run {run.name} has no store.", f"Type: cai run {run.shown}")
        self.source: Source = open_sources(self.recipe.sources, run.path)
        self.store = Store(run.store)
        self._plans: Mapping[str, RowPlan] = row_plans(self.inputs)

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
