"""The Twisted side of a proxy: one local connection, its core, and the stream that it opens.

It decides nothing. Bytes go to the core, the core's bytes go out, the core's events are looked up in a table, and
one timer follows the core's deadline. When a tunnel is open the core is done and a :class:`~torpydo.apps.relay.Relay`
takes the two transports. Both proxies inherit from here.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, ClassVar, Generic, Protocol, TypeVar, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IProtocol,
    IReactorTime,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from torpydo.apps.destinations import Destination
from torpydo.apps.events import AbortNow, CloseNow, Event, HangUp, OpenTunnel
from torpydo.apps.isolation import Credentials, IsolationKey
from torpydo.apps.needs import NetworkClient, PipeTransport
from torpydo.apps.refusals import ProxyRefusal
from torpydo.apps.relay import Relay, RelayEnd, Wire
from torpydo.apps.streams import StreamFactory, StreamProtocol
from torpydo.client import DEFAULT_LIMITS, ORIGIN_READ, ClientLimits, FirstData, share_of, was_reset
from torpydo.errors import TorpydoError

__all__ = ["FrontCore", "FrontFactory", "FrontProtocol"]


class FrontCore(Protocol):
    """What the core of every proxy offers."""

    refusal: ProxyRefusal | None

    @property
    def wants_data(self) -> bool: ...

    def receive_data(self, data: bytes, now: float) -> list[Event]: ...

    def receive_eof(self, now: float) -> list[Event]: ...

    def data_to_send(self) -> bytes: ...

    def next_deadline(self) -> float | None: ...

    def deadline_passed(self, now: float) -> list[Event]: ...

    @property
    def is_idle(self) -> bool: ...

    def data_ahead(self, most: int) -> bytes: ...

    def early_data(self) -> tuple[bytes, bool]: ...

    def tunnel_opened(self, now: float) -> list[Event]: ...

    def open_failed(self, error: BaseException | None, now: float) -> list[Event]: ...


CoreT = TypeVar("CoreT", bound=FrontCore)


class FrontFactory(Factory[TwistedProtocol]):
    """What the connections of one listener share.

    :param client: opens the streams
    :param reactor: gives the time
    :param allow_private: whether localhost and private addresses are destinations; by default what the client says
    :param isolate_ports: whether streams to different destination ports are kept apart
    :param limits: how many connections there may be, and how long they may take
    :param grant: asked for each connection whether there is a file descriptor for it
    :param refused: told of each refusal
    :ivar connections: the connections that are open, the oldest first
    """

    noisy = False

    def __init__(
        self,
        client: NetworkClient,
        reactor: IReactorTime,
        *,
        allow_private: bool | None = None,
        isolate_ports: bool = False,
        limits: ClientLimits = DEFAULT_LIMITS,
        grant: Callable[[], bool] = lambda: True,
        refused: Callable[[ProxyRefusal], None] = lambda cause: None,
    ) -> None:
        self.client = client
        self.clock = reactor
        self.limits = limits
        self.refused = refused
        self._grant = grant
        self._isolate_ports = isolate_ports
        self.connections: dict[FrontProtocol[Any], None] = {}
        self._allow_private = allow_private
        # an object of its own: no other listener has it
        self._listener: Hashable = object()

    def admits(self) -> bool:
        """Whether one more connection may be open; called once for each, before anything is read from it."""
        if len(self.connections) >= self.limits.connections:
            self.refused(ProxyRefusal.PROXY_CONNECTIONS)
            if not self._make_room():
                return False
        if not self._grant():
            self.refused(ProxyRefusal.PROXY_FILES)
            return False
        return True

    def _make_room(self) -> bool:
        """Tear the oldest connection that has no request, so that those who say nothing keep nobody out (fault 8)."""
        oldest = next((connection for connection in self.connections if connection.core.is_idle), None)
        if oldest is None:
            return False
        # It is gone a moment later, and others may come before.
        del self.connections[oldest]
        oldest.abort()
        return True

    @property
    def read_size(self) -> int:
        """Bytes that are read of one connection at a time."""
        return min(ORIGIN_READ, share_of(self.limits.memory, len(self.connections)))

    def allows_private(self) -> bool:
        """Whether this is a test network, asked anew for each destination."""
        return self.client.allows_private_destinations if self._allow_private is None else self._allow_private

    def isolation_key(self, peer: IAddress, credentials: Credentials, port: int) -> IsolationKey:
        """What keeps an application's streams apart from others."""
        address = peer.host if isinstance(peer, IPv4Address | IPv6Address) else ""
        return IsolationKey(self._listener, address, credentials, port if self._isolate_ports else 0)

    def abort_connections(self) -> None:
        """Tear every connection, when the service stops."""
        for connection in tuple(self.connections):
            connection.abort()


@implementer(IHalfCloseableProtocol)
class FrontProtocol(TwistedProtocol, Generic[CoreT]):
    """One connection of an application.

    :param settings: what the listener's connections share
    :param make_core: makes the core, given the time
    """

    log: ClassVar[Logger] = Logger()
    core: CoreT
    wire: Wire

    def __init__(self, settings: FrontFactory, make_core: Callable[[float], CoreT]) -> None:
        self.settings = settings
        self.lost = False
        self._make_core = make_core
        self._end: RelayEnd | None = None
        self._timer: IDelayedCall | None = None
        # the stream that is being opened, and the attempt itself
        self._expected: StreamProtocol | None = None
        self._opening: Deferred[Any] | None = None
        # what goes to the network before the stream is open
        self._first: FirstData | None = None
        self.handlers: dict[type[Any], Callable[[Any], None]] = {
            OpenTunnel: self._open_tunnel,
            HangUp: self._hang_up,
            CloseNow: self._close,
            AbortNow: self._abort,
        }

    @property
    def now(self) -> float:
        """The time."""
        return self.settings.clock.seconds()

    # what the transport says

    def connectionMade(self) -> None:
        """An application has connected."""
        self.wire = Wire(cast(PipeTransport, self.transport))
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpKeepAlive(True)
        # One read of each of a thousand must not be more than may wait.
        cast(Any, self.transport).bufferSize = self.settings.read_size
        self.core = self._make_core(self.now)
        self.settings.connections[self] = None
        self.pump([])

    def dataReceived(self, data: bytes) -> None:
        """The application has sent something."""
        if self._end is not None:
            self._end.received(data)
        else:
            self.pump(self.core.receive_data(data, self.now))

    def readConnectionLost(self) -> None:
        """The application sends no more."""
        if was_reset(self.transport):
            self.abort()
            return
        self.wire.read_ended()
        if self._end is not None:
            self._end.eof()
        else:
            self.pump(self.core.receive_eof(self.now))

    def writeConnectionLost(self) -> None:
        """Our own EOF has gone out; nobody waits for that."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The application is gone."""
        self.lost = True
        self.settings.connections.pop(self, None)
        if self.core.refusal is not None:
            self.settings.refused(self.core.refusal)
        self._disarm()
        self.stop_opening()
        if self._end is not None:
            self._end.lost(reason)
        else:
            self.wire.lost()
        self.handlers.clear()  # they are methods of this object, which would keep it

    # the pump

    def pump(self, events: list[Event]) -> None:
        """Send what the core has to send, do what it says, follow its deadline."""
        if self.lost:
            return
        data = self.core.data_to_send()
        if data:
            self.wire.write(data)
        for event in events:
            if self.lost:
                return
            self.handlers[type(event)](event)
        if self._end is not None:
            return
        if self._first is not None:
            self._send_ahead(self._first)
        if self.core.wants_data:
            self.wire.release(self)
        else:
            self.wire.hold(self)
        self._arm()

    def _send_ahead(self, first: FirstData) -> None:
        data = self.core.data_ahead(first.room)
        if data:
            first.add(data)

    def _arm(self) -> None:
        deadline = self.core.next_deadline()
        if self._timer is not None and self._timer.getTime() == deadline:
            return
        self._disarm()
        if deadline is not None:
            self._timer = self.settings.clock.callLater(max(0.0, deadline - self.now), self._deadline_passed)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _deadline_passed(self) -> None:
        self._timer = None
        self.pump(self.core.deadline_passed(self.now))

    # opening a stream

    def open(
        self, destination: Destination, credentials: Credentials, on_open: Callable[[StreamProtocol], None]
    ) -> None:
        """Open a stream; a failure goes to the core. What the core has for it already goes along."""

        def opened(stream: StreamProtocol) -> None:
            if self._expected is not stream:  # an attempt that could not be cancelled any more
                stream.wire.abort()
                return
            self._expected = self._opening = self._first = None
            on_open(stream)

        def failed(failure: Failure) -> None:
            if self._expected is stream:
                self._expected = self._opening = self._first = None
                self.note(failure)
                self.pump(self.core.open_failed(failure.value, self.now))

        def connect() -> Deferred[IProtocol]:
            key = self.isolation_key(credentials, destination.port)
            endpoint = self.settings.client.endpoint(
                destination.host, destination.port, isolation=key, first_data=first
            )
            return endpoint.connect(StreamFactory(stream))

        first = self._first = FirstData(self.core.data_ahead(FirstData.most))
        stream = self._expected = StreamProtocol(opened)
        opening = maybeDeferred(connect)
        if self._expected is stream:
            self._opening = opening
        opening.addErrback(failed)

    def stop_opening(self) -> None:
        """Cancel what is being opened, if anything is."""
        opening, self._expected, self._opening, self._first = self._opening, None, None, None
        if opening is not None:
            opening.cancel()

    def isolation_key(self, credentials: Credentials, port: int) -> IsolationKey:
        """What keeps this application's streams apart from others."""
        return self.settings.isolation_key(self.wire.transport.getPeer(), credentials, port)

    def note(self, failure: Failure) -> None:
        """Log a failure; one that is no network failure is a mistake of ours and is shown in full."""
        if failure.check(TorpydoError, ConnectError, CancelledError):
            self.log.debug("a stream could not be opened: {why}", why=failure.getErrorMessage())
        else:
            self.log.failure("a stream could not be opened, and not because of the network", failure)

    # what the core says

    def _open_tunnel(self, event: OpenTunnel) -> None:
        self.open(event.destination, event.credentials, self._join)

    def _join(self, stream: StreamProtocol) -> None:
        """Answer the application and leave the rest to a relay."""
        self.pump(self.core.tunnel_opened(self.now))
        early, ended = self.core.early_data()
        relay = Relay(self.wire, stream.wire, self.settings.clock)
        self._end, stream.owner = relay.near, relay.far
        self._disarm()
        if early:
            stream.wire.write(early)
        if ended:
            relay.near.eof()
        self.wire.release(self)

    def _hang_up(self, event: HangUp) -> None:
        self.stop_opening()
        self.wire.end_write()

    def _close(self, event: CloseNow) -> None:
        self.stop_opening()
        self.wire.close()

    def _abort(self, event: AbortNow) -> None:
        self.abort()

    def abort(self) -> None:
        """Tear the connection."""
        self.stop_opening()
        self.wire.abort()
