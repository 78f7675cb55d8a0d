"""Tests of torpydo.net.streams: what the whole-network tests of the transport do not reach."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import AccumulatingProtocol
from twisted.trial.unittest import SynchronousTestCase

from torpydo.net.streams import StreamTransport
from torpydo.tpdp import Address, EndReason


@attrs.define(eq=False)
class End:
    """Takes what a transport tells the core."""

    finished: list[EndReason] = attrs.field(factory=list)

    def send_data(self, stream: int, data: bytes) -> None:
        """Nothing is sent anywhere."""

    def close_write(self, stream: int) -> None:
        """Nothing is sent anywhere."""

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

    def flush_soon(self) -> None:
        """Nothing is sent anywhere."""


class PausedTests(SynchronousTestCase):
    """A transport that was told to pause, and then to close."""

    def setUp(self) -> None:
        self.soon: list[Callable[[], None]] = []
        self.circuit = Circuit()
        self.transport = StreamTransport(self.circuit, 1, Address.parse("192.0.2.1", 80), self.soon.append)
        self.protocol = AccumulatingProtocol()
        self.transport.attach(self.protocol)

    def turn(self) -> None:
        """What was put off happens."""
        soon, self.soon[:] = list(self.soon), []
        for call in soon:
            call()

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
