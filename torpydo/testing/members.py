"""The processes of a simulated network: each has a host, keys and randomness of its own, and can die and come back.

Nothing here drives the clock. Made by network; changed by tests (and by evil) before they are started.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Final

import attrs
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IStreamServerEndpoint

from torpydo.apps.dht import NodeDHT
from torpydo.client import Client, ClientLimits, World
from torpydo.crypto import KEY_SIZE, NodeId, Person, Secret, SigningKey, blake, find_stamp, stamp_holds
from torpydo.directory import ExitPolicy, PoolURL
from torpydo.net import LinkProtocol, connect_link, probe_link, use_steady_clock
from torpydo.node import NodeConfig, NodeLimits, NodeService, NodeStatus, make_randbelow
from torpydo.pool import PoolConfig, PoolService
from torpydo.testing.clock import SimulationError
from torpydo.testing.leakguard import LeakGuard
from torpydo.testing.memory import SimulatedReactor

EPOCH: Final = 1_800_000_000.0
"""What every wall clock shows when a simulation begins, in seconds since 1970."""
POOL_PORT: Final = 80
NODE_PORT: Final = 6000
HEARTBEAT: Final = 5.0
"""Seconds between heartbeats: in virtual time nobody waits for them."""

Rng = Callable[[int], bytes]
Progress = Callable[[int, str, str], object]
"""Called with percent, tag and summary."""


def cheap_work(data: bytes) -> bytes:
    """The proof of a stamp in a simulation: a hash, in the place of 64 MiB and a thread."""
    return blake(data, Person.PLACE, size=16)


def _cheap_search(node_id: bytes, bits: int, first: int, tries: int) -> Deferred[bytes | None]:
    return succeed(find_stamp(node_id, bits, first, tries, cheap_work))


@attrs.frozen
class Surroundings:
    """What all processes of one simulation share.

    :ivar seed: of everything that is random in them
    """

    root: SimulatedReactor
    seed: int

    def wall_clock(self) -> float:
        """The virtual time, as seconds since 1970."""
        return EPOCH + self.root.seconds()

    def rng(self, *purpose: object) -> Rng:
        """Random bytes that depend on the seed and on *purpose* alone."""
        return Random("/".join(map(str, (self.seed, *purpose)))).randbytes


def _key_first(key: SigningKey, rng: Rng) -> Rng:
    """Randomness for a service without a key, which draws one before anything else."""
    waiting = [bytes(key.seed)]

    def draw(size: int) -> bytes:
        if not waiting:
            return rng(size)
        if size != KEY_SIZE:
            raise SimulationError("a service drew other randomness before its key")
        return waiting.pop()

    return draw


@attrs.define(eq=False)
class Member:
    """One process.

    :ivar name: for people, and part of what its randomness depends on
    :ivar ip: its address
    :ivar skew: seconds that its wall clock is ahead of those of others; may be changed at any time
    :ivar state_dir: a real directory in which a pool or a node keeps its state; such a process must be stopped, not
        killed, before it is started again
    :ivar lives: how often it was started
    """

    name: str
    ip: str
    world: Surroundings
    skew: float = 0.0
    state_dir: str | None = None
    lives: int = 0
    _reactor: SimulatedReactor | None = None

    @property
    def port(self) -> int:
        """Where it listens; 0 for one that does not, or at many ports."""
        return 0

    def wall_clock(self) -> float:
        """What its clock shows, in seconds since 1970."""
        return self.world.wall_clock() + self.skew

    @property
    def reactor(self) -> SimulatedReactor:
        """The reactor of its present life (or of its last one).

        :raises SimulationError: before the first
        """
        if self._reactor is None:
            raise SimulationError(f"{self.name} was never started")
        return self._reactor

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._reactor is not None and self._reactor.alive

    def begin(self) -> SimulatedReactor:
        """Start a process for it."""
        reactor = self._reactor = self.world.root.host(self.ip)
        # A real one goes by the time of day until the main program says otherwise: :attr:`skew` must not reach it.
        reactor.seconds = self.wall_clock
        use_steady_clock(reactor, self.world.root.seconds)
        self.lives += 1
        return reactor

    def start(self) -> None:
        """Run."""
        self.begin()

    def stop(self) -> Deferred[None]:
        """End in an orderly way."""
        return succeed(None)

    def kill(self, *, silently: bool = False) -> None:
        """End at once, as SIGKILL or (*silently*) a power failure would."""
        if self.alive:
            self.reactor.kill(silently=silently)

    def key(self) -> SigningKey:
        """Its identity, the same in all its lives."""
        return SigningKey(Secret(self.world.rng(self.name, "key")(KEY_SIZE)))

    def rng(self) -> Rng:
        """The randomness of its present life."""
        return self.world.rng(self.name, self.lives)

    def with_key(self, rng: Rng) -> Rng:
        """The same, for a service that begins by drawing its key, unless that is on the disk by now."""
        on_disk = self.state_dir is not None and self.lives > 1
        return rng if on_disk else _key_first(self.key(), rng)


@attrs.define(eq=False)
class PoolMember(Member):
    """The pool index.

    :ivar stamp_bits: work that it asks nodes for; counts from the next start
    """

    stamp_bits: int = 0
    service: PoolService | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        return POOL_PORT

    @property
    def url(self) -> PoolURL:
        """What nodes and clients are given."""
        return PoolURL(self.ip, POOL_PORT, self.key().pool_id)

    def start(self) -> None:
        """Listen; what an earlier life knew is forgotten, unless there is a state directory."""
        reactor, rng = self.begin(), self.rng()
        config = PoolConfig(
            endpoint=TCP4ServerEndpoint(reactor, POOL_PORT, interface=self.ip),
            listen=f"{self.ip} port {POOL_PORT}",
            state_dir=self.state_dir,
            requested_delay=HEARTBEAT,
            deprecation_delay=4 * HEARTBEAT,
            gc_cycle=HEARTBEAT,
            test_network=True,
            stamp_bits=self.stamp_bits,
        )
        self.service = PoolService(
            reactor,
            config,
            probe=partial(probe_link, reactor, rng=rng),
            wall_clock=self.wall_clock,
            rng=self.with_key(rng),
            check=lambda node_id, stamp: succeed(stamp_holds(node_id, stamp, cheap_work)),
        )
        self.service.startService()

    def stop(self) -> Deferred[None]:
        """Close everything."""
        return succeed(None) if self.service is None or not self.alive else maybeDeferred(self.service.stopService)


@attrs.define(eq=False)
class NodeMember(Member):
    """A node.

    :ivar node_id: its identity
    :ivar exit_policy: which destinations it opens; counts from the next start
    :ivar limits: what it bounds; counts from the next start
    :ivar takes_part: whether it takes part in the DHT; counts from the next start
    :ivar drain: seconds that circuits in use have when it stops
    :ivar connect: opens its links to others; for doubles that do wrong
    :ivar listen: what becomes of the endpoint that it listens on; for the same
    """

    pools: tuple[PoolURL, ...] = ()
    exit_policy: ExitPolicy = attrs.Factory(ExitPolicy.closed)
    limits: NodeLimits = attrs.Factory(NodeLimits)
    drain: float = 0.0
    takes_part: bool = False
    connect: Callable[..., Deferred[LinkProtocol]] = connect_link
    listen: Callable[[IStreamServerEndpoint], IStreamServerEndpoint] = attrs.field(default=lambda endpoint: endpoint)
    service: NodeService | None = None
    dht: NodeDHT | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        return NODE_PORT

    @property
    def node_id(self) -> NodeId:
        """Who it is."""
        return self.key().node_id

    def start(self) -> None:
        """Listen, and send heartbeats."""
        reactor = self.begin()
        config = NodeConfig(
            endpoint=self.listen(TCP4ServerEndpoint(reactor, NODE_PORT, interface=self.ip)),
            listen=f"{self.ip} port {NODE_PORT}",
            pools=self.pools,
            state_dir=self.state_dir,
            exit_policy=self.exit_policy,
            limits=self.limits,
            drain=self.drain,
            nickname=self.name,
            identity=self.key() if self.state_dir is None else None,
        )
        if self.takes_part:
            rng = self.world.rng(self.name, self.lives, "dht")
            world = World(rng=rng, randbelow=make_randbelow(rng), wall_clock=self.wall_clock, connect=self.connect)
            self.dht = NodeDHT(reactor, world)
        self.service = NodeService(
            reactor,
            config,
            wall_clock=self.wall_clock,
            rng=self.rng() if self.state_dir is None else self.with_key(self.rng()),
            connect=self.connect,
            search=_cheap_search,
            local=self.dht,
        )
        self.service.startService()

    def stop(self) -> Deferred[None]:
        """Close everything."""
        return succeed(None) if self.service is None or not self.alive else maybeDeferred(self.service.stopService)

    def status(self) -> NodeStatus:
        """Counts of what is open in it."""
        if self.service is None or not self.alive:
            return NodeStatus(links=0, circuits=0, streams=0, queued=0)
        return self.service.status()


@attrs.define(eq=False)
class ClientMember(Member):
    """A client, on a host that may not resolve any name.

    :ivar guards: of each of its lives: lets the client reach its pools and nodes, and nothing else
    """

    client: Client | None = None
    guards: list[LeakGuard] = attrs.Factory(list)

    def connect(
        self,
        pools: tuple[PoolURL, ...],
        *,
        hops: int,
        state_dir: str | None = None,
        limits: ClientLimits | None = None,
        progress: Progress | None = None,
    ) -> Deferred[Client]:
        """Make the client; fires when it is ready."""
        self.start()
        rng = self.rng()
        self.reactor.names.forbid()
        world = World(
            rng=rng,
            randbelow=make_randbelow(rng),
            wall_clock=self.wall_clock,
        )
        urls = [str(url) for url in pools]
        guard = LeakGuard(self.reactor)
        self.guards.append(guard)
        made = guard.create_client(
            urls,
            state_dir,
            hops=hops,
            limits=limits or ClientLimits(),
            progress=progress,
            world=world,
        )
        return made.addCallback(self._ready)

    def _ready(self, client: Client) -> Client:
        self.client = client
        return client

    def stop(self) -> Deferred[None]:
        """Close everything."""
        return succeed(None) if self.client is None or not self.alive else self.client.close()
