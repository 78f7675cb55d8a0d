"""A service: its introduction points, its descriptors, and the clients that it meets.

It keeps some introduction points, tells the store where they are whenever that changes and once an hour, and goes to
each client that was introduced. Keys of introduction points live in memory only: an introduction that is replayed
after a restart opens with none of them, and one that is replayed before is known (SECURITY O4).
::

    start ──> points ──(INTRO_ESTABLISHED)──> publishing: descriptors of today, and of a day that is near
                 │  └──(lost, too old, too many introductions)──> another one
                 └──(INTRODUCE2)──┬─> queue, by effort ──> meetings: rendezvous ──> streams
                                  └─> demand: the effort that the descriptor suggests
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Any, Final

import attrs
from twisted.internet.interfaces import IDelayedCall

from torpydo.apps.onionservice.demand import Demand
from torpydo.apps.onionservice.meetings import Meetings
from torpydo.apps.onionservice.points import IntroductionPoints, PointLife
from torpydo.apps.onionservice.publishing import Publisher
from torpydo.apps.onionservice.store import DescriptorStore
from torpydo.client import Client, IncomingStream
from torpydo.dht import Item
from torpydo.errors import BadKey, ConfigurationError, CryptoError, RemoteProtocolError
from torpydo.onion import (
    MAX_CLIENTS,
    MAX_POINTS,
    MOST_SEQUENCE,
    PERIOD,
    DHPublicKey,
    DHSecretKey,
    Introduced,
    IntroductionQueue,
    NodeId,
    OnionName,
    Secret,
    ServiceDescriptor,
    SigningKey,
    blind,
    draw_sequence,
    next_sequence,
    period_of,
    seal_descriptor,
)

__all__ = ["OnionService", "ServiceLimits"]

POINTS: Final = 3
"""Introduction points (SECURITY O3)."""
NEAR: Final = 2 * 3600
"""Seconds from the end of a period in which its neighbour's descriptor is stored as well: clocks differ."""
APART: Final = 30
"""Seconds at the most, at random, by which that is stored later than today's: whoever keeps both would know by two that
come together which of today's is which of tomorrow's."""
LIFE: Final = 3 * 3600
"""Seconds that a descriptor is kept if it is not stored again (SECURITY O2), and until the next full hour: the seconds
would show how far this clock is off."""
HOUR: Final = 3600
KEYS: Final = 4
"""Blinded keys whose last sequence is remembered; two are in use at one time."""
MORE_HOPS: Final = 1
"""Nodes that a circuit to a rendezvous has beyond others: the client has chosen where it ends (O6)."""
LOOK: Final = 60.0
"""Seconds between two looks whether the effort can fall."""
PATIENCE: Final = 10.0
"""Seconds after which a client has given up; the connector's ``ANSWER``."""
AT_ONCE: Final = 0.1
"""Seconds' worth of introductions that are answered at once after a pause."""


@attrs.frozen
class ServiceLimits:
    """What strangers can make a service do.

    :ivar waiting: introductions that wait (SECURITY O5)
    :ivar per_second: introductions that are answered in a second (O5)
    :ivar meetings: clients that it is on its way to at one time
    :ivar circuits: circuits to clients; the one that was not used for longest makes room for one more
    :ivar streams: streams of all clients; beyond that a client may have its share of them, and no more
    :ivar idle: seconds without a stream after which one of them is closed
    :ivar life: how long an introduction point is used (O3)
    :raises ConfigurationError: for a value with which nothing could be served, or without end
    """

    waiting: int = 2500
    per_second: float = 250.0
    meetings: int = 64
    circuits: int = 2000
    streams: int = 1000
    idle: float = 900.0
    life: PointLife = PointLife()

    def __attrs_post_init__(self) -> None:
        numbers = (self.waiting, self.per_second, self.circuits, self.streams, self.idle)
        ranges = (self.life.seconds, self.life.introductions)
        if not all(0 < number < inf for number in numbers) or not all(0 < least <= most for least, most in ranges):
            raise ConfigurationError("limits of a service are numbers above 0, and ranges from the least to the most")


DEFAULT_LIMITS: Final = ServiceLimits()


def _check_client(key: DHPublicKey, rng: Callable[[int], bytes]) -> None:
    try:
        DHSecretKey(Secret(rng(32))).agree(key)
    except BadKey:
        # Whoever gives such a one would otherwise keep every descriptor from being made.
        raise ConfigurationError("a client's key is one of those that are none; ask for another one") from None


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
    :raises ConfigurationError: for too many clients or introduction points, and for a client's key that is none
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
        for one in clients:
            _check_client(one, rng)
        self.name = OnionName.of(key)
        self._reactor = reactor
        self._key = key
        self._rng = rng
        self._wall_clock = wall_clock
        self._clients = tuple(clients)
        self._changed = changed
        # By key, the one that was used last at the end.
        self._sequences: dict[bytes, int] = {}
        self._kept = self._reachable = self._stopped = False
        self._looking: IDelayedCall | None = None
        self._demand = Demand(limits.per_second)
        self._queue: IntroductionQueue[Introduced] = IntroductionQueue(
            limits.waiting, PATIENCE, limits.per_second, AT_ONCE * limits.per_second
        )
        self._meetings = Meetings(
            reactor, lambda node_id: client.conversation(node_id, more_hops=MORE_HOPS), incoming, self._queue,
            rng=rng, at_once=limits.meetings, circuits=limits.circuits, streams=limits.streams, idle=limits.idle,
        )  # fmt: skip
        self._points = IntroductionPoints(
            reactor, client, points, limits.life,
            rng=rng, randbelow=randbelow,
            introduced=self._introduced, refused=self._refused, changed=self._points_changed,
        )  # fmt: skip
        self._publisher = Publisher(
            reactor, store, self._items, self._stored, outdone=self._outdone, randbelow=randbelow
        )
        self._neighbours = Publisher(
            reactor, store, self._neighbour_items, lambda kept: None,
            outdone=self._outdone, randbelow=randbelow, spread=APART,
        )  # fmt: skip

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
        self._neighbours.stop()
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
    def effort(self) -> int:
        """What its descriptor suggests; 0 asks for nothing."""
        return self._demand.effort

    # -- Introduction points and descriptors

    def _points_changed(self) -> None:
        # When there is none, what is stored leads nowhere, and so it does until the next one is stored.
        self._kept = self._kept and bool(self._points.listed)
        self._publisher.soon()
        self._neighbours.soon()
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
        """The descriptor of today."""
        now = self._wall_clock()
        return self._made({period_of(now)}, now)

    def _neighbour_items(self) -> list[Item]:
        """That of yesterday or tomorrow, if it is near."""
        now = self._wall_clock()
        return self._made({period_of(now + NEAR), period_of(now - NEAR)} - {period_of(now)}, now)

    def _made(self, periods: set[int], now: float) -> list[Item]:
        points = self._points.listed
        if not points:
            return []
        return [self._item(ServiceDescriptor(points, self.effort), period, now) for period in periods]

    def _item(self, descriptor: ServiceDescriptor, period: int, now: float) -> Item:
        key = blind(self._key, period)
        # Rises with each, also after a restart.
        sequence = draw_sequence(key, now - (period * PERIOD - NEAR), self._rng)
        last = self._sequences.pop(key.public.raw, -1)
        if sequence <= last:
            sequence = next_sequence(last, self._rng)
        self._sequences[key.public.raw] = sequence
        if len(self._sequences) > KEYS:
            del self._sequences[next(iter(self._sequences))]
        value = seal_descriptor(descriptor, self.name, key.public, sequence, clients=self._clients, rng=self._rng)
        expires = min((int(now) // HOUR + 1) * HOUR + LIFE, (period + 1) * PERIOD + NEAR)
        return Item.make(key, key.public.raw, b"", sequence, expires, value)

    def _outdone(self, found: Item) -> None:
        """There is one of this service that counts more: the clock was ahead when it was made, or is behind now."""
        last = self._sequences.get(found.key)
        # Beyond the scale there would be no end; and what has followed meanwhile may be newer than both.
        if last is not None and last < found.sequence <= MOST_SEQUENCE:
            self._sequences[found.key] = found.sequence
            self._publisher.soon()
            self._neighbours.soon()

    # -- Clients

    def _introduced(self, key: DHSecretKey, message: bytes, effort: int) -> None:
        try:
            introduced = Introduced.open(self.name, key, message)
        except (CryptoError, RemoteProtocolError):
            # Whoever it was does not know the name, or plays: it costs nothing more.
            return
        self._meetings.introduced(introduced, effort)
        self._look()

    def _refused(self, node: NodeId, effort: int) -> None:
        self._demand.refused(node, effort, self._reactor.seconds())
        self._look()

    def _look(self) -> None:
        """See whether more effort is to be asked for, or less."""
        # Where there are few nodes, one may be several points; what it says counts once.
        nodes = set(self.introduction_points)
        if self._demand.look(self._queue.waiting, nodes, self._reactor.seconds()):
            self._publisher.soon()
            self._neighbours.soon()
        if self._demand.effort and (self._looking is None or not self._looking.active()):
            self._looking = self._reactor.callLater(LOOK, self._look)
