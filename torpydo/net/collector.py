"""The memory of a process that runs for months: the cycle collector, and what the C library keeps. Called once by each
main program.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.task import LoopingCall

SETTLED: Final = 1.0
"""Seconds after which the start of a process is over; before, it would be in the way of the signals."""
YOUNG: Final = 20_000
"""New objects after which the collector looks at the young ones. Its default of 700 is a few dozen cells."""
OLDER: Final = 5
"""Looks at the younger after which it looks at the older. Its default is 10: then it is hours until what is left of a
client's old streams and circuits is found, and until then memory grows (SECURITY section 3, 34)."""
TRIM: Final = 60.0
"""Seconds between two times that free memory goes back to the system. A thousand streams leave twenty megabytes of free
pieces between what stays, and after a fault a process may keep no more than that (SECURITY section 3)."""


def settle_collector(reactor: Any, trim: Callable[[], object] | None = None) -> None:
    """When the start is over, leave alone what it has made, and look less often: a collection stops everything else.

    :param trim: gives free memory back to the system; by default what the C library has for it, if it has anything
    """
    reactor.callWhenRunning(reactor.callLater, SETTLED, _settle, reactor, trim or c_library_trim())


def c_library_trim() -> Callable[[], object]:
    """The GNU C library's ``malloc_trim``; other libraries do without."""
    try:
        malloc_trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return lambda: None
    return lambda: malloc_trim(ctypes.c_size_t(0))


def _settle(reactor: Any, trim: Callable[[], object]) -> None:
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, OLDER, OLDER)
    trimming = LoopingCall(trim)
    trimming.clock = reactor
    trimming.start(TRIM, now=False)
