"""Tests of torpydo.net.waiting."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from torpydo.net import Queue, Waiting
from torpydo.net.waiting import OLD


@attrs.define(eq=False)
class Circuit:
    """A circuit, as far as its memory is concerned."""

    queued: int


class WaitingTests(SynchronousTestCase):
    """Which circuits end when too much waits."""

    def setUp(self) -> None:
        self.waiting: Waiting[Circuit] = Waiting(most=100)

    def note(self, *sizes: int) -> list[Circuit]:
        """Circuits that began to wait in this order."""
        circuits = [Circuit(size) for size in sizes]
        for one in circuits:
            self.waiting.note(one)
        return circuits

    def test_queued(self) -> None:
        """All that waits is counted once, however often it was noted."""
        one, _ = self.note(30, 40)
        self.waiting.note(one)
        self.assertEqual((self.waiting.queued, len(self.waiting)), (70, 2))

    def test_nobody_ends_at_the_cap(self) -> None:
        """As much as is allowed is allowed."""
        self.note(60, 40)
        self.assertEqual(self.waiting.sweep(), [])

    def test_the_oldest_ends_first(self) -> None:
        """Above it those that wait longest end, not those that hold most, until nine tenths are left."""
        circuits = self.note(10, 5)
        self.waiting.sweep()
        self.note(80, 6)
        self.assertEqual(self.waiting.sweep(), circuits)

    def test_what_is_beside_them(self) -> None:
        """Bytes that are nobody's count as well; they cannot end."""
        circuits = self.note(20, 30)
        self.assertEqual(self.waiting.sweep(beside=50), [])
        self.assertEqual(self.waiting.sweep(beside=51), [circuits[1]])
        self.assertEqual(self.waiting.sweep(beside=1000), circuits[::-1])

    def test_emptied_ones_are_young_again(self) -> None:
        """Who had caught up in between is not old any more."""
        first, second = self.note(50, 40)
        first.queued = 0
        self.waiting.sweep()
        self.assertEqual(len(self.waiting), 1)
        first.queued = 61
        self.waiting.note(first)
        self.assertEqual(self.waiting.sweep(), [second])

    def test_forgotten(self) -> None:
        """What is gone counts no more."""
        one, _ = self.note(200, 40)
        self.waiting.forget(one)
        self.assertEqual(self.waiting.queued, 40)
        self.assertEqual(self.waiting.sweep(), [])


@attrs.define(eq=False)
class Flowing:
    """A circuit with queues that move.

    :ivar places: bytes that wait, and bytes that have left, by the name of the queue
    """

    places: dict[str, tuple[int, int]]

    @property
    def queued(self) -> int:
        """See ``Holder``."""
        return sum(waiting for waiting, _ in self.places.values())

    def queues(self) -> list[Queue]:
        """See ``Waiting``."""
        return [(name, *counts) for name, counts in self.places.items()]


class AgeTests(SynchronousTestCase):
    """Whose bytes are the oldest (SECURITY F6)."""

    def setUp(self) -> None:
        self.waiting: Waiting[Flowing] = Waiting(10**9, Flowing.queues)

    def add(self, **places: tuple[int, int]) -> Flowing:
        """A circuit in which something waits."""
        circuit = Flowing(places)
        self.waiting.note(circuit)
        return circuit

    def look(self, count: int = 1) -> None:
        """Some seconds pass."""
        for _ in range(count):
            self.assertEqual(self.waiting.sweep(), [])

    def order(self) -> list[Flowing]:
        """In which order they would end."""
        self.waiting.most = 0
        victims = self.waiting.sweep()
        self.waiting.most = 10**9
        return victims

    def test_a_busy_circuit_is_young(self) -> None:
        """It is never empty, but what waits is new at each look; what stands still is old, however little it is."""
        busy, stuck = self.add(back=(1000, 0)), self.add(back=(10, 0))
        for second in range(1, 4):
            self.look()
            busy.places["back"] = (1000, 1000 * second)
        self.assertEqual(self.order(), [stuck, busy])

    def test_a_trickle_is_no_way_out(self) -> None:
        """Who takes a byte now and then has old bytes all the same, and those that come on top of them hide nothing."""
        honest, sniper = self.add(back=(5000, 0)), self.add(back=(5000, 0))
        for second in range(1, 5):
            self.look()
            honest.places["back"] = (5000, 5000 * second)
            sniper.places["back"] = (5000 + 10 * second, second)
        self.assertEqual(self.order(), [sniper, honest])

    def test_another_queue_is_no_way_out(self) -> None:
        """Of a circuit in which something else moves fast."""
        honest, sniper = self.add(back=(5000, 0)), self.add(back=(5000, 0), on=(100, 0))
        for second in range(1, 5):
            self.look()
            honest.places["back"] = (5000, 5000 * second)
            sniper.places["on"] = (100, 1_000_000 * second)
        self.assertEqual(self.order(), [sniper, honest])

    def test_age(self) -> None:
        """It is that of the oldest byte: when that has left, the next one counts."""
        first, second = self.add(back=(100, 0)), Flowing({"back": (100, 0)})
        self.look()
        first.places["back"] = (200, 0)
        self.waiting.note(second)
        self.look()
        # What was there at the first look is gone, what came between the looks is not.
        first.places["back"] = (150, 150)
        self.assertEqual(self.order(), [first, second])
        first.places["back"] = (150, 350)
        self.assertEqual(self.order(), [second, first])

    def test_of_those_that_are_stuck_the_largest(self) -> None:
        """A download that somebody has paused an hour ago does not end before an attack that is some seconds old."""
        paused = self.add(back=(100, 0))
        self.look(100)
        sniper = self.add(back=(5000, 0))
        self.look(OLD - 1)
        self.assertEqual(self.order(), [paused, sniper])
        self.assertEqual(self.order(), [sniper, paused])

    def test_little_is_remembered(self) -> None:
        """However long a circuit is stuck while more comes."""
        stuck = self.add(back=(100, 0))
        for second in range(1, 200):
            self.look()
            stuck.places["back"] = (100 + second, 0)
        self.assertLessEqual(len(self.waiting._holders[stuck]["back"]), 2 * OLD)
