"""What a participant keeps for others, within bounds (docs/protocol-dht, Storing; SECURITY K4, K6).

An item is kept if its owner has signed it, if it is newer than the one that is kept, and if there is room. As long as
there is, nobody is counted: in a small network many come through one source. Where there is none, sources have equal
shares, and who has most gives way, the newest item first: what is kept already is not driven out by what comes later.

Nearness admits and does not evict: with a salt of one's choice a target can be made as near as one likes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Final

import attrs

from torpydo.dht.items import MAX_LIFE, Item
from torpydo.errors import BadSignature

__all__ = ["REPUBLISH", "Storage", "Verdict"]

TOTAL: Final = 8 << 20
"""Bytes in all (SECURITY K6)."""
LIFE: Final = 2 * 3600.0
"""Seconds that an item is kept after somebody has brought it last (SECURITY K4)."""
REPUBLISH: Final = 3600.0
"""Seconds after which a holder says an item again to those that are closest to it (SECURITY K4)."""
SPARED: Final = 4 * REPUBLISH
"""Seconds for which others' saying an item spares a holder from doing so. Who says it to its holders every hour, and to
nobody else, would otherwise keep it from those that take their place."""
AHEAD: Final = 3600
"""Seconds that an expiry may be farther off than allowed: clocks differ."""
CHECKS: Final = 1024
"""Signatures that are checked in a second: some part of a processor at the most ..."""
CHECKS_OF_SOURCE: Final = 128
"""... and of them for one source; a holder that says its items again has four under way at one time."""
SWEEP: Final = 60.0
"""Seconds between two looks at everything for what has expired, when there is no room."""


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
    """There is no room for it, or its source brings more than can be checked."""


@attrs.define(eq=False)
class _Kept:
    """One item.

    :ivar brought_at: when anybody has brought it last
    :ivar told_at: when this participant has said it to the others last, or has come to have it
    """

    item: Item
    source: bytes
    brought_at: float
    told_at: float

    def is_over(self, now: float, wall: float) -> bool:
        return now >= self.brought_at + LIFE or self.item.expires <= wall

    def is_due(self, now: float) -> bool:
        return now - max(self.brought_at, self.told_at) >= REPUBLISH or now - self.told_at >= SPARED


@attrs.define(eq=False)
class _Share:
    """What one source has brought, in the order in which it came."""

    size: int = 0
    targets: dict[bytes, None] = attrs.field(factory=dict)


class Storage:
    """The items of one participant.

    :param is_near: whether a target is one of those that it should keep
    :param total: bytes in all
    """

    def __init__(self, is_near: Callable[[bytes], bool] = lambda target: True, *, total: int = TOTAL) -> None:
        self._is_near = is_near
        self._total = total
        self._kept: dict[bytes, _Kept] = {}
        self._shares: dict[bytes, _Share] = {}
        self._swept_at = -SWEEP
        self._second = -1
        self._checked: Counter[bytes] = Counter()
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
        if kept.is_over(now, wall):
            self._drop(target)
            return None
        return kept.item

    def due(self, now: float) -> list[bytes]:
        """The targets of what is to be said to the others again."""
        return [target for target, kept in self._kept.items() if kept.is_due(now)]

    def told(self, target: bytes, now: float) -> None:
        """What is kept for *target* is being said to the others."""
        if target in self._kept:
            self._kept[target].told_at = now

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
                kept.brought_at = now
                return Verdict.KNOWN
            if item.sequence < kept.item.sequence:
                return Verdict.OLDER
            if item.sequence == kept.item.sequence:
                return Verdict.CONFLICT
        # A newer version of what is kept is taken whatever else there is: it wins everywhere (SECURITY K4).
        elif not self._has_room(item, source, now, wall):
            return Verdict.FULL
        # Last, for it takes the longest.
        if not self._may_check(source, now):
            return Verdict.FULL
        try:
            item.check()
        except BadSignature:
            return Verdict.FORGED
        self._keep(item, source, now)
        while self.size > self._total:
            largest = max(self._shares.values(), key=lambda share: share.size)
            self._drop(next(reversed(largest.targets)))
        return Verdict.STORED if item.target in self._kept else Verdict.FULL

    def expire(self, now: float, wall: float) -> None:
        """Drop what nobody has brought for too long."""
        self._swept_at = now
        for target in [target for target, kept in self._kept.items() if kept.is_over(now, wall)]:
            self._drop(target)

    def _has_room(self, item: Item, source: bytes, now: float, wall: float) -> bool:
        """Whether one that is not kept may come; nobody else's has to go before its signature was looked at."""
        size = self.size + item.size
        if size <= self._total // 2:
            return True
        if not self._is_near(item.target):
            return False
        if size > self._total and now >= self._swept_at + SWEEP:
            self.expire(now, wall)
            size = self.size + item.size
        if size <= self._total:
            return True
        own = self._shares[source].size if source in self._shares else 0
        return own + item.size < max((share.size for share in self._shares.values()), default=0)

    def _may_check(self, source: bytes, now: float) -> bool:
        if int(now) != self._second:
            self._second = int(now)
            self._checked.clear()
        if self._checked[source] >= CHECKS_OF_SOURCE or self._checked.total() >= CHECKS:
            return False
        self._checked[source] += 1
        return True

    def _keep(self, item: Item, source: bytes, now: float) -> None:
        more = item.size
        kept = self._kept.get(item.target)
        if kept is None:
            kept = self._kept[item.target] = _Kept(item, source, now, now)
        else:
            # A newer version stands where the older one stood, and counts for whoever brought that.
            more -= kept.item.size
            kept.item, kept.brought_at = item, now
        share = self._shares.setdefault(kept.source, _Share())
        share.targets[item.target] = None
        share.size += more
        self.size += more

    def _drop(self, target: bytes) -> None:
        kept = self._kept.pop(target)
        share = self._shares[kept.source]
        del share.targets[target]
        share.size -= kept.item.size
        self.size -= kept.item.size
        if not share.targets:
            del self._shares[kept.source]
