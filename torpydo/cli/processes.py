"""The demo's processes: started here, watched while it runs, ended by their process id and never by a name.

What a process writes goes to a file beside its state, so that its last words can be shown when it ends unasked.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError, race
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.python.filepath import FilePath

from torpydo.errors import ListenError, TorpydoError
from torpydo.net import DEBUGGABLE

__all__ = ["ChildProcess", "ChildProcesses", "free_port", "wait_until"]

# Seconds. A service stops within 5 s; what has not stopped then is killed.
STOP_TIME = 6.0
LOOK_AGAIN = 0.1

# Below the range from which the system takes the ports of outgoing connections (32768 on Linux), so that a port
# that is free now is not taken by a connection before its service listens.
FIRST_PORT, LAST_PORT = 20_000, 32_000


def port_is_free(port: int) -> bool:
    """Whether 127.0.0.1:*port* can be listened on now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port(randbelow: Callable[[int], int]) -> int:
    """A port of 127.0.0.1 on which nothing listens.

    :raises ListenError: if a hundred tries found none
    """
    for _ in range(100):
        port = FIRST_PORT + randbelow(LAST_PORT - FIRST_PORT)
        if port_is_free(port):
            return port
    raise ListenError(f"no free port was found on 127.0.0.1 between {FIRST_PORT} and {LAST_PORT}")


async def wait_until(
    reactor: Any, true: Callable[[], bool | Deferred[bool]], *, timeout: float, what: str, alive: Callable[[], None]
) -> None:
    """Ask *true* again and again until it says so.

    :param what: what did not happen, for the error
    :param alive: called before each look; raises when waiting has become pointless
    :raises TorpydoError: after *timeout* seconds
    """
    give_up = reactor.seconds() + timeout
    while True:
        alive()
        answer = true()
        if await answer if isinstance(answer, Deferred) else answer:
            return
        if reactor.seconds() > give_up:
            raise TorpydoError(f"{what} after {timeout:.0f} seconds")
        await deferLater(reactor, LOOK_AGAIN, lambda: None)


class ChildProcess(ProcessProtocol):
    """One process."""

    def __init__(self, name: str, output: FilePath[str]) -> None:
        self.name = name
        self._output = output
        self._waiting: list[Deferred[None]] = []
        self.ended_with: str | None = None

    def processEnded(self, reason: Failure) -> None:
        self.ended_with = "exit status 0" if reason.check(ProcessDone) else reason.getErrorMessage()
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(None)

    def when_ended(self) -> Deferred[None]:
        """Fires when the process is gone."""
        deferred: Deferred[None] = Deferred(self._waiting.remove)
        if self.ended_with is None:
            self._waiting.append(deferred)
        else:
            deferred.callback(None)
        return deferred

    def signal(self, name: str) -> None:
        """Send a signal; harmless when the process is gone."""
        if self.transport is not None:
            try:
                self.transport.signalProcess(name)
            except ProcessExitedAlready:
                return

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.transport is not None and self.transport.pid is not None
        return int(self.transport.pid)

    def said(self) -> str:
        """What the process has said so far."""
        return self._output.getContent().decode(errors="replace") if self._output.exists() else ""

    def has_said(self, words: str) -> bool:
        """Whether *words* stand anywhere in what the process said."""
        return words in self.said()

    def last_line(self) -> str:
        """The last thing that the process said."""
        lines = self.said().split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def _readable(data: bytes) -> int:
    """A descriptor that gives *data* and then the end; a pipe holds 64 KiB, what is given here is a line."""
    reading, writing = os.pipe()
    try:
        os.write(writing, data)
    finally:
        os.close(writing)
    return reading


class ChildProcesses:
    """All processes of one demo.

    :param directory: where their output goes
    """

    def __init__(self, reactor: Any, directory: FilePath[str]) -> None:
        self._reactor = reactor
        self._directory = directory
        self._children: list[ChildProcess] = []

    def start(self, name: str, *arguments: str) -> ChildProcess:
        """Start a Python with *arguments*."""
        return self.start_program(name, sys.executable, *arguments)

    def start_program(self, name: str, *command: str, stdin: bytes = b"") -> ChildProcess:
        """Start any program.

        :param stdin: all that it reads from its standard input
        """
        output = self._directory.child(f"{name}.log")
        child = ChildProcess(name, output)
        log = os.open(output.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        reading = _readable(stdin)
        try:
            descriptors = {0: reading, 1: log, 2: log}
            # The benchmark looks into them while they run.
            environment = os.environ | {DEBUGGABLE: "1"}
            self._reactor.spawnProcess(child, command[0], command, env=environment, childFDs=descriptors)
        finally:
            os.close(reading)
            os.close(log)
        self._children.append(child)
        return child

    def __iter__(self) -> Iterator[ChildProcess]:
        return iter(self._children)

    def check(self) -> None:
        """Raise if one of the processes has ended.

        :raises TorpydoError: it names the process and shows its last line
        """
        for child in self._children:
            if child.ended_with is not None:
                raise TorpydoError(f"the {child.name} ended by itself ({child.ended_with}): {child.last_line()}")

    def when_one_ends(self) -> Deferred[Any]:
        """Fires when any of the processes is gone; cancellable."""
        return race([child.when_ended() for child in self._children])

    async def end(self) -> None:
        """End all processes: asked first, killed when that does not help or when the wait is cancelled."""
        try:
            await Deferred.fromCoroutine(self._signal_all("TERM")).addTimeout(STOP_TIME, self._reactor)
        except TimeoutError:
            return
        finally:
            await self._signal_all("KILL")

    async def _signal_all(self, name: str) -> None:
        running = [child for child in self._children if child.ended_with is None]
        for child in running:
            child.signal(name)
        for child in running:
            await child.when_ended()
