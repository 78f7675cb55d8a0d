"""The processes of a soak: started here, looked at through /proc, ended by their ids. No word of what they are."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred, TimeoutError
from twisted.python.filepath import FilePath

from tests.soak.judge import complaints
from tests.soak.samples import Reading
from torpydo.cli.processes import ChildProcess

__all__ = ["Limits", "Log", "Member", "NO_LIMITS", "read_process"]

CHILD = str(Path(__file__).with_name("child.py"))
PAGE = resource.getpagesize()
TICKS = os.sysconf("SC_CLK_TCK")
# Bytes of a log that are read at once.
PIECE = 1 << 20


def read_process(pid: int) -> Reading | None:
    """Look at a process; ``None`` if it is gone."""
    try:
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
        files = len(os.listdir(f"/proc/{pid}/fd"))
        # The name, in parentheses, may contain anything.
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, IndexError):
        return None
    return Reading(resident, files, (int(words[11]) + int(words[12])) / TICKS)


@attrs.frozen
class Limits:
    """What a process may use.

    :ivar files: open files
    :ivar memory: bytes of address space
    """

    files: int | None = None
    memory: int | None = None

    def options(self) -> list[str]:
        """For ``child.py``."""
        found = [] if self.files is None else [f"--files={self.files}"]
        return found if self.memory is None else [*found, f"--memory={self.memory}"]


NO_LIMITS = Limits()


@attrs.define
class Log:
    """The log of one process, read piece by piece as it grows."""

    name: str
    path: Path
    _offset: int = 0
    _rest: str = ""

    def complaints(self) -> list[str]:
        """The lines since the last time that show an error nobody expected."""
        found: list[str] = []
        with self.path.open("rb") as log:
            log.seek(self._offset)
            while data := log.read(PIECE):
                self._offset += len(data)
                *lines, self._rest = (self._rest + data.decode(errors="replace")).split("\n")
                found += complaints(self.name, lines)
        return found


@attrs.define(eq=False)
class Member:
    """A process that is started, perhaps ended, and started again.

    :param command: a program with its arguments
    :ivar down: whether it is meant to be gone, so that its end is no surprise
    :ivar crashed: whether it has ended by itself
    :ivar since: when it was started the last time
    :ivar starts: how often it was
    """

    reactor: Any
    name: str
    directory: FilePath[str]
    command: Sequence[str]
    environment: Mapping[str, str]
    down: bool = True
    crashed: bool = False
    since: float = 0.0
    starts: int = 0
    child: ChildProcess = attrs.field(init=False)
    log: Log = attrs.field(init=False)
    _complaints: list[str] = attrs.field(factory=list)

    def start(self, limits: Limits = NO_LIMITS, options: Sequence[str] = ()) -> None:
        """Start it, perhaps with more options than usual."""
        if self.starts:
            self._complaints += self.log.complaints()
        self.starts += 1
        path = self.directory.child(f"{self.name}.{self.starts}.log")
        self.child = ChildProcess(self.name, path)
        self.log = Log(self.name, Path(path.path))
        output = os.open(path.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            command = [sys.executable, "-I", "-S", CHILD, *limits.options(), *self.command, *options]
            self.reactor.spawnProcess(
                self.child, command[0], command, env=dict(self.environment), childFDs={0: nothing, 1: output, 2: output}
            )
        finally:
            os.close(output)
            os.close(nothing)
        self.down = self.crashed = False
        self.since = self.reactor.seconds()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.child.pid

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self.starts > 0 and self.child.ended_with is None

    def broken(self) -> list[str]:
        """What is wrong with it: it ended by itself, or said what it must not say. Each is told once."""
        found, self._complaints = self._complaints, []
        if not self.starts:
            return found
        found += self.log.complaints()
        if not self.down and not self.is_alive:
            self.down = self.crashed = True
            found.append(f"{self.name} ended by itself ({self.child.ended_with}): {self.child.last_line()}")
        return found

    def send(self, number: int) -> None:
        """Send a signal."""
        if self.is_alive:
            os.kill(self.pid, number)

    async def end(self, number: int = signal.SIGTERM, *, patience: float) -> float:
        """End it and wait until it is gone; one that does not end in time is killed.

        :returns: how many seconds that took
        """
        self.down = True
        began = self.reactor.seconds()
        self.send(number)
        try:
            await self.child.when_ended().addTimeout(patience, self.reactor)
        except TimeoutError:
            self.send(signal.SIGKILL)
            await self.child.when_ended()
        return float(self.reactor.seconds() - began)

    def kill(self) -> Deferred[None]:
        """End it at once."""
        self.down = True
        self.send(signal.SIGKILL)
        return self.child.when_ended()
