"""What a pool answers over HTTP: heartbeats, the listing, the time, and a page for people.

One resource that looks a path up in a table. It decides nothing about nodes (admission) or listings (publisher).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from torpydo.crypto import PoolId
from torpydo.net import Buckets, Refusals
from torpydo.pool import refusal
from torpydo.pool.admission import Admission
from torpydo.pool.limits import PoolLimits
from torpydo.pool.page import CONTENT_SECURITY_POLICY, render_page
from torpydo.pool.peers import peer_key
from torpydo.pool.publisher import Published, Publisher
from torpydo.pool.refusal import PoolRefusal, Refused

__all__ = ["PoolResource"]

LISTING_AGE: Final = 10
"""Seconds for which a cache may answer without asking the pool."""
PAGE_AGE: Final = 5.0
"""Seconds for which the page is kept: it is the only answer that takes long to make."""

PIECE: Final = 64 * 1024
"""Bytes that are handed to a connection at a time."""

_PLAIN: Final = "text/plain; charset=utf-8"
_BINARY: Final = "application/octet-stream"
_REASONS: Final = {
    422: b"Unprocessable Content",
    428: b"Precondition Required",
    429: b"Too Many Requests",
}
"""Of the statuses that Twisted has no words for."""


@attrs.frozen
class Answer:
    """What goes back."""

    status: int
    body: bytes
    content_type: str = _PLAIN
    headers: tuple[tuple[str, str], ...] = (("Cache-Control", "no-store"),)


Handler = Callable[[Request], "Answer | Deferred[Answer]"]


class PoolResource(Resource):
    """All paths of a pool.

    :param limits: those that count in this kind of network
    :param refusals: told of every heartbeat that is refused
    :param clock: seconds that never go back
    :param wall_clock: seconds since the epoch
    """

    log = Logger()
    isLeaf = True

    def __init__(
        self,
        pool_id: PoolId,
        admission: Admission,
        publisher: Publisher,
        *,
        limits: PoolLimits,
        refusals: Refusals,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        test_network: bool,
    ) -> None:
        Resource.__init__(self)
        self._pool_id = pool_id
        self._admission = admission
        self._publisher = publisher
        self._clock = clock
        self._wall_clock = wall_clock
        self._test_network = test_network
        self._refusals = refusals
        self._hosts = Buckets(clock, limits.heartbeats_per_host, limits.heartbeats_per_host_burst)
        self._total = Buckets(clock, limits.heartbeats_per_second, limits.heartbeats_burst)
        self._page = b""
        self._page_at = float("-inf")
        self._table: dict[bytes, tuple[bytes, Handler]] = {
            b"": (b"GET", self._get_page),
            b"v1/heartbeat": (b"POST", self._post_heartbeat),
            b"v1/listing": (b"GET", self._get_listing),
            b"v1/time": (b"GET", self._get_time),
        }

    def render(self, request: Request) -> int:
        """Answer a request."""
        result: Deferred[Any] = maybeDeferred(self._find(request), request)
        gone: list[Failure] = []
        request.notifyFinish().addErrback(gone.append)

        def failed(failure: Failure) -> Answer:
            if not failure.check(CancelledError):
                self.log.failure("a request could not be answered", failure)
            return Answer(500, b"the pool could not do this\n")

        def answer(value: Answer) -> None:
            if not gone:
                _send(request, value)

        result.addErrback(failed).addCallback(answer)
        result.addErrback(lambda failure: self.log.failure("an answer could not be sent", failure))
        return NOT_DONE_YET

    def prune(self) -> None:
        """Forget what is not needed any more."""
        self._hosts.prune()

    # -- Finding who answers

    def _find(self, request: Request) -> Handler:
        method, handler = self._table.get(b"/".join(request.postpath or []), (b"", _not_found))
        # HEAD is a GET whose body Twisted leaves out.
        asked = b"GET" if request.method == b"HEAD" else request.method
        if method and asked != method:
            return _other_method("GET, HEAD" if method == b"GET" else "POST")
        return handler

    # -- The answers

    def _post_heartbeat(self, request: Request) -> Deferred[Answer]:
        return Deferred.fromCoroutine(self._heartbeat(request))

    async def _heartbeat(self, request: Request) -> Answer:
        host = peer_key(request.getClientAddress())
        try:
            if host is not None and not self._hosts.take(host):
                why = "too many heartbeats from this address"
                raise Refused(refusal.TOO_MANY, PoolRefusal.HEARTBEATS_PER_HOST, why, 10.0)
            if not self._total.take(b""):
                why = "the pool has too many heartbeats to read"
                raise Refused(refusal.BUSY, PoolRefusal.HEARTBEATS, why, 10.0)
            body = b"" if request.content is None else request.content.read()
            answer = await self._admission.heartbeat(body)
        except Refused as refused:
            self._refusals.add(refused.cause)
            return _refused(refused)
        return Answer(200, answer.encode(), _BINARY)

    def _get_listing(self, request: Request) -> Deferred[Answer]:
        return self._publisher.current().addCallback(self._listing, request)

    def _listing(self, published: Published, request: Request) -> Answer:
        etag = f'"{published.etag}"'
        # no-transform: the signature is over these bytes. The ETag names the bytes inside either encoding.
        headers = [("ETag", etag), ("Vary", "Accept-Encoding")]
        headers.append(("Cache-Control", f"public, no-transform, max-age={LISTING_AGE}"))
        if _names(_header(request, b"if-none-match"), etag):
            return Answer(304, b"", "", tuple(headers))
        if published.packed is not None and _accepts_gzip(_header(request, b"accept-encoding")):
            return Answer(200, published.packed, _BINARY, (*headers, ("Content-Encoding", "gzip")))
        return Answer(200, published.raw, _BINARY, tuple(headers))

    def _get_time(self, request: Request) -> Answer:
        return Answer(200, b"%d\n" % int(self._wall_clock()))

    def _get_page(self, request: Request) -> Answer:
        if self._clock() - self._page_at >= PAGE_AGE:
            self._page_at = self._clock()
            self._page = render_page(
                self._pool_id, self._admission.listed(), test_network=self._test_network, now=self._wall_clock()
            )
        headers = (("Content-Security-Policy", CONTENT_SECURITY_POLICY), ("Cache-Control", "no-store"))
        return Answer(200, self._page, "text/html; charset=utf-8", headers)


def _not_found(request: Request) -> Answer:
    return Answer(404, b"there is nothing here\n")


def _other_method(allowed: str) -> Handler:
    headers = (("Allow", allowed), ("Cache-Control", "no-store"))
    return lambda request: Answer(405, f"only {allowed} works here\n".encode(), headers=headers)


def _refused(refused: Refused) -> Answer:
    headers = [("Cache-Control", "no-store")]
    if refused.retry_after is not None:
        headers.append(("Retry-After", str(max(round(refused.retry_after), 1))))
    return Answer(refused.status, f"{refused}\n".encode(), headers=tuple(headers))


def _header(request: Request, name: bytes) -> str:
    """A header as text, empty if there is none. Asked by a name that is text, Twisted takes it for UTF-8."""
    value: bytes | None = request.getHeader(name)
    return "" if value is None else value.decode("latin-1")


def _names(header: str, etag: str) -> bool:
    """Whether an If-None-Match header has *etag*; a cache on the way may have called it weak."""
    return etag in [word.strip().removeprefix("W/") for word in header.split(",")]


def _accepts_gzip(header: str) -> bool:
    for word in header.lower().split(","):
        name, _, weight = word.replace(" ", "").partition(";")
        if name == "gzip":
            return weight.rstrip("0") not in ("q=", "q=0.")
    return False


def _send(request: Request, answer: Answer) -> None:
    request.setResponseCode(answer.status, _REASONS.get(answer.status))
    if answer.content_type:
        request.setHeader("Content-Type", answer.content_type)
    request.setHeader("X-Content-Type-Options", "nosniff")
    request.setHeader("Referrer-Policy", "no-referrer")
    for name, value in answer.headers:
        request.setHeader(name, value)
    if answer.status != 304:
        request.setHeader("Content-Length", str(len(answer.body)))
    if request.method == b"HEAD" or not answer.body:
        request.finish()
        return
    # What a slow reader has not taken stays in the one copy that all readers share.
    pieces = _Pieces(request, answer.body)
    request.registerProducer(pieces, True)
    pieces.resumeProducing()


@implementer(IPushProducer)
class _Pieces:
    """Writes a body piece by piece, as fast as its reader takes them. Twisted's own pulls with the global reactor."""

    def __init__(self, request: Request, body: bytes) -> None:
        self._request = request
        self._body = body
        self._place = 0
        self._paused = self._ended = False

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        while not self._paused and self._place < len(self._body):
            start, self._place = self._place, self._place + PIECE
            self._request.write(self._body[start : self._place])
        # Even when the last piece filled the reader's buffer: what is left to write is in that buffer.
        if self._place >= len(self._body) and not self._ended:
            self._ended = True
            self._request.unregisterProducer()
            self._request.finish()

    def stopProducing(self) -> None:
        self._paused = self._ended = True
