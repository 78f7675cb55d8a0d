"""Introductions that wait, at an introduction point or at their service, the highest effort first.

When more come than can be served, it matters that those who are served are still there. So of equal efforts the last to
come is served first, those whose clients have given up are dropped, and when there is no room it is the lowest effort
that goes, of equals the oldest. No I/O, no clock: time is an argument.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from operator import itemgetter
from typing import Final, Generic, TypeVar

import attrs

__all__ = ["IntroductionQueue"]

T = TypeVar("T")

ROUNDING: Final = 1e-6
"""Part of an introduction by which sums of times may be off."""


@attrs.define(eq=False)
class IntroductionQueue(Generic[T]):
    """What waits, by effort.

    :param most: that wait
    :param patience: seconds after which one that was not served is too late
    :param per_second: that are served in a second
    :param burst: that are served at once after a pause, at least one
    """

    most: int
    patience: float
    per_second: float
    burst: float
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

    def put(self, one: T, effort: int, now: float) -> tuple[T, int] | None:
        """Let *one* wait; if there is no room, the last in turn is dropped and given back with its effort."""
        self._arrived += 1
        insort(self._waiting, (effort, self._arrived, now, one))
        if len(self._waiting) <= self.most:
            return None
        lowest, _, _, dropped = self._waiting.pop(0)
        return dropped, lowest

    def pause(self, now: float) -> float:
        """Seconds until one may be taken."""
        self._credit = min(max(1.0, self.burst), self._credit + (now - self._counted) * self.per_second)
        self._counted = now
        return 0.0 if self._credit >= 1.0 - ROUNDING else (1.0 - self._credit) / self.per_second

    def take(self, now: float) -> tuple[T, int] | None:
        """The next one and its effort; ``None`` if nothing waits, or must wait for :meth:`pause` yet.

        Those that are too late are dropped on the way.
        """
        while self._waiting and not self.pause(now):
            effort, _, came, one = self._waiting.pop()
            if now - came <= self.patience:
                self._credit -= 1.0
                return one, effort
        return None

    def drop_late(self, now: float) -> list[tuple[T, int]]:
        """Drop those that are too late; gives them and their efforts."""
        late = [(one, effort) for effort, _, came, one in self._waiting if now - came >= self.patience]
        if late:
            self._waiting = [entry for entry in self._waiting if now - entry[2] < self.patience]
        return late

    def remove(self, one: T) -> int | None:
        """*one* waits no more; its effort, or ``None`` if it did not wait."""
        for place, (effort, _, _, other) in enumerate(self._waiting):
            if other == one:
                del self._waiting[place]
                return effort
        return None

    def clear(self) -> list[T]:
        """Nothing waits any more; gives what did."""
        waiting, self._waiting = self._waiting, []
        return [one for _, _, _, one in waiting]
