"""How many circuits of a kind are wanted: those that streams took lately. Called by the circuit pool."""

from __future__ import annotations

from collections import deque
from typing import Final

import attrs

__all__ = ["LATELY", "Kind"]

MOST_TAKEN: Final = 64
"""Of those that were handed out lately this many are remembered for a kind."""
LATELY: Final = 120.0
"""Seconds: as many circuits as were begun to be used in so long are kept ready, for so many will be soon."""


@attrs.define(eq=False)
class Kind:
    """A kind of exit that streams wanted: a number of hops and a port."""

    last: float
    """When the last one did."""
    taken: deque[float] = attrs.field(factory=lambda: deque(maxlen=MOST_TAKEN))
    """When the last clean circuits were handed out for it."""

    def demand(self, now: float) -> int:
        """How many were handed out lately."""
        while self.taken and now - self.taken[0] >= LATELY:
            self.taken.popleft()
        return len(self.taken)
