"""Which circuits of a process have something waiting, and which of them end when it is too much (SECURITY F6, F9).

Only circuits that said so since the last look, or still kept something then, are looked at: for all others nothing
waits. For client and node. Knows nothing of a circuit but how many bytes wait in it, and how many have left.

How old the oldest byte of a queue is follows from two numbers at each look: what has left so far, and what waits.
Their sum is where the queue ended then, and when that much has left, everything that waited then is gone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Final, Generic, Protocol, TypeVar

import attrs

__all__ = ["Holder", "Queue", "Waiting"]

OLD: Final = 5
"""Looks (seconds) after which bytes do not count as older any more. Those who are stuck are so for minutes, and of
them the largest ends first: a download that somebody has paused may be older than an attack, and is small."""
MARKS: Final = 2 * OLD
"""Looks whose ends are remembered for a queue."""

Queue = tuple[Hashable, int, int]
"""A queue of a circuit: what it is called, bytes that wait, and bytes that have left it since it is called so. The
second number may be too small by a constant."""


class Holder(Protocol):
    """A circuit, as far as its memory goes."""

    @property
    def queued(self) -> int:
        """Bytes that wait."""


H = TypeVar("H", bound=Holder)
_Marks = dict[Hashable, deque[tuple[int, int]]]
"""For each queue, where it ended at earlier looks; those only that something still waits from."""


def _one_queue(holder: Holder) -> Iterable[Queue]:
    """Of a circuit that does not say how much has left: it is as old as it has not been empty at any look."""
    return ((None, holder.queued, 0),)


@attrs.define(eq=False)
class Waiting(Generic[H]):
    """The circuits with something waiting.

    :param most: bytes above which circuits end, those with the oldest bytes first, until nine tenths of them are left
    :param queues: the queues of a circuit, which are all that waits in it
    """

    most: int
    _queues: Callable[[H], Iterable[Queue]] = _one_queue
    _holders: dict[H, _Marks] = attrs.field(factory=dict, init=False)
    _looks: int = attrs.field(default=0, init=False)

    def __len__(self) -> int:
        return len(self._holders)

    @property
    def queued(self) -> int:
        """Bytes that wait."""
        return sum([holder.queued for holder in self._holders])

    def note(self, holder: H) -> None:
        """Something waits in *holder*."""
        if holder not in self._holders:
            self._holders[holder] = {}

    def forget(self, holder: H) -> None:
        """*holder* is gone."""
        self._holders.pop(holder, None)

    def sweep(self, beside: int = 0) -> list[H]:
        """Look at all, about once a second, and forget those in which nothing waits any more.

        :param beside: bytes that count as well, and are nobody's
        :return: those that must end, usually none
        """
        self._looks += 1
        seen: list[tuple[int, int, H]] = []
        total = beside
        for holder in list(self._holders):
            age, size = self._look(holder)
            if size:
                total += size
                seen.append((min(age, OLD), size, holder))
            else:
                del self._holders[holder]
        if total <= self.most:
            return []
        seen.sort(key=lambda one: one[:2], reverse=True)
        victims: list[H] = []
        for _, size, holder in seen:
            if total <= self.most * 9 // 10:
                break
            total -= size
            victims.append(holder)
        return victims

    def _look(self, holder: H) -> tuple[int, int]:
        """How many looks ago the oldest of its bytes was there, and how many bytes wait."""
        before, marks = self._holders[holder], _Marks()
        age = total = 0
        for name, waiting, left in self._queues(holder):
            if not waiting:
                continue
            total += waiting
            ends = marks[name] = before.get(name) or deque()
            while ends and ends[0][1] <= left:
                ends.popleft()
            if ends:
                age = max(age, self._looks - ends[0][0])
            if len(ends) < MARKS and (not ends or ends[-1][1] < left + waiting):
                ends.append((self._looks, left + waiting))
        self._holders[holder] = marks
        return age, total
