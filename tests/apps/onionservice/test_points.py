"""Introduction points of a service in a simulated network: replaced in time, and never too early."""

from __future__ import annotations

from tests.apps.onionservice.base import Services
from tests.network.base import router_of
from torpydo.apps.onionservice import OnionService, PointLife, ServiceLimits
from torpydo.onion import IntroduceStatus, Proof, solve
from torpydo.testing import Conditions

DAY = (86_400, 86_400)
MANY = (1 << 20, 1 << 20)
"""More introductions than a test has."""


class RotationTests(Services):
    """Points whose time is over."""

    nodes = 10

    def test_too_old(self) -> None:
        """Others are opened first and stored, then the old ones go on for a while: clients still know them."""
        service = self.service(limits=ServiceLimits(life=PointLife((60, 60), MANY, overlap=30.0)))
        before = self.points(service.name)
        self.network.advance(52)
        self.assertEqual(self.points(service.name), before)
        self.network.advance(10)
        after = self.points(service.name)
        self.assertEqual((len(after), len(service.introduction_points)), (3, 3))
        self.assertFalse({point.key for point in before} & {point.key for point in after})
        self.assertFalse({point.node_id for point in before} & {point.node_id for point in after})
        # A client that has found the descriptor a minute ago.
        self.assertIs(self.introduce(before[0], bytes(512)), IntroduceStatus.OK)
        self.network.advance(30)
        self.assertIs(self.introduce(before[0], bytes(512)), IntroduceStatus.UNKNOWN)
        self.assertIs(self.introduce(after[0], bytes(512)), IntroduceStatus.OK)
        self.assertEqual(self.reachable, [True])

    def test_random_times(self) -> None:
        """Each has a time of its own, between the bounds."""
        service = self.service(limits=ServiceLimits(life=PointLife((20, 200), MANY, overlap=1.0)))
        before = set(self.points(service.name))
        left = []
        for _ in range(11):
            self.network.advance(20)
            left.append(len(before & set(self.points(service.name))))
        self.assertEqual((left[0], left[-1]), (3, 0))
        self.assertTrue({1, 2} & set(left))

    def test_too_many_introductions(self) -> None:
        """So many, whoever they are of, and another point takes its place; the old one goes on for a while."""
        service = self.service(limits=ServiceLimits(life=PointLife(DAY, (5, 5), overlap=30.0)))
        old, *others = self.points(service.name)
        for number in range(5):
            self.assertEqual(set(self.points(service.name)), {old, *others})
            # One that was there before does not count.
            for _ in range(2):
                self.assertIs(self.introduce(old, bytes([number]) * 512), IntroduceStatus.OK)
        self.network.advance(2)
        points = self.points(service.name)
        self.assertEqual(len(points), 3)
        self.assertTrue(set(others) < set(points))
        self.assertNotIn(old, points)
        self.assertIs(self.introduce(old, b"x" * 512), IntroduceStatus.OK)
        self.network.advance(30)
        self.assertIs(self.introduce(old, b"y" * 512), IntroduceStatus.UNKNOWN)

    def test_a_flood(self) -> None:
        """One that has twice as many is left at once: what is remembered of them has a bound."""
        service = self.service(limits=ServiceLimits(life=PointLife(DAY, (5, 5), overlap=3000.0)))
        old = self.points(service.name)[0]
        answers = [self.introduce(old, bytes([number]) * 512) for number in range(11)]
        self.assertEqual(answers, [IntroduceStatus.OK] * 10 + [IntroduceStatus.UNKNOWN])

    def test_nothing_better(self) -> None:
        """As long as no other point can be had, or none is known, the old one stays in the descriptor and in use."""
        service = self.service(limits=ServiceLimits(life=PointLife((60, 60), MANY, overlap=30.0)))
        before = self.points(service.name)
        self.store.holders = 0
        self.network.advance(58)
        self.assertEqual(self.points(service.name), before)
        self.network.advance(40)
        self.assertIs(self.introduce(before[0], bytes(512)), IntroduceStatus.OK)
        self.store.holders = 8
        self.network.advance(60)
        self.assertFalse(set(self.points(service.name)) & set(before))
        self.network.advance(32)
        self.assertIs(self.introduce(before[0], bytes(512)), IntroduceStatus.UNKNOWN)

    def test_lost_while_it_leaves(self) -> None:
        """Nothing is left of it, and nothing is opened instead of it."""
        service = self.service(limits=ServiceLimits(life=PointLife((20, 120), MANY, overlap=3000.0)))
        before = self.points(service.name)
        self.network.advance(120)
        after = self.points(service.name)
        gone = next(point for point in before if point not in after)
        self.network.kill(self.node(gone.node_id))
        self.network.advance(5)
        kept = [point for point in after if point.node_id != gone.node_id]
        self.assertTrue(set(kept) <= set(self.points(service.name)))
        self.assertEqual(len(service.introduction_points), 3)


class SeedTests(Services):
    """Seeds of puzzles."""

    def seeds(self, service: OnionService) -> list[bytes]:
        """Those of the descriptor."""
        return [point.seed for point in self.points(service.name)]

    def held(self, service: OnionService) -> list[list[bytes]]:
        """Those that the nodes take, the last one first."""
        tables = [router_of(self.node(point.node_id))._onions._introductions for point in self.points(service.name)]
        points = self.points(service.name)
        return [list(reversed(table._points[one.key.raw].counted)) for table, one in zip(tables, points, strict=True)]

    def test_each_has_its_own(self) -> None:
        """The nodes know it as soon as clients do; they cannot see by it that they belong together."""
        service = self.service()
        self.assertEqual(len(set(self.seeds(service))), 3)
        self.assertEqual(self.held(service), [[seed] for seed in self.seeds(service)])

    def test_another_one(self) -> None:
        """It is in the next descriptor; the one before counts at node and service until there is a third one."""
        limits = ServiceLimits(meetings=0, life=PointLife(DAY, MANY, seed=(60, 60)))
        service = self.service(limits=limits)
        before = self.points(service.name)
        self.network.advance(60)
        after = self.points(service.name)
        self.assertEqual([point.key for point in after], [point.key for point in before])
        self.assertFalse({point.seed for point in before} & {point.seed for point in after})
        held = [[new.seed, old.seed] for new, old in zip(after, before, strict=True)]
        self.assertEqual(self.held(service), held)
        for number, point in enumerate((before[0], after[0])):
            message = self.hello(service.name, point, self.network.nodes[0].node_id, bytes(20))
            nonce = solve(point.seed, message, 50, bytes(16), 1 << 20)
            assert nonce is not None
            self.introduce(point, message, Proof(50, nonce))
            self.assertEqual(service._queue.waiting(50), number + 1)
        self.network.advance(60)
        message = self.hello(service.name, before[0], self.network.nodes[0].node_id, bytes(20))
        nonce = solve(before[0].seed, message, 50, bytes(16), 1 << 20)
        assert nonce is not None
        self.introduce(before[0], message, Proof(50, nonce))
        self.assertEqual((service._queue.waiting(50), service._queue.waiting(0)), (2, 3))
        self.assertEqual([len(seeds) for seeds in self.held(service)], [2, 2, 2])

    def test_at_times_of_their_own(self) -> None:
        """Whoever sees two points change theirs at one time would know that they are of one service."""
        service = self.service(limits=ServiceLimits(life=PointLife(DAY, MANY, seed=(100, 200))))
        last = dict(enumerate(self.seeds(service)))
        times: list[list[int]] = [[], [], []]
        for second in range(120):
            self.network.advance(2)
            for number, (seed, *_) in enumerate(self.held(service)):
                if seed != last[number]:
                    last[number] = seed
                    times[number].append(second)
        self.assertTrue(all(1 <= len(one) <= 2 for one in times), times)
        self.assertEqual(len({second for one in times for second in one}), sum(map(len, times)), times)


class FewNodesTests(Services):
    """A network with hardly any nodes."""

    nodes = 4

    def test_two_at_one(self) -> None:
        """Then several points are at one node, and replaced all the same."""
        service = self.service(limits=ServiceLimits(life=PointLife((60, 60), MANY, overlap=5.0)))
        before = self.points(service.name)
        self.assertEqual(len(before), 3)
        self.network.advance(70)
        self.assertEqual(len(self.points(service.name)), 3)
        self.assertFalse(set(before) & set(self.points(service.name)))
        self.echoes(service.name)


class OpeningTests(Services):
    """From the start."""

    def test_three_nodes(self) -> None:
        """Points that are opened at once are at different nodes all the same."""
        for number in range(6):
            service = self.service(bytes([number]) * 32)
            self.assertEqual(len({point.node_id for point in self.points(service.name)}), 3)

    def test_stop_while_they_are_opened(self) -> None:
        """Nothing is left of them, wherever they are by then."""
        self.network.internet.ways.set(Conditions(latency=0.05))
        for tenths in range(1, 12):
            circuits = self.circuits()
            service = self.make(bytes([tenths]) * 32)
            service.start()
            self.network.advance(0.1 * tenths)
            service.stop()
            self.network.advance(2)
            self.assertEqual((len(service.introduction_points), self.circuits()), (0, circuits))
            self.assertEqual(service.is_reachable, False)
