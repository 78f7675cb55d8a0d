"""When descriptors are stored: a moment after each change, about once an hour, and sooner if nobody kept them.

The first one under each key, and one that nobody kept, is looked for afterwards: if the clock has gone back since the
service ran last, there may be one that counts more. Called by service, which makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from twisted.internet.defer import CancelledError, Deferred, DeferredList, TimeoutError
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from torpydo.apps.onionservice.store import DescriptorStore
from torpydo.dht import Item
from torpydo.errors import TorpydoError

__all__ = ["Publisher"]

T = TypeVar("T")

EVERY: Final = (2700, 4500)
"""Least and most seconds after which descriptors are stored again. They differ each time: from equal pauses a holder
could measure within a day, to a millionth, how fast a clock runs, and know all services of one machine by that."""
SOON: Final = 1.0
"""Seconds from a change to the storing of what it changed: several come together."""
FIRST_PAUSE: Final = 30.0
LAST_PAUSE: Final = 300.0
"""Seconds until descriptors that nobody kept are stored again, after failures in a row: doubled each time."""
PATIENCE: Final = 60.0
"""Seconds that storing may take."""


class Publisher:
    """Has descriptors of one service stored.

    :param items: makes them; none if there is nothing to say at present
    :param stored: called with whether somebody has kept the first of them
    :param outdone: called with an item of the same owner that counts more than the one that was stored
    :param randbelow: a uniform integer below its argument
    :param spread: seconds by which a change is stored later at the most
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        store: DescriptorStore,
        items: Callable[[], Sequence[Item]],
        stored: Callable[[bool], None],
        *,
        outdone: Callable[[Item], None],
        randbelow: Callable[[int], int],
        spread: int = 0,
    ) -> None:
        self._reactor = reactor
        self._store = store
        self._items = items
        self._told = stored
        self._outdone = outdone
        self._randbelow = randbelow
        self._spread = spread
        self._call: IDelayedCall | None = None
        self._storing: Deferred[Any] | None = None
        self._looking: dict[bytes, Deferred[Any]] = {}
        # The targets of the last items.
        self._known: set[bytes] = set()
        self._again = False
        self._failures = 0
        self._stopped = False

    def soon(self) -> None:
        """Something has changed."""
        self._within(SOON + self._randbelow(self._spread + 1))

    def stop(self) -> None:
        """Store nothing any more."""
        self._stopped = True
        if self._call is not None and self._call.active():
            self._call.cancel()
        if self._storing is not None:
            self._storing.cancel()
        for looking in list(self._looking.values()):
            looking.cancel()

    def _within(self, seconds: float) -> None:
        """Store in so many seconds, or when it would have been done anyway."""
        if self._stopped:
            return
        if self._call is not None and self._call.active():
            if self._call.getTime() <= self._reactor.seconds() + seconds:
                return
            self._call.cancel()
        self._call = self._reactor.callLater(seconds, self._publish)

    def _publish(self) -> None:
        if self._storing is not None:
            self._again = True
            return
        items = self._items()
        least, most = EVERY
        self._within(least + self._randbelow(most - least + 1))
        if not items:
            return
        puts = [self._store.put(item).addTimeout(PATIENCE, self._reactor) for item in items]
        self._storing = DeferredList(puts, consumeErrors=True)
        self._storing.addCallback(self._stored, items)

    def _stored(self, results: Sequence[tuple[bool, Any]], items: Sequence[Item]) -> None:
        self._storing = None
        if self._stopped:
            return
        kept = [success and result > 0 for success, result in results]
        for success, result in results:
            if not success:
                self._note(result, "stored")
        for item, was_kept in zip(items, kept, strict=True):
            if not was_kept or item.target not in self._known:
                self._look_for(item)
        self._known = {item.target for item in items}
        if all(kept):
            self._failures = 0
        else:
            self._within(min(FIRST_PAUSE * 2.0 ** min(self._failures, 16), LAST_PAUSE))
            self._failures += 1
        if self._again:
            self._again = False
            self.soon()
        self._told(kept[0])

    def _look_for(self, item: Item) -> None:
        if item.target in self._looking:
            return
        looking = self._store.get(item.target, newest=True)
        # Before it is asked what came of it, which may be known already.
        self._looking[item.target] = looking
        looking.addTimeout(PATIENCE, self._reactor)
        looking.addBoth(self._looked, item.target)
        looking.addCallback(self._found, item).addErrback(self._note, "looked for")

    def _looked(self, result: T, target: bytes) -> T:
        del self._looking[target]
        return result

    def _found(self, found: Item | None, item: Item) -> None:
        if found is not None and found.sequence > item.sequence and not self._stopped:
            self._outdone(found)

    def _note(self, failure: Failure, what: str) -> None:
        if failure.check(TorpydoError, TimeoutError, CancelledError):
            self.log.debug("a descriptor was not {what}: {why}", what=what, why=failure.getErrorMessage())
        else:
            self.log.failure("a descriptor was not {what}", failure, what=what)
