"""What the benchmark needs of a network that it measures: the same for torpydo and for tor, so that loads are too.

A system is a network of processes on this machine with a SOCKS5 port in front. The network of torpydo is in
``torpydonet``, that of tor in ``tornet``; this module knows neither.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import attrs
from twisted.python.filepath import FilePath

__all__ = ["Conditions", "Lines", "Place", "System"]

MEGABIT_BYTES = 125_000


@attrs.frozen
class Conditions:
    """How far the nodes are from whoever connects to them."""

    delay: float = 0.0
    """Seconds that each direction of each link takes; 0 is no delay line at all."""
    megabits: float | None = None
    """Mbit/s that a node's line carries in each direction; ``None`` is no limit."""

    @property
    def has_line(self) -> bool:
        """Whether there is a delay line before the nodes."""
        return self.delay > 0 or self.megabits is not None

    @property
    def byte_rate(self) -> float | None:
        """Bytes a second that a node's line carries in each direction."""
        return None if self.megabits is None else self.megabits * MEGABIT_BYTES

    def __str__(self) -> str:
        """As figures name them: ``loopback``, ``25 ms``, ``25 ms, 100 Mbit/s``."""
        if not self.has_line:
            return "loopback"
        delay = f"{self.delay * 1000:g} ms"
        return delay if self.megabits is None else f"{delay}, {self.megabits:g} Mbit/s"


class Lines(Protocol):
    """Delay lines: the one way in which a system puts its nodes at a distance."""

    def before(self, port: int) -> int:
        """Start a line that forwards to 127.0.0.1:*port*.

        :returns: the port of 127.0.0.1 on which the line listens, to be advertised in place of *port*; *port* itself
            when the conditions ask for no line
        """


def _no_lines() -> None:
    """What is not there cannot end."""


@attrs.frozen
class Place:
    """Where a system is started: all that its constructor is given."""

    reactor: Any
    directory: FilePath[str]
    """An empty directory of its own; whoever made it removes it."""
    randbelow: Callable[[int], int]
    """Chooses ports, with :func:`torpydo.cli.processes.free_port`."""
    wall_clock: Callable[[], float]
    conditions: Conditions
    lines: Lines
    """Belongs to the benchmark, which ends it after the system."""
    check: Callable[[], None] = _no_lines
    """Raises if one of the lines has ended by itself."""


class System(Protocol):
    """A network that is measured.

    Loads go through :attr:`socks_port`. The user name of a SOCKS connection is its isolation: connections with one
    name share a circuit, connections with different names never do. Circuits have three hops, and the exit connects
    to any port of 127.0.0.1.
    """

    @property
    def name(self) -> str:
        """As figures name it: ``torpydo``, ``tor``, ``tor tuned``."""

    @property
    def socks_port(self) -> int:
        """The SOCKS5 port on 127.0.0.1, once :meth:`start` has returned."""

    async def start(self) -> None:
        """Start every process, and return when a circuit can be built through the SOCKS port.

        :raises TorpydoError: it says which part did not come up, and what to do. Whoever called it calls
            :meth:`stop` in that case too.
        """

    async def stop(self) -> None:
        """End every process that :meth:`start` started; harmless when there is none."""

    async def build_times(self, count: int) -> list[float]:
        """Build *count* circuits of three hops, one after the other, on links that are open.

        :returns: for each the seconds from asking for it to having it
        """

    async def builds_per_second(self, count: int) -> float:
        """Ask for *count* circuits of three hops at once.

        :returns: circuits built, divided by the seconds until the last was built
        """

    def check(self) -> None:
        """Raise if one of the processes has ended by itself.

        :raises TorpydoError: it names the process and shows its last line
        """
