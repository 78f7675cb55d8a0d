"""Tests of torpydo.node.congestion."""

from __future__ import annotations

from typing import cast

import attrs
from twisted.trial.unittest import SynchronousTestCase

from torpydo.node.circuit import RoutedCircuit
from torpydo.node.congestion import Congestion


@attrs.define(eq=False)
class Waiting:
    """A circuit, as far as its memory is concerned."""

    queued: int


def circuit(queued: int) -> RoutedCircuit:
    """A circuit for which so many bytes wait."""
    return cast(RoutedCircuit, Waiting(queued))


class CongestionTests(SynchronousTestCase):
    """Which circuits die when too much waits."""

    def setUp(self) -> None:
        self.congestion = Congestion(most=100, enough=90)

    def note(self, *sizes: int) -> list[RoutedCircuit]:
        """Circuits that began to wait in this order."""
        circuits = [circuit(size) for size in sizes]
        for one in circuits:
            self.congestion.note(one)
        return circuits

    def test_queued(self) -> None:
        """All that waits is counted once, however often it was noted."""
        one, _ = self.note(30, 40)
        self.congestion.note(one)
        self.assertEqual(self.congestion.queued, 70)

    def test_nobody_dies_at_the_cap(self) -> None:
        """As much as is allowed is allowed."""
        self.note(60, 40)
        self.assertEqual(self.congestion.sweep(), [])

    def test_the_oldest_dies_first(self) -> None:
        """Above it those that wait longest die, not those that hold most, until nine tenths are left."""
        circuits = self.note(10, 5, 80, 6)
        self.assertEqual(self.congestion.sweep(), circuits[:2])

    def test_emptied_ones_are_young_again(self) -> None:
        """Who had caught up in between is not old any more."""
        first, second = self.note(50, 40)
        cast(Waiting, first).queued = 0
        self.congestion.sweep()
        cast(Waiting, first).queued = 61
        self.congestion.note(first)
        self.assertEqual(self.congestion.sweep(), [second])

    def test_forgotten(self) -> None:
        """What is gone counts no more."""
        one, _ = self.note(200, 40)
        self.congestion.forget(one)
        self.assertEqual(self.congestion.queued, 40)
        self.assertEqual(self.congestion.sweep(), [])
