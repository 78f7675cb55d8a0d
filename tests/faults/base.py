"""What the tests of faults share: a network, its oracle, and a transfer to disturb."""

from __future__ import annotations

from collections.abc import Hashable
from random import Random
from typing import Any

from twisted.internet.endpoints import connectProtocol

from tests.network.base import NetworkTestCase, stream
from tests.network.oracle import Oracle
from tests.testing.recorders import Recorder, Servers
from torpydo.client import Circuit
from torpydo.testing import FaultProxy, LocalNetwork
from torpydo.testing.members import NodeMember

LATENCY = 0.01
DATA = Random(7).randbytes(600_000)
"""What is transferred when the transfer is to be disturbed."""


class FaultTestCase(NetworkTestCase):
    """A network, in which something goes wrong."""

    oracle: Oracle

    def start(self, *, client: bool = True, latency: float = LATENCY, **options: Any) -> LocalNetwork:
        """A network that runs, with an oracle."""
        network = super().start(client=client, latency=latency, **options)
        self.oracle = Oracle(self, network)
        return network

    def start_behind_proxies(self, **options: Any) -> dict[str, FaultProxy]:
        """A network that runs, with a proxy before each node and the pool; gives those, by name."""
        network = self.network = LocalNetwork(**{"latency": LATENCY, **options})
        self.addCleanup(self.finish, network)
        self.oracle = Oracle(self, network)
        proxies = {member.name: network.intercept(member) for member in (network.pool, *network.nodes)}
        network.start()
        return proxies

    def node(self, name: str) -> NodeMember:
        """The node of that name."""
        return next(node for node in self.network.nodes if node.name == name)

    def path(self) -> list[NodeMember]:
        """The nodes of the circuit that has streams."""
        circuits = self.network.client.status().circuits
        return [self.node(name) for name in next(circuit.path for circuit in circuits if circuit.streams)]

    def circuit(self, *nodes: NodeMember) -> Circuit:
        """A circuit of the client through these nodes."""
        path = [node.node_id for node in nodes] if nodes else None
        circuit = self.network.success(self.network.client.build_circuit(path=path))
        assert isinstance(circuit, Circuit)
        return circuit

    def pair_on(self, circuit: Circuit, kind: type[Recorder] = Recorder) -> tuple[Recorder, Recorder]:
        """Both ends of a stream on that circuit."""
        servers = Servers(kind)
        client = self.network.success(connectProtocol(circuit.endpoint(*self.network.serve(servers)), kind()))
        return client, servers.built[0]

    def fresh_pair(self, isolation: Hashable) -> tuple[Recorder, Recorder]:
        """Both ends of a stream, on a circuit that no other isolation key uses."""
        servers = Servers()
        client = self.connect(self.network.serve(servers), isolation=isolation)
        return client, servers.built[0]

    def names(self, recorder: Recorder) -> list[str]:
        """How it ended."""
        return [reason.__name__ for reason in recorder.lost]


__all__ = ["DATA", "LATENCY", "FaultTestCase", "stream"]
