"""Tests for torpydo.testing.FaultProxy in memory: connections, their ends, and what it means for both sides."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase

from tests.testing.recorders import HalfRecorder, Recorder, Servers
from torpydo.testing import (
    BlackHole,
    Delay,
    DropRecord,
    FaultError,
    FaultProxy,
    Flip,
    Freeze,
    HalfClose,
    Insert,
    LocalNetwork,
    Rate,
    Reset,
    SimulatedReactor,
    SimulationError,
    Split,
    Truncate,
    random_split,
)
from torpydo.testing.ways import Conditions

DATA = Random(1).randbytes(300_000)
SERVICE = ("10.0.0.2", 80)
PROXY = ("10.0.0.9", 8080)


class ProxyTestCase(SynchronousTestCase):
    """A source, a target and a proxy between them, each a process of its own."""

    def setUp(self) -> None:
        self.reactor = SimulatedReactor(seed=1)
        self.near = self.reactor.host("10.0.0.1")
        self.far = self.reactor.host(SERVICE[0])
        self.middle = self.reactor.host(PROXY[0])
        self.servers = Servers(HalfRecorder)
        self.port = self.far.listenTCP(SERVICE[1], self.servers, interface=SERVICE[0])
        self.proxy = FaultProxy(
            self.middle,
            TCP4ServerEndpoint(self.middle, PROXY[1], interface=PROXY[0]),
            TCP4ClientEndpoint(self.middle, *SERVICE),
        )
        self.reactor.success(self.proxy.start())
        self.addCleanup(self.stop)

    def stop(self) -> None:
        """After the end of a proxy nothing of it is left."""
        self.reactor.success(self.proxy.stop())
        self.reactor.flush()
        sockets = [sock for sock in self.reactor.internet.sockets.values() if sock.host is self.middle]
        self.assertEqual((sockets, self.middle.getDelayedCalls(), self.proxy.connections), ([], [], {}))

    def connect(self, kind: type[Recorder] = HalfRecorder) -> tuple[Any, Any]:
        """Both ends of a connection through the proxy."""
        source = self.reactor.success(connectProtocol(TCP4ClientEndpoint(self.near, *PROXY), kind()))
        self.reactor.flush()
        return source, self.servers.built[-1] if self.servers.built else None


class PassingTests(ProxyTestCase):
    """Without faults a proxy is not there."""

    def test_bytes_both_ways(self) -> None:
        """They arrive whole, however many."""
        source, target = self.connect()
        source.tcp.write(DATA)
        target.tcp.write(DATA[::-1])
        self.reactor.flush()
        self.assertEqual((bytes(target.data), bytes(source.data)), (DATA, DATA[::-1]))

    def test_half_close(self) -> None:
        """Each direction ends by itself, and the connection with the second."""
        source, target = self.connect()
        source.tcp.write(b"question")
        source.tcp.loseWriteConnection()
        self.reactor.flush()
        self.assertEqual((target.ends, target.lost), (["read"], []))
        target.tcp.write(b"answer")
        target.tcp.loseConnection()
        self.reactor.flush()
        self.assertEqual((bytes(source.data), source.ends), (b"answer", ["write", "read"]))
        self.assertEqual(target.lost, [ConnectionDone])
        source.tcp.loseConnection()
        self.reactor.flush()
        self.assertEqual(self.proxy.connections, {})

    def test_close_with_bytes_behind_it(self) -> None:
        """What was written before a close arrives."""
        source, target = self.connect()
        source.tcp.write(DATA)
        source.tcp.loseConnection()
        self.reactor.flush()
        self.assertEqual((bytes(target.data), target.ends), (DATA, ["read"]))
        target.tcp.loseConnection()
        self.reactor.flush()
        self.assertEqual(self.proxy.connections, {})

    def test_reset(self) -> None:
        """A reset stays one, from either side."""
        for place in (0, 1):
            ends = self.connect()
            ends[place].tcp.abortConnection()
            self.reactor.flush()
            self.assertEqual(ends[1 - place].lost, [ConnectionLost], place)

    def test_a_target_that_is_not_there(self) -> None:
        """Whoever connects to it sees a reset."""
        self.reactor.success(self.port.stopListening())
        source, _ = self.connect()
        self.assertEqual((source.lost, self.proxy.unreached), ([ConnectionLost], 1))

    def test_a_source_that_does_not_wait(self) -> None:
        """What is gone before the target was reached needs no target."""
        self.reactor.internet.ways.set(Conditions(latency=1.0), PROXY[0], SERVICE[0])
        source, _ = self.connect()
        source.tcp.abortConnection()
        self.reactor.advance(5)
        self.assertEqual((self.servers.built, self.proxy.connections, self.proxy.unreached), ([], {}, 0))

    def test_bytes_before_the_target_is_there(self) -> None:
        """They wait, and so does the end behind them."""
        self.reactor.internet.ways.set(Conditions(latency=1.0), PROXY[0], SERVICE[0])
        source, _ = self.connect()
        source.tcp.write(b"early")
        source.tcp.loseWriteConnection()
        self.reactor.advance(5)
        self.assertEqual((bytes(self.servers.built[0].data), self.servers.built[0].ends), (b"early", ["read"]))

    def test_a_reader_that_stops(self) -> None:
        """The sender is held up as it would be without a proxy."""
        source, target = self.connect()
        target.tcp.pauseProducing()
        source.tcp.write(bytes(10_000_000))
        self.reactor.flush()
        self.assertLess(self.proxy.connections[1].to_target.received, 2_000_000)
        target.tcp.resumeProducing()
        self.reactor.flush()
        self.assertEqual(len(target.data), 10_000_000)


class FaultTests(ProxyTestCase):
    """With faults."""

    def test_each_direction_has_its_own(self) -> None:
        """And each was counted."""
        self.proxy.set(to_target=[Flip(1)], to_source=[Insert(0, b"!"), Flip(3, 5)])
        source, target = self.connect()
        source.tcp.write(b"abcd")
        target.tcp.write(b"abcd")
        self.reactor.flush()
        self.assertEqual((bytes(target.data), bytes(source.data)), (b"accd", b"!abcD"))
        self.assertEqual(self.proxy.done, {Flip: 2, Insert: 1})

    def test_delay(self) -> None:
        """The timer is the proxy's; nothing else is needed."""
        self.proxy.set(to_target=[Delay(2.0)])
        source, target = self.connect()
        source.tcp.write(b"x")
        self.reactor.advance(1.9)
        self.assertEqual(bytes(target.data), b"")
        self.reactor.advance(0.2)
        self.assertEqual(bytes(target.data), b"x")

    def test_rate(self) -> None:
        """A slow line, and a sender that does not fill the memory."""
        self.proxy.set(to_target=[Rate(10_000)])
        source, target = self.connect()
        source.tcp.write(bytes(5_000_000))
        self.reactor.advance(10)
        self.assertApproximates(len(target.data), 100_000, 200)
        self.assertLess(self.proxy.connections[1].to_target.received, 500_000)

    def test_split(self) -> None:
        """Pieces arrive one by one if there is a pause between them; the bytes are the same in any case."""
        self.proxy.set(to_target=[Split(1000, pause=0.001)], to_source=[Split(random_split(1))])
        source, target = self.connect()
        source.tcp.write(DATA)
        target.tcp.write(DATA)
        self.reactor.advance(5)
        self.assertEqual((bytes(target.data), bytes(source.data)), (DATA, DATA))
        self.assertEqual(max(target.pieces), 1000)
        self.assertGreater(len(source.pieces), 6)

    def test_truncated(self) -> None:
        """Both sides see a clean end, after exactly so many bytes."""
        self.proxy.set(to_target=[Truncate(1000)])
        source, target = self.connect(Recorder)
        source.tcp.write(DATA)
        self.reactor.flush()
        self.assertEqual(bytes(target.data), DATA[:1000])
        self.assertEqual(len(source.lost), 1)
        self.assertEqual(self.proxy.connections, {})

    def test_half_closed(self) -> None:
        """One side is told of an end that the other did not make, and can still answer."""
        self.proxy.set(to_target=[HalfClose(1000)])
        source, target = self.connect()
        source.tcp.write(DATA)
        self.reactor.flush()
        self.assertEqual((bytes(target.data), target.ends, source.lost), (DATA[:1000], ["read"], []))
        target.tcp.write(b"still here")
        self.reactor.flush()
        self.assertEqual(bytes(source.data), b"still here")
        target.tcp.loseConnection()
        source.tcp.loseConnection()
        self.reactor.flush()
        self.assertEqual(self.proxy.connections, {})

    def test_reset_after_some_bytes(self) -> None:
        """Those arrive, then both sides see the reset."""
        self.proxy.set(to_source=[Reset(1000)])
        source, target = self.connect()
        target.tcp.write(DATA)
        self.reactor.flush()
        self.assertEqual(bytes(source.data), DATA[:1000])
        self.assertEqual((source.lost, target.lost), ([ConnectionLost], [ConnectionLost]))

    def test_reset_at_once(self) -> None:
        """The target never hears of it."""
        self.proxy.set(to_target=[Reset()])
        source, _ = self.connect()
        self.assertEqual((source.lost, self.servers.built, self.proxy.done), ([ConnectionLost], [], {Reset: 1}))

    def test_black_hole(self) -> None:
        """Nothing gets through, nobody is told, not even of an end."""
        source, target = self.connect()
        self.proxy.set([BlackHole()], [BlackHole()])
        source.tcp.write(b"anybody there?")
        target.tcp.write(b"hello?")
        self.reactor.advance(1000)
        source.tcp.abortConnection()
        self.reactor.advance(1000)
        self.assertEqual((bytes(target.data), bytes(source.data), target.lost), (b"", b"", []))
        self.proxy.heal()
        self.reactor.flush()
        self.assertEqual(target.lost, [ConnectionLost])

    def test_frozen(self) -> None:
        """Nothing is taken, so that the sender's buffers are full; then it all arrives."""
        source, target = self.connect()
        self.proxy.set(to_target=[Freeze(1000)])
        source.tcp.write(bytes(2_000_000))
        self.reactor.advance(1000)
        self.assertEqual(len(target.data), 1000)
        self.assertLess(self.proxy.connections[1].to_target.received, 100_000)
        self.proxy.heal()
        self.reactor.flush()
        self.assertEqual(len(target.data), 2_000_000)

    def test_refused(self) -> None:
        """As long as it refuses nobody gets in; who is in stays."""
        source, target = self.connect()
        self.reactor.success(self.proxy.refuse())
        self.assertRaises(ConnectionRefusedError, self.connect)
        source.tcp.write(b"still here")
        self.reactor.flush()
        self.assertEqual(bytes(target.data), b"still here")
        self.reactor.success(self.proxy.start())
        self.connect()
        self.assertEqual(self.proxy.accepted, 2)


class PlanTests(ProxyTestCase):
    """Which connections."""

    def flipped(self) -> bool:
        """Whether a new connection is changed."""
        source, target = self.connect()
        source.tcp.write(b"a")
        self.reactor.flush()
        return bytes(target.data) != b"a"

    def test_from_one_on(self) -> None:
        """Those before stay as they are."""
        self.proxy.set([Flip(0)], first=3)
        self.assertEqual([self.flipped() for _ in range(4)], [False, False, True, True])
        self.proxy.set([], first=6)
        self.assertEqual([self.flipped() for _ in range(3)], [True, False, False])

    def test_open_ones(self) -> None:
        """What is set counts for connections that are open, too."""
        first, _ = self.connect()
        second, _ = self.connect()
        self.proxy.set([Flip(0)], first=2)
        for source in (first, second):
            source.tcp.write(b"a")
        self.reactor.flush()
        self.assertEqual([bytes(target.data) for target in self.servers.built], [b"a", b"`"])

    def test_a_single_one(self) -> None:
        """Each connection can be set by itself."""
        first, _ = self.connect()
        self.connect()
        self.proxy.connections[2].set([Reset()])
        self.reactor.flush()
        self.assertEqual((first.lost, list(self.proxy.connections)), ([], [1]))

    def test_who_has_connected(self) -> None:
        """Connections can be told apart by it."""
        self.connect()
        peer: Any = self.proxy.connections[1].peer
        self.assertEqual(peer.host, "10.0.0.1")

    def test_counters_outlive_connections(self) -> None:
        """What was done is known afterwards."""
        self.proxy.set([Reset(1)])
        for _ in range(3):
            source, _ = self.connect()
            source.tcp.write(b"x")
            self.reactor.flush()
        self.assertEqual((self.proxy.done, self.proxy.connections), ({Reset: 3}, {}))

    def test_records(self) -> None:
        """Records belong to one connection: nothing can be said of those to come."""
        self.assertRaises(FaultError, self.proxy.set, [DropRecord(1)])


class Echo(Protocol):
    """Sends back what comes."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


class InterceptTests(SynchronousTestCase):
    """Proxies in a local network."""

    def start(self, **options: Any) -> LocalNetwork:
        """A network that is closed at the end of the test."""
        network = LocalNetwork(**options)
        self.addCleanup(network.close)
        return network

    def echo(self, network: LocalNetwork, data: bytes) -> bytes:
        """What comes back."""
        where = network.serve(Factory.forProtocol(Echo), 7)
        recorder = network.success(connectProtocol(network.client.endpoint(*where), Recorder()))
        recorder.tcp.write(data)
        network.advance(5)
        recorder.tcp.loseConnection()
        return bytes(recorder.data)

    def test_before_each_process(self) -> None:
        """With a proxy before the pool and every node the network is as it was, and as fast."""
        network = self.start(nodes=3, latency=0.1)
        proxies = [network.intercept(member) for member in (network.pool, *network.nodes)]
        network.start()
        where = network.serve(Factory.forProtocol(Echo), 7)
        before = network.intercept(network.destinations[where[0]], where[1])
        recorder = network.success(connectProtocol(network.client.endpoint(*where), Recorder()))
        recorder.tcp.write(b"x")
        network.advance(0.79)
        self.assertEqual(bytes(recorder.data), b"")
        network.advance(0.02)
        self.assertEqual(bytes(recorder.data), b"x")
        self.assertTrue(all(proxy.accepted for proxy in (*proxies, before)))

    def test_of_one_process(self) -> None:
        """A proxy for one source leaves the others alone."""
        network = self.start(nodes=3)
        network.start_servers()
        proxy = network.intercept(network.pool, source=network.nodes[0])
        network.advance(10)
        self.assertGreater(proxy.accepted, 0)
        proxy.set([Reset()])
        network.advance(60)
        self.assertEqual(network.listed(), {node.node_id for node in network.nodes[1:]})

    def test_open_connections_stay(self) -> None:
        """Only those that are opened afterwards go through it."""
        network = self.start(nodes=3)
        network.start()
        proxies = [network.intercept(node) for node in network.nodes]
        self.assertEqual(self.echo(network, b"hello"), b"hello")
        self.assertEqual([proxy.accepted for proxy in proxies], [0, 0, 0])

    def test_closed_with_the_network(self) -> None:
        """Faults end with it, and nothing is left of a proxy."""
        network = self.start(nodes=3)
        proxies = [network.intercept(node) for node in network.nodes]
        network.start()
        for proxy in proxies:
            proxy.set([BlackHole()], [Freeze()])
        network.close()
        self.assertEqual(list(network.internet.connections), [])

    def test_too_many(self) -> None:
        """Each has an address of its own."""
        network = self.start(nodes=1)
        network.proxies.extend([network.intercept(network.nodes[0])] * 199)
        self.assertRaises(SimulationError, network.intercept, network.nodes[0])
