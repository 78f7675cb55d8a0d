"""One end of a stream: its table of moves, its credit, its queue."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torpydo.errors import RemoteProtocolError
from torpydo.tpdp.constants import CREDIT_SECONDS, STREAM_CREDIT, STREAM_CREDIT_MAX
from torpydo.tpdp.messages import Type
from torpydo.tpdp.streams import RECEIVED, SMALL, Half, Phase, Stream


class TableTests(SynchronousTestCase):
    """What may be received when."""

    def test_every_state_and_message(self) -> None:
        """A move that is in the table goes, every other is a violation, nothing comes after END."""
        for origin in (False, True):
            for phase in Phase:
                for half in Half:
                    for kind in Type:
                        stream = Stream(1, phase)
                        stream.received = half
                        if half in RECEIVED.get((origin, phase, kind), ()):
                            self.assertIsNot(half, Half.ENDED)
                            stream.admit(origin, kind)
                        else:
                            self.assertRaises(RemoteProtocolError, stream.admit, origin, kind)

    def test_end_is_always_legal_once(self) -> None:
        """In every phase, at both ends."""
        for origin in (False, True):
            for phase in Phase:
                self.assertEqual(RECEIVED[origin, phase, Type.END], {Half.OPEN, Half.CLOSED})


class QueueTests(SynchronousTestCase):
    """What waits to be sent."""

    @given(st.lists(st.binary(min_size=1, max_size=50), max_size=8), st.lists(st.integers(1, 120)))
    def test_bytes_come_in_order(self, chunks: list[bytes], takes: list[int]) -> None:
        """However it was put and is taken; the sum is always right."""
        stream = Stream(1, Phase.OPEN)
        for chunk in chunks:
            stream.put(chunk)
        whole = b"".join(chunks)
        got = b""
        for limit in takes:
            if stream.buffered:
                taken = stream.take(limit)
                self.assertEqual(len(taken), min(limit, len(whole) - len(got)))
                got += taken
            self.assertEqual(stream.buffered, len(whole) - len(got))
        self.assertEqual(got, whole[: len(got)])
        self.assertEqual(stream.credit, STREAM_CREDIT - len(got))

    def test_small_pieces_become_one(self) -> None:
        """What is put byte by byte takes as much as its bytes; a large piece is not copied for a small one."""
        stream = Stream(1, Phase.OPEN)
        for _ in range(3 * SMALL):
            stream.put(b"x")
        stream.put(bytes(SMALL))
        self.assertEqual([len(chunk) for chunk in stream._chunks], [SMALL] * 4)


class CreditTests(SynchronousTestCase):
    """What the peer may send."""

    def test_nothing_is_granted_but_for_what_was_taken(self) -> None:
        """A consumer that stops gets no more than one credit."""
        stream = Stream(1, Phase.OPEN)
        stream.arrived(STREAM_CREDIT)
        self.assertRaises(RemoteProtocolError, stream.arrived, 1)
        stream.consumed(STREAM_CREDIT // 2 - 1)
        self.assertEqual(stream.grant(0.0), 0)

    @given(st.lists(st.tuples(st.integers(0, 5_000_000), st.integers(0, 5_000_000), st.floats(0, 2)), max_size=40))
    def test_what_waits_is_bounded(self, steps: list[tuple[int, int, float]]) -> None:
        """However the consumer behaves, granted and not yet taken is at most the largest credit (row F5)."""
        stream = Stream(1, Phase.OPEN)
        waiting = 0
        now = 0.0
        for arrive, take, pause in steps:
            count = min(arrive, stream.receive_credit)
            stream.arrived(count)
            waiting += count
            count = min(take, waiting)
            waiting -= count
            stream.consumed(count)
            now += pause
            stream.grant(now)
            self.assertLessEqual(waiting + stream.receive_credit, STREAM_CREDIT_MAX)

    def filled(self, pause: float, times: int) -> Stream:
        """A stream whose consumer takes everything at once, and whose sender waits *pause* seconds for new credit."""
        stream = Stream(1, Phase.OPEN)
        for number in range(times):
            count = stream.receive_credit
            stream.arrived(count)
            stream.consumed(count)
            stream.grant(number * pause)
        return stream

    def test_credit_grows_while_the_consumer_keeps_up(self) -> None:
        """Up to its limit, and no further."""
        self.assertEqual(self.filled(0.15, 12).receive_credit, STREAM_CREDIT_MAX)

    def test_credit_covers_a_second(self) -> None:
        """Whatever the round trip, up to the one that it is to cover; beyond that it does not grow without end."""
        self.assertEqual(self.filled(2 * CREDIT_SECONDS, 20).receive_credit, 2 * STREAM_CREDIT)

    def test_credit_stays_small_for_a_slow_consumer(self) -> None:
        """Half a credit in two seconds needs no more of it."""
        stream = Stream(1, Phase.OPEN)
        for number in range(40):
            stream.arrived(STREAM_CREDIT // 2)
            stream.consumed(STREAM_CREDIT // 2)
            stream.grant(number * 2.0)
        self.assertLessEqual(stream.receive_credit, 2 * STREAM_CREDIT)
