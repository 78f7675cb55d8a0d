"""Nodes without a service, each on a simulated host of its own, and a traveller who builds circuits through them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.directory.build import descriptor, key, network
from torpydo.crypto import DHSecretKey, Secret, SigningKey
from torpydo.directory import TEST_NETWORK, Descriptor, ExitPolicy, NetDir, sign_descriptor
from torpydo.errors import TorpydoError
from torpydo.net import BACKLOG, FileBudget, Gate, LinkFactory, LinkProtocol, Turn, connect_link
from torpydo.node.bounds import Bounds
from torpydo.node.carrier import hosts_of, open_gate
from torpydo.node.exits import Exits
from torpydo.node.resolver import Resolver
from torpydo.node.router import Router
from torpydo.testing import SimulatedReactor
from torpydo.tpdp import (
    Address,
    CellsReceived,
    CreatedReceived,
    DestroyReceived,
    EndEvent,
    Event,
    Hop,
    JoinedCircuit,
    OriginCircuit,
    StreamData,
)

PORT = 6000


@attrs.define(eq=False)
class Relay:
    """A router that listens, with its exits.

    :ivar number: makes its identity, onion key and address
    """

    world: World
    number: int
    policy: ExitPolicy
    allow_single_hop: bool = False
    files: FileBudget | None = None
    reactor: SimulatedReactor = attrs.field(init=False)
    exits: Exits = attrs.field(init=False)
    bounds: Bounds = attrs.field(init=False)
    gate: Gate = attrs.field(init=False)
    router: Router = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.reactor = self.world.reactor.host(self.address.host)
        self.bounds = Bounds.open(self.reactor, files=self.files)
        resolver = Resolver(self.reactor, randbelow=self.world.random.randrange)
        self.exits = Exits(self.reactor, self.policy, resolver, self.bounds)
        self.exits.set_own([self.address])
        self.router = Router(
            self.reactor,
            self.key,
            rng=self.world.random.randbytes,
            onion_keys=lambda: (self.onion_key,),
            exits=self.exits,
            allow_single_hop=self.allow_single_hop,
        )
        self.router.set_own([self.address])
        self.router.start()
        self.gate = open_gate(self.bounds, self.reactor)
        factory = LinkFactory(
            self.key,
            self.router,
            reactor=self.reactor,
            rng=self.world.random.randbytes,
            wall_clock=lambda: 1e9,
            gate=self.gate,
        )
        self.reactor.listenTCP(PORT, factory, BACKLOG, self.address.host)

    @property
    def key(self) -> SigningKey:
        return key(self.number)

    @property
    def onion_key(self) -> DHSecretKey:
        return DHSecretKey(Secret(bytes([self.number + 1]) * 32))

    @property
    def address(self) -> Address:
        return Address(bytes([20, self.number, 1, 1]), PORT)

    @property
    def descriptor(self) -> Descriptor:
        return descriptor(self.number, address=self.address, onion_keys=(self.onion_key.public,))

    @property
    def hop(self) -> Hop:
        return Hop(self.key.node_id, self.onion_key.public, self.address)

    def knows(self, netdir: NetDir) -> None:
        """The listing came."""
        self.router.network_changed(netdir)
        nodes = [node.address for node in (netdir.get(raw) for raw in netdir.nodes) if node is not None]
        self.exits.network_changed(nodes, test_network=netdir.test_network)
        self.gate.known = hosts_of(nodes)

    def restrict(self, **changes: float) -> None:
        """Other limits than before count from now on."""
        limits = self.bounds.in_force.configured = attrs.evolve(self.bounds.in_force.configured, **changes)
        self.bounds.in_force.now = limits
        self.bounds.waiting.most = limits.memory

    def refused(self) -> dict[str, int]:
        """What it has refused, by cause; nothing that never happened."""
        return {cause: count for cause, count in self.router.status().refused.items() if count}


class World:
    """All hosts, and what they have in common."""

    def __init__(self, seed: int = 1) -> None:
        self.hosts: list[SimulatedReactor] = []
        """The hosts of travellers and servers."""
        self.random = random.Random(seed)
        self.reactor = SimulatedReactor()
        self.relays: list[Relay] = []

    def relay(
        self,
        policy: str = "",
        *,
        allow_single_hop: bool = False,
        files: FileBudget | None = None,
    ) -> Relay:
        """One more node."""
        relay = Relay(self, len(self.relays) + 1, ExitPolicy.parse(policy), allow_single_hop, files)
        self.relays.append(relay)
        return relay

    def listing(self, relays: Iterable[Relay] | None = None, *, test_network: bool = False) -> NetDir:
        """A listing of *relays*, by default of all."""
        documents = [sign_descriptor(one.descriptor, one.key) for one in (self.relays if relays is None else relays)]
        return network(documents, parameters={TEST_NETWORK: test_network})

    def publish(self, *, test_network: bool = False) -> None:
        """Every node learns of every node."""
        netdir = self.listing(test_network=test_network)
        for relay in self.relays:
            relay.knows(netdir)

    def traveller(self, *path: Relay, host: str = "198.51.100.1", identity: SigningKey | None = None) -> Traveller:
        """A circuit through *path*, not begun yet."""
        where = next((one for one in self.hosts if one.addresses == (host,)), None) or self._host(host)
        return Traveller(where, [relay.hop for relay in path], rng=self.random.randbytes, identity=identity)

    def _host(self, address: str) -> SimulatedReactor:
        self.hosts.append(self.reactor.host(address))
        return self.hosts[-1]

    def server(self, host: str = "203.0.113.1", port: int = 80) -> Server:
        """A destination on the Internet."""
        server = Server()
        self._host(host).listenTCP(port, server, interface=host)
        return server

    def flush(self) -> None:
        """Everything that is due happens."""
        self.reactor.flush()


@attrs.define(eq=False)
class Traveller:
    """A circuit as its builder has it, with a link of its own."""

    reactor: SimulatedReactor
    path: Sequence[Hop]
    rng: Callable[[int], bytes]
    identity: SigningKey | None = None
    link: LinkProtocol | None = None
    events: list[EndEvent] = attrs.field(factory=list)
    destroyed: bool = False
    lost: bool = False
    others: list[Event] = attrs.field(factory=list)
    circ_id: int = 0
    consume: bool = True
    circuit: OriginCircuit | JoinedCircuit[Any] = attrs.field(init=False)
    turn: Turn = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.turn = Turn(self.reactor)
        self.circuit = OriginCircuit(self.path, rng=self.rng)

    def build(self, link: LinkProtocol | None = None) -> Traveller:
        """Link, and begin the circuit; whether it is built is up to the nodes."""
        if link is None:
            guard = self.path[0]
            endpoint = TCP4ClientEndpoint(self.reactor, guard.address.host, guard.address.port)
            link = self.reactor.success(
                connect_link(self.reactor, endpoint, guard.node_id, self, identity=self.identity, rng=self.rng)
            )
        self.link = link
        self.circ_id = link.core.new_circuit_id()
        link.send_create(self.circ_id, self.circuit.create_message)
        self.reactor.flush()
        return self

    def send(self) -> None:
        """Send what verbs made, and let everything happen that is due."""
        self.queue()
        self.reactor.flush()

    def queue(self) -> None:
        """Send what verbs made."""
        assert self.link is not None
        cells = self.circuit.cells_to_send(self.reactor.seconds())
        self.events += self.circuit.end.take_events()
        if cells:
            self.link.send_cells(self.circ_id, cells)

    def begin(self, host: str = "203.0.113.1", port: int = 80, data: bytes = b"") -> int:
        """Ask for a stream."""
        stream = self.circuit.end.begin(host, port)
        self.circuit.end.send_data(stream, data)
        self.send()
        return stream

    def destroy(self) -> None:
        """Destroy the circuit."""
        assert self.link is not None
        self.link.send_destroy(self.circ_id)
        self.reactor.flush()

    def received(self, stream: int) -> bytes:
        """All data of a stream so far."""
        parts = [b"".join(one.data) for one in self.events if isinstance(one, StreamData) and one.stream == stream]
        return b"".join(parts)

    def of_kind(self, kind: type) -> list[Any]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def link_events(self, link: LinkProtocol, events: list[Any]) -> None:
        """See ``net.LinkOwner``."""
        now = self.reactor.seconds()
        for event in events:
            if isinstance(event, CreatedReceived) and event.circ_id == self.circ_id:
                self.events += self.circuit.created(event.message)
            elif isinstance(event, CellsReceived) and event.circ_id == self.circ_id:
                taken = self.circuit.receive_cells(event.cells, now)
                self.events += taken
                for one in taken:
                    if isinstance(one, StreamData) and self.consume:
                        self.circuit.end.consumed(one.stream, sum(map(len, one.data)))
            elif isinstance(event, DestroyReceived) and event.circ_id == self.circ_id:
                self.destroyed = True
            else:
                self.others.append(event)
        if self.circ_id and not self.destroyed:
            self.queue()

    def link_closed(self, link: LinkProtocol, error: TorpydoError) -> None:
        """See ``net.LinkOwner``."""
        self.lost = True


@implementer(IHalfCloseableProtocol)
class Connection(Protocol):
    """A connection at a destination; does only what a test tells it."""

    transport: Any

    def __init__(self) -> None:
        self.data = b""
        self.read_closed = False
        self.ended: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def readConnectionLost(self) -> None:
        self.read_closed = True

    def writeConnectionLost(self) -> None:
        """Nothing to do."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended = reason


class Server(ServerFactory):
    """A destination."""

    noisy = False

    def __init__(self) -> None:
        self.connections: list[Connection] = []

    def buildProtocol(self, addr: object) -> Connection:
        self.connections.append(Connection())
        return self.connections[-1]
