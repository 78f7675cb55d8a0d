"""What effort a service suggests to those who want to be introduced.

It rises while too many come that have made it: more wait than are served in a second, or most introduction points have
refused such. It falls when that is long over. No I/O, no clock: time is an argument. Source: docs/protocol-onion,
Puzzles.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from torpydo.onion import LEAST_EFFORT, MOST_EFFORT, NodeId

__all__ = ["Demand"]

RAISE: Final = 30.0
"""Seconds from one rise to the next: clients must have found the descriptor with the first."""
LOWER: Final = 300.0
"""Seconds without a crowd after which the effort falls."""
FALL: Final = 4
"""By what it is divided then. It doubles when it rises."""
RECENT: Final = 10.0
"""Seconds for which it counts that a point has refused somebody."""


class Demand:
    """The effort that one service suggests.

    :param many: introductions that are a crowd when they wait together
    :ivar effort: 0, or a power of two
    """

    def __init__(self, many: float) -> None:
        self.effort = 0
        self._many = many
        # For each node, when it has last refused an effort of so many bits: all that it says must have a bound.
        self._refusals: dict[NodeId, dict[int, float]] = {}
        self._changed = float("-inf")
        self._crowded = float("-inf")

    def refused(self, node: NodeId, effort: int, now: float) -> None:
        """An introduction point has refused somebody who has made *effort*."""
        self._refusals.setdefault(node, {})[effort.bit_length()] = now

    def look(self, waiting: Callable[[int], int], nodes: Collection[NodeId], now: float) -> bool:
        """See whether the effort is to be another one; tells whether it is.

        :param waiting: how many introductions wait with at least that effort
        :param nodes: the introduction points of the descriptor, each once
        """
        self._refusals = {node: bits for node, bits in self._refusals.items() if node in nodes}
        lower = self.effort // FALL if self.effort >= FALL * LEAST_EFFORT else 0
        effort = self.effort
        if self._is_crowded(effort, waiting, nodes, now):
            self._crowded = now
            if now - self._changed >= RAISE:
                effort = min(max(LEAST_EFFORT, 2 * effort), MOST_EFFORT)
        elif self._is_crowded(lower, waiting, nodes, now):
            # Those who have made no effort do not raise it, or honest clients would pay; yet it keeps them behind.
            self._crowded = now
        elif now - max(self._crowded, self._changed) >= LOWER:
            effort = lower
        if effort == self.effort:
            return False
        self.effort = effort
        self._changed = now
        return True

    def _is_crowded(
        self, effort: int, waiting: Callable[[int], int], nodes: Collection[NodeId], now: float
    ) -> bool:
        """Whether too many make at least that effort. A few points that lie are believed by nobody."""
        full = sum(self._has_refused(node, effort, now) for node in nodes)
        return waiting(effort) >= self._many or 2 * full > len(nodes)

    def _has_refused(self, node: NodeId, effort: int, now: float) -> bool:
        least = effort.bit_length()
        return any(bits >= least and now - at < RECENT for bits, at in self._refusals.get(node, {}).items())
