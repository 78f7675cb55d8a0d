"""Entry points of HTTP answers: of a pool to whoever asks it (SECURITY D6, C7), of a server to ``torpydo fetch``.

Each input is tried twice, cut as it says and in one piece: both must come to the same.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IPushProducer
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from torpydo.cli.download import Download, download, read_url, request
from torpydo.cli.download import Target as WebTarget
from torpydo.cli.fetch import redirected
from torpydo.cli.progress import NoProgress
from torpydo.errors import PoolUnreachable, TorpydoError
from torpydo.net import Fetched, fetch
from torpydo.net.listedpool import read_skew
from torpydo.testing.fuzz.cursor import Cursor, cut, scripted
from torpydo.testing.fuzz.fixed import NOW
from torpydo.testing.fuzz.target import Target, require, watched_log
from torpydo.testing.fuzz.wires import Wire

__all__ = ["TARGETS"]

LIMIT: Final = 100_000
"""Bytes that a fetch takes here, so that an input can reach its limit."""
HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
PACKED, MANY, TORN, ASKED_BEFORE, TWICE = 1, 2, 4, 8, 16
"""Flags: the input is the body, and goes in gzip form; it is there 500 times; the connection is torn; there is an ETag;
two gzip members come one after the other. The three bits above are how many bytes are missing at the end of that."""


@attrs.frozen
class _Server:
    """What answers, and how."""

    sizes: bytes
    flags: int
    answer: bytes
    body: bytes | None
    """What it says, if that goes in gzip form."""

    @classmethod
    def of(cls, data: bytes) -> _Server:
        """The server that an input describes."""
        script = Cursor(data)
        sizes, flags = script.short(), script.byte()
        answer = script.rest()
        body = None
        if flags & PACKED:
            body = answer * (500 if flags & MANY else 1)
            packed = gzip.compress(body, 9, mtime=0) * (2 if flags & TWICE else 1)
            packed = packed[: len(packed) - (flags >> 5)]
            answer = HEAD % len(packed) + packed
        return cls(sizes, flags, answer, body)

    def play(self, reactor: MemoryReactorClock, *, at_once: bool) -> None:
        """Take the connection that was asked for, and answer on it."""
        wire = Wire()
        protocol = reactor.tcpClients[0][2].buildProtocol(None)
        assert protocol is not None
        wire.attach(protocol)
        wire.feed(cut(self.answer, b"" if at_once else self.sizes))
        if not self.flags & TORN:
            wire.end()
        wire.lose()
        reactor.advance(100.0)
        require(not reactor.getDelayedCalls(), "a timer is left behind")


def _outcome(start: Callable[[MemoryReactorClock], Deferred[Any]], server: _Server, *, at_once: bool) -> Any:
    """What comes of asking *server*: a value, or an error that says it in plain words."""
    reactor = MemoryReactorClock()
    got: list[Any] = []
    with watched_log():
        asking = start(reactor)
        server.play(reactor, at_once=at_once)
        asking.addBoth(got.append)
    require(len(got) == 1, "an answer is waited for although nobody is there")
    [value] = got
    if isinstance(value, Failure):
        if not isinstance(value.value, TorpydoError):
            value.raiseException()
        require(str(value.value).isprintable(), f"{str(value.value)!r} is told to a terminal")
        return type(value.value)
    return value


def _run_fetch(data: bytes) -> None:
    """What a pool answers."""
    server = _Server.of(data)
    etag = "abc" if server.flags & ASKED_BEFORE else None

    def start(reactor: MemoryReactorClock) -> Deferred[Any]:
        return fetch(reactor, "127.0.0.1", 8080, "/v1/listing", limit=LIMIT, timeout=60.0, etag=etag)

    in_pieces, at_once = (_outcome(start, server, at_once=whole) for whole in (False, True))
    require(in_pieces == at_once, f"cut another way, {at_once!r:.100} is {in_pieces!r:.100}")
    if isinstance(at_once, Fetched):
        require(len(at_once.body) <= LIMIT, "a body is larger than was asked for")
        if server.body is not None:
            whole = server.flags < TWICE and at_once.body == server.body
            require(whole, "a body was taken that is not exactly one whole member")
        require(etag is not None or not at_once.not_modified, "what was never there has not changed")
    else:
        require(at_once is PoolUnreachable, f"{at_once} instead of the one error")


def _fetch_seeds() -> Iterable[bytes]:
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"x\"\r\n\r\nhello"
    yield scripted(b"") + b"\0" + whole
    yield scripted(b"\0") + b"\4" + whole[:-1]
    yield scripted(b"\x13") + b"\0" + b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    yield scripted(b"") + b"\x08" + b"HTTP/1.1 304 Not Modified\r\nContent-Encoding: gzip\r\n\r\n"
    yield scripted(b"") + b"\0" + b"HTTP/1.0 404 No\r\n\r\nuntil the end"
    yield scripted(b"") + b"\0" + b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n"
    yield scripted(b"") + b"\0" + b"HTTP/1.1 302 Found\r\nLocation: /else\xffwhere\r\nContent-Length: 0\r\n\r\n"
    yield scripted(b"\7") + bytes((PACKED,)) + b"packed and whole"
    yield scripted(b"\7") + bytes((PACKED | MANY,)) + bytes(300)
    yield scripted(b"") + bytes((PACKED | 3 << 5,)) + b"packed and not whole"
    yield scripted(b"") + bytes((PACKED | TWICE,)) + b"twice"
    yield scripted(b"") + b"\0" + HEAD % 12 + b"\x1f\x8bno gzip at all"


_HOME: Final = read_url("http://127.0.0.1:80/file")


class _Nowhere:
    """Where a download goes."""

    size = 0

    def follow(self, producer: IPushProducer) -> None:
        """There is always room."""

    def write(self, data: bytes) -> None:
        """Count it."""
        self.size += len(data)

    def check(self) -> None:
        """It never fails."""

    async def finish(self) -> None:
        """It never lasts."""

    def abandon(self) -> None:
        """It leaves nothing behind."""


def _run_download(data: bytes) -> None:
    """What a server answers to ``torpydo fetch``."""
    server = _Server.of(data)

    async def ask(reactor: MemoryReactorClock) -> tuple[str, int]:
        answer = await request(reactor, lambda host, port: TCP4ClientEndpoint(reactor, host, port), _HOME)
        require(answer.status.isprintable(), f"{answer.status!r} is told to a terminal")
        if answer.location is not None:
            answer.drop()
            return redirected(_HOME, answer.location).url, 0
        output = _Nowhere()
        done: Download = await download(reactor, answer, _HOME, output, NoProgress())
        require(done.size == output.size, "a download has another size than its bytes")
        return answer.status, done.size

    def start(reactor: MemoryReactorClock) -> Deferred[Any]:
        asked: Coroutine[Any, Any, tuple[str, int]] = ask(reactor)
        return Deferred.fromCoroutine(asked)

    in_pieces, at_once = (_outcome(start, server, at_once=whole) for whole in (False, True))
    require(in_pieces == at_once, f"cut another way, {at_once!r:.100} is {in_pieces!r:.100}")


def _run_url(data: bytes) -> None:
    """A URL as a person types it, and as a server sends one somewhere else."""
    text = data.decode("utf-8", "surrogateescape")
    for read in (read_url, lambda text: redirected(_HOME, text)):
        try:
            target = read(text)
        except TorpydoError as error:
            require(str(error).isprintable(), f"{str(error)!r} is told to a terminal")
            continue
        _check_target(target)


def _check_target(target: WebTarget) -> None:
    require(target.url.isascii() and target.url.isprintable(), f"{target.url!r} is asked for")
    require("/" not in target.name and target.name not in (".", ".."), f"a file would be called {target.name!r}")
    require(1 <= target.port <= 65535, f"port {target.port}")


def _run_skew(data: bytes) -> None:
    """What a pool says the time is."""
    skew = read_skew(Fetched(200, data, None, False), float(NOW))
    require(skew is None or data.strip().isdigit(), "a time was read that is none")


TARGETS: Final = (
    Target("http-fetch", _run_fetch, _fetch_seeds, 1024),
    Target("http-download", _run_download, _fetch_seeds, 1024),
    Target("http-url", _run_url, lambda: (
        b"https://example.org/a/b?c#d", b"http://[2a00::1]:81/x", "http://b\u00fccher.example/%C3%BC/..".encode(),
        b"http://user@example.org/", b"http://example.org:99999/", b"//example.org/x", b"../x?y",
    ), 400),
    Target("http-time", _run_skew, lambda: (b"1800000000\n", b"0"), 64),
)  # fmt: skip
