"""A service: its introduction points, its descriptors, and the clients that it meets.

It keeps some introduction points, tells the store where they are whenever that changes and once an hour, and goes to
each client that was introduced. Keys of introduction points live in memory only: an introduction that is replayed
after a restart opens with none of them, and one that is replayed before is known (SECURITY O4).
::

    start ──> points ──(INTRO_ESTABLISHED)──> descriptors of today, and of a day that is near ──> reachable
                 │  └──(lost, too old, too many introductions)──> another one
                 └──(INTRODUCE2)──> queue by effort ──> rendezvous ──> streams
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from torpydo.apps.onionservice.store import DescriptorStore
from torpydo.client import Circuit, Client, Conversation, IncomingStream
from torpydo.dht import Item
from torpydo.errors import CryptoError, RemoteProtocolError, TorpydoError
from torpydo.onion import (
    PERIOD,
    DHPublicKey,
    DHSecretKey,
    Introduced,
    IntroductionPoint,
    NodeId,
    OnionName,
    Puzzle,
    Secret,
    ServiceDescriptor,
    SigningKey,
    VerifyKey,
    blind,
    period_of,
    seal_descriptor,
)

__all__ = ["OnionService"]

POINTS: Final = 3
"""Introduction points (SECURITY O3)."""
LEAST_LIFE: Final = 18 * 3600.0
MOST_LIFE: Final = 24 * 3600.0
"""Seconds after which an introduction point is left for another ..."""
LEAST_INTRODUCTIONS: Final = 16_384
MOST_INTRODUCTIONS: Final = 32_768
"""... or introductions (O3)."""
PUBLISH: Final = 3600.0
"""Seconds after which descriptors are stored again."""
SOON: Final = 1.0
"""Seconds from a change to the storing of what it changed: several come together."""
NEAR: Final = 2 * 3600.0
"""Seconds from the end of a period in which its neighbour's descriptor is stored as well: clocks differ."""
LIFE: Final = 3 * 3600
"""Seconds that a descriptor is kept at the most if it is not stored again (SECURITY O2)."""
MEETINGS: Final = 64
"""Clients that the service is on its way to at one time."""
ATTEMPTS: Final = 2
"""Circuits that are built for one introduction (SECURITY O6)."""
HOPS: Final = 4
"""Nodes on the service's side of a rendezvous, which the client has chosen: one more than it would have (O6)."""
FIRST_PAUSE: Final = 1.0
LAST_PAUSE: Final = 60.0
"""Seconds until another introduction point is looked for after failures in a row: doubled each time."""


@attrs.define(eq=False)
class _Point:
    """One introduction point."""

    conversation: Conversation
    key: SigningKey
    service_key: DHSecretKey
    left: int
    """Introductions until it is left."""
    timer: IDelayedCall | None = None
    seen: set[bytes] = attrs.field(factory=set)

    @property
    def public(self) -> IntroductionPoint:
        """What clients are told."""
        return IntroductionPoint(self.conversation.node_id, VerifyKey(self.key.public), self.service_key.public)


class OnionService:
    """A service that runs.

    :param client: builds circuits
    :param key: the identity; its name follows from it
    :param store: where descriptors are kept
    :param incoming: given each stream of a client
    :param rng: bytes of randomness
    :param randbelow: a uniform integer below its argument
    :param clients: keys of those who may come; without any everybody may who knows the name
    :param changed: told whenever it becomes reachable, or is not any more
    :ivar name: under which it is reached
    """

    log = Logger()

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
    ) -> None:
        self.name = OnionName.of(key)
        self._reactor = reactor
        self._client = client
        self._key = key
        self._store = store
        self._incoming = incoming
        self._rng = rng
        self._randbelow = randbelow
        self._wall_clock = wall_clock
        self._clients = tuple(clients)
        self._wanted = points
        self._changed = changed
        self._points: list[_Point] = []
        self._opening: set[Deferred[None]] = set()
        self._meetings: set[Deferred[None]] = set()
        self._queue: list[tuple[int, int, Introduced]] = []
        self._circuits: set[Circuit] = set()
        self._failures = 0
        self._retry: IDelayedCall | None = None
        self._publishing: IDelayedCall | None = None
        self._sequence = 0
        self._arrived = 0
        self._reachable = False
        self._stopped = False
        self.puzzle = Puzzle(rng(32))

    # -- Start and stop

    def start(self) -> None:
        """Begin; goes on by itself until :meth:`stop`."""
        self._fill()

    def stop(self) -> None:
        """End everything that is open."""
        self._stopped = True
        for call in (self._retry, self._publishing):
            if call is not None and call.active():
                call.cancel()
        for deferred in [*self._opening, *self._meetings]:
            deferred.cancel()
        for point in list(self._points):
            self._leave(point)
        for circuit in list(self._circuits):
            circuit.close("the service was stopped")

    @property
    def introduction_points(self) -> Sequence[NodeId]:
        """The nodes that are introduction points now."""
        return tuple(point.conversation.node_id for point in self._points)

    @property
    def is_reachable(self) -> bool:
        """Whether clients can find it: its descriptor is kept somewhere."""
        return self._reachable

    # -- Introduction points

    def _fill(self) -> None:
        """Open those that are missing."""
        if self._stopped or (self._retry is not None and self._retry.active()):
            return
        for _ in range(self._wanted - len(self._points) - len(self._opening)):
            opening = Deferred.fromCoroutine(self._open())
            self._opening.add(opening)
            opening.addBoth(self._opened, opening)

    async def _open(self) -> None:
        taken = [point.conversation.node_id for point in self._points]
        conversation = await self._client.conversation(avoid=taken)
        low, high = int(LEAST_INTRODUCTIONS), int(MOST_INTRODUCTIONS)
        point = _Point(
            conversation,
            SigningKey(Secret(self._rng(32))),
            DHSecretKey(Secret(self._rng(32))),
            low + self._randbelow(high - low),
        )
        try:
            await conversation.establish_intro(point.key, lambda message: self._introduced(point, message))
        except BaseException:
            conversation.close()
            raise
        life = LEAST_LIFE + self._randbelow(int(MOST_LIFE - LEAST_LIFE))
        point.timer = self._reactor.callLater(life, self._replace, point)
        self._points.append(point)
        conversation.when_closed().addCallback(lambda _: self._lost(point))
        self._publish_soon()

    def _opened(self, result: object, opening: Deferred[None]) -> None:
        self._opening.discard(opening)
        if not isinstance(result, Failure):
            self._failures = 0
        elif result.check(CancelledError):
            return
        elif not result.check(TorpydoError):
            self.log.failure("an introduction point could not be opened", result)
            self._later()
        else:
            self.log.debug("an introduction point could not be opened: {why}", why=result.getErrorMessage())
            self._later()
        self._fill()

    def _later(self) -> None:
        if self._stopped or (self._retry is not None and self._retry.active()):
            return
        pause = min(FIRST_PAUSE * 2.0 ** min(self._failures, 16), LAST_PAUSE)
        self._failures += 1
        self._retry = self._reactor.callLater(pause, self._fill)

    def _replace(self, point: _Point) -> None:
        """Its time is over: another one first, or clients would find none for a moment."""
        point.timer = None
        self._leave(point)

    def _leave(self, point: _Point) -> None:
        point.conversation.close()

    def _lost(self, point: _Point) -> None:
        self._points.remove(point)
        if point.timer is not None:
            point.timer.cancel()
            point.timer = None
        if not self._stopped:
            self._publish_soon()
            self._fill()

    # -- Descriptors

    def _publish_soon(self) -> None:
        if self._stopped or not self._points:
            return
        if self._publishing is not None and self._publishing.active():
            self._publishing.cancel()
        self._publishing = self._reactor.callLater(SOON, self._publish)

    def _publish(self) -> None:
        self._publishing = self._reactor.callLater(PUBLISH, self._publish)
        if not self._points:
            return
        now = self._wall_clock()
        today = period_of(now)
        descriptor = ServiceDescriptor(tuple(point.public for point in self._points), self.puzzle)
        for period in sorted({today, period_of(now + NEAR), period_of(now - NEAR)}):
            storing = self._store.put(self._item(descriptor, period, now))
            storing.addCallbacks(self._stored, self._not_stored)

    def _item(self, descriptor: ServiceDescriptor, period: int, now: float) -> Item:
        # Rises with each, also after a restart.
        self._sequence = max(self._sequence + 1, int(now * 1000))
        key = blind(self._key, period)
        value = seal_descriptor(
            descriptor, self.name, key.public, self._sequence, clients=self._clients, rng=self._rng
        )
        expires = min(int(now) + LIFE, (period + 1) * PERIOD + int(NEAR))
        return Item.make(key, key.public.raw, b"", self._sequence, expires, value)

    def _stored(self, holders: int) -> None:
        if bool(holders) != self._reachable:
            self._reachable = bool(holders)
            self._changed(self._reachable)

    def _not_stored(self, failure: Failure) -> None:
        failure.trap(TorpydoError, CancelledError)
        self.log.debug("the descriptor was not stored: {why}", why=failure.getErrorMessage())
        self._publish_soon()

    # -- Clients

    def _introduced(self, point: _Point, message: bytes) -> None:
        first = message[:32]
        if first in point.seen:
            return
        point.seen.add(first)
        point.left -= 1
        if not point.left:
            self._replace(point)
        try:
            introduced = Introduced.open(self.name, point.service_key, message)
        except (CryptoError, RemoteProtocolError):
            # Whoever it was does not know the name, or plays: it costs nothing more.
            return
        meeting = introduced.meeting
        effort = self.puzzle.effort_of(meeting.cookie, meeting.nonce, meeting.effort)
        self._arrived += 1
        self._queue.append((-effort, self._arrived, introduced))
        self._queue.sort(key=lambda one: one[:2])
        self._serve()

    def _serve(self) -> None:
        while self._queue and len(self._meetings) < MEETINGS and not self._stopped:
            _, _, introduced = self._queue.pop(0)
            meeting = Deferred.fromCoroutine(self._meet(introduced))
            self._meetings.add(meeting)
            meeting.addBoth(self._met, meeting)

    def _met(self, result: object, meeting: Deferred[None]) -> None:
        self._meetings.discard(meeting)
        if isinstance(result, Failure) and not result.check(TorpydoError, CancelledError):
            self.log.failure("a client could not be met", result)
        self._serve()

    async def _meet(self, introduced: Introduced) -> None:
        meeting = introduced.meeting
        for attempt in range(ATTEMPTS):
            try:
                conversation = await self._client.conversation(meeting.node_id, hops=HOPS)
            except TorpydoError:
                if attempt + 1 == ATTEMPTS:
                    raise
                continue
            keys, reply = introduced.answer(DHSecretKey(Secret(self._rng(32))))
            self._keep(conversation.join_as_service(meeting.cookie, reply, keys, self._incoming))
            return

    def _keep(self, circuit: Circuit) -> None:
        self._circuits.add(circuit)
        circuit.when_closed().addCallback(lambda _: self._circuits.discard(circuit))
