"""The network of torpydo that is measured: a pool, five nodes and a client, each the command that a person types."""

from __future__ import annotations

from typing import Any

import attrs

from torpydo.cli.bench.systems import Place
from torpydo.cli.bench.tasks import Tasks
from torpydo.cli.network import ProcessNetwork
from torpydo.cli.processes import free_port
from torpydo.errors import TorpydoError

__all__ = ["TorpydoSystem"]

NODES = 5
# Seconds for the client to fetch the listing and build its first circuit.
READY_TIME = 30.0


@attrs.define(eq=False)
class TorpydoSystem:
    """A :class:`~torpydo.cli.bench.systems.System`."""

    place: Place
    name: str = "torpydo"
    socks_port: int = 0
    _network: ProcessNetwork = attrs.field(init=False)
    _tasks: Tasks = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        place = self.place
        self._network = ProcessNetwork(
            place.reactor, place.directory, place.randbelow, place.wall_clock, place.lines.before
        )
        self._tasks = Tasks(place.reactor, place.directory)

    async def start(self) -> None:
        """Start everything; the client's SOCKS port answers once a circuit can be built."""
        network = self._network
        await network.start_pool()
        nodes = [network.start_node(f"bench{number}") for number in range(1, NODES + 1)]
        await network.until_listed(NODES)
        self.socks_port = free_port(self.place.randbelow)
        await network.start_client(self.socks_port, free_port(self.place.randbelow))
        await network.until_status(
            "client", lambda status: bool(status.get("ready")), READY_TIME, "the client has no circuit"
        )
        await network.until_known(nodes)

    async def stop(self) -> None:
        """End everything."""
        await self._network.processes.end()

    def check(self) -> None:
        """Raise if something has ended by itself."""
        self._network.processes.check()

    async def build_times(self, count: int) -> list[float]:
        """In a client of its own, so that nothing but the circuits is measured."""
        found = await self._circuits("--one-by-one", count)
        return [float(value) for value in found]

    async def builds_per_second(self, count: int) -> float:
        """In a client of its own."""
        return float(await self._circuits("--at-once", count))

    async def _circuits(self, option: str, count: int) -> Any:
        try:
            return await self._tasks.run(
                "circuits", "torpydo.cli.bench.circuits", self._network.pool_url, f"{option}={count}"
            )
        except TorpydoError:
            self.check()
            raise
