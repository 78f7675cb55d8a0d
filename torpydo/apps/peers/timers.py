"""What is to be done later, each thing under a name of its own, and nothing of it after the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall

__all__ = ["Timers"]


class Timers:
    """Calls that are to come.

    :ivar running: whether any may be added
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._calls: dict[object, IDelayedCall] = {}
        self.running = False

    def later(self, what: object, delay: float, call: Callable[[], None]) -> None:
        """Do something after *delay* seconds; what was to be done under the same name is not."""

        def now() -> None:
            del self._calls[what]
            call()

        before = self._calls.pop(what, None)
        if before is not None:
            before.cancel()
        if self.running:
            self._calls[what] = self._reactor.callLater(delay, now)

    def stop(self) -> None:
        """Do nothing of it."""
        self.running = False
        for call in self._calls.values():
            call.cancel()
        self._calls.clear()
