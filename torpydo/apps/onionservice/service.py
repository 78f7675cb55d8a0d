"""A service: its introduction points, its descriptors, and the clients that it meets.

It keeps some introduction points, tells the store where they are whenever that changes and once an hour, and goes to
each client that was introduced. Keys of introduction points live in memory only: an introduction that is replayed
after a restart opens with none of them, and one that is replayed before is known (SECURITY O4).
::

    start ──> points ──(INTRO_ESTABLISHED)──> publishing: descriptors of today, and of a day that is near
                 │  └──(lost, too old, too many introductions)──> another one
                 └──(INTRODUCE2)──> demand: its effort ──> queue ──> meetings: rendezvous ──> streams
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs
from twisted.internet.interfaces import IDelayedCall

from torpydo.apps.onionservice.demand import Demand
from torpydo.apps.onionservice.meetings import Meetings
from torpydo.apps.onionservice.points import IntroductionPoints, PointLife
from torpydo.apps.onionservice.publishing import Publisher
from torpydo.apps.onionservice.queue import IntroductionQueue
from torpydo.apps.onionservice.store import DescriptorStore
from torpydo.client import Client, IncomingStream
from torpydo.dht import Item
from torpydo.errors import ConfigurationError, CryptoError, RemoteProtocolError
from torpydo.onion import (
    MAX_CLIENTS,
    MAX_POINTS,
    PERIOD,
    DHPublicKey,
    DHSecretKey,
    Introduced,
    NodeId,
    OnionName,
    Puzzle,
    ServiceDescriptor,
    SigningKey,
    blind,
    period_of,
    seal_descriptor,
)

__all__ = ["OnionService", "ServiceLimits"]

POINTS: Final = 3
"""Introduction points (SECURITY O3)."""
NEAR: Final = 2 * 3600
"""Seconds from the end of a period in which its neighbour's descriptor is stored as well: clocks differ."""
LIFE: Final = 3 * 3600
"""Seconds that a descriptor is kept at the most if it is not stored again (SECURITY O2)."""
HOPS: Final = 4
"""Nodes on the service's side of a rendezvous, which the client has chosen: one more than it would have (O6)."""
LOOK: Final = 60.0
"""Seconds between two looks whether the effort can fall."""


@attrs.frozen
class ServiceLimits:
    """What strangers can make a service do.

    :ivar waiting: introductions that wait (SECURITY O5)
    :ivar per_second: introductions that are answered in a second (O5)
    :ivar meetings: clients that it is on its way to at one time
    :ivar circuits: circuits to clients; the one that was not used for longest makes room for one more
    :ivar idle: seconds without a stream after which one of them is closed
    :ivar life: how long an introduction point is used (O3)
    """

    waiting: int = 2500
    per_second: float = 250.0
    meetings: int = 64
    circuits: int = 2000
    idle: float = 900.0
    life: PointLife = PointLife()


DEFAULT_LIMITS: Final = ServiceLimits()


class OnionService:
    """A service that runs.

    :param client: builds circuits
    :param key: the identity; its name follows from it
    :param store: where descriptors are kept
    :param incoming: given each stream of a client
    :param rng: bytes of randomness
    :param randbelow: a uniform integer below its argument
    :param clients: keys of those who may come; without any everybody may who knows the name
    :param points: introduction points
    :param limits: what strangers can make it do
    :param changed: told whenever it becomes reachable, or is not any more; not of :meth:`stop`
    :raises ConfigurationError: for too many clients or introduction points
    :ivar name: under which it is reached
    """

    def __init__(
        self,
        reactor: Any,
        client: Client,
        key: SigningKey,
        store: DescriptorStore,
        incoming: Callable[[IncomingStream], None],
        *,
        rng: Callable[[int], bytes],
        randbelow: Callable[[int], int],
        wall_clock: Callable[[], float],
        clients: Sequence[DHPublicKey] = (),
        points: int = POINTS,
        changed: Callable[[bool], None] = lambda reachable: None,
        limits: ServiceLimits = DEFAULT_LIMITS,
    ) -> None:
        if len(clients) > MAX_CLIENTS:
            raise ConfigurationError(f"at most {MAX_CLIENTS} clients can have a key of a service, not {len(clients)}")
        if not 1 <= points <= MAX_POINTS:
            raise ConfigurationError(f"a service has 1 to {MAX_POINTS} introduction points, not {points}")
        self.name = OnionName.of(key)
        self._reactor = reactor
        self._key = key
        self._rng = rng
        self._wall_clock = wall_clock
        self._clients = tuple(clients)
        self._changed = changed
        self._sequence = 0
        self._kept = self._reachable = self._stopped = False
        self._looking: IDelayedCall | None = None
        self._demand = Demand(rng, reactor.seconds(), limits.per_second)
        self._queue: IntroductionQueue[Introduced] = IntroductionQueue(limits.waiting, per_second=limits.per_second)
        self._meetings = Meetings(
            reactor, lambda node_id: client.conversation(node_id, hops=HOPS), incoming, self._queue,
            rng=rng, at_once=limits.meetings, circuits=limits.circuits, idle=limits.idle,
        )  # fmt: skip
        self._points = IntroductionPoints(
            reactor, client, points, limits.life,
            rng=rng, randbelow=randbelow, introduced=self._introduced, changed=self._points_changed,
        )  # fmt: skip
        self._publisher = Publisher(reactor, store, self._items, self._stored)

    # -- Start and stop

    def start(self) -> None:
        """Begin; goes on by itself until :meth:`stop`."""
        self._points.fill()

    def stop(self) -> None:
        """End everything that is open."""
        self._stopped = True
        self._reachable = False
        if self._looking is not None and self._looking.active():
            self._looking.cancel()
        self._publisher.stop()
        self._points.stop()
        self._meetings.stop()

    @property
    def introduction_points(self) -> Sequence[NodeId]:
        """The nodes that are introduction points now, by the descriptor."""
        return tuple(point.node_id for point in self._points.listed)

    @property
    def circuits(self) -> int:
        """How many circuits to clients there are now."""
        return len(self._meetings.circuits)

    @property
    def is_reachable(self) -> bool:
        """Whether clients can find it: its descriptor is kept somewhere, and there are introduction points."""
        return self._reachable

    @property
    def puzzle(self) -> Puzzle:
        """What its descriptor asks for."""
        return self._demand.puzzle

    # -- Introduction points and descriptors

    def _points_changed(self) -> None:
        # When there is none, what is stored leads nowhere, and so it does until the next one is stored.
        self._kept = self._kept and bool(self._points.listed)
        self._publisher.soon()
        self._tell()

    def _stored(self, kept: bool) -> None:
        self._kept = kept
        if kept:
            self._points.published()
        self._tell()

    def _tell(self) -> None:
        reachable = self._kept and bool(self._points.listed) and not self._stopped
        if reachable is not self._reachable:
            self._reachable = reachable
            self._changed(reachable)

    def _items(self) -> list[Item]:
        """The descriptor of today, and that of a neighbour if it is near."""
        points = self._points.listed
        if not points:
            return []
        self._demand.look(self._queue.waiting, self._reactor.seconds())
        now = self._wall_clock()
        periods = dict.fromkeys(map(period_of, (now, now + NEAR, now - NEAR)))
        return [self._item(ServiceDescriptor(points, self.puzzle), period, now) for period in periods]

    def _item(self, descriptor: ServiceDescriptor, period: int, now: float) -> Item:
        # Rises with each, also after a restart.
        self._sequence = max(self._sequence + 1, int(now * 1000))
        key = blind(self._key, period)
        value = seal_descriptor(descriptor, self.name, key.public, self._sequence, clients=self._clients, rng=self._rng)
        expires = min(int(now) + LIFE, (period + 1) * PERIOD + NEAR)
        return Item.make(key, key.public.raw, b"", self._sequence, expires, value)

    # -- Clients

    def _introduced(self, key: DHSecretKey, message: bytes) -> None:
        try:
            introduced = Introduced.open(self.name, key, message)
        except (CryptoError, RemoteProtocolError):
            # Whoever it was does not know the name, or plays: it costs nothing more.
            return
        self._meetings.introduced(introduced, self._demand.worth(introduced.meeting))
        self._look()

    def _look(self) -> None:
        """See whether more effort is to be asked for, or less."""
        if self._demand.look(self._queue.waiting, self._reactor.seconds()):
            self._publisher.soon()
        if self._demand.effort and (self._looking is None or not self._looking.active()):
            self._looking = self._reactor.callLater(LOOK, self._look)
