"""The body of an HTTP answer: whole, plain or gzip, never more than was allowed. Called by fetch."""

from __future__ import annotations

import zlib
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.iweb import UNKNOWN_LENGTH, IResponse

from torpydo.errors import PoolUnreachable

__all__ = ["read_body"]

MAX_RATIO: Final = 10
"""How many times larger than its gzip form a body may be: keys and signatures hardly shrink."""
FREE_OF_RATIO: Final = 64 * 1024
"""Bytes up to which the ratio is not looked at."""


def read_body(response: IResponse, limit: int, who: str) -> Deferred[bytes]:
    """Read the whole body.

    :param limit: bytes that it may have when decompressed
    :param who: what to call the sender in an error
    :return: fails with :class:`PoolUnreachable` when the body is too large, or with what ended it too early; the
        connection is then the caller's to close
    """
    collector = _Collector(_choose(response, limit, who))
    response.deliverBody(collector)
    return collector.done


def _choose(response: IResponse, limit: int, who: str) -> _Plain:
    if response.length is not UNKNOWN_LENGTH and response.length > limit:
        raise PoolUnreachable(f"{who} answers with more than {limit} bytes")
    encodings = response.headers.getRawHeaders(b"content-encoding", [])
    if not encodings:
        return _Plain(limit, who)
    if [encoding.lower() for encoding in encodings] == [b"gzip"]:
        return _Gzip(limit, who)
    raise PoolUnreachable(f"{who} answers in an encoding that was not asked for")


class _Plain:
    """A body as it is."""

    def __init__(self, limit: int, who: str) -> None:
        self._limit = limit
        self._who = who
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes.

        :raises PoolUnreachable: if they are too many
        """
        self._size += len(data)
        if self._size > self._limit:
            raise PoolUnreachable(f"{self._who} answers with more than {self._limit} bytes")
        self._parts.append(data)

    def finish(self) -> bytes:
        """The whole body.

        :raises PoolUnreachable: if an end is missing
        """
        return b"".join(self._parts)


class _Gzip(_Plain):
    """A body in gzip form: exactly one whole member, or nothing."""

    def __init__(self, limit: int, who: str) -> None:
        super().__init__(limit, who)
        self._inflate = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        self._packed = 0

    def feed(self, data: bytes) -> None:
        self._packed += len(data)
        allowed = min(self._limit, max(FREE_OF_RATIO, self._packed * MAX_RATIO))
        try:
            # One byte more than allowed is enough to know; the rest of a bomb is never unpacked.
            unpacked = self._inflate.decompress(data, allowed - self._size + 1)
        except zlib.error:
            raise PoolUnreachable(f"{self._who} answers with broken gzip") from None
        super().feed(unpacked)
        if self._size > allowed:
            raise PoolUnreachable(f"{self._who} answers with gzip that unpacks to too much")
        if self._inflate.unused_data:
            raise PoolUnreachable(f"{self._who} answers with broken gzip")

    def finish(self) -> bytes:
        # A 304 may name an encoding and has no body at all.
        if self._packed and not self._inflate.eof:
            raise PoolUnreachable(f"{self._who} answers with broken gzip")
        return super().finish()


class _Collector(Protocol):
    """Hands a body on and says when it has ended."""

    def __init__(self, body: _Plain) -> None:
        self._body = body
        self.done: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        if self.done.called:
            return
        try:
            self._body.feed(data)
        except PoolUnreachable:
            self.done.errback()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called:
            return
        if not reason.check(ResponseDone):
            self.done.errback(reason)
            return
        try:
            self.done.callback(self._body.finish())
        except PoolUnreachable:
            self.done.errback()
