"""Nodes that do wrong with valid keys: everything else about them is the real thing.

An :class:`EvilNode` takes the place of a node of a simulated network that was not started yet; :func:`evil_service` is
one on any reactor. What it does is a *deed*, set at any time: a function from the cells that are about to be sent, and
the node's part of the circuit, to those that are sent instead. Deeds know the numbers of docs/protocol themselves:
doubles that asked the code under test would agree with it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakSet

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocol, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from zope.interface import implementer

from torpydo.errors import TorpydoError
from torpydo.net import LinkProtocol, Turn, connect_link
from torpydo.node import NodeConfig, NodeService
from torpydo.testing.clock import SimulationError
from torpydo.testing.members import NodeMember
from torpydo.tpdp import Cell, CircuitEnd, CreatedReceived, LinkEvent, TransitCircuit

CELL, BULK, EARLY = 3, 4, 9
CELL_SIZE = 1024
MAC_SIZE = 16

Deed = Callable[[list[Cell], TransitCircuit], list[Cell]]
"""What becomes of cells; at least one is given."""


# -- Deeds


def flip(offset: int) -> Deed:
    """Change one bit of the byte at *offset* of the first cell (from its end, if negative)."""

    def deed(cells: list[Cell], transit: TransitCircuit) -> list[Cell]:
        command, body = cells[0]
        changed = bytearray(body)
        changed[offset] ^= 1
        return [(command, bytes(changed)), *cells[1:]]

    return deed


def replay(cells: list[Cell], transit: TransitCircuit) -> list[Cell]:
    """Send the first cell twice."""
    return [cells[0], *cells]


def drop(cells: list[Cell], transit: TransitCircuit) -> list[Cell]:
    """Swallow the first cell."""
    return cells[1:]


def reorder() -> Deed:
    """Hold the first cell back until another one was sent."""
    held: list[Cell] = []

    def deed(cells: list[Cell], transit: TransitCircuit) -> list[Cell]:
        waiting = [*held, *cells]
        held.clear()
        if len(waiting) == 1:
            held.extend(waiting)
            return []
        return [waiting[1], waiting[0], *waiting[2:]]

    return deed


def insert(rng: Callable[[int], bytes]) -> Deed:
    """Put a cell of random bytes in front."""
    return lambda cells, transit: [(CELL, rng(CELL_SIZE)), *cells]


def relabel(cells: list[Cell], transit: TransitCircuit) -> list[Cell]:
    """Send what is EARLY as CELL, and what is CELL as EARLY; the body stays."""
    return [(EARLY if command == CELL else CELL if command == EARLY else command, body) for command, body in cells]


def as_early(cells: list[Cell], transit: TransitCircuit) -> list[Cell]:
    """Send cells of any size as EARLY."""
    return [(EARLY, body[:CELL_SIZE]) for _, body in cells]


def say(message: bytes) -> Deed:
    """Make a backward cell of one's own that says *message*, after the others: at the last hop it is sealed rightly,
    at any other as well as that node can.
    """

    def deed(cells: list[Cell], transit: TransitCircuit) -> list[Cell]:
        command, body = cells[-1]
        # Private, and meant: an evil node has its own keys.
        sealed = transit._backward.seal_tagged(command, message.ljust(len(body) - MAC_SIZE, b"\0"))[0]
        return [*cells, (command, sealed)]

    return deed


def message(kind: int, stream: int, data: bytes = b"") -> bytes:
    """A message as cells carry it."""
    return bytes((kind,)) + stream.to_bytes(4, "big") + len(data).to_bytes(2, "big") + data


# -- What is said

Rewrite = Callable[[bytes], bytes]
"""What becomes of the messages of a cell before it is sealed."""

_ACKNOWLEDGEMENT = message(8, 0, b"\1" + bytes(MAC_SIZE))[:8]


def acknowledge_wrongly(payload: bytes) -> bytes:
    """Change one bit of each acknowledgement (of what only looks like one, too)."""
    place = payload.find(_ACKNOWLEDGEMENT)
    if place < 0:
        return payload
    place += len(_ACKNOWLEDGEMENT)
    return payload[:place] + bytes((payload[place] ^ 1,)) + payload[place + 1 :]


def rewrite(end: CircuitEnd, how: Rewrite) -> None:
    """Let an end of a circuit, a node's or a client's, do *how* to everything that it says from now on."""
    seal = end._seal
    end._seal = lambda command, payload: seal(command, how(payload))


# -- The node


@attrs.define(eq=False)
class Evil:
    """What a node does wrong.

    :ivar forward: done to cells on their way to the next hop; ``None``: nothing
    :ivar backward: done to cells on their way to the previous hop, and to those that the node makes
    :ivar payload: done to what the node itself says on a circuit, from its second cell on
    :ivar created: done to the next hop's answer to a CREATE, before this node tells the client of it
    :ivar deeds: how often something was done
    """

    forward: Deed | None = attrs.field(default=None, init=False)
    backward: Deed | None = attrs.field(default=None, init=False)
    payload: Rewrite | None = attrs.field(default=None, init=False)
    created: Callable[[bytes], bytes] | None = attrs.field(default=None, init=False)
    deeds: int = attrs.field(default=0, init=False)
    _rewritten: WeakSet[TransitCircuit] = attrs.field(factory=WeakSet, init=False)

    def be_good(self) -> None:
        """Do nothing wrong from now on."""
        self.forward = self.backward = self.payload = self.created = None
        self.deeds = 0

    def take(self, link: LinkProtocol, router: Any) -> LinkProtocol:
        """Stand between *router* and a link of its own."""
        vars(link)["send_cells"] = partial(self._send, link, router, link.send_cells)
        return link

    def listen(self, endpoint: IStreamServerEndpoint) -> IStreamServerEndpoint:
        """What the node is to listen on in place of *endpoint*."""
        return _Listening(endpoint, self)

    def connect(self, reactor: Any, endpoint: Any, node_id: Any, owner: Any, **options: Any) -> Deferred[LinkProtocol]:
        """What the node is to open its links with in place of :func:`torpydo.net.connect_link`."""
        connecting = connect_link(reactor, endpoint, node_id, _Liar(owner, self), **options)
        return connecting.addCallback(self.take, owner)

    def _send(
        self, link: LinkProtocol, router: Any, send: Callable[[int, list[Cell]], int], circ_id: int, cells: list[Cell]
    ) -> int:
        circuit = router._circuits.get((link, circ_id))
        if circuit is not None and cells:
            if circuit.transit.end is not None and circuit.transit not in self._rewritten:
                self._rewritten.add(circuit.transit)
                rewrite(circuit.transit.end, self._say)
            deed = self.backward if circuit.previous.link is link else self.forward
            if deed is not None:
                self.deeds += 1
                cells = deed(cells, circuit.transit)
        return send(circ_id, cells)

    def _say(self, payload: bytes) -> bytes:
        said = payload if self.payload is None else self.payload(payload)
        self.deeds += said != payload
        return said

    def answered(self, message: bytes) -> bytes:
        """What the router gets to see of the next hop's answer."""
        if self.created is None:
            return message
        self.deeds += 1
        return self.created(message)


@attrs.define(eq=False)
class EvilNode(Evil):
    """A node of a simulated network that does wrong.

    :param member: the node, before it is started
    """

    member: NodeMember

    def __attrs_post_init__(self) -> None:
        if self.member.lives:
            raise SimulationError(f"{self.member.name} runs already; make it evil before it is started")
        self.member.connect = self.connect
        self.member.listen = self.listen


def evil_service(reactor: Any, config: NodeConfig, **options: Any) -> tuple[NodeService, Evil]:
    """A node on any reactor, among real processes for example, and what it is to do wrong.

    :param config: of the node
    :param options: further ones of :class:`torpydo.node.NodeService`
    """
    evil = Evil()
    honest = attrs.evolve(config, endpoint=evil.listen(config.endpoint))
    return NodeService(reactor, honest, connect=evil.connect, **options), evil


@attrs.define(eq=False)
class _Liar:
    """Stands between the links that the node opened and its router."""

    router: Any
    node: Evil

    @property
    def turn(self) -> Turn:
        """The router's."""
        turn: Turn = self.router.turn
        return turn

    def link_events(self, link: LinkProtocol, events: list[LinkEvent]) -> None:
        """Hand on, with other answers."""
        self.router.link_events(
            link,
            [
                CreatedReceived(event.circ_id, self.node.answered(event.message))
                if isinstance(event, CreatedReceived)
                else event
                for event in events
            ],
        )

    def link_closed(self, link: LinkProtocol, error: TorpydoError) -> None:
        """Hand on."""
        self.router.link_closed(link, error)


@implementer(IStreamServerEndpoint)
@attrs.define(eq=False)
class _Listening:
    """Stands between the node's port and its factory."""

    endpoint: IStreamServerEndpoint
    node: Evil

    def listen(self, protocolFactory: Any) -> Deferred[IListeningPort]:
        """See :class:`IStreamServerEndpoint`."""
        return self.endpoint.listen(_Taking(protocolFactory, self.node))


class _Taking(Factory[Any]):
    noisy = False

    def __init__(self, factory: Any, node: Evil) -> None:
        self._factory = factory
        self._node = node

    def buildProtocol(self, addr: IAddress | None) -> IProtocol | None:
        protocol: IProtocol | None = self._factory.buildProtocol(addr)
        if isinstance(protocol, LinkProtocol):
            self._node.take(protocol, protocol._owner)
        return protocol
