"""What carries the circuits of a node: this process itself, or its workers. Called by parts and by a worker.

A carrier has links, circuits and exits, and is told what it must know; the rest of the node (keys, listings,
heartbeats) does not care which one it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.protocol import Factory

from torpydo.crypto import DHSecretKey, SigningKey
from torpydo.directory import ExitPolicy, NetDir
from torpydo.net import FileBudget, Gate, LinkFactory, LinkProtocol, connect_link, host_key
from torpydo.node.bounds import Bounds
from torpydo.node.exits import Exits
from torpydo.node.limits import DEFAULT_LIMITS, NodeLimits
from torpydo.node.localstream import AnswerFunction, LocalService
from torpydo.node.refusal import BY_GATE
from torpydo.node.resolver import Resolver
from torpydo.node.router import Router
from torpydo.node.status import NodeStatus
from torpydo.tpdp import Address

__all__ = ["Carrier", "OwnCarrier", "addresses_of", "hosts_of", "open_gate"]


class Carrier(Protocol):
    """What the parts of a node see of it."""

    @property
    def factory(self) -> Factory:
        """What connections to the node's port are for."""

    @property
    def gate(self) -> Gate:
        """Who may connect."""

    def start(self) -> None:
        """Begin."""

    def drain(self, seconds: float) -> Deferred[None]:
        """Take nothing new, and end the circuits that fall idle; fires when none is left, or then. A stop follows."""

    def stop(self) -> Deferred[None]:
        """Destroy every circuit and close every link; fires when they are gone, or after a few seconds."""

    def status(self) -> NodeStatus:
        """Counts of what is open."""

    def set_own(self, addresses: Sequence[Address]) -> None:
        """The node is reached at *addresses*, and nowhere else any more."""

    def network_changed(self, netdir: NetDir) -> None:
        """The listings say something new."""

    def keys_changed(self) -> None:
        """The onion keys may be other ones."""


@attrs.define(eq=False)
class OwnCarrier:
    """Everything in this process. Made by :meth:`open`."""

    factory: Factory
    gate: Gate
    router: Router
    exits: Exits
    _reactor: Any
    _limits: NodeLimits

    @classmethod
    def open(
        cls,
        reactor: Any,
        identity: SigningKey,
        *,
        exit_policy: ExitPolicy,
        allow_single_hop: bool,
        aegis: bool,
        onion_keys: Callable[[], Sequence[DHSecretKey]],
        resolver: Resolver,
        rng: Callable[[int], bytes],
        wall_clock: Callable[[], float],
        connect: Callable[..., Deferred[LinkProtocol]] = connect_link,
        limits: NodeLimits = DEFAULT_LIMITS,
        files: FileBudget | None = None,
        counts_connects: bool = True,
        closed: Callable[[LinkProtocol], None] = lambda link: None,
        answer: AnswerFunction | None = None,
    ) -> OwnCarrier:
        """Wire everything.

        :param files: the file descriptors of this process; without it nobody counts them
        :param counts_connects: whether connections come from the port itself; otherwise somebody else has counted how
            fast they come
        :param closed: told of each link that is gone
        :param answer: answers what is asked on streams to the node itself
        """
        bounds = Bounds.open(reactor, limits, files)
        exits = Exits(reactor, exit_policy, resolver, bounds)
        if answer is not None:
            exits.local = LocalService(reactor.seconds, bounds, answer)
        router = Router(
            reactor,
            identity,
            rng=rng,
            onion_keys=onion_keys,
            exits=exits,
            allow_single_hop=allow_single_hop,
            aegis=aegis,
            connect=connect,
            closed=closed,
        )
        gate = open_gate(bounds, reactor, counts_connects=counts_connects)
        factory = LinkFactory(identity, router, reactor=reactor, rng=rng, wall_clock=wall_clock, aegis=aegis, gate=gate)
        return cls(factory, gate, router, exits, reactor, limits)

    def start(self) -> None:
        """Begin."""
        if IReactorThreads.providedBy(self._reactor) and self.exits.policy.is_open:
            # In a program whose resolver is Twisted's own no question has to wait for others either.
            self._reactor.suggestThreadPoolSize(self._limits.lookups)
        self.router.start()

    def drain(self, seconds: float) -> Deferred[None]:
        """Take nothing new, and end the circuits that fall idle; fires when none is left, or then. A stop follows."""
        return self.router.drain(seconds)

    def stop(self) -> Deferred[None]:
        """Destroy every circuit and close every link; fires when they are gone, or after a few seconds."""
        return self.router.close()

    def status(self) -> NodeStatus:
        """Counts of what is open."""
        return attrs.evolve(self.router.status(), pending=self.gate.pending)

    def set_own(self, addresses: Sequence[Address]) -> None:
        """The node is reached at *addresses*, and nowhere else any more."""
        self.exits.set_own(addresses)
        self.router.set_own(addresses)

    def network_changed(self, netdir: NetDir) -> None:
        """The listings say something new."""
        nodes = addresses_of(netdir)
        self.exits.network_changed(nodes, test_network=netdir.test_network)
        self.router.network_changed(netdir)
        self.gate.known = hosts_of(nodes)

    def keys_changed(self) -> None:
        """Nothing to do: they are asked for with each circuit."""


def open_gate(bounds: Bounds, reactor: Any, *, counts_connects: bool = True) -> Gate:
    """The gate of a process.

    :param counts_connects: whether how fast connections come is counted here
    """

    return Gate(
        reactor.seconds,
        lambda: bounds.limits,
        bounds.files,
        lambda refusal: bounds.refuse(BY_GATE[refusal]),
        counts_connects=counts_connects,
    )


def addresses_of(netdir: NetDir) -> list[Address]:
    """Where the nodes of a network are."""
    return [Address(document.body.ip, document.body.port) for document in netdir.documents().values()]


def hosts_of(nodes: Iterable[Address]) -> frozenset[bytes]:
    """The hosts that they are on."""
    return frozenset(host_key(node.ip) for node in nodes)
