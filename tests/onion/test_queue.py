"""The queue of introductions: who is served, who is dropped, how fast."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torpydo.onion import IntroductionQueue


def make(
    most: int = 2500, *, patience: float = 10.0, per_second: float = 250.0, burst: float = 25.0
) -> IntroductionQueue[str]:
    """One as a service has it by default."""
    return IntroductionQueue(most, patience, per_second, burst)


def take_all(queue: IntroductionQueue[str], now: float) -> str:
    """What is served without a pause."""
    taken = ""
    while (one := queue.take(now)) is not None:
        taken += one[0]
    return taken


class QueueTests(SynchronousTestCase):
    """By effort, with bounds."""

    def test_highest_effort_first(self) -> None:
        """Of equals the last one: its client is the likeliest to be there still."""
        queue = make()
        for name, effort in zip("abcdef", (0, 7, 0, 9, 7, 0), strict=True):
            self.assertIsNone(queue.put(name, effort, 1.0))
        self.assertEqual(queue.highest, 9)
        self.assertEqual(queue.take(1.0), ("d", 9))
        self.assertEqual(take_all(queue, 1.0), "ebfca")
        self.assertEqual((len(queue), queue.highest), (0, -1))

    def test_full(self) -> None:
        """The lowest effort is dropped, of equals the oldest; one that is itself the lowest does not come in."""
        queue = make(3)
        dropped = [queue.put(name, effort, 1.0) for name, effort in zip("abcdef", (5, 1, 1, 8, 5, 0), strict=True)]
        self.assertEqual(dropped, [None, None, None, ("b", 1), ("c", 1), ("f", 0)])
        self.assertEqual(len(queue), 3)
        self.assertEqual(take_all(queue, 1.0), "dea")

    def test_too_late(self) -> None:
        """Those who have waited longer than a client waits are dropped when it is their turn."""
        queue = make()
        queue.put("a", 9, 0.0)
        queue.put("b", 8, 0.1)
        queue.put("c", 0, 5.0)
        self.assertEqual(take_all(queue, 10.05), "bc")
        self.assertEqual(len(queue), 0)

    def test_all_that_are_too_late(self) -> None:
        """They can be asked for, wherever they stand."""
        queue = make(patience=2.0)
        for name, effort, at in (("a", 9, 0.0), ("b", 8, 0.1), ("c", 0, 0.0), ("d", 3, 1.0)):
            queue.put(name, effort, at)
        self.assertEqual(queue.drop_late(1.9), [])
        self.assertEqual(queue.drop_late(2.0), [("c", 0), ("a", 9)])
        self.assertEqual(take_all(queue, 2.0), "bd")

    def test_one_that_leaves(self) -> None:
        """It waits no more; the others keep their turns."""
        queue = make()
        for name, effort in zip("abc", (2, 3, 2), strict=True):
            queue.put(name, effort, 1.0)
        self.assertEqual((queue.remove("b"), queue.remove("b")), (3, None))
        self.assertEqual(take_all(queue, 1.0), "ca")

    def test_all_leave(self) -> None:
        """They are given back."""
        queue = make()
        for name in "abc":
            queue.put(name, 1, 1.0)
        self.assertEqual((queue.clear(), len(queue), queue.take(1.0)), (["a", "b", "c"], 0, None))

    def test_how_fast(self) -> None:
        """So many a second at the most, and so many at once after a pause."""
        queue = make(10_000, patience=100.0)
        for _ in range(2000):
            queue.put("x", 0, 50.0)
        self.assertEqual(len(take_all(queue, 50.0)), 25)
        self.assertAlmostEqual(queue.pause(50.0), 0.004)
        self.assertIsNone(queue.take(50.0039))
        now, taken = 50.0, 0
        while now < 54.0:
            now += queue.pause(now)
            taken += len(take_all(queue, now))
        self.assertIn(taken, (1000, 1001))

    def test_slower_than_one_a_second(self) -> None:
        """One at a time."""
        queue = make(per_second=0.5, burst=0.05)
        for name in "ab":
            queue.put(name, 0, 0.0)
        self.assertEqual(take_all(queue, 0.0), "b")
        self.assertEqual(queue.pause(0.0), 2.0)
        self.assertEqual(take_all(queue, 2.0), "a")

    @given(st.lists(st.integers(0, 5)), st.integers(0, 6))
    def test_counting(self, efforts: list[int], least: int) -> None:
        """How many wait with at least some effort."""
        queue = make()
        for effort in efforts:
            queue.put("x", effort, 0.0)
        self.assertEqual(queue.waiting(least), sum(effort >= least for effort in efforts))
