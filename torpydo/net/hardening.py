"""What a process does first so that its keys stay in it: no core files, no debugger, no file for others (SECURITY X5).

Called once, by the process itself, before it reads a key: by the taps and by the main program of a worker. Not by a
library that somebody else's process uses.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from collections.abc import Mapping
from typing import Final

__all__ = ["DEBUGGABLE", "harden_process"]

DEBUGGABLE: Final = "TORPYDO_DEBUGGABLE"
"""In the environment, with any value but the empty one: let the process be looked into by its own user, for profilers
and for tests that count its files. Who can set it for a process could run anything in its place."""
_PR_SET_DUMPABLE: Final = 4
"""From ``linux/prctl.h``."""
_UMASK: Final = 0o077


def harden_process(environment: Mapping[str, str] = os.environ) -> None:
    """Let nobody but root look into this process, or read what it leaves behind.

    - A crash writes no core file, which would hold the keys.
    - On Linux other processes of the same user cannot attach a debugger or read its memory, environment and open files;
      root can. That includes profilers such as py-spy, which need root then, or :data:`DEBUGGABLE`. A program that is
      executed by this one is not covered.
    - What it creates is for its user alone: logs, pid files, sockets. Nothing here relies on that; the files of
      :class:`~torpydo.net.StateDirectory` have their modes from the start.

    Where a system has none of this, or forbids it, that costs only what it would have added.

    :param environment: the process's
    """
    os.umask(_UMASK)
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (OSError, ValueError):
        pass
    if sys.platform == "linux" and not environment.get(DEBUGGABLE):
        _set_undumpable()


def _set_undumpable() -> None:
    try:
        library = ctypes.CDLL(None)
        library.prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))
    except (OSError, AttributeError):
        # A C library without prctl.
        return
