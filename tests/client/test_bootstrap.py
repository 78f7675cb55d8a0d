"""Tests of torpydo.client.bootstrap."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from torpydo.client.bootstrap import Bootstrap
from torpydo.client.status import CIRCUIT, DONE, NODES
from torpydo.errors import PoolUnreachable


class BootstrapTests(SynchronousTestCase):
    """Who waits for "ready"."""

    def setUp(self) -> None:
        self.told: list[tuple[int, str, str]] = []
        self.bootstrap = Bootstrap(lambda *step: self.told.append(step))

    def test_ready(self) -> None:
        """Those who wait now and those who ask later."""
        waiting = self.bootstrap.when_ready()
        self.assertNoResult(waiting)
        self.bootstrap.finish()
        self.successResultOf(waiting)
        self.successResultOf(self.bootstrap.when_ready())
        self.assertEqual(self.bootstrap.progress, DONE)

    def test_a_failure_is_told_to_both(self) -> None:
        """With the same reason."""
        waiting = self.bootstrap.when_ready()
        error = PoolUnreachable("down")
        self.bootstrap.fail(error)
        self.assertIs(self.failureResultOf(waiting).value, error)
        self.assertIs(self.failureResultOf(self.bootstrap.when_ready()).value, error)

    def test_after_a_new_start_who_asks_waits_again(self) -> None:
        """What was in the way may be gone."""
        self.bootstrap.fail(PoolUnreachable("down"))
        self.bootstrap.start_over()
        waiting = self.bootstrap.when_ready()
        self.assertNoResult(waiting)
        self.bootstrap.finish()
        self.successResultOf(waiting)

    def test_ready_forgets_the_reason(self) -> None:
        """What once was in the way is of no interest any more."""
        self.bootstrap.fail(PoolUnreachable("down"))
        self.bootstrap.finish()
        self.assertIsNone(self.bootstrap.reason)

    def test_the_percentage_never_falls(self) -> None:
        """Also when a step is made again."""
        for step in (NODES, CIRCUIT, NODES):
            self.bootstrap.reach(step)
        self.assertEqual([percent for percent, _, _ in self.told], [50, 75, 75])

    def test_cancel(self) -> None:
        """Who leaves is not told."""
        waiting = self.bootstrap.when_ready()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.bootstrap.finish()
