"""How a transfer ended, and the sum of all that did.

There are four ways: it did what it should (OK); it failed and said so, by a typed answer of the proxy or by a torn
connection, and what had come until then was right (ERROR); one byte was wrong, or an end looked like the end of
everything and was not (CORRUPT); anything else is WRONG: an answer that is none, silence beyond the limit.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum

import attrs

__all__ = ["Ending", "Outcome", "Tally"]


class Ending(Enum):
    """How a transfer ended."""

    OK = "ok"
    ERROR = "error"
    WRONG = "wrong"
    CORRUPT = "corrupt"


@attrs.frozen
class Outcome:
    """The end of one transfer.

    :ivar why: in few words, the same for the same cause
    :ivar size: bytes that were checked
    :ivar opening: seconds until the tunnel was open; ``None`` if it never was
    """

    ending: Ending
    kind: str
    why: str
    size: int
    opening: float | None


@attrs.define
class Tally:
    """What became of all transfers."""

    endings: Counter[Ending] = attrs.field(factory=Counter)
    kinds: Counter[tuple[str, Ending]] = attrs.field(factory=Counter)
    errors: Counter[str] = attrs.field(factory=Counter)
    wrong: list[str] = attrs.field(factory=list)
    size: int = 0
    slowest_opening: float = 0.0
    _examples: int = 20

    def add(self, outcome: Outcome) -> None:
        """Count one."""
        self.endings[outcome.ending] += 1
        self.kinds[outcome.kind, outcome.ending] += 1
        self.size += outcome.size
        self.slowest_opening = max(self.slowest_opening, outcome.opening or 0.0)
        if outcome.ending is Ending.ERROR:
            self.errors[outcome.why] += 1
        elif outcome.ending is not Ending.OK and len(self.wrong) < self._examples:
            self.wrong.append(f"{outcome.ending.value}: {outcome.kind}: {outcome.why}")

    @property
    def count(self) -> int:
        """Transfers that are over."""
        return sum(self.endings.values())
