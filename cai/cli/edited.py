"""When what people wrote has changed since a run last worked: what differs, what it costs, which is meant.

A run goes on with one generation, and only when it has been told which: that of the files as
they are now (`--edited`), or the one that it last worked with (`--as-frozen`).

What this module does not know: how requests are counted (cai/workbench/changes.py).
"""

from __future__ import annotations

import asyncio
import heapq
import sys
from typing import TYPE_CHECKING, Literal

import typer
from rich.markup import escape

from cai.cli.console import err
from cai.errors import InputError, RunError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cai.engine.identity import Identity
    from cai.frozen import Generation, Inputs
    from cai.generations import Past
    from cai.recipe import Recipe
    from cai.run_folder import RunFolder
    from cai.workbench.changes import Changes

Meant = Literal["", "edited", "as-frozen"]
VERSION = "cai itself (another version)"
COUNTED_ROWS = 5000
"""Beyond so many rows the count is made on that many, spread evenly, and scaled up."""


def inputs_meant(run: RunFolder, meant: Meant) -> Inputs | None:
    """What to go on with: the files as they are now, or those that the run last worked with.

    None where the run has not begun. Raises: RunError where the files have changed and nobody said
    which is meant, or where what is meant would not be read afterwards; InputError and its kinds,
    where the files as they are now are meant and cannot be read.
    """
    from cai.frozen import generation_of, load_inputs
    from cai.generations import changed_since, frozen_generations, read_generation
    from cai.recipe import load_recipe

    generations = frozen_generations(run)
    if not generations or not any(run.store.glob("*.jsonl*")):
        return None
    now = load_recipe(run.recipe)
    if meant == "as-frozen":
        _refuse_if_another_is_read(run, now, generations[0])
        return read_generation(generations[0], now).inputs
    inputs = load_inputs(now, run.path)
    identities = _known_identities(run, now)
    if identities is not None and generation_of(run.path, inputs, identities).is_frozen:
        return inputs  # the run has worked with just this before
    try:
        past = read_generation(generations[0], now)
    except RunError:
        return inputs  # another version of the program made it; nothing of it can be gone on with
    changed = changed_since(past, run, now, inputs)
    if meant == "edited" or changed == [VERSION]:
        return inputs
    as_now = _as_now(run, changed, _count(run, past, now, inputs))
    return inputs if as_now else past.inputs


def _refuse_if_another_is_read(run: RunFolder, now: Recipe, latest: Generation) -> None:
    """Raises: RunError where the files are again as in an earlier generation: dataset, status and the like
    would be of that one (cai/reading.py), whatever was worked on."""
    from cai.frozen import generation_of, load_inputs

    identities = _known_identities(run, now)
    if identities is None:
        return
    try:
        found = generation_of(run.path, load_inputs(now, run.path), identities)
    except InputError:
        return
    if found.is_frozen and found.digest != latest.digest:
        raise RunError(
            f"The files are again what {run.name} worked with before it last ran, generation "
            f"{found.digest[:12]}, and --as-frozen means what it last ran with, {latest.digest[:12]}.",
            "To go on with the files as they are, leave --as-frozen out; else put back those in "
            f"{run.shown}/frozen/{latest.digest[:12]}... first.",
        )


def _known_identities(run: RunFolder, recipe: Recipe) -> dict[str, Identity] | None:
    from cai.settled import frozen_identity

    found = {name: frozen_identity(run.path, recipe.engines[name]) for name in recipe.engines_used()}
    known = {name: identity for name, identity in found.items() if identity is not None}
    return known if len(known) == len(found) else None


def _count(run: RunFolder, past: Past, now: Recipe, inputs: Inputs) -> tuple[Changes, float] | None:
    """What the files as they are now would ask again, and by how much that was scaled up.

    None where an engine is declared anew: who it is shows at its first contact.
    """
    from cai.digest import draw
    from cai.frozen import row_plans
    from cai.source import open_sources
    from cai.store import Store
    from cai.workbench.changes import count_changes

    identities = _known_identities(run, now)
    if identities is None:
        return None
    source = open_sources(now.sources, run.path)
    total = 0

    def ranked() -> Iterator[tuple[int, str]]:
        nonlocal total
        for row, _ in source.ids():
            total += 1
            yield draw(now.seed, "count", row), row

    counted_rows = {row for _, row in heapq.nsmallest(COUNTED_ROWS, ranked())}
    before, after = row_plans(past.inputs), row_plans(inputs)
    store = Store(run.store)
    try:
        counted = asyncio.run(
            count_changes(
                source.items(only=counted_rows.__contains__),
                lambda subset: before.get(past.inputs.recipe.constitution_for(subset) or ""),
                lambda subset: after.get(now.constitution_for(subset) or ""),
                store,
                identities,
            )
        )
    finally:
        store.close()
    return counted, max(1.0, total / COUNTED_ROWS)


def _as_now(run: RunFolder, changed: list[str], count: tuple[Changes, float] | None) -> bool:
    """Say what has changed and ask whether the files as they are now are meant, not those before.

    Raises: RunError where nobody can be asked.
    """
    verb = "has" if len(changed) == 1 else "have"
    problem = f"{', '.join(changed)} {verb} changed since {run.name} last ran. {_told(count)}"
    choice = "--edited goes on with the files as they are now, --as-frozen as the run last worked"
    if not sys.stdin.isatty():
        raise RunError(problem, f"Say which is meant: {choice}.")
    console = err()
    console.print(escape(problem), soft_wrap=True)
    try:
        answer = typer.prompt(
            "Go on with the files as they are now (edited), as the run last worked (frozen), or stop?",
            type=str,
            default="stop",
            err=True,
        )
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    if answer.strip().lower() in ("edited", "e"):
        return True
    if answer.strip().lower() in ("frozen", "f"):
        return False
    raise RunError("Stopped; nothing was asked.", f"Another time: {choice}.")


def _told(count: tuple[Changes, float] | None) -> str:
    if count is None:
        return "An engine is declared otherwise: unless it turns out to be the same, all that it does is asked anew."
    counted, scale = count

    def number(value: int) -> str:
        return f"{value:,}" if scale == 1 else f"about {round(value * scale, -2):,.0f}"

    told = (
        f"Of at most {number(counted.requests)} requests, {number(counted.direct)} would be asked again "
        f"because they change, and at most {number(counted.follow_at_most)} because they follow from one that "
        f"does; {number(counted.kept)} are answered from the store."
    )
    if not counted.direct:
        told = f"Nothing would be asked again ({number(counted.kept)} requests are answered from the store)."
    return told
