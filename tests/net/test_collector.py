"""Tests of torpydo.net.collector."""

from __future__ import annotations

import gc

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from torpydo.net import settle_collector
from torpydo.net.collector import OLDER, SETTLED, YOUNG


class SettleTests(SynchronousTestCase):
    """The collector of a process that runs for months."""

    def setUp(self) -> None:
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        self.addCleanup(gc.unfreeze)

    def test_when_the_start_is_over(self) -> None:
        """Then, and not before the reactor runs, what there is is left alone, and the collector looks less often."""
        reactor = MemoryReactorClock()
        settle_collector(reactor)
        self.assertEqual(reactor.getDelayedCalls(), [])
        reactor.run()
        reactor.advance(SETTLED / 2)
        self.assertLess(gc.get_threshold()[0], YOUNG)
        self.assertEqual(gc.get_freeze_count(), 0)
        reactor.advance(SETTLED / 2)
        self.assertEqual(gc.get_threshold(), (YOUNG, OLDER, OLDER))
        self.assertGreater(gc.get_freeze_count(), 1000)
