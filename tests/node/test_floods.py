"""Floods of connections and circuits, with honest clients beside them (SECURITY L5, D1-D4, section 3)."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.node.network import PORT, Traveller, World
from torpydo.net import FileBudget, LinkProtocol, connect_link, link_endpoint
from torpydo.node.limits import DEFAULT_LIMITS
from torpydo.testing import Conditions
from torpydo.tpdp import HopAdded

SOCKETS = 1000


class Slow(Protocol):
    """A connection that says a byte a second."""

    transport: Any

    def __init__(self) -> None:
        self.ended = False

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended = True


class Slowly(Factory):
    """Many such connections."""

    noisy = False

    def __init__(self) -> None:
        self.built: list[Slow] = []

    def buildProtocol(self, addr: object) -> Slow:
        self.built.append(Slow())
        return self.built[-1]

    @property
    def alive(self) -> list[Slow]:
        """Those that are open."""
        return [one for one in self.built if not one.ended]

    def speak(self) -> None:
        """A byte of each."""
        for one in self.alive:
            one.transport.write(b"x")


class SlowlorisTests(SynchronousTestCase):
    """A thousand connections whose handshake never ends (case 7); a byte takes 50 ms."""

    def setUp(self) -> None:
        self.world = World()
        self.node = self.world.relay()
        self.world.publish()
        self.world.reactor.internet.ways.set(Conditions(latency=0.05))
        self.slow = Slowly()
        self.hosts = [self.world.reactor.host(f"198.51.100.{number}") for number in range(1, 101)]
        self.waited: list[float] = []

    def attack(self, hosts: int) -> None:
        """From so many addresses, all at once."""
        for reactor in self.hosts[:hosts]:
            endpoint = link_endpoint(reactor, self.node.address)
            for _ in range(SOCKETS // hosts):
                endpoint.connect(self.slow).addErrback(lambda failure: failure.trap(ConnectError))

    def connect_honestly(self, host: str) -> None:
        """A link of somebody who has something to say."""
        traveller = self.world.traveller(self.node, host=host)
        began = self.world.reactor.seconds()
        address = self.node.address
        endpoint = TCP4ClientEndpoint(traveller.reactor, address.host, address.port)
        random = self.world.random.randbytes
        linking = connect_link(traveller.reactor, endpoint, self.node.key.node_id, traveller, rng=random)
        linking.addCallback(lambda link: self.waited.append(self.world.reactor.seconds() - began))

    def play(self, hosts: int, *, again: bool) -> None:
        """The attack for eleven seconds, with an honest client every half second.

        :param again: whether as many come again, twice
        """
        self.attack(hosts)
        for half in range(22):
            self.connect_honestly(f"203.0.113.{half + 1}")
            self.world.reactor.advance(0.5)
            self.assertLessEqual(self.node.gate.pending, 256 + 1)
            if half % 2:
                self.slow.speak()
            if again and half in (4, 12):
                self.attack(hosts)
        self.assertEqual(len(self.waited), 22)
        self.assertLess(sorted(self.waited)[-2], 1.0)

    def test_one_address(self) -> None:
        """Forty are taken, ten stay for their ten seconds, and then the address is refused."""
        self.play(1, again=True)
        self.assertEqual(self.slow.alive, [])
        refused = self.node.refused()
        self.assertEqual(refused["links_pending_per_host"], 30)
        self.assertEqual(refused["links_unfinished"], 10)

    def test_a_hundred_addresses(self) -> None:
        """All places are taken all the time, by whoever came last; nothing is left of it when it ends."""
        self.play(100, again=False)
        self.assertEqual(self.slow.alive, [])
        self.assertEqual(self.node.refused(), {"links_pending": SOCKETS + 1 - 256, "links_unfinished": 256 - 1})

    def test_a_hundred_addresses_again_and_again(self) -> None:
        """Also if more come, and those who were closed are among them."""
        self.play(100, again=True)
        self.assertEqual(self.node.router.status().links, 22)

    def test_in_a_test_network(self) -> None:
        """There limits by address do not count: an attacker takes the places only of those who are slower than he."""
        self.world.publish(test_network=True)
        self.play(1, again=True)


class StormTests(SynchronousTestCase):
    """Five thousand CREATEs at once over one link of a client (case 16)."""

    def test_a_storm(self) -> None:
        """Its host gets its burst; another host is not concerned, and the refused ones leave nothing."""
        world = World()
        node = world.relay()
        world.publish()
        flood = world.traveller(node).build()
        assert flood.link is not None
        link = flood.link
        for _ in range(5000):
            link.send_create(link.core.new_circuit_id(), flood.circuit.create_message)
        honest = [world.traveller(node, host=f"198.51.100.{number}").build() for number in range(2, 12)]
        self.assertTrue(all([one.of_kind(HopAdded) for one in honest]))
        status = node.router.status()
        self.assertEqual((status.circuits, status.circuits_made), (DEFAULT_LIMITS.creates_burst + 10,) * 2)
        self.assertEqual(node.refused(), {"creates_too_fast": 5001 - DEFAULT_LIMITS.creates_burst})
        self.assertEqual((status.queued, link.core.open_circuits), (0, DEFAULT_LIMITS.creates_burst))


def create(link: LinkProtocol, traveller: Traveller) -> None:
    """Ask for a circuit as soon as there is a link."""
    traveller.link, traveller.circ_id = link, link.core.new_circuit_id()
    link.send_create(traveller.circ_id, traveller.circuit.create_message)


@attrs.define(eq=False)
class Descriptors:
    """Those of a node's host."""

    world: World
    host: str

    def count(self) -> int:
        """How many are open, beside twenty for everything else."""
        return 20 + len(self.world.reactor.internet.connections_of(self.host))


class DescriptorTests(SynchronousTestCase):
    """A node that may have 128 file descriptors (SECURITY D4, case 28)."""

    def test_five_hundred_connections(self) -> None:
        """It never uses the last ones, keeps working for those that it has, and takes others as soon as it can."""
        world = World()
        descriptors = Descriptors(world, "20.1.1.1")
        node = world.relay(files=FileBudget(world.reactor.seconds, 128, descriptors.count))
        world.publish()
        before = world.traveller(node, host="198.51.100.250").build()
        crowd: list[Traveller] = []
        for number in range(1, 51):
            reactor = world.reactor.host(f"198.51.101.{number}")
            for _ in range(10):
                traveller = Traveller(reactor, [node.hop], rng=world.random.randbytes)
                crowd.append(traveller)
                endpoint = TCP4ClientEndpoint(reactor, node.address.host, PORT)
                linking = connect_link(reactor, endpoint, node.key.node_id, traveller, rng=world.random.randbytes)
                linking.addCallbacks(create, lambda failure: None, callbackArgs=(traveller,))
                world.flush()
                self.assertLessEqual(descriptors.count(), 128 - 32 + 1)
        built = [one for one in crowd if one.of_kind(HopAdded)]
        self.assertGreater(len(built), 60)
        self.assertGreater(node.refused()["files"], 400)
        # Somebody has to go, but not who was there first and has one link only.
        world.reactor.advance(2.0)
        self.assertFalse(before.lost)
        self.assertTrue(any([one.lost for one in built]))
        for one in built[:20]:
            if one.link is not None:
                one.link.close()
        world.reactor.advance(2.0)
        self.assertEqual(len(world.traveller(node, host="198.51.100.251").build().of_kind(HopAdded)), 1)
        self.assertEqual(self.flushLoggedErrors(), [])
