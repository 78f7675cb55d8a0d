"""Tests for torpydo.testing.connections: TCP as programs see it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.error import (
    CannotListenError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    NoRouteError,
    TimeoutError,
)
from twisted.trial.unittest import SynchronousTestCase

from tests.testing.recorders import HalfRecorder, PullRecorder, PushRecorder, Recorder, Servers, pair
from torpydo.testing import Conditions, SimulatedReactor, byte_by_byte, random_split, split_after

MARK = 64 * 1024


class WorldTestCase(SynchronousTestCase):
    """Two hosts."""

    def setUp(self) -> None:
        self.reactor = SimulatedReactor()
        self.near = self.reactor.host("10.0.0.1")
        self.far = self.reactor.host("10.0.0.2")
        self.internet = self.reactor.internet

    def pair(self, kind: type[Recorder] = Recorder) -> tuple[Recorder, Recorder]:
        return pair(self.near, self.far, kind)


class OpeningTests(WorldTestCase):
    """Listening and connecting."""

    def connect(self, ip: str, port: int, **keywords: float) -> object:
        endpoint = TCP4ClientEndpoint(self.near, ip, port, **keywords)
        return self.near.success(connectProtocol(endpoint, Recorder()))

    def test_addresses(self) -> None:
        """Both ends agree who they are."""
        client, server = self.pair()
        self.assertEqual(client.tcp.getPeer(), server.tcp.getHost())
        self.assertEqual(client.tcp.getHost(), server.tcp.getPeer())
        self.assertEqual(client.tcp.getHost().host, "10.0.0.1")
        self.assertEqual(server.tcp.getHost().host, "10.0.0.2")

    def test_refused(self) -> None:
        """Where nobody listens, connecting is refused."""
        self.assertRaises(ConnectionRefusedError, self.connect, "10.0.0.2", 99)

    def test_refused_takes_a_round_trip(self) -> None:
        """The refusal is as slow as the way there and back."""
        self.internet.ways.set(Conditions(latency=0.5))
        self.assertRaises(ConnectionRefusedError, self.connect, "10.0.0.2", 99)
        self.assertEqual(self.reactor.seconds(), 1.0)

    def test_connecting_takes_a_round_trip(self) -> None:
        """So does success."""
        self.internet.ways.set(Conditions(latency=0.5))
        self.pair()
        self.assertEqual(self.reactor.seconds(), 1.0)

    def test_no_route(self) -> None:
        """A network that cannot be reached fails at once."""
        self.internet.ways.unreachable("10.0.0.2", 101)
        self.assertRaises(NoRouteError, self.connect, "10.0.0.2", 99)

    def test_timeout(self) -> None:
        """A black hole is noticed by the time-out alone."""
        self.far.listenTCP(99, Servers(), interface="10.0.0.2")
        self.internet.ways.isolate("10.0.0.2")
        self.assertRaises(TimeoutError, self.connect, "10.0.0.2", 99, timeout=7)
        self.assertEqual(self.reactor.seconds(), 7)

    def test_connecting_outlasts_a_short_cut(self) -> None:
        """The first packet is repeated: a way that is healed before the time-out connects after all."""
        self.far.listenTCP(99, Servers(), interface="10.0.0.2")
        self.internet.ways.isolate("10.0.0.2")
        self.reactor.callLater(3, self.internet.ways.heal)
        self.connect("10.0.0.2", 99)
        self.assertEqual(self.reactor.seconds(), 3)

    def test_cancelled(self) -> None:
        """A connection that is given up before it was made never reaches the server's program."""
        servers = Servers()
        self.far.listenTCP(99, servers, interface="10.0.0.2")
        self.internet.ways.set(Conditions(latency=0.5))
        connecting = connectProtocol(TCP4ClientEndpoint(self.near, "10.0.0.2", 99), Recorder())
        self.near.advance(0.1)
        connecting.cancel()
        self.failureResultOf(connecting)
        self.near.advance(5)
        self.assertEqual((servers.built, self.internet.connections), ([], {}))

    def test_cancelled_too_late_for_the_server(self) -> None:
        """A server that had accepted already sees the connection reset."""
        servers = Servers()
        self.far.listenTCP(99, servers, interface="10.0.0.2")
        self.internet.ways.set(Conditions(latency=0.5))
        connecting = connectProtocol(TCP4ClientEndpoint(self.near, "10.0.0.2", 99), Recorder())
        self.near.advance(0.6)
        connecting.cancel()
        self.failureResultOf(connecting)
        self.near.advance(5)
        self.assertEqual([each.lost for each in servers.built], [[ConnectionLost]])
        self.assertEqual(self.internet.connections, {})

    def test_busy_port(self) -> None:
        """A port can be had once."""
        self.far.listenTCP(99, Servers(), interface="10.0.0.2")
        self.assertRaises(CannotListenError, self.far.listenTCP, 99, Servers(), interface="10.0.0.2")
        self.assertRaises(CannotListenError, self.far.listenTCP, 99, Servers())

    def test_busy_wildcard(self) -> None:
        """All addresses include each of them, but only those of this host."""
        self.far.listenTCP(99, Servers())
        self.assertRaises(CannotListenError, self.far.listenTCP, 99, Servers())
        self.assertRaises(CannotListenError, self.far.listenTCP, 99, Servers(), interface="10.0.0.2")
        self.near.listenTCP(99, Servers())

    def test_foreign_address(self) -> None:
        """A host cannot listen on another one's address."""
        self.assertRaises(CannotListenError, self.far.listenTCP, 99, Servers(), interface="10.0.0.1")

    def test_port_is_free_again(self) -> None:
        """After stopListening the port refuses, and can be had again."""
        port = self.far.success(TCP4ServerEndpoint(self.far, 99).listen(Servers()))
        self.far.success(port.stopListening())
        self.assertRaises(ConnectionRefusedError, self.connect, "10.0.0.2", 99)
        self.far.listenTCP(99, Servers())

    def test_port_zero(self) -> None:
        """Port 0 means any free one."""
        first = self.far.listenTCP(0, Servers()).getHost()
        second = self.far.listenTCP(0, Servers()).getHost()
        self.assertNotEqual(first.port, second.port)

    def test_ipv6(self) -> None:
        """IPv6 works like IPv4."""
        servers = Servers()
        self.reactor.listenTCP(99, servers, interface="::1")
        endpoint = TCP4ClientEndpoint(self.reactor, "::1", 99)
        client = self.reactor.success(connectProtocol(endpoint, Recorder()))
        client.tcp.write(b"six")
        self.reactor.flush()
        self.assertEqual(servers.built[0].data, b"six")
        self.assertEqual(servers.built[0].tcp.getHost().host, "::1")

    def test_one_host_has_every_free_address(self) -> None:
        """The first host can listen on any address that no other host has."""
        servers = Servers()
        self.reactor.listenTCP(99, servers, interface="127.3.2.1")
        self.connect("127.3.2.1", 99)
        self.assertRaises(ConnectionRefusedError, self.connect, "127.3.2.2", 99)

    def test_backlog(self) -> None:
        """A server that does not accept lets a few connections wait; the others come in when it accepts again."""
        servers = Servers()
        port = self.far.listenTCP(99, servers, backlog=2, interface="10.0.0.2")
        self.far.removeReader(port)
        endpoint = TCP4ClientEndpoint(self.near, "10.0.0.2", 99)
        waiting = [connectProtocol(endpoint, Recorder()) for _ in range(6)]
        self.near.advance(2.5)
        self.assertEqual(len([each for each in waiting if each.called]), 3)
        self.far.addReader(port)
        self.near.advance(1)
        self.assertEqual(len(servers.built), 6)
        for each in waiting:
            self.successResultOf(each)

    def test_port_closed_with_somebody_waiting(self) -> None:
        """Whoever waits in the backlog of a port that closes is reset."""
        port = self.far.listenTCP(99, Servers(), interface="10.0.0.2")
        self.far.removeReader(port)
        client = self.near.success(connectProtocol(TCP4ClientEndpoint(self.near, "10.0.0.2", 99), Recorder()))
        self.far.success(port.stopListening())
        self.reactor.flush()
        self.assertEqual(client.lost, [ConnectionLost])


class BytesTests(WorldTestCase):
    """Bytes arrive, all of them, in order."""

    @given(st.lists(st.binary(min_size=1, max_size=300), max_size=10), st.lists(st.integers(1, 50), max_size=30))
    def test_any_cut(self, writes: list[bytes], sizes: list[int]) -> None:
        """However a stream is cut, it is the same stream."""
        client, server = self.pair()
        self.internet.split = split_after(sizes)
        client.tcp.writeSequence(writes)
        self.reactor.flush()
        self.assertEqual(server.data, b"".join(writes))

    def test_byte_by_byte(self) -> None:
        """Reads can be made to return single bytes."""
        client, server = self.pair()
        self.internet.split = byte_by_byte
        client.tcp.write(b"abc" * 10)
        self.reactor.flush()
        self.assertEqual((server.data, server.pieces), (b"abc" * 10, [1] * 30))

    def test_random_split_repeats(self) -> None:
        """The same seed cuts in the same places."""
        runs = []
        for _ in range(2):
            client, server = self.pair()
            self.internet.split = random_split(5)
            client.tcp.write(b"x" * 100_000)
            self.reactor.flush()
            runs.append(server.pieces)
        self.assertEqual(runs[0], runs[1])
        self.assertGreater(len(runs[0]), 5)

    def test_much(self) -> None:
        """More than all buffers hold arrives completely."""
        client, server = self.pair()
        client.tcp.write(b"0123456789" * 500_000)
        self.reactor.flush()
        self.assertEqual(server.data, b"0123456789" * 500_000)

    def test_written_later_than_shut(self) -> None:
        """What is written after loseConnection goes nowhere."""
        client, server = self.pair()
        client.tcp.write(b"one")
        client.tcp.loseConnection()
        self.reactor.flush()
        client.tcp.write(b"two")
        self.reactor.flush()
        self.assertEqual(server.data, b"one")


class FlowTests(WorldTestCase):
    """Back-pressure."""

    def test_pause(self) -> None:
        """A transport that is paused delivers nothing, until it is resumed."""
        client, server = self.pair()
        server.tcp.pauseProducing()
        client.tcp.write(b"waits")
        self.reactor.advance(10)
        self.assertEqual(server.data, b"")
        server.tcp.resumeProducing()
        self.reactor.flush()
        self.assertEqual(server.data, b"waits")

    def test_push_producer_is_paused_above_the_mark(self) -> None:
        """A push producer is paused when more than 64 KiB wait, and not before; it goes on when they have left."""
        client, server = self.pair()
        server.tcp.pauseProducing()
        client.tcp.write(bytes(Conditions().in_flight))
        self.reactor.flush()
        producer = PushRecorder()
        client.tcp.registerProducer(producer, True)
        client.tcp.write(bytes(MARK))
        self.reactor.flush()
        self.assertEqual(producer.calls, [])
        client.tcp.write(b"!")
        self.assertEqual(producer.calls, ["pause"])
        server.tcp.resumeProducing()
        self.reactor.flush()
        self.assertEqual(producer.calls, ["pause", "resume"])

    def test_what_is_in_flight_is_bounded(self) -> None:
        """Beyond what the kernels hold, bytes stay with the sender while the receiver does not read."""
        client, server = self.pair()
        self.internet.ways.set(Conditions(in_flight=5000))
        server.tcp.pauseProducing()
        client.tcp.write(bytes(20_000))
        self.reactor.flush()
        client.tcp.abortConnection()
        server.tcp.resumeProducing()
        self.reactor.flush()
        self.assertEqual(len(server.data), 5000)

    def test_full_socket(self) -> None:
        """The socket itself refuses bytes for which there is no room, as a real one does."""
        client, server = self.pair()
        self.internet.ways.set(Conditions(in_flight=100))
        server.tcp.pauseProducing()
        sock = client.tcp.getHandle()
        self.assertEqual(sock.send(bytes(150)), 100)
        self.assertRaises(BlockingIOError, sock.send, b"x")

    def test_pull_producer(self) -> None:
        """A pull producer is asked whenever everything has left, and no more often."""
        client, server = self.pair()
        producer = PullRecorder(client.tcp, 7)
        client.tcp.registerProducer(producer, False)
        self.reactor.flush()
        self.assertEqual((producer.asked, len(server.data)), (7, 7000))

    def test_pull_producer_waits_for_the_reader(self) -> None:
        """A pull producer is not asked while nothing can leave."""
        client, server = self.pair()
        self.internet.ways.set(Conditions(in_flight=1500))
        server.tcp.pauseProducing()
        producer = PullRecorder(client.tcp, 50)
        client.tcp.registerProducer(producer, False)
        self.reactor.advance(10)
        self.assertLess(producer.asked, 4)
        server.tcp.resumeProducing()
        self.reactor.flush()
        self.assertEqual(len(server.data), 50_000)

    def test_one_producer(self) -> None:
        """There can be one producer at a time."""
        client, _ = self.pair()
        client.tcp.registerProducer(PushRecorder(), True)
        self.assertRaises(RuntimeError, client.tcp.registerProducer, PushRecorder(), True)

    def test_producer_is_stopped(self) -> None:
        """When the connection is lost its producer is stopped."""
        client, server = self.pair()
        producer = PushRecorder()
        client.tcp.registerProducer(producer, True)
        server.tcp.abortConnection()
        self.reactor.flush()
        self.assertEqual(producer.calls, ["stop"])


class EndingTests(WorldTestCase):
    """How connections end."""

    def test_clean(self) -> None:
        """After loseConnection both ends see a clean end, and what was written has arrived."""
        client, server = self.pair()
        client.tcp.write(b"x" * 1_000_000)
        client.tcp.loseConnection()
        self.reactor.flush()
        self.assertEqual(len(server.data), 1_000_000)
        self.assertEqual((client.lost, server.lost), ([ConnectionDone], [ConnectionDone]))
        self.assertEqual(self.internet.connections, {})

    def test_abort(self) -> None:
        """After abortConnection the peer sees a torn connection."""
        client, server = self.pair()
        client.tcp.abortConnection()
        self.reactor.flush()
        self.assertEqual((client.lost, server.lost), ([ConnectionAborted], [ConnectionLost]))
        self.assertEqual(self.internet.connections, {})

    def test_abort_after_data(self) -> None:
        """Bytes that came before the reset are read before it is seen."""
        client, server = self.pair()
        client.tcp.write(b"last words")
        self.reactor.flush()
        client.tcp.abortConnection()
        self.reactor.flush()
        self.assertEqual((server.data, server.lost), (b"last words", [ConnectionLost]))

    def test_without_half_close(self) -> None:
        """A protocol that knows no half-close loses its connection when the peer stops writing."""
        client, server = self.pair()
        client.tcp.loseWriteConnection()
        self.reactor.flush()
        self.assertEqual((server.lost, client.lost), ([ConnectionDone], [ConnectionDone]))

    def test_half_close(self) -> None:
        """A protocol that knows half-close can answer after its peer has stopped writing."""
        client, server = self.pair(HalfRecorder)
        assert isinstance(client, HalfRecorder) and isinstance(server, HalfRecorder)
        client.tcp.write(b"question")
        client.tcp.loseWriteConnection()
        self.reactor.flush()
        self.assertEqual((client.ends, server.ends, server.data), (["write"], ["read"], b"question"))
        server.tcp.write(b"answer" * 100_000)
        server.tcp.loseConnection()
        self.reactor.flush()
        self.assertEqual((client.data, client.ends), (b"answer" * 100_000, ["write", "read"]))
        self.assertEqual((client.lost, server.lost), ([], [ConnectionDone]))
        client.tcp.loseConnection()
        self.reactor.flush()
        self.assertEqual((client.lost, self.internet.connections), ([ConnectionDone], {}))

    def test_writing_to_somebody_gone(self) -> None:
        """Whoever writes to a peer that has closed gets a reset."""
        client, server = self.pair(HalfRecorder)
        server.tcp.loseConnection()
        self.reactor.flush()
        client.tcp.write(b"too late")
        self.reactor.flush()
        client.tcp.write(b"much too late")
        self.reactor.flush()
        self.assertEqual(client.lost, [ConnectionLost])

    def test_closing_with_unread_bytes(self) -> None:
        """Closing without having read everything resets the peer when it writes again; it had a clean end to read."""
        client, server = self.pair(HalfRecorder)
        assert isinstance(client, HalfRecorder)
        server.tcp.pauseProducing()
        client.tcp.write(b"unread")
        self.reactor.flush()
        server.tcp.loseConnection()
        self.reactor.flush()
        self.assertEqual((client.ends, client.lost), (["read"], []))
        client.tcp.write(b"more")
        self.reactor.flush()
        self.assertEqual(client.lost, [ConnectionLost])

    def test_paused_end(self) -> None:
        """Whoever does not read does not notice the end, and finds everything there later."""
        client, server = self.pair()
        server.tcp.pauseProducing()
        client.tcp.write(b"x" * 1000)
        client.tcp.loseConnection()
        self.reactor.advance(10)
        self.assertEqual((server.data, server.lost), (b"", []))
        server.tcp.resumeProducing()
        self.reactor.flush()
        self.assertEqual((len(server.data), server.lost), (1000, [ConnectionDone]))

    def test_lose_connection_waits_for_a_slow_reader(self) -> None:
        """loseConnection closes when the last byte has left, not before."""
        client, server = self.pair()
        server.tcp.pauseProducing()
        client.tcp.write(b"x" * 1_000_000)
        client.tcp.loseConnection()
        self.reactor.advance(10)
        self.assertEqual(client.lost, [])
        server.tcp.resumeProducing()
        self.reactor.flush()
        self.assertEqual((client.lost, len(server.data)), ([ConnectionDone], 1_000_000))

    def test_error_in_a_protocol(self) -> None:
        """A protocol that raises loses its connection; the error is logged."""

        class Faulty(Recorder):
            def dataReceived(self, data: bytes) -> None:
                raise ArithmeticError("as planned")

        client, server = self.pair(Faulty)
        client.tcp.write(b"x")
        self.reactor.flush()
        self.assertEqual(len(self.flushLoggedErrors(ArithmeticError)), 1)
        self.assertEqual(server.lost, [ArithmeticError])

    def test_broken_from_outside(self) -> None:
        """A connection that a test resets is torn at both ends."""
        client, server = self.pair()
        (connection,) = self.internet.connections_of("10.0.0.2")
        connection.reset()
        self.reactor.flush()
        self.assertEqual((client.lost, server.lost), ([ConnectionLost], [ConnectionLost]))

    def test_broken_with_bytes_under_way(self) -> None:
        """What was under way when a connection broke never arrives."""
        client, server = self.pair()
        self.internet.ways.set(Conditions(latency=1))
        server.tcp.pauseProducing()
        client.tcp.write(b"lost")
        self.reactor.flush()
        self.internet.connections_of("10.0.0.1")[0].reset()
        self.reactor.advance(5)
        server.tcp.resumeProducing()
        self.reactor.flush()
        self.assertEqual((server.data, server.lost), (b"", [ConnectionLost]))

    def test_held_from_outside(self) -> None:
        """A connection that a test holds back goes on when it is released."""
        client, server = self.pair()
        (connection,) = self.internet.connections_of("10.0.0.2")
        connection.hold()
        client.tcp.write(b"later")
        self.reactor.advance(30)
        self.assertEqual(server.data, b"")
        connection.hold(False)
        self.reactor.flush()
        self.assertEqual(server.data, b"later")
