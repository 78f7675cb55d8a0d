"""Token buckets, and what counts as one host."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from torpydo.net import Buckets, buckets, host_key


class HostKeyTests(SynchronousTestCase):
    """What counts as one host."""

    def test_ipv4(self) -> None:
        """Each address."""
        self.assertNotEqual(host_key(bytes([1, 2, 3, 4])), host_key(bytes([1, 2, 3, 5])))

    def test_ipv6(self) -> None:
        """Each /64."""
        network = bytes(range(8))
        self.assertEqual(host_key(network + bytes(8)), host_key(network + bytes([9] * 8)))
        self.assertNotEqual(host_key(network + bytes(8)), host_key(bytes(16)))


class BucketsTests(SynchronousTestCase):
    """Token buckets."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.buckets = Buckets(self.clock.seconds, 2.0, 5.0)

    def test_a_clock_that_is_set_back(self) -> None:
        """It takes no tokens away: an application's reactor may go by the time of day."""
        self.take()
        self.clock.rightNow -= 3600.0
        self.assertEqual(self.take(), 0)
        self.clock.advance(2.5)
        self.assertEqual(self.take(), 5)

    def take(self, key: bytes = b"a") -> int:
        """How many tokens there are."""
        count = 0
        while self.buckets.take(key):
            count += 1
        return count

    def test_a_new_one_is_full(self) -> None:
        """It holds the burst."""
        self.assertEqual(self.take(), 5)

    def test_it_fills_at_its_rate(self) -> None:
        """And not beyond the burst."""
        self.take()
        self.clock.advance(1.5)
        self.assertEqual(self.take(), 3)
        self.clock.advance(100)
        self.assertEqual(self.take(), 5)

    def test_keys_are_apart(self) -> None:
        """One empty bucket does not empty another."""
        self.take(b"a")
        self.assertEqual(self.take(b"b"), 5)

    def test_full_ones_are_forgotten(self) -> None:
        """They would be made again as they were; the others stay."""
        self.take(b"a")
        self.clock.advance(10)
        self.take(b"b")
        self.buckets.prune()
        self.assertEqual(len(self.buckets), 1)
        self.assertEqual(self.take(b"b"), 0)

    def test_their_number_is_bounded(self) -> None:
        """A scanner with many addresses does not fill the memory once its buckets are full again."""
        self.patch(buckets, "MAX_BUCKETS", 10)
        for number in range(100):
            self.clock.advance(1)
            self.buckets.take(bytes([number]))
            self.assertLessEqual(len(self.buckets), 10)

    @given(st.lists(st.floats(0, 10), max_size=30))
    def test_never_more_than_rate_and_burst(self, pauses: list[float]) -> None:
        """However the questions are spaced."""
        clock = Clock()
        buckets = Buckets(clock.seconds, 2.0, 5.0)
        taken = 0
        for pause in pauses:
            clock.advance(pause)
            while buckets.take(b""):
                taken += 1
        self.assertLessEqual(taken, 5.0 + 2.0 * clock.seconds() + 1e-6)
