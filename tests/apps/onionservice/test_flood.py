"""Ten times as many introductions as a service's introduction points pass on, and who comes through all the same.

Everything is a twenty-fifth of what a node does by default: one introduction a second and point, a burst of eight. Each
introduction goes through real circuits, so these tests take seconds.
"""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.defer import Deferred

from tests.apps.onionservice.base import Services
from tests.network.base import router_of
from torpydo.apps.onionservice import OnionService, ServiceLimits
from torpydo.client import Circuit, Client, Conversation
from torpydo.client.paths import Want
from torpydo.node import NodeLimits
from torpydo.onion import LEAST_EFFORT, MOST_EFFORT, IntroduceStatus, IntroductionPoint, Proof, solve

FLOOD = 10
"""Introductions a second and point: ten times what one passes on."""
SOON = 10.0
"""Seconds in which an honest client must have come through: its second attempt."""
SECONDS = 30


class Floods(Services):
    """Attackers at every introduction point, and clients that know the descriptor of before or look for that of now."""

    latency = 0.01
    limits = NodeLimits(introductions_per_second=1.0, introductions_burst=8, introductions_waiting=3)

    def setUp(self) -> None:
        super().setUp()
        self.attacker: Client = self.network.success(self.network.add_client())
        self.opening: list[Deferred[object]] = []
        self.took: list[float] = []

    def proof(self, point: IntroductionPoint, message: bytes, effort: int) -> Proof:
        """One that holds."""
        nonce = solve(point.seed, message, effort, bytes(16), 1 << 24)
        assert nonce is not None
        return Proof(effort, nonce)

    def attack(self, service: OnionService, point: IntroductionPoint, effort: int) -> None:
        """One introduction of an attacker, on a circuit as short as can be."""
        message = self.hello(service.name, point, self.network.nodes[0].node_id, self.random.randbytes(20))
        proof = self.proof(point, message, effort)

        def introduce(circuit: Circuit) -> None:
            asking = Conversation(circuit, self.network.reactor, self.random.randrange)
            asking.introduce(point.key.raw, message, proof).addBoth(lambda ignored: asking.close())

        wanted = Want("", None, 1, anywhere=True, last=point.node_id)
        self.attacker._run.build_for(wanted).addCallbacks(introduce, lambda failure: None)

    def visit(self, service: OnionService) -> None:
        """One honest client more. Every second one has found the descriptor before the attack."""
        connector = self.connects(self.network.client)
        if len(self.opening) % 2:
            connector._known.update(self.connector._known)
        began = self.network.reactor.seconds()
        opening = self.open(service.name, connector=connector)
        opening.addCallback(lambda _: self.took.append(self.network.reactor.seconds() - began))
        self.opening.append(opening)

    def flood(self, service: OnionService, effort: int) -> float:
        """All points, with that effort each; the part of honest clients that came through in time."""
        self.echoes(service.name)
        points = self.points(service.name)
        for tick in range(SECONDS * FLOOD):
            for point in points:
                self.attack(service, point, effort)
            # At times that have nothing to do with each other: a client that comes just before its turn has it easy.
            self.network.advance(self.random.uniform(0.05, 0.15))
            if tick % 10 == 5 and tick < (SECONDS - SOON) * FLOOD:
                self.visit(service)
        for one in self.opening:
            one.addErrback(lambda failure: None)
        return sum(took <= SOON for took in self.took) / len(self.opening)


class EffortTests(Floods):
    """What an attacker does."""

    def test_no_effort(self) -> None:
        """Nine of ten honest clients come through at their second attempt at the latest; later the effort falls."""
        service = self.service()
        self.assertGreaterEqual(self.flood(service, 0), 0.9)
        self.assertEqual(service.effort, LEAST_EFFORT)
        self.assertGreater(self.refused("introductions_too_fast"), 600)
        self.network.advance(400)
        self.assertEqual(service.effort, 0)

    def test_the_effort_of_the_beginning(self) -> None:
        """Nor do those keep anybody off who make what was suggested when they began: more is asked for at once."""
        service = self.service()
        service._demand.effort = 64
        service._demand._changed = self.network.reactor.seconds() - 60.0
        service._publisher.soon()
        self.network.advance(2)
        self.assertEqual(service.effort, 64)
        self.assertGreaterEqual(self.flood(service, 64), 0.9)
        self.assertEqual(service.effort, LEAST_EFFORT)

    def test_the_service_starts_again(self) -> None:
        """In the middle of it: its points, their keys and their seeds are others, and it is reached as before."""
        first = self.service()
        self.echoes(first.name)
        before = self.points(first.name)
        for _ in range(100):
            for point in before:
                self.attack(first, point, 0)
            self.network.advance(0.1)
        first.stop()
        self.network.advance(1)
        second = self.service()
        after = self.points(second.name)
        self.assertFalse({point.seed for point in before} & {point.seed for point in after})
        self.assertGreaterEqual(self.flood(second, 0), 0.9)


class Lies(Floods):
    """Introduction points that say what is not so."""

    def lie(
        self, service: OnionService, points: Iterable[IntroductionPoint], effort: int, message: bytes = b""
    ) -> None:
        """They claim to have refused somebody who had made that effort, and bring *message* or a good one."""
        for point in points:
            router_of(self.node(point.node_id))._onions._introductions._points[point.key.raw].refused = effort + 1
            hello = self.hello(service.name, point, self.network.nodes[0].node_id, self.random.randbytes(20))
            self.assertIs(self.introduce(point, message or hello), IntroduceStatus.OK)


class LyingTests(Lies):
    """One of them, most of them."""

    def test_one(self) -> None:
        """It does not make clients pay."""
        service = self.service()
        for _ in range(8):
            self.lie(service, self.points(service.name)[:1], MOST_EFFORT)
            self.network.advance(5)
        self.assertEqual(service.effort, 0)

    def test_most(self) -> None:
        """They are believed: what they say cannot be told from the truth. It costs twice as much every half minute."""
        service = self.service()
        for rises in range(3):
            self.lie(service, self.points(service.name)[:2], MOST_EFFORT)
            self.assertEqual(service.effort, LEAST_EFFORT << rises)
            self.network.advance(30)
            # Somebody who had not made as much as is asked for.
            self.lie(service, self.points(service.name), service.effort - 1)
            self.assertEqual(service.effort, LEAST_EFFORT << rises)

    def test_messages_of_those_who_do_not_know_the_name(self) -> None:
        """What comes with them counts all the same, and with one that was there before: the crowd is as large."""
        service = self.service()
        for rises in range(2):
            self.lie(service, self.points(service.name)[:2], MOST_EFFORT, b"m" * 512)
            self.assertEqual(service.effort, LEAST_EFFORT << rises)
            self.network.advance(30)

    def test_efforts(self) -> None:
        """The service looks itself, and serves nobody first who has not made what is claimed."""
        service = self.service(limits=ServiceLimits(meetings=0))
        point, other, _ = self.points(service.name)
        message = self.hello(service.name, point, self.network.nodes[0].node_id, bytes(20))
        good = self.proof(point, message, 100)
        # A node passes on what it was told when there is room; this one does so with what holds at another point only.
        elsewhere = self.hello(service.name, other, self.network.nodes[0].node_id, bytes(20))
        self.introduce(other, elsewhere, self.proof(point, elsewhere, 200))
        self.introduce(point, message, good)
        self.introduce(point, message, good)
        self.assertEqual([service._queue.waiting(effort) for effort in (0, 1, 100, 101)], [2, 1, 1, 0])


class FewNodesTests(Lies):
    """A network in which one node has to be two introduction points."""

    nodes = 3

    def test_one(self) -> None:
        """It counts as one."""
        service = self.service()
        points = self.points(service.name)
        one, other = (point for point in points if sum(it.node_id == point.node_id for it in points) == 2)
        self.lie(service, [one, other], MOST_EFFORT)
        self.assertEqual(service.effort, 0)
