"""Who brings what cannot be used (docs/protocol-peers, Floods).

Whoever was dialled has a name, and is not listened to for a time after too many bad records. Who comes by himself has
none: those share one bucket of signature checks, and what each of them brings is one record.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import attrs

__all__ = ["STRANGERS", "Sources"]

STRANGERS: Final = b""
"""The source of what unknown ones bring."""
PATIENCE: Final = 8.0
"""Bad records that a source may bring ..."""
FORGIVEN: Final = 600.0
"""... with one forgotten in so many seconds ..."""
IGNORED: Final = 3600.0
"""... and seconds for which it is not listened to after one more."""
CHECKS_BURST: Final = 50.0
CHECKS_RATE: Final = 5.0
"""Signatures that are checked for strangers: at once, and in a second."""
MOST: Final = 1000
"""Sources that are remembered."""


@attrs.define(eq=False)
class _Bucket:
    left: float
    filled_at: float

    def take(self, now: float, rate: float, burst: float) -> bool:
        self.left = min(burst, self.left + max(0.0, now - self.filled_at) * rate)
        self.filled_at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


class Sources:
    """What is remembered of those who bring records.

    :param clock: seconds that never go back
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._patience: OrderedDict[bytes, _Bucket] = OrderedDict()
        self._ignored: OrderedDict[bytes, float] = OrderedDict()
        self._checks = _Bucket(CHECKS_BURST, clock())

    def __len__(self) -> int:
        return max(len(self._patience), len(self._ignored))

    def blame(self, source: bytes) -> None:
        """*source* has brought something that it must have known to be bad."""
        if source == STRANGERS:
            return
        now = self._clock()
        bucket = self._patience.pop(source, None) or _Bucket(PATIENCE, now)
        if bucket.take(now, 1 / FORGIVEN, PATIENCE):
            self._patience[source] = bucket
        else:
            self._ignored.pop(source, None)
            self._ignored[source] = now + IGNORED
        for remembered in (self._patience, self._ignored):
            if len(remembered) > MOST:
                remembered.popitem(last=False)

    def is_ignored(self, source: bytes) -> bool:
        """Whether nothing that *source* brings is looked at now."""
        until = self._ignored.get(source)
        if until is None:
            return False
        if self._clock() < until:
            return True
        del self._ignored[source]
        return False

    def ignored(self) -> set[bytes]:
        """All who are ignored now."""
        return {source for source in list(self._ignored) if self.is_ignored(source)}

    def may_check(self, source: bytes) -> bool:
        """Whether a signature may be checked for *source*; those who have a name answer for it instead."""
        return source != STRANGERS or self._checks.take(self._clock(), CHECKS_RATE, CHECKS_BURST)
