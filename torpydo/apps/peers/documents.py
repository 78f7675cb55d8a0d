"""Fetches the document that names the first peers, through the client's circuits and never beside them."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import RequestTransmissionFailed, ResponseDone, ResponseFailed
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IResponse

from torpydo.errors import BootstrapError, ConfigurationError, TorpydoError
from torpydo.peers import MAX_DOCUMENT, Document

__all__ = ["check_url", "fetch_document"]

TIMEOUT: Final = 60.0
"""Seconds for everything."""
_EXPECTED: Final = (
    TorpydoError, ConnectError, ConnectionClosed, ResponseFailed, RequestTransmissionFailed, PotentialDataLoss
)  # fmt: skip
_TOO_LONG: Final = f"the document that names peers has more than {MAX_DOCUMENT} bytes"


_log = Logger()


def check_url(url: str) -> bytes:
    """A URL as an agent takes it.

    :raises ConfigurationError: if it is none
    """
    if not url.startswith(("http://", "https://")) or not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigurationError("the URL of a document that names peers begins with http:// or https://")
    return url.encode()


def fetch_document(reactor: Any, agent: IAgent, url: bytes, port: int) -> Deferred[Document]:
    """Ask for the document at *url*.

    :param port: of names in it without one
    :return: cancellable; fails with :class:`BootstrapError`
    """

    def expired(value: object, seconds: float) -> Failure:
        return Failure(BootstrapError("the document that names peers did not come in time"))

    def failed(failure: Failure) -> Failure:
        if failure.check(BootstrapError, CancelledError):
            return failure
        if not failure.check(*_EXPECTED):
            # Whatever breaks the HTTP library must not break its caller too.
            _log.failure("a document that names peers was fetched in an unexpected way", failure)
        return Failure(BootstrapError("the document that names peers cannot be fetched; is its web server reachable?"))

    asking: Deferred[Document] = Deferred.fromCoroutine(_fetch(agent, url, port))
    return asking.addTimeout(TIMEOUT, reactor, expired).addErrback(failed)


async def _fetch(agent: IAgent, url: bytes, port: int) -> Document:
    # The same headers for everybody; no redirect is followed.
    response = await agent.request(b"GET", url, Headers({b"user-agent": [b"torpydo"]}))
    return Document.decode(await _read(response), port)


def _refusal(response: IResponse) -> str | None:
    if response.code != 200:
        return f"the web server answers {response.code}, and not with a document that names peers"
    if response.length is not UNKNOWN_LENGTH and response.length > MAX_DOCUMENT:
        return _TOO_LONG
    return None


def _read(response: IResponse) -> Deferred[bytes]:
    body = _Body(_refusal(response))
    # Also if it is not wanted: a body that nobody takes keeps its connection open, and waits for ever.
    response.deliverBody(body)
    return body.done


class _Body(Protocol):
    """Collects a body, up to the limit.

    :param refusal: why nothing of it is wanted
    """

    def __init__(self, refusal: str | None) -> None:
        self._data = bytearray()
        self._refusal = refusal
        self.done: Deferred[bytes] = Deferred(lambda _: self._close())

    def connectionMade(self) -> None:
        if self._refusal is not None:
            self._refuse(self._refusal)

    def _refuse(self, why: str) -> None:
        self.done.errback(BootstrapError(why))
        self._close()

    def _close(self) -> None:
        # The HTTP library's transport cannot be aborted.
        if self.transport is not None:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        if self.done.called:
            return
        self._data += data
        if len(self._data) > MAX_DOCUMENT:
            self._refuse(_TOO_LONG)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called:
            return
        if reason.check(ResponseDone):
            self.done.callback(bytes(self._data))
        else:
            self.done.errback(BootstrapError("the document that names peers did not come to its end"))
