"""Tests of torpydo.net.collector."""

from __future__ import annotations

import gc

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from torpydo.net import settle_collector
from torpydo.net.collector import OLDER, SETTLED, TRIM, YOUNG, c_library_trim


class SettleTests(SynchronousTestCase):
    """The memory of a process that runs for months."""

    def setUp(self) -> None:
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        self.addCleanup(gc.unfreeze)
        self.trimmed = 0

    def trim(self) -> None:
        self.trimmed += 1

    def test_when_the_start_is_over(self) -> None:
        """Then, and not before the reactor runs, what there is is left alone, and the collector looks less often."""
        reactor = MemoryReactorClock()
        settle_collector(reactor, self.trim)
        self.assertEqual(reactor.getDelayedCalls(), [])
        reactor.run()
        reactor.advance(SETTLED / 2)
        self.assertLess(gc.get_threshold()[0], YOUNG)
        self.assertEqual(gc.get_freeze_count(), 0)
        reactor.advance(SETTLED / 2)
        self.assertEqual(gc.get_threshold(), (YOUNG, OLDER, OLDER))
        self.assertGreater(gc.get_freeze_count(), 1000)

    def test_free_memory_goes_back(self) -> None:
        """Once a minute, whatever the process does; not in its start."""
        reactor = MemoryReactorClock()
        settle_collector(reactor, self.trim)
        reactor.run()
        reactor.advance(SETTLED)
        self.assertEqual(self.trimmed, 0)
        for minute in range(1, 4):
            reactor.advance(TRIM)
            self.assertEqual(self.trimmed, minute)

    def test_everything_is_looked_at(self) -> None:
        """Once a minute, before memory goes back; what takes long is done less often: a thousandth of the time."""
        reactor = MemoryReactorClock()
        looks: list[tuple[float, int]] = []
        takes = 0.0

        def collect() -> None:
            looks.append((reactor.seconds(), self.trimmed))
            reactor.rightNow += takes

        settle_collector(reactor, self.trim, collect)
        reactor.run()
        reactor.advance(SETTLED)
        for _ in range(3):
            reactor.advance(TRIM)
        begin = reactor.seconds() - 3 * TRIM
        self.assertEqual(looks, [(begin + minute * TRIM, minute - 1) for minute in (1, 2, 3)])
        looks.clear()
        takes = 0.15
        for _ in range(8):
            reactor.advance(TRIM)
        self.assertEqual(self.trimmed, 11)
        self.assertEqual([round((time - begin) / TRIM) for time, _ in looks], [4, 7, 10])

    def test_the_c_library(self) -> None:
        """What it has for that can be called, or nothing is."""
        self.assertIn(c_library_trim()(), (None, 0, 1))
