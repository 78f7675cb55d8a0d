"""Services and their clients in a simulated network, with a store in memory."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from tests.apps.onionservice.base import START, Services
from torpydo.apps.onionservice import OnionService, ServiceLimits
from torpydo.apps.onionservice.service import APART
from torpydo.client import Client, Conversation
from torpydo.dht import Item
from torpydo.errors import ConfigurationError, OnionNameError, ServiceNotFound, ServiceUnreachable
from torpydo.onion import (
    LEAST_EFFORT,
    PERIOD,
    DHPublicKey,
    DHSecretKey,
    IntroduceStatus,
    IntroductionPoint,
    NodeId,
    OnionName,
    Secret,
    SigningKey,
    blind,
)


class ReachingTests(Services):
    """From the name to the stream."""

    def test_a_stream(self) -> None:
        """By its name alone; the next ones use the same circuit, those of others another one."""
        service = self.service()
        self.assertEqual((len(service.introduction_points), service.is_reachable), (3, True))
        self.echoes(service.name)
        self.echoes(f"www.{service.name}".upper())
        self.assertEqual(service.circuits, 1)
        self.echoes(service.name, isolation="other")
        self.assertEqual(service.circuits, 2)
        self.assertEqual([one.port for one in self.incoming], [80, 80, 80])

    def test_no_such_service(self) -> None:
        """A name that nobody has, and one that is none."""
        other = OnionName.of(SigningKey(Secret(b"o" * 32)))
        self.failureResultOf(self.open(other), ServiceNotFound)
        self.failureResultOf(self.open("short.torpydo"), OnionNameError)

    def test_clients_with_keys(self) -> None:
        """Who has a key comes in; who has none hears the same as of a service that is not there."""
        key = DHSecretKey(Secret(b"c" * 32))
        service = self.service(clients=[key.public])
        self.failureResultOf(self.open(service.name), ServiceNotFound)
        self.connector.client_keys[service.name] = key
        self.echoes(service.name)

    def test_what_cannot_be(self) -> None:
        """Too many clients or points are refused when the service is made, not when its descriptor is."""
        key = DHSecretKey(Secret(b"c" * 32)).public
        self.assertRaises(ConfigurationError, self.make, clients=[key] * 33)
        self.make(clients=[key] * 32)
        # One with which nothing can be sealed for anybody: every descriptor would fail.
        self.assertRaises(ConfigurationError, self.make, clients=[key, DHPublicKey(bytes(32))])
        for points in (0, 11):
            self.assertRaises(ConfigurationError, self.make, points=points)


class DescriptorTests(Services):
    """What is stored, and when."""

    def test_a_day_later(self) -> None:
        """Descriptors are signed with the keys of two days around midnight; clients with other clocks find them."""
        self.skew = PERIOD - (START % PERIOD) - 3600.0
        service = self.service()
        self.network.advance(APART)
        self.assertEqual(len(self.store.items), 2)
        puts = len(self.store.puts)
        # Two hours later: another day for the client, and the service has stored again meanwhile.
        self.skew += 2 * 3600.0
        service._points_changed()
        self.network.advance(APART + 1)
        self.assertEqual(len(self.store.puts), puts + 2)
        self.echoes(service.name)
        self.assertEqual(len(self.store.items), 2)
        # A client whose clock is a day behind or ahead of the service's.
        for hours in (-24, 24):
            later = self.connects(self.network.client)
            later._wall_clock = lambda hours=hours: self.wall() + 3600 * hours
            self.echoes(service.name, isolation=hours, connector=later)

    def test_noon(self) -> None:
        """At other times there is one."""
        self.skew = PERIOD - (START % PERIOD) + PERIOD / 2
        self.service()
        self.assertEqual(len(self.store.items), 1)

    def test_after_a_restart(self) -> None:
        """The sequence is higher, even at once: no two descriptors under one key have the same."""
        sequences = []
        for _ in range(3):
            service = self.service()
            sequences += [item.sequence for item in self.store.items.values()]
            service.stop()
            self.skew -= 4.9
        self.assertEqual(sequences, sorted(set(sequences)))

    def test_a_clock_that_was_set_back(self) -> None:
        """Between two starts, by hours: what those who keep descriptors prefer is the new one, a moment later."""
        first = self.service()
        old = dict(self.store.items)
        first.stop()
        self.network.advance(1)
        self.skew -= 3 * 3600.0
        second = self.service()
        self.assertEqual(self.store.items.keys(), old.keys())
        for target, item in self.store.items.items():
            self.assertGreater(item.sequence, old[target].sequence)
            # By how much is random: the next ones may have been used by the first service.
            self.assertGreater(item.sequence, old[target].sequence + 1000)
        self.echoes(second.name)
        # While it runs it is no matter.
        self.skew -= 3600.0
        before = dict(self.store.items)
        second._publisher.soon()
        self.network.advance(2)
        self.assertTrue(all(item.sequence > before[target].sequence for target, item in self.store.items.items()))

    def test_what_is_beyond_the_scale(self) -> None:
        """Nothing comes after it that could be used: it is left alone, and nothing breaks."""
        service = self.service()
        period = int(self.wall()) // PERIOD
        key = blind(SigningKey(Secret(b"s" * 32)), period)
        last = Item.make(key, key.public.raw, b"", 2**63 - 1, 2**40, b"v")
        puts = len(self.store.puts)
        service._outdone(last)
        self.network.advance(3)
        self.assertEqual(len(self.store.puts), puts)

    def test_the_clock_is_not_told(self) -> None:
        """Not by what holders see: the sequences of two days are no neighbours, and an expiry is a full hour."""
        self.skew = PERIOD - (START % PERIOD) - 1800.0
        self.service()
        self.network.advance(APART)
        one, other = self.store.items.values()
        self.assertGreater(abs(one.sequence - other.sequence), 2**40)
        self.assertEqual({item.expires % 3600 for item in self.store.items.values()}, {0})
        now = self.wall()
        for item in self.store.items.values():
            self.assertTrue(now + 1.5 * 3600 < item.expires <= now + 4 * 3600)

    def test_days_are_not_stored_together(self) -> None:
        """Whoever keeps both does not see two come at once, whenever that is."""
        self.skew = PERIOD - (START % PERIOD) - 3600.0
        service = self.service()
        pauses = set()
        for _ in range(5):
            self.network.advance(APART + 2)
            before = {target: item.sequence for target, item in self.store.items.items()}
            came: dict[bytes, float] = {}
            service._points_changed()
            for second in range(APART + 2):
                self.network.advance(1)
                for target, item in self.store.items.items():
                    if item.sequence > before.get(target, -1):
                        came.setdefault(target, second)
            self.assertEqual(len(came), 2)
            pauses.add(max(came.values()) - min(came.values()))
        self.assertGreater(len(pauses), 2)
        self.assertGreater(max(pauses), 10)

    def test_a_neighbour_that_comes_near(self) -> None:
        """Nothing has changed for hours; it is stored all the same, and its sequence goes on when it is today's."""
        self.skew = PERIOD - (START % PERIOD) - 2 * 3600.0 - 60.0
        service = self.service()
        self.network.advance(APART)
        self.assertEqual(len(self.store.items), 1)
        self.skew += 120.0
        service._neighbours._publish()
        self.assertEqual(len(self.store.items), 2)
        (tomorrow,) = {*self.store.items.values()} - {self.store.items[next(iter(self.store.items))]}
        self.skew += 2 * 3600.0
        service._publisher._publish()
        self.assertEqual(len(self.store.items), 2)
        self.assertGreater(self.store.items[tomorrow.target].sequence, tomorrow.sequence)

    def test_nobody_keeps_it(self) -> None:
        """The service is not reachable until somebody does, and is told of it."""
        self.store.holders = 0
        service = self.service()
        self.assertEqual((service.is_reachable, self.reachable), (False, []))
        self.store.holders = 8
        self.network.advance(31)
        self.assertEqual((service.is_reachable, self.reachable), (True, [True]))

    def test_no_introduction_point(self) -> None:
        """What is stored leads nowhere when all are lost; it is reachable again when a new one is stored."""
        service = self.service()
        self.network.partition(self.network.clients[1])
        self.network.advance(120)
        self.assertEqual((len(service.introduction_points), self.reachable), (0, [True, False]))
        self.store.holders = 0
        self.network.heal()
        self.network.advance(90)
        self.assertEqual((len(service.introduction_points), self.reachable), (3, [True, False]))
        self.store.holders = 8
        self.network.advance(150)
        self.assertEqual(self.reachable, [True, False, True])
        self.echoes(service.name)


class LossTests(Services):
    """What breaks."""

    def test_the_service_starts_again(self) -> None:
        """With the same key it has the same name, and clients that know the old descriptor find the new one."""
        first = self.service()
        self.echoes(first.name)
        first.stop()
        self.network.advance(1)
        second = self.service()
        self.assertEqual(second.name, first.name)
        self.echoes(second.name)

    def test_the_service_has_gone(self) -> None:
        """The client is told after it has tried every point."""
        service = self.service()
        service.stop()
        self.network.advance(1)
        opening = self.open(service.name)
        self.network.advance(60)
        self.failureResultOf(opening, ServiceUnreachable)

    def test_an_introduction_point_is_killed(self) -> None:
        """Another one takes its place, and the next connection works at once."""
        service = self.service()
        node_id = self.points(service.name)[0].node_id
        self.network.kill(self.node(node_id))
        self.echoes(service.name)
        self.network.advance(30)
        self.assertEqual(len(service.introduction_points), 3)
        self.assertNotIn(node_id, [point.node_id for point in self.points(service.name)])

    def test_the_rendezvous_node_is_killed(self) -> None:
        """The streams are torn, and the next one takes another node."""
        service = self.service()
        said = self.echoes(service.name)
        (circuit,) = service._meetings.circuits
        self.network.kill(self.node(circuit.path[-1].node_id))
        self.network.advance(2)
        self.assertTrue(said.lost)
        self.echoes(service.name)

    def test_the_client_is_closed(self) -> None:
        """Nothing is left but one timer that tries again, until the service is stopped."""
        service = self.service()
        self.echoes(service.name)
        self.network.success(self.hosting.close())
        self.network.advance(100)
        self.assertEqual((len(service.introduction_points), service.circuits), (0, 0))
        self.assertEqual(self.reachable, [True, False])
        service.stop()
        self.assertEqual(list(self.network.reactor.getDelayedCalls()), [])

    def test_stop_leaves_nothing(self) -> None:
        """No timer, not that of a crowd either, no circuit; its user is not told what he has done himself."""
        service = self.service()
        service._demand.effort = LEAST_EFFORT
        service._demand._changed = self.network.reactor.seconds()
        for isolation in range(2):
            self.echoes(service.name, isolation=isolation)
        service.stop()
        self.network.advance(2)
        self.assertEqual((len(service.introduction_points), service.circuits, service.is_reachable), (0, 0, False))
        self.assertEqual(self.reachable, [True])
        self.network.success(self.network.client.close())
        self.assertEqual(list(self.network.reactor.getDelayedCalls()), [])


class ReplayTests(Services):
    """An introduction that comes again."""

    def test_a_replay(self) -> None:
        """It builds no circuit, neither at once (SECURITY O4) nor after the service was started again."""
        service = self.service()
        waiting = self.network.success(self.network.client.conversation())
        self.network.success(waiting.establish_rendezvous(b"c" * 20))
        point = self.points(service.name)[0]
        message = self.hello(service.name, point, waiting.node_id, b"c" * 20)
        self.assertIs(self.introduce(point, message), IntroduceStatus.OK)
        self.successResultOf(waiting.when_met())
        self.assertEqual(service.circuits, 1)
        # A second meeting would come to the node with a cookie that is used up.
        self.assertIs(self.introduce(point, message), IntroduceStatus.OK)
        self.assertEqual((service.circuits, self.refused("rendezvous_unknown")), (1, 0))
        waiting.close()
        service.stop()
        self.network.advance(1)
        again = self.service()
        self.assertIs(self.introduce(point, message), IntroduceStatus.UNKNOWN)
        for point in self.points(again.name):
            self.assertIs(self.introduce(point, message), IntroduceStatus.OK)
        self.assertEqual((again.circuits, self.refused("rendezvous_unknown")), (0, 0))
        # An introduction that is none does come to the node.
        fresh = self.hello(again.name, point, waiting.node_id, b"c" * 20)
        self.introduce(point, fresh)
        self.assertEqual(self.refused("rendezvous_unknown"), 1)


class LoadTests(Services):
    """Ten times as many introductions as the service can serve."""

    latency = 0.01

    def test_honest_clients_come_through(self) -> None:
        """At least nine of ten while it goes on, and all had a descriptor of before; the effort falls after it.

        It takes seconds: each of three hundred introductions goes through real circuits.
        """
        service = self.service(limits=ServiceLimits(per_second=0.5))
        self.echoes(service.name)
        self.attacker: Client = self.network.success(self.network.add_client())
        points = self.points(service.name)
        where = self.network.nodes[0].node_id
        opening: list[Deferred[Any]] = []
        # At times that have nothing to do with each other, or those would be served who come just before their turn.
        for number in range(300):
            self.flood(service, points[number % 3], where)
            if number >= 30 and not number % 15 and len(opening) < 10:
                opening.append(self.open(service.name, isolation=number))
            self.network.advance(self.random.uniform(0.1, 0.3))
        self.assertGreaterEqual(sum(one.called and not isinstance(one.result, Failure) for one in opening), 9)
        self.assertGreaterEqual(service.effort, LEAST_EFFORT)
        for one in opening:
            one.addErrback(lambda failure: None)
        self.network.advance(500)
        self.assertEqual(service.effort, 0)

    def flood(self, service: OnionService, point: IntroductionPoint, where: NodeId) -> None:
        """One introduction of an attacker, without any effort."""
        message = self.hello(service.name, point, where, self.random.randbytes(20))

        def introduce(asking: Conversation) -> None:
            asking.introduce(point.key.raw, message).addBoth(lambda ignored: asking.close())

        self.attacker.conversation(point.node_id).addCallbacks(introduce, lambda failure: None)
