"""How late an event loop is: whoever waits for it waits so much longer. For node, pool and client.

A processor that others use, a callback that takes long, a machine that was suspended: all of them show as a timer that
comes late (SECURITY section 3, case 30). Nothing is done about it here, it is only told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall

__all__ = ["LoopLag"]

LOOK: Final = 0.5
"""Seconds between two looks at the clock."""
MEMORY: Final = 60.0
"""Seconds for which a delay is told: somebody who asks once a minute misses none."""


class LoopLag:
    """Measures it from :meth:`start` to :meth:`stop`.

    :param reactor: whose timers are watched
    :param clock: seconds that never go back
    """

    def __init__(self, reactor: Any, clock: Callable[[], float]) -> None:
        self._reactor = reactor
        self._clock = clock
        self._seen: deque[tuple[float, float]] = deque()
        self._due = 0.0
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """Begin."""
        self._due = self._clock() + LOOK
        self._timer = self._reactor.callLater(LOOK, self._look)

    def stop(self) -> None:
        """End, and forget everything. Twice does no harm."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._seen.clear()

    @property
    def worst(self) -> float:
        """Seconds that the latest timer of the last minute was late: nearly 0 where there is time for everything."""
        now = self._clock()
        self._forget(now)
        # One that is late right now has not been counted yet.
        late = 0.0 if self._timer is None else max(now - self._due, 0.0)
        return max([late, *(delay for _, delay in self._seen)])

    def _look(self) -> None:
        now = self._clock()
        self._seen.append((now, max(now - self._due, 0.0)))
        self._forget(now)
        self._due = now + LOOK
        self._timer = self._reactor.callLater(LOOK, self._look)

    def _forget(self, now: float) -> None:
        while self._seen and now - self._seen[0][0] > MEMORY:
            self._seen.popleft()
