"""When links write: once for all that one read of any of them has caused. Called by links."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.logger import Logger


class Flushable(Protocol):
    """A link."""

    def flush(self) -> None:
        """Write what waits."""

    def abort(self, why: str) -> None:
        """End at once."""


class Turn:
    """The links of a process that have something to send, until all events of one read are taken.

    So one read leads to one write for each link, however many circuits it was for, and nothing waits for a timer.
    """

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._links: dict[Flushable, None] = {}
        self._reading = False
        self._scheduled = False

    def add(self, link: Flushable) -> None:
        """*link* has something to send."""
        self._links[link] = None
        if not self._reading:
            self._schedule()

    def begin(self) -> None:
        """What comes now is sent by :meth:`end`, which follows."""
        self._reading = True

    def end(self) -> None:
        """Send now."""
        try:
            while self._links:
                link = next(iter(self._links))
                del self._links[link]
                self._flush(link)
        finally:
            self._reading = False

    def _flush(self, link: Flushable) -> None:
        try:
            link.flush()
        except Exception:
            # Whatever it is must cost this link, and neither the one that was read, whose transport would hear of it,
            # nor those that come after it (SECURITY Z1).
            self.log.failure("a link could not be written to and is closed")
            link.abort("an error of this side")

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._reactor.callLater(0, self._later)

    def _later(self) -> None:
        self._scheduled = False
        self.begin()
        self.end()
