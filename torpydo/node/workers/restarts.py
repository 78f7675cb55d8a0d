"""How long a worker that ended has to wait until it is started again. No input or output. Called by supervisor."""

from __future__ import annotations

from typing import Final

import attrs

__all__ = ["FIRST", "HEALTHY", "LAST", "Restarts"]

FIRST: Final = 1.0
LAST: Final = 60.0
"""Seconds until a worker is started again: doubled each time, from the first to the last."""
HEALTHY: Final = 60.0
"""Seconds that a worker must have run for its end to count as the first one again."""


@attrs.define(eq=False)
class Restarts:
    """The ends of one worker."""

    _next: float = FIRST

    def delay(self, lived: float) -> float:
        """It ended after *lived* seconds: the seconds to wait now."""
        now = FIRST if lived >= HEALTHY else self._next
        self._next = min(now * 2, LAST)
        return now
