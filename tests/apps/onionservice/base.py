"""A simulated network with a service, clients that want to reach it, and a store in memory."""

from __future__ import annotations

import random
from collections.abc import Hashable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase

from tests.network.base import Echo
from tests.testing.recorders import Recorder
from torpydo.apps.onionservice import OnionConnector, OnionService
from torpydo.client import Client, Conversation, IncomingStream
from torpydo.crypto import NodeId
from torpydo.dht import Item
from torpydo.node import NodeLimits
from torpydo.onion import (
    DHSecretKey,
    IntroduceStatus,
    Introduction,
    IntroductionPoint,
    Meeting,
    OnionName,
    Proof,
    Secret,
    SigningKey,
    open_descriptor,
)
from torpydo.testing import LocalNetwork
from torpydo.testing.members import NodeMember

START = 1_699_960_000
NOTHING = Proof()


class MemoryStore:
    """A store that forgets nothing and keeps the newest.

    :ivar holders: how many keep what is put
    :ivar puts: when something was put
    :ivar gets: how often something was looked for
    :ivar older: what those answer first who have not heard of the newest yet
    :ivar silent: whether nobody answers who is asked
    :ivar slow: if there is one, the answers to puts wait in it
    """

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self.items: dict[bytes, Item] = {}
        self.holders = 8
        self.puts: list[float] = []
        self.gets = 0
        self.older: dict[bytes, Item] = {}
        self.silent = False
        self.slow: list[Deferred[int]] | None = None

    def put(self, item: Item) -> Deferred[int]:
        self.puts.append(self._clock.seconds())
        item.check()
        if self.holders and item.replaces(self.items.get(item.target)):
            self.items[item.target] = item
        if self.slow is None:
            return succeed(self.holders)
        waiting: Deferred[int] = Deferred()
        self.slow.append(waiting)
        return waiting

    def get(self, target: bytes, *, newest: bool = False) -> Deferred[Item | None]:
        self.gets += 1
        if self.silent:
            return Deferred()
        return succeed(self.items.get(target) if newest else self.older.get(target, self.items.get(target)))


class Services(SynchronousTestCase):
    """One service, and clients that want to reach it."""

    skew = 0.0
    nodes = 8
    latency = 0.0
    limits = NodeLimits()

    def setUp(self) -> None:
        self.network = LocalNetwork(nodes=self.nodes, latency=self.latency)
        self.addCleanup(self.network.close)
        for node in self.network.nodes:
            node.limits = self.limits
        self.network.start()
        self.store = MemoryStore(self.network.reactor)
        self.random = random.Random(5)
        self.hosting: Client = self.network.success(self.network.add_client())
        self.incoming: list[IncomingStream] = []
        self.reachable: list[bool] = []
        self.connector = self.connects(self.network.client)

    def wall(self) -> float:
        return START + self.skew + self.network.reactor.seconds()

    def accept(self, stream: IncomingStream) -> None:
        self.incoming.append(stream)
        stream.accept(Echo())

    def make(self, seed: bytes = b"s" * 32, **options: Any) -> OnionService:
        """One that was not started."""
        made = OnionService(
            self.network.reactor, self.hosting, SigningKey(Secret(seed)), self.store, self.accept,
            rng=self.random.randbytes, randbelow=self.random.randrange, wall_clock=self.wall,
            changed=self.reachable.append, **options,
        )  # fmt: skip
        self.addCleanup(made.stop)
        return made

    def service(self, seed: bytes = b"s" * 32, **options: Any) -> OnionService:
        """One that is reachable."""
        made = self.make(seed, **options)
        made.start()
        self.network.advance(5)
        return made

    def connects(self, client: Client, **options: Any) -> OnionConnector:
        return OnionConnector(
            self.network.reactor, client, self.store,
            rng=self.random.randbytes, wall_clock=self.wall, shuffle=self.random.shuffle, **options,
        )  # fmt: skip

    def open(self, name: object, isolation: Hashable = None, connector: OnionConnector | None = None) -> Deferred[Any]:
        return (connector or self.connector).open_stream(Factory.forProtocol(Recorder), str(name), 80, isolation)

    def echoes(self, name: object, **options: Any) -> Recorder:
        """A stream that works."""
        said: Recorder = self.network.success(self.open(name, **options))
        said.tcp.write(b"hello")
        self.network.advance(1)
        self.assertEqual(said.data, b"hello")
        return said

    # -- What is behind it

    def points(self, name: OnionName) -> tuple[IntroductionPoint, ...]:
        """Those of the newest descriptor."""
        blinded = name.blinded(int(self.wall()) // 86400)
        (item,) = [item for item in self.store.items.values() if item.key == blinded.raw]
        return open_descriptor(item.value, name, blinded, item.sequence).points

    def node(self, node_id: NodeId) -> NodeMember:
        return next(node for node in self.network.nodes if node.node_id == node_id)

    def hello(self, name: OnionName, point: IntroductionPoint, where: NodeId, cookie: bytes) -> bytes:
        """An introduction of a client that waits *where* with *cookie*."""
        key = DHSecretKey(Secret(self.random.randbytes(32)))
        return Introduction.start(name, point.service_key, key, Meeting(where, cookie)).message

    def introduce(self, point: IntroductionPoint, message: bytes, proof: Proof = NOTHING) -> IntroduceStatus:
        """Have *message* passed on, by a client of the network; what the introduction point said."""
        asking: Conversation = self.network.success(self.network.client.conversation(point.node_id))
        status: IntroduceStatus = self.network.success(asking.introduce(point.key.raw, message, proof))
        asking.close()
        self.network.advance(1)
        return status

    def circuits(self) -> int:
        """Circuits at all nodes."""
        return sum(node.status().circuits for node in self.network.nodes)

    def refused(self, cause: str) -> int:
        """How often nodes have refused something for that cause."""
        return sum(node.status().refused.get(cause, 0) for node in self.network.nodes)
