"""A reactor for a whole network in memory, with virtual time.

Unmodified Twisted programs run on it: endpoints, ``twisted.web``, TLS. Each :class:`SimulatedReactor` is one process
with its own addresses; :meth:`SimulatedReactor.host` adds another one, which shares the clock and the internet.
Nothing happens until :meth:`~SimulatedReactor.advance`, :meth:`~SimulatedReactor.flush` or
:meth:`~SimulatedReactor.success` is called, and then everything happens in an order that the same seed repeats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from ipaddress import ip_address
from random import Random
from typing import Any, Self, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import (
    IFileDescriptor,
    IHostnameResolver,
    IListeningPort,
    IOpenSSLClientConnectionCreator,
    IOpenSSLContextFactory,
    IReactorCore,
    IReactorFDSet,
    IReactorFromThreads,
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorTime,
    IReadDescriptor,
    IWriteDescriptor,
)
from twisted.internet.protocol import ClientFactory, P, ServerFactory
from twisted.protocols import tls
from twisted.python.failure import Failure
from zope.interface import implementer

from torpydo.testing.clock import SimulationError, VirtualCall, VirtualClock
from torpydo.testing.events import SystemEvents, Trigger
from torpydo.testing.internet import Internet
from torpydo.testing.names import NameTable
from torpydo.testing.sockets import Socket
from torpydo.testing.transports import SimulatedConnector, SimulatedPort
from torpydo.testing.ways import Conditions, Ways

T = TypeVar("T")

LOOPBACK = ("127.0.0.1", "::1")
PATIENCE = 120.0
"""Virtual seconds that :meth:`SimulatedReactor.success` waits; longer than any time-out of torpydo."""


@implementer(
    IReactorCore,
    IReactorFDSet,
    IReactorFromThreads,
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorTime,
)
class SimulatedReactor:
    """One process of a simulated network. It runs from the start.

    :ivar addresses: the IP literals that belong to this process
    :ivar internet: what all processes share: ways, names, connections
    :ivar names: this process's resolver
    :ivar alive: until :meth:`kill`
    :ivar frozen: between :meth:`freeze` and :meth:`thaw`
    :ivar running: until :meth:`stop` or :meth:`kill`
    :param seed: for jitter, loss and the order in which ready sockets are served; another seed, another run
    :param conditions: what all ways are like unless something else is set for them
    """

    def __init__(self, seed: int = 0, *, conditions: Conditions | None = None) -> None:
        clock = VirtualClock(seed or None)
        internet = Internet(clock, Ways(clock, Random(seed), conditions or Conditions()))
        self._set_up(internet, LOOPBACK)

    def _set_up(self, internet: Internet, addresses: Sequence[str]) -> None:
        self.internet = internet
        self.addresses = tuple(str(ip_address(each)) for each in addresses)
        internet.join(self)
        self.clock = internet.clock
        self.running = True
        self.seconds = self.clock.seconds
        self.names = NameTable(self, internet.names)
        self._name_resolver: IHostnameResolver = self.names
        self.alive = True
        self.frozen = False
        self._events = SystemEvents()
        self._readers: dict[IFileDescriptor, Socket] = {}
        self._writers: dict[IFileDescriptor, Socket] = {}

    def host(self, *addresses: str) -> Self:
        """Another process, with these IP addresses, on the same clock and internet.

        :raises SimulationError: if one of them is taken
        """
        if not addresses:
            raise SimulationError("a simulated host needs at least one address")
        other = type(self).__new__(type(self))
        other._set_up(self.internet, addresses)
        return other

    def kill(self, *, silently: bool = False) -> None:
        """End the process at once, as SIGKILL would: none of its code runs again, its peers see their connections
        closed. *silently* is as if the power failed: its peers see nothing at all until ``ways.heal``.
        Its addresses become free.
        """
        if silently:
            self.internet.ways.isolate(*self.addresses)
        self.alive = self.running = False
        for sock in [each for each in self.internet.sockets.values() if each.host is self]:
            sock.kill(silently)
        self.internet.leave(self)

    def freeze(self) -> None:
        """Stop the process, as SIGSTOP would: none of its code runs until :meth:`thaw`. Its kernel goes on, so that its
        peers are connected and may send until its buffers are full.
        """
        self.frozen = True

    def thaw(self) -> None:
        """Let it go on, as SIGCONT would: what has come and what fell due in the meantime is there at once."""
        self.frozen = False
        self.clock.thaw(self)
        for sock in [each for each in self.internet.sockets.values() if each.host is self]:
            sock.mark()

    # Driving the simulation

    def advance(self, seconds: float) -> None:
        """Let virtual time pass and run everything that falls due, in order."""
        self.clock.advance(seconds)

    def flush(self) -> None:
        """Run everything that is due now, until nothing is."""
        self.clock.flush()

    def success(self, deferred: Deferred[T], within: float = PATIENCE) -> T:
        """Let time pass until *deferred* has fired; return its result, or raise its error.

        :raises SimulationError: if it does not fire *within* so many virtual seconds
        """
        outcome: list[T | Failure] = []
        deferred.addBoth(outcome.append)
        end = self.clock.now + within
        self.clock.flush()
        while not outcome:
            when = self.clock.next_event()
            if when is None:
                raise SimulationError(f"{deferred!r} will never fire: nothing is left to happen")
            if when > end:
                raise SimulationError(f"{deferred!r} did not fire within {within} virtual seconds")
            self.clock.advance(when - self.clock.now)
        result = outcome[0]
        if isinstance(result, Failure):
            result.raiseException()
        return result

    @contextmanager
    def as_default_clock(self) -> Iterator[None]:
        """Let TLS connections made inside use this reactor.

        ``wrapClientTLS``, ``startTLS`` and ``Agent`` for https do not pass a reactor on to Twisted's TLS layer, which
        then delays small writes on the global reactor, where they would stay for ever.
        """
        original = tls._get_default_clock
        tls._get_default_clock = lambda: self
        try:
            yield
        finally:
            tls._get_default_clock = original

    # IReactorTime

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kw: object) -> VirtualCall:
        """See :class:`IReactorTime`."""
        return self.clock.call_later(delay, self, callable, args, kw)

    def getDelayedCalls(self) -> Sequence[VirtualCall]:
        """See :class:`IReactorTime`: the calls of this process."""
        return [call for call in self.clock.delayed_calls() if call.owner is self]

    # IReactorFromThreads

    def callFromThread(self, callable: Callable[..., Any], *args: object, **kw: object) -> None:
        """See :class:`IReactorFromThreads`."""
        self.clock.from_thread(partial(callable, *args, **kw))

    # IReactorTCP, and the methods of IReactorSSL (whose interface says more than endpoints need)

    def listenTCP(self, port: int, factory: ServerFactory, backlog: int = 50, interface: str = "") -> IListeningPort:
        """See :class:`IReactorTCP`. Without an interface: on all IPv4 addresses of this process."""
        listening = SimulatedPort(port, factory, backlog, interface, self, self.internet)
        listening.startListening()
        return listening

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: ClientFactory[P],
        timeout: float = 30.0,
        bindAddress: tuple[str, int] | None = None,
    ) -> SimulatedConnector:
        """See :class:`IReactorTCP`."""
        connector = SimulatedConnector(host, port, factory, timeout, bindAddress, self, self.internet)
        connector.connect()
        return connector

    def listenSSL(
        self,
        port: int,
        factory: ServerFactory,
        contextFactory: IOpenSSLContextFactory,
        backlog: int = 50,
        interface: str = "",
    ) -> IListeningPort:
        """TLS, as ``ssl:`` endpoints ask for it; the TLS layer uses this reactor as its clock."""
        wrapped = tls.TLSMemoryBIOFactory(contextFactory, False, factory, clock=self)
        return self.listenTCP(port, cast(ServerFactory, wrapped), backlog, interface)

    def connectSSL(
        self,
        host: str,
        port: int,
        factory: ClientFactory[P],
        contextFactory: IOpenSSLClientConnectionCreator,
        timeout: float = 30.0,
        bindAddress: tuple[str, int] | None = None,
    ) -> SimulatedConnector:
        """TLS, as ``ssl:`` endpoints ask for it; the TLS layer uses this reactor as its clock."""
        wrapped = tls.TLSMemoryBIOFactory(contextFactory, True, factory, clock=self)
        return self.connectTCP(host, port, cast(ClientFactory[P], wrapped), timeout, bindAddress)

    # IReactorFDSet: only for the transports made above

    def addReader(self, reader: IReadDescriptor) -> None:
        """See :class:`IReactorFDSet`."""
        sock = self._socket(reader)
        if sock is not None:
            self._readers[reader] = sock
            sock.reader = reader
            sock.mark()

    def addWriter(self, writer: IWriteDescriptor) -> None:
        """See :class:`IReactorFDSet`."""
        sock = self._socket(writer)
        if sock is not None:
            self._writers[writer] = sock
            sock.writer = writer
            sock.mark()

    def removeReader(self, reader: IFileDescriptor) -> None:
        """See :class:`IReactorFDSet`."""
        sock = self._readers.pop(reader, None)
        if sock is not None:
            sock.reader = None

    def removeWriter(self, writer: IFileDescriptor) -> None:
        """See :class:`IReactorFDSet`."""
        sock = self._writers.pop(writer, None)
        if sock is not None:
            sock.writer = None

    def removeAll(self) -> list[IReadDescriptor | IWriteDescriptor]:
        """See :class:`IReactorFDSet`."""
        both: list[IReadDescriptor | IWriteDescriptor] = [*self.getReaders(), *self.getWriters()]
        every = dict.fromkeys(both)
        for each in every:
            self.removeReader(each)
            self.removeWriter(each)
        return list(every)

    def getReaders(self) -> list[IReadDescriptor]:
        """See :class:`IReactorFDSet`."""
        return [sock.reader for sock in self._readers.values() if sock.reader is not None]

    def getWriters(self) -> list[IWriteDescriptor]:
        """See :class:`IReactorFDSet`."""
        return [sock.writer for sock in self._writers.values() if sock.writer is not None]

    def _socket(self, selectable: IFileDescriptor) -> Socket | None:
        fd = selectable.fileno()
        sock = self.internet.sockets.get(fd)
        if sock is None and fd >= 0:
            raise SimulationError(f"{selectable!r} has a real file: a simulated reactor cannot wait for it")
        return sock if self.alive else None

    # IReactorPluggableNameResolver

    @property
    def nameResolver(self) -> IHostnameResolver:
        """See :class:`IReactorPluggableNameResolver`."""
        return self._name_resolver

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        """See :class:`IReactorPluggableNameResolver`."""
        previous, self._name_resolver = self._name_resolver, resolver
        return previous

    # IReactorCore

    def resolve(self, name: str, timeout: Sequence[int] = (1, 3, 11, 45)) -> Deferred[str]:
        """See :class:`IReactorCore`."""
        return self.names.getHostByName(name, timeout)

    def run(self) -> None:
        """Let time pass until this process is stopped.

        :raises SimulationError: if nothing is left that could stop it
        """
        while self.running:
            when = self.clock.next_event()
            if when is None:
                raise SimulationError("nothing is left to happen, and nobody has stopped the reactor")
            self.clock.advance(when - self.clock.now)

    def stop(self) -> None:
        """See :class:`IReactorCore`: shut down, beginning in the next turn."""
        if not self.running:
            raise ReactorNotRunning("this reactor was stopped already")
        self.callLater(0, self.fireSystemEvent, "shutdown")
        self.addSystemEventTrigger("during", "shutdown", self.crash)

    def crash(self) -> None:
        """See :class:`IReactorCore`."""
        self.running = False

    def iterate(self, delay: float = 0) -> None:
        """See :class:`IReactorCore`."""
        self.clock.advance(delay)

    def fireSystemEvent(self, eventType: str) -> None:
        """See :class:`IReactorCore`."""
        self._events.fire(eventType)

    def addSystemEventTrigger(
        self, phase: str, eventType: str, callable: Callable[..., Any], *args: object, **kwargs: object
    ) -> Trigger:
        """See :class:`IReactorCore`."""
        return self._events.add(phase, eventType, partial(callable, *args, **kwargs))

    def removeSystemEventTrigger(self, triggerID: Trigger) -> None:
        """See :class:`IReactorCore`."""
        self._events.remove(triggerID)

    def callWhenRunning(self, callable: Callable[..., Any], *args: object, **kwargs: object) -> Trigger | None:
        """See :class:`IReactorCore`: at once, for this reactor runs from the start."""
        if self.running:
            callable(*args, **kwargs)
            return None
        return self.addSystemEventTrigger("after", "startup", callable, *args, **kwargs)

    def __repr__(self) -> str:
        return f"<SimulatedReactor {self.addresses[0]} at {self.clock.now} s>"
