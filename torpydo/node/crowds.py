"""Who has how many of something, and who has the most: at each step in the same time, however many there are.

Called by exits.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["Crowds"]

T = TypeVar("T", bound=Hashable)


class Crowds(Generic[T]):
    """A count for each of some owners.

    :ivar total: of all together
    :ivar most: what the one with the most has
    """

    def __init__(self) -> None:
        self.total = 0
        self.most = 0
        self._sizes: dict[T, int] = {}
        self._owners: dict[int, dict[T, None]] = {}

    def size(self, owner: T) -> int:
        """How many *owner* has."""
        return self._sizes.get(owner, 0)

    def largest(self) -> T:
        """Who has the most; of several the one that came to so many first. There must be one."""
        return next(iter(self._owners[self.most]))

    def add(self, owner: T) -> None:
        """*owner* has one more."""
        self._move(owner, 1)
        self.most = max(self.most, self._sizes[owner])

    def remove(self, owner: T) -> None:
        """*owner* has one less; he must have had one."""
        self._move(owner, -1)
        if self.most and self.most not in self._owners:
            # He was the only one with so many, and has one less now.
            self.most -= 1

    def _move(self, owner: T, step: int) -> None:
        before = self._sizes.pop(owner, 0)
        if before:
            group = self._owners[before]
            del group[owner]
            if not group:
                del self._owners[before]
        self.total += step
        if before + step:
            self._sizes[owner] = before + step
            self._owners.setdefault(before + step, {})[owner] = None
