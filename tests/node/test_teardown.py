"""Tests of torpydo.node.teardown: many circuits lose a side at once, and others go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.node.network import Relay, Traveller, World
from torpydo.errors import TorpydoError
from torpydo.net import LinkProtocol, Turn, connect_link
from torpydo.node import limits, teardown
from torpydo.node.circuit import Way
from torpydo.node.teardown import Teardown
from torpydo.tpdp import CellsReceived, CreatedReceived, DestroyReceived, Hop, OriginCircuit, PongReceived

MANY = 40


@attrs.define(eq=False)
class Fleet:
    """A traveller with many circuits on one link."""

    world: World
    path: Sequence[Hop]
    circuits: dict[int, OriginCircuit] = attrs.field(factory=dict)
    destroyed: list[int] = attrs.field(factory=list)
    link: LinkProtocol = attrs.field(init=False)
    turn: Turn = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        host = self.world.reactor.host("198.51.100.77")
        self.turn = Turn(host)
        guard = self.path[0]
        endpoint = TCP4ClientEndpoint(host, guard.address.host, guard.address.port)
        self.link = host.success(connect_link(host, endpoint, guard.node_id, self, rng=self.world.random.randbytes))

    def build(self, count: int) -> None:
        """Some more circuits, as far as the nodes play along."""
        for _ in range(count):
            circ_id = self.link.core.new_circuit_id()
            self.circuits[circ_id] = OriginCircuit(self.path, rng=self.world.random.randbytes)
            self.link.send_create(circ_id, self.circuits[circ_id].create_message)
        self.world.flush()

    def ping(self) -> None:
        """Send a cell on each circuit."""
        for circ_id, circuit in self.circuits.items():
            circuit.end.ping(0.0)
            self.link.send_cells(circ_id, circuit.cells_to_send(0.0))

    def link_events(self, link: LinkProtocol, events: list[Any]) -> None:
        """See ``net.LinkOwner``."""
        for event in events:
            if isinstance(event, DestroyReceived):
                self.destroyed.append(event.circ_id)
            elif isinstance(event, CreatedReceived | CellsReceived):
                circuit = self.circuits[event.circ_id]
                if isinstance(event, CreatedReceived):
                    circuit.created(event.message)
                else:
                    circuit.receive_cells(event.cells, 0.0)
                link.send_cells(event.circ_id, circuit.cells_to_send(0.0))

    def link_closed(self, link: LinkProtocol, error: TorpydoError) -> None:
        """See ``net.LinkOwner``."""


class TeardownTests(SynchronousTestCase):
    """Three nodes, many circuits of one traveller, and one of another who does not care."""

    def setUp(self) -> None:
        self.patch(teardown, "TEARDOWN_BATCH", 1)
        self.patch(teardown, "TEARDOWN_PAUSE", 0.0)
        self.world = World()
        self.relays = [self.world.relay() for _ in range(3)]
        self.world.publish(test_network=True)

    def fleet(self) -> Fleet:
        """Many circuits through all nodes."""
        fleet = Fleet(self.world, [relay.hop for relay in self.relays])
        fleet.build(MANY)
        self.assertEqual({circuit.hops for circuit in fleet.circuits.values()}, {3})
        return fleet

    def counts(self) -> list[int]:
        """Circuits at each node."""
        return [relay.router.status().circuits for relay in self.relays]

    def assert_empty(self, *relays: Relay) -> None:
        """Nothing is left of any circuit."""
        for relay in relays:
            status = relay.router.status()
            self.assertEqual((status.circuits, status.streams, status.queued), (0, 0, 0))
            neighbours = list(relay.router._neighbours)
            self.assertEqual([one.link.core.open_circuits for one in neighbours], [0] * len(neighbours))
            self.assertEqual([one.circuits for one in neighbours], [set()] * len(neighbours))
            self.assertEqual(relay.router._circuits, {})

    def turns_until(self, traveller: Traveller, pongs: int) -> None:
        """Turn by turn, until so many answers have come."""
        while len(traveller.of_kind(PongReceived)) < pongs:
            self.assertTrue(self.world.reactor.clock.turn())

    def test_others_go_on(self) -> None:
        """Cells of another circuit pass while a node is still dropping those of a lost link."""
        fleet = self.fleet()
        witness = self.world.traveller(*self.relays).build()
        fleet.link.transport.abortConnection()
        while self.counts()[0] == MANY + 1:
            self.world.reactor.clock.turn()
        for pongs in (1, 2):
            witness.circuit.end.ping(0.0)
            witness.queue()
            self.turns_until(witness, pongs)
        self.assertGreater(self.counts()[0], 2)
        self.world.flush()
        self.assertEqual(self.counts(), [1, 1, 1])
        witness.destroy()
        self.assert_empty(*self.relays)

    def test_at_most_a_batch_in_a_turn(self) -> None:
        """No turn of the reactor drops more than it may."""
        fleet = self.fleet()
        fleet.link.transport.abortConnection()
        counts = [MANY]
        while self.world.reactor.clock.turn():
            counts.append(self.counts()[0])
        self.assertEqual({before - after for before, after in zip(counts, counts[1:], strict=False)}, {0, 1})

    def test_a_pause_after_each_batch(self) -> None:
        """The next hop is given time to drop them as well."""
        self.patch(teardown, "TEARDOWN_PAUSE", 0.01)
        fleet = self.fleet()
        fleet.link.transport.abortConnection()
        self.world.flush()
        self.assertEqual(self.counts(), [MANY - 1] * 3)
        self.world.reactor.advance(0.01)
        self.assertEqual(self.counts(), [MANY - 2] * 3)
        self.world.reactor.advance(1)
        self.assert_empty(*self.relays)

    def test_link_in_the_middle(self) -> None:
        """When a link between two nodes is lost, both sides of its circuits end."""
        fleet = self.fleet()
        [link] = [one.link for one in self.relays[1].router._neighbours if one.dialled]
        link.transport.abortConnection()
        self.world.flush()
        self.assertCountEqual(fleet.destroyed, fleet.circuits)
        self.assert_empty(*self.relays)

    def test_both_links(self) -> None:
        """A circuit that loses its second link while it waits to be dropped is dropped once."""
        fleet = self.fleet()
        for neighbour in self.relays[1].router._neighbours:
            neighbour.link.transport.abortConnection()
        self.world.flush()
        self.assertCountEqual(fleet.destroyed, fleet.circuits)
        self.assert_empty(*self.relays)

    def test_cells_are_ignored(self) -> None:
        """What still comes for a circuit that waits to be dropped goes nowhere; it is counted until then."""
        fleet = self.fleet()
        [link] = [one.link for one in self.relays[0].router._neighbours if one.dialled]
        link.transport.abortConnection()
        while not self.relays[0].router._teardown:
            self.world.reactor.clock.turn()
        self.assertGreater(self.counts()[0], MANY // 2)
        fleet.ping()
        while len(fleet.destroyed) < MANY:
            self.world.reactor.clock.turn()
        self.assertGreater(self.counts()[0], MANY // 2)
        self.world.flush()
        self.assertCountEqual(fleet.destroyed, fleet.circuits)
        self.assert_empty(*self.relays)

    def test_next_hop_that_had_not_accepted(self) -> None:
        """Circuits that were being extended over the lost link live on without that hop."""
        router = self.relays[0].router
        # It opens the link, so that the others need not wait for it.
        self.world.traveller(*self.relays[:2]).build()
        fleet = Fleet(self.world, [relay.hop for relay in self.relays[:2]])
        self.world.reactor.internet.ways.isolate(self.relays[1].address.host)
        fleet.build(MANY)
        ways = [
            circuit.way for circuit in router._circuits.values() if circuit.previous.link.core.open_circuits == MANY
        ]
        self.assertEqual(ways, [Way.ASKED] * MANY * 2)
        [link] = [one.link for one in router._neighbours if one.dialled]
        link.transport.abortConnection()
        self.world.flush()
        # Those that had the hop are gone, and none of these.
        self.assertEqual((self.counts()[0], len(router._circuits), fleet.destroyed), (MANY, MANY, []))
        fleet.link.transport.abortConnection()
        self.world.flush()
        self.assert_empty(self.relays[0])

    def test_peer_destroys_all(self) -> None:
        """A peer that destroys its circuits one by one keeps nobody waiting either."""
        fleet = self.fleet()
        for circ_id in fleet.circuits:
            fleet.link.send_destroy(circ_id)
        self.world.flush()
        self.assert_empty(*self.relays)

    def test_peer_destroys_some(self) -> None:
        """Each read of some DESTROYs is not a batch of its own: the next hop gets no more than from a lost link."""
        self.patch(teardown, "TEARDOWN_BATCH", 2)
        self.patch(teardown, "TEARDOWN_PAUSE", 0.01)
        fleet = self.fleet()
        self.world.reactor.advance(1.0)
        for circ_id in list(fleet.circuits)[:5]:
            fleet.link.send_destroy(circ_id)
            self.world.flush()
        self.assertEqual(self.counts(), [MANY - 2] * 3)
        self.world.reactor.advance(0.009)
        self.assertEqual(self.counts(), [MANY - 2] * 3)
        self.world.reactor.advance(0.002)
        self.assertEqual(self.counts(), [MANY - 4] * 3)
        self.world.reactor.advance(0.01)
        self.assertEqual(self.counts(), [MANY - 5] * 3)

    def test_stop_does_not_pause(self) -> None:
        """A node that stops has no time to spare its neighbours, also if it was doing so."""
        self.patch(teardown, "TEARDOWN_PAUSE", 1.0)
        fleet = self.fleet()
        fleet.link.send_destroy(next(iter(fleet.circuits)))
        fleet.link.send_destroy(list(fleet.circuits)[1])
        self.world.flush()
        self.assertEqual((self.counts()[0], len(self.relays[0].router._teardown)), (MANY - 1, 1))
        self.relays[0].router.close()
        self.world.flush()
        self.assertEqual(self.counts()[0], 0)

    def test_stop(self) -> None:
        """A node that stops destroys all its circuits first, in slices too, and then closes its links."""
        fleet = self.fleet()
        closed = self.relays[0].router.close()
        self.assertNoResult(closed)
        self.assertGreater(self.counts()[0], 1)
        self.world.reactor.success(closed)
        self.assertCountEqual(fleet.destroyed, fleet.circuits)
        self.assert_empty(*self.relays)


@attrs.frozen(eq=False)
class Side:
    """A neighbour, and its link: it has circuits, and nothing else."""

    circuits: set[int] = attrs.field(factory=set)

    @property
    def link(self) -> Side:
        return self


@attrs.define(eq=False)
class Line:
    """A circuit that begins at a neighbour and goes nowhere."""

    previous: Side
    previous_id: int
    next: Side | None = None
    way: Way = Way.NONE


class SliceTests(SynchronousTestCase):
    """What is done at one time, whatever it is that is done."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.table: dict[Any, Any] = {}
        self.lost: list[int] = []
        self.when_lost: Callable[[], object] = lambda: None
        self.teardown = Teardown(self.clock, self.table, self.lose)

    def lose(self, circuit: Any, side: Any) -> None:
        """It is the turn of a circuit."""
        self.when_lost()
        self.lost.append(circuit.previous_id)

    def side(self, *numbers: int) -> Any:
        """A neighbour with these circuits."""
        side = Side(set(numbers))
        for number in numbers:
            self.table[side, number] = Line(side, number)
        return side

    def take(self, seconds: float) -> None:
        """Each circuit takes so long."""
        self.when_lost = lambda: setattr(self.clock, "rightNow", self.clock.rightNow + seconds)

    def test_time(self) -> None:
        """A slice ends when it has taken its time, even if the batch is not full."""
        self.take(limits.TEARDOWN_SLICE * 0.4)
        self.teardown.link_gone(self.side(*range(10)))
        self.assertEqual(len(self.lost), 3)
        self.clock.advance(limits.TEARDOWN_PAUSE)
        self.assertEqual(len(self.lost), 6)

    def test_another_link_meanwhile(self) -> None:
        """A circuit that ends can end a link: the circuits of that wait their turn."""
        other = self.side(10, 11)
        links = [other]
        self.when_lost = lambda: self.teardown.link_gone(links.pop()) if links else None
        self.teardown.link_gone(self.side(1, 2))
        self.assertEqual(self.lost, [1, 2, 10, 11])

    def test_stop(self) -> None:
        """However many there are, it is over in time if the processor is fast enough."""
        self.side(*range(40_000))
        stopped = Deferred.fromCoroutine(self.teardown.all_gone(4.0))
        while not stopped.called:
            self.clock.advance(0)
        self.assertEqual((len(self.lost), self.clock.seconds()), (40_000, 0.0))

    def test_stop_in_time(self) -> None:
        """If it is not, nobody waits for the rest."""
        self.take(0.1)
        self.side(*range(1000))
        stopped = Deferred.fromCoroutine(self.teardown.all_gone(4.0)).addCallback(lambda ignored: self.clock.seconds())
        self.clock.advance(0)
        self.assertLess(self.successResultOf(stopped), 4.2)
