"""Tests of looking for silent nodes in torpydo.pool.admission, where one node fills a slice of time."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import NOW
from tests.net.test_slices import TURN, later
from tests.pool.build import Node, Pool, Times
from torpydo.pool import admission
from torpydo.pool.admission import FORGET_AFTER
from torpydo.pool.limits import PoolLimits


class CollectTests(SynchronousTestCase):
    """What may happen between two slices."""

    def setUp(self) -> None:
        self.patch(admission, "COLLECT_SLICE", 0.0)
        times = Times()
        self.pool = Pool(times=times, later=later(times.clock))

    def accept(self, node: Node) -> None:
        """A heartbeat in this very turn."""
        self.successResultOf(self.pool.admission.heartbeat(node.heartbeat()))

    def test_one_by_one(self) -> None:
        """Each node has its turn, and others have theirs in between."""
        for name in range(3):
            self.accept(self.pool.node(name))
        self.pool.times.advance(31)
        over = self.pool.admission.collect()
        for left in (3, 2, 1):
            self.assertEqual(len(self.pool.listed()), left)
            self.assertNoResult(over)
            self.pool.times.advance(TURN)
        self.successResultOf(over)
        self.assertEqual(self.pool.listed(), [])

    def test_stop(self) -> None:
        """A look that is under way when the pool stops drops nobody any more, and leaves nothing to be saved."""
        for name in range(3):
            self.accept(self.pool.node(name))
        self.pool.times.advance(31)
        over = self.pool.admission.collect()
        self.pool.times.advance(TURN)
        self.pool.admission.stop()
        self.pool.times.advance(TURN)
        self.successResultOf(over)
        self.assertEqual(len(self.pool.listed()), 2)
        self.assertEqual(self.pool.times.clock.getDelayedCalls(), [])

    def test_room_is_taken(self) -> None:
        """A node that lost its room to another during the look is not forgotten twice, nor when it is back."""
        self.pool = Pool(times=self.pool.times, later=self.pool.later, limits=PoolLimits(nodes=2))
        for name in range(2):
            self.accept(self.pool.node(name))
        self.pool.times.advance(31)
        self.pool.admission.collect()
        self.pool.times.advance(TURN, TURN, FORGET_AFTER + 1)
        over = self.pool.admission.collect()
        today = NOW + FORGET_AFTER
        other, back = (self.pool.node(name, published=today, sequence=today * 1000) for name in (2, 0))
        self.accept(other)
        self.accept(back)
        self.pool.times.advance(TURN, TURN)
        self.successResultOf(over)
        self.assertCountEqual(self.pool.listed(), [other.node_id, back.node_id])
        self.assertCountEqual([record.node_id for record in self.pool.saved()], self.pool.listed())
