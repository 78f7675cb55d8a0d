"""Builders for the tests of the pool: clocks that are turned by hand, probes that are answered by hand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock

from tests.directory.build import NOW, descriptor, key
from torpydo.crypto import NodeId, SigningKey, find_stamp, stamp_holds
from torpydo.directory import Descriptor, HeartbeatAnswer, sign_descriptor, sign_heartbeat
from torpydo.errors import CryptoError, LinkError
from torpydo.net import Later
from torpydo.pool.admission import Admission
from torpydo.pool.limits import PoolLimits
from torpydo.pool.saving import SAVE_AFTER
from torpydo.pool.stamps import Asking
from torpydo.pool.store import NodeRecord, Store
from torpydo.testing.members import cheap_work
from torpydo.tpdp import Address

POOL = key("pool")


@attrs.define(eq=False)
class Port:
    """A port that knows where it listens; Twisted's fake one always says 0.0.0.0."""

    address: IPv4Address | IPv6Address
    is_open: bool = True

    def getHost(self) -> IPv4Address | IPv6Address:
        return self.address

    def stopListening(self) -> None:
        self.is_open = False


class Reactor(MemoryReactorClock):
    """A reactor in memory whose ports have the address that was asked for, and may be busy."""

    busy = False

    def __init__(self) -> None:
        super().__init__()
        self.ports: list[Port] = []

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Port:
        if self.busy:
            raise CannotListenError(interface, port, OSError(98, "Address already in use"))
        super().listenTCP(port, factory, backlog, interface)
        kind = IPv6Address if ":" in interface else IPv4Address
        self.ports.append(Port(kind("TCP", interface or "0.0.0.0", port)))
        return self.ports[-1]


@attrs.define(eq=False)
class Times:
    """A clock that never goes back, and a wall clock that goes along until a test sets it."""

    clock: Clock = attrs.field(factory=Clock)
    offset: float = NOW

    def wall(self) -> float:
        return self.clock.seconds() + self.offset

    def advance(self, *seconds: float) -> None:
        self.clock.pump(seconds)


@attrs.define(eq=False)
class Probes:
    """Probes that a test answers; those of *open* addresses succeed at once."""

    asked: list[tuple[Address, NodeId]] = attrs.field(factory=list)
    waiting: list[Deferred[None]] = attrs.field(factory=list)
    succeed: bool = True
    answer: bool = True

    def __call__(self, address: Address, node_id: NodeId) -> Deferred[None]:
        self.asked.append((address, node_id))
        result: Deferred[None] = Deferred()
        if self.answer:
            self.finish(result)
        else:
            self.waiting.append(result)
        return result

    def finish(self, result: Deferred[None]) -> None:
        if self.succeed:
            result.callback(None)
        else:
            result.errback(LinkError("nobody answers"))

    def finish_all(self) -> None:
        waiting, self.waiting = self.waiting, []
        for result in waiting:
            self.finish(result)


@attrs.define(eq=False)
class Checks:
    """Looks at stamps that a test answers, or at once; a try is a hash."""

    asked: list[tuple[bytes, bytes]] = attrs.field(factory=list)
    waiting: list[Deferred[bool]] = attrs.field(factory=list)
    answer: bool = True
    memory: bool = True

    def __call__(self, node_id: bytes, stamp: bytes) -> Deferred[bool]:
        self.asked.append((node_id, stamp))
        result: Deferred[bool] = Deferred()
        if not self.memory:
            result.errback(CryptoError("there is not enough memory"))
        elif self.answer:
            result.callback(stamp_holds(node_id, stamp, cheap_work))
        else:
            self.waiting.append(result)
        return result

    def finish_all(self, holds: bool = True) -> None:
        waiting, self.waiting = self.waiting, []
        for result in waiting:
            result.callback(holds)


def stamp_of(name: object, bits: int, first: int = 0) -> bytes:
    """A stamp of the node ``key(name)``."""
    stamp = find_stamp(key(name).node_id.raw, bits, first, 100_000, cheap_work)
    assert stamp is not None
    return stamp


@attrs.define(eq=False)
class Node:
    """A node that sends heartbeats."""

    times: Times
    name: object = 0
    pool: SigningKey = POOL
    overrides: dict[str, Any] = attrs.field(factory=dict)

    @property
    def node_id(self) -> NodeId:
        return key(self.name).node_id

    def descriptor(self) -> Descriptor:
        return descriptor(self.name, **self.overrides)

    def document(self) -> bytes:
        return sign_descriptor(self.descriptor(), key(self.name))

    def heartbeat(self, time_ms: int | None = None, document: bytes | None = None) -> bytes:
        return sign_heartbeat(
            self.document() if document is None else document,
            self.pool.pool_id,
            int(self.times.wall() * 1000) if time_ms is None else time_ms,
            key(self.name),
        )


@attrs.define(eq=False)
class Pool:
    """An admission with all that it needs."""

    times: Times = attrs.field(factory=Times)
    probes: Probes = attrs.field(factory=Probes)
    checks: Checks = attrs.field(factory=Checks)
    asking: Asking = attrs.field(factory=Asking)
    store: Store = attrs.field(factory=lambda: Store.open(":memory:"))
    test_network: bool = False
    limits: PoolLimits = attrs.field(factory=PoolLimits)
    later: Later = attrs.Factory(lambda self: self.times.clock.callLater, takes_self=True)
    changes: list[float] = attrs.field(factory=list)
    started: bool = False
    admission: Admission = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        if self.started:
            self.admission.stop()
        self.started = True
        self.admission = Admission(
            POOL.pool_id,
            self.store,
            self.probes,
            self.checks,
            clock=self.times.clock.seconds,
            wall_clock=self.times.wall,
            later=self.later,
            limits=self.limits.in_test_network() if self.test_network else self.limits,
            asking=self.asking,
            test_network=self.test_network,
            requested_delay=15.0,
            deprecation_delay=30.0,
            changed=lambda: self.changes.append(self.times.clock.seconds()),
        )

    def saved(self) -> list[NodeRecord]:
        """What is on the disk a moment later."""
        self.times.advance(SAVE_AFTER)
        return self.store.nodes()

    def node(self, name: object = 0, **overrides: Any) -> Node:
        return Node(self.times, name, overrides=overrides)

    def send(self, node: Node, **arguments: Any) -> Deferred[HeartbeatAnswer]:
        """A heartbeat, one millisecond after whatever was before."""
        self.times.advance(0.001)
        return self.admission.heartbeat(node.heartbeat(**arguments))

    def listed(self) -> list[NodeId]:
        return [node.record.node_id for node in self.admission.listed()]

    def keep_alive(self, nodes: Iterable[Node], seconds: float) -> None:
        """Let time pass while *nodes* send heartbeats and the collector runs."""
        for _ in range(int(seconds / 10)):
            self.times.advance(10)
            for node in nodes:
                self.send(node).addErrback(lambda failure: None)
            self.admission.collect()
