"""One bounded HTTP request to a pool.

Whatever a pool or a mirror answers, a fetch ends in time, in bounded memory, and with bytes or with
:class:`PoolUnreachable`. It sends the same headers for everybody, keeps no cookies, follows no redirects and
uses no connection twice, so a pool cannot tell its readers apart by them. What the bytes mean is for directory.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, Final

import attrs
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import (
    ConnectError,
    ConnectionClosed,
    ConnectionRefusedError,
    DNSLookupError,
    TCPTimedOutError,
)
from twisted.internet.error import TimeoutError as ConnectTimedOutError
from twisted.internet.interfaces import IConsumer, IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, RequestTransmissionFailed, ResponseFailed
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer
from zope.interface import implementer

from torpydo.errors import PoolUnreachable
from torpydo.net.httpbody import read_body

__all__ = ["Fetched", "fetch"]

MAX_BODY: Final = 16 * 1024 * 1024
"""Bytes of an answer after decompression: what tor allows a consensus."""
_HEADERS_ROOM: Final = 64 * 1024
"""Bytes that an answer may have on the wire beside its body."""
_USER_AGENT: Final = b"torpydo"

_log = Logger()


@attrs.frozen
class Fetched:
    """An answer.

    :ivar body: whole and decompressed
    :ivar etag: the header without quotes, for people; what is sent next time is computed from the body
    :ivar not_modified: the body that the caller's *etag* names is still the current one
    """

    status: int
    body: bytes
    etag: str | None
    not_modified: bool


def fetch(
    reactor: Any,
    host: str,
    port: int,
    path: str,
    *,
    method: bytes = b"GET",
    body: bytes | None = None,
    limit: int = MAX_BODY,
    timeout: float = 60.0,
    etag: str | None = None,
) -> Deferred[Fetched]:
    """Ask *host* for *path*.

    :param host: a host name or an IP literal without brackets
    :param limit: bytes that the body may have
    :param timeout: seconds for everything
    :param etag: of the body that the caller holds, without quotes
    :return: fails with :class:`PoolUnreachable`; cancelling it closes the connection
    """
    connection = _Connection(_endpoint(reactor, host, port, timeout), limit)
    pool = f"the pool at {_netloc(host, port)}"

    def cancelled(deferred: Deferred[Fetched]) -> None:
        # The agent turns a cancellation into errors of its own: ours is first.
        deferred.errback(CancelledError())
        asking.cancel()

    def expired() -> None:
        result.errback(PoolUnreachable(f"{pool} cannot be asked: it did not answer in time"))
        asking.cancel()

    def finished(value: Fetched | Failure) -> None:
        if timer.active():
            timer.cancel()
        connection.abort()
        if result.called:
            return
        if isinstance(value, Failure) and not value.check(PoolUnreachable):
            value = Failure(PoolUnreachable(f"{pool} cannot be asked: {_reason(value)}"))
        result.callback(value)

    result: Deferred[Fetched] = Deferred(cancelled)
    timer = reactor.callLater(timeout, expired)
    asking = Deferred.fromCoroutine(_ask(reactor, connection, host, port, path, method, body, limit, etag))
    asking.addBoth(finished)
    return result


async def _ask(
    reactor: Any,
    connection: _Connection,
    host: str,
    port: int,
    path: str,
    method: bytes,
    body: bytes | None,
    limit: int,
    etag: str | None,
) -> Fetched:
    headers = Headers({b"user-agent": [_USER_AGENT], b"accept-encoding": [b"gzip"]})
    if etag is not None:
        headers.addRawHeader(b"if-none-match", f'"{etag}"'.encode("ascii"))
    agent = Agent.usingEndpointFactory(reactor, connection)
    producer = None if body is None else _Body(body)
    response = await agent.request(method, f"http://{_netloc(host, port)}{path}".encode("ascii"), headers, producer)
    data = await read_body(response, limit, f"the pool at {_netloc(host, port)}")
    tags = response.headers.getRawHeaders(b"etag", [])
    tag = tags[0].decode("ascii", "replace").removeprefix("W/").strip('"') if len(tags) == 1 else None
    return Fetched(response.code, data, tag, etag is not None and response.code == 304)


def _netloc(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _endpoint(reactor: Any, host: str, port: int, timeout: float) -> IStreamClientEndpoint:
    try:
        version = ip_address(host).version
    except ValueError:
        return HostnameEndpoint(reactor, host, port, timeout)
    # An IP literal needs no resolver.
    kind = TCP4ClientEndpoint if version == 4 else TCP6ClientEndpoint
    return kind(reactor, host, port, timeout)


_REASONS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (DNSLookupError, "its name does not resolve"),
    (ConnectionRefusedError, "it refuses connections; is the pool running?"),
    (TCPTimedOutError, "it did not answer in time"),
    (ConnectTimedOutError, "it did not answer in time"),
    (ConnectError, "it cannot be reached"),
    (ConnectionClosed, "it closed the connection"),
    (ResponseFailed, "what it answers is not whole"),
    (PotentialDataLoss, "what it answers is not whole"),
    (RequestTransmissionFailed, "it closed the connection"),
    (OSError, "it cannot be reached"),
)


def _reason(failure: Failure) -> str:
    """What to tell people. Never a word that the pool chose."""
    for kind, words in _REASONS:
        if failure.check(kind):
            return words
    # A pool that breaks the HTTP library must not break its caller too.
    _log.failure("a fetch failed in an unexpected way", failure)
    return "what it answers cannot be understood"


# -- The connection: one, counted


class _Wire(ProtocolWrapper):
    """Counts what arrives, headers included, and hangs up when it is too much."""

    left = 0

    def dataReceived(self, data: bytes) -> None:
        self.left -= len(data)
        if self.left < 0:
            self.abortConnection()
        else:
            self.wrappedProtocol.dataReceived(data)


@implementer(IAgentEndpointFactory, IStreamClientEndpoint)
class _Connection:
    """What the agent is given to connect with."""

    def __init__(self, endpoint: IStreamClientEndpoint, limit: int) -> None:
        self._endpoint = endpoint
        self._limit = limit
        self._wires: WrappingFactory[_Wire] | None = None

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        return self

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        wires: WrappingFactory[_Wire] = WrappingFactory(protocolFactory)
        wires.protocol = self._wire
        for factory in (wires, protocolFactory):
            if isinstance(factory, Factory):
                factory.noisy = False
        self._wires = wires
        connected: Deferred[Any] = self._endpoint.connect(wires)
        return connected.addCallback(_unwrapped)

    def _wire(self, factory: WrappingFactory[_Wire], protocol: IProtocol) -> _Wire:
        wire = _Wire(factory, protocol)
        wire.left = self._limit + _HEADERS_ROOM
        return wire

    def abort(self) -> None:
        """Close the connection, if there is one."""
        if self._wires is not None:
            for wire in list(self._wires.protocols):
                wire.abortConnection()


def _unwrapped(wire: _Wire) -> IProtocol:
    return wire.wrappedProtocol


@implementer(IBodyProducer)
class _Body:
    """A request body that is in memory. Twisted's own producer takes its time from the global reactor."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.length = len(data)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self._data)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Everything was written at once."""

    def resumeProducing(self) -> None:
        """Everything was written at once."""

    def stopProducing(self) -> None:
        """Everything was written at once."""
