"""Which circuits of a process have something waiting, and which of them end when it is too much (SECURITY F6, F9).

Only circuits that said so since the last look, or still kept something then, are looked at: for all others nothing
waits. For client and node. Knows nothing of a circuit but how many bytes wait in it.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

import attrs

__all__ = ["Holder", "Waiting"]


class Holder(Protocol):
    """A circuit, as far as its memory goes."""

    @property
    def queued(self) -> int:
        """Bytes that wait."""


H = TypeVar("H", bound=Holder)


@attrs.define(eq=False)
class Waiting(Generic[H]):
    """The circuits with something waiting, those first that have not been empty at any look for the longest time.

    That is not the age of their bytes: one that moves all the time and is never empty counts as old.

    :param most: bytes above which circuits end, until nine tenths of them are left
    """

    most: int
    _holders: dict[H, None] = attrs.field(factory=dict, init=False)

    def __len__(self) -> int:
        return len(self._holders)

    @property
    def queued(self) -> int:
        """Bytes that wait."""
        return sum([holder.queued for holder in self._holders])

    def note(self, holder: H) -> None:
        """Something waits in *holder*."""
        self._holders.setdefault(holder, None)

    def forget(self, holder: H) -> None:
        """*holder* is gone."""
        self._holders.pop(holder, None)

    def sweep(self) -> list[H]:
        """Forget those in which nothing waits any more.

        :return: those that must end, usually none
        """
        sizes = {holder: holder.queued for holder in self._holders}
        self._holders = {holder: None for holder, size in sizes.items() if size}
        total = sum(sizes.values())
        victims: list[H] = []
        if total > self.most:
            for holder in self._holders:
                if total <= self.most * 9 // 10:
                    break
                total -= sizes[holder]
                victims.append(holder)
        return victims
