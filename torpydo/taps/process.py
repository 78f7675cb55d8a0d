"""What a command tells of its own process, whatever it runs: version, age, and how late its event loop is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed

from torpydo import __version__
from torpydo.net import LoopLag
from torpydo.taps.figures import Figure, gauge

__all__ = ["ProcessService", "ProcessStatus"]


@attrs.frozen
class ProcessStatus:
    """The process at one moment.

    :ivar uptime: seconds since it was started
    :ivar loop_lag: seconds that the latest timer of the last minute was late; more than 0.1 means that the machine,
        or this process, has too much to do
    """

    version: str
    uptime: float
    loop_lag: float


class ProcessService(Service):
    """Watches the process from start to stop.

    :param clock: seconds that never go back
    """

    def __init__(self, reactor: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._lag = LoopLag(reactor, clock)

    def startService(self) -> None:
        """Begin."""
        Service.startService(self)
        self._lag.start()

    def stopService(self) -> Deferred[None]:
        """End."""
        Service.stopService(self)
        self._lag.stop()
        return succeed(None)

    def status(self) -> ProcessStatus:
        """The process at this moment."""
        return ProcessStatus(__version__, round(self._clock() - self._began, 1), round(self._lag.worst, 3))

    def figures(self) -> list[Figure]:
        """The same for ``--metrics``; memory, processor time and files come from Prometheus' own collector."""
        words = "How late the latest timer of the last minute came."
        return [gauge("loop_lag_seconds", words, self._lag.worst)]
