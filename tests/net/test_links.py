"""Links over transports: readiness, ends told exactly once, back-pressure, probes."""

from __future__ import annotations

from random import Random
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from torpydo.crypto import NodeId, Secret, SigningKey
from torpydo.errors import LinkError, TorpydoError
from torpydo.net import (
    FileBudget,
    Gate,
    GateRefusal,
    LinkFactory,
    LinkProtocol,
    Turn,
    connect_link,
    link_endpoint,
    probe_link,
)
from torpydo.net.links import CLOSING, READ_SIZE
from torpydo.node import NodeLimits
from torpydo.testing.memory import SimulatedReactor
from torpydo.testing.ways import Conditions
from torpydo.tpdp import (
    Address,
    CellsReceived,
    CreateReceived,
    DestroyReceived,
    Link,
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
    read: list[int] = attrs.field(factory=list)
    closed: list[TorpydoError] = attrs.field(factory=list)

    def link_events(self, link: LinkProtocol, events: list[LinkEvent]) -> None:
        """Remember."""
        if link not in self.links:
            self.links.append(link)
            # Before this link was ready, and with the read that made it so.
            self.read.append(link.received)
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
        self.refused: list[GateRefusal] = []
        clock = self.reactor.seconds
        self.files = FileBudget(clock, 10_000, lambda: 0)
        self.gate = Gate(clock, NodeLimits, self.files, self.refused.append)
        factory = LinkFactory(
            self.identity,
            self.owner,
            reactor=self.reactor,
            rng=self.rng,
            wall_clock=lambda: 1_700_000_000.0,
            gate=self.gate,
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

    def unread_circuit(self, in_flight: int) -> tuple[LinkProtocol, int, Any]:
        """A circuit on a new link whose responder does not read, and the responder's transport.

        :param in_flight: bytes that the kernels hold
        """
        self.reactor.internet.ways.set(Conditions(in_flight=in_flight))
        link = self.link()
        circ_id = link.core.new_circuit_id()
        link.send_create(circ_id, b"c" * 512)
        self.reactor.flush()
        far: Any = self.owner.links[0].transport
        far.pauseProducing()
        return link, circ_id, far


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


class Caller(Protocol):
    """Connects, says something that is no link, and waits."""

    transport: Any

    def __init__(self) -> None:
        self.heard = b""
        self.ended: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended = reason


class BeforeReadyTests(SynchronousTestCase):
    """What somebody gets who has not finished the handshake (SECURITY L5)."""

    def call(self, rig: Rig, data: bytes = b"") -> Caller:
        """Connect and say this."""
        caller: Caller = rig.reactor.success(
            link_endpoint(rig.reactor, rig.address).connect(Factory.forProtocol(Caller))
        )
        caller.transport.write(data)
        rig.reactor.flush()
        return caller

    def hello(self, rig: Rig) -> bytes:
        """The first message of somebody who knows the node."""
        core = Link.initiator(rig.identity.node_id, rng=rig.rng, now=0.0)
        return bytes(core.data_to_send())

    def test_bytes(self) -> None:
        """Four KiB are read, whether they are a hello and more or nothing at all; then the connection is reset."""
        rig = Rig()
        for begin in (b"", self.hello(rig)):
            caller = self.call(rig, begin + bytes(4096 - len(begin)))
            if not begin:
                # Nobody learns that it is a node.
                self.assertIsNone(caller.ended)
            caller.transport.write(b"x")
            rig.reactor.flush()
            assert caller.ended is not None
            self.assertFalse(caller.ended.check(ConnectionDone))
        self.assertEqual((rig.gate.pending, rig.owner.links), (0, []))
        self.assertEqual(set(rig.refused), {GateRefusal.LINKS_UNFINISHED})

    def test_a_lot_at_once(self) -> None:
        """No more is read than that, however much has arrived."""
        rig = Rig()
        far = self.call(rig).transport
        (link,) = rig.gate._hosts
        assert isinstance(link, LinkProtocol)
        far.write(bytes(1_000_000))
        rig.reactor.flush()
        self.assertEqual(link.received, 4096 + 1)

    def test_time(self) -> None:
        """Ten seconds in all, whether the hello comes byte by byte or is answered and nothing follows; then a reset."""
        rig = Rig()
        hello = self.hello(rig)
        began = rig.reactor.seconds()
        slow, answered, silent = self.call(rig), self.call(rig, hello), self.call(rig)
        for second in range(20):
            for caller in (slow, answered, silent):
                self.assertEqual(caller.ended is None, rig.reactor.seconds() - began < 10.0, second)
            slow.transport.write(hello[second : second + 1])
            rig.reactor.advance(1.0)
        self.assertEqual((len(slow.heard), len(answered.heard), len(silent.heard)), (0, 512, 0))
        self.assertEqual([bool(one.ended and one.ended.check(ConnectionDone)) for one in (slow, answered)], [False] * 2)
        self.assertEqual((rig.gate.pending, rig.reactor.getDelayedCalls()), (0, []))

    def test_who_is_honest_needs_less(self) -> None:
        """What is sent at once when a link is ready waits for a record of its own, however much it is."""
        rig = Rig()

        def use(link: LinkProtocol) -> None:
            for _ in range(30):
                link.send_create(link.core.new_circuit_id(), bytes(512))

        for identity in (None, SigningKey(Secret(bytes(range(32))))):
            rig.connect(identity=identity).addCallback(use)
            rig.reactor.flush()
        self.assertEqual(len([event for event in rig.owner.events if isinstance(event, CreateReceived)]), 60)
        self.assertEqual(len(rig.owner.read), 2)
        self.assertTrue(all([count <= 4096 for count in rig.owner.read]), rig.owner.read)
        self.assertEqual((rig.gate.pending, rig.refused), (0, []))

    def test_a_ready_link_reads_more(self) -> None:
        """A whole record at a time."""
        rig = Rig()
        link = rig.link()
        far: Any = rig.owner.links[0].transport
        self.assertEqual(far.bufferSize, READ_SIZE)
        near: Any = link.transport
        self.assertEqual(near.bufferSize, READ_SIZE)

    def test_refused(self) -> None:
        """Who may not connect is closed at once, and no link is made for him."""
        rig = Rig()
        rig.gate._refused_until = {bytes([127, 0, 0, 1]): 1e9}
        caller = self.call(rig)
        self.assertIsNotNone(caller.ended)
        self.assertEqual((rig.gate._hosts, rig.refused), ({}, [GateRefusal.CONNECTS_TOO_FAST]))

    def test_evicted(self) -> None:
        """The oldest of too many is reset, and its owner never hears of it."""
        rig = Rig()
        callers = [self.call(rig) for _ in range(12)]
        self.assertEqual([one.ended is None for one in callers], [False] * 2 + [True] * 10)
        self.assertEqual(rig.refused, [GateRefusal.LINKS_PENDING_PER_HOST] * 2)
        # Their file descriptors are free again.
        self.assertEqual(rig.files.used, 10)
        self.assertEqual((rig.owner.links, rig.owner.closed), ([], []))


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
        link, circ_id, far = rig.unread_circuit(in_flight=32 * 1024)
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

    def test_closing_writes_a_part_of_much(self) -> None:
        """Whatever waits: closing costs no more than a few milliseconds, and not the memory a second time."""
        rig = Rig()
        link, circ_id, far = rig.unread_circuit(in_flight=64 * 1024)
        link.send_cells(circ_id, [(BULK, bytes(16384))] * 1000)
        rig.reactor.flush()
        link.close()
        far.resumeProducing()
        rig.reactor.advance(1.0)
        self.assertTrue(CLOSING < rig.owner.links[0].received < CLOSING + 400_000)

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

    def test_at_fault(self) -> None:
        """Only who breaks the protocol is, not who just leaves."""
        for data, at_fault in ((bytes(64), True), (b"", False)):
            rig = Rig()
            link = rig.link()
            transport: Any = link.transport
            transport.write(data)
            link.close()
            rig.reactor.flush()
            self.assertEqual([link.at_fault for link in rig.owner.links], [at_fault])
            self.assertEqual(len(rig.owner.closed), 1)

    def test_abort(self) -> None:
        """What waits is lost, each owner hears of it once, and nothing is left."""
        rig = Rig()
        link = rig.link()
        circ_id = link.core.new_circuit_id()
        link.send_create(circ_id, b"c" * 512)
        link.abort("for a reason")
        link.abort("for another")
        self.assertEqual([str(error) for error in rig.client.closed], ["for a reason"])
        rig.reactor.flush()
        self.assertEqual(len(rig.owner.closed), 1)
        self.assertEqual((rig.reactor.getDelayedCalls(), rig.gate._hosts), ([], {}))
        self.assertNotIn(CreateReceived(circ_id, b"c" * 512), rig.owner.events)

    def test_counted(self) -> None:
        """What one side sent the other one received."""
        rig = Rig()
        link = rig.link()
        circ_id = link.core.new_circuit_id()
        link.send_create(circ_id, b"c" * 512)
        self.assertEqual(link.send_cells(circ_id, [(CELL, bytes(1024)), (BULK, bytes(16384))]), 1024 + 16384)
        self.assertEqual(link.send_cells(circ_id + 1, [(CELL, bytes(1024))]), 0)
        rig.reactor.flush()
        (far,) = rig.owner.links
        self.assertEqual((link.sent, link.received), (far.received, far.sent))
        self.assertGreater(link.sent, 1024 + 16384)

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
