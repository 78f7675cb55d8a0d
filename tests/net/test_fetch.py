"""Tests of torpydo.net.fetch and torpydo.net.httpbody: an agent on a memory reactor, answered byte by byte."""

from __future__ import annotations

import gzip
import os
import tracemalloc
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IProtocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from torpydo.errors import PoolUnreachable
from torpydo.net.fetch import Fetched, fetch


class FetchTestCase(SynchronousTestCase):
    """One fetch, and the pool's end of its connection."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()

    def fetch(self, host: str = "127.0.0.1", path: str = "/v1/listing", **arguments: Any) -> Deferred[Fetched]:
        return fetch(self.reactor, host, 8080, path, **arguments)

    def connect(self) -> tuple[IProtocol, StringTransport]:
        """Accept the connection that the fetch opens."""
        host, port, factory, timeout, bind = self.reactor.tcpClients[-1]
        protocol = factory.buildProtocol(IPv4Address("TCP", host, port))
        transport = StringTransport()
        protocol.makeConnection(transport)
        return protocol, transport

    def answer(self, data: bytes, **arguments: Any) -> Deferred[Fetched]:
        """Fetch, and answer with *data*, one byte at a time."""
        result = self.fetch(**arguments)
        protocol, transport = self.connect()
        for place in range(len(data)):
            if transport.disconnecting:
                break
            protocol.dataReceived(data[place : place + 1])
        self.protocol = protocol
        self.transport = transport
        return result

    def assertUnreachable(self, result: Deferred[Fetched], words: str) -> None:
        error = self.failureResultOf(result, PoolUnreachable).value
        self.assertIn(words, str(error))
        self.assertIn("8080", str(error))


def response(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """An answer with its length."""
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


class RequestTests(FetchTestCase):
    """What is sent."""

    def lines(self) -> list[bytes]:
        protocol, transport = self.connect()
        head = transport.value().partition(b"\r\n\r\n")[0].split(b"\r\n")
        return [head[0], *sorted(line.lower() for line in head[1:])]

    def test_fixed_headers(self) -> None:
        """A request has the same few headers for everybody."""
        self.fetch()
        self.assertEqual(
            self.lines(),
            [
                b"GET /v1/listing HTTP/1.1",
                b"accept-encoding: gzip",
                b"connection: close",
                b"host: 127.0.0.1:8080",
                b"user-agent: torpydo",
            ],
        )

    def test_etag(self) -> None:
        """The ETag that the caller holds is sent."""
        self.fetch(etag="abc")
        self.assertIn(b'if-none-match: "abc"', self.lines())

    def test_body(self) -> None:
        """A body is sent with its length."""
        self.fetch(path="/v1/heartbeat", method=b"POST", body=b"hello")
        protocol, transport = self.connect()
        head, _, body = transport.value().partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"POST /v1/heartbeat HTTP/1.1\r\n"))
        self.assertIn(b"content-length: 5", head.lower())
        self.assertEqual(body, b"hello")

    def test_ipv6(self) -> None:
        """An IPv6 literal is connected to as it is, and bracketed in the Host header."""
        self.fetch(host="::1")
        self.assertEqual(self.reactor.tcpClients[0][:2], ("::1", 8080))
        self.assertIn(b"host: [::1]:8080", self.lines())


class AnswerTests(FetchTestCase):
    """What comes back when all is well."""

    def test_plain(self) -> None:
        """A plain answer comes back with its status and ETag, and the connection is closed."""
        result = self.successResultOf(self.answer(response(b"hello", b'ETag: "x"')))
        self.assertEqual(result, Fetched(200, b"hello", "x", False))
        self.assertTrue(self.transport.disconnecting)

    def test_gzip(self) -> None:
        """A gzip answer is decompressed."""
        body = b"listing" * 100
        data = response(gzip.compress(body), b"Content-Encoding: gzip")
        self.assertEqual(self.successResultOf(self.answer(data)).body, body)

    def test_chunked(self) -> None:
        """An answer in chunks is joined."""
        data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        self.assertEqual(self.successResultOf(self.answer(data)).body, b"abcde")

    def test_not_modified(self) -> None:
        """304 to a request with an ETag says so, even when it names an encoding."""
        data = b'HTTP/1.1 304 Not Modified\r\nETag: W/"abc"\r\nContent-Encoding: gzip\r\n\r\n'
        result = self.successResultOf(self.answer(data, etag="abc"))
        self.assertEqual(result, Fetched(304, b"", "abc", True))

    def test_not_modified_unasked(self) -> None:
        """304 to a request without an ETag is not taken for one."""
        result = self.successResultOf(self.answer(b"HTTP/1.1 304 Not Modified\r\n\r\n"))
        self.assertFalse(result.not_modified)

    def test_refusal(self) -> None:
        """A refusal comes back with its text."""
        result = self.successResultOf(self.answer(response(b"too often", status=b"429 Too Many Requests")))
        self.assertEqual((result.status, result.body), (429, b"too often"))

    def test_redirect_is_not_followed(self) -> None:
        """A redirect is an answer like another."""
        result = self.answer(response(b"", b"Location: http://127.0.0.1:1/", status=b"302 Found"))
        self.assertEqual(self.successResultOf(result).status, 302)
        self.assertEqual(len(self.reactor.tcpClients), 1)

    def test_limit_is_inclusive(self) -> None:
        """A body of exactly the limit is taken."""
        self.assertEqual(self.successResultOf(self.answer(response(b"12345"), limit=5)).body, b"12345")

    def test_no_timer_is_left(self) -> None:
        """Nothing waits on the clock after an answer."""
        self.successResultOf(self.answer(response(b"hello")))
        self.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class BadAnswerTests(FetchTestCase):
    """Bad luck and bad pools."""

    def test_refused(self) -> None:
        """A refused connection says so."""
        result = self.fetch()
        factory = self.reactor.tcpClients[0][2]
        factory.clientConnectionFailed(None, Failure(ConnectionRefusedError()))
        self.assertUnreachable(result, "refuses connections")

    def test_no_answer(self) -> None:
        """A pool that never answers is given up in time, and its connection closed."""
        result = self.fetch(timeout=10.0)
        protocol, transport = self.connect()
        self.reactor.advance(9.9)
        self.assertNoResult(result)
        self.reactor.advance(0.2)
        self.assertUnreachable(result, "in time")
        self.assertTrue(transport.disconnecting)

    def test_slow_body(self) -> None:
        """A pool that drips its answer is given up in time: the limit is on the whole."""
        result = self.fetch(timeout=10.0)
        protocol, transport = self.connect()
        protocol.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        for _ in range(11):
            self.reactor.advance(0.95)
            if not transport.disconnecting:
                protocol.dataReceived(b"x")
        self.assertUnreachable(result, "in time")
        self.assertTrue(transport.disconnecting)

    def test_no_connection(self) -> None:
        """A connection that is never made is given up in time."""
        result = self.fetch(timeout=10.0)
        self.reactor.advance(10.1)
        self.assertUnreachable(result, "in time")

    def test_every_cut(self) -> None:
        """An answer that is cut anywhere is refused."""
        whole = response(gzip.compress(b"listing"), b"Content-Encoding: gzip")
        for length in range(len(whole)):
            result = self.answer(whole[:length])
            self.protocol.connectionLost(Failure(ConnectionLost()))
            self.failureResultOf(result, PoolUnreachable)

    def test_without_length(self) -> None:
        """A body whose end nobody can tell from a cut is refused."""
        result = self.answer(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        self.protocol.connectionLost(Failure(ConnectionDone()))
        self.failureResultOf(result, PoolUnreachable)

    def test_too_long_announced(self) -> None:
        """A body that says it is too large is refused before it comes."""
        result = self.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", limit=5)
        self.assertUnreachable(result, "more than 5 bytes")
        self.assertTrue(self.transport.disconnecting)

    def test_too_long_chunked(self) -> None:
        """A body that becomes too large is refused."""
        data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n"
        self.assertUnreachable(self.answer(data, limit=5), "more than 5 bytes")

    def test_endless_headers(self) -> None:
        """Headers without end are cut off."""
        result = self.fetch(limit=1000)
        protocol, transport = self.connect()
        protocol.dataReceived(b"HTTP/1.1 200 OK\r\n")
        sent = 0
        while not transport.disconnecting and sent < 1000000:
            protocol.dataReceived(b"X-%d: y\r\n" % sent)
            sent += 10
        self.assertLess(sent, 100000)
        protocol.connectionLost(Failure(ConnectionLost()))
        self.failureResultOf(result, PoolUnreachable)

    def test_answers_without_end(self) -> None:
        """Whatever comes again and again, the fetch ends in time and takes little more than its limit."""
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
        for head, again in (
            (b"", b"x"),
            (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
            (b"HTTP/1.1 200 OK\r\nX: ", b"y" * 100),
            (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999999\r\n\r\n", b"x" * 100),
            (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 100),
            (chunked + b"\r\n", b"1\r\nx\r\n"),
            (chunked + b"\r\n", b"0"),
            (chunked + b"\r\nFFFFFFFFFFFFFFFF\r\n", b"x" * 100),
            (chunked + b"\r\n1;", b"extension" * 10),
            (chunked + b"\r\n0\r\n", b"Trailer: x\r\n"),
            (chunked + b"Content-Encoding: gzip\r\n\r\n", b"1\r\n\x1f\r\n"),
        ):
            result = self.fetch(limit=1000, timeout=30.0)
            protocol, transport = self.connect()
            protocol.dataReceived(head)
            sent = len(head)
            while not transport.disconnecting and sent < 1_000_000:
                protocol.dataReceived(again)
                sent += len(again)
                self.reactor.advance(0.001)
            self.assertTrue(transport.disconnecting, (head, again))
            self.assertLessEqual(sent, 1000 + 64 * 1024 + 100)
            protocol.connectionLost(Failure(ConnectionLost()))
            self.failureResultOf(result, PoolUnreachable)
            self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_wrong_lengths(self) -> None:
        """A body that is shorter than announced is refused; what comes after a whole one is not part of it."""
        result = self.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello")
        self.reactor.advance(60.1)
        self.assertUnreachable(result, "in time")
        result = self.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more")
        self.assertEqual(self.successResultOf(result).body, b"hello")
        for lengths in (b"5\r\nContent-Length: 6", b"-5", b"5x", b"5, 6", b"0x5"):
            result = self.answer(b"HTTP/1.1 200 OK\r\nContent-Length: " + lengths + b"\r\n\r\nhello")
            self.protocol.connectionLost(Failure(ConnectionLost()))
            self.failureResultOf(result, PoolUnreachable)

    def test_memory(self) -> None:
        """A body of the largest size takes twice as many bytes at the most, and a bomb hardly any (SECURITY D6)."""
        limit = 1 << 20
        honest = os.urandom(limit - 4096)
        bomb = gzip.compress(bytes(64 << 20))
        self.assertLess(len(bomb), 1 << 17)
        for body, encoding, most in (
            (honest, b"identity", 2 * limit),
            (gzip.compress(honest), b"gzip", 2 * limit),
            (bomb, b"gzip", 2 * limit),
        ):
            headers = [] if encoding == b"identity" else [b"Content-Encoding: " + encoding]
            data = response(body, *headers)
            result = self.fetch(limit=limit)
            protocol, transport = self.connect()
            tracemalloc.start()
            try:
                for start in range(0, len(data), 16384):
                    if not transport.disconnecting:
                        protocol.dataReceived(data[start : start + 16384])
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            self.assertLess(peak, most + 256 * 1024, encoding)
            result.addErrback(lambda failure: failure.trap(PoolUnreachable))
            self.assertEqual(self.successResultOf(result) is PoolUnreachable, body is bomb)
            protocol.connectionLost(Failure(ConnectionLost()))

    def test_gzip_bomb_by_size(self) -> None:
        """Gzip that unpacks to more than the limit is refused."""
        data = response(gzip.compress(os.urandom(3000)), b"Content-Encoding: gzip")
        self.assertUnreachable(self.answer(data, limit=2999), "more than 2999 bytes")

    def test_gzip_bomb_by_ratio(self) -> None:
        """Gzip that unpacks to many times its size is refused."""
        data = response(gzip.compress(bytes(1 << 20)), b"Content-Encoding: gzip")
        self.assertUnreachable(self.answer(data), "unpacks to too much")

    def test_broken_gzip(self) -> None:
        """What is not gzip, is cut, has a wrong checksum or a tail is refused."""
        whole = gzip.compress(b"listing")
        for body in (b"listing", whole[:-1], whole[:-5] + b"\0" + whole[-4:], whole + b"x", whole + whole):
            result = self.answer(response(body, b"Content-Encoding: gzip"))
            self.assertUnreachable(result, "broken gzip")

    def test_other_encodings(self) -> None:
        """An encoding that was not asked for is refused, and so are two."""
        for headers in ([b"Content-Encoding: br"], [b"Content-Encoding: gzip"] * 2, [b"Content-Encoding: gzip, gzip"]):
            self.assertUnreachable(self.answer(response(b"", *headers)), "encoding")

    def test_not_http(self) -> None:
        """Something that is not HTTP is refused."""
        result = self.answer(b"SSH-2.0-OpenSSH_9.2\r\n")
        self.failureResultOf(result, PoolUnreachable)

    def test_own_words_only(self) -> None:
        """An error never repeats what the pool wrote."""
        result = self.answer(response(b"", b"Content-Encoding: planted", status=b"200 planted"))
        self.assertNotIn("planted", str(self.failureResultOf(result, PoolUnreachable).value))


class CancelTests(FetchTestCase):
    """A caller who has lost interest."""

    def test_connecting(self) -> None:
        """Cancelling before the connection stops it; nothing waits on the clock."""
        result = self.fetch()
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_waiting(self) -> None:
        """Cancelling while the pool thinks closes the connection."""
        result = self.fetch()
        protocol, transport = self.connect()
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.assertTrue(transport.disconnecting)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_reading(self) -> None:
        """Cancelling in the middle of the body closes the connection; what still comes does no harm."""
        result = self.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.assertTrue(self.transport.disconnecting)
        self.protocol.dataReceived(b"more")
        self.protocol.connectionLost(Failure(ConnectionLost()))
