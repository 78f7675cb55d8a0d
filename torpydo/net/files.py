"""How many file descriptors a process may still open, so that some are left for what must not fail (SECURITY D4).

Asked before a connection is taken or opened. For node, pool and client.
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable
from typing import Final, Self

import attrs
from twisted.logger import Logger

__all__ = ["FileBudget", "count_open_files", "raise_file_limit"]

RESERVE: Final = 32
"""File descriptors that no connection of a stranger gets (D4): for logs, state, pools, lookups."""
PRESSED: Final = 0.9
"""The part in use of those that connections may get, above which what is idle is closed (D4)."""
FEW: Final = 1000
"""File descriptors below which an operator should know (tor's ConnLimit, D4)."""
MOST: Final = 1 << 20
"""File descriptors beyond which more are of no use, however many the system lets a process have."""
LOOK: Final = 1.0
"""Seconds between two looks at how many there are, up to as many as are seen in a few milliseconds ..."""
SEEN: Final = 10_000
"""... which are these; when there are more, looks are rarer."""
LOOK_AGAIN: Final = 0.05
"""The same, before it is believed that there are too many: what was granted may be closed by now."""
FOLDERS: Final = ("/proc/self/fd", "/dev/fd")


def count_open_files() -> int | None:
    """How many file descriptors this process has open; ``None`` where nobody tells."""
    for folder in FOLDERS:
        try:
            # The look itself has one open.
            return len(os.listdir(folder)) - 1
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                # None is left even to look with.
                return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None


def raise_file_limit() -> int:
    """Allow this process as many file descriptors as the system lets it have, and no more than a million.

    :return: how many that are
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft != resource.RLIM_INFINITY and soft < most:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        except (OSError, ValueError):
            # The system has a bound of its own below the one that it names.
            return soft
    return most


@attrs.define(eq=False)
class FileBudget:
    """The file descriptors of this process.

    :param clock: seconds that never go back
    :ivar most: how many it may have; ``None``: nobody counts
    :param count: how many it has; for tests
    """

    _clock: Callable[[], float]
    most: int | None = None
    _count: Callable[[], int | None] = count_open_files
    _used: int = attrs.field(default=0, init=False)
    _looked_at: float = attrs.field(default=float("-inf"), init=False)

    @classmethod
    def of_process(cls, clock: Callable[[], float]) -> Self:
        """The budget of this process, after its limit was raised as far as the system lets it.

        Fewer than tor asks for are no reason not to start (SECURITY D4), but one to say so.
        """
        most = raise_file_limit()
        if most < FEW:
            Logger(namespace=__name__).warn(
                "this process may have {most} file descriptors only, one for each connection; allow it {few} or more,"
                " with LimitNOFILE= in its systemd unit or with ulimit -n",
                most=most,
                few=FEW,
            )
        return cls(clock, most)

    @property
    def used(self) -> int:
        """How many are in use: as of the last look, and those that were granted since; 0 if nobody counts."""
        return self._look(LOOK)

    def _look(self, pause: float) -> int:
        now = self._clock()
        if self.most is not None and now - self._looked_at >= pause * max(1.0, self._used / SEEN):
            self._looked_at = now
            count = self._count()
            # Where it cannot be counted there is no limit but the system's own.
            self._used = 0 if count is None else count
        return self._used

    def grant(self) -> bool:
        """Whether a connection may be taken or opened now; it is counted as open if so."""
        if self.most is None:
            return True
        if self.used + RESERVE >= self.most and self._look(LOOK_AGAIN) + RESERVE >= self.most:
            return False
        self._used += 1
        return True

    def release(self) -> None:
        """What was granted is closed: the next look would show it, and until then it is counted."""
        self._used = max(0, self._used - 1)

    @property
    def excess(self) -> int:
        """How many connections must be closed until it is not pressed any more."""
        if self.most is None:
            return 0
        enough = int((self.most - RESERVE) * PRESSED)
        return 0 if self.used <= enough else max(0, self._look(LOOK_AGAIN) - enough)
