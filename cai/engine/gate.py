"""Who goes first where only so many may be in.

What this module does not know: what those who are in do there.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools


class Gate:
    """Lets callers in by priority (lower first, then by arrival) while fewer than `limit` are in.

    A caller that stands for several requests is let in while there is room for one.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.inside = 0
        self._waiting: list[tuple[int, int, int, asyncio.Future[None]]] = []
        self._arrivals = itertools.count()

    async def enter(self, priority: int, weight: int) -> None:
        """Wait to be let in. Cancelled while waiting, the caller is not in."""
        if self.inside < self.limit and not self._waiting:
            self.inside += weight
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (priority, next(self._arrivals), weight, future))
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.leave(weight)
            raise

    def leave(self, weight: int) -> None:
        """Go, and let in whoever is next."""
        self.inside -= weight
        while self._waiting and self.inside < self.limit:
            _, _, next_weight, future = heapq.heappop(self._waiting)
            if not future.done():
                self.inside += next_weight
                future.set_result(None)
