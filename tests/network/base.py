"""What the tests of whole networks share: a network that must be empty again at the end of each test."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, cast

from twisted.internet.endpoints import connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase

from tests.testing.recorders import Recorder, Servers
from torpydo.net import StreamTransport
from torpydo.node.bounds import Keeper
from torpydo.node.carrier import OwnCarrier
from torpydo.node.router import Router
from torpydo.testing import LocalNetwork
from torpydo.testing.members import NodeMember


class Echo(Protocol):
    """Sends back what comes."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


class NetworkTestCase(SynchronousTestCase):
    """Starts networks, and looks at their end whether anything was left in a node."""

    network: LocalNetwork

    def start(self, *, client: bool = True, **options: Any) -> LocalNetwork:
        """A network that runs; its end is checked."""
        network = self.network = LocalNetwork(**options)
        self.addCleanup(self.finish, network)
        if client:
            network.start()
        else:
            network.start_servers()
        return network

    def finish(self, network: LocalNetwork) -> None:
        """Close the clients: no node may keep a circuit, a stream or a byte, or have lost count of them (row F9)."""
        self.waiting(network)
        network.heal()
        for member in network.clients:
            network.success(member.stop())
        for node in network.nodes:
            if node.dht is not None and node.alive:
                # They ask each other for as long as they live.
                node.dht.stop()
        network.advance(5)
        self.assertEqual(self.waiting(network), 0)
        for node in network.nodes:
            status = node.status()
            self.assertEqual((status.circuits, status.streams, status.queued), (0, 0, 0), node.name)
        network.close()

    def waiting(self, network: LocalNetwork) -> int:
        """For each node, what its circuits keep, and streams that outlived theirs, is what it says; gives the sum."""
        total = 0
        for node in network.nodes:
            if node.alive and node.service is not None and node.service.running:
                router = router_of(node)
                keepers: set[Keeper] = set(router._circuits.values())
                keepers |= {one for one in router._exits._lingering if one in router._waiting._holders}
                waiting = sum([keeper.queued for keeper in keepers])
                self.assertEqual(node.status().queued, waiting, node.name)
                total += waiting
        return total

    def connect(
        self,
        where: tuple[str, int],
        kind: type[Recorder] = Recorder,
        *,
        isolation: Hashable = None,
    ) -> Recorder:
        """A stream of the client, open."""
        endpoint = self.network.client.endpoint(*where, isolation=isolation)
        return self.network.success(connectProtocol(endpoint, kind()))

    def pair(self, kind: type[Recorder] = Recorder, server: type[Recorder] | None = None) -> tuple[Recorder, Recorder]:
        """Both ends of a stream: the client's and the destination's."""
        servers = Servers(server or kind)
        client = self.connect(self.network.serve(servers), kind)
        return client, servers.built[0]

    def echo(self) -> tuple[str, int]:
        """A destination that sends back what comes."""
        return self.network.serve(Factory.forProtocol(Echo), 7)


def router_of(node: NodeMember) -> Router:
    """What carries its circuits."""
    assert node.service is not None and node.service._parts is not None
    return cast(OwnCarrier, node.service._parts.carrier).router


def stream(protocol: Recorder) -> StreamTransport:
    """The transport of a client's stream, as what it is."""
    return cast(StreamTransport, protocol.transport)
