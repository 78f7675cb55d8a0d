"""Case 4: a connection ends in one direction only, at the destination, at the exit, between nodes and at the client."""

from __future__ import annotations

from twisted.internet.endpoints import connectProtocol

from tests.faults.base import DATA, FaultTestCase, stream
from tests.testing.recorders import HalfRecorder, Servers
from torpydo.testing import FaultProxy, HalfClose

CUT = 123_456
"""Bytes that come through before the end."""


class DestinationTests(FaultTestCase):
    """Between exit and destination: half-close is what streams can do, too."""

    def open(self) -> tuple[FaultProxy, HalfRecorder, HalfRecorder]:
        """The proxy before a destination, and both ends of a stream to it."""
        self.start()
        servers = Servers(HalfRecorder)
        host, port = self.network.serve(servers)
        proxy = self.network.intercept(self.network.destinations[host], port)
        client = self.network.success(connectProtocol(self.network.client.endpoint(host, port), HalfRecorder()))
        server = servers.built[0]
        assert isinstance(server, HalfRecorder)
        return proxy, client, server

    def close(self, client: HalfRecorder, server: HalfRecorder) -> None:
        """The other direction still carries everything; then nothing is left."""
        server.tcp.loseConnection()
        stream(client).loseConnection()
        self.network.advance(2)
        self.assertEqual(len(client.lost), 1)
        self.oracle.check()

    def test_end_of_the_destination(self) -> None:
        """The client gets what came before, is told of the end, and goes on sending."""
        proxy, client, server = self.open()
        proxy.set(to_source=[HalfClose(CUT)])
        server.tcp.write(DATA)
        self.network.advance(2)
        self.assertEqual((bytes(client.data), client.ends, client.lost), (DATA[:CUT], ["read"], []))
        stream(client).write(DATA)
        self.network.advance(2)
        self.assertEqual((bytes(server.data), proxy.done), (DATA, {HalfClose: 1}))
        self.close(client, server)

    def test_end_of_the_exit(self) -> None:
        """The destination gets what came before, is told of the end, and its answer still comes through."""
        proxy, client, server = self.open()
        proxy.set(to_target=[HalfClose(CUT)])
        stream(client).write(DATA)
        self.network.advance(2)
        self.assertEqual((bytes(server.data), server.ends), (DATA[:CUT], ["read"]))
        server.tcp.write(DATA)
        self.network.advance(2)
        self.assertEqual((bytes(client.data), client.lost, proxy.done), (DATA, [], {HalfClose: 1}))
        self.close(client, server)


class LinkTests(FaultTestCase):
    """On a link: it has no half, so its end is the end of its circuits, and never a clean one of their streams."""

    def cut(self, place: int, forward: bool) -> None:
        """Before the node at *place*, in one direction."""
        network = self.network
        client, server = self.pair()
        proxy = self.proxies[self.path()[place].name]
        before = proxy.done[HalfClose]
        for connection in proxy.connections.values():
            cuts = [HalfClose(line.received + CUT) for line in (connection.to_target, connection.to_source)]
            connection.set(*(([cuts[0]], []) if forward else ([], [cuts[1]])))
        stream(client).write(DATA)
        server.tcp.write(DATA)
        network.advance(2)
        self.assertEqual(proxy.done[HalfClose], before + 1)
        self.assertEqual(self.names(client), ["ConnectionLost"], (place, forward))
        self.assertEqual(self.names(server), ["ConnectionLost"], (place, forward))
        for recorder in (client, server):
            self.assertTrue(DATA.startswith(bytes(recorder.data)))
        self.assertLess(len(server.data if forward else client.data), len(DATA))
        proxy.heal()
        # Those that were lost with it are built anew.
        network.advance(5)

    def test_each_place(self) -> None:
        """Before each of three nodes, in each direction."""
        self.proxies = self.start_behind_proxies()
        for place in (0, 1, 2):
            for forward in (True, False):
                self.cut(place, forward)
        self.oracle.check()
