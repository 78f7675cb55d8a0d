"""Links over transports: readiness, ends told exactly once, back-pressure, probes."""

from __future__ import annotations

from random import Random
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase

from torpydo.crypto import NodeId, Secret, SigningKey
from torpydo.errors import LinkError, TorpydoError
from torpydo.net import LinkFactory, LinkProtocol, Turn, connect_link, link_endpoint, probe_link
from torpydo.testing.memory import SimulatedReactor
from torpydo.testing.ways import Conditions
from torpydo.tpdp import (
    Address,
    CellsReceived,
    CreateReceived,
    DestroyReceived,
    LinkEvent,
    LinkReady,
    PeerAuthenticated,
)

CELL = 3
BULK = 4


@attrs.define(eq=False)
class Owner:
    """Writes down what its links report."""

    turn: Turn
    events: list[LinkEvent] = attrs.field(factory=list)
    links: list[LinkProtocol] = attrs.field(factory=list)
    closed: list[TorpydoError] = attrs.field(factory=list)

    def link_events(self, link: LinkProtocol, events: list[LinkEvent]) -> None:
        """Remember."""
        if link not in self.links:
            self.links.append(link)
        self.events += events

    def link_closed(self, link: LinkProtocol, error: TorpydoError) -> None:
        """Remember."""
        self.closed.append(error)


class Rig:
    """A listening node and a reactor to connect from."""

    def __init__(self, seed: int = 1) -> None:
        self.reactor = SimulatedReactor(seed)
        self.rng = Random(seed).randbytes
        self.identity = SigningKey(Secret(self.rng(32)))
        self.owner = Owner(Turn(self.reactor))
        self.client = Owner(Turn(self.reactor))
        factory = LinkFactory(
            self.identity, self.owner, reactor=self.reactor, rng=self.rng, wall_clock=lambda: 1_700_000_000.0
        )
        endpoint = TCP4ServerEndpoint(self.reactor, 0, interface="127.0.0.1")
        port = self.reactor.success(endpoint.listen(factory))
        self.address = Address.parse("127.0.0.1", port.getHost().port)

    def connect(self, node_id: NodeId | None = None, **options: Any) -> Deferred[LinkProtocol]:
        """Begin a link."""
        return connect_link(
            self.reactor,
            link_endpoint(self.reactor, self.address),
            node_id or self.identity.node_id,
            self.client,
            rng=self.rng,
            **options,
        )

    def link(self, **options: Any) -> LinkProtocol:
        """A link that is ready on both sides."""
        link = self.reactor.success(self.connect(**options))
        self.reactor.flush()
        return link


class OpeningTests(SynchronousTestCase):
    """From nothing to a link."""

    def test_both_sides_hear_that_it_is_ready(self) -> None:
        """The initiator is told clock and address, the responder that a first record opened."""
        rig = Rig()
        link = rig.link()
        ready = rig.client.events[0]
        assert isinstance(ready, LinkReady)
        self.assertEqual(ready.clock, 1_700_000_000)
        assert ready.seen is not None
        self.assertEqual(ready.seen.host, "127.0.0.1")
        self.assertEqual(rig.owner.events, [LinkReady(ready.cipher)])
        self.assertEqual(link.core.peer, rig.identity.node_id)
        self.assertEqual(link.peer_address, rig.address)

    def test_a_node_proves_who_it_is(self) -> None:
        """A link with an identity authenticates itself with its first record."""
        rig = Rig()
        other = SigningKey(Secret(bytes(range(32))))
        rig.link(identity=other)
        self.assertIn(PeerAuthenticated(other.node_id), rig.owner.events)

    def test_the_wrong_identity_gets_no_answer(self) -> None:
        """Who expects another node hears nothing and gives up after ten seconds."""
        rig = Rig()
        deferred = rig.connect(SigningKey(Secret(bytes(range(32)))).node_id)
        rig.reactor.advance(9.5)
        self.assertNoResult(deferred)
        rig.reactor.advance(1.0)
        self.assertIn("no link", str(self.failureResultOf(deferred, LinkError).value))
        self.assertEqual(rig.owner.events, [])
        self.assertEqual(rig.client.closed, [])

    def test_nobody_listens(self) -> None:
        """A refused connection is a link error."""
        rig = Rig()
        rig.address = Address.parse("127.0.0.1", 1)
        deferred = rig.connect()
        rig.reactor.flush()
        self.failureResultOf(deferred, LinkError)
        self.assertEqual(rig.reactor.getDelayedCalls(), [])

    def test_cancelling_frees_everything(self) -> None:
        """A cancelled attempt leaves no connection and no timer."""
        rig = Rig()
        deferred = rig.connect()
        deferred.cancel()
        self.failureResultOf(deferred, LinkError)
        rig.reactor.advance(11)
        self.assertEqual(rig.reactor.getDelayedCalls(), [])
        self.assertEqual(rig.owner.closed, [])

    def test_a_scanner_hears_nothing_and_is_dropped(self) -> None:
        """Another protocol on the port gets not one byte, and is cut off after ten seconds."""
        rig = Rig()
        heard: list[bytes] = []
        lost: list[float] = []

        class Scanner(Protocol):
            def connectionMade(self) -> None:
                assert self.transport is not None
                self.transport.write(b"GET / HTTP/1.1\r\n\r\n" + bytes(600))

            def dataReceived(self, data: bytes) -> None:
                heard.append(data)

            def connectionLost(self, reason: object = None) -> None:
                lost.append(rig.reactor.seconds())

        started = rig.reactor.seconds()
        rig.reactor.success(link_endpoint(rig.reactor, rig.address).connect(Factory.forProtocol(Scanner)))
        rig.reactor.advance(12)
        self.assertEqual(heard, [])
        self.assertEqual(len(lost), 1)
        self.assertAlmostEqual(lost[0] - started, 10.0, delta=0.5)


class CarryingTests(SynchronousTestCase):
    """What goes over a link."""

    def test_cells_arrive_in_order(self) -> None:
        """Everything sent in a turn arrives as it was sent."""
        rig = Rig()
        link = rig.link()
        circ_id = link.core.new_circuit_id()
        link.send_create(circ_id, b"c" * 512)
        cells = [(CELL, bytes([number]) * 1024) for number in range(40)] + [(BULK, b"b" * 16384)] * 20
        link.send_cells(circ_id, cells)
        rig.reactor.flush()
        self.assertIn(CreateReceived(circ_id, b"c" * 512), rig.owner.events)
        got = [cell for event in rig.owner.events if isinstance(event, CellsReceived) for cell in event.cells]
        self.assertEqual(got, cells)

    def test_a_peer_that_does_not_read_stops_the_sender(self) -> None:
        """What the transport does not take waits in the core, and goes out when it does."""
        rig = Rig()
        rig.reactor.internet.ways.set(Conditions(in_flight=32 * 1024))
        link = rig.link()
        circ_id = link.core.new_circuit_id()
        link.send_create(circ_id, b"c" * 512)
        rig.reactor.flush()
        far: Any = rig.owner.links[0].transport
        far.pauseProducing()
        cells = [(BULK, b"b" * 16384)] * 2000
        link.send_cells(circ_id, cells)
        rig.reactor.flush()
        self.assertTrue(link.paused)
        # Only there circuits take turns: below are what the kernels hold, and one record.
        self.assertGreater(link.core.queued(circ_id), 2000 * 16384 - 128 * 1024)
        far.resumeProducing()
        rig.reactor.flush()
        self.assertEqual(link.core.queued(circ_id), 0)
        got = [cell for event in rig.owner.events if isinstance(event, CellsReceived) for cell in event.cells]
        self.assertEqual(len(got), 2000)


class EndingTests(SynchronousTestCase):
    """How a link ends."""

    def test_closing_delivers_what_was_sent(self) -> None:
        """A DESTROY that was sent before the close arrives; both owners hear of the end once."""
        rig = Rig()
        link = rig.link()
        circ_id = link.core.new_circuit_id()
        link.send_create(circ_id, b"c" * 512)
        rig.reactor.flush()
        link.send_destroy(circ_id)
        link.close()
        link.close()
        rig.reactor.advance(5)
        self.assertIn(DestroyReceived(circ_id), rig.owner.events)
        self.assertEqual((len(rig.client.closed), len(rig.owner.closed)), (1, 1))
        self.assertEqual(rig.reactor.getDelayedCalls(), [])

    def test_an_altered_byte_closes_the_link(self) -> None:
        """Bytes that are no record end the link on the side that sees them."""
        rig = Rig()
        link = rig.link()
        transport: Any = link.transport
        transport.write(bytes(64))
        rig.reactor.flush()
        self.assertEqual(len(rig.owner.closed), 1)
        self.assertIn("broke the protocol", str(rig.owner.closed[0]))
        self.assertEqual(len(rig.client.closed), 1)

    def test_a_reset_is_told(self) -> None:
        """A connection that breaks ends the link on both sides."""
        rig = Rig()
        link = rig.link()
        transport: Any = link.transport
        transport.abortConnection()
        rig.reactor.flush()
        self.assertEqual((len(rig.client.closed), len(rig.owner.closed)), (1, 1))


class ProbeTests(SynchronousTestCase):
    """A pool's call-back."""

    def test_the_right_node(self) -> None:
        """A whole handshake succeeds, and nothing stays open."""
        rig = Rig()
        rig.reactor.success(probe_link(rig.reactor, rig.address, rig.identity.node_id, rng=rig.rng))
        rig.reactor.advance(5)
        self.assertEqual(rig.reactor.getDelayedCalls(), [])

    def test_another_node(self) -> None:
        """Another identity at the address fails."""
        rig = Rig()
        other = SigningKey(Secret(bytes(range(32)))).node_id
        deferred = probe_link(rig.reactor, rig.address, other, rng=rig.rng)
        rig.reactor.advance(11)
        self.failureResultOf(deferred, LinkError)
