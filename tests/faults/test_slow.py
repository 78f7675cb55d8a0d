"""Cases 5, 6, 7 and 8: applications, clients and strangers that take their time, and what it costs others.

The numbers are small ones; the soak has them in full.
"""

from __future__ import annotations

from typing import Any, cast

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory

from tests.faults.base import FaultTestCase, stream
from tests.network.oracle import Oracle
from tests.network.test_flow import Counter, Source
from tests.testing.recorders import Recorder, Servers
from torpydo.apps.httpproxy import HTTPProxyFactory
from torpydo.apps.socks import SocksFactory
from torpydo.client import Circuit
from torpydo.net import probe_link
from torpydo.testing import Conditions, Freeze, LocalNetwork, SimulatedReactor
from torpydo.tpdp import Address

LINE = 300_000
"""Bytes a second of what an exit sends."""
KILOBYTE = 1024
STREAM_BUFFER = 256 * KILOBYTE
"""SECURITY F4: what an exit buffers for a stream that is not read."""
STRANGERS = 150
HANDSHAKE_TIME = 11.0
"""Virtual seconds until a slow handshake is over (SECURITY L5)."""
CONNECT_TIME = 1.0


class Sipper(Counter):
    """An application that reads a kilobyte a second."""

    reactor: SimulatedReactor

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        transport: Any = self.transport
        transport.pauseProducing()
        self.reactor.callLater(len(data) / KILOBYTE, self.go_on)

    def go_on(self) -> None:
        """Read again."""
        transport: Any = self.transport
        if transport is not None:
            transport.resumeProducing()


class SlowReaderTests(FaultTestCase):
    """Case 5: an application that reads slowly."""

    def test_beside_another(self) -> None:
        """It holds up no other stream, not even of its own circuit, and little waits for it anywhere."""
        network = self.start(nodes=3)
        circuit = self.circuit()
        exit_node = next(node for node in network.nodes if node.node_id == circuit.path[-1].node_id)
        network.internet.ways.set(Conditions(latency=0.01, rate=LINE), source=exit_node.ip)
        source = network.serve(Factory.forProtocol(Source))
        other = network.success(connectProtocol(circuit.endpoint(*source), Counter()))
        network.advance(3)
        before = other.got
        network.advance(5)
        alone = other.got - before
        slow = Sipper()
        slow.reactor = network.clients[0].reactor
        network.success(connectProtocol(circuit.endpoint(*source), slow))
        network.advance(2)
        before = other.got
        for _ in range(58):
            network.advance(1)
            self.assertLess(exit_node.status().queued, STREAM_BUFFER + LINE)
            self.assertLess(network.client.status().queued, STREAM_BUFFER)
        self.assertGreater((other.got - before) / 58, 0.8 * alone / 5)
        # What it has read in a minute, and what one read of a stream brings at once.
        self.assertLess(slow.got, 60 * KILOBYTE + STREAM_BUFFER)
        circuit.close()
        network.internet.ways.set(Conditions(latency=0.01), source=exit_node.ip)
        self.oracle.check()


class SniperTests(FaultTestCase):
    """Case 6: a client that has much sent to it and does not read its link."""

    CIRCUITS = 12
    MEMORY = 2 * 1024 * KILOBYTE

    def test_beside_an_honest_client(self) -> None:
        """The guard stays below its cap by destroying circuits of the sniper; the honest client keeps its pace."""
        network = self.network = LocalNetwork(nodes=3, latency=0.01)
        for node in network.nodes:
            node.limits = attrs.evolve(node.limits, memory=self.MEMORY)
        self.addCleanup(self.finish, network)
        network.start()
        self.oracle = Oracle(self, network)
        guard = next(node for node in network.nodes if node.name == network.client.status().guard)
        others = [node for node in network.nodes if node is not guard]
        path = [node.node_id for node in (guard, *others)]
        source = network.serve(Factory.forProtocol(Source))
        network.internet.ways.set(Conditions(latency=0.01, rate=LINE), source=guard.ip, target=network.clients[0].ip)
        honest = cast(Circuit, network.success(network.client.build_circuit(path=path)))
        counter = network.success(connectProtocol(honest.endpoint(*source), Counter()))
        network.advance(2)
        before = counter.got
        network.advance(2)
        alone = (counter.got - before) / 2

        proxy = network.intercept(guard)
        sniper = network.success(network.add_client())
        circuits = []
        for _ in range(self.CIRCUITS):
            circuit = network.success(sniper.build_circuit(path=path))
            network.success(connectProtocol(circuit.endpoint(*source), Counter()))
            circuits.append(circuit)
        for connection in proxy.connections.values():
            if cast(IPv4Address, connection.peer).host == network.clients[1].ip:
                connection.set(to_source=[Freeze()])
        held = guard.status().circuits
        ahead = sum(guard.name in one.path for one in network.client.status().circuits)
        before, most = counter.got, 0
        for _ in range(10):
            network.advance(1)
            most = max(most, guard.status().queued)
        self.assertGreater(proxy.done[Freeze], 0)
        refused = guard.status().refused["memory"]
        self.assertGreater(refused, 0)
        # They are gone at every node, and none of them is the honest client's: its transfer goes on, below.
        self.assertEqual([node.status().circuits for node in network.nodes], [held - refused] * len(network.nodes))
        self.assertEqual(sum(guard.name in one.path for one in network.client.status().circuits), ahead)
        self.assertGreater(most, self.MEMORY // 2)
        self.assertLessEqual(most, self.MEMORY * 3 // 2)
        self.assertGreater((counter.got - before) / 10, 0.5 * alone)
        self.assertEqual(stream(cast(Recorder, counter)).disconnecting, False)
        network.kill(network.clients[1])
        network.advance(1)
        proxy.heal()
        honest.close()
        self.oracle.check()


class Dripper(Recorder):
    """Sends a byte a second, the beginning of something."""

    def __init__(self, reactor: SimulatedReactor, beginning: bytes) -> None:
        super().__init__()
        self.reactor = reactor
        self.beginning = beginning
        self.began = self.ended = 0.0

    def connectionMade(self) -> None:
        self.began = self.reactor.seconds()
        self.drip(0)

    def drip(self, place: int) -> None:
        """One byte."""
        if not self.lost:
            self.tcp.write(self.beginning[place : place + 1] or b"a")
            self.reactor.callLater(1.0, self.drip, place + 1)

    def connectionLost(self, reason: Any = None) -> None:
        super().connectionLost(reason)
        self.ended = self.reactor.seconds()


class SlowlorisTests(FaultTestCase):
    """Cases 7 and 8: many connections that never come to the point."""

    def drip_at(self, ip: str, port: int, beginning: bytes) -> list[Dripper]:
        """Strangers, each with a connection."""
        strangers = self.network.reactor.host("10.9.9.9")
        drippers = []
        for _ in range(STRANGERS):
            dripper = Dripper(strangers, beginning)
            connectProtocol(TCP4ClientEndpoint(strangers, ip, port), dripper).addErrback(lambda failure: None)
            drippers.append(dripper)
        self.network.advance(0.5)
        return drippers

    def assert_over(self, drippers: list[Dripper]) -> None:
        """Each has been closed in time."""
        self.network.advance(HANDSHAKE_TIME + CONNECT_TIME)
        for dripper in drippers:
            self.assertEqual(len(dripper.lost), 1)
            self.assertLessEqual(dripper.ended - dripper.began, HANDSHAKE_TIME)
        self.oracle.check()

    def test_link(self) -> None:
        """At a node's port, with something that could become a hello (case 7)."""
        network = self.start()
        node = network.nodes[0]
        drippers = self.drip_at(node.ip, node.port, b"x")
        for _ in range(20):
            begun = network.reactor.seconds()
            address = Address.parse(node.ip, node.port)
            network.success(probe_link(network.reactor, address, node.node_id, rng=node.rng()), CONNECT_TIME)
            self.assertLess(network.reactor.seconds() - begun, CONNECT_TIME)
            network.advance(0.3)
        self.assertEqual({bytes(dripper.data) for dripper in drippers}, {b""})
        self.assert_over(drippers)

    def test_pool(self) -> None:
        """At a pool's port, with a request whose head does not end (case 8)."""
        network = self.start()
        drippers = self.drip_at(network.pool.ip, network.pool.port, b"GET /v1/listing HTTP/1.1\r\nX: ")
        for _ in range(20):
            begun = network.reactor.seconds()
            self.assertEqual(len(network.listed()), 5)
            self.assertLess(network.reactor.seconds() - begun, CONNECT_TIME)
            network.advance(0.3)
        self.assert_over(drippers)

    def proxy(self, factory: Any, beginning: bytes, question: bytes, answer: bytes) -> None:
        """At a proxy of the client."""
        network = self.network
        reactor, ip = network.clients[0].reactor, network.clients[0].ip
        port = reactor.listenTCP(1080, factory, interface=ip)
        servers = Servers()
        host, number = network.serve(servers)
        drippers = self.drip_at(ip, 1080, beginning)
        begun = network.reactor.seconds()
        local = network.reactor.host("10.9.9.8")
        recorder = network.success(connectProtocol(TCP4ClientEndpoint(local, ip, 1080), Recorder()))
        recorder.tcp.write(question.replace(b"HOST", host.encode()))
        while not recorder.data.endswith(answer) and network.reactor.seconds() < begun + 5:
            network.advance(0.01)
        self.assertTrue(recorder.data.endswith(answer), bytes(recorder.data))
        self.assertLess(network.reactor.seconds() - begun, CONNECT_TIME)
        recorder.tcp.loseConnection()
        self.assert_over(drippers)
        network.success(port.stopListening())

    def test_socks(self) -> None:
        """At the SOCKS proxy, in the middle of its greeting."""
        network = self.start()
        factory = SocksFactory(network.client, network.clients[0].reactor)
        host = b"server1.example"
        question = b"\x05\x01\x00\x05\x01\x00\x03" + bytes((len(host),)) + b"HOST" + b"\x00\x50"
        self.proxy(factory, b"\x05\xff", question, b"\x05\x00\x00\x01" + bytes(6))

    def test_http(self) -> None:
        """At the HTTP proxy, in a head that does not end."""
        network = self.start()
        factory = HTTPProxyFactory(network.client, network.clients[0].reactor)
        self.proxy(factory, b"CONNECT ", b"CONNECT HOST:80 HTTP/1.1\r\nHost: HOST:80\r\n\r\n", b"\r\n\r\n")


