"""Tests of torpydo.net.waiting."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from torpydo.net import Waiting


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
        circuits = self.note(10, 5, 80, 6)
        self.assertEqual(self.waiting.sweep(), circuits[:2])

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
