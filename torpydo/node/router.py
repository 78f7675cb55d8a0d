"""Cells from link to link: the owner of all links of a node, and the table of its circuits.

Each batch of cells is for the next hop, for the previous hop, or for the exit of this node; nothing else is decided
here for each cell. What a circuit does wrong costs that circuit, what a link does wrong costs that link.
::

    link_events ─┬─ CREATE ──> creates ──> table
                 ├─ CELLS ───> transit ─┬─ PassOn ──> next link
                 │                      ├─ PassOn, joined ──> the other circuit's previous link
                 │                      └─ Mine ────> extending, streams (exits), onionservices
                 ├─ CELLS (backward) ──> transit ───> previous link
                 └─ DESTROY, end of the link ──> DESTROY to the other side
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from torpydo.crypto import DHSecretKey, SigningKey
from torpydo.directory import NetDir
from torpydo.errors import CryptoError, RemoteProtocolError, TorpydoError
from torpydo.net import LinkProtocol, Turn, connect_link
from torpydo.node.circuit import RoutedCircuit, Way
from torpydo.node.creates import Creates
from torpydo.node.drain import drain, stop_time
from torpydo.node.draw import make_randbelow
from torpydo.node.exits import Exits, ExitStreams
from torpydo.node.extending import Extending
from torpydo.node.neighbours import ConnectFunction, Neighbour, Neighbours
from torpydo.node.onionservices import OnionServices
from torpydo.node.refusal import NodeRefusal
from torpydo.node.status import NodeStatus
from torpydo.node.teardown import Teardown
from torpydo.node.upkeep import Upkeep
from torpydo.tpdp import (
    Address,
    Cell,
    CellsReceived,
    CreatedReceived,
    CreateReceived,
    DestroyReceived,
    EndEvent,
    ExtendRequested,
    ExtendStatus,
    LinkEvent,
    LinkReady,
    PassOn,
    PeerAuthenticated,
    Said,
    TransitCircuit,
)

__all__ = ["Router"]

DRAIN_STEP: Final = 0.02
"""Seconds between two looks whether the links have sent their last DESTROYs."""


class Router:
    """All circuits of a node. It is the owner (``net.LinkOwner``) of all its links.

    :param reactor: connects and keeps time
    :param identity: this node's
    :param onion_keys: gives the keys that CREATEs are tried with, the current one first
    :param exits: where streams go; their bounds are those of this router
    :param allow_single_hop: whether a client's circuit of one hop may have streams
    :param connect: for tests
    :param closed: told of each link that is gone
    """

    def __init__(
        self,
        reactor: Any,
        identity: SigningKey,
        *,
        rng: Callable[[int], bytes],
        onion_keys: Callable[[], Sequence[DHSecretKey]],
        exits: Exits,
        allow_single_hop: bool = False,
        aegis: bool = True,
        connect: ConnectFunction = connect_link,
        closed: Callable[[LinkProtocol], None] = lambda link: None,
    ) -> None:
        self._reactor = reactor
        self._node_id = identity.node_id
        self._exits = exits
        bounds = self._bounds = exits.bounds
        self._allow_single_hop = allow_single_hop
        self._tell_closed = closed
        self._neighbours = Neighbours(reactor, self, identity, bounds, rng=rng, aegis=aegis, connect=connect)
        self._creates = Creates(
            reactor, self._node_id, self._neighbours, bounds, rng=rng, onion_keys=onion_keys, accepted=self._accepted
        )
        self._extending = Extending(
            reactor, self._node_id, self._neighbours, bounds, self._attach_next, self._detach_next, self._flush
        )
        # Keyed by link as well as by number: peers choose the numbers, and crafted ones must not collide (SECURITY L8).
        self._circuits: dict[tuple[LinkProtocol, int], RoutedCircuit] = {}
        self._count = 0
        self._teardown = Teardown(reactor, self._circuits, self._lost)
        self._onions = OnionServices(reactor, bounds, self._flush, self._end_circuit)
        self._waiting = bounds.waiting
        self._upkeep = Upkeep(
            reactor, bounds, exits, self._neighbours, end=self._end_circuit, randbelow=make_randbelow(rng)
        )
        self._closed = False
        self._stop_time = stop_time(0.0)
        self.turn = Turn(reactor)
        self._handlers: dict[type, Callable[[LinkProtocol, Any], None]] = {
            LinkReady: self._link_ready,
            PeerAuthenticated: self._authenticated,
            CreateReceived: self._create_received,
            CellsReceived: self._cells_received,
            CreatedReceived: self._created_received,
            DestroyReceived: self._destroy_received,
        }

    # -- What the service asks

    def start(self) -> None:
        """Begin to look after memory, links and file descriptors."""
        self._upkeep.start()

    def network_changed(self, netdir: NetDir) -> None:
        """The listings say something new."""
        self._bounds.in_force.network_changed(test_network=netdir.test_network)
        self._extending.netdir = self._neighbours.netdir = netdir

    def set_own(self, addresses: Iterable[Address]) -> None:
        """This node is reached at *addresses*, and nowhere else any more."""
        self._extending.own = frozenset(addresses)

    def status(self) -> NodeStatus:
        """Counts of what is open, and of what was done."""
        bounds, neighbours = self._bounds, self._neighbours
        return NodeStatus(
            links=len(neighbours),
            circuits=self._count,
            streams=self._exits.streams,
            queued=self._waiting.queued,
            files=bounds.files.used,
            files_most=bounds.files.most or 0,
            received=neighbours.received,
            sent=neighbours.sent,
            handshakes=neighbours.made,
            circuits_made=self._creates.made,
            refused=bounds.refusals.counts(),
        )

    def drain(self, seconds: float) -> Deferred[None]:
        """Take no new links and circuits, and end those that fall idle; fires when none is left, or then.

        :meth:`close` follows.
        """
        self._closed = True
        self._stop_time = stop_time(seconds)
        self._creates.drain()
        return Deferred.fromCoroutine(drain(self._reactor, self._circuits, self._teardown.drop, seconds))

    def close(self) -> Deferred[None]:
        """Destroy every circuit and close every link; fires when they are gone, or after a few seconds."""
        self._closed = True
        self._upkeep.stop()
        self._onions.stop()
        self._creates.stop()
        self._neighbours.stop()
        return Deferred.fromCoroutine(self._end())

    async def _end(self) -> None:
        """Wait until the last bytes of the links are out: a process that ends now would take them along."""
        until = self._reactor.seconds() + self._stop_time
        await self._teardown.all_gone(until)
        self._exits.close()
        transports: list[Any] = [neighbour.link.transport for neighbour in self._neighbours]
        for neighbour in self._neighbours:
            self._neighbours.close(neighbour)
        while any([transport.connected for transport in transports]) and self._reactor.seconds() < until:
            await deferLater(self._reactor, DRAIN_STEP, lambda: None)

    # -- net.LinkOwner

    def link_events(self, link: LinkProtocol, events: list[LinkEvent]) -> None:
        """Take what one read brought, in order."""
        handlers = self._handlers
        for event in events:
            handlers[type(event)](link, event)
        # Only now: the proof that it is a node's comes with the end of the link handshake.
        if type(events[0]) is LinkReady:
            self._limit_links(link)
        self._creates.run()

    def link_closed(self, link: LinkProtocol, error: TorpydoError) -> None:
        """A link is gone, and with it its circuits."""
        if link.at_fault:
            self._bounds.refuse(NodeRefusal.LINKS_BROKEN)
        neighbour = self._neighbours.closed(link)
        if neighbour is not None:
            self._teardown.link_gone(neighbour)
        self._tell_closed(link)

    def _link_ready(self, link: LinkProtocol, event: LinkReady) -> None:
        neighbour = self._neighbours.opened(link)
        if self._closed:
            self._neighbours.close(neighbour)

    def _limit_links(self, link: LinkProtocol) -> None:
        """Close a new link of a client whose host has enough of them, whether it is used or not (SECURITY D1).

        The gate does that as a rule, but cannot tell a client from a node that has the same address.
        """
        neighbour = self._neighbours.get(link)
        if neighbour is None or neighbour.dialled or neighbour.host is None or self._neighbours.is_node(neighbour):
            return
        if len(self._neighbours.clients_at(neighbour.host)) > self._bounds.limits.links_per_host:
            self._neighbours.abort(neighbour, NodeRefusal.LINKS_PER_HOST)

    def _authenticated(self, link: LinkProtocol, event: PeerAuthenticated) -> None:
        self._neighbours.authenticated(link)

    # -- New circuits

    def _create_received(self, link: LinkProtocol, event: CreateReceived) -> None:
        self._creates.receive(link, event.circ_id, event.message)

    def _accepted(self, transit: TransitCircuit, neighbour: Neighbour, circ_id: int) -> None:
        circuit = self._circuits[neighbour.link, circ_id] = RoutedCircuit(transit, neighbour, circ_id)
        self._count += 1
        self._neighbours.occupy(neighbour, circ_id)
        self._waiting.note(circuit)

    # -- Cells

    def _cells_received(self, link: LinkProtocol, event: CellsReceived) -> None:
        circuit = self._circuits.get((link, event.circ_id))
        if circuit is None:
            # Destroyed a moment ago (what never was, the link itself counts), or a cell that came before CREATED went.
            if link.core.is_open(event.circ_id):
                link.send_destroy(event.circ_id)
            return
        try:
            # A circuit never goes back where it comes from, so the link alone tells the direction.
            if circuit.previous.link is link:
                self._forward(circuit, event.cells)
            else:
                self._send_back(circuit, circuit.transit.receive_backward(event.cells))
        except (RemoteProtocolError, CryptoError):
            self._end_circuit(circuit, NodeRefusal.CIRCUITS_BROKEN)
        except MemoryError:
            # What this circuit keeps is given back; an error that nobody takes would cost the whole link.
            self._end_circuit(circuit, NodeRefusal.MEMORY)

    def _forward(self, circuit: RoutedCircuit, cells: list[Cell]) -> None:
        outcome = circuit.transit.receive_forward(cells, self._reactor.seconds())
        if isinstance(outcome, PassOn):
            partner = circuit.partner
            if partner is not None:
                self._send_back(partner, partner.transit.receive_backward(outcome.cells))
                return
            assert circuit.next is not None
            circuit.sent_on += self._send(circuit, circuit.next, circuit.next_id, outcome.cells)
            return
        if outcome.events:
            self._mine(circuit, outcome.events)
        self._flush(circuit)

    def _mine(self, circuit: RoutedCircuit, events: list[EndEvent]) -> None:
        request = events[0]
        if isinstance(request, ExtendRequested):
            # It is the first: the core takes no stream before an EXTEND, and no second one while it is pending.
            self._extending.extend(circuit, request)
            events = events[1:]
        if not events or circuit.way is Way.GONE:
            return
        if circuit.way is not Way.NONE:
            raise RemoteProtocolError("a stream while the circuit is being extended")
        if isinstance(events[0], Said):
            # There is one conversation on a circuit, and then no stream.
            self._onions.said(circuit, events)
        else:
            self._streams(circuit).receive(events)

    def _send_back(self, circuit: RoutedCircuit, cells: list[Cell]) -> None:
        circuit.sent_back += self._send(circuit, circuit.previous, circuit.previous_id, cells)

    def _send(self, circuit: RoutedCircuit, neighbour: Neighbour, circ_id: int, cells: list[Cell]) -> int:
        link = neighbour.link
        size = link.send_cells(circ_id, cells)
        # Whether or not the link takes bytes now: it may stop doing so in the middle of these.
        self._waiting.note(circuit)
        if link.paused and link.core.queued(circ_id) > self._bounds.limits.circuit_queue:
            self._end_circuit(circuit, NodeRefusal.CIRCUIT_QUEUE)
        return size

    def _flush(self, circuit: RoutedCircuit) -> None:
        """Send what a verb or a read made; an exit that may go on reading is told."""
        if circuit.way is Way.GONE:
            return
        cells = circuit.transit.cells_to_send(self._reactor.seconds())
        if cells:
            self._send_back(circuit, cells)
        events = circuit.transit.take_events()
        if events and circuit.streams is not None:
            circuit.streams.receive(events)

    def _streams(self, circuit: RoutedCircuit) -> ExitStreams:
        if circuit.streams is None:
            previous = circuit.previous
            assert circuit.transit.end is not None
            circuit.streams = ExitStreams(
                self._exits,
                circuit.transit.end,
                flush=lambda: self._flush(circuit),
                stalled=lambda: self._stalled(circuit),
                may_exit=lambda: (
                    self._neighbours.is_node(previous) or self._exits.test_network or self._allow_single_hop
                ),
                source=self._neighbours.source(previous, test_network=self._exits.test_network),
            )
        return circuit.streams

    # -- The next hop

    def _created_received(self, link: LinkProtocol, event: CreatedReceived) -> None:
        circuit = self._circuits.get((link, event.circ_id))
        if circuit is None:
            return
        try:
            if circuit.previous.link is link:
                raise RemoteProtocolError("CREATED from the side that opened the circuit")
            self._extending.created(circuit, event.message)
        except RemoteProtocolError:
            self._end_circuit(circuit, NodeRefusal.CIRCUITS_BROKEN)

    def _attach_next(self, circuit: RoutedCircuit) -> None:
        assert circuit.next is not None
        self._circuits[circuit.next.link, circuit.next_id] = circuit
        self._neighbours.occupy(circuit.next, circuit.next_id)
        self._waiting.note(circuit)

    def _detach_next(self, circuit: RoutedCircuit) -> None:
        neighbour, circuit.next = circuit.next, None
        if neighbour is not None:
            self._circuits.pop((neighbour.link, circuit.next_id), None)
            # Nothing is sent if the next hop had destroyed it, or the link is gone.
            neighbour.link.send_destroy(circuit.next_id)
            self._neighbours.leave(neighbour, circuit.next_id)

    # -- Ends

    def _destroy_received(self, link: LinkProtocol, event: DestroyReceived) -> None:
        circuit = self._circuits.get((link, event.circ_id))
        if circuit is not None:
            self._teardown.destroyed(circuit, link)

    def _lost(self, circuit: RoutedCircuit, neighbour: Neighbour | None) -> None:
        """One side of a circuit is gone; only a next hop that had not accepted yet leaves the rest alive."""
        if neighbour is circuit.next and circuit.way is Way.ASKED:
            self._extending.refused(circuit, ExtendStatus.DESTROYED)
        elif neighbour in (circuit.previous, circuit.next):
            self._drop(circuit)

    def _end_circuit(self, circuit: RoutedCircuit, refusal: NodeRefusal) -> None:
        """Destroy a circuit, for that reason."""
        if circuit.way is not Way.GONE:
            self._bounds.refuse(refusal)
            self._drop(circuit)

    def _drop(self, circuit: RoutedCircuit) -> None:
        """Destroy a circuit in both directions. Nothing is sent where it is gone already."""
        if circuit.way is Way.GONE:
            return
        circuit.way = Way.GONE
        self._count -= 1
        self._waiting.forget(circuit)
        circuit.stop_extending()
        self._detach_next(circuit)
        previous = circuit.previous
        self._circuits.pop((previous.link, circuit.previous_id), None)
        previous.link.send_destroy(circuit.previous_id)
        self._neighbours.leave(previous, circuit.previous_id)
        self._onions.gone(circuit)
        partner, circuit.partner = circuit.partner, None
        if partner is not None:
            partner.partner = None
            self._teardown.drop(partner)
        if circuit.streams is not None:
            # It knows the circuit: both would wait for the cycle collector.
            streams, circuit.streams = circuit.streams, None
            streams.close()

    def _stalled(self, circuit: RoutedCircuit) -> None:
        if circuit.way is not Way.GONE:
            self._waiting.note(circuit)
