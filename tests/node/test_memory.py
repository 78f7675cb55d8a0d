"""What waits in a node, whose it is, and who has to go when it is too much (SECURITY F5-F7, F9, section 3)."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.trial.unittest import SynchronousTestCase

from tests.node.network import Relay, Server, Traveller, World
from torpydo.errors import TorpydoError
from torpydo.net import LinkProtocol, Turn, connect_link
from torpydo.node.limits import DEFAULT_LIMITS
from torpydo.testing import Conditions, SimulatedReactor
from torpydo.tpdp import EndReason, StreamConnected

MEGABYTE = 1 << 20
SITE = "203.0.113.1"


@attrs.define(eq=False)
class Crowd:
    """Many circuits of one client over one link."""

    node: Relay
    reactor: SimulatedReactor
    turn: Turn = attrs.field(init=False)
    link: LinkProtocol = attrs.field(init=False)
    circuits: dict[int, Traveller] = attrs.field(factory=dict)
    lost: bool = False

    def __attrs_post_init__(self) -> None:
        self.turn = Turn(self.reactor)
        address = self.node.address
        endpoint = TCP4ClientEndpoint(self.reactor, address.host, address.port)
        rng = self.node.world.random.randbytes
        self.link = self.reactor.success(connect_link(self.reactor, endpoint, self.node.key.node_id, self, rng=rng))

    def add(self, count: int) -> None:
        """Build so many circuits, each with a stream."""
        for _ in range(count):
            one = Traveller(self.reactor, [self.node.hop], rng=self.node.world.random.randbytes)
            one.link, one.circ_id = self.link, self.link.core.new_circuit_id()
            self.circuits[one.circ_id] = one
            self.link.send_create(one.circ_id, one.circuit.create_message)
        self.reactor.advance(0.1)
        for one in self.circuits.values():
            one.begin(SITE)
        self.reactor.advance(0.2)
        assert all([one.of_kind(StreamConnected) for one in self.circuits.values()])

    def link_events(self, link: LinkProtocol, events: list[Any]) -> None:
        """See ``net.LinkOwner``."""
        for event in events:
            one = self.circuits.get(getattr(event, "circ_id", 0))
            if one is not None:
                one.link_events(link, [event])

    def link_closed(self, link: LinkProtocol, error: TorpydoError) -> None:
        """See ``net.LinkOwner``."""
        self.lost = True

    @property
    def destroyed(self) -> int:
        """How many circuits are gone, as far as this side has heard."""
        return sum(one.destroyed or self.lost for one in self.circuits.values())


class Case(SynchronousTestCase):
    """A node that is the only one in the circuits of its clients, and a destination."""

    def setUp(self) -> None:
        self.world = World()
        self.node = self.world.relay("accept *:*", allow_single_hop=True)
        self.world.publish()
        self.server: Server = self.world.server(SITE)

    def crowd(self, number: int, count: int) -> Crowd:
        """A client, with so many circuits."""
        crowd = Crowd(self.node, self.world.reactor.host(f"198.51.100.{number}"))
        crowd.add(count)
        return crowd

    def queued(self) -> int:
        """What waits in the node; it is what waits in its circuits (F9)."""
        queued = self.node.router.status().queued
        keepers = list(self.node.bounds.waiting._holders)
        self.assertEqual(queued, sum(keeper.queued for keeper in keepers))
        for keeper in keepers:
            self.assertEqual(keeper.queued, sum(waiting for _, waiting, _ in keeper.queues()))
        return queued


class SniperTests(Case):
    """Two hundred circuits of clients that stop reading their links and go on asking (case 6)."""

    cap = 16 * MEGABYTE

    def setUp(self) -> None:
        super().setUp()
        self.node.restrict(memory=self.cap, link_stuck=30.0)
        self.world.reactor.internet.ways.set(Conditions(latency=0.02, in_flight=32 * 1024))
        # Their lines are slow, so that something waits for them at every look, as for a sniper.
        for number in range(1, 21):
            self.world.reactor.internet.ways.set(
                Conditions(latency=0.02, rate=60_000, in_flight=32 * 1024), target=f"198.51.100.{number}"
            )
        self.honest = [self.crowd(number, 1) for number in range(1, 21)]
        self.downloads = list(self.server.connections)
        self.snipers = [self.crowd(number, 50) for number in range(101, 105)]
        self.attack = self.server.connections[len(self.downloads) :]

    def test_snipers_go_first(self) -> None:
        """At each look less waits than the cap allows, the snipers lose their circuits, and nobody else does."""
        for sniper in self.snipers:
            transport: Any = sniper.link.transport
            transport.pauseProducing()
        for connection in self.attack:
            connection.transport.write(bytes(2 * MEGABYTE))
        busy = peak = 0
        for second in range(20):
            for connection in self.downloads:
                connection.transport.write(bytes(60_000))
            for sniper in self.snipers:
                for one in sniper.circuits.values():
                    one.circuit.end.ping(self.world.reactor.seconds())
                    one.queue()
            self.world.reactor.advance(1.0)
            # A look was just now.
            self.assertLessEqual(self.queued(), self.cap, second)
            peak = max(peak, self.queued())
            waiting = {id(keeper) for keeper in self.node.bounds.waiting._holders if keeper.queued}
            busy = max(busy, len(waiting))
        refused = self.node.refused()["memory"]
        self.assertGreater(peak, self.cap // 2)
        self.assertGreater(refused, 100)
        self.assertEqual(sum(one.destroyed for one in self.honest), 0)
        self.assertEqual(self.node.router.status().circuits, 220 - refused)
        # The honest ones were at risk: something waited for them too.
        self.assertGreater(busy, 20)
        self.world.reactor.advance(20.0)
        self.assertEqual(self.node.refused()["links_stuck"], 4)
        self.assertEqual((self.queued(), self.node.router.status().circuits), (0, 20))


class BusyTests(Case):
    """Large downloads over slow lines, of which something waits at every look, beside small snipers."""

    def test_who_is_busy_is_not_old(self) -> None:
        """What counts is how long the oldest byte waits, not how long something did, and not how much it is."""
        self.world.reactor.internet.ways.set(Conditions(latency=0.02, in_flight=32 * 1024))
        slow = Conditions(latency=0.02, rate=150_000, in_flight=32 * 1024)
        for number in range(1, 11):
            self.world.reactor.internet.ways.set(slow, target=f"198.51.100.{number}")
        honest = [self.crowd(number, 1) for number in range(1, 11)]
        for connection in self.server.connections:
            connection.transport.write(bytes(4 * MEGABYTE))
        self.world.reactor.advance(3.0)
        snipers = [self.crowd(number, 50) for number in (101, 102)]
        for sniper in snipers:
            transport: Any = sniper.link.transport
            transport.pauseProducing()
        attack = self.server.connections[10:]
        for connection in attack:
            connection.transport.write(bytes(40_000))
        self.world.reactor.advance(7.0)
        sizes = {id(keeper): keeper.queued for keeper in self.node.bounds.waiting._holders}
        self.assertEqual(len(sizes), 110)
        self.assertGreater(sorted(sizes.values())[-10], 100_000)
        self.assertLess(sorted(sizes.values())[-11], 60_000)
        self.node.restrict(memory=self.queued() * 3 // 4)
        self.world.reactor.advance(2.0)
        self.assertGreater(self.node.refused()["memory"], 20)
        self.assertEqual(sum(one.destroyed for one in honest), 0)


class StuckLinkTests(Case):
    """A link whose other side takes nothing."""

    def fill(self) -> tuple[Crowd, Any]:
        """A client that has stopped reading, for which a lot waits."""
        self.node.restrict(link_stuck=30.0)
        self.world.reactor.internet.ways.set(Conditions(rate=1_000_000, in_flight=4096), target="198.51.100.1")
        crowd = self.crowd(1, 1)
        transport: Any = crowd.link.transport
        transport.pauseProducing()
        self.server.connections[0].transport.write(bytes(MEGABYTE))
        self.world.reactor.advance(0.5)
        return crowd, transport

    def test_it_is_closed(self) -> None:
        """After a while, not before."""
        crowd, transport = self.fill()
        self.world.reactor.advance(29.0)
        self.assertEqual(self.node.router.status().links, 1)
        self.world.reactor.advance(2.0)
        self.assertEqual((self.node.router.status().links, self.queued()), (0, 0))
        self.assertEqual(self.node.refused(), {"links_stuck": 1})
        transport.resumeProducing()
        self.world.flush()
        self.assertTrue(crowd.lost)

    def test_one_that_is_slow(self) -> None:
        """As long as it takes something now and then it is not."""
        crowd, transport = self.fill()
        for _ in range(4):
            self.world.reactor.advance(25.0)
            transport.resumeProducing()
            self.world.reactor.advance(0.1)
            transport.pauseProducing()
        self.assertGreater(self.queued(), 0)
        self.assertFalse(crowd.lost)


class AnswersTests(Case):
    """A client that asks for circuits, destroys them, and does not take the answers."""

    def test_its_link_is_closed(self) -> None:
        """What waits for it counts, and above the cap it is the one to go: it has the oldest bytes."""
        self.world.reactor.internet.ways.set(Conditions(in_flight=4096), target="198.51.100.1")
        honest, crowd = self.crowd(2, 1), self.crowd(1, 1)
        transport: Any = crowd.link.transport
        transport.pauseProducing()
        for _ in range(6):
            for _ in range(50):
                circ_id = crowd.link.core.new_circuit_id()
                crowd.link.send_create(circ_id, bytes(512))
                crowd.link.flush()
                crowd.link.send_destroy(circ_id)
            self.world.reactor.advance(1.0)
        self.assertGreater(self.queued(), 250 * 1024)
        self.assertEqual(self.node.refused().get("links_for_memory"), None)
        self.node.restrict(memory=200 * 1024)
        self.world.reactor.advance(1.0)
        self.assertEqual(self.node.refused()["links_for_memory"], 1)
        transport.resumeProducing()
        self.world.reactor.advance(1.0)
        self.assertEqual((crowd.lost, honest.lost, honest.destroyed, self.queued()), (True, False, 0, 0))


class LastBytesTests(Case):
    """Streams that their circuit has left: their last bytes count, though no circuit has them."""

    def leave(self, count: int) -> None:
        """Clients send to a destination that does not read, end the streams cleanly and destroy the circuits."""
        self.world.reactor.internet.ways.set(Conditions(in_flight=4096), target=SITE)
        for number in range(1, count + 1):
            crowd = self.crowd(number, 1)
            (one,) = crowd.circuits.values()
            self.server.connections[-1].transport.pauseProducing()
            one.circuit.end.send_data(1, bytes(64 * 1024))
            one.circuit.end.finish(1, EndReason.DONE)
            one.send()
            crowd.link.close()
            self.world.reactor.advance(1.0)

    def test_counted(self) -> None:
        """Until they are taken."""
        self.leave(3)
        status = self.node.router.status()
        self.assertEqual((status.circuits, status.streams), (0, 3))
        self.assertGreater(self.queued(), 3 * 40 * 1024)
        for connection in self.server.connections:
            connection.transport.resumeProducing()
        self.world.reactor.advance(5.0)
        self.assertEqual(self.queued(), 0)
        self.assertEqual([len(connection.data) for connection in self.server.connections], [64 * 1024] * 3)

    def test_above_the_cap(self) -> None:
        """They end, the oldest first, until enough is free."""
        self.leave(3)
        self.node.restrict(memory=self.queued() - 1)
        self.world.reactor.advance(1.0)
        self.assertEqual(self.node.refused(), {"streams_lingering": 1})
        self.assertEqual(self.node.router.status().streams, 2)
        for connection in self.server.connections:
            connection.transport.resumeProducing()
        self.world.reactor.advance(5.0)
        self.assertEqual([one.read_closed for one in self.server.connections], [False, True, True])

    def test_too_slow(self) -> None:
        """A minute, and a second for each 4 KiB."""
        self.leave(1)
        self.world.reactor.advance(DEFAULT_LIMITS.linger + self.queued() / DEFAULT_LIMITS.linger_rate + 1)
        self.assertEqual((self.queued(), self.node.router.status().streams), (0, 0))
        self.assertEqual(self.node.refused(), {"streams_lingering": 1})


class CacheTests(Case):
    """What is only remembered goes before anybody has to."""

    def test_cut(self) -> None:
        """Names that take more than a fifth of the memory are cut to a tenth of it, the oldest first."""
        resolver = self.node.exits.resolver
        self.node.reactor.names.table = {f"n{number}.example": [SITE] for number in range(4000)}
        for number in range(4000):
            resolver.resolve(f"n{number}.example")
            self.world.flush()
        self.world.reactor.internet.ways.set(Conditions(in_flight=4096), target="198.51.100.1")
        crowd = self.crowd(1, 1)
        transport: Any = crowd.link.transport
        transport.pauseProducing()
        self.server.connections[0].transport.write(bytes(MEGABYTE))
        self.world.flush()
        held, queued = resolver.held, self.queued()
        self.assertGreater(held, 0.2 * 2 * MEGABYTE)
        # Both fit.
        self.node.restrict(memory=held + queued)
        self.world.reactor.advance(1.0)
        self.assertEqual(resolver.held, held)
        self.node.restrict(memory=held + queued - 1)
        self.world.reactor.advance(1.0)
        self.assertLessEqual(resolver.held, 0.1 * (held + queued))
        self.assertEqual((self.queued(), crowd.destroyed, self.node.refused()), (queued, 0, {}))
        self.assertIn("n3999.example", resolver._known)
        self.assertNotIn("n1000.example", resolver._known)


class MemoryErrorTests(Case):
    """The system has no memory left (case 29)."""

    def test_only_the_circuit(self) -> None:
        """The circuit for which there was none is destroyed; link and process go on."""
        crowd = self.crowd(1, 2)
        (circuit, *_) = self.node.router._circuits.values()

        def fail(*args: object) -> None:
            raise MemoryError

        vars_of: Any = circuit
        vars_of.transit = Failing(fail)
        for one in crowd.circuits.values():
            one.circuit.end.ping(0.0)
            one.send()
        self.assertEqual(([one.destroyed for one in crowd.circuits.values()], crowd.lost), ([True, False], False))
        self.assertEqual(self.node.refused(), {"memory": 1})
        self.assertEqual(self.node.router.status().circuits, 1)


@attrs.define
class Failing:
    """The core of a circuit for which there is no memory."""

    receive_forward: Any
