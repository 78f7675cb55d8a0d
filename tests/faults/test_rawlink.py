"""Case 15: a neighbour with a link of its own that uses circuit ids as it likes, at a node that has honest circuits."""

from __future__ import annotations

from random import Random
from typing import Any

from tests.faults.base import DATA, FaultTestCase, stream
from tests.network.base import router_of
from torpydo.client import Circuit
from torpydo.errors import TorpydoError
from torpydo.net import LinkProtocol, Turn, connect_link, link_endpoint
from torpydo.testing import SimulatedReactor
from torpydo.testing.members import NodeMember
from torpydo.tpdp import Address, CreatedReceived, DestroyReceived, LinkState

CREATE, CREATED, CELL, DESTROY = 1, 2, 3, 5
BODY = bytes(1024)
INITIATOR = 0x8000_0000
UNKNOWN_PER_MINUTE = 100


class Neighbour:
    """Somebody who has a link to a node and says what it likes."""

    def __init__(self, reactor: SimulatedReactor) -> None:
        self.reactor = reactor
        self.turn = Turn(reactor)
        self.events: list[Any] = []
        self.lost: list[TorpydoError] = []
        self.link: LinkProtocol | None = None

    def connect(self, node: NodeMember) -> None:
        """Open the link."""
        endpoint = link_endpoint(self.reactor, Address.parse(node.ip, node.port))
        rng = Random(9).randbytes
        self.link = self.reactor.success(connect_link(self.reactor, endpoint, node.node_id, self, rng=rng))
        self.reactor.advance(1)

    def say(self, circ_id: int, command: int, body: bytes = BODY) -> None:
        """One frame, rightly sealed in a record of its own."""
        assert self.link is not None
        transport: Any = self.link.transport
        sealer = self.link.core._sealer
        if sealer is not None:
            transport.write(sealer.seal(circ_id.to_bytes(4, "big") + bytes((command,)) + body))
        self.reactor.flush()

    @property
    def is_open(self) -> bool:
        """Whether the node still talks to it."""
        assert self.link is not None
        self.reactor.advance(0.5)
        return self.link.core.state is LinkState.OPEN and not self.lost

    def kinds(self) -> list[tuple[type, int]]:
        """What it was told of circuits."""
        self.reactor.advance(0.5)
        return [(type(event), event.circ_id) for event in self.events if hasattr(event, "circ_id")]

    def link_events(self, link: LinkProtocol, events: list[Any]) -> None:
        """See ``net.LinkOwner``."""
        self.events += events

    def link_closed(self, link: LinkProtocol, error: TorpydoError) -> None:
        """See ``net.LinkOwner``."""
        self.lost.append(error)


class CircuitIdTests(FaultTestCase):
    """The honest circuit through that node carries a stream all the time."""

    def setUp(self) -> None:
        network = self.start(nodes=3)
        self.honest: Circuit = self.circuit()
        self.client, self.server = self.pair_on(self.honest)
        self.guard = next(node for node in network.nodes if node.node_id == self.honest.path[0].node_id)
        self.neighbour = Neighbour(network.reactor.host("10.9.9.9"))
        self.neighbour.connect(self.guard)

    def create(self, circ_id: int) -> None:
        """A circuit, as far as the node goes along: the message is a right one, of an earlier circuit's builder."""
        assert self.neighbour.link is not None
        self.neighbour.link.core._ids.open.add(circ_id)
        self.neighbour.say(circ_id, CREATE, self.honest._core.create_message.ljust(1024, b"\0"))

    def assert_closed_by_the_node(self, about: int) -> None:
        """It was the node that did not want the link any more, and it opened nothing."""
        self.assertFalse(self.neighbour.is_open, about)
        self.assertEqual([str(error) for error in self.neighbour.lost], ["the connection ended"], about)
        self.assertEqual(self.neighbour.kinds(), [], about)

    def assert_unharmed(self) -> None:
        """The honest circuit still carries everything; afterwards nothing is left."""
        stream(self.client).write(DATA)
        self.server.tcp.write(DATA)
        self.network.advance(3)
        self.assertEqual((bytes(self.server.data), bytes(self.client.data)), (DATA, DATA))
        stream(self.client).loseConnection()
        self.network.advance(1)
        self.honest.close()
        link = self.neighbour.link
        assert link is not None
        link.close()
        self.oracle.check()

    def test_an_id_that_is_used(self) -> None:
        """A second CREATE is dropped, and the first circuit is not touched: a cell of it is still its own matter."""
        self.create(INITIATOR | 5)
        self.assertEqual(self.neighbour.kinds(), [(CreatedReceived, INITIATOR | 5)])
        self.create(INITIATOR | 5)
        self.create(INITIATOR | 4)
        self.assertEqual(self.neighbour.kinds(), [(CreatedReceived, INITIATOR | 5)])
        self.assertEqual(len([one for link, one in router_of(self.guard)._circuits if one == INITIATOR | 5]), 1)
        self.assertTrue(self.neighbour.is_open)
        # It does not open: that costs the circuit, and no other.
        self.neighbour.say(INITIATOR | 5, CELL)
        self.assertEqual(self.neighbour.kinds()[1:], [(DestroyReceived, INITIATOR | 5)])
        self.assert_unharmed()

    def test_an_id_of_another_links_circuit(self) -> None:
        """Ids belong to a link: the honest client's number says nothing on this one."""
        for _, circ_id in list(router_of(self.guard)._circuits):
            self.neighbour.say(circ_id | INITIATOR, CELL)
            self.neighbour.say(circ_id | INITIATOR, DESTROY)
        self.assertTrue(self.neighbour.is_open)
        self.assertEqual(self.neighbour.kinds(), [])
        self.assert_unharmed()

    def test_an_id_of_the_other_side(self) -> None:
        """It closes the link."""
        self.create(5)
        self.assert_closed_by_the_node(CREATE)
        self.assert_unharmed()

    def test_no_id(self) -> None:
        """So does 0, for anything that is about a circuit."""
        for command in (CREATE, CREATED, CELL, DESTROY):
            self.neighbour.connect(self.guard)
            self.neighbour.lost.clear()
            self.neighbour.say(0, command)
            if command == CELL:
                # It is a cell of a circuit that does not exist: counted like any other.
                self.assertTrue(self.neighbour.is_open)
            else:
                self.assert_closed_by_the_node(command)
        self.assert_unharmed()

    def test_unknown_ids(self) -> None:
        """A hundred in a minute are dropped and counted, one more closes the link; DESTROYs do not count."""
        for number in range(3 * UNKNOWN_PER_MINUTE):
            self.neighbour.say(INITIATOR | 1000 + number, DESTROY)
        for number in range(UNKNOWN_PER_MINUTE):
            self.neighbour.say(INITIATOR | 1000 + number, CELL)
        self.assertTrue(self.neighbour.is_open)
        self.network.advance(61)
        for number in range(UNKNOWN_PER_MINUTE):
            self.neighbour.say(INITIATOR | 1000 + number, CELL)
        self.assertTrue(self.neighbour.is_open)
        self.neighbour.say(INITIATOR | 1, CELL)
        self.assert_closed_by_the_node(CELL)
        self.assert_unharmed()

    def test_an_answer_that_nobody_asked_for(self) -> None:
        """CREATED from the side that opens the circuits closes the link."""
        self.neighbour.say(INITIATOR | 5, CREATED)
        self.assert_closed_by_the_node(CREATED)
        self.assert_unharmed()


