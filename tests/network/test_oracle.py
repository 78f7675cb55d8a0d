"""The oracle finds what it is to find: each of these is one thing that is wrong, and is named."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.logger import Logger

from tests.network.base import NetworkTestCase, router_of, stream
from tests.network.oracle import Oracle
from tests.testing.recorders import Recorder, Servers
from torpydo.testing import SimulationError

LOG = Logger()


class OracleTests(NetworkTestCase):
    """A network that works, until something is left over in it."""

    def setUp(self) -> None:
        self.start(latency=0.01)
        self.oracle = Oracle(self, self.network)

    def assert_found(self, *words: str) -> None:
        """It is said, and a check fails."""
        problems = "; ".join(self.oracle.problems())
        for word in words:
            self.assertIn(word, problems)
        with self.assertRaises(self.failureException):
            self.oracle.check(recovery=1.0)

    def test_nothing(self) -> None:
        """A network that works has no problems, at once, much later and after traffic."""
        self.assertEqual(list(self.oracle.problems()), [])
        self.oracle.check()
        self.network.success(self.network.add_client())
        self.oracle.check("two clients", recovery=200.0)

    def test_stream(self) -> None:
        """One that is open, at the client and at the exit."""
        client, _ = self.pair()
        self.assert_found("client1 has 1 streams", "has 1 streams")
        stream(client).loseConnection()
        self.network.advance(1)

    def test_bytes(self) -> None:
        """Some that wait, here for an application that does not read."""
        client, server = self.pair()
        stream(client).pauseProducing()
        server.tcp.write(bytes(500_000))
        self.network.advance(1)
        self.assert_found("bytes wait in it")
        stream(client).resumeProducing()
        stream(client).loseConnection()
        self.network.advance(1)

    def test_circuit(self) -> None:
        """One that a node has and no client knows."""
        circuit: Any = self.network.success(self.network.client.build_circuit())
        names = [node.nickname for node in circuit.path]
        self.assert_found(f"{names[0]} has", "circuits, its clients know of")
        circuit.close()
        self.network.advance(1)

    def test_circuit_that_a_node_has_lost(self) -> None:
        """One that a client believes in."""
        node = next(node for node in self.network.nodes if node.status().circuits)
        before = node.status().circuits
        router_of(node)._count -= 1
        self.assert_found(f"{node.name} has {before - 1} circuits, its clients know of {before}")
        router_of(node)._count += 1

    def test_link(self) -> None:
        """A connection that is no link."""
        node = self.network.nodes[0]
        endpoint = TCP4ClientEndpoint(self.network.reactor, node.ip, node.port)
        stranger = self.network.success(connectProtocol(endpoint, Recorder()))
        self.network.advance(0.1)
        self.assert_found(f"{node.name} has", "connections")
        stranger.tcp.abortConnection()
        self.network.advance(1)

    def test_link_of_a_client(self) -> None:
        """A connection that the client has beside its links."""
        member = self.network.clients[0]
        node = self.network.nodes[0]
        endpoint = TCP4ClientEndpoint(member.reactor, node.ip, node.port)
        stranger = self.network.success(connectProtocol(endpoint, Recorder()))
        self.network.advance(0.1)
        self.assert_found("client1 has 1 links on 2 connections")
        stranger.tcp.abortConnection()
        self.network.advance(1)

    def test_nobody(self) -> None:
        """A network that works for nobody is not known to work."""
        self.network.kill(self.network.clients[0])
        with self.assertRaisesRegex(self.failureException, "no client is left"):
            self.oracle.check()

    def test_half_open(self) -> None:
        """A connection that only one end knows."""
        servers = Servers()
        where = self.network.serve(servers, 99)
        reactor = self.network.reactor.host("10.9.9.9")
        destination = self.network.destinations[where[0]]
        endpoint = TCP4ClientEndpoint(reactor, destination.ip, 99)
        client = self.network.success(connectProtocol(endpoint, Recorder()))
        self.network.advance(0.1)
        destination.reactor.freeze()
        client.tcp.abortConnection()
        self.network.advance(1)
        self.assert_found("a connection is left over")
        destination.reactor.thaw()
        self.network.advance(1)

    def test_timed_calls(self) -> None:
        """Two of a kind."""
        calls = [self.network.nodes[1].reactor.callLater(1000, sorted, ()) for _ in range(2)]
        self.assert_found("node2 waits for 2 calls of sorted")
        for call in calls:
            call.cancel()

    def test_logged_error(self) -> None:
        """One that nobody expected."""
        try:
            raise ZeroDivisionError("a bug")
        except ZeroDivisionError:
            LOG.failure("it is logged")
        with self.assertRaises(self.failureException):
            self.oracle.check()

    def test_transfer(self) -> None:
        """Nodes that carry nothing."""
        for node in self.network.nodes:
            self.network.freeze(node)
        with self.assertRaises(SimulationError):
            self.oracle.transfer(self.network.clients[0])
        for node in self.network.nodes:
            self.network.thaw(node)
        self.network.advance(100)
