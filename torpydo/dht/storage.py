"""What a participant keeps for others, within bounds (docs/protocol-dht, Storing; SECURITY K4, K6).

An item is kept if its owner has signed it, if it is no older than the one that is kept, and if there is room. Room is
counted for each source (who brought it) and in all; where it ends, what is farthest from this participant's place goes
first, then what is oldest: an item that belongs here is not driven out by those that do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Final

import attrs

from torpydo.dht.contacts import distance
from torpydo.dht.items import MAX_LIFE, Item
from torpydo.errors import BadSignature

__all__ = ["Storage", "Verdict"]

PER_SOURCE: Final = 64
"""Items that one source has brought ..."""
TOTAL: Final = 8 << 20
"""... and bytes in all (SECURITY K6)."""
LIFE: Final = 2 * 3600.0
"""Seconds that an item is kept after somebody has brought it last (SECURITY K4)."""
AHEAD: Final = 3600
"""Seconds that an expiry may be farther off than allowed: clocks differ."""


class Verdict(Enum):
    """What became of an item that was brought."""

    STORED = 0
    KNOWN = 1
    """The same one is kept already; it lives longer now."""
    OLDER = 2
    """A newer one is kept."""
    CONFLICT = 3
    """Another one with the same sequence is kept: its owner has signed two."""
    FORGED = 4
    EXPIRED = 5
    FULL = 6
    """There is no room for it."""


@attrs.define(eq=False)
class _Kept:
    item: Item
    source: bytes
    until: float
    brought_at: float


class Storage:
    """The items of one participant.

    :param place: its own
    :param per_source: items of one source
    :param total: bytes in all
    """

    def __init__(self, place: bytes, *, per_source: int = PER_SOURCE, total: int = TOTAL) -> None:
        self._place = place
        self._per_source = per_source
        self._total = total
        self._kept: dict[bytes, _Kept] = {}
        # Of each source the targets: a flood must not cost a look at all that is kept.
        self._sources: dict[bytes, set[bytes]] = {}
        self.size = 0
        """Bytes in all."""

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Item]:
        return iter([kept.item for kept in self._kept.values()])

    def get(self, target: bytes, now: float, wall: float) -> Item | None:
        """What is kept for *target*."""
        kept = self._kept.get(target)
        if kept is None:
            return None
        if kept.until <= now or kept.item.expires <= wall:
            self._drop(target)
            return None
        return kept.item

    def put(self, item: Item, source: bytes, now: float, wall: float) -> Verdict:
        """Keep *item*, if it may be kept.

        :param source: who brings it, as far as that can be told
        :param now: seconds on a clock that never goes back
        :param wall: seconds since 1970
        """
        if not wall < item.expires <= wall + MAX_LIFE + AHEAD:
            return Verdict.EXPIRED
        kept = self._kept.get(item.target)
        if kept is not None:
            if item == kept.item:
                kept.until = now + LIFE
                return Verdict.KNOWN
            if item.sequence < kept.item.sequence:
                return Verdict.OLDER
            if item.sequence == kept.item.sequence:
                return Verdict.CONFLICT
        own = self._sources.get(source, set()) - {item.target}
        farthest = max(own, key=lambda target: distance(target, self._place)) if len(own) >= self._per_source else None
        if farthest is not None and distance(farthest, self._place) <= distance(item.target, self._place):
            return Verdict.FULL
        # Last, for it takes the longest.
        try:
            item.check()
        except BadSignature:
            return Verdict.FORGED
        if kept is not None:
            self._drop(item.target)
        if farthest is not None:
            self._drop(farthest)
        self._keep(item, source, now)
        if self.size > self._total:
            self._make_room(now, wall)
        return Verdict.STORED if item.target in self._kept else Verdict.FULL

    def expire(self, now: float, wall: float) -> None:
        """Drop what nobody has brought for too long."""
        for target in [
            target for target, kept in self._kept.items() if kept.until <= now or kept.item.expires <= wall
        ]:
            self._drop(target)

    def _keep(self, item: Item, source: bytes, now: float) -> None:
        self._kept[item.target] = _Kept(item, source, now + LIFE, now)
        self._sources.setdefault(source, set()).add(item.target)
        self.size += item.size

    def _drop(self, target: bytes) -> None:
        kept = self._kept.pop(target)
        self.size -= kept.item.size
        targets = self._sources[kept.source]
        targets.discard(target)
        if not targets:
            del self._sources[kept.source]

    def _make_room(self, now: float, wall: float) -> None:
        self.expire(now, wall)
        if self.size <= self._total:
            return
        # A tenth at a time: the order is made once for many.
        farthest = sorted(
            self._kept, key=lambda target: (distance(target, self._place), -self._kept[target].brought_at), reverse=True
        )
        for target in farthest:
            if self.size <= self._total * 9 // 10:
                break
            self._drop(target)
