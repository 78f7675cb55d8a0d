"""The reactor of a process that is a tap's own, and what such a process does first. Called by the taps."""

from __future__ import annotations

from typing import Any

from twisted.logger import globalLogPublisher
from twisted.python.reflect import namedAny

from torpydo.net import FileBudget, harden_process, keep_quiet, settle_collector, use_steady_clock

__all__ = ["own_process"]


def own_process() -> tuple[Any, FileBudget]:
    """Make this process fit for years of a service, and for its keys.

    :return: Twisted's reactor, and the file descriptors that the process may have
    """
    # Only now: twistd may still choose a reactor while this module is imported.
    reactor = namedAny("twisted.internet.reactor")
    use_steady_clock(reactor)
    settle_collector(reactor)
    harden_process()
    reactor.callWhenRunning(keep_quiet, globalLogPublisher, reactor.seconds)
    return reactor, FileBudget.of_process(reactor.seconds)
