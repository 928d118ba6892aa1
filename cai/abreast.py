"""Work done at the same time: the parts of one row that need nothing of each other, and rows by workers.

What this module does not know: what the work is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

Result = TypeVar("Result")


class PromptTooLongError(Exception):
    """A prompt does not fit into an engine's context; what becomes of the row is decided for all its
    steps at once. Not a CaiError: it never leaves steps.py."""


async def abreast(work: Sequence[Coroutine[Any, Any, Result]]) -> list[Result]:
    """All results in order. Where one fails, the others are still awaited: what they ask is paid for.

    Raises: a PromptTooLongError where there is one, or else the first error.
    """
    if len(work) <= 1:
        return [await item for item in work]
    return _results(await asyncio.gather(*work, return_exceptions=True))


async def one_after_other(
    first: Sequence[Coroutine[Any, Any, Result]], then: Callable[[], Sequence[Coroutine[Any, Any, Result]]]
) -> list[Result]:
    """All results in order; `then` is begun when `first` is done, and never where a prompt of `first`
    does not fit: what it would ask is not paid for.

    Raises: as `abreast`.
    """
    done = await asyncio.gather(*first, return_exceptions=True)
    if not any(isinstance(item, PromptTooLongError) for item in done):
        done += await asyncio.gather(*then(), return_exceptions=True)
    return _results(done)


async def by_workers(count: int, worker: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run `count` of one worker at the same time (at least one), until every one has ended.

    Raises: what the first worker to fail raised, by itself and not as a group; the others are cancelled.
    """
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(max(1, count)):
                group.create_task(worker())
    except BaseExceptionGroup as errors:  # whatever it holds is raised again
        error: BaseException = errors
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from errors


def _results(done: Sequence[Result | BaseException]) -> list[Result]:
    errors = [item for item in done if isinstance(item, BaseException)]
    if errors:
        raise next((error for error in errors if isinstance(error, PromptTooLongError)), errors[0])
    return [item for item in done if not isinstance(item, BaseException)]
