"""Tests of torpydo.net.looplag."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from torpydo.net import LoopLag


class LoopLagTests(SynchronousTestCase):
    """How late timers are."""

    def setUp(self) -> None:
        self.reactor = Clock()
        self.lost = 0.0
        self.lag = LoopLag(self.reactor, lambda: self.reactor.seconds() + self.lost)
        self.lag.start()

    def test_a_loop_with_time_for_everything(self) -> None:
        """Its timers come when they are due."""
        self.reactor.pump([0.1] * 100)
        self.assertLess(self.lag.worst, 0.11)

    def test_a_loop_that_was_stuck(self) -> None:
        """The worst of the last minute is told, and forgotten after it (SECURITY section 3, case 30)."""
        self.reactor.pump([0.5] * 10)
        self.lost += 2.0
        self.reactor.pump([0.5] * 20)
        self.assertAlmostEqual(self.lag.worst, 2.0)
        self.reactor.pump([0.5] * 98)
        self.assertAlmostEqual(self.lag.worst, 2.0)
        self.reactor.pump([0.5] * 8)
        self.assertEqual(self.lag.worst, 0.0)

    def test_a_loop_that_is_stuck_now(self) -> None:
        """Whoever is asked while a timer is overdue says so, before that timer was called."""
        self.lost += 3.5
        self.assertAlmostEqual(self.lag.worst, 3.0)

    def test_two_delays(self) -> None:
        """The larger one counts, whichever came first."""
        for lost in (0.3, 1.5, 0.2):
            self.lost += lost
            self.reactor.pump([0.5] * 2)
        self.assertAlmostEqual(self.lag.worst, 1.5)

    def test_nothing_is_left_after_the_end(self) -> None:
        """No timer, and no delay of before; a second stop does no harm."""
        self.lost += 5.0
        self.reactor.advance(0.5)
        self.lag.stop()
        self.lag.stop()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(self.lag.worst, 0.0)
