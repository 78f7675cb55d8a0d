"""Measures the lines of ``onionlines``: an onion service on a network of its own, as those who visit it see it.

The service is a process in front of the destination of all loads. First connections are made by this process, with a
client that was made for one of them; the loads go through the proxy of a client that has a process of its own.
"""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.python.filepath import FilePath

from torpydo.cli.bench.figures import Figure
from torpydo.cli.bench.onionlines import NEAR, ONION_KEYS, ONION_LINES, ONION_LOADS
from torpydo.cli.bench.tasks import Tasks
from torpydo.cli.bench.together import watched
from torpydo.cli.constants import LOOPBACK
from torpydo.cli.network import ProcessNetwork
from torpydo.cli.processes import ChildProcesses, free_port
from torpydo.client import Client
from torpydo.errors import TorpydoError

__all__ = ["OnionPlan", "Onions"]

NODES = 6
PORT = 80
"""Of the service."""
SERVICE = "service"
"""The name of its state directory."""
# Seconds.
READY_TIME = 60.0
LOOK = 0.1
# Visits before the first that counts: what runs for the first time has then run, and nodes have links to each other.
WARM_UP = 3


@attrs.frozen
class OnionPlan:
    """How much is measured."""

    keys: frozenset[str] = frozenset(ONION_KEYS)
    runs: int = 3
    visits: int = 10
    """First connections in each run, of a client or of a user."""
    seconds: float = 3.0
    """Of a bulk transfer."""
    size: int = sys.maxsize
    """Bytes of it, at the most."""
    trips: int = 200
    opens: int = 50
    settle: float = 0.5
    """Seconds that a client is left alone once it is ready."""

    @classmethod
    def short(cls, keys: Iterable[str] = ONION_KEYS) -> OnionPlan:
        """Enough to show that it works."""
        return cls(frozenset(keys), 1, 2, 5.0, 2_000_000, 3, 3, 0.05)

    @property
    def loads(self) -> list[str]:
        """Those that are run."""
        return [load for load, key in ONION_LOADS.items() if key in self.keys]


@attrs.define(eq=False)
class Onions:
    """Measures.

    :param directory: an empty one, which is removed by whoever made it
    :param say: told what is measured next
    """

    reactor: Any
    directory: FilePath[str]
    plan: OnionPlan
    say: Callable[[str], None]
    figures: list[Figure] = attrs.field(factory=list)
    name: str = ""
    """The service's."""
    server_port: int = 0
    _network: ProcessNetwork = attrs.field(init=False)
    _service: ChildProcesses = attrs.field(init=False)
    """The service in its present life."""
    _lives: int = 0

    def __attrs_post_init__(self) -> None:
        self._network = ProcessNetwork(self.reactor, self.directory, secrets.randbelow, time.time)
        self._service = ChildProcesses(self.reactor, self.directory)

    async def measure(self) -> list[Figure]:
        """Measure every line that the plan asks for; what was started is ended, whatever happens."""
        self.say("starting a network with an onion service")
        try:
            await watched(self.reactor, self._lines(), self._check)
        finally:
            await self._service.end()
            await self._network.processes.end()
        self.figures.sort(key=lambda figure: ONION_KEYS.index(figure.key))
        return self.figures

    def _add(self, key: str, samples: Sequence[float]) -> None:
        self.figures.append(Figure(key, "torpydo", NEAR, ONION_LINES[key].unit, tuple(samples)))

    async def _lines(self) -> None:
        keys = self.plan.keys
        await self._start()
        if "onion_first" in keys:
            self.say("measuring onion services: first connections")
            self._add("onion_first", await self._first())
        if self.plan.loads:
            await self._loads()
        # Last: it ends the service.
        if "onion_publish" in keys:
            self.say("measuring onion services: a service that starts again")
            self._add("onion_publish", [await self._publish() for _ in range(self.plan.runs)])

    # -- The network

    async def _start(self) -> None:
        network = self._network
        self.server_port = free_port(secrets.randbelow)
        network.processes.start("destination", "-m", "torpydo.cli.bench.server", str(self.server_port))
        await network.until_listening(self.server_port, "the destination does not listen")
        await network.start_pool()
        nodes = [network.start_node(f"node{number}") for number in range(1, NODES + 1)]
        await network.until_listed(NODES)
        await network.until_known(nodes)
        self._start_service()
        status = await network.until_status(
            SERVICE, lambda now: bool(now.get("reachable")), READY_TIME, "the onion service cannot be found"
        )
        self.name = status["name"]

    def _start_service(self) -> None:
        self._lives += 1
        # What it says goes into a new file.
        place = self.directory.child(f"life{self._lives}")
        place.makedirs()
        self._service = ChildProcesses(self.reactor, place)
        self._network.start_service(self._service, SERVICE, f"{PORT}:{LOOPBACK}:{self.server_port}")

    async def _kill_service(self) -> None:
        gone, self._service = self._service, ChildProcesses(self.reactor, self.directory)
        for child in gone:
            child.signal("KILL")
            await child.when_ended()

    def _check(self) -> None:
        self._network.processes.check()
        self._service.check()

    # -- Visits

    @asynccontextmanager
    async def _visitor(self) -> AsyncIterator[Client]:
        """A client that is ready and has never heard of the service."""
        client = await Client.create(self.reactor, [self._network.pool_url], None)
        try:
            # It still builds circuits, for whatever may be asked of it.
            await deferLater(self.reactor, self.plan.settle, lambda: None)
            yield client
        finally:
            await client.close()

    async def _visit(self, client: Client) -> None:
        await connectProtocol(client.endpoint(self.name, PORT), Protocol())

    async def _first(self) -> list[float]:
        taken = []
        for _ in range(WARM_UP + self.plan.runs * self.plan.visits):
            async with self._visitor() as client:
                asked = self.reactor.seconds()
                await self._visit(client)
                taken.append(1000 * (self.reactor.seconds() - asked))
        return taken[WARM_UP:]

    async def _publish(self) -> float:
        """Seconds from the start of a service that has lived before to somebody's first connection."""
        await self._kill_service()
        async with self._visitor() as client:
            began = self.reactor.seconds()
            self._start_service()
            while True:
                try:
                    await self._visit(client)
                    return float(self.reactor.seconds() - began)
                except ConnectError as error:
                    if self.reactor.seconds() - began > READY_TIME:
                        raise TorpydoError(
                            f"nobody reaches the service {READY_TIME:.0f} seconds after its start: {error}"
                        ) from None
                await deferLater(self.reactor, LOOK, lambda: None)

    # -- Loads

    async def _loads(self) -> None:
        network, plan = self._network, self.plan
        socks_port = free_port(secrets.randbelow)
        await network.start_client(socks_port, free_port(secrets.randbelow))
        await network.until_status(
            "client", lambda now: bool(now.get("ready")), READY_TIME, "the client has no circuit"
        )
        tasks = Tasks(self.reactor, self.directory)
        for load in plan.loads:
            self.say(f"measuring onion services: {load}")
            opens = plan.visits if load == "new_user" else plan.opens
            found = await tasks.run(
                f"{load} of an onion service", "torpydo.cli.bench.loads", load, f"--host={self.name}",
                f"--server={PORT}", f"--own-port={self.server_port}", f"--socks={socks_port}", f"--runs={plan.runs}",
                f"--seconds={plan.seconds}", f"--bytes={plan.size}", f"--trips={plan.trips}", f"--opens={opens}",
            )  # fmt: skip
            self._add(ONION_LOADS[load], found["samples"][load])
