"""How the work of a pool grows with its nodes (SECURITY D7): function calls are counted, not seconds."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.test_scale import FEW, LINEAR, MORE, calls
from tests.pool.build import POOL, Pool
from torpydo.directory import HeartbeatAnswer
from torpydo.pool.publisher import Publisher


class GrowthTests(SynchronousTestCase):
    """A pool, and one with four times as many nodes."""

    def setUp(self) -> None:
        self.pools = [self.pool(FEW), self.pool(FEW * MORE)]

    def pool(self, nodes: int) -> Pool:
        pool = Pool(test_network=True)
        for name in range(nodes):
            self.successResultOf(pool.send(pool.node(name)))
        pool.times.advance(1)
        return pool

    def test_heartbeat(self) -> None:
        """A heartbeat takes the same work however many nodes there are."""
        counts = []
        for pool in self.pools:
            data = pool.node(0).heartbeat()
            taken: list[Deferred[HeartbeatAnswer]] = []
            counts.append(calls(lambda pool=pool, data=data, taken=taken: taken.append(pool.admission.heartbeat(data))))
            self.successResultOf(taken[0])
        self.assertEqual(counts[0], counts[1])

    def test_known_document(self) -> None:
        """A heartbeat whose descriptor is known takes the same work whatever is in it: it is not parsed again."""
        counts = []
        pool = self.pools[0]
        for name, rules in enumerate((1, 100), start=FEW):
            node = pool.node(name, policy=", ".join(f"accept *:{port}" for port in range(1, rules + 1)))
            self.successResultOf(pool.send(node))
            pool.times.advance(1)
            data = node.heartbeat()
            taken: list[Deferred[HeartbeatAnswer]] = []
            counts.append(calls(lambda data=data, taken=taken: taken.append(pool.admission.heartbeat(data))))
            self.successResultOf(taken[0])
        self.assertEqual(counts[0], counts[1])

    def test_collect(self) -> None:
        """Looking for silent nodes, all of which are silent, looks at each."""
        counts = []
        for pool in self.pools:
            pool.times.advance(60)
            counts.append(calls(pool.admission.collect))
            self.assertEqual(pool.listed(), [])
        self.assertLessEqual(counts[1] / counts[0], LINEAR)

    def test_listing(self) -> None:
        """So does making the listing."""
        counts = []
        for pool in self.pools:
            publisher = Publisher(
                POOL,
                pool.store,
                lambda pool=pool: [node.record for node in pool.admission.listed()],
                clock=pool.times.clock.seconds,
                wall_clock=pool.times.wall,
                later=pool.times.clock.callLater,
                parameters={},
            )
            counts.append(calls(publisher.current))
        self.assertLessEqual(counts[1] / counts[0], LINEAR)
