"""Introductions that wait for their service, the highest effort first. No I/O, no clock: time is an argument.

When more come than can be served, it matters that those who are served are still there. So of equal efforts the last to
come is served first, those whose clients have given up are dropped, and when there is no room it is the lowest effort
that goes, of equals the oldest.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from operator import itemgetter
from typing import Final, Generic, TypeVar

import attrs

__all__ = ["IntroductionQueue"]

T = TypeVar("T")

WAITING: Final = 2500
"""Introductions that wait (SECURITY O5)."""
PATIENCE: Final = 10.0
"""Seconds after which a client has given up; the connector's ``ANSWER``."""
PER_SECOND: Final = 250.0
"""Introductions that are served in a second (O5)."""
AT_ONCE: Final = 0.1
"""Seconds' worth of introductions that are served at once after a pause."""
ROUNDING: Final = 1e-6
"""Part of an introduction by which sums of times may be off."""


@attrs.define(eq=False)
class IntroductionQueue(Generic[T]):
    """What waits, by effort.

    :param most: that wait
    :param patience: seconds after which one that was not served is dropped
    :param per_second: that are served in a second
    """

    most: int = WAITING
    patience: float = PATIENCE
    per_second: float = PER_SECOND
    # Sorted by effort and arrival, the next one last. A list and not a heap: both ends are needed, and to insert moves
    # a few thousand pointers at the most.
    _waiting: list[tuple[int, int, float, T]] = attrs.field(factory=list, init=False)
    _arrived: int = attrs.field(default=0, init=False)
    _credit: float = attrs.field(default=0.0, init=False)
    _counted: float = attrs.field(default=float("-inf"), init=False)

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def highest(self) -> int:
        """The effort of the next one; -1 if there is none."""
        return self._waiting[-1][0] if self._waiting else -1

    def waiting(self, effort: int) -> int:
        """How many wait with at least that effort."""
        return len(self._waiting) - bisect_left(self._waiting, effort, key=itemgetter(0))

    def put(self, one: T, effort: int, now: float) -> None:
        """Let *one* wait; whatever is the last in turn is dropped if there is no room."""
        self._arrived += 1
        insort(self._waiting, (effort, self._arrived, now, one))
        if len(self._waiting) > self.most:
            del self._waiting[0]

    def pause(self, now: float) -> float:
        """Seconds until one may be taken."""
        most = max(1.0, self.per_second * AT_ONCE)
        self._credit = min(most, self._credit + (now - self._counted) * self.per_second)
        self._counted = now
        return 0.0 if self._credit >= 1.0 - ROUNDING else (1.0 - self._credit) / self.per_second

    def take(self, now: float) -> tuple[T, int] | None:
        """The next one and its effort; ``None`` if nothing waits, or must wait for :meth:`pause` yet."""
        while self._waiting and not self.pause(now):
            effort, _, came, one = self._waiting.pop()
            if now - came <= self.patience:
                self._credit -= 1.0
                return one, effort
        return None
