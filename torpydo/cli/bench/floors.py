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
class Floor:
    """Something that forwards to the destination.

    :ivar port: where loads connect, once :meth:`start` has returned
    """

    place: Place
    server_port: int
    port: int = 0
    _processes: ChildProcesses = attrs.field(init=False)

    name: ClassVar[str] = ""
    without: ClassVar[frozenset[str]] = frozenset()
    """Loads that would measure nothing here."""

    def __attrs_post_init__(self) -> None:
        self._processes = ChildProcesses(self.place.reactor, self.place.directory)

    async def start(self) -> None:
        """Start what it needs."""
        raise NotImplementedError

    async def stop(self) -> None:
        """End what it started."""
        await self._processes.end()


class Direct(Floor):
    """Nothing but TCP, through as many lines as a circuit has links."""

    name = "direct"

    async def start(self) -> None:
        """Lines one before the other."""
        self.port = self.server_port
        for _ in range(HOPS):
            self.port = self.place.lines.before(self.port)
            if self.port != self.server_port:
                await until_listening(
                    self.place.reactor, self.port, "a delay line does not listen", self._processes.check
                )


class Pipeline(Floor):
    """Cells and records in processes without a network around them."""

    name = "pipeline"
    # The first process accepts at once, whatever is behind it.
    without = frozenset({"open_stream"})

    async def start(self) -> None:
        """From the destination towards the application, each place before the next."""
        target = self.server_port
        for place in reversed(PLACES):
            port = free_port(self.place.randbelow)
            self._processes.start(
                f"pipeline {place}", "-m", "torpydo.cli.bench.pipeline", place, str(port), str(target)
            )
            await self._listening(port, f"the pipeline's {place} does not listen")
            target = port if place == "client" else self.place.lines.before(port)
            await self._listening(target, "a delay line does not listen")
        self.port = target

    async def _listening(self, port: int, what: str) -> None:
        await until_listening(self.place.reactor, port, what, self._processes.check)
