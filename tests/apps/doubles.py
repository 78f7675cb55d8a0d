"""Doubles for the proxies' tests: a transport that records, and a client whose endpoints are in memory.

Both are stricter than the real ones: what Twisted's transports forgive now and then is an error here.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IHalfCloseableProtocol,
    IProducer,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    IStreamClientEndpoint,
    ITCPTransport,
    ITransport,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from torpydo.apps.front import FrontFactory
from torpydo.client import FirstData


@implementer(ITransport, IConsumer, IPushProducer)
class TLSLikeTransport:
    """A transport that cannot end writing alone.

    :ivar calls: what was called, in order, writes aside
    """

    disconnecting = False

    def __init__(self, peer: IAddress | None = None) -> None:
        self.peer = peer or IPv4Address("TCP", "127.0.0.1", 50000)
        self.protocol: IProtocol | None = None
        self.written = bytearray()
        self.calls: list[str] = []
        self.paused = False
        self.read_ended = False
        self.write_ended = False
        self.gone = False
        self.producer: IPushProducer | None = None

    # ITransport

    def write(self, data: bytes) -> None:
        if self.write_ended or self.disconnecting:
            raise AssertionError("written to after the end of writing")
        self.written += data

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        self.write(b"".join(iovec))

    def loseConnection(self) -> None:
        if self.producer is not None:
            raise AssertionError("TLS never closes while a producer is registered")
        self.disconnecting = True
        self.calls.append("close")

    def abortConnection(self) -> None:
        self.disconnecting = True
        self.calls.append("abort")

    def getPeer(self) -> Any:
        return self.peer

    def getHost(self) -> Any:
        return IPv4Address("TCP", "127.0.0.1", 9050)

    # IConsumer

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        if self.producer is not None:
            raise RuntimeError("two producers")
        assert IPushProducer.providedBy(producer) and streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        if self.producer is None:
            raise AssertionError("no producer is registered")
        self.producer = None

    # IPushProducer

    def pauseProducing(self) -> None:
        if self.paused or self.read_ended or self.gone:
            raise AssertionError("paused without need")
        self.paused = True

    def resumeProducing(self) -> None:
        if not self.paused or self.read_ended or self.gone:
            raise AssertionError("resumed without need: a socket would report its EOF again")
        self.paused = False

    def stopProducing(self) -> None:
        self.loseConnection()

    # what a test makes happen

    def attach(self, protocol: IProtocol) -> None:
        self.protocol = protocol
        protocol.makeConnection(self)

    def deliver(self, data: bytes, *, on_its_way: bool = False) -> None:
        """Bytes come; only those that were *on_its_way* come to a transport that was paused."""
        assert self.protocol is not None and not self.read_ended
        assert on_its_way or not self.paused
        self.protocol.dataReceived(data)

    def end_reading(self) -> None:
        """The peer's EOF."""
        self.read_ended = True
        IHalfCloseableProtocol(self.protocol).readConnectionLost()

    def lose(self, reason: Exception) -> None:
        """The connection goes."""
        self.gone = True
        producer, self.producer = self.producer, None
        if producer is not None:
            producer.stopProducing()
        assert self.protocol is not None
        self.protocol.connectionLost(Failure(reason))

    def tear(self) -> None:
        """The peer resets the connection."""
        self.lose(ConnectionLost())

    def settle(self) -> None:
        """Let a close or an abort that was asked for happen."""
        if self.disconnecting and not self.gone:
            self.lose(ConnectionAborted() if self.calls[-1] == "abort" else ConnectionDone())

    def fill(self) -> None:
        """The buffer is full."""
        assert self.producer is not None
        self.producer.pauseProducing()

    def drain(self) -> None:
        """The buffer is empty."""
        assert self.producer is not None
        self.producer.resumeProducing()

    def take(self) -> bytes:
        """What was written since the last look."""
        data = bytes(self.written)
        self.written.clear()
        return data


@implementer(ITCPTransport)
class FakeTransport(TLSLikeTransport):
    """A transport that has a real half-close, as TCP's.

    :ivar options: what was set on the socket
    """

    def __init__(self, peer: IAddress | None = None) -> None:
        super().__init__(peer)
        self.options: dict[str, bool] = {}

    def getTcpNoDelay(self) -> bool:
        return self.options.get("no delay", False)

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.options["no delay"] = enabled

    def getTcpKeepAlive(self) -> bool:
        return self.options.get("keep alive", False)

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self.options["keep alive"] = enabled

    def loseWriteConnection(self) -> None:
        if self.producer is not None:
            raise AssertionError("writing ends only when no producer is registered")
        self.write_ended = True
        self.calls.append("half-close")


@attrs.define(eq=False)
class Attempt:
    """One stream that was asked for."""

    host: str
    port: int
    isolation: Hashable
    factory: IProtocolFactory
    result: Deferred[IProtocol]
    first: FirstData
    ahead: list[bytes] = attrs.field(factory=list)
    """What was sent before the stream was open."""
    cancelled: bool = False

    def __attrs_post_init__(self) -> None:
        self.first.attach(self.ahead.append)

    def succeed(self, transport: TLSLikeTransport | None = None) -> TLSLikeTransport:
        """The stream is open."""
        stream = transport or FakeTransport()
        self.first.detach()
        stream.written += b"".join(self.ahead)
        protocol = self.factory.buildProtocol(IPv4Address("TCP", "0.0.0.0", 0))
        assert protocol is not None
        stream.attach(protocol)
        self.result.callback(protocol)
        return stream

    def fail(self, error: Exception) -> None:
        """The stream cannot be opened."""
        self.result.errback(Failure(error))


@implementer(IStreamClientEndpoint)
@attrs.define(eq=False)
class FakeEndpoint:
    """An endpoint that waits for the test."""

    client: FakeClient
    host: str
    port: int
    isolation: Hashable
    first: FirstData

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        def cancel(_: Deferred[IProtocol]) -> None:
            attempt.cancelled = True

        attempt = Attempt(self.host, self.port, self.isolation, protocolFactory, Deferred(cancel), self.first)
        self.client.attempts.append(attempt)
        if self.client.instant:
            attempt.succeed(self.client.instant.pop(0))
        return attempt.result


@attrs.define(eq=False)
class FakeClient:
    """A client without a network.

    :ivar instant: transports for streams that open before ``connect`` returns
    """

    allows_private_destinations: bool = False
    instant: list[TLSLikeTransport] = attrs.field(factory=list)
    attempts: list[Attempt] = attrs.field(factory=list)
    lookups: list[tuple[str, Hashable, Deferred[list[tuple[str, int]]]]] = attrs.field(factory=list)
    cancelled_lookups: list[str] = attrs.field(factory=list)

    def endpoint(
        self, host: str, port: int, *, isolation: Hashable = None, first_data: bytes | FirstData = b""
    ) -> IStreamClientEndpoint:
        first = FirstData(first_data) if isinstance(first_data, bytes) else first_data
        return FakeEndpoint(self, host, port, isolation, first)

    def resolve(self, host: str, *, isolation: Hashable = None) -> Deferred[list[tuple[str, int]]]:
        result: Deferred[list[tuple[str, int]]] = Deferred(lambda _: self.cancelled_lookups.append(host))
        self.lookups.append((host, isolation, result))
        return result


def connect(factory: FrontFactory, transport: TLSLikeTransport | None = None) -> TLSLikeTransport:
    """An application connects to a listener."""
    near = transport or FakeTransport()
    protocol = factory.buildProtocol(near.getPeer())
    assert protocol is not None
    near.attach(protocol)
    return near


def feeds(data: bytes) -> list[list[bytes]]:
    """The ways in which bytes may arrive: whole, one by one, and cut in two at every place."""
    single = [data[i : i + 1] for i in range(len(data))]
    return [[data], single, *([data[:i], data[i:]] for i in range(1, len(data)))]
