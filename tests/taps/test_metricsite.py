"""Tests of torpydo.taps.metricsite."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from torpydo.taps.metricsite import MAX_CONNECTIONS, REQUEST_LIMIT, REQUEST_TIME, MetricsFactory, MetricsProtocol

HERE = IPv4Address("TCP", "127.0.0.1", 9100)
GET = b"GET /metrics HTTP/1.1\r\nHost: localhost:9100\r\n\r\n"


class SiteTestCase(SynchronousTestCase):
    """A site, and connections to it."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.rendered = 0
        self.broken = False
        self.site = MetricsFactory(self.clock, self.render, "text/x")

    def render(self) -> bytes:
        """The page."""
        self.rendered += 1
        if self.broken:
            raise ValueError("no page")
        return b"a 1\n"

    def connect(self, here: Any = HERE) -> MetricsProtocol:
        """One more connection."""
        protocol = self.site.buildProtocol(None)
        assert protocol is not None
        protocol.makeConnection(StringTransport(hostAddress=here))
        return protocol

    def ask(self, request: bytes, here: Any = HERE) -> bytes:
        """Send a request, and return everything that comes."""
        connection = self.connect(here)
        connection.dataReceived(request)
        connection.connectionLost(Failure(ConnectionDone()))
        answer: bytes = connection.transport.value()
        return answer

    def status(self, request: bytes, here: Any = HERE) -> int:
        """Send a request, and return the status of the answer."""
        return int(self.ask(request, here).split(b" ", 2)[1])


class AnswerTests(SiteTestCase):
    """What it answers."""

    def test_the_page(self) -> None:
        """With its length and type, and then the connection ends."""
        connection = self.connect()
        connection.dataReceived(GET)
        head, _, body = connection.transport.value().partition(b"\r\n\r\n")
        self.assertEqual(body, b"a 1\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 200 OK\r\n"))
        for header in (b"Content-Type: text/x", b"Content-Length: 4", b"Connection: close", b"Cache-Control: no-store"):
            self.assertIn(b"\r\n" + header, head)
        self.assertTrue(connection.transport.disconnecting)

    def test_head(self) -> None:
        """The same without the page."""
        answer = self.ask(GET.replace(b"GET", b"HEAD"))
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 OK\r\n") and answer.endswith(b"\r\n\r\n"))
        self.assertIn(b"Content-Length: 4\r\n", answer)

    def test_a_request_may_come_in_pieces(self) -> None:
        """It is over where its empty line is, not where a read ends."""
        connection = self.connect()
        for byte in GET:
            self.assertEqual(connection.transport.value(), b"")
            connection.dataReceived(bytes([byte]))
        self.assertTrue(connection.transport.value().endswith(b"a 1\n"))

    def test_nothing_else_is_there(self) -> None:
        """One path, two methods; what Prometheus appends to the path does no harm."""
        self.assertEqual(self.status(GET.replace(b"/metrics", b"/metrics?x=1")), 200)
        for path in (b"/", b"/metrics/", b"/metrics/../metrics", b"/METRICS", b"//metrics", b"http://localhost/metrics"):
            self.assertEqual(self.status(GET.replace(b"/metrics", path)), 404, path)
        for method in (b"POST", b"PUT", b"DELETE", b"OPTIONS", b"CONNECT"):
            answer = self.ask(GET.replace(b"GET", method))
            self.assertTrue(answer.startswith(b"HTTP/1.1 405 "), method)
            self.assertIn(b"\r\nAllow: GET, HEAD\r\n", answer)
        self.assertEqual(self.rendered, 1)

    def test_what_is_no_request(self) -> None:
        """It is told so, and that is all."""
        for line in (b"", b"GET /metrics", b"get /metrics HTTP/1.1", b"GET  /metrics HTTP/1.1", b"GET /a b HTTP/1.1",
                     b"GET /metrics HTTP/2.0", b"\x16\x03\x01\x02\x00", b"status"):  # fmt: skip
            self.assertEqual(self.status(line + b"\r\n\r\n"), 400, line)
        self.assertEqual(self.rendered, 0)

    def test_only_the_first_request_counts(self) -> None:
        """What comes behind it is not read."""
        answer = self.ask(GET + GET)
        self.assertEqual((answer.count(b"HTTP/1.1 200"), self.rendered), (1, 1))
        connection = self.connect()
        for _ in range(3):
            connection.dataReceived(GET)
        self.assertEqual(connection.transport.value().count(b"HTTP/1.1 200"), 1)

    def test_a_page_that_cannot_be_written(self) -> None:
        """Whoever asks is told; the reason is for the log alone."""
        self.broken = True
        answer = self.ask(GET)
        self.assertTrue(answer.startswith(b"HTTP/1.1 500 "))
        self.assertNotIn(b"no page", answer)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)


class NameTests(SiteTestCase):
    """Under which names it answers."""

    def request(self, host: bytes) -> bytes:
        return b"GET /metrics HTTP/1.1\r\nAccept: */*\r\nhOSt:" + host + b"\r\n\r\n"

    def test_names_of_this_machine(self) -> None:
        """What a person or Prometheus writes."""
        for host in (b"localhost", b" localhost:9100", b"LOCALHOST.", b" 127.0.0.1:9100", b"127.8.8.8", b" [::1]:9100",
                     b"[::1]"):  # fmt: skip
            self.assertEqual(self.status(self.request(host)), 200, host)
        self.assertEqual(self.status(b"GET /metrics HTTP/1.0\r\n\r\n"), 200)

    def test_names_that_lead_here(self) -> None:
        """A page in a browser on this machine cannot read it under a name of its own (DNS rebinding)."""
        for host in (b" evil.example", b"evil.example:9100", b"localhost.evil.example", b"192.0.2.1", b"", b"\xff",
                     b"127.0.0.1.evil.example:9100", b"localhost:x", b"[localhost]x"):  # fmt: skip
            self.assertEqual(self.status(self.request(host)), 403, host)
        two = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"
        self.assertEqual(self.status(two), 403)
        self.assertEqual(self.rendered, 0)

    def test_a_unix_socket_has_no_name(self) -> None:
        """Whatever is written there, no browser did it."""
        self.assertEqual(self.status(self.request(b"x"), UNIXAddress("/run/x")), 200)


class BoundTests(SiteTestCase):
    """Everything ends."""

    def test_time(self) -> None:
        """A connection lives ten seconds, whether it has said nothing, something, or does not read its answer."""
        silent, slow, deaf = self.connect(), self.connect(), self.connect()
        deaf.dataReceived(GET)
        for _ in range(9):
            self.clock.advance(REQUEST_TIME / 10)
            slow.dataReceived(b"G")
        self.assertEqual([one.transport.disconnected for one in (silent, slow, deaf)], [False] * 3)
        self.clock.advance(REQUEST_TIME / 10)
        self.assertEqual([one.transport.disconnected for one in (silent, slow, deaf)], [True] * 3)

    def test_size(self) -> None:
        """A request without end is not kept, in whatever pieces it comes."""
        for pieces in ([b"x" * (REQUEST_LIMIT + 1)], [b"x"] * (REQUEST_LIMIT + 1),
                       [b"GET /metrics HTTP/1.1\r\nX: " + b"x" * REQUEST_LIMIT + b"\r\n\r\n"]):  # fmt: skip
            connection = self.connect()
            for piece in pieces:
                connection.dataReceived(piece)
            self.assertTrue(connection.transport.value().startswith(b"HTTP/1.1 431 "))
            self.assertTrue(connection.transport.disconnecting)

    def test_number(self) -> None:
        """One more than the most is not taken, until another ends."""
        connections = [self.connect() for _ in range(MAX_CONNECTIONS)]
        self.assertIsNone(self.site.buildProtocol(None))
        connections[3].connectionLost(Failure(ConnectionDone()))
        self.connect()
        self.assertIsNone(self.site.buildProtocol(None))

    def test_nothing_is_left_after_the_end(self) -> None:
        """No timer outlives its connection."""
        connection = self.connect()
        connection.connectionLost(Failure(ConnectionDone()))
        self.assertEqual((self.clock.getDelayedCalls(), self.site.connections), ([], set()))

    def test_close(self) -> None:
        """Whoever is connected is hung up on."""
        connections = [self.connect() for _ in range(3)]
        self.site.close()
        self.assertEqual([one.transport.disconnected for one in connections], [True] * 3)
