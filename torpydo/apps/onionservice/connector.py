"""The client's way to a service: descriptor, rendezvous, introduction, joined circuit, streams.

A joined circuit is kept for the streams that come later (joined); those of different isolation keys never share one.
Called by the client for every name that ends in ``.torpydo``.
::

    descriptor ──> choose a point ──┬─> circuit to it ──────────────────────────────────┬─> INTRODUCE1 ──ack──┐
                                    └─> circuit to another node ──┬─> puzzle, solved ───┤                     │
                                                                  └─> ESTABLISH_RENDEZVOUS ──> RENDEZVOUS2 ───┴─> joined
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, DeferredSemaphore, FirstError, TimeoutError, gatherResults
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.internet.task import deferLater
from twisted.logger import Logger

from torpydo.apps.onionservice.joined import IDLE, JoinedCircuits
from torpydo.apps.onionservice.store import DescriptorStore
from torpydo.client import Circuit, Client, Conversation, FirstData
from torpydo.dht import target_of
from torpydo.errors import (
    CircuitError,
    CircuitLost,
    ConnectTimeout,
    CryptoError,
    PathError,
    RemoteProtocolError,
    ServiceNotFound,
    ServiceUnreachable,
    TorpydoError,
)
from torpydo.onion import (
    LEAST_EFFORT,
    MOST_EFFORT,
    NONCE_SIZE,
    DHSecretKey,
    IntroduceStatus,
    Introduction,
    IntroductionPoint,
    Meeting,
    OnionName,
    Proof,
    Secret,
    ServiceDescriptor,
    open_descriptor,
    period_of,
    solve,
)

__all__ = ["OnionConnector"]

TRIES: Final = 4
"""Introductions that are tried for one connection."""
PAUSES: Final = (1.0, 1.0, 2.0, 3.0)
"""Seconds before each further look, when none of them has led to the service."""
PATIENCE: Final = 15.0
"""Seconds after which there is no further look."""
ANSWER: Final = 10.0
"""Seconds from an introduction to the service's coming, or to any other answer, after which another point is tried."""
FRESH: Final = 1800.0
"""Seconds for which a descriptor is used without another look."""
LOOKUP: Final = 60.0
"""Seconds that a look for one may take."""
LOOKUPS: Final = 16
"""Looks at one time. Each is tens of circuits, and a page can be full of names that somebody has made up."""
DESCRIPTORS: Final = 1000
"""Descriptors that are remembered, those found last."""
STREAM_TRIES: Final = (10.0, 15.0)
"""Seconds for a stream to open, on one circuit and then on another."""
COOKIE: Final = 20
SLICE: Final = 4096
"""Hashes between two looks at anything else: a few milliseconds of a slow machine."""


@attrs.frozen
class _Known:
    """A descriptor, and when it was found."""

    descriptor: ServiceDescriptor
    at: float


@attrs.frozen
class _Prepared:
    """What a client needs to be introduced: where it waits, the message that says so, and its proof of effort."""

    waiting: Conversation
    hello: Introduction
    proof: Proof


class _Refused(ServiceUnreachable):
    """The introduction point has others who made more effort."""


class OnionConnector:
    """Connects to services.

    :param client: builds circuits
    :param store: where descriptors are
    :param rng: bytes of randomness
    :param shuffle: puts a list into a random order
    :param idle: seconds without a stream after which a circuit to a service is closed
    :param most_effort: that it spends on one introduction, whatever the descriptor suggests
    :ivar client_keys: keys that services have given to this client, by name
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
        idle: float = IDLE,
        most_effort: int = MOST_EFFORT,
    ) -> None:
        self._reactor = reactor
        self._client = client
        self._store = store
        self._rng = rng
        self._wall_clock = wall_clock
        self._shuffle = shuffle
        self._most_effort = most_effort
        self.client_keys: dict[OnionName, DHSecretKey] = {}
        self._known: dict[OnionName, _Known] = {}
        self._joined = JoinedCircuits(reactor, self._meet, idle)
        self._lookups = DeferredSemaphore(LOOKUPS)
        self._closed = False

    def open_stream(
        self, factory: IProtocolFactory, host: str, port: int, isolation: Hashable, first_data: bytes | FirstData = b""
    ) -> Deferred[IProtocol]:
        """Open a stream to a service.

        :return: cancellable; fails with :class:`OnionNameError`, :class:`ServiceNotFound`,
            :class:`ServiceUnreachable`, :class:`ConnectTimeout`, :class:`CircuitError` if the client is closed, or what
            opening the stream fails with
        """
        return Deferred.fromCoroutine(self._open_stream(factory, host, port, isolation, first_data))

    async def _open_stream(
        self, factory: IProtocolFactory, host: str, port: int, isolation: Hashable, first_data: bytes | FirstData
    ) -> IProtocol:
        name = OnionName.parse(host)
        first = FirstData(first_data) if isinstance(first_data, bytes) else first_data
        error: CircuitLost | ConnectTimeout | None = None
        for seconds in STREAM_TRIES:
            if self._closed:
                raise _closed()
            circuit = await self._joined.use(name, isolation)
            opening = circuit.open_stream(factory, host, port, first_data=first)
            try:
                return await opening.addTimeout(seconds, self._reactor)
            except CircuitLost as lost:
                # None of the first bytes had gone.
                error = lost
            except TimeoutError:
                self._joined.avoid(name, isolation, circuit)
                error = ConnectTimeout(f"the onion service did not answer a stream within {seconds:.0f} s; try again")
                if first.size:
                    # They may have arrived, and must not arrive twice.
                    break
        assert error is not None
        raise error

    def new_identity(self) -> None:
        """Later streams share no circuit with those before."""
        self._joined.new_identity()

    def close(self) -> None:
        """The client is closed: whoever waits is told."""
        self._closed = True
        self._joined.close(_closed())

    # -- The circuit

    async def _meet(self, name: OnionName) -> Circuit:
        """Try one introduction point after the other; after the first failure look whether the descriptor was old.

        A service whose guard has gone has lost all of its points at once, and is elsewhere within seconds. So when none
        leads to it there is a pause, and another look.
        """
        await self._listed()
        patient_until = self._reactor.seconds() + PATIENCE
        pauses = list(PAUSES)
        known = self._known.get(name)
        descriptor = await self._descriptor(name)
        look_again = known is not None and descriptor is known.descriptor
        points = self._shuffled(descriptor)
        effort = descriptor.effort
        tries = TRIES
        while tries:
            tries -= 1
            point = points.pop()
            # Again after the others: it may have been busy.
            points.insert(0, point)
            gone = False
            try:
                return await self._try(name, effort, point)
            except (TimeoutError, _Refused):
                # Others may have made more effort.
                effort = max(LEAST_EFFORT, 2 * effort)
                self.log.debug("a service did not come; the next effort is {effort}", effort=effort)
            except (CircuitError, PathError, ServiceUnreachable, CryptoError, RemoteProtocolError) as error:
                gone = True
                self.log.debug("an introduction came to nothing: {why}", why=str(error))
            if gone and not tries and pauses and self._reactor.seconds() < patient_until:
                await deferLater(self._reactor, pauses.pop(0), lambda: None)
                tries, look_again = 1, True
            if look_again:
                # It may be of yesterday, of before the service was started again, or of before it had a crowd.
                look_again = False
                newer = await self._newer(name, descriptor)
                if newer is not descriptor:
                    descriptor, points = newer, self._shuffled(newer)
                    effort = max(effort, descriptor.effort)
                    tries = max(tries, len(points))
        self._known.pop(name, None)
        raise ServiceUnreachable("the onion service does not answer; it may have gone, or be too busy. Try again later")

    async def _listed(self) -> None:
        """A client that was started a moment ago knows no node yet, and nobody to ask where a service is."""
        if self._client.participants:
            return
        try:
            await self._client.when_ready().addTimeout(LOOKUP, self._reactor)
        except TimeoutError:
            raise CircuitError(f"the client was not ready within {LOOKUP:.0f} s; try again") from None
        except TorpydoError:
            # What it misses may be an exit, which nobody needs here.
            if not self._client.participants:
                raise

    async def _newer(self, name: OnionName, descriptor: ServiceDescriptor) -> ServiceDescriptor:
        """What the store has now; what was known if it says nothing else, or nothing at all."""
        self._known.pop(name, None)
        try:
            newer = await self._descriptor(name, newest=True)
        except TorpydoError:
            return descriptor
        return descriptor if newer == descriptor else newer

    def _shuffled(self, descriptor: ServiceDescriptor) -> list[IntroductionPoint]:
        points = list(descriptor.points)
        self._shuffle(points)
        return points

    async def _try(self, name: OnionName, effort: int, point: IntroductionPoint) -> Circuit:
        """One attempt; whatever it has opened is closed again if it comes to nothing."""
        opened: list[Conversation] = []
        parts: tuple[Deferred[Any], ...] = (
            Deferred.fromCoroutine(self._prepare(name, effort, point, opened)),
            Deferred.fromCoroutine(self._go_to(point, opened)),
        )
        prepared: _Prepared
        asking: Conversation
        try:
            prepared, asking = await _all(parts)
            hello, waiting = prepared.hello, prepared.waiting
            introducing = asking.introduce(point.key.raw, hello.message, prepared.proof)
            status = await introducing.addTimeout(ANSWER, self._reactor)
            if status is IntroduceStatus.TOO_MANY:
                raise _Refused()
            if status is not IntroduceStatus.OK:
                raise ServiceUnreachable("the introduction point passed nothing on")
            asking.close()
            keys = hello.finish(await waiting.when_met().addTimeout(ANSWER, self._reactor))
            return waiting.join_as_client(keys)
        except BaseException:
            for one in opened:
                one.close()
            raise

    async def _prepare(
        self, name: OnionName, effort: int, point: IntroductionPoint, opened: list[Conversation]
    ) -> _Prepared:
        """Wait at a node, and solve the puzzle of the introduction that says where."""
        waiting = await self._client.conversation(avoid=[point.node_id])
        opened.append(waiting)
        cookie = self._rng(COOKIE)
        ephemeral = DHSecretKey(Secret(self._rng(32)))
        hello = Introduction.start(name, point.service_key, ephemeral, Meeting(waiting.node_id, cookie))
        parts: tuple[Deferred[Any], ...] = (
            Deferred.fromCoroutine(self._solve(point.seed, hello.message, min(effort, self._most_effort))),
            waiting.establish_rendezvous(cookie).addTimeout(ANSWER, self._reactor),
        )
        proof, _ = await _all(parts)
        return _Prepared(waiting, hello, proof)

    async def _go_to(self, point: IntroductionPoint, opened: list[Conversation]) -> Conversation:
        asking = await self._client.conversation(point.node_id)
        opened.append(asking)
        return asking

    async def _solve(self, seed: bytes, message: bytes, effort: int) -> Proof:
        """The solution of a puzzle, found while other things go on."""
        if not effort:
            return Proof()
        while (nonce := solve(seed, message, effort, self._rng(NONCE_SIZE), SLICE)) is None:
            await deferLater(self._reactor, 0.0, lambda: None)
        return Proof(effort, nonce)

    # -- The descriptor

    async def _descriptor(self, name: OnionName, *, newest: bool = False) -> ServiceDescriptor:
        known = self._known.get(name)
        if known is not None and self._reactor.seconds() - known.at < FRESH:
            return known.descriptor
        await self._lookups.acquire()
        try:
            return await self._look_for(name, newest)
        finally:
            self._lookups.release()

    async def _look_for(self, name: OnionName, newest: bool) -> ServiceDescriptor:
        now = period_of(self._wall_clock())
        # Clocks differ: a service may be in the next period already, or in the last one still.
        for period in (now, now + 1, now - 1):
            blinded = name.blinded(period)
            looking = self._store.get(target_of(blinded.raw), newest=newest)
            try:
                item = await looking.addTimeout(LOOKUP, self._reactor)
            except TimeoutError:
                raise ServiceUnreachable(
                    "it takes too long to find out where the onion service is; try again"
                ) from None
            except CircuitError as error:
                raise ServiceUnreachable(f"it cannot be found out where the onion service is: {error}") from None
            if item is None:
                continue
            try:
                descriptor = open_descriptor(item.value, name, blinded, item.sequence, self.client_keys.get(name))
            except (ServiceNotFound, RemoteProtocolError):
                continue
            self._remember(name, descriptor)
            return descriptor
        raise ServiceNotFound()

    def _remember(self, name: OnionName, descriptor: ServiceDescriptor) -> None:
        self._known.pop(name, None)
        self._known[name] = _Known(descriptor, self._reactor.seconds())
        if len(self._known) > DESCRIPTORS:
            del self._known[next(iter(self._known))]


def _closed() -> CircuitError:
    return CircuitError("the client is closed; make another one")


async def _all(parts: tuple[Deferred[Any], ...]) -> list[Any]:
    """What all of them fire with; when one fails, the others are cancelled, and its error is the error."""
    try:
        return await gatherResults(parts, consumeErrors=True)
    except FirstError as error:
        for one in parts:
            one.cancel()
        error.subFailure.raiseException()
