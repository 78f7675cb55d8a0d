"""The pool's listing: signed when somebody asks and something changed, prepared once for all who ask.

It is made in slices: signing and packing 10 000 nodes takes 50 ms, and heartbeats do not wait for all of it.
Its sequence rises strictly, across restarts and whatever the clock does, because clients refuse to go back.
Which nodes are in it is decided by admission. Called by web.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from torpydo.crypto import SigningKey
from torpydo.directory import LISTING_LIFE, Listing, ListingEntry, Parameter, listing_etag, sign_listing
from torpydo.errors import StateError
from torpydo.net import Later, Slices
from torpydo.pool.store import NodeRecord, Store

__all__ = ["Published", "Publisher"]

FRESH_FOR: Final = 1800.0
"""Seconds until clients ask for a new listing."""
FRESH_FOR_TESTS: Final = 10.0
"""The same in a test network, where nodes come and go while somebody watches."""
SLICE: Final = 0.005
"""Seconds of making a listing after which requests have their turn; hashing for the signature is one piece, 8 ms."""
PIECE: Final = 64 * 1024
"""Bytes that are packed at a time: about a millisecond."""
PACK_LEVEL: Final = 6
"""More would save one part in three hundred: most of a listing is keys and signatures."""
_GZIP: Final = 16 + zlib.MAX_WBITS
"""What zlib calls its gzip form. It has no time in it: equal listings have equal bytes, on every machine."""
MAX_RATIO: Final = 8
"""How many times larger than its gzip form a listing may be to be sent in it. Clients take 10 for a bomb; with short
exit policies it is 1.3, but when all nodes share one of 128 rules it is 19 (SECURITY D6)."""
PAUSE_PER_NODE: Final = 0.001
"""Seconds for each node between two signings: signing and packing never take more than some percent of the time."""
CLOCK_STEP: Final = 60.0
"""Seconds by which the wall clock may drift from the steady one before the listing is signed again."""


@attrs.frozen
class Published:
    """A listing as it is served.

    :ivar raw: the signed bytes
    :ivar packed: the same in gzip form; ``None`` if clients would take that for a bomb
    :ivar etag: without quotes
    :ivar sequence: its sequence
    :ivar listing: what was signed
    """

    raw: bytes
    packed: bytes | None
    etag: str
    sequence: int
    listing: Listing = attrs.field(repr=False)


class Publisher:
    """Makes the listing.

    :param nodes: gives the nodes to be listed, in their order
    :param clock: seconds that never go back
    :param wall_clock: seconds since the epoch
    :param later: calls something after so many seconds
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
        later: Later,
        parameters: Mapping[str, Parameter],
        fresh_for: float = FRESH_FOR,
    ) -> None:
        self._key = key
        self._store = store
        self._nodes = nodes
        self._clock = clock
        self._wall_clock = wall_clock
        self._later = later
        self._parameters = parameters
        self._fresh_for = fresh_for
        self._sequence = store.sequence()
        self._published: Published | None = None
        self._making: Deferred[None] | None = None
        self._waiting: list[Deferred[Published]] = []
        self._signed_at = 0.0
        self._wall_offset = 0.0
        self._pause = 0.0
        self._stale = True
        self._disk_fails = False
        self._behind = False

    @property
    def published(self) -> Published | None:
        """The listing that was made last; none is made because of this."""
        return self._published

    def changed(self) -> None:
        """The nodes are not those of the last listing any more."""
        self._stale = True

    def current(self) -> Deferred[Published]:
        """The listing to serve now; a small one is made at once."""
        waiter: Deferred[Published] = Deferred(self._waiting.remove)
        self._waiting.append(waiter)
        if self._making is None:
            if self._published is None or self._is_due():
                making = self._making = Deferred.fromCoroutine(self._make())
                making.addBoth(self._made)
            else:
                self._made(None)
        return waiter

    def stop(self) -> None:
        """Make no more; whoever waits is cancelled."""
        if self._making is not None:
            self._making.cancel()

    def _made(self, result: object) -> None:
        self._making = None
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if isinstance(result, Failure):
                waiter.errback(result)
            else:
                assert self._published is not None
                waiter.callback(self._published)

    def _is_due(self) -> bool:
        age = self._clock() - self._signed_at
        stepped = abs(self._wall_clock() - self._clock() - self._wall_offset) > CLOCK_STEP
        return (self._stale and age >= self._pause) or age >= self._fresh_for / 2 or stepped

    async def _make(self) -> None:
        slices = Slices(self._later, self._clock, SLICE)
        now = self._wall_clock()
        # What changes from here on belongs into the next listing.
        self._stale = False
        self._signed_at = self._clock()
        self._wall_offset = now - self._signed_at
        sequence = self._next_sequence(now)
        nodes = self._nodes()
        self._pause = len(nodes) * PAUSE_PER_NODE
        await slices.give_way()
        entries = tuple([ListingEntry(node.document, node.first_seen) for node in nodes])
        await slices.give_way()
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
        await slices.give_way()
        etag = listing_etag(raw)
        packer = zlib.compressobj(PACK_LEVEL, zlib.DEFLATED, _GZIP)
        packed = []
        for start in range(0, len(raw), PIECE):
            packed.append(packer.compress(raw[start : start + PIECE]))
            await slices.give_way()
        packed.append(packer.flush())
        small = b"".join(packed)
        self._published = Published(raw, small if len(raw) <= MAX_RATIO * len(small) else None, etag, sequence, listing)

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
