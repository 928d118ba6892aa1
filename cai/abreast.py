"""Work of one row that needs nothing of each other, done at the same time.

What this module does not know: what the work is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

Result = TypeVar("Result")


class PromptTooLongError(Exception):
    """A prompt does not fit into an engine's context; the row is excluded for all its steps. Not a
    CaiError: it never leaves steps.py."""


async def abreast(work: Sequence[Coroutine[Any, Any, Result]]) -> list[Result]:
    """All results in order. Where one fails, the others are still awaited: what they ask is paid for.

    Raises: a PromptTooLongError where there is one, or else the first error.
    """
    if len(work) <= 1:
        return [await item for item in work]
    done = await asyncio.gather(*work, return_exceptions=True)
    errors = [item for item in done if isinstance(item, BaseException)]
    if errors:
        raise next((error for error in errors if isinstance(error, PromptTooLongError)), errors[0])
    return [item for item in done if not isinstance(item, BaseException)]
