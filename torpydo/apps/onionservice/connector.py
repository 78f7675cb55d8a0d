"""The client's way to a service: descriptor, rendezvous, introduction, joined circuit, streams.

A joined circuit is kept for the streams that come later; those of different isolation keys never share one. While one
is being made, all who want it wait for the same. Called by the client for every name that ends in ``.torpydo``.
::

    descriptor ─┐                       ┌─> INTRODUCE1 ──ack──┐
                ├─> choose a point, and ┤                     ├─> RENDEZVOUS2 ──> joined
    rendezvous ─┘                       └─────────────────────┘
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final

import attrs
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.logger import Logger

from torpydo.apps.onionservice.store import DescriptorStore
from torpydo.client import Circuit, Client, Conversation, FirstData
from torpydo.dht import target_of
from torpydo.errors import (
    CircuitError,
    CryptoError,
    PathError,
    RemoteProtocolError,
    ServiceNotFound,
    ServiceUnreachable,
    TorpydoError,
)
from torpydo.onion import (
    DHSecretKey,
    IntroduceStatus,
    Introduction,
    IntroductionPoint,
    Meeting,
    OnionName,
    Secret,
    ServiceDescriptor,
    open_descriptor,
    period_of,
)

__all__ = ["OnionConnector"]

TRIES: Final = 4
"""Introductions that are tried for one connection."""
ANSWER: Final = 10.0
"""Seconds from an introduction to the service's coming, after which another point is tried."""
FRESH: Final = 1800.0
"""Seconds for which a descriptor is used without another look."""
COOKIE: Final = 20


@attrs.define(eq=False)
class _Known:
    """A descriptor, and when it was found."""

    descriptor: ServiceDescriptor
    at: float


class OnionConnector:
    """Connects to services.

    :param client: builds circuits
    :param store: where descriptors are
    :param rng: bytes of randomness
    :param shuffle: puts a list into a random order
    :param client_keys: keys that services have given to this client, by name
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        client: Client,
        store: DescriptorStore,
        *,
        rng: Callable[[int], bytes],
        wall_clock: Callable[[], float],
        shuffle: Callable[[list[IntroductionPoint]], None],
    ) -> None:
        self._reactor = reactor
        self._client = client
        self._store = store
        self._rng = rng
        self._wall_clock = wall_clock
        self._shuffle = shuffle
        self.client_keys: dict[OnionName, DHSecretKey] = {}
        self._known: dict[OnionName, _Known] = {}
        self._joined: dict[tuple[OnionName, Hashable], Circuit] = {}
        self._making: dict[tuple[OnionName, Hashable], list[Deferred[Circuit]]] = {}

    def open_stream(
        self, factory: IProtocolFactory, host: str, port: int, isolation: Hashable, first_data: bytes | FirstData = b""
    ) -> Deferred[IProtocol]:
        """Open a stream to a service.

        :return: cancellable; fails with :class:`OnionNameError`, :class:`ServiceNotFound`,
            :class:`ServiceUnreachable` or what opening the stream fails with
        """
        return Deferred.fromCoroutine(self._open_stream(factory, host, port, isolation, first_data))

    async def _open_stream(
        self, factory: IProtocolFactory, host: str, port: int, isolation: Hashable, first_data: bytes | FirstData
    ) -> IProtocol:
        name = OnionName.parse(host)
        circuit = await self._circuit(name, isolation)
        return await circuit.open_stream(factory, host, port, first_data=first_data)

    def new_identity(self) -> None:
        """Later streams share no circuit with those before."""
        self._joined.clear()

    # -- The circuit

    async def _circuit(self, name: OnionName, isolation: Hashable) -> Circuit:
        key = (name, isolation)
        circuit = self._joined.get(key)
        if circuit is not None and circuit.is_open:
            return circuit
        others = self._making.get(key)
        if others is not None:
            waiter: Deferred[Circuit] = Deferred(others.remove)
            others.append(waiter)
            return await waiter
        waiting = self._making[key] = []
        try:
            circuit = await self._meet(name)
        except BaseException as error:
            del self._making[key]
            reason = error if isinstance(error, TorpydoError) else CircuitError("it was given up; try again")
            for one in list(waiting):
                one.errback(reason)
            raise
        del self._making[key]
        self._joined[key] = circuit
        circuit.when_closed().addCallback(lambda _: self._forget(key, circuit))
        for one in list(waiting):
            one.callback(circuit)
        return circuit

    def _forget(self, key: tuple[OnionName, Hashable], circuit: Circuit) -> None:
        if self._joined.get(key) is circuit:
            del self._joined[key]

    async def _meet(self, name: OnionName) -> Circuit:
        """Try one introduction point after the other; when all are gone, look once for a newer descriptor."""
        stale = name in self._known
        descriptor = await self._descriptor(name)
        points = list(descriptor.points)
        self._shuffle(points)
        for _ in range(TRIES):
            if not points:
                if not stale:
                    break
                # What was known may be of yesterday, or of before the service was started again.
                stale = False
                self._known.pop(name, None)
                descriptor = await self._descriptor(name)
                points = list(descriptor.points)
                self._shuffle(points)
            circuit = await self._try(name, descriptor, points.pop())
            if circuit is not None:
                return circuit
        self._known.pop(name, None)
        raise ServiceUnreachable("the onion service does not answer; it may have gone, or be too busy. Try again later")

    async def _try(self, name: OnionName, descriptor: ServiceDescriptor, point: IntroductionPoint) -> Circuit | None:
        """One attempt; ``None`` if another one may succeed."""
        opened: list[Conversation] = []
        try:
            waiting = await self._client.conversation(avoid=[point.node_id])
            opened.append(waiting)
            meeting = Meeting(waiting.node_id, self._rng(COOKIE))
            ready = waiting.establish_rendezvous(meeting.cookie)
            ephemeral = DHSecretKey(Secret(self._rng(32)))
            hello = Introduction.start(name, point.service_key, ephemeral, meeting)
            asking = await self._client.conversation(point.node_id)
            opened.append(asking)
            await ready
            if await asking.introduce(point.key.raw, hello.message) is not IntroduceStatus.OK:
                raise ServiceUnreachable("the introduction point passed nothing on")
            asking.close()
            keys = hello.finish(await waiting.when_met().addTimeout(ANSWER, self._reactor))
            return waiting.join_as_client(keys)
        except (CircuitError, PathError, ServiceUnreachable, CryptoError, RemoteProtocolError, TimeoutError) as error:
            self.log.debug("an introduction came to nothing: {why}", why=str(error))
            for one in opened:
                one.close()
            return None
        except CancelledError:
            for one in opened:
                one.close()
            raise

    # -- The descriptor

    async def _descriptor(self, name: OnionName) -> ServiceDescriptor:
        known = self._known.get(name)
        if known is not None and self._reactor.seconds() - known.at < FRESH:
            return known.descriptor
        now = period_of(self._wall_clock())
        # Clocks differ: a service may be in the next period already, or in the last one still.
        for period in (now, now + 1, now - 1):
            blinded = name.blinded(period)
            item = await self._store.get(target_of(blinded.raw))
            if item is None:
                continue
            try:
                descriptor = open_descriptor(item.value, name, blinded, item.sequence, self.client_keys.get(name))
            except (ServiceNotFound, RemoteProtocolError):
                continue
            self._known[name] = _Known(descriptor, self._reactor.seconds())
            return descriptor
        raise ServiceNotFound()
