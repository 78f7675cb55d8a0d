"""How many file descriptors a process may still open, so that some are left for what must not fail (SECURITY D4).

Asked before a connection is taken or opened. For node, pool and client.
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable
from typing import Final

import attrs

__all__ = ["FileBudget", "count_open_files", "raise_file_limit"]

RESERVE: Final = 32
"""File descriptors that no connection of a stranger gets (D4): for logs, state, pools, lookups."""
PRESSED: Final = 0.9
"""The part in use above which what is idle is closed (D4)."""
MOST: Final = 1 << 20
"""File descriptors beyond which more are of no use, however many the system lets a process have."""
LOOK: Final = 1.0
"""Seconds between two looks at how many there are: a look takes a millisecond for some thousand."""
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
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most


@attrs.define(eq=False)
class FileBudget:
    """The file descriptors of this process.

    :param clock: seconds that never go back
    :param most: how many it may have
    :param count: how many it has; for tests
    """

    _clock: Callable[[], float]
    most: int
    _count: Callable[[], int | None] = count_open_files
    _used: int = 0
    _looked_at: float = float("-inf")

    @property
    def used(self) -> int:
        """How many are in use: as of the last look, and those that were granted since."""
        now = self._clock()
        if now - self._looked_at >= LOOK:
            self._looked_at = now
            count = self._count()
            # Where it cannot be counted there is no limit but the system's own.
            self._used = 0 if count is None else count
        return self._used

    def grant(self) -> bool:
        """Whether a connection may be taken or opened now; it is counted as open if so."""
        if self.used + RESERVE >= self.most:
            return False
        self._used += 1
        return True

    @property
    def is_pressed(self) -> bool:
        """Whether so many are in use that what is idle must be closed."""
        return self.used >= self.most * PRESSED - RESERVE
