"""Tests of torpydo.cli.bench.pacing: a delay line without sockets and without a clock."""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torpydo.cli.bench.pacing import MOST, OVERDUE, QUEUE_TIME, Bottleneck, Lane

DELAY = 0.025


def drain(lane: Lane, now: float) -> bytes:
    """Take everything that is due."""
    out = b""
    while (data := lane.take(now)) is not None:
        out += data
        lane.taken(len(data))
    return out


@attrs.define(eq=False)
class Sender:
    """Sends as fast as a lane lets it, and notes how much of that was inside at the most."""

    lane: Lane
    chunk: int = 10_000
    most: int = 0

    def send(self, now: float) -> None:
        """Fill the lane."""
        while (room := self.lane.room_at(now)) is not None and room <= now:
            self.lane.put(bytes(self.chunk), now)
            self.most = max(self.most, self.lane.held)


class DelayTests(SynchronousTestCase):
    """A line of which only the length is limited."""

    def setUp(self) -> None:
        self.lane = Lane(Bottleneck(), DELAY)

    def test_not_before_its_time(self) -> None:
        """A byte comes out after the delay and not before."""
        self.lane.put(b"hello", 10.0)
        self.assertEqual(self.lane.next_due(), 10.0 + DELAY)
        self.assertIsNone(self.lane.take(10.024))
        self.assertEqual(drain(self.lane, 10.025), b"hello")
        self.assertEqual((self.lane.held, self.lane.next_due()), (0, None))

    def test_a_reader_that_takes_a_part(self) -> None:
        """What was not taken is there the next time."""
        self.lane.put(b"hello", 0.0)
        self.lane.taken(2)
        self.assertEqual((drain(self.lane, 1.0), self.lane.held), (b"llo", 0))

    def test_the_end_comes_last(self) -> None:
        """The end takes as long as a byte, and waits for the bytes before it."""
        self.lane.put(b"x", 0.0)
        self.lane.end(0.01)
        self.assertFalse(self.lane.ended(1.0))
        drain(self.lane, 1.0)
        self.assertEqual([self.lane.ended(now) for now in (0.034, 0.035)], [False, True])
        self.assertIsNone(self.lane.room_at(1.0))

    def test_a_reader_that_does_not_read(self) -> None:
        """The sender is stopped soon, and goes on when something was read."""
        sender = Sender(self.lane)
        self.lane.put(bytes(OVERDUE), 0.0)
        self.assertIsNotNone(self.lane.room_at(DELAY / 2))
        self.assertIsNone(self.lane.room_at(1.0))
        drain(self.lane, 1.0)
        sender.send(1.0)
        self.assertEqual(self.lane.held, -(-MOST // sender.chunk) * sender.chunk)

    @given(st.lists(st.tuples(st.binary(min_size=1, max_size=50), st.floats(0, 0.1), st.integers(1, 20)), max_size=30))
    def test_nothing_is_lost(self, turns: list[tuple[bytes, float, int]]) -> None:
        """However it is written and read, the bytes come out whole and in order."""
        lane, now, out = Lane(Bottleneck(1000.0), DELAY), 0.0, b""
        for data, pause, most in turns:
            lane.put(data, now)
            now += pause
            if (due := lane.take(now)) is not None:
                out += due[:most]
                lane.taken(len(due[:most]))
        out += drain(lane, now + 1e6)
        self.assertEqual((out, lane.held), (b"".join(data for data, _, _ in turns), 0))


class RateTests(SynchronousTestCase):
    """A line that carries a million bytes a second."""

    RATE = 1_000_000

    def carried(self, lanes: list[Lane], seconds: float) -> list[int]:
        """How much comes out of each lane when senders send whatever they may."""
        senders = [Sender(lane) for lane in lanes]
        out = [0] * len(lanes)
        for tick in range(int(seconds * 1000)):
            for sender in senders:
                sender.send(tick / 1000)
            for number, lane in enumerate(lanes):
                out[number] += len(drain(lane, tick / 1000))
        self.most = sum(sender.most for sender in senders)
        return out

    def test_it_carries_its_rate(self) -> None:
        """All of it and no more, but for what is still inside."""
        [out] = self.carried([Lane(Bottleneck(self.RATE), DELAY)], 2.0)
        self.assertLess(abs(out - self.RATE * (2.0 - DELAY)), 20_000)

    def test_memory_is_bounded(self) -> None:
        """Inside is what the delay and the queue hold, whatever the sender would like."""
        self.carried([Lane(Bottleneck(self.RATE), DELAY)], 1.0)
        self.assertLess(self.most, self.RATE * (DELAY + QUEUE_TIME) + 20_000)

    def test_connections_share_it(self) -> None:
        """Two connections have together what one would have."""
        bottleneck = Bottleneck(self.RATE)
        out = self.carried([Lane(bottleneck, DELAY), Lane(bottleneck, DELAY)], 2.0)
        self.assertLess(abs(sum(out) - self.RATE * (2.0 - DELAY)), 30_000)

    def test_a_pause_is_not_made_good(self) -> None:
        """A line that carried nothing for a while is not faster afterwards."""
        lane = Lane(Bottleneck(self.RATE), DELAY)
        lane.put(bytes(1000), 100.0)
        self.assertAlmostEqual(lane.next_due() or 0.0, 100.0 + 0.001 + DELAY)
