"""What a process has refused, and how often: counted by cause, and told to the operator without filling the log.

A room names its causes in an enumeration whose values are the words for people. For node, pool and client.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final

import attrs
from twisted.logger import Logger

from torpydo.net.quiet import LIMITED

__all__ = ["Refusals"]

QUIET: Final = 60.0
"""Seconds between two lines of one cause (SECURITY I2 allows ten a minute)."""


@attrs.define(eq=False)
class _Tally:
    count: int = 0
    told: int = 0
    told_at: float = float("-inf")


class Refusals:
    """Counts by cause. A cause is logged when it begins, and then once a minute at most, with how many there were.

    Never with an address or a name: what a stranger does must not write into the log, and what a user does must not
    stand there (SECURITY I1, I2).

    :param causes: an enumeration; each name is a cause, each value the words for it
    :param clock: seconds that never go back
    """

    log = Logger()

    def __init__(self, causes: type[Enum], clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tallies = {cause: _Tally() for cause in causes}

    def add(self, cause: Enum, count: int = 1) -> None:
        """Something was refused because of *cause*."""
        tally = self._tallies[cause]
        tally.count += count
        now = self._clock()
        if now - tally.told_at >= QUIET:
            # All causes are one kind of line, and there are more of them than a minute may have lines of one kind.
            count = tally.count - tally.told
            self.log.info("refused {count}: {words}", count=count, words=cause.value, **{LIMITED: True})
            tally.told, tally.told_at = tally.count, now

    def counts(self) -> Mapping[str, int]:
        """How often each cause has occurred, those that never have included: ``links_per_host``, and so on."""
        return {cause.name.lower(): tally.count for cause, tally in self._tallies.items()}
