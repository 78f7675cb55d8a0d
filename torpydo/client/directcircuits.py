"""Circuits of one hop, by which nodes ask each other: that one of them asks is no secret. Called by apps/dht."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from torpydo.client.circuits import Circuit
from torpydo.client.limits import DEFAULT_LIMITS, ClientLimits
from torpydo.client.links import ClientLinks
from torpydo.client.world import World
from torpydo.crypto import NodeId
from torpydo.directory import NetDir
from torpydo.errors import PathError
from torpydo.net import Participants

__all__ = ["DirectCircuits"]


class DirectCircuits:
    """Builds them, over links of its own.

    :param reactor: connects and keeps time
    :param world: time, randomness and connections
    :param own: the id of the node that asks
    :ivar participants: who takes part in the DHT, as the last listings say
    """

    def __init__(
        self, reactor: Any, world: World, own: bytes = b"", limits: ClientLimits = DEFAULT_LIMITS
    ) -> None:
        self._reactor = reactor
        self._world = world
        self._links = ClientLinks(reactor, world.rng, limits=limits, connect=world.connect)
        self._netdir: NetDir | None = None
        self.participants = Participants(own)

    def __len__(self) -> int:
        """Links that are open."""
        return len(self._links)

    def network_changed(self, netdir: NetDir) -> bool:
        """The listings say something new; tells whether somebody takes part who did not before, or not there."""
        self._netdir = netdir
        return self.participants.network_changed(netdir)

    def build(self, node_id: NodeId) -> Deferred[Circuit]:
        """A circuit to a listed node.

        :return: fails with :class:`PathError`, :class:`LinkError` or :class:`CircuitBuildError`
        """
        return Deferred.fromCoroutine(self._build(node_id))

    async def _build(self, node_id: NodeId) -> Circuit:
        node = None if self._netdir is None else self._netdir.get(node_id)
        if node is None:
            raise PathError(f"node {node_id.short} is not listed by enough pools")
        link = await self._links.get(node)
        circuit: Circuit = await self._world.build(
            self._reactor,
            link,
            (node,),
            rng=self._world.rng,
            build_timeout=self._links.limits.build_time(1),
            owner=self._links,
        )
        return circuit

    def close(self) -> Deferred[None]:
        """Close every link; fires when the last is gone."""
        return self._links.close()
