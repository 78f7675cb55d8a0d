"""The cycle collector of a process that keeps many objects for long. Called once by each main program."""

from __future__ import annotations

import gc
from typing import Any, Final

SETTLED: Final = 1.0
"""Seconds after which the start of a process is over; before, it would be in the way of the signals."""
YOUNG: Final = 20_000
"""New objects after which the collector looks at the young ones. Its default of 700 is a few dozen cells."""
OLDER: Final = 5
"""Looks at the younger after which it looks at the older. Its default is 10: then it is hours until what is left of a
client's old streams and circuits is found, and until then memory grows (SECURITY section 3, 34)."""


def settle_collector(reactor: Any) -> None:
    """When the start is over, leave alone what it has made, and look less often: a collection stops everything else."""
    reactor.callWhenRunning(reactor.callLater, SETTLED, _settle)


def _settle() -> None:
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, OLDER, OLDER)
