"""One GET over endpoints that someone else chooses; the demo and ``torpydo fetch`` both use it.

A download is whole, or it is an error: a torn connection, a body shorter than announced and silence all raise.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import attrs
from OpenSSL.SSL import Error as TLSError
from service_identity import VerificationError
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionClosed,
    ConnectionDone,
    ConnectionLost,
)
from twisted.internet.interfaces import IProtocolFactory, IPushProducer, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.python.url import URL
from twisted.web.client import (
    URI,
    Agent,
    BrowserLikePolicyForHTTPS,
    ResponseDone,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IAgentEndpointFactory, IResponse
from zope.interface import implementer

from torpydo.cli.output import Output
from torpydo.cli.progress import Progress
from torpydo.errors import ConfigurationError, StreamFailed, StreamReset, TorpydoError

__all__ = ["NO_URL", "Download", "EndpointFor", "Target", "download", "read_url", "request"]

# Seconds without a byte, before and during the answer.
SILENCE = 60.0

# What hyperlink raises for a text that is no URL; the last for a host with a colon and with bytes that are no text.
NO_URL = (ValueError, NotImplementedError, UnboundLocalError)

_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_TORN = "the connection was torn before its end; what came is not whole"

# What an agent's request fails with when it is not one of our own errors.
_FAILURES = (
    ResponseFailed,
    ResponseNeverReceived,
    TLSError,
    VerificationError,
    TimeoutError,
    ConnectError,
    ConnectingCancelledError,
    ConnectionClosed,
)

EndpointFor = Callable[[str, int], IStreamClientEndpoint]


@attrs.frozen
class Target:
    """A URL, taken apart."""

    url: str
    """As the server is asked for it: ASCII only."""
    host: str
    port: int
    name: str
    """The last part of its path, a name for a file; may be empty."""


@attrs.frozen
class Download:
    """What came."""

    size: int
    first_byte: float
    """Seconds from the request to the first byte of the answer's body."""
    seconds: float
    """Seconds from the request to the last byte."""


def read_url(text: str) -> Target:
    """Take a URL apart.

    :raises ConfigurationError: if it is not one of http or https with a host
    """
    try:
        url = URL.fromText(text)
        # An IPv6 literal is no name that could be encoded.
        url = url.replace(host="ipv6").asURI().replace(host=url.host) if ":" in url.host else url.asURI()
        port = url.port
    except NO_URL as error:
        why = f": {error}" if isinstance(error, ValueError) else ""
        raise ConfigurationError(f"{text!r} is not a URL{why}") from error
    if url.scheme not in ("http", "https") or not url.host or port is None or not 1 <= port <= 65535:
        raise ConfigurationError(f"{text!r} is not an http or https URL; it must look like https://example.org/file")
    if url.userinfo:
        raise ConfigurationError("a URL with a user name or password is not supported")
    segments = [part for part in url.path if part not in ("", ".", "..")]
    name = URL(path=segments[-1:]).asIRI().path[0] if segments and url.path[-1] else ""
    return Target(url.replace(fragment="").asText(), url.host, port, name.replace("/", "_"))


class _Ending(ProtocolWrapper):
    """Remembers how the connection ended, which an HTTP answer without a length does not tell."""

    torn = False

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.torn = not reason.check(ConnectionDone)
        ProtocolWrapper.connectionLost(self, reason)


@implementer(IStreamClientEndpoint)
class _EndingEndpoint:
    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint
        self.connection: _Ending | None = None

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        factory = WrappingFactory(protocolFactory)
        factory.noisy = False
        factory.protocol = _Ending
        connected: Deferred[Any] = self._endpoint.connect(factory)
        return connected.addCallback(self._connected)

    def _connected(self, connection: _Ending) -> Any:
        self.connection = connection
        return connection.wrappedProtocol


@implementer(IAgentEndpointFactory)
class _Endpoints:
    """Gives the agent an endpoint for a URI, with TLS in front when the URI wants it."""

    def __init__(self, endpoint_for: EndpointFor) -> None:
        self._endpoint_for = endpoint_for
        self._tls = BrowserLikePolicyForHTTPS()
        self.given: _EndingEndpoint | None = None

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        endpoint = self._endpoint_for(uri.host.decode("ascii").strip("[]"), uri.port)
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(self._tls.creatorForNetloc(uri.host, uri.port), endpoint)
        self.given = _EndingEndpoint(endpoint)
        return self.given

    def torn(self) -> bool:
        """Whether the connection ended with anything but a clean close."""
        return self.given is not None and self.given.connection is not None and self.given.connection.torn


@attrs.frozen
class Answer:
    """A server's answer whose body has not been read."""

    response: IResponse
    asked_at: float
    torn: Callable[[], bool]

    @property
    def status(self) -> str:
        """``404 Not Found``, in the words of RFC 9110: a terminal might obey those of the server."""
        return f"{self.response.code} {_PHRASES.get(self.response.code, '')}".rstrip()

    @property
    def length(self) -> int | None:
        """How many bytes the server has announced."""
        length: object = self.response.length
        return length if isinstance(length, int) else None

    @property
    def location(self) -> str | None:
        """Where the server sends us instead."""
        values: list[bytes] | None = self.response.headers.getRawHeaders(b"location")
        if not values or self.response.code not in (301, 302, 303, 307, 308):
            return None
        return values[0].decode("utf-8", "replace")

    def drop(self) -> None:
        """The body is of no interest."""
        self.response.deliverBody(_Nobody())


class _Nobody(Protocol):
    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.loseConnection()


def _plain(error: BaseException | None, target: Target) -> TorpydoError:
    """The error that a person should see."""
    if isinstance(error, ResponseFailed) and error.reasons:
        return _plain(error.reasons[0].value, target)
    if isinstance(error, TorpydoError):
        return error
    if isinstance(error, VerificationError):
        return StreamFailed(f"the certificate of {target.host} is for another name; nothing was sent to it")
    if isinstance(error, TLSError):
        return StreamFailed(f"no trusted TLS connection to {target.host}: {_tls_reason(error)}")
    # An agent that was cancelled by the time-out says only that it was cancelled.
    if isinstance(error, TimeoutError | CancelledError | ConnectingCancelledError):
        return StreamFailed(f"{target.host} said nothing for {SILENCE:.0f} seconds")
    if isinstance(error, ConnectError):
        return StreamFailed(f"{target.host} cannot be reached")
    if isinstance(error, ConnectionLost):
        return StreamReset(_TORN)
    return StreamFailed(f"{target.host} answered with something that is not HTTP, or not all of it ({error})")


def _tls_reason(error: TLSError) -> str:
    reasons = error.args[0] if error.args else ()
    return ", ".join(reason[-1] for reason in reasons) if isinstance(reasons, list) and reasons else "it was closed"


async def request(reactor: Any, endpoint_for: EndpointFor, target: Target) -> Answer:
    """Ask for *target* and wait for the head of the answer.

    :raises TorpydoError: if no answer comes
    """
    endpoints = _Endpoints(endpoint_for)
    agent = Agent.usingEndpointFactory(reactor, endpoints)
    asked_at = reactor.seconds()
    try:
        response = await agent.request(b"GET", target.url.encode("ascii")).addTimeout(SILENCE, reactor)
    except (TorpydoError, *_FAILURES) as error:
        raise _plain(error, target) from error
    return Answer(response, asked_at, endpoints.torn)


class _Body(Protocol):
    """Hands the body on and watches for silence."""

    def __init__(self, reactor: Any, output: Output, progress: Progress) -> None:
        self._reactor = reactor
        self._output = output
        self._progress = progress
        self._silence = reactor.callLater(SILENCE, self._silent)
        self.size = 0
        self.first_at: float | None = None
        self.ending: Failure | None = None
        self.done: Deferred[None] = Deferred(lambda _: self._hang_up())

    def _hang_up(self) -> None:
        if self._silence.active():
            self._silence.cancel()
        if self.transport is not None:
            self.transport.loseConnection()

    def _end(self, reason: Failure) -> None:
        # At once: a connection that is silent may never say that it has closed.
        if not self.done.called:
            self.ending = reason
            self.done.callback(None)
        self._hang_up()

    def _silent(self) -> None:
        self._end(Failure(TimeoutError()))

    def connectionMade(self) -> None:
        assert self.transport is not None
        self._output.follow(IPushProducer(self.transport))

    def dataReceived(self, data: bytes) -> None:
        if self.done.called:
            return
        if self.first_at is None:
            self.first_at = self._reactor.seconds()
        self._silence.reset(SILENCE)
        self.size += len(data)
        self._progress.update(len(data))
        try:
            self._output.write(data)
        except TorpydoError:
            self._end(Failure())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.transport = None
        self._end(reason)


async def download(reactor: Any, answer: Answer, target: Target, output: Output, progress: Progress) -> Download:
    """Take the whole body.

    :raises TorpydoError: if it is not whole; *output* is left for the caller to abandon
    """
    body = _Body(reactor, output, progress)
    answer.response.deliverBody(body)
    await body.done
    output.check()
    ending = body.ending
    assert ending is not None
    if ending.check(PotentialDataLoss):
        if answer.torn():
            raise StreamReset(_TORN)
    elif not ending.check(ResponseDone):
        raise _plain(ending.value, target)
    finished = reactor.seconds()
    first = finished if body.first_at is None else body.first_at
    return Download(body.size, first - answer.asked_at, finished - answer.asked_at)
