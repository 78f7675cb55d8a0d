"""The demo's web server: as many bytes as the URL asks for, the same ones every time.

``python -m torpydo.cli.samples PORT`` serves ``/SIZE`` on 127.0.0.1 until it is ended; SIZE is a number of bytes,
or of MiB with an M behind it. Whoever downloads knows what must come: :func:`sample_digest`.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterator

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IPullProducer, IReactorTCP
from twisted.internet.task import react
from twisted.web.http import Request as HTTPRequest
from twisted.web.pages import notFound
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import implementer

__all__ = ["MEBIBYTE", "SampleWeb", "sample_digest", "samples"]

MEBIBYTE = 1 << 20
LARGEST = 1 << 40

# One block is hashed output, so it does not compress; each repeats it behind its own number, so none equals another.
_BLOCK = 256 * 1024
_FILL = hashlib.shake_256(b"torpydo samples").digest(_BLOCK - 8)


def samples(size: int) -> Iterator[bytes]:
    """The first *size* bytes of the sample data, block by block."""
    for number in range(-(-size // _BLOCK)):
        yield (number.to_bytes(8) + _FILL)[: size - number * _BLOCK]


def sample_digest(size: int) -> str:
    """The SHA-256 of the first *size* bytes, as hexadecimal text."""
    digest = hashlib.sha256()
    for block in samples(size):
        digest.update(block)
    return digest.hexdigest()


@implementer(IPullProducer)
class SampleProducer:
    """Writes one block whenever the connection has room."""

    def __init__(self, request: HTTPRequest, blocks: Iterator[bytes]) -> None:
        self._request = request
        self._blocks = blocks

    def resumeProducing(self) -> None:
        block = next(self._blocks, None)
        if block is None:
            self._request.unregisterProducer()
            self._request.finish()
        else:
            self._request.write(block)

    def stopProducing(self) -> None:
        self._blocks = iter(())


class Sample(Resource):
    """*size* bytes."""

    isLeaf = True

    def __init__(self, size: int) -> None:
        Resource.__init__(self)
        self._size = size

    def render_GET(self, request: Request) -> int | bytes:
        request.setHeader(b"content-type", b"application/octet-stream")
        request.setHeader(b"content-length", str(self._size).encode())
        if request.method == b"HEAD":
            return b""
        request.registerProducer(SampleProducer(request, samples(self._size)), False)
        return NOT_DONE_YET


class SampleWeb(Resource):
    """``/SIZE``."""

    def __init__(self) -> None:
        Resource.__init__(self)

    def getChild(self, path: bytes, request: Request) -> IResource:
        match = re.fullmatch(rb"(\d{1,13})(M?)", path)
        if match is None:
            return notFound(message="Ask for a number of bytes, for example /1000000 or /64M.")
        size = int(match[1]) * (MEBIBYTE if match[2] else 1)
        return Sample(size) if size <= LARGEST else notFound(message="That is too much.")


def _serve(reactor: IReactorTCP, port: str) -> Deferred[None]:
    site = Site(SampleWeb())
    site.noisy = False
    listening: Deferred[object] = TCP4ServerEndpoint(reactor, int(port), interface="127.0.0.1").listen(site)
    return listening.addCallback(lambda _: Deferred())


if __name__ == "__main__":
    react(_serve, sys.argv[1:])
