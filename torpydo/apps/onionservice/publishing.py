"""When descriptors are stored: a moment after each change, once an hour, and sooner if nobody kept them.

Called by service, which makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, DeferredList, TimeoutError
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from torpydo.apps.onionservice.store import DescriptorStore
from torpydo.dht import Item
from torpydo.errors import TorpydoError

__all__ = ["Publisher"]

EVERY: Final = 3600.0
"""Seconds after which descriptors are stored again."""
SOON: Final = 1.0
"""Seconds from a change to the storing of what it changed: several come together."""
FIRST_PAUSE: Final = 30.0
LAST_PAUSE: Final = 300.0
"""Seconds until descriptors that nobody kept are stored again, after failures in a row: doubled each time."""
PATIENCE: Final = 60.0
"""Seconds that storing may take."""


class Publisher:
    """Has the descriptors of one service stored.

    :param items: makes them, the one of today first; none if there is nothing to say
    :param stored: called with whether somebody has kept the one of today
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        store: DescriptorStore,
        items: Callable[[], Sequence[Item]],
        stored: Callable[[bool], None],
    ) -> None:
        self._reactor = reactor
        self._store = store
        self._items = items
        self._told = stored
        self._call: IDelayedCall | None = None
        self._storing: Deferred[Any] | None = None
        self._again = False
        self._failures = 0
        self._stopped = False

    def soon(self) -> None:
        """Something has changed."""
        self._within(SOON)

    def stop(self) -> None:
        """Store nothing any more."""
        self._stopped = True
        if self._call is not None and self._call.active():
            self._call.cancel()
        if self._storing is not None:
            self._storing.cancel()

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
        if not items:
            return
        self._within(EVERY)
        puts = [self._store.put(item).addTimeout(PATIENCE, self._reactor) for item in items]
        self._storing = DeferredList(puts, consumeErrors=True)
        self._storing.addCallback(self._stored)

    def _stored(self, results: Sequence[tuple[bool, Any]]) -> None:
        self._storing = None
        if self._stopped:
            return
        kept = [success and result > 0 for success, result in results]
        for success, result in results:
            if not success:
                self._note(result)
        if all(kept):
            self._failures = 0
        else:
            self._within(min(FIRST_PAUSE * 2.0 ** min(self._failures, 16), LAST_PAUSE))
            self._failures += 1
        if self._again:
            self._again = False
            self.soon()
        self._told(kept[0])

    def _note(self, failure: Failure) -> None:
        if failure.check(TorpydoError, TimeoutError, CancelledError):
            self.log.debug("a descriptor was not stored: {why}", why=failure.getErrorMessage())
        else:
            self.log.failure("a descriptor was not stored", failure)
