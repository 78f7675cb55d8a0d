"""Tests of torpydo.node.exitstream: bytes, pressure and ends between a destination and a circuit."""

from __future__ import annotations

import errno
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.trial.unittest import SynchronousTestCase

from tests.node.network import Connection, Traveller, World
from torpydo.node.limits import DEFAULT_LIMITS
from torpydo.testing import Conditions
from torpydo.testing.connections import StreamSocket
from torpydo.tpdp import EndReason, StreamEnded, StreamEOF

SITE = "203.0.113.1"
MUCH = 2_000_000


class Case(SynchronousTestCase):
    """A stream between a client and a destination."""

    def setUp(self) -> None:
        self.world = World()
        self.exit = self.world.relay("accept *:*", allow_single_hop=True)
        self.server = self.world.server(SITE)
        self.client: Traveller = self.world.traveller(self.exit).build()
        self.stream = self.client.begin(SITE)
        self.end = self.client.circuit.end

    @property
    def site(self) -> Connection:
        """The destination's end of the connection."""
        return self.server.connections[0]

    def ended(self) -> list[EndReason]:
        """How the client heard that the stream is over."""
        return [event.reason for event in self.client.of_kind(StreamEnded)]

    def was_reset(self) -> bool:
        """Whether the destination saw a torn connection."""
        return self.site.ended is not None and not self.site.ended.check(ConnectionDone)

    def assert_gone(self) -> None:
        """Nothing of the stream stays, at either end."""
        self.assertEqual((self.exit.router.status().streams, self.end.streams), (0, 0))
        self.assertEqual(self.world.reactor.internet.connections_of(SITE), [])


class HalfCloseTests(Case):
    """EOF in one direction leaves the other alone."""

    def test_the_client_closes(self) -> None:
        """The destination reads to the end, and still answers."""
        self.end.send_data(self.stream, b"question")
        self.end.close_write(self.stream)
        self.client.send()
        self.assertEqual((self.site.data, self.site.read_closed), (b"question", True))
        self.site.transport.write(b"answer")
        self.world.flush()
        self.assertEqual(self.client.received(self.stream), b"answer")
        self.assertEqual(self.ended(), [])

    def test_the_destination_closes(self) -> None:
        """The client reads to the end, and still sends."""
        self.site.transport.write(b"greeting")
        self.site.transport.loseWriteConnection()
        self.world.flush()
        self.assertEqual(self.client.received(self.stream), b"greeting")
        self.assertEqual(self.client.of_kind(StreamEOF), [StreamEOF(self.stream)])
        self.end.send_data(self.stream, b"thanks")
        self.client.send()
        self.assertEqual((self.site.data, self.site.read_closed), (b"thanks", False))

    def test_both_close(self) -> None:
        """Whoever is first, the end is clean for both."""
        for client_first in (True, False):
            self.setUp()
            for by_client in (client_first, not client_first):
                if by_client:
                    self.end.close_write(self.stream)
                    self.client.send()
                else:
                    self.site.transport.loseWriteConnection()
                    self.world.flush()
            self.site.transport.loseConnection()
            self.world.flush()
            self.assertEqual(self.ended(), [EndReason.DONE])
            self.assertFalse(self.was_reset())
            self.assert_gone()

    def test_much_before_the_end(self) -> None:
        """A half-close comes after all bytes, even when the socket does not take them at once."""
        self.world.reactor.internet.ways.set(Conditions(rate=1_000_000.0, in_flight=4096), target=SITE)
        data = self.world.random.randbytes(MUCH)
        self.end.send_data(self.stream, data)
        self.end.close_write(self.stream)
        self.client.send()
        self.assertFalse(self.site.read_closed)
        self.world.reactor.advance(5)
        self.assertTrue(self.site.read_closed)
        self.assertEqual(self.site.data, data)

    def test_before_it_is_connected(self) -> None:
        """Bytes and EOF that came with BEGIN arrive as well."""
        end = self.client.circuit.end
        stream = end.begin(SITE, 80)
        end.send_data(stream, b"early")
        end.close_write(stream)
        self.client.send()
        self.assertEqual((self.server.connections[1].data, self.server.connections[1].read_closed), (b"early", True))


class HalfToldTests(Case):
    """A reset of which the kernel has told the error and not yet the end: Twisted's reactor takes it for an end."""

    def test_it_is_a_reset(self) -> None:
        """The client hears of no end."""
        self.patch(StreamSocket, "getsockopt", lambda socket, level, option: errno.ECONNRESET)
        self.site.transport.write(b"half of it")
        self.site.transport.loseWriteConnection()
        self.world.flush()
        self.assertEqual(self.client.of_kind(StreamEOF), [])
        self.assertEqual(self.ended(), [EndReason.RESET])
        self.assert_gone()


class CleanEndTests(Case):
    """DONE is for ends at which nothing was lost, and only for those."""

    def test_by_the_client(self) -> None:
        """END(DONE) closes the connection after everything was written."""
        self.end.send_data(self.stream, b"last words")
        self.end.finish(self.stream, EndReason.DONE)
        self.client.send()
        self.assertEqual(self.site.data, b"last words")
        self.assertTrue(self.site.read_closed)
        self.site.transport.loseConnection()
        self.world.flush()
        self.assertFalse(self.was_reset())
        self.assert_gone()

    def test_by_the_client_with_a_slow_destination(self) -> None:
        """It gets all bytes although the stream is gone meanwhile."""
        self.world.reactor.internet.ways.set(Conditions(rate=10_000.0, in_flight=4096), target=SITE)
        self.end.send_data(self.stream, bytes(60_000))
        self.end.finish(self.stream, EndReason.DONE)
        self.client.send()
        self.assertEqual(self.end.streams, 0)
        self.world.reactor.advance(10)
        self.assertEqual(len(self.site.data), 60_000)
        self.assertFalse(self.was_reset())

    def test_even_when_the_circuit_goes(self) -> None:
        """What was ended before the circuit was keeps its clean end."""
        self.world.reactor.internet.ways.set(Conditions(rate=10_000.0, in_flight=4096), target=SITE)
        self.end.send_data(self.stream, bytes(60_000))
        self.end.finish(self.stream, EndReason.DONE)
        self.client.send()
        self.client.destroy()
        self.world.reactor.advance(10)
        self.assertEqual(len(self.site.data), 60_000)
        self.assertFalse(self.was_reset())

    def test_a_destination_that_never_takes_them(self) -> None:
        """A minute, and what the little that waits may take, then it is reset."""
        self.world.reactor.internet.ways.set(Conditions(in_flight=4096), target=SITE)
        self.site.transport.pauseProducing()
        self.end.send_data(self.stream, bytes(60_000))
        self.end.finish(self.stream, EndReason.DONE)
        self.client.send()
        waiting = self.exit.router.status().queued
        self.assertLess(waiting, 60_000)
        self.world.reactor.advance(DEFAULT_LIMITS.linger + waiting / DEFAULT_LIMITS.linger_rate - 1)
        self.assertEqual(self.exit.router.status().streams, 1)
        self.world.reactor.advance(2)
        self.assertEqual(self.exit.router.status().streams, 0)

    def test_a_destination_that_is_very_slow(self) -> None:
        """Many bytes get more time than a minute: the client was told that all is well."""
        self.world.reactor.internet.ways.set(Conditions(in_flight=4096), target=SITE)
        self.site.transport.pauseProducing()
        self.end.send_data(self.stream, bytes(150_000))
        self.client.send()
        waiting = self.exit.router.status().queued
        self.assertGreater(waiting, 10 * DEFAULT_LIMITS.linger_rate)
        self.end.finish(self.stream, EndReason.DONE)
        self.client.send()
        self.assertEqual(self.end.streams, 0)
        self.world.reactor.advance(DEFAULT_LIMITS.linger + waiting / DEFAULT_LIMITS.linger_rate - 1)
        self.assertEqual(self.exit.router.status().streams, 1)
        self.world.reactor.advance(2)
        self.assertEqual(self.exit.router.status().streams, 0)


class SmallPiecesTests(Case):
    """A client that sends a byte or two at a time: what waits takes no more memory than is counted (SECURITY F6)."""

    def trickle(self, stream: int, count: int) -> Any:
        """Send so many bytes, each in a cell; gives the exit's end of the stream."""
        for _ in range(count):
            self.end.send_data(stream, b"x")
            self.client.queue()
        self.world.flush()
        (circuit,) = set(self.exit.router._circuits.values())
        assert circuit.streams is not None
        return circuit.streams._streams[stream]

    def test_to_a_destination_that_does_not_read(self) -> None:
        """They are joined while they wait for the socket."""
        self.world.reactor.internet.ways.set(Conditions(in_flight=4096), target=SITE)
        self.site.transport.pauseProducing()
        self.end.send_data(self.stream, bytes(6000))
        self.client.send()
        exit_stream = self.trickle(self.stream, 5000)
        self.assertGreater(exit_stream.queued, 5000)
        self.assertLessEqual(len(exit_stream.transport._tempDataBuffer), 3)
        self.site.transport.resumeProducing()
        self.world.reactor.advance(5)
        self.assertEqual(self.site.data, bytes(6000) + b"x" * 5000)

    def test_before_it_is_connected(self) -> None:
        """So they are while they wait for the connection."""
        self.world.reactor.internet.ways.set(Conditions(latency=2.0), target=SITE)
        stream = self.client.begin(SITE)
        exit_stream = self.trickle(stream, 1000)
        self.assertEqual((exit_stream.queued, len(exit_stream._early)), (1000, 1))
        self.world.reactor.advance(7)
        self.assertEqual(self.server.connections[1].data, b"x" * 1000)


class TornTests(Case):
    """A torn stream never looks like a clean end (DESIGN 6)."""

    def test_the_destination_resets(self) -> None:
        """The client hears RESET."""
        self.site.transport.write(b"half a")
        self.world.flush()
        self.site.transport.abortConnection()
        self.world.flush()
        self.assertEqual(self.client.received(self.stream), b"half a")
        self.assertEqual(self.ended(), [EndReason.RESET])
        self.assert_gone()

    def test_the_client_tears(self) -> None:
        """The destination is reset."""
        self.end.finish(self.stream, EndReason.MISC)
        self.client.send()
        self.assertTrue(self.was_reset())
        self.assert_gone()

    def test_the_circuit_is_destroyed(self) -> None:
        """So is it then."""
        self.client.destroy()
        self.assertTrue(self.was_reset())
        self.assertEqual(self.exit.router.status().streams, 0)

    def test_after_a_half_close(self) -> None:
        """The client had sent EOF already: it makes no difference."""
        self.end.close_write(self.stream)
        self.client.send()
        self.site.transport.abortConnection()
        self.world.flush()
        self.assertEqual(self.ended(), [EndReason.RESET])


class PressureTests(Case):
    """Who does not take bytes is not sent more."""

    def test_a_client_that_does_not_read(self) -> None:
        """The destination is held back: little waits at the exit. It all arrives when the client goes on."""
        self.client.consume = False
        self.site.transport.write(self.world.random.randbytes(MUCH))
        self.world.reactor.advance(5)
        self.assertEqual(len(self.client.received(self.stream)), 64 * 1024)
        self.assertLess(self.exit.router.status().queued, 200_000)
        self.client.consume = True
        self.end.consumed(self.stream, 64 * 1024)
        self.client.send()
        self.assertEqual(len(self.client.received(self.stream)), MUCH)

    def test_a_destination_that_does_not_read(self) -> None:
        """The client gets no new credit; its own data stays with it."""
        self.world.reactor.internet.ways.set(Conditions(in_flight=4096), target=SITE)
        self.site.transport.pauseProducing()
        self.end.send_data(self.stream, bytes(MUCH))
        self.client.send()
        self.world.reactor.advance(5)
        self.assertGreater(self.end.buffered(self.stream), MUCH - 1_500_000)
        waiting = self.exit.router.status().queued
        self.assertGreater(waiting, 0)
        self.site.transport.resumeProducing()
        self.world.reactor.advance(5)
        self.assertEqual((len(self.site.data), self.end.buffered(self.stream)), (MUCH, 0))
        self.world.reactor.advance(2)
        self.assertEqual(self.exit.router.status().queued, 0)

    def test_other_streams_go_on(self) -> None:
        """A stalled stream does not stop its neighbours in the circuit."""
        self.world.reactor.internet.ways.set(Conditions(in_flight=4096), target=SITE)
        self.site.transport.pauseProducing()
        self.end.send_data(self.stream, bytes(MUCH))
        self.client.send()
        other = self.client.begin(SITE, data=b"alive")
        self.assertEqual(self.server.connections[1].data, b"alive")
        self.server.connections[1].transport.write(b"well")
        self.world.flush()
        self.assertEqual(self.client.received(other), b"well")

    def test_whatever_waits_is_counted(self) -> None:
        """One read for a client that acknowledges nothing is less than stops the reading, and counts (SECURITY F6)."""
        self.client.consume = False
        self.site.transport.write(bytes(64 * 1024))
        self.world.flush()
        before = self.exit.router.status().queued
        self.site.transport.write(bytes(30_000))
        self.world.flush()
        self.assertEqual((before, self.exit.router.status().queued), (0, 30_000))

    def test_what_waits_after_the_destination_has_closed_is_counted(self) -> None:
        """The connection is gone, its bytes wait for credit in the circuit's end."""
        self.client.consume = False
        self.site.transport.write(bytes(64 * 1024 + 30_000))
        self.site.transport.loseConnection()
        self.world.flush()
        self.end.close_write(self.stream)
        self.client.send()
        self.assertEqual(self.exit.router.status().streams, 0)
        self.assertEqual(self.exit.router.status().queued, 30_000)

    def test_what_comes_before_the_connection_is_counted(self) -> None:
        """While a name is resolved or a destination does not answer."""
        self.exit.reactor.names.delay = 1.0
        self.client.begin("example.org", data=bytes(20_000))
        self.assertEqual(self.exit.router.status().queued, 20_000)
