"""Tests of torpydo.client.congestion."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.client.doubles import Holder
from torpydo.client.congestion import SWEEP, Congestion
from torpydo.client.refusals import ClientRefusal


class CongestionTests(SynchronousTestCase):
    """Which circuits end."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.refused: list[tuple[ClientRefusal, int]] = []
        self.congestion = Congestion(self.clock, 100, lambda cause, count: self.refused.append((cause, count)))
        self.holders = [Holder(self.congestion) for _ in range(4)]

    def closed(self) -> list[int]:
        """The circuits that were closed."""
        return [number for number, one in enumerate(self.holders) if one.closed]

    def test_below_the_limit(self) -> None:
        """Nothing happens, and the sum is what waits."""
        self.holders[0].hold(60)
        self.holders[1].hold(40)
        self.clock.advance(SWEEP)
        self.assertEqual((self.closed(), self.congestion.queued, self.refused), ([], 100, []))

    def test_oldest_first(self) -> None:
        """Those whose bytes have waited longest end until nine tenths are left; of the same age, the largest."""
        self.holders[2].hold(30)
        self.clock.advance(SWEEP)
        self.holders[0].hold(30)
        self.holders[1].hold(30)
        self.holders[3].hold(50)
        self.clock.advance(SWEEP)
        self.assertEqual((self.closed(), self.congestion.queued), ([2, 3], 60))
        self.assertEqual(self.refused, [(ClientRefusal.MEMORY, 2)])

    def test_one_that_was_empty_in_between_is_young(self) -> None:
        """Only bytes that wait now have an age."""
        self.holders[0].hold(30)
        self.holders[1].hold(30)
        self.holders[0].queued = 0
        self.clock.advance(SWEEP)
        self.holders[0].hold(80)
        self.clock.advance(SWEEP)
        self.assertEqual(self.closed(), [1])

    def test_nothing_waits_nothing_happens(self) -> None:
        """No timer is left when the last circuit has been emptied, or is gone."""
        self.holders[0].hold(10)
        self.holders[0].queued = 0
        self.clock.advance(SWEEP)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.holders[1].hold(10)
        self.holders[1].close("gone")
        self.congestion.forget(self.holders[2])
        self.assertEqual((self.clock.getDelayedCalls(), self.congestion.queued), ([], 0))

    def test_everything_at_once(self) -> None:
        """One circuit that holds more than all may is not kept."""
        self.holders[0].hold(101)
        self.clock.advance(SWEEP)
        self.assertEqual((self.closed(), self.congestion.queued), ([0], 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])
