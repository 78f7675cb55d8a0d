"""What stands beside the networks in the table: a direct TCP connection, and the bare pipeline.

Both are at the same distance as a circuit of three hops; neither knows circuits.
"""

from __future__ import annotations

from typing import ClassVar

import attrs

from torpydo.cli.bench.pipeline import PLACES
from torpydo.cli.bench.systems import Place
from torpydo.cli.network import until_listening
from torpydo.cli.processes import ChildProcesses, free_port

__all__ = ["Direct", "Floor", "Pipeline"]

HOPS = 3


@attrs.define(eq=False)
class Direct:
    """Nothing but TCP, through as many lines as a circuit has links."""

    place: Place
    server_port: int

    name: ClassVar[str] = "direct"
    without: ClassVar[frozenset[str]] = frozenset()
    """Loads that would measure nothing here."""

    async def start(self) -> int:
        """Lines one before the other.

        :returns: the port to which loads connect
        """
        port = self.server_port
        for _ in range(HOPS):
            port = await _line_before(port, self.place)
        return port

    async def stop(self) -> None:
        """Nothing is left to end: the lines are the place's."""


@attrs.define(eq=False)
class Pipeline:
    """Cells and records in processes without a network around them."""

    place: Place
    server_port: int
    _processes: ChildProcesses = attrs.field(init=False)

    name: ClassVar[str] = "pipeline"
    # The first process accepts at once, whatever is behind it.
    without: ClassVar[frozenset[str]] = frozenset({"open_stream"})
    """Loads that would measure nothing here."""

    def __attrs_post_init__(self) -> None:
        self._processes = ChildProcesses(self.place.reactor, self.place.directory)

    async def start(self) -> int:
        """From the destination towards the application, each place before the next.

        :returns: the port to which loads connect
        """
        target = self.server_port
        for place in reversed(PLACES):
            port = free_port(self.place.randbelow)
            self._processes.start(
                f"pipeline {place}", "-m", "torpydo.cli.bench.pipeline", place, str(port), str(target)
            )
            what = f"the pipeline's {place} does not listen"
            await until_listening(self.place.reactor, port, what, self._processes.check)
            target = port if place == "client" else await _line_before(port, self.place)
        return target

    async def stop(self) -> None:
        """End what it started."""
        await self._processes.end()


Floor = Direct | Pipeline
"""Something that forwards to the destination."""


async def _line_before(port: int, place: Place) -> int:
    """The port of a line that listens, or *port* when there is no line."""
    line = place.lines.before(port)
    if line != port:
        await until_listening(place.reactor, line, "a delay line does not listen", place.check)
    return line
