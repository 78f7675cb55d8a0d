"""When links write: once for all that one read of any of them has caused. Called by links."""

from __future__ import annotations

from typing import Any, Protocol


class Flushable(Protocol):
    """A link."""

    def flush(self) -> None:
        """Write what waits."""


class Turn:
    """The links of a process that have something to send, until all events of one read are taken.

    So one read leads to one write for each link, however many circuits it was for, and nothing waits for a timer.
    """

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
                link.flush()
        finally:
            self._reading = False
            # If one fails, the others have a turn of their own, even if nothing is read any more.
            if self._links:
                self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._reactor.callLater(0, self._later)

    def _later(self) -> None:
        self._scheduled = False
        self.begin()
        self.end()
