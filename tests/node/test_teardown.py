"""Tests of torpydo.node.teardown: many circuits lose a side at once, and others go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.trial.unittest import SynchronousTestCase

from tests.node.network import Relay, Traveller, World
from torpydo.errors import TorpydoError
from torpydo.net import LinkProtocol, Turn, connect_link
from torpydo.node import limits
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
        self.patch(limits, "TEARDOWN_BATCH", 1)
        self.patch(limits, "TEARDOWN_PAUSE", 0.0)
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
        self.patch(limits, "TEARDOWN_PAUSE", 0.01)
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
        fleet = Fleet(self.world, [relay.hop for relay in self.relays[:2]])
        self.world.reactor.internet.ways.isolate(self.relays[1].address.host)
        fleet.build(MANY)
        self.assertEqual(self.counts()[0], MANY)
        self.world.reactor.advance(limits.LINK_CONNECT + 1)
        self.assertEqual(self.counts()[0], MANY)
        self.assertEqual(fleet.destroyed, [])

    def test_peer_destroys_all(self) -> None:
        """A peer that destroys its circuits one by one keeps nobody waiting either."""
        fleet = self.fleet()
        for circ_id in fleet.circuits:
            fleet.link.send_destroy(circ_id)
        self.world.flush()
        self.assert_empty(*self.relays)

    def test_stop(self) -> None:
        """A node that stops destroys all its circuits first, in slices too, and then closes its links."""
        fleet = self.fleet()
        closed = self.relays[0].router.close()
        self.assertNoResult(closed)
        self.assertGreater(self.counts()[0], 1)
        self.world.reactor.success(closed)
        self.assertCountEqual(fleet.destroyed, fleet.circuits)
        self.assert_empty(*self.relays)
