"""A transport for protocols that are fed by hand, and a client for proxies whose streams are fed by hand.

The driver delivers, and the protocol hears of its own end only when the driver says so, as from a reactor.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, cast

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    IProducer,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    IStreamClientEndpoint,
    ITransport,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from torpydo.client import FirstData
from torpydo.errors import ConnectRefused

__all__ = ["Streams", "Wire"]

HERE = IPv4Address("TCP", "127.0.0.1", 9050)
THERE = IPv4Address("TCP", "5.5.5.5", 50000)


@implementer(ITransport, IConsumer, IPushProducer)
class Wire:
    """One connection.

    :ivar written: what the protocol has sent
    :ivar open: until the protocol was told of the end
    """

    disconnecting = False

    def __init__(self, peer: Any = THERE) -> None:
        self.written = bytearray()
        self.open = True
        self._peer = peer
        self._protocol: Any = None
        self._aborted = False
        self._heard_eof = False

    # -- What the driver does

    def attach(self, protocol: IProtocol) -> None:
        """The connection is open."""
        self._protocol = protocol
        protocol.makeConnection(self)

    def feed(self, pieces: Iterable[bytes]) -> None:
        """Deliver *pieces*, as long as the protocol reads."""
        for piece in pieces:
            if not self._settle():
                break
            self._protocol.dataReceived(piece)
        self._settle()

    def end(self) -> None:
        """The other side sends no more."""
        if not self._settle() or self._heard_eof:
            return
        self._heard_eof = True
        if IHalfCloseableProtocol.providedBy(self._protocol):
            self._protocol.readConnectionLost()
            self._settle()
        else:
            self._lose(ConnectionDone())

    def lose(self) -> None:
        """The other side is gone."""
        if self._settle():
            self._lose(ConnectionDone() if self._heard_eof else ConnectionAborted())

    def _settle(self) -> bool:
        """Tell the protocol that it has closed the connection, if it has; gives whether it is still open."""
        if self.open and self.disconnecting:
            self._lose(ConnectionAborted() if self._aborted else ConnectionDone())
        return self.open

    def _lose(self, error: Exception) -> None:
        self.open = False
        self._protocol.connectionLost(Failure(error))

    # -- What the protocol calls

    def write(self, data: bytes) -> None:
        """See ``ITransport``."""
        if self.open and not self.disconnecting:
            self.written += data

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """See ``ITransport``."""
        self.write(b"".join(iovec))

    def loseConnection(self) -> None:
        """See ``ITransport``."""
        self.disconnecting = True

    def abortConnection(self) -> None:
        """See ``ITCPTransport``."""
        self.disconnecting = self._aborted = True

    def loseWriteConnection(self) -> None:
        """See ``IHalfCloseableDescriptor``."""

    def getPeer(self) -> Any:
        """See ``ITransport``."""
        return self._peer

    def getHost(self) -> Any:
        """See ``ITransport``."""
        return HERE

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """See ``IConsumer``: there is always room."""

    def unregisterProducer(self) -> None:
        """See ``IConsumer``."""

    def pauseProducing(self) -> None:
        """See ``IPushProducer``: what is on its way comes all the same."""

    def resumeProducing(self) -> None:
        """See ``IPushProducer``."""

    def stopProducing(self) -> None:
        """See ``IPushProducer``."""
        self.loseConnection()


@implementer(IStreamClientEndpoint)
@attrs.define(eq=False)
class _Asked:
    """One stream that an application wants."""

    streams: Streams
    host: str
    port: int
    first: FirstData
    said: bytearray = attrs.field(factory=bytearray)
    waiting: Deferred[IProtocol] | None = None
    factory: IProtocolFactory | None = None

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        self.factory = protocolFactory
        self.waiting = Deferred(lambda cancelled: self.streams.waiting.remove(self))
        self.streams.waiting.append(self)
        self.first.attach(self.said.extend)
        return self.waiting


@attrs.define(eq=False)
class Streams:
    """A client, as far as a proxy knows it.

    :ivar waiting: streams that are being opened
    :ivar lookups: names that are being resolved
    :ivar opened: streams that were opened, with their destinations
    :ivar told: every host that went further than the proxy
    """

    allows_private_destinations: bool = False
    waiting: list[_Asked] = attrs.field(factory=list)
    lookups: list[Deferred[list[tuple[str, int]]]] = attrs.field(factory=list)
    opened: list[tuple[str, int, Wire]] = attrs.field(factory=list)
    told: list[str] = attrs.field(factory=list)

    def endpoint(
        self, host: str, port: int, *, isolation: Hashable = None, first_data: bytes | FirstData = b""
    ) -> IStreamClientEndpoint:
        """See ``NetworkClient``."""
        self.told.append(host)
        first = first_data if isinstance(first_data, FirstData) else FirstData(first_data)
        return cast(IStreamClientEndpoint, _Asked(self, host, port, first))

    def resolve(self, host: str, *, isolation: Hashable = None) -> Deferred[list[tuple[str, int]]]:
        """See ``NetworkClient``."""
        self.told.append(host)
        lookup: Deferred[list[tuple[str, int]]] = Deferred(self.lookups.remove)
        self.lookups.append(lookup)
        return lookup

    def settle(self, refuse: bool, use: Callable[[Wire], None]) -> bool:
        """Let everything that waits succeed, or be refused; *use* gets each stream. Gives whether anything did wait."""
        waiting, self.waiting = self.waiting, []
        lookups, self.lookups = self.lookups, []
        for lookup in lookups:
            if refuse:
                lookup.errback(ConnectRefused())
            else:
                lookup.callback([("2a00::1", 60), ("1.2.3.4", 60)])
        for asked in waiting:
            assert asked.waiting is not None and asked.factory is not None
            asked.first.detach()
            protocol = None if refuse else asked.factory.buildProtocol(HERE)
            if protocol is None:
                asked.waiting.errback(ConnectRefused())
                continue
            asked.first.finish()
            wire = Wire()
            wire.written += asked.said
            self.opened.append((asked.host, asked.port, wire))
            wire.attach(protocol)
            asked.waiting.callback(protocol)
            use(wire)
        return bool(waiting or lookups)
