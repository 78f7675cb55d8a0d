"""The memory of a process that runs for months: the cycle collector, and what the C library keeps. Called once by each
main program.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from typing import Any, Final

import attrs
from twisted.internet.task import LoopingCall

SETTLED: Final = 1.0
"""Seconds after which the start of a process is over; before, it would be in the way of the signals."""
YOUNG: Final = 20_000
"""New objects after which the collector looks at the young ones. Its default of 700 is a few dozen cells."""
OLDER: Final = 5
"""Looks at the younger after which it looks at the older. Its default is 10."""
TRIM: Final = 60.0
"""Seconds between two times that free memory goes back to the system. A thousand streams leave twenty megabytes of free
pieces between what stays, and after a fault a process may keep no more than that (SECURITY section 3)."""
SHARE: Final = 1 / 1000
"""The part of the time that looks at everything may take, just before that. Each TCP connection that Twisted has opened
is a ring of objects. Left to itself the collector finds those that lived for a while after an hour or more, and until
then memory grows (SECURITY section 3, 34)."""


def settle_collector(
    reactor: Any, trim: Callable[[], object] | None = None, collect: Callable[[], object] = gc.collect
) -> None:
    """When the start is over, leave alone what it has made, and look less often: a collection stops everything else.

    :param trim: gives free memory back to the system; by default what the C library has for it, if it has anything
    :param collect: looks at everything
    """
    upkeep = _Upkeep(reactor, trim or c_library_trim(), collect)
    reactor.callWhenRunning(reactor.callLater, SETTLED, _settle, reactor, upkeep)


def c_library_trim() -> Callable[[], object]:
    """The GNU C library's ``malloc_trim``; other libraries do without."""
    try:
        malloc_trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return lambda: None
    return lambda: malloc_trim(ctypes.c_size_t(0))


@attrs.define(eq=False)
class _Upkeep:
    """What is done once a minute."""

    _reactor: Any
    _trim: Callable[[], object]
    _collect: Callable[[], object]
    _next: float = 0.0
    """When everything may be looked at again."""

    def __call__(self) -> None:
        began = self._reactor.seconds()
        if began >= self._next:
            self._collect()
            self._next = began + (self._reactor.seconds() - began) / SHARE
        self._trim()


def _settle(reactor: Any, upkeep: Callable[[], None]) -> None:
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, OLDER, OLDER)
    calling = LoopingCall(upkeep)
    calling.clock = reactor
    calling.start(TRIM, now=False)
