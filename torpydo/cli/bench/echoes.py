"""Echoes beside a load, in a process of their own: they must not wait for the interpreter's lock of the load.

``python -m torpydo.cli.bench.echoes USER ... --server PORT`` connects, prints ``ready``, waits for a line, sends 64
bytes on each connection again and again, and prints JSON: the milliseconds of every round trip.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import attrs

from torpydo.cli.bench.dialing import Dialer, reset
from torpydo.cli.bench.server import ECHO
from torpydo.cli.constants import LOOPBACK
from torpydo.errors import StreamFailed, TorpydoError

__all__ = ["Echoes", "echo", "echoes_beside", "trip"]

PAYLOAD = bytes(64)
READY = "ready"
# Seconds between two round trips of one connection: a person who types, not another bulk transfer.
PAUSE = 0.01
# Seconds for all connections.
READY_TIME = 60.0


def trip(connection: socket.socket) -> float:
    """Milliseconds until 64 bytes are back."""
    asked = time.monotonic()
    connection.sendall(PAYLOAD)
    if len(connection.recv(len(PAYLOAD), socket.MSG_WAITALL)) < len(PAYLOAD):
        raise StreamFailed("an echo ended before its time")
    return (time.monotonic() - asked) * 1000


@contextmanager
def echo(dialer: Dialer, user: str) -> Iterator[socket.socket]:
    """A connection to the echo, after its first round trip."""
    connection = dialer.dial(user)
    try:
        connection.sendall(ECHO)
        trip(connection)
        yield connection
    except OSError as error:
        raise StreamFailed(f"an echo was torn: {error}") from None
    finally:
        reset(connection)


@attrs.define(eq=False)
class Echoes:
    """The echoes, seen from the load."""

    _process: subprocess.Popen[str]

    def run(self) -> list[float]:
        """Begin, and wait for the end.

        :returns: the milliseconds of every round trip
        :raises StreamFailed: if one of the echoes failed
        """
        out, _ = self._process.communicate("begin\n")
        try:
            taken = [float(value) for value in json.loads(out)]
        except ValueError:
            raise StreamFailed(f"the echoes failed: {out.strip()}") from None
        if not taken:
            raise StreamFailed("the echoes failed: none came back in time")
        return taken


@contextmanager
def echoes_beside(dialer: Dialer, users: Sequence[str], seconds: float) -> Iterator[Echoes]:
    """Echoes that are connected and wait to begin; ended with the block.

    :raises StreamFailed: if they cannot be connected
    """
    options = [f"--server={dialer.port}", f"--host={dialer.host}", f"--seconds={seconds}"]
    if dialer.socks_port is not None:
        options.append(f"--socks={dialer.socks_port}")
    process = subprocess.Popen(
        [sys.executable, "-m", "torpydo.cli.bench.echoes", *users, *options],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        try:
            said = process.stdout.readline().strip()
            if said != READY:
                raise StreamFailed(f"the echoes failed: {said}")
            yield Echoes(process)
        finally:
            process.kill()


def _run(dialer: Dialer, users: Sequence[str], seconds: float) -> list[float]:
    taken: list[float] = []
    failures: list[Exception] = []
    ready = threading.Barrier(len(users) + 1, timeout=READY_TIME)
    start = threading.Event()
    wanted = threading.Event()

    def keep_asking(user: str) -> None:
        try:
            with echo(dialer, user) as connection:
                ready.wait()
                start.wait()
                end = time.monotonic() + seconds
                while wanted.is_set() and time.monotonic() < end:
                    taken.append(trip(connection))
                    time.sleep(PAUSE)
        except (TorpydoError, threading.BrokenBarrierError) as error:
            failures.append(error)
            ready.abort()

    threads = [threading.Thread(target=keep_asking, args=(user,)) for user in users]
    for thread in threads:
        thread.start()
    try:
        ready.wait()
        print(READY, flush=True)
        # Nothing to read: whoever wanted the echoes is gone.
        if sys.stdin.readline():
            wanted.set()
    except threading.BrokenBarrierError as error:
        failures.append(error)
    finally:
        start.set()
        for thread in threads:
            thread.join()
    for failure in failures:
        if isinstance(failure, TorpydoError):
            raise failure
    if failures:
        raise StreamFailed(f"not all of {len(users)} echoes were connected within {READY_TIME:.0f} s")
    return taken


def main(argv: Sequence[str]) -> int:
    """Connect, wait, ask and print."""
    parser = argparse.ArgumentParser(prog="python -m torpydo.cli.bench.echoes", allow_abbrev=False)
    parser.add_argument("users", nargs="+", metavar="USER", help="one echo for each")
    parser.add_argument("--server", type=int, required=True, metavar="PORT", help="of what leads to the destination")
    parser.add_argument("--host", default=LOOPBACK, metavar="NAME", help="where that port is (default: this machine)")
    parser.add_argument("--socks", type=int, metavar="PORT", help="of the proxy (default: none)")
    parser.add_argument("--seconds", type=float, required=True, metavar="S")
    options = parser.parse_args(argv)
    try:
        taken = _run(Dialer(options.server, options.socks, host=options.host), options.users, options.seconds)
    except TorpydoError as error:
        print(error)
        return error.exit_status
    print(json.dumps(taken))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
