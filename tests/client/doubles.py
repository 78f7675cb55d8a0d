"""Doubles for the tests of the client: circuits that do what a test says, and a reactor without sockets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from tests.directory.build import NOW, OPEN, descriptor, document, network
from tests.net.pools import MemoryState, WallClock, middle
from torpydo.client.congestion import Congestion
from torpydo.client.firstdata import FirstData
from torpydo.client.paths import Paths, Want
from torpydo.directory import Descriptor, NetDir
from torpydo.errors import CircuitBuildError, CircuitLost

EXITS = range(1, 7)


def exits(*names: int, policy: str = OPEN) -> NetDir:
    """A network in which every node is an exit."""
    return network([document(name, policy=policy) for name in names or EXITS])


def path(*names: int, policy: str = OPEN) -> tuple[Descriptor, ...]:
    """A path through these nodes."""
    return tuple(descriptor(name, policy=policy) for name in names)


class StreamDouble(StringTransport):
    """The transport of a stream: remembers what was written and how it was closed."""

    aborted = False

    def abortConnection(self) -> None:
        """Tear it."""
        self.aborted = True


@attrs.define(eq=False)
class CircuitDouble:
    """A circuit whose streams are opened, refused and lost by the test."""

    path: Sequence[Descriptor]
    streams: int = 0
    rtt: float | None = None
    queued: int = 0
    closed: bool = False
    is_open: bool = True
    opened: list[tuple[str, int]] = attrs.field(factory=list)
    first_data: list[bytes] = attrs.field(factory=list)
    waiting: list[tuple[Deferred[Any], IProtocolFactory | None]] = attrs.field(factory=list)
    _closing: list[Deferred[None]] = attrs.field(factory=list)

    def open_stream(
        self, factory: IProtocolFactory, host: str, port: int, *, first_data: bytes | FirstData = b""
    ) -> Deferred[IProtocol]:
        """Like ``Circuit.open_stream``; the test answers."""
        self.opened.append((host, port))
        first = FirstData(first_data) if isinstance(first_data, bytes) else first_data
        first.attach(self.first_data.append)
        return self._wait(factory)

    def resolve(self, host: str) -> Deferred[list[tuple[str, int]]]:
        """Like ``Circuit.resolve``; the test answers."""
        self.opened.append((host, 0))
        return self._wait(None)

    def _wait(self, factory: IProtocolFactory | None) -> Deferred[Any]:
        self.streams += 1
        deferred: Deferred[Any] = Deferred(self._cancelled)
        self.waiting.append((deferred, factory))
        return deferred

    def _cancelled(self, deferred: Deferred[Any]) -> None:
        self.streams -= 1
        self.waiting = [row for row in self.waiting if row[0] is not deferred]

    def connect(self) -> tuple[IProtocol, StreamDouble]:
        """The exit has connected the oldest stream."""
        deferred, factory = self.waiting.pop(0)
        assert factory is not None
        protocol = factory.buildProtocol(None)
        transport = StreamDouble()
        protocol.makeConnection(transport)
        deferred.callback(protocol)
        return protocol, transport

    def answer(self, value: object) -> None:
        """The exit has answered the oldest stream or question."""
        self.streams -= 1
        self.waiting.pop(0)[0].callback(value)

    def refuse(self, error: Exception) -> None:
        """The oldest stream cannot be opened."""
        self.streams -= 1
        self.waiting.pop(0)[0].errback(error)

    def when_closed(self) -> Deferred[None]:
        """Like ``Circuit.when_closed``."""
        if self.closed:
            return succeed(None)
        deferred: Deferred[None] = Deferred()
        self._closing.append(deferred)
        return deferred

    def close(self) -> None:
        """Like ``Circuit.close``; also what happens when a node dies."""
        if self.closed:
            return
        self.closed, self.is_open = True, False
        self.streams = 0
        waiting, self.waiting = self.waiting, []
        for deferred, _ in waiting:
            deferred.errback(CircuitLost("the circuit was lost"))
        for one in self._closing:
            one.callback(None)


@attrs.define(eq=False)
class Holder:
    """A circuit in which something waits."""

    congestion: Congestion
    queued: int = 0
    closed: str = ""

    def hold(self, size: int) -> None:
        """*size* bytes wait from now on."""
        self.queued = size
        self.congestion.note(self)

    def close(self, why: str) -> None:
        """Like ``Circuit.close``."""
        self.closed = why
        self.queued = 0
        self.congestion.forget(self)


@attrs.define(eq=False)
class Building:
    """A circuit that is being built."""

    path: Sequence[Descriptor]
    deferred: Deferred[CircuitDouble]
    cancelled: bool = False
    circuit: CircuitDouble | None = None
    """What was built."""

    def done(self) -> CircuitDouble:
        """It is built."""
        circuit = self.circuit = CircuitDouble(self.path)
        self.deferred.callback(circuit)
        return circuit

    def fail(self, hop: int, why: str = "no answer") -> None:
        """Hop *hop* fails."""
        self.deferred.errback(CircuitBuildError(hop, len(self.path), self.path[hop - 1].name, why))


@attrs.define(eq=False)
class Builder:
    """Builds circuits when the test says so."""

    started: list[Building] = attrs.field(factory=list)
    at_once: int = 0
    """The hop at which every build fails before it has begun; 0: none does."""

    def __call__(
        self, chosen: Sequence[Descriptor], begun: Callable[[], None] = lambda: None
    ) -> Deferred[CircuitDouble]:
        def cancel(deferred: Deferred[CircuitDouble]) -> None:
            building.cancelled = True

        building = Building(chosen, Deferred(cancel))
        self.started.append(building)
        begun()
        if self.at_once:
            building.fail(self.at_once)
        return building.deferred

    @property
    def open(self) -> list[Building]:
        """Those that are neither done nor failed nor cancelled."""
        return [building for building in self.started if not building.deferred.called]

    def finish(self) -> list[CircuitDouble]:
        """Build everything that was started, until nothing new starts."""
        circuits = []
        while self.open:
            circuits.append(self.open[0].done())
        return circuits


def make_paths(
    netdir: NetDir | None,
    clock: Clock | None = None,
    state: MemoryState | None = None,
    *,
    wall_clock: WallClock | None = None,
    randbelow: Callable[[int], int] | None = None,
) -> Paths:
    """Path choice with fixed randomness."""
    paths = Paths(
        state=state,
        clock=clock or Clock(),
        wall_clock=wall_clock or WallClock(),
        randbelow=randbelow or Cycle(),
    )
    paths.netdir = netdir
    return paths


@attrs.define(eq=False)
class Cycle:
    """Numbers that change with every call and repeat with every run."""

    count: int = 0

    def __call__(self, limit: int) -> int:
        self.count += 1
        return (self.count * 2654435761) % 2**32 * limit // 2**32


def want(host: str = "example.org", port: int | None = 80, **options: Any) -> Want:
    """What a stream wants."""
    return Want(host, port, **options)


Check = Callable[[], None]
__all__ = ["NOW", "middle"]
