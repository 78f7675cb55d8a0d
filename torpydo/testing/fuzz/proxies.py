"""Entry points of the two proxies: what an application sends, and what a server answers (SECURITY S1-S7).

The whole proxy is fed, with a client in memory. Each input is tried twice, cut as it says and in one piece: both must
come to the same. What a proxy forwards is read again by rules of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

import attrs
from twisted.internet.task import Clock

from torpydo.apps.front import FrontFactory
from torpydo.apps.httpproxy import HTTPProxyFactory
from torpydo.apps.httpproxy.bodies import ChunkedBody, content_length, is_chunked
from torpydo.apps.httpproxy.exchange import Exchange, Torn
from torpydo.apps.httpproxy.grammar import BadMessage, parse_fields, parse_request_line, parse_status_line
from torpydo.apps.httpproxy.requests import read_request
from torpydo.apps.socks import SocksFactory
from torpydo.directory import is_private
from torpydo.node.resolver import parse_literal
from torpydo.testing.fuzz.cursor import Cursor, cut, scripted
from torpydo.testing.fuzz.target import Target, require, watched_log
from torpydo.testing.fuzz.wires import THERE, Streams, Wire
from torpydo.tpdp import check_host

__all__ = ["TARGETS"]

MOST_ROUNDS: Final = 40
"""Requests that are served on one connection; the rest of an input waits, as it would behind a slow server."""
FORBIDDEN: Final = (b"via", b"forwarded", b"x-real-ip", b"te", b"trailer", b"upgrade", b"keep-alive")


@attrs.frozen
class _Seen:
    """What came of an input."""

    to_application: bytes
    opened: tuple[tuple[str, int, bytes], ...]


@attrs.frozen
class _Scene:
    """What is around the proxy."""

    refuse: bool
    private: bool
    ends: bool
    answer: tuple[bytes, ...]

    def play(self, factory: Callable[[Streams, Any], FrontFactory], pieces: list[bytes]) -> _Seen:
        """An application sends *pieces*; then the network answers, as often as it is asked."""
        clock, streams = Clock(), Streams(self.private)
        front = factory(streams, clock)
        wire = Wire()
        with watched_log():
            protocol = front.buildProtocol(THERE)
            assert protocol is not None
            wire.attach(protocol)
            wire.feed(pieces)
            for _ in range(MOST_ROUNDS):
                if not streams.settle(self.refuse, self._answer):
                    break
                wire.feed([])
            if self.ends:
                wire.end()
            clock.advance(1000.0)
            wire.feed([])
            for _, _, stream in streams.opened:
                stream.lose()
            clock.advance(1000.0)
            wire.lose()
        require(not clock.getDelayedCalls(), "a timer is left behind")
        require(not front.connections, "a connection is left behind")
        for host in streams.told:
            check_host(host)
            ip = parse_literal(host)
            require(self.private or ip is None or not is_private(ip), f"{host} is private, and an exit is told")
        opened = tuple((host, port, bytes(stream.written)) for host, port, stream in streams.opened)
        return _Seen(bytes(wire.written), opened)

    def _answer(self, stream: Wire) -> None:
        stream.feed(self.answer)
        if self.ends:
            stream.end()


def _scene(script: Cursor) -> tuple[_Scene, bytes, bytes]:
    """The surroundings, where reads are cut, and what the application sends."""
    sizes = script.short()
    flags = script.byte()
    answer = tuple(cut(script.take(script.number(2)), sizes if flags & 8 else b""))
    return _Scene(bool(flags & 1), bool(flags & 2), bool(flags & 4), answer), sizes, script.rest()


def _script(sent: bytes, *, sizes: bytes = b"", flags: int = 4, answer: bytes = b"") -> bytes:
    return scripted(sizes) + bytes((flags,)) + len(answer).to_bytes(2, "big") + answer + sent


# -- SOCKS


def _run_socks(data: bytes) -> None:
    """SOCKS 4, 4a and 5."""
    scene, sizes, sent = _scene(Cursor(data))
    in_pieces, at_once = (scene.play(SocksFactory, cut(sent, each)) for each in (sizes, b""))
    require(in_pieces == at_once, "cut another way, the same bytes come to something else")
    require(len(in_pieces.opened) <= 1, "one SOCKS connection opens several streams")
    require(len(in_pieces.to_application) <= 4096 + sum(map(len, scene.answer)), "the proxy says too much")


def _socks_seeds() -> Iterable[bytes]:
    name = b"\x0bexample.org\x01\xbb"
    yield _script(b"\5\1\0\5\1\0\3" + name + b"early", answer=b"hello")
    yield _script(b"\5\2\0\2\1\4user\4pass\5\1\0\3" + name, sizes=b"\0", answer=b"hello")
    yield _script(b"\5\1\0\5\1\0\1\1\2\3\4\0\x50", flags=5)
    yield _script(b"\5\1\0\5\1\0\4\x2a" + bytes(15) + b"\0\x50")
    yield _script(b"\5\1\0\5\xf0\0\3" + name, sizes=b"\2\0\7")
    yield _script(b"\5\1\0\5\3\0\3" + name)
    yield _script(b"\5\1\0\5\1\0\3\x09localhost\0\x50", flags=6)
    yield _script(b"\4\1\0\x50\1\2\3\4user\0", answer=b"x")
    yield _script(b"\4\1\0\x50\0\0\0\1user\0example.org\0data", sizes=b"\3")
    yield _script(b"\4\xf0\0\0\0\0\0\1\0example.org\0")
    yield _script(b"GET / HTTP/1.1\r\n\r\n")


# -- HTTP


# Where a request has several faults, the one that is found first may be another one.
_REFUSAL: Final = re.compile(
    rb"Content-Length: [0-9]+\r\nConnection: close\r\n\r\nThe proxy refuses this request: [^\n]*\n"
)


def _unframed(message: bytes) -> bytes:
    """An HTTP message with its chunks joined: how a body is cut into them means nothing."""
    head, end, rest = message.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 1"):
        return head + end + _unframed(rest)
    if b"\r\nTransfer-Encoding: chunked" not in head:
        return message
    body = ChunkedBody()
    payload, behind = body.take(rest)
    return head + end + payload + (b"[whole]" if body.done else b"[torn]") + behind


def _check_forwarded(said: bytes) -> None:
    """What a server is asked: one request, with one meaning, that does not tell who asks."""
    head, end, _ = said.partition(b"\r\n\r\n")
    require(bool(end), "a server is asked half a request")
    lines = head.split(b"\r\n")
    parse_request_line(lines[0])
    fields = parse_fields(lines[1:])
    names = [name.lower() for name, _ in fields.items]
    require(names.count(b"host") == 1, "a server sees none or several Host fields")
    require(fields.all(b"connection") == [b"close"], "a server is told to keep the connection")
    require(not (is_chunked(fields, 1) and content_length(fields) is not None), "a body with two lengths")
    told = [name for name in names if name in FORBIDDEN or name.startswith((b"proxy-", b"x-forwarded-"))]
    require(not told, f"a server is told {told}")


def _run_http(data: bytes) -> None:
    """CONNECT, and requests that the proxy makes itself."""
    scene, sizes, sent = _scene(Cursor(data))
    in_pieces, at_once = (scene.play(HTTPProxyFactory, cut(sent, each)) for each in (sizes, b""))
    for seen in (in_pieces, at_once):
        tunnel = seen.to_application.startswith(b"HTTP/1.1 200 Connection established\r\n\r\n")
        for _, _, said in seen.opened:
            if not tunnel:
                _check_forwarded(said)
    told = [_REFUSAL.sub(b"[refused]", seen.to_application) for seen in (in_pieces, at_once)]
    require(told[0] == told[1], "cut another way, the application is told something else")
    places = [[(host, port, _unframed(said)) for host, port, said in seen.opened] for seen in (in_pieces, at_once)]
    require(places[0] == places[1], "cut another way, a server is asked for something else")


def _http_seeds() -> Iterable[bytes]:
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    get = b"GET http://example.org/page HTTP/1.1\r\nHost: example.org\r\nAccept: */*\r\n\r\n"
    yield _script(get, answer=ok)
    yield _script(get * 3, sizes=b"\x28", flags=8, answer=ok)
    yield _script(b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\nbytes", answer=b"more")
    yield _script(
        b"POST http://example.org:81/ HTTP/1.1\r\nHost: example.org:81\r\nTransfer-Encoding: chunked\r\n"
        b"Proxy-Authorization: Basic dXNlcjpwYXNz\r\nVia: me\r\nConnection: keep-alive, x-mine\r\nX-Mine: 1\r\n\r\n"
        b"3\r\nabc\r\n1;x=y\r\nd\r\n0\r\nTrailer: x\r\n\r\n" + get,
        answer=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        sizes=b"\0",
        flags=12,
    )
    yield _script(b"PUT http://[2a00::1]/ HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", answer=b"HTTP/1.0 204 No\r\n\r\n")
    yield _script(b"HEAD http://example.org HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n", flags=5)
    local = b"GET http://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    yield _script(local, flags=6, answer=b"HTTP/1.0 200 OK\r\n\r\nx")
    yield _script(b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")


# -- What a server answers

_REQUESTS: Final = (
    [b"GET http://example.org/ HTTP/1.1", b"Host: example.org"],
    [b"GET http://example.org/ HTTP/1.0"],
    [b"HEAD http://example.org/ HTTP/1.1", b"Host: example.org"],
    [b"POST http://example.org/ HTTP/1.1", b"Host: example.org", b"Content-Length: 1"],
)


def _exchanged(request: list[bytes], pieces: list[bytes], ended: bool) -> tuple[str, bytes]:
    """How an answer ends, and what the application gets of it."""
    exchange = Exchange(read_request(request))
    out = bytearray()
    try:
        for piece in pieces:
            out += exchange.answer(piece)
            if exchange.answered:
                return f"answered, persistent: {exchange.persistent}", bytes(out)
        if ended:
            out += exchange.answer_ended()
            return "answered by the end", bytes(out)
    except BadMessage:
        return "bad", b""
    except Torn:
        return "torn", bytes(out)
    return "unfinished", bytes(out)


def _run_answer(data: bytes) -> None:
    """A server's answer to a request that the proxy made."""
    script = Cursor(data)
    sizes, flags = script.short(), script.byte()
    answer = script.rest()
    request = _REQUESTS[flags & 3]
    in_pieces, at_once = (_exchanged(request, cut(answer, each), bool(flags & 4)) for each in (sizes, b""))
    require(in_pieces[0] == at_once[0], f"cut another way, an answer is {in_pieces[0]} instead of {at_once[0]}")
    require(_unframed(in_pieces[1]) == _unframed(at_once[1]), "cut another way, the application gets something else")
    told = at_once[1]
    while told.startswith(b"HTTP/1.1 1"):
        told = told.partition(b"\r\n\r\n")[2]
    if told:
        lines = told.partition(b"\r\n\r\n")[0].split(b"\r\n")
        parse_status_line(lines[0])
        fields = parse_fields(lines[1:])
        require(not fields.all(b"x-torpydo-error"), "a server speaks in the name of the proxy")
        require(not (is_chunked(fields, 1) and content_length(fields) is not None), "an answer with two lengths")


def _answer_seeds() -> Iterable[bytes]:
    for flags, answer in (
        (4, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nVia: x\r\n\r\nabc"),
        (0, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        (5, b"HTTP/1.0 200 OK\r\nX-Torpydo-Error: x\r\n\r\nuntil the end"),
        (2, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\nETag: x\r\n\r\n"),
        (7, b"HTTP/1.1 413 No\r\nConnection: close\r\n\r\nbody"),
    ):
        yield scripted(b"") + bytes((flags,)) + answer
        yield scripted(b"\0") + bytes((flags,)) + answer[:-1]


def _run_chunks(data: bytes) -> None:
    """A chunked body."""
    script = Cursor(data)
    sizes, sent = script.short(), script.rest()
    results = []
    for each in (sizes, b""):
        body, payload, rest = ChunkedBody(), b"", b""
        try:
            for piece in cut(sent, each):
                if body.done:
                    rest += piece
                else:
                    more, rest = body.take(piece)
                    payload += more
        except BadMessage:
            results.append(("bad", b"", b""))
        else:
            results.append((str(body.done), payload, rest))
    require(results[0] == results[1], "cut another way, a body is another one")


def _chunks_seeds() -> Iterable[bytes]:
    body = b"3\r\nabc\r\nA;name=value\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\nbehind"
    return scripted(b"") + body, scripted(b"\0") + body, scripted(b"\4\1") + body


TARGETS: Final = (
    Target("proxy-socks", _run_socks, _socks_seeds, 1024),
    Target("proxy-http", _run_http, _http_seeds, 2048),
    Target("proxy-http-answer", _run_answer, _answer_seeds, 2048),
    Target("proxy-http-chunks", _run_chunks, _chunks_seeds, 1024),
)
