"""Tests of torpydo.net.streams: what the whole-network tests of the transport do not reach."""

from __future__ import annotations

import attrs
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import AccumulatingProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from torpydo.net.streams import StreamTransport
from torpydo.tpdp import Address, EndReason


@attrs.define(eq=False)
class End:
    """Takes what a transport tells the core."""

    finished: list[EndReason] = attrs.field(factory=list)

    def send_data(self, stream: int, data: bytes) -> None:
        """Nothing is sent anywhere."""

    def close_write(self, stream: int) -> None:
        """Nothing goes anywhere."""

    def finish(self, stream: int, reason: EndReason) -> None:
        """Remember why."""
        self.finished.append(reason)

    def consumed(self, stream: int, count: int) -> None:
        """Nobody waits for credit."""

    def buffered(self, stream: int) -> int:
        """Everything is sent at once."""
        return 0


@attrs.define(eq=False)
class Circuit:
    """Has the end."""

    end: End = attrs.field(factory=End)
    silent: int = 0

    def flush_soon(self) -> None:
        """Nothing is sent anywhere."""

    def exit_silent(self) -> None:
        """Counted."""
        self.silent += 1


class PausedTests(SynchronousTestCase):
    """A transport that was told to pause, and then to close."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.circuit = Circuit()
        self.transport = StreamTransport(self.circuit, 1, Address.parse("192.0.2.1", 80), self.clock.callLater)
        self.protocol = AccumulatingProtocol()
        self.transport.attach(self.protocol)

    def turn(self) -> None:
        """What was put off happens."""
        self.clock.advance(0)

    def test_the_end_comes(self) -> None:
        """Nobody resumes what was closed, so the pause is over."""
        self.transport.pauseProducing()
        self.transport.stopProducing()
        self.turn()
        self.transport.ended(EndReason.DONE)
        self.assertTrue(self.protocol.closed)
        self.assertIsInstance(self.protocol.closedReason.value, ConnectionDone)

    def test_an_end_that_waited_comes(self) -> None:
        """The other side may have ended it before."""
        self.transport.pauseProducing()
        self.transport.data_received([b"never read"])
        self.transport.ended(EndReason.DONE)
        self.assertFalse(self.protocol.closed)
        self.transport.loseConnection()
        self.turn()
        self.assertTrue(self.protocol.closed)
        self.assertEqual(self.protocol.data, b"")

    def test_a_pause_after_the_close(self) -> None:
        """It holds nothing back either."""
        self.transport.loseConnection()
        self.transport.pauseProducing()
        self.transport.ended(EndReason.DONE)
        self.assertTrue(self.protocol.closed)

    def test_no_data_after_the_close(self) -> None:
        """As with TCP: who closes has read enough."""
        self.transport.loseConnection()
        self.transport.data_received([b"late"])
        self.assertEqual(self.protocol.data, b"")

    def test_a_pause_holds_data_and_end(self) -> None:
        """Without a close everything waits, and comes in order."""
        self.transport.pauseProducing()
        self.transport.data_received([b"one ", b"two"])
        self.transport.ended(EndReason.DONE)
        self.assertEqual((self.protocol.data, self.protocol.closed), (b"", False))
        self.transport.resumeProducing()
        self.turn()
        self.assertEqual((self.protocol.data, self.protocol.closed), (b"one two", True))

    def test_small_pieces_that_wait_become_one(self) -> None:
        """An exit that sends single bytes takes no more memory than is counted."""
        self.transport.pauseProducing()
        for _ in range(1000):
            self.transport.data_received([b"a", b"b"])
        self.assertEqual((len(self.transport._pending), self.transport.held), (1, 2000))
        self.transport.resumeProducing()
        self.turn()
        self.assertEqual(self.protocol.data, b"ab" * 1000)

    def test_an_exit_that_says_nothing(self) -> None:
        """The end of a stream is not waited for without end."""
        self.transport.loseConnection()
        self.clock.advance(59)
        self.assertEqual(self.circuit.silent, 0)
        self.clock.advance(2)
        self.assertEqual(self.circuit.silent, 1)

    def test_no_half_close_is_told_after_the_end(self) -> None:
        """An application hears nothing of a stream that it was told is over."""
        told: list[str] = []

        @implementer(IHalfCloseableProtocol)
        class Half(Protocol):
            def readConnectionLost(self) -> None:
                told.append("read")

            def writeConnectionLost(self) -> None:
                told.append("write")

            def connectionLost(self, reason: object = None) -> None:
                told.append("lost")

        self.transport.attach(Half())
        self.transport.loseWriteConnection()
        self.transport.circuit_lost(Exception("gone"))
        self.turn()
        self.assertEqual(told, ["lost"])

    def test_an_error_of_the_application_costs_its_own_stream(self) -> None:
        """It is logged, the stream is torn, and whoever delivered the data hears nothing of it."""

        class Broken(Protocol):
            reason: Failure | None = None

            def dataReceived(self, data: bytes) -> None:
                raise RuntimeError("the application's own")

            def connectionLost(self, reason: Failure = connectionDone) -> None:
                self.reason = reason

        broken = Broken()
        self.transport.attach(broken)
        self.transport.data_received([b"x"])
        self.turn()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        assert broken.reason is not None
        self.assertFalse(broken.reason.check(ConnectionDone))
