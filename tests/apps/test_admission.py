"""Which applications a proxy serves, how long each may take, and how its refusals are counted (SECURITY D4, I3, T)."""

from __future__ import annotations

from collections import Counter

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.apps.doubles import FakeClient, FakeTransport, TLSLikeTransport, connect
from tests.apps.socks.test_connection import PLAIN
from tests.apps.socks.test_messages import NAME5
from torpydo.apps.front import FrontFactory
from torpydo.apps.httpproxy import HTTPProxyFactory
from torpydo.apps.refusals import ProxyRefusal
from torpydo.apps.socks import SocksFactory
from torpydo.client import ClientLimits

PEER = IPv4Address("TCP", "127.0.0.1", 50000)
LIMITS = ClientLimits(connections=3, request_time=7.0, open_time=31.0)
CONNECT = b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n"
SOCKS_ADDRESS = b"\5\1\0" + b"\5\1\0\1" + bytes((192, 0, 2, 1)) + b"\1\xbb"


class AdmissionTests(SynchronousTestCase):
    """Both proxies, with a client that has no network."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.client = FakeClient()
        self.files = 100
        self.refused: Counter[ProxyRefusal] = Counter()
        options = {"limits": LIMITS, "grant": self.grant, "refused": lambda cause: self.refused.update([cause])}
        self.socks = SocksFactory(self.client, self.clock, refuse_addresses=True, **options)
        self.http = HTTPProxyFactory(self.client, self.clock, connect_only=True, **options)
        self.both: tuple[FrontFactory, ...] = (self.socks, self.http)

    def grant(self) -> bool:
        self.files -= 1
        return self.files >= 0

    def end(self, near: TLSLikeTransport) -> None:
        """The connection goes."""
        near.tear()

    def full(self, factory: FrontFactory, request: bytes) -> list[TLSLikeTransport]:
        """As many applications as there may be, all of which have asked for something."""
        transports = [connect(factory) for _ in range(LIMITS.connections)]
        for transport in transports:
            transport.deliver(request)
        return transports

    def test_the_most_connections(self) -> None:
        """Further ones are closed before anything is read, and one that ends makes room."""
        for factory, request in ((self.socks, PLAIN + NAME5), (self.http, CONNECT)):
            open_ones = self.full(factory, request)
            self.assertIsNone(factory.buildProtocol(PEER))
            self.end(open_ones[0])
            self.assertIsNotNone(factory.buildProtocol(PEER))
        self.assertEqual(self.refused, {ProxyRefusal.PROXY_CONNECTIONS: 2})

    def test_the_oldest_that_asks_nothing_makes_room(self) -> None:
        """A thousand that say nothing, or too little, keep nobody out (fault 8)."""
        for factory, request in ((self.socks, PLAIN + NAME5), (self.http, CONNECT)):
            asking, silent, slow = (connect(factory) for _ in range(LIMITS.connections))
            asking.deliver(request)
            slow.deliver(request[:5])
            for gone in (silent, slow):
                connect(factory).deliver(request)
                self.assertIn("abort", gone.calls)
            self.assertNotIn("abort", asking.calls)
            self.assertIsNone(factory.buildProtocol(PEER))
        self.assertEqual(self.refused, {ProxyRefusal.PROXY_CONNECTIONS: 6})

    def test_no_file_descriptors(self) -> None:
        """The listener stays; a connection is closed, and counted."""
        self.files = 0
        for factory in self.both:
            self.assertIsNone(factory.buildProtocol(PEER))
        self.assertEqual(self.refused, {ProxyRefusal.PROXY_FILES: 2})
        self.files = 1
        self.assertIsNotNone(self.socks.buildProtocol(PEER))

    def test_a_request_that_never_ends(self) -> None:
        """One byte a second does not help: the whole request has its time, and that is all (fault 8)."""
        for factory, request in ((self.socks, PLAIN + NAME5), (self.http, b"CONNECT example.org:443 HTTP/1.1\r\n")):
            near = connect(factory)
            for second in range(7):
                self.assertFalse(near.disconnecting)
                near.deliver(request[second : second + 1])
                self.clock.advance(1)
            self.clock.advance(2)
            self.assertTrue(near.disconnecting)
            near.settle()
            self.assertEqual(len(factory.connections), 0)
        self.assertEqual(self.refused, {ProxyRefusal.PROXY_SILENCE: 2})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_stream_that_never_opens(self) -> None:
        """The application hears of it in time, and the attempt is given up."""
        for factory, request in (
            (self.socks, PLAIN + NAME5),
            (self.http, b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n"),
        ):
            near = connect(factory)
            near.deliver(request)
            near.take()
            self.clock.advance(LIMITS.open_time - 1)
            self.assertEqual(near.take(), b"")
            self.clock.advance(1)
            self.assertTrue(near.take())
            self.assertTrue(self.client.attempts[-1].cancelled)

    def test_causes(self) -> None:
        """Each refusal of the cores is counted once, when its connection has ended."""
        for factory, data, cause in (
            (self.socks, b"\5\1\7", ProxyRefusal.PROXY_REQUEST),
            (self.socks, b"GET / HTTP/1.1\r\n\r\n", ProxyRefusal.PROXY_REQUEST),
            (self.socks, b"\7", ProxyRefusal.PROXY_REQUEST),
            (self.socks, b"\5\1\0\5\3" + NAME5[2:], ProxyRefusal.PROXY_REQUEST),
            (self.socks, b"\5\1\0\5\1\0\7", ProxyRefusal.PROXY_REQUEST),
            (self.socks, b"\5\1\0\5\1\0\3\x09localhost\0\x50", ProxyRefusal.PROXY_DESTINATION),
            (self.socks, SOCKS_ADDRESS, ProxyRefusal.PROXY_ADDRESS),
            (self.http, b"nonsense\r\n\r\n", ProxyRefusal.PROXY_REQUEST),
            (self.http, b"GET http://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n", ProxyRefusal.PROXY_REQUEST),
            (self.http, b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", ProxyRefusal.PROXY_DESTINATION),
        ):
            near = connect(factory)
            near.deliver(data)
            self.clock.advance(3)
            near.settle()
            self.assertEqual(self.refused, {cause: 1}, data)
            self.refused.clear()
        self.assertEqual(self.client.attempts, [])

    def test_connect_only(self) -> None:
        """What would go out in the clear is refused in words that say why; CONNECT works."""
        near = connect(self.http)
        near.deliver(b"GET http://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n")
        answer = near.take()
        self.assertTrue(answer.startswith(b"HTTP/1.1 405 "), answer)
        self.assertIn(b"CONNECT only", answer)
        other = connect(self.http, FakeTransport())
        other.deliver(b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n")
        self.client.attempts[0].succeed()
        self.assertIn(b" 200 ", other.take())
