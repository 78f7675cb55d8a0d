"""The network that is soaked: pools, nodes, clients and a destination, each a process as an operator starts it."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import attrs
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.python.filepath import FilePath

from tests.soak.processes import NO_LIMITS, Limits, Member
from tests.soak.traffic import LOOPBACK, Ports
from torpydo.apps.status import read_status
from torpydo.cli.network import until_listening
from torpydo.cli.processes import free_port, wait_until
from torpydo.crypto import NodeId
from torpydo.errors import StateError, TorpydoError
from torpydo.net import DEBUGGABLE
from torpydo.testing import FaultProxy

__all__ = ["Network", "Size"]

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]
STOP_TIME = 5.0
"""Seconds in which a service ends after SIGTERM, whatever it is doing (SECURITY Z3)."""
_NODE_ID = re.compile(r"the node ([a-z2-7]{52}) listens")


@attrs.frozen
class Size:
    """How many there are of each."""

    pools: int = 3
    nodes: int = 8
    clients: int = 2
    proxied: int = 2
    """Of the nodes, the last ones: everybody reaches them through a proxy that can do wrong."""

    @property
    def threshold(self) -> int:
        """Pools that must list a node."""
        return self.pools // 2 + 1

    @property
    def exits(self) -> int:
        """Nodes that open connections to this machine: more than half, so that some may be away."""
        return self.nodes // 2 + 1


class Network:
    """All processes.

    :param directory: an empty one
    :param random: chooses the ports
    :param patience: by how much everything may take longer than it must
    """

    python = sys.executable

    def __init__(self, reactor: Any, directory: FilePath[str], size: Size, random: Random, patience: float) -> None:
        self.reactor = reactor
        self.directory = directory
        self.size = size
        self.patience = patience
        self._random = random
        self._ports: dict[str, int] = {}
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.lower().endswith("_proxy") and name != "TORPYDO_POOLS"
        } | {"PYTHONPATH": path, "LC_ALL": "C.UTF-8", DEBUGGABLE: "1"}
        self.pools = [self._pool(f"pool{number + 1}") for number in range(size.pools)]
        self.nodes: list[Member] = []
        self.clients: list[Member] = []
        self.proxies = {f"node{number + 1}": self._proxy(number) for number in range(size.nodes)[-size.proxied :]}
        server = str(self.port("destination"))
        command = [self.python, "-m", "tests.soak.destination", server]
        self.destination = self._member("destination", command)

    # -- What it is made of

    def port(self, name: str) -> int:
        """The port of a process, the same one each time it is started."""
        while name not in self._ports:
            port = free_port(self._random.randrange)
            if port not in self._ports.values():
                self._ports[name] = port
        return self._ports[name]

    def _member(self, name: str, command: list[str]) -> Member:
        return Member(self.reactor, name, self.directory, command, self.environment)

    def _listen(self, name: str) -> str:
        return f"tcp:{self.port(name)}:interface={LOOPBACK}"

    def state(self, name: str) -> FilePath[str]:
        """The state directory of a process."""
        return self.directory.child(name)

    def _twistd(self, name: str, service: str, *options: str) -> Member:
        state = f"--state-dir={self.state(name).path}"
        return self._member(name, [str(BIN / "twistd"), "-n", "--pidfile=", service, state, *options])

    def _pool(self, name: str) -> Member:
        return self._twistd(
            name, "torpydo-pool", f"--listen={self._listen(name)}", "--test-network", "--requested-delay=4",
            "--deprecation-delay=20", "--gc-cycle=4",
        )  # fmt: skip

    @property
    def pool_urls(self) -> list[str]:
        """As the pools have written them."""
        return [self.state(pool.name).child("pool.url").getContent().decode().strip() for pool in self.pools]

    def _proxy(self, number: int) -> FaultProxy:
        name = f"node{number + 1}"
        listen = TCP4ServerEndpoint(self.reactor, self.port(f"{name} proxy"), interface=LOOPBACK)
        return FaultProxy(self.reactor, listen, TCP4ClientEndpoint(self.reactor, LOOPBACK, self.port(name)))

    def _node(self, number: int) -> Member:
        name = f"node{number + 1}"
        policy = "accept 127.0.0.0/8:*" if number < self.size.exits else ""
        port = self.port(f"{name} proxy" if name in self.proxies else name)
        return self._twistd(
            name, "torpydo-node", f"--listen={self._listen(name)}", f"--advertise={LOOPBACK}:{port}",
            f"--nickname={name}", f"--exit-policy={policy}", *(f"--pool={url}" for url in self.pool_urls),
        )  # fmt: skip

    def _client(self, number: int) -> Member:
        name = f"client{number + 1}"
        return self._twistd(
            name, "torpydo-client", f"--socks={self._listen(name)}", f"--http={self._listen(name + ' http')}",
            f"--pool-threshold={self.size.threshold}", *(f"--pool={url}" for url in self.pool_urls),
        )  # fmt: skip

    @property
    def members(self) -> list[Member]:
        """All of them, in the order in which they are started."""
        return [*self.pools, *self.nodes, self.destination, *self.clients]

    @property
    def services(self) -> list[Member]:
        """Those that are what is tested."""
        return [*self.pools, *self.nodes, *self.clients]

    @property
    def unproxied(self) -> list[Member]:
        """The nodes that everybody reaches as they are."""
        return [node for node in self.nodes if node.name not in self.proxies]

    @property
    def exits(self) -> list[Member]:
        """The nodes that open connections."""
        return self.nodes[: self.size.exits]

    @property
    def doors(self) -> list[Ports]:
        """The clients' ports."""
        return [Ports(self.port(client.name), self.port(client.name + " http")) for client in self.clients]

    @property
    def links(self) -> int:
        """Sockets to other nodes and to clients that a node may have, in use or kept."""
        return 2 * (self.size.nodes + self.size.clients)

    def node_id(self, node: Member) -> NodeId:
        """Who a node is: it says so when it starts."""
        match = _NODE_ID.search(node.child.said())
        assert match is not None, f"{node.name} has not said its id"
        return NodeId.parse(match[1])

    # -- Start and end

    async def start(self) -> None:
        """Start everything, and wait until circuits can be built.

        :raises TorpydoError: if that does not happen
        """
        for proxy in self.proxies.values():
            await proxy.start()
        for pool in self.pools:
            pool.start()
        self.destination.start()
        for pool in self.pools:
            await self.listening(pool)
            await self._until(self.state(pool.name).child("pool.url").exists, 30.0, f"{pool.name} has no URL")
        self.nodes = [self._node(number) for number in range(self.size.nodes)]
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            await self.listed(node)
        self.clients = [self._client(number) for number in range(self.size.clients)]
        for client in self.clients:
            client.start()
        await self.listening(self.destination)
        for client in self.clients:
            await self.ready(client)

    async def end(self) -> dict[Member, float]:
        """End everything that runs, clients first.

        :returns: how many seconds each has taken
        """
        seconds: dict[Member, float] = {}
        for members in ([*self.clients, self.destination], self.nodes, self.pools):
            running = [member for member in members if member.is_alive]
            for member in running:
                # It may be frozen.
                member.send(signal.SIGCONT)
            ends = [Deferred.fromCoroutine(member.end(patience=2 * STOP_TIME * self.patience)) for member in running]
            seconds |= zip(running, await gatherResults(ends), strict=True)
        for proxy in self.proxies.values():
            await proxy.stop()
        return seconds

    def broken(self) -> list[str]:
        """What is wrong with any of the processes, each told once."""
        return [line for member in self.members for line in member.broken()]

    def _check(self) -> None:
        for member in self.members:
            if not member.down and not member.is_alive:
                raise TorpydoError(
                    f"{member.name} ended by itself ({member.child.ended_with}): {member.child.last_line()}"
                )

    # -- Waiting

    async def _until(self, true: Callable[[], bool | Deferred[bool]], seconds: float, what: str) -> None:
        await wait_until(self.reactor, true, timeout=seconds * self.patience, what=what, alive=self._check)

    async def listening(self, member: Member) -> None:
        """Wait until it accepts connections."""
        what = f"{member.name} does not listen"
        await until_listening(self.reactor, self.port(member.name), what, self._check)

    def is_up(self, service: Member) -> bool:
        """Whether a pool, node or client has begun its work, signals included."""
        words = (" listens on ", "the pool is at ")
        return service.is_alive and any(service.child.has_said(word) for word in words)

    async def listed(self, node: Member) -> None:
        """Wait until enough pools list it."""
        needed = self.size.threshold
        await self._until(
            lambda: node.child.said().count(" lists this node") >= needed, 60.0, f"{node.name} is not listed"
        )

    async def ready(self, client: Member) -> None:
        """Wait until a client can build circuits."""

        async def is_ready() -> bool:
            return bool((await self.status(client)).get("ready"))

        await self._until(lambda: Deferred.fromCoroutine(is_ready()), 60.0, f"{client.name} is not ready")

    async def status(self, service: Member) -> dict[str, Any]:
        """What a client or a node says of itself; empty if it does not answer."""
        try:
            return await read_status(self.reactor, self.state(service.name).path)
        except StateError:
            return {}

    async def restart(
        self, member: Member, number: int, limits: Limits = NO_LIMITS, options: Sequence[str] = ()
    ) -> float:
        """End it with a signal, and start it again, perhaps with more options than usual.

        :returns: seconds that its end took
        """
        seconds = await member.end(number, patience=2 * STOP_TIME * self.patience)
        member.start(limits, options)
        return seconds

    def paths(self, status: dict[str, Any]) -> Iterator[list[str]]:
        """The names of the nodes of each circuit that carries streams."""
        for circuit in status.get("circuits", ()):
            if circuit["streams"]:
                yield list(circuit["path"])

    def named(self, name: str) -> Member:
        """A process by its name."""
        return next(member for member in self.members if member.name == name)
