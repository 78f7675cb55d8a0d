"""The byte pump between two transports."""

from __future__ import annotations

from socket import socket
from typing import cast

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.tcp import Connection
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.apps.doubles import FakeTransport, TLSLikeTransport
from torpydo.apps.needs import PipeTransport
from torpydo.apps.relay import HALF_CLOSED_IDLE, Relay, RelayEnd, Wire
from torpydo.client import ORIGIN_READ


@implementer(IHalfCloseableProtocol)
class Side(Protocol):
    """Tells a relay's end what its transport says."""

    end: RelayEnd

    def dataReceived(self, data: bytes) -> None:
        self.end.received(data)

    def readConnectionLost(self) -> None:
        self.end.eof()

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.end.lost(reason)


class RelayTests(SynchronousTestCase):
    """Two transports and what one hears of the other."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.join(FakeTransport(), FakeTransport())

    def join(self, near: TLSLikeTransport, far: TLSLikeTransport) -> None:
        self.near, self.far = near, far
        self.relay = Relay(Wire(near), Wire(far), self.clock)
        for transport, end in ((near, self.relay.near), (far, self.relay.far)):
            side = Side()
            side.end = end
            transport.attach(side)

    def test_bytes_both_ways(self) -> None:
        """What comes on one side is written on the other."""
        self.near.deliver(b"question")
        self.far.deliver(b"answer")
        self.assertEqual((self.far.take(), self.near.take()), (b"question", b"answer"))

    def test_a_full_side_holds_the_other(self) -> None:
        """Reading stops on the side that feeds a full transport, and on that side only."""
        self.far.fill()
        self.assertEqual((self.near.paused, self.far.paused), (True, False))
        self.far.drain()
        self.assertFalse(self.near.paused)
        self.near.fill()
        self.assertEqual((self.near.paused, self.far.paused), (False, True))

    def test_half_close_is_real(self) -> None:
        """An EOF ends writing on the other side only, and the answer still comes."""
        self.near.end_reading()
        self.assertEqual((self.far.calls, self.near.calls), (["half-close"], []))
        self.far.deliver(b"answer after your EOF")
        self.assertEqual(self.near.take(), b"answer after your EOF")

    def test_half_close_of_the_far_side(self) -> None:
        """It works in the other direction as well."""
        self.far.end_reading()
        self.near.deliver(b"more")
        self.assertEqual((self.near.calls, self.far.take()), (["half-close"], b"more"))

    def test_both_ends_close_both(self) -> None:
        """When both sides have ended, both connections are closed."""
        self.near.end_reading()
        self.far.end_reading()
        self.assertEqual((self.near.calls[-1], self.far.calls[-1]), ("close", "close"))
        self.near.settle()
        self.far.settle()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_torn_stays_torn(self) -> None:
        """A side that is torn aborts the other; a clean FIN never stands for it."""
        self.far.tear()
        self.assertEqual(self.near.calls, ["abort"])
        self.join(FakeTransport(), FakeTransport())
        self.near.tear()
        self.assertEqual(self.far.calls, ["abort"])

    def test_torn_after_half_close(self) -> None:
        """A tear counts even when one direction had ended well."""
        self.near.end_reading()
        self.far.tear()
        self.assertEqual(self.near.calls, ["abort"])
        self.near.settle()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_clean_end_closes(self) -> None:
        """A stream that ends cleanly in both directions at once closes the other side after what was written."""
        self.far.deliver(b"all of it")
        self.far.lose(ConnectionDone())
        self.assertEqual((self.near.take(), self.near.calls), (b"all of it", ["close"]))

    def test_end_of_a_held_side(self) -> None:
        """A side that ends while it is held is not resumed: it would report its EOF again."""
        self.far.fill()
        self.near.end_reading()
        self.assertEqual(self.far.calls, ["half-close"])

    def test_loss_of_a_full_side(self) -> None:
        """When a full side is lost, the side that it held can go too."""
        self.far.fill()
        self.far.tear()
        self.assertEqual(self.near.calls, ["abort"])
        self.near.settle()

    def test_no_half_close_over_tls(self) -> None:
        """A transport that cannot end writing alone is closed, after what was written."""
        self.join(TLSLikeTransport(), FakeTransport())
        self.far.deliver(b"answer")
        self.far.end_reading()
        self.assertEqual((self.near.take(), self.near.calls), (b"answer", ["close"]))
        self.near.settle()
        self.assertEqual(self.far.calls, ["close"])

    def test_silence_after_half_close(self) -> None:
        """A half-closed pair that is silent too long is torn: the other program may be gone."""
        self.near.end_reading()
        self.clock.advance(HALF_CLOSED_IDLE - 1)
        self.assertNotIn("abort", self.near.calls + self.far.calls)
        self.clock.advance(2)
        self.assertEqual((self.near.calls[-1], self.far.calls[-1]), ("abort", "abort"))

    def test_no_silence_while_bytes_move(self) -> None:
        """A half-closed pair on which bytes move lives on."""
        self.near.end_reading()
        for _ in range(5):
            self.clock.advance(HALF_CLOSED_IDLE - 1)
            self.far.deliver(b"still here")
        self.assertNotIn("abort", self.near.calls + self.far.calls)

    def test_no_limit_without_half_close(self) -> None:
        """A pair of which no side has ended may be silent for ever."""
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_each_end_once(self) -> None:
        """An EOF that is reported twice is passed on once."""
        self.near.end_reading()
        self.relay.near.eof()
        self.assertEqual(self.far.calls, ["half-close"])

    def test_each_loss_once(self) -> None:
        """A loss that is reported twice, or after the other side's, is passed on once."""
        self.near.tear()
        self.relay.near.lost(Failure(ConnectionDone()))
        self.far.settle()
        self.assertEqual((self.far.calls, self.near.calls), (["abort"], []))

    def test_end_after_the_other_is_gone(self) -> None:
        """An EOF that comes while its connection is being torn is nobody's business any more."""
        self.near.tear()
        self.far.end_reading()
        self.assertEqual((self.far.calls, self.near.calls), (["abort"], []))


class TLSWrapper(ProtocolWrapper):
    """What a TLS transport is in Twisted: it has the lower transport's half-close by accident."""

    def __init__(self, transport: FakeTransport) -> None:
        super().__init__(WrappingFactory(Factory()), Protocol())
        self.transport = transport


class WireTests(SynchronousTestCase):
    """One transport as source and sink."""

    def test_no_half_close_by_accident(self) -> None:
        """A wrapper that lets the lower half-close shine through is closed as a whole."""
        transport = FakeTransport()
        wrapper = TLSWrapper(transport)
        self.assertTrue(hasattr(wrapper, "loseWriteConnection"))
        Wire(cast(PipeTransport, wrapper)).end_write()
        self.assertEqual(transport.calls, ["close"])

    def test_a_read_fills_whole_cells(self) -> None:
        """Twisted's own size of a read is a little more than four cells take, which costs another record each time."""
        with socket() as near:
            connection = Connection(near, Protocol(), Clock())
            Wire(cast(PipeTransport, connection))
            self.assertEqual(connection.bufferSize, ORIGIN_READ)

    def test_no_delay(self) -> None:
        """A small piece does not wait until the last one is acknowledged, on either side of a relay."""
        transport = FakeTransport()
        Wire(transport)
        self.assertTrue(transport.getTcpNoDelay())

    def test_several_reasons(self) -> None:
        """Reading goes on when the last of several reasons is taken back."""
        transport = FakeTransport()
        wire = Wire(transport)
        wire.hold("a")
        wire.hold("b")
        wire.release("a")
        self.assertTrue(transport.paused)
        wire.release("b")
        self.assertFalse(transport.paused)

    def test_a_full_sink_holds_its_next_feeder(self) -> None:
        """A feeder that replaces a held one is held at once; the old one is let go."""
        sink, first, second = FakeTransport(), FakeTransport(), FakeTransport()
        wire = Wire(sink)
        wire.fed_by(Wire(first))
        sink.fill()
        wire.fed_by(Wire(second))
        self.assertEqual((first.paused, second.paused), (False, True))
        sink.drain()
        self.assertFalse(second.paused)
