"""The pool's listing: signed when somebody asks and something changed, prepared once for all who ask.

Its sequence rises strictly, across restarts and whatever the clock does, because clients refuse to go back.
Which nodes are in it is decided by admission. Called by web.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs
from twisted.logger import Logger

from torpydo.crypto import SigningKey
from torpydo.directory import LISTING_LIFE, Listing, ListingEntry, Parameter, listing_etag, sign_listing
from torpydo.errors import StateError
from torpydo.pool.store import NodeRecord, Store

__all__ = ["Published", "Publisher"]

FRESH_FOR: Final = 1800.0
"""Seconds until clients ask for a new listing."""
FRESH_FOR_TESTS: Final = 10.0
"""The same in a test network, where nodes come and go while somebody watches."""
PAUSE_PER_NODE: Final = 0.001
"""Seconds for each node between two signings: signing and packing never take more than some percent of the time."""
CLOCK_STEP: Final = 60.0
"""Seconds by which the wall clock may drift from the steady one before the listing is signed again."""


@attrs.frozen
class Published:
    """A listing as it is served.

    :ivar raw: the signed bytes
    :ivar packed: the same in gzip form
    :ivar etag: without quotes
    :ivar sequence: its sequence
    """

    raw: bytes
    packed: bytes
    etag: str
    sequence: int


class Publisher:
    """Makes the listing.

    :param nodes: gives the nodes to be listed, in their order
    :param clock: seconds that never go back
    :param wall_clock: seconds since the epoch
    :param fresh_for: seconds until clients ask for a new one
    :raises StateError: if the store cannot be read
    """

    log = Logger()

    def __init__(
        self,
        key: SigningKey,
        store: Store,
        nodes: Callable[[], Sequence[NodeRecord]],
        *,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        parameters: Mapping[str, Parameter],
        fresh_for: float = FRESH_FOR,
    ) -> None:
        self._key = key
        self._store = store
        self._nodes = nodes
        self._clock = clock
        self._wall_clock = wall_clock
        self._parameters = parameters
        self._fresh_for = fresh_for
        self._sequence = store.sequence()
        self._published: Published | None = None
        self._signed_at = 0.0
        self._wall_offset = 0.0
        self._pause = 0.0
        self._stale = True
        self._disk_fails = False
        self._behind = False

    def changed(self) -> None:
        """The nodes are not those of the last listing any more."""
        self._stale = True

    def current(self) -> Published:
        """The listing to serve now."""
        published = self._published
        if published is None or self._is_due():
            published = self._published = self._sign()
        return published

    def _is_due(self) -> bool:
        age = self._clock() - self._signed_at
        stepped = abs(self._wall_clock() - self._clock() - self._wall_offset) > CLOCK_STEP
        return (self._stale and age >= self._pause) or age >= self._fresh_for / 2 or stepped

    def _sign(self) -> Published:
        now = self._wall_clock()
        sequence = self._next_sequence(now)
        entries = tuple(ListingEntry(node.document, node.first_seen) for node in self._nodes())
        # Validity follows the sequence: clients refuse a listing whose two times differ.
        valid_after = sequence // 1000
        listing = Listing(
            pool_id=self._key.pool_id,
            sequence=sequence,
            valid_after=valid_after,
            fresh_until=valid_after + int(self._fresh_for),
            valid_until=valid_after + LISTING_LIFE,
            parameters=self._parameters,
            entries=entries,
        )
        raw = sign_listing(listing, self._key)
        self._stale = False
        self._signed_at = self._clock()
        self._wall_offset = now - self._signed_at
        self._pause = len(entries) * PAUSE_PER_NODE
        # mtime=0: equal listings have equal bytes, on every machine.
        return Published(raw, gzip.compress(raw, mtime=0), listing_etag(raw), sequence)

    def _next_sequence(self, now: float) -> int:
        milliseconds = int(now * 1000)
        sequence = self._sequence = max(milliseconds, self._sequence + 1)
        try:
            self._store.reserve_sequence(sequence)
        except StateError as error:
            if not self._disk_fails:
                self.log.error("the pool continues without saving its sequence: {error}", error=str(error))
            self._disk_fails = True
        else:
            self._disk_fails = False
        behind = (sequence - milliseconds) / 1000 > CLOCK_STEP
        if behind and not self._behind:
            self.log.error(
                "the clock is {behind:.0f} s behind this pool's last listing; clients refuse listings of the future, so"
                " set the clock if it is wrong now, and see docs/howto/run-a-pool if it was wrong before",
                behind=(sequence - milliseconds) / 1000,
            )
        self._behind = behind
        return sequence
