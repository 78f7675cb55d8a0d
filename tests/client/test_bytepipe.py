"""Tests of torpydo.client.bytepipe."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.client.doubles import StreamDouble
from torpydo.client.bytepipe import HIGH, BytePipe
from torpydo.errors import StreamFailed, StreamReset

DONE = Failure(ConnectionDone())
TORN = Failure(ConnectionLost())


class PipeTestCase(SynchronousTestCase):
    """A pipe on a stream."""

    def setUp(self) -> None:
        self.connect()

    def connect(self) -> None:
        self.transport = StreamDouble()
        self.pipe = BytePipe()
        self.pipe.makeConnection(self.transport)


class ReceiveTests(PipeTestCase):
    """Reading."""

    def test_what_is_there_is_given_at_once(self) -> None:
        """Up to the number asked for."""
        self.pipe.dataReceived(b"abcdef")
        self.assertEqual(self.successResultOf(self.pipe.receive(4)), b"abcd")
        self.assertEqual(self.successResultOf(self.pipe.receive(4)), b"ef")

    def test_waits_for_bytes(self) -> None:
        """In the order of asking."""
        first, second = self.pipe.receive(2), self.pipe.receive(2)
        self.assertNoResult(first)
        self.pipe.dataReceived(b"abc")
        self.assertEqual((self.successResultOf(first), self.successResultOf(second)), (b"ab", b"c"))

    def test_exactly_waits_for_all(self) -> None:
        """And leaves the rest."""
        result = self.pipe.receive_exactly(4)
        self.pipe.dataReceived(b"abc")
        self.assertNoResult(result)
        self.pipe.dataReceived(b"de")
        self.assertEqual(self.successResultOf(result), b"abcd")
        self.assertEqual(self.successResultOf(self.pipe.receive(9)), b"e")

    def test_no_bytes_at_the_clean_end(self) -> None:
        """After everything was read, however often."""
        self.pipe.dataReceived(b"abc")
        self.pipe.connectionLost(DONE)
        results = [self.successResultOf(self.pipe.receive(9)) for _ in range(3)]
        self.assertEqual(results, [b"abc", b"", b""])

    def test_half_close_is_an_end_for_the_reader(self) -> None:
        """And writing still works."""
        waiting = self.pipe.receive(9)
        self.pipe.readConnectionLost()
        self.assertEqual(self.successResultOf(waiting), b"")
        self.successResultOf(self.pipe.send(b"more"))
        self.assertEqual(self.transport.value(), b"more")

    def test_a_torn_stream_is_never_a_clean_end(self) -> None:
        """What had come is given; then an error."""
        self.pipe.dataReceived(b"abc")
        self.pipe.connectionLost(TORN)
        self.assertEqual(self.successResultOf(self.pipe.receive(9)), b"abc")
        self.failureResultOf(self.pipe.receive(9), StreamReset)

    def test_torn_after_half_close(self) -> None:
        """A reset after EOF is told too."""
        self.pipe.readConnectionLost()
        self.pipe.connectionLost(TORN)
        self.failureResultOf(self.pipe.receive(9), StreamReset)

    def test_an_end_before_all_bytes_says_how_many_came(self) -> None:
        """``receive_exactly`` gives all or an error."""
        result = self.pipe.receive_exactly(10)
        self.pipe.dataReceived(b"abc")
        self.pipe.connectionLost(DONE)
        self.assertIn("3 of 10 bytes", str(self.failureResultOf(result, StreamFailed).value))

    def test_cancel(self) -> None:
        """The bytes are for the next one."""
        first = self.pipe.receive(9)
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.pipe.dataReceived(b"abc")
        self.assertEqual(self.successResultOf(self.pipe.receive(9)), b"abc")

    def test_nothing_cannot_be_asked_for(self) -> None:
        """It would look like the end."""
        self.failureResultOf(self.pipe.receive(0), ValueError)

    def test_paused_while_nobody_reads(self) -> None:
        """Memory is bounded; reading goes on when there is room."""
        self.pipe.dataReceived(bytes(HIGH))
        self.assertEqual(self.transport.producerState, "paused")
        self.successResultOf(self.pipe.receive(HIGH))
        self.assertEqual(self.transport.producerState, "producing")

    def test_a_large_exact_read_is_not_starved(self) -> None:
        """More than the buffer's mark can be asked for."""
        result = self.pipe.receive_exactly(3 * HIGH)
        for _ in range(3):
            self.assertEqual(self.transport.producerState, "producing")
            self.pipe.dataReceived(bytes(HIGH))
        self.assertEqual(len(self.successResultOf(result)), 3 * HIGH)

    def test_a_large_exact_read_of_a_paused_stream(self) -> None:
        """It is resumed for it."""
        self.pipe.dataReceived(bytes(HIGH))
        self.pipe.receive_exactly(2 * HIGH)
        self.assertEqual(self.transport.producerState, "producing")

    @given(chunks=st.lists(st.binary(min_size=1, max_size=9)), counts=st.lists(st.integers(1, 12), max_size=40))
    def test_no_byte_is_lost_or_moved(self, chunks: list[bytes], counts: list[int]) -> None:
        """However it is cut and asked for."""
        self.connect()
        got: list[bytes] = []
        for count in counts:
            self.pipe.receive(count).addCallback(got.append)
        for chunk in chunks:
            self.pipe.dataReceived(chunk)
        self.pipe.connectionLost(DONE)
        sent = b"".join(chunks)
        self.assertTrue(sent.startswith(b"".join(got)))
        if sum(counts) and len(counts) >= len(sent):
            self.assertEqual(b"".join(got), sent)


class SendTests(PipeTestCase):
    """Writing."""

    def test_fires_at_once_while_there_is_room(self) -> None:
        """The stream has the bytes."""
        self.successResultOf(self.pipe.send(b"abc"))
        self.assertEqual(self.transport.value(), b"abc")

    def test_fires_when_there_is_room_again(self) -> None:
        """So that a fast writer goes at the stream's pace."""
        self.pipe.pauseProducing()
        result = self.pipe.send(b"abc")
        self.assertNoResult(result)
        self.pipe.resumeProducing()
        self.successResultOf(result)

    def test_the_pipe_asks_to_be_told(self) -> None:
        """It is the stream's producer."""
        self.assertIs(self.transport.producer, self.pipe)
        self.assertTrue(self.transport.streaming)

    def test_fails_when_the_stream_ends(self) -> None:
        """Before it took the bytes, or ever after."""
        self.pipe.pauseProducing()
        result = self.pipe.send(b"abc")
        self.pipe.connectionLost(TORN)
        self.failureResultOf(result, StreamReset)
        self.failureResultOf(self.pipe.send(b"abc"), StreamReset)

    def test_cancel(self) -> None:
        """The wait ends; the bytes are on their way."""
        self.pipe.pauseProducing()
        result = self.pipe.send(b"abc")
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.pipe.resumeProducing()


class CloseTests(PipeTestCase):
    """Closing."""

    def test_the_producer_goes_first(self) -> None:
        """A registered producer would hold the stream open."""
        closed = self.pipe.close()
        self.assertIsNone(self.transport.producer)
        self.assertTrue(self.transport.disconnecting)
        self.assertNoResult(closed)
        self.pipe.connectionLost(DONE)
        self.successResultOf(closed)
        self.successResultOf(self.pipe.close())

    def test_a_paused_stream_is_resumed(self) -> None:
        """Or it would never tell that it has ended."""
        self.pipe.dataReceived(bytes(HIGH))
        self.pipe.close()
        self.assertEqual(self.transport.producerState, "producing")

    def test_what_comes_after_is_not_kept(self) -> None:
        """Nobody will ask for it, and it must not pause the end."""
        self.pipe.close()
        self.pipe.dataReceived(bytes(2 * HIGH))
        self.assertEqual(self.transport.producerState, "producing")
