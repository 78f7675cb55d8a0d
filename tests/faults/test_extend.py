"""Cases 18 and 19: where a circuit cannot go, and how long one can be.

What a node answers to each wrong EXTEND, and that it sends nothing to whom it should not, is in
tests/node/test_extending; here every row of the table is looked at from its end: in time, and nothing half built left.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import node_id
from tests.faults.base import DATA, FaultTestCase, stream
from tests.node.network import PORT, Relay, Traveller, World
from tests.testing.recorders import Recorder
from torpydo.errors import ConfigurationError, LocalProtocolError, PathError
from torpydo.tpdp import Address, ExtendRefused, ExtendStatus, Hop, HopAdded

TIME = 10.0
"""Seconds in which a circuit that cannot be extended is told so."""


class ExtendTests(SynchronousTestCase):
    """A circuit of two nodes is extended to a third hop that is wrong."""

    def setUp(self) -> None:
        self.world = World()
        self.first, self.second, self.third = (self.world.relay() for _ in range(3))
        self.world.publish()
        self.dead = Address(bytes([20, 77, 1, 1]), PORT)
        self.hole = Address(bytes([20, 78, 1, 1]), PORT)
        self.mute = Address(bytes([20, 79, 1, 1]), PORT)
        self.world._host(self.hole.host).listenTCP(PORT, Recorder_factory(), interface=self.hole.host)
        self.world._host(self.mute.host).listenTCP(PORT, Recorder_factory(), interface=self.mute.host)
        self.world.reactor.internet.ways.cut(None, self.hole.host)
        self.world._host(self.dead.host)

    def build(self, *path: Relay, last: Hop) -> Traveller:
        """A circuit whose last hop is this one."""
        traveller = self.world.traveller(*path)
        traveller.path = [*traveller.path, last]
        traveller.__attrs_post_init__()
        return traveller.build()

    def test_table(self) -> None:
        """Each is refused within ten seconds, for its own reason, and leaves nothing but links that can be used."""
        stranger = node_id("stranger")
        first, second, third = self.first.hop, self.second.hop, self.third.hop
        table: list[tuple[str, Hop, set[ExtendStatus]]] = [
            ("dead", attrs.evolve(third, node_id=stranger, address=self.dead), {ExtendStatus.UNREACHABLE}),
            ("black hole", attrs.evolve(third, node_id=stranger, address=self.hole), TOO_LATE),
            ("another service", attrs.evolve(third, node_id=stranger, address=self.mute), TOO_LATE),
            ("wrong identity", attrs.evolve(third, node_id=node_id("other"), address=third.address), TOO_LATE),
            ("wrong onion key", attrs.evolve(third, onion_key=first.onion_key), {ExtendStatus.DESTROYED}),
            ("itself", second, {ExtendStatus.REFUSED}),
            ("itself, renamed", attrs.evolve(second, node_id=stranger), {ExtendStatus.REFUSED}),
            ("the node before", first, {ExtendStatus.REFUSED}),
            ("10/8", private(third, 10, 0, 0, 1), {ExtendStatus.REFUSED}),
            ("127/8", private(third, 127, 0, 0, 1), {ExtendStatus.REFUSED}),
            ("192.168/16", private(third, 192, 168, 0, 1), {ExtendStatus.REFUSED}),
            ("169.254/16", private(third, 169, 254, 169, 254), {ExtendStatus.REFUSED}),
        ]
        for name, last, expected in table:
            traveller = self.build(self.first, self.second, last=last)
            self.world.reactor.advance(TIME)
            self.assertEqual([one.hop for one in traveller.of_kind(HopAdded)], [1, 2], name)
            self.assertEqual({ExtendStatus(one.status) for one in traveller.of_kind(ExtendRefused)}, expected, name)
            self.assertFalse(traveller.destroyed, name)
            self.assertEqual(self.third.router.status().circuits, 0, name)
            traveller.destroy()
            self.assert_nothing_left(name)

    def test_zero_identity(self) -> None:
        """An identity that is no key at all costs the circuit."""
        traveller = self.world.traveller(self.first, self.second)
        body = bytes(32) + b"\x04" + bytes([20, 3, 1, 1]) + PORT.to_bytes(2, "big") + bytes(512)
        traveller.build()
        traveller.circuit.end._early = 1
        traveller.circuit.end._control.append(b"\x01" + bytes(4) + len(body).to_bytes(2, "big") + body)
        traveller.send()
        self.world.reactor.advance(TIME)
        self.assertTrue(traveller.destroyed)
        self.assert_nothing_left("zero identity")

    def test_loop(self) -> None:
        """A circuit that comes back to a node after others is the client's own affair: it works, and ends as one."""
        traveller = self.world.traveller(self.first, self.second, self.third, self.first, self.second, self.third)
        traveller.build()
        self.world.reactor.advance(1)
        self.assertEqual(len(traveller.of_kind(HopAdded)), 6)
        self.assertEqual([one.router.status().circuits for one in self.world.relays], [2, 2, 2])
        traveller.destroy()
        self.assert_nothing_left("loop")

    def assert_nothing_left(self, about: str) -> None:
        """No circuit, no half of one, and no connection but the links between the nodes and to the traveller."""
        self.world.reactor.advance(5)
        for relay in self.world.relays:
            status = relay.router.status()
            self.assertEqual((status.circuits, status.streams, status.queued), (0, 0, 0), about)
        known = {relay.address.host for relay in self.world.relays} | {"198.51.100.1"}
        for connection in self.world.reactor.internet.connections:
            self.assertLessEqual({end[0] for end in connection.ends}, known, about)


TOO_LATE = {ExtendStatus.TIMEOUT}


def private(hop: Hop, *octets: int) -> Hop:
    """Somebody in a network that is not the operator's."""
    return attrs.evolve(hop, node_id=node_id("private"), address=Address(bytes(octets), PORT))


def Recorder_factory() -> Factory:
    """Listens and says nothing."""
    return Factory.forProtocol(Recorder)


class LongTests(FaultTestCase):
    """Case 19: eight hops work, nine are refused before anything is sent."""

    def test_eight(self) -> None:
        """A transfer through eight nodes."""
        network = self.start(nodes=9)
        circuit = network.success(network.client.build_circuit(hops=8))
        client, server = self.pair_on(circuit)
        stream(client).write(DATA)
        network.advance(5)
        self.assertEqual((len(circuit.path), bytes(server.data)), (8, DATA))
        circuit.close()
        self.oracle.check()

    def test_nine(self) -> None:
        """However it is asked for; what a node would do with it is in test_cells."""
        network = self.start(nodes=9)
        path = [node.node_id for node in network.nodes]
        asks: list[Callable[[], object]] = [
            lambda: network.success(network.client.build_circuit(hops=9)),
            lambda: network.success(network.client.build_circuit(path=path)),
            lambda: network.success(network.add_client(hops=9)),
        ]
        for ask in asks:
            self.assertRaises((ConfigurationError, LocalProtocolError, PathError, ValueError), ask)
        network.clients.pop()
        self.oracle.check()
