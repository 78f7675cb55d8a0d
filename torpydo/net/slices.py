"""Long work in slices of a few milliseconds, between which the reactor has its turn (SECURITY D3, H7).

Written as a coroutine that gives way between two pieces; work that is small is over before it gives way once::

    async def pack(self) -> None:
        slices = Slices(reactor.callLater, reactor.seconds, 0.005)
        for piece in pieces:
            self.compress(piece)
            await slices.give_way()

For pool and node. Knows nothing of what is done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

__all__ = ["Later", "Slices"]

Later = Callable[[float, Callable[[], None]], Any]
"""``reactor.callLater``."""


class Slices:
    """Says when a slice is over.

    :param later: calls something after so many seconds
    :param clock: seconds that never go back
    :param seconds: how long a slice is; the piece that reaches it is the last
    """

    def __init__(self, later: Later, clock: Callable[[], float], seconds: float) -> None:
        self._later = later
        self._clock = clock
        self._seconds = seconds
        self._begun = clock()

    async def give_way(self) -> None:
        """Let the reactor have its turn if the slice is over. Cancelling whoever waits here ends the work."""
        if self._clock() - self._begun >= self._seconds:
            await self.pause()

    async def pause(self) -> None:
        """Let the reactor have its turn in any case."""
        turn: Deferred[None] = Deferred(lambda cancelled: call.cancel())
        call = self._later(0, lambda: turn.callback(None))
        await turn
        self._begun = self._clock()
