"""What a request asks for, and what the server gets instead of it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from torpydo.apps.httpproxy.grammar import BadMessage
from torpydo.apps.httpproxy.requests import Request, read_request
from torpydo.apps.isolation import NOBODY, Credentials


def ask(first: str, *fields: str) -> Request:
    return read_request([line.encode("latin-1") for line in (first, *fields)])


class ReadRequestTests(SynchronousTestCase):
    """The heads of requests."""

    def test_connect(self) -> None:
        """CONNECT names a host and a port, in both versions."""
        for target, host in (
            ("example.org:443", "example.org"),
            ("[2001:db8::1]:443", "[2001:db8::1]"),
            ("1.2.3.4:443", "1.2.3.4"),
        ):
            for version in ("1.0", "1.1"):
                request = ask(f"CONNECT {target} HTTP/{version}", "Host: whatever.example:1")
                self.assertEqual((request.tunnel, request.host, request.port, request.head), (True, host, 443, b""))

    def test_connect_without_host(self) -> None:
        """Programs that leave Host out of a CONNECT are understood, for nothing is ambiguous in it."""
        self.assertTrue(ask("CONNECT example.org:22 HTTP/1.1").tunnel)

    def test_absolute(self) -> None:
        """The server's request has the path alone and the target's own Host."""
        for target, host, port, first in (
            ("http://Example.org/a?b=c", "Example.org", 80, b"GET /a?b=c HTTP/1.1\r\nHost: Example.org\r\n"),
            ("HTTP://example.org:8080", "example.org", 8080, b"GET / HTTP/1.1\r\nHost: example.org:8080\r\n"),
            ("http://example.org?x", "example.org", 80, b"GET /?x HTTP/1.1\r\nHost: example.org\r\n"),
            ("http://[::1]:81/", "[::1]", 81, b"GET / HTTP/1.1\r\nHost: [::1]:81\r\n"),
        ):
            request = ask(f"GET {target} HTTP/1.1", "Host: other.example")
            self.assertEqual((request.host, request.port, request.tunnel), (host, port, False))
            self.assertEqual(request.head, first + b"Connection: close\r\n\r\n")

    def test_options(self) -> None:
        """OPTIONS without a path asks about the server itself."""
        self.assertTrue(ask("OPTIONS http://a HTTP/1.1", "Host: a").head.startswith(b"OPTIONS * HTTP/1.1\r\n"))
        self.assertTrue(ask("OPTIONS http://a/ HTTP/1.1", "Host: a").head.startswith(b"OPTIONS / HTTP/1.1\r\n"))

    def test_stripped(self) -> None:
        """Nothing of the way to the proxy, or that tells who asks, reaches the server."""
        request = ask(
            "GET http://a/ HTTP/1.1",
            "Host: a",
            "User-Agent: x",
            "Proxy-Connection: keep-alive",
            "Keep-Alive: 5",
            "Connection: keep-alive, X-Mine",
            "X-Mine: 1",
            "TE: trailers",
            "Trailer: x",
            "Upgrade: h2c",
            "HTTP2-Settings: x",
            "Via: 1.1 me",
            "X-Forwarded-For: 10.0.0.1",
            "X-Forwarded-Host: h",
            "Forwarded: for=me",
            "X-Real-IP: 10.0.0.1",
            "Proxy-Authorization: Basic YTpi",
            "Proxy-Anything: x",
            "Cookie: kept",
            "Accept: */*",
        )
        self.assertEqual(
            request.head,
            b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: x\r\nCookie: kept\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        )

    def test_bodies(self) -> None:
        """A body is framed for the server as it came: with its length, or in chunks."""
        request = ask("POST http://a/ HTTP/1.1", "Host: a", "Content-Length: 5", "Expect: 100-continue")
        self.assertEqual((request.chunked, request.body.done), (False, False))
        self.assertIn(b"Content-Length: 5\r\nExpect: 100-continue\r\n", request.head)
        request = ask("POST http://a/ HTTP/1.1", "Host: a", "Transfer-Encoding: chunked")
        self.assertEqual((request.chunked, request.body.done), (True, False))
        self.assertEqual(request.head.count(b"Transfer-Encoding: chunked\r\n"), 1)
        self.assertTrue(ask("POST http://a/ HTTP/1.1", "Host: a", "Content-Length: 0").body.done)

    def test_credentials(self) -> None:
        """The pair of Proxy-Authorization isolates; a password may contain colons."""
        self.assertEqual(ask("CONNECT a:1 HTTP/1.1").credentials, NOBODY)
        request = ask("CONNECT a:1 HTTP/1.1", "Proxy-Authorization: basic dXNlcjpwOnc=")
        self.assertEqual(request.credentials, Credentials(b"user", b"p:w"))

    def test_persistent(self) -> None:
        """Who keeps the connection: HTTP/1.1 unless it says close, HTTP/1.0 when it asks for it."""
        for version, field, expected in (
            ("1.1", "X: y", True),
            ("1.1", "Connection: close", False),
            ("1.1", "Proxy-Connection: Close", False),
            ("1.0", "X: y", False),
            ("1.0", "Connection: Keep-Alive", True),
            ("1.0", "Proxy-Connection: keep-alive", True),
            ("1.0", "Connection: keep-alive, close", False),
        ):
            request = ask(f"GET http://a/ HTTP/{version}", "Host: a", field)
            self.assertEqual(request.persistent, expected, (version, field))

    def test_statuses(self) -> None:
        """What is understood and not offered has a status of its own."""
        for status, first, *fields in (
            (501, "GET https://a/ HTTP/1.1", "Host: a"),
            (501, "GET ftp://a/ HTTP/1.1", "Host: a"),
            (405, "TRACE http://a/ HTTP/1.1", "Host: a"),
            (417, "POST http://a/ HTTP/1.1", "Host: a", "Expect: miracles"),
            (501, "POST http://a/ HTTP/1.1", "Host: a", "Transfer-Encoding: gzip"),
            (505, "GET http://a/ HTTP/2.0", "Host: a"),
        ):
            with self.assertRaises(BadMessage) as caught:
                ask(str(first), *map(str, fields))
            self.assertEqual(caught.exception.status, status, first)
