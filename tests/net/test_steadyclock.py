"""Tests of torpydo.net.steadyclock, with reactors of Twisted whose clock is set while timers wait."""

from __future__ import annotations

from typing import Any

from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock, LoopingCall
from twisted.trial.unittest import SynchronousTestCase

from torpydo.net import use_steady_clock

YEAR = 365 * 86400.0


class SteadyClockTests(SynchronousTestCase):
    """What becomes of the timers of a reactor when the time of day is set (SECURITY section 3, case 20)."""

    def setUp(self) -> None:
        self.ahead = 0.0
        self.steady = Clock()
        self.reactor: Any = SelectReactor()
        self.addCleanup(self.close)
        # In the place of the computer's.
        self.reactor.seconds = lambda: 1.8e9 + self.steady.seconds() + self.ahead
        self.fired: list[float] = []

    def close(self) -> None:
        """Give back what it wakes itself with."""
        self.reactor.removeAll()
        self.reactor.waker.connectionLost(None)

    def advance(self, seconds: int) -> None:
        """Time passes."""
        for _ in range(seconds):
            self.steady.advance(1.0)
            self.reactor.runUntilCurrent()

    def watch(self) -> None:
        """A timer for each second."""
        looping = LoopingCall(lambda: self.fired.append(self.steady.seconds()))
        looping.clock = self.reactor
        looping.start(1.0, now=False)

    def test_timers(self) -> None:
        """They come when they are due, whatever somebody sets."""
        use_steady_clock(self.reactor, self.steady.seconds)
        self.watch()
        for self.ahead in (0.0, -3600.0, YEAR, -YEAR):
            self.advance(3)
        self.assertEqual(self.fired, [float(second) for second in range(1, 13)])

    def test_without_it(self) -> None:
        """Twisted's own timers stand still until the clock has caught up."""
        self.watch()
        self.advance(3)
        self.ahead = -3600.0
        self.advance(30)
        self.assertEqual(len(self.fired), 3)

    def test_the_real_one(self) -> None:
        """It goes on, and is not the time of day."""
        use_steady_clock(self.reactor)
        before = self.reactor.seconds()
        self.assertLessEqual(before, self.reactor.seconds())
        self.assertLess(before, 1e9)
