"""A whole torpydo network in one process, for the tests of applications: no sockets, no waiting, no chance.

::

    network = LocalNetwork()
    network.start()
    host, port = network.serve(Factory.forProtocol(Echo), 7)
    protocol = network.success(connectProtocol(network.client.endpoint(host, port), MyProtocol()))
    network.close()

The pool, the nodes and the client are the real ones; each runs on a simulated host of its own. A test is also a test
for leaks: a client's host that looks up a name gets an error, and the network another one when it is closed.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Factory, ServerFactory

from torpydo.client import Client, ClientLimits
from torpydo.crypto import NodeId
from torpydo.directory import ExitPolicy, parse_descriptor, parse_listing
from torpydo.errors import PoolUnreachable
from torpydo.net import fetch
from torpydo.testing.clock import SimulationError
from torpydo.testing.faultproxy import FaultProxy
from torpydo.testing.internet import Internet
from torpydo.testing.members import ClientMember, Member, NodeMember, PoolMember, Progress, Surroundings
from torpydo.testing.memory import PATIENCE, SimulatedReactor
from torpydo.testing.ways import Conditions

T = TypeVar("T")

OPEN_POLICY = "accept 10.0.3.0/24:1-65535"
"""What the nodes of a local network exit to: its destinations, and nothing else."""
LISTED_WITHIN = 60.0
"""Virtual seconds until every node must be listed."""
SETTLED = 25.0
"""Virtual seconds in which everybody has fetched a listing: two times what a listing of a test network is fresh for,
and the jitter."""
LAST_WORDS = 5.0
"""Virtual seconds that closed connections have for their last bytes."""
MAX_NODES = 200
"""Nodes, clients or destinations: each has an address in a network of its own kind."""


class LocalNetwork:
    """A pool, nodes and a client on one virtual clock.

    Addresses: the pool is 10.0.0.1, nodes 10.0.1.1 and so on, clients 10.0.2.x, destinations 10.0.3.x, proxies of
    :meth:`intercept` 10.0.4.x.

    :ivar pool: the pool's process
    :ivar nodes: the nodes' processes; what one is to do otherwise is set before :meth:`start`
    :ivar reactor: a host that has no part in the network, for whatever a test needs
    :param nodes: how many
    :param seed: of all randomness; the same seed gives the same run
    :param hops: nodes in the client's circuits
    :param latency: seconds that a byte is under way between two hosts
    :param conditions: more of what all ways are like, instead of *latency*
    :param exits: how many of the nodes are exits; by default all
    :param dht: whether the nodes take part in the DHT
    :param stamp_bits: work that the pool asks nodes for, of which a try is one hash here
    """

    def __init__(
        self,
        nodes: int = 5,
        seed: int = 0,
        *,
        hops: int = 3,
        latency: float = 0.0,
        conditions: Conditions | None = None,
        exits: int | None = None,
        dht: bool = False,
        stamp_bits: int = 0,
    ) -> None:
        if not 1 <= nodes <= MAX_NODES:
            raise SimulationError(f"a local network has 1 to {MAX_NODES} nodes, not {nodes}")
        self.reactor = SimulatedReactor(seed, conditions=conditions or Conditions(latency=latency))
        self._world = Surroundings(self.reactor, seed)
        self._hops = hops
        self.pool = PoolMember("pool", "10.0.0.1", self._world, stamp_bits=stamp_bits)
        opened = ExitPolicy.parse(OPEN_POLICY)
        self.nodes = [
            NodeMember(
                f"node{number}",
                f"10.0.1.{number}",
                self._world,
                pools=(self.pool.url,),
                exit_policy=opened if exits is None or number <= exits else ExitPolicy.closed(),
                takes_part=dht,
            )
            for number in range(1, nodes + 1)
        ]
        self.clients: list[ClientMember] = []
        self.destinations: dict[str, Member] = {}
        self.proxies: list[FaultProxy] = []
        self._open = ExitStack()
        self._client: Client | None = None

    # -- Start and stop

    def start(self) -> None:
        """Start everything; when it returns, the client can build circuits.

        Until :meth:`close`, TLS connections of this process keep their time on the client's simulated reactor.
        """
        self.start_servers()
        self._client = self.success(self.add_client())
        self._open.enter_context(self.clients[0].reactor.as_default_clock())

    def start_servers(self) -> None:
        """Start the pool and the nodes only; when it returns, all nodes are listed and know each other."""
        self.pool.start()
        for node in self.nodes:
            node.start()
        self.settle()

    def add_client(
        self,
        *,
        hops: int | None = None,
        state_dir: str | None = None,
        limits: ClientLimits | None = None,
        progress: Progress | None = None,
    ) -> Deferred[Client]:
        """One more client, on a host of its own; fires when it is ready."""
        member = ClientMember(f"client{len(self.clients) + 1}", f"10.0.2.{len(self.clients) + 1}", self._world)
        self.clients.append(member)
        hops = hops or self._hops
        return member.connect((self.pool.url,), hops=hops, state_dir=state_dir, limits=limits, progress=progress)

    @property
    def client(self) -> Client:
        """The client.

        :raises SimulationError: before :meth:`start`
        """
        if self._client is None:
            raise SimulationError("the network has no client before start()")
        return self._client

    def settle(self) -> None:
        """Let time pass until all nodes that run are listed, and everybody has had the time to hear of it.

        :raises SimulationError: if that does not happen
        """
        expected = {node.node_id for node in self.nodes if node.alive}
        end = self.reactor.seconds() + LISTED_WITHIN
        while not expected <= self._listed_if_it_answers():
            if self.reactor.seconds() > end:
                raise SimulationError(f"after {LISTED_WITHIN} virtual seconds not all nodes are listed")
            self.advance(1.0)
        self.advance(SETTLED)

    def _listed_if_it_answers(self) -> set[NodeId]:
        try:
            return self.listed()
        except PoolUnreachable:
            # Ways that lose bytes lose the pool's answers too.
            return set()

    def listed(self) -> set[NodeId]:
        """The ids of the nodes that the pool lists now.

        :raises PoolUnreachable: if it does not answer
        """
        url = self.pool.url
        assert url.pool_id is not None
        answer = self.success(fetch(self.reactor, url.host, url.port, "/v1/listing"))
        listing = parse_listing(answer.body, url.pool_id, self._world.wall_clock())
        return {parse_descriptor(entry.document).node_id for entry in listing.entries}

    def close(self) -> None:
        """Stop everything: the clients, the nodes, the pool, then the destinations.

        :raises SimulationError: if anything is left over, a timed call or an open connection, or if a client's host
            has looked up a name, or the client has connected to anything but pools and nodes
        """
        self._open.close()
        self.internet.ways.heal()
        for proxy in self.proxies:
            proxy.heal()
        members: list[Member] = [*self.clients, *self.nodes, self.pool]
        for member in members:
            if member.alive:
                member.reactor.thaw()
        for member in members:
            self.success(member.stop())
        for destination in self.destinations.values():
            destination.kill()
        for proxy in self.proxies:
            self.success(proxy.stop())
        self.advance(LAST_WORDS)
        left = [f"{member.name}: {call}" for member in members for call in self.delayed_calls(member)]
        left += [repr(connection) for connection in self.internet.connections]
        leaks = [f"{client.name}: {name}" for client in self.clients for name in client.reactor.names.lookups]
        leaks += [f"{one.name}: {leak}" for one in self.clients for guard in one.guards for leak in guard.leaks]
        for member in members:
            member.kill()
        if left:
            raise SimulationError("the network is closed, and this is left over: " + "; ".join(left))
        if leaks:
            raise SimulationError("this went out beside the network: " + "; ".join(leaks))

    def delayed_calls(self, member: Member) -> Iterable[IDelayedCall]:
        """The timed calls that a process still waits for."""
        return member.reactor.getDelayedCalls() if member.alive else ()

    # -- Time

    def advance(self, seconds: float) -> None:
        """Let virtual time pass and do everything that falls due."""
        self.reactor.advance(seconds)

    def flush(self) -> None:
        """Do everything that can be done without time passing."""
        self.reactor.flush()

    def success(self, deferred: Deferred[T], within: float = PATIENCE) -> T:
        """Let time pass until *deferred* has fired; return its result or raise its error.

        :raises SimulationError: if it does not fire *within* so many virtual seconds
        """
        return self.reactor.success(deferred, within)

    # -- Destinations

    def serve(self, factory: Factory[Any], port: int = 80, host: str | None = None) -> tuple[str, int]:
        """Run a server outside the network, which only exits reach.

        :param host: its name; by default a new one, on a host of its own
        :return: its name and port, as :meth:`Client.endpoint` takes them
        """
        name = host or f"server{len(self.destinations) + 1}.example"
        if name not in self.destinations:
            member = Member(name, f"10.0.3.{len(self.destinations) + 1}", self._world)
            member.start()
            self.destinations[name] = member
            self.internet.names[name] = [member.ip]
        server = self.destinations[name]
        server.reactor.listenTCP(port, cast(ServerFactory[Any], factory), interface=server.ip)
        return name, port

    # -- Trouble

    @property
    def internet(self) -> Internet:
        """What lies between the hosts: ways, names, where bytes are split, connections."""
        return self.reactor.internet

    def kill(self, member: Member, *, silently: bool = False) -> None:
        """End a process at once. Its peers see their connections closed, or (*silently*) nothing at all."""
        member.kill(silently=silently)
        self.flush()

    def restart(self, member: Member) -> None:
        """Start a process again, with the same address and identity and nothing else; :meth:`settle` follows."""
        member.kill()
        self.internet.ways.heal(member.ip)
        member.start()

    def freeze(self, member: Member) -> None:
        """Stop a process, as SIGSTOP would: it neither reads nor keeps time, and its connections stay open."""
        member.reactor.freeze()

    def thaw(self, member: Member) -> None:
        """Let a process go on that was frozen; it finds everything that has come in the meantime."""
        member.reactor.thaw()

    def intercept(self, member: Member, port: int = 0, *, source: Member | None = None) -> FaultProxy:
        """Put a proxy before a process: it carries every connection that is opened to it from now on, and passes on all
        bytes until it is told to do something else (see :class:`FaultProxy`). Neither side notices.

        :param port: where the process listens; need not be said for the pool and for nodes
        :param source: only connections of this process go through the proxy
        """
        number = len(self.proxies) + 1
        if number > MAX_NODES:
            raise SimulationError(f"a local network has at most {MAX_NODES} proxies")
        ip, port = f"10.0.4.{number}", port or member.port
        reactor = self.reactor.host(ip)
        proxy = FaultProxy(
            reactor, TCP4ServerEndpoint(reactor, port, interface=ip), TCP4ClientEndpoint(reactor, member.ip, port)
        )
        self.proxies.append(proxy)
        # The way of the bytes is as long as it would be without a proxy.
        self.internet.ways.set_between(ip, member.ip, Conditions())
        self.success(proxy.start())
        self.internet.divert((member.ip, port), (ip, port), None if source is None else source.ip)
        return proxy

    def partition(self, *members: Member) -> None:
        """Cut these off from all others (not from each other): what is sent is held back, nobody is told."""
        inside = {member.ip for member in members}
        everybody: list[Member] = [self.pool, *self.nodes, *self.clients, *self.destinations.values()]
        self.internet.ways.partition(inside, {one.ip for one in everybody} - inside)

    def heal(self) -> None:
        """End every partition; what was held back arrives."""
        self.internet.ways.heal()
