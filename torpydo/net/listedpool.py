"""One pool, as whoever fetches its listings knows it: what was taken, what went wrong, how far its clock is off.

It holds; listings decides when it is asked, and remarks what people are told. Called by those two.
"""

from __future__ import annotations

import re
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from torpydo.crypto import PoolId
from torpydo.directory import Listing, PoolURL
from torpydo.errors import ListingError, TorpydoError
from torpydo.net.fetch import Fetched
from torpydo.net.listingcache import CachedListing

__all__ = ["MAX_SKEW", "ListedPool", "describe_skew", "read_skew"]

NAMED_SKEW: Final = 300.0
"""Seconds of clock difference that are worth telling: beyond it listings of the future are refused."""
MAX_SKEW: Final = 3600.0
"""Seconds of clock difference above which the listing of a pool is not used (SECURITY N8): one of the two clocks would
keep expired listings in use."""
FIRST_RETRY: Final = 1.0
LAST_RETRY: Final = 600.0
"""Seconds between two tries of a pool that fails: doubled each time, from the first to the last."""
LAST_RETRY_OF_OURS: Final = 30.0
"""The last of them after an error of ours (SECURITY N7), or while the clocks disagree: somebody may be setting one."""
SHORTEST_REFRESH: Final = 10.0
LONGEST_REFRESH: Final = 3600.0
"""Seconds to the next fetch, whatever ``fresh_until`` a pool writes."""
_TIME: Final = re.compile(rb"([0-9]{1,12})\n?")


@attrs.define(eq=False)
class ListedPool:
    """What is known of one pool.

    :ivar url: where it is
    :ivar pool_id: its key; pinned: from the URL, from the disk, or at first use
    :ivar sequence: the highest that was ever taken: nothing older is (SECURITY N3)
    :ivar data: the listing in use, as it came
    :ivar listing: the same, read; the last good one, whatever came since
    :ivar digest: of what it says (SECURITY N9)
    :ivar skew: seconds that this computer's clock is ahead of its clock; ``None``: not known
    :ivar error: why the last try failed
    :ivar unexpected: whether that was an error of ours
    :ivar failures: how many tries have failed in a row
    """

    url: PoolURL
    pool_id: PoolId | None
    sequence: int = 0
    data: bytes = b""
    listing: Listing | None = None
    digest: str | None = None
    skew: float | None = None
    error: TorpydoError | None = None
    unexpected: bool = False
    failures: int = 0
    timer: IDelayedCall | None = None
    fetching: Deferred[Any] | None = None
    waiting: list[Deferred[None]] = attrs.field(factory=list)

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.url.host}:{self.url.port}"

    @property
    def is_off(self) -> bool:
        """Whether its clock and ours differ so much that its listing is not used."""
        return self.skew is not None and abs(self.skew) > MAX_SKEW

    @property
    def usable(self) -> Listing | None:
        """Its listing, unless its clock and ours disagree."""
        return None if self.is_off else self.listing

    def pause(self, now: float, jitter: float) -> float:
        """Seconds until it is asked again.

        :param jitter: a random number from 0 to 1
        """
        if self.failures:
            last = LAST_RETRY_OF_OURS if self.unexpected or self.is_off else LAST_RETRY
            return min(FIRST_RETRY * 2.0 ** min(self.failures - 1, 16), last) * (0.5 + jitter / 2)
        fresh = self.listing.fresh_until - now if self.listing is not None else 0.0
        return min(max(fresh, SHORTEST_REFRESH), LONGEST_REFRESH) * (1 + jitter / 10)

    def check(self, listing: Listing, data: bytes) -> None:
        """Refuse a listing that is in order by itself but not beside the last one.

        :raises ListingError: if it has the sequence of that one and other bytes
        """
        if listing.sequence == self.sequence and self.data and data != self.data:
            raise ListingError("it is another one with the sequence of the last: the pool says two things at a time")

    def take(self, listing: Listing, data: bytes) -> CachedListing:
        """Use *listing* from now on.

        :return: what must survive a restart
        """
        self.pool_id, self.sequence, self.data, self.listing = listing.pool_id, listing.sequence, data, listing
        self.digest = listing.digest
        return CachedListing(listing.pool_id, listing.sequence, data)

    def drop(self) -> None:
        """Use no listing of this pool; how far it got is remembered."""
        self.data, self.listing, self.digest = b"", None, None


def read_skew(answer: Fetched, now: float) -> float | None:
    """How far *now* is ahead of what a pool says the time is; ``None`` if it says nothing of the kind."""
    match = _TIME.fullmatch(answer.body) if answer.status == 200 else None
    return None if match is None else now - int(match[1])


def describe_skew(skew: float | None) -> str:
    """A sentence for people, empty when the clocks agree."""
    if skew is None or abs(skew) <= NAMED_SKEW:
        return ""
    minutes = round(abs(skew) / 60)
    amount = f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
    where = "ahead of" if skew > 0 else "behind"
    return f"; this computer's clock is {amount} {where} the pool's: set the clock"
