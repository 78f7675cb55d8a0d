"""Becomes a command that ends with the soak, whatever ends that: ``python child.py [--files=N] [--memory=N] COMMAND``.

It needs nothing but the standard library, because it runs before every process of the network.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import resource
import signal

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Become the command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, help="most open files")
    parser.add_argument("--memory", type=int, help="bytes of address space")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    # Ctrl-C in a terminal goes to all of its processes, but it is the soak that ends these, in order. And a service
    # without a terminal does not end when it is hung up.
    os.setsid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if options.files is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (options.files, options.files))
    if options.memory is not None:
        resource.setrlimit(resource.RLIMIT_AS, (options.memory, options.memory))
    os.execv(options.command[0], options.command)


if __name__ == "__main__":
    main()
