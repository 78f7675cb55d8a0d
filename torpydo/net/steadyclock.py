"""The clock of a process's timers: one that goes on evenly, whatever becomes of the time of day (SECURITY section 3,
case 20).

Called once by a main program, before anything is scheduled. Not by a library: the reactor is somebody else's then.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

__all__ = ["use_steady_clock"]


def _steady_clock() -> Callable[[], float]:
    if sys.platform == "linux":
        # Goes on while the machine is suspended: what died in the meantime is noticed at once.
        return partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    return time.monotonic


def use_steady_clock(reactor: Any, clock: Callable[[], float] | None = None) -> None:
    """Let *reactor* go by a clock that nobody sets. Twisted's own goes by the time of day: set back, no timer would
    fire until it has caught up; set ahead, every link would seem to have been silent for so long.

    :param clock: seconds that never go back; by default those since the machine was started
    """
    reactor.seconds = _steady_clock() if clock is None else clock
