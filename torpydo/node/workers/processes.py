"""A worker's process: started with one end of a socket pair, watched, ended. Decides nothing. Called by supervisor.

Nothing secret is in its arguments or its environment. What it prints is kept, and shown only if it ends unasked:
its log comes over the channel.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from torpydo.node.workers.channel import Channel

__all__ = ["CHANNEL", "Launch", "Launched", "Owner", "WorkerProcess", "launch_worker"]

CHANNEL: Final = 3
"""The number of the channel's descriptor in a worker."""
MAX_WORDS: Final = 4096
"""Bytes of what a worker printed that are kept: the last ones."""
DEAF_TIME: Final = 5.0
"""Seconds that a process may live without its channel."""


class Owner(Protocol):
    """Who a worker's process reports to."""

    def received(self, data: bytes) -> None:
        """It has sent something."""

    def given_up(self) -> None:
        """A descriptor that was to be sent to it was closed instead, and its bytes were not sent."""

    def deaf(self) -> None:
        """It hears nothing any more, and says nothing."""

    def ended(self, reason: str) -> None:
        """It is gone: exactly once, and nothing after it."""


class Launched(Protocol):
    """A worker's process."""

    @property
    def queued(self) -> int:
        """Bytes that wait until it reads them."""

    def send(self, data: bytes, descriptor: int | None = None) -> None:
        """Send it something; the descriptor is closed here when it has left."""

    def kill(self) -> None:
        """End it at once."""


Launch = Callable[[Any, int, Owner], Launched]
"""``launch(reactor, number, owner)`` starts a worker's process.

:raises OSError: if that fails
"""


class WorkerProcess(ProcessProtocol):
    """One process, from the side that started it."""

    def __init__(self, reactor: Any, connection: socket.socket, owner: Owner) -> None:
        self._reactor = reactor
        self._owner = owner
        self._channel = Channel(reactor, connection, self._received, self._deaf, owner.given_up)
        self._words = b""
        self._timer: IDelayedCall | None = None

    @property
    def queued(self) -> int:
        """Bytes that wait until it reads them."""
        return self._channel.queued

    def send(self, data: bytes, descriptor: int | None = None) -> None:
        """Send it something; the descriptor is closed here when it has left."""
        self._channel.send(data, descriptor)

    def kill(self) -> None:
        """End it at once."""
        if self.transport is not None:
            try:
                self.transport.signalProcess("KILL")
            except ProcessExitedAlready:
                return

    def abandon(self) -> None:
        """It could not be started."""
        self._channel.close()

    def _received(self, data: bytes, descriptors: Sequence[int]) -> None:
        self._owner.received(data)

    def _deaf(self) -> None:
        # As a rule it is just ending; what cannot be spoken to any more must not stay.
        self._timer = self._reactor.callLater(DEAF_TIME, self.kill)
        self._owner.deaf()

    # -- What the reactor calls

    def connectionMade(self) -> None:
        self._channel.start()

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self._words = (self._words + data)[-MAX_WORDS:]

    def processEnded(self, reason: Failure) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._channel.close()
        words = self._words.decode(errors="replace").strip()
        self._owner.ended(_describe(reason) + (f", and its last words were: {words}" if words else ""))


def launch_worker(reactor: Any, number: int, owner: Owner) -> WorkerProcess:
    """Start the worker with that number.

    :raises OSError: if that fails
    """
    with open(os.devnull, "rb") as nothing:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        process = WorkerProcess(reactor, ours, owner)
        with theirs:
            try:
                reactor.spawnProcess(
                    process,
                    sys.executable,
                    # -P: a directory that the operator happens to be in is not where programs come from.
                    [sys.executable, "-P", "-m", "torpydo.node.workers", str(number)],
                    env=dict(os.environ) | {"PYTHONPATH": _search_path()},
                    childFDs={0: nothing.fileno(), 1: "r", 2: "r", CHANNEL: theirs.fileno()},
                )
            except OSError:
                process.abandon()
                raise
    return process


def _search_path() -> str:
    """Where this process finds its modules: a worker must be the same program."""
    return os.pathsep.join(entry for entry in sys.path if entry and os.pathsep not in entry)


def _describe(reason: Failure) -> str:
    if reason.check(ProcessDone):
        return "exit status 0"
    error = reason.value
    if isinstance(error, ProcessTerminated) and error.signal is not None:
        return f"ended by {signal.Signals(error.signal).name}"
    return f"exit status {error.exitCode}" if isinstance(error, ProcessTerminated) else reason.getErrorMessage()
