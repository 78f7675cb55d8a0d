"""Tests of torpydo.node.workers.restarts."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from torpydo.node.workers.restarts import HEALTHY, Restarts


class RestartsTests(SynchronousTestCase):
    """How long a worker waits until it is started again."""

    def test_longer_each_time(self) -> None:
        """A worker that ends at once is started less and less often, but never given up."""
        restarts = Restarts()
        self.assertEqual([restarts.delay(0.5) for _ in range(8)], [1, 2, 4, 8, 16, 32, 60, 60])

    def test_after_a_minute_of_health(self) -> None:
        """An end after that is the first one again."""
        restarts = Restarts()
        for _ in range(8):
            restarts.delay(0.5)
        self.assertEqual([restarts.delay(HEALTHY), restarts.delay(0.5)], [1, 2])
