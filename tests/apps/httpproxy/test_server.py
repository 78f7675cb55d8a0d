"""The HTTP proxy on Twisted."""

from __future__ import annotations

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.apps.doubles import FakeClient, FakeTransport, TLSLikeTransport, connect
from tests.apps.httpproxy.test_connection import CONNECT, GET, GET_OUT, OK, OK_KEPT, POST
from torpydo.apps.httpproxy import HTTPProxyFactory
from torpydo.apps.httpproxy.connection import LEAVING_TIMEOUT, WAITING_LIMIT
from torpydo.client import DEFAULT_LIMITS
from torpydo.errors import ConnectRefused

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class HTTPProxyServerTests(SynchronousTestCase):
    """A listener, a client without a network, and transports that record."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.client = FakeClient()
        self.factory = HTTPProxyFactory(self.client, self.clock)

    def connect(self, data: bytes) -> TLSLikeTransport:
        near = connect(self.factory)
        near.deliver(data)
        return near

    def test_tunnel(self) -> None:
        """After CONNECT bytes flow both ways, those that came early first."""
        near = self.connect(CONNECT + b"early ")
        far = self.client.attempts[0].succeed()
        near.deliver(b"late")
        far.deliver(b"answer")
        self.assertEqual((far.take(), near.take()), (b"early late", ESTABLISHED + b"answer"))
        far.tear()
        self.assertEqual(near.calls, ["abort"])

    def test_request(self) -> None:
        """A request goes out on a stream of its own, and the application's connection stays."""
        near = self.connect(GET)
        for number in range(3):
            attempt = self.client.attempts[number]
            self.assertEqual((attempt.host, attempt.port), ("example.org", 80))
            far = attempt.succeed()
            self.assertEqual(far.take(), GET_OUT)
            far.deliver(OK)
            self.assertEqual((near.take(), far.calls, near.calls), (OK_KEPT, ["close"], []))
            far.settle()
            near.deliver(GET)
        self.assertEqual(len(self.client.attempts), 4)

    def test_request_goes_ahead(self) -> None:
        """A request is on its way before its stream is open, and its body as far as it has come."""
        near = self.connect(POST[:-5])
        attempt = self.client.attempts[0]
        near.deliver(b"hel")
        self.assertEqual((attempt.ahead[0][:5], attempt.ahead[1:]), (b"POST ", [b"hel"]))
        far = attempt.succeed()
        near.deliver(b"lo")
        self.assertEqual(far.take()[-9:], b"\r\n\r\nhello")

    def test_instant_stream(self) -> None:
        """A stream that opens before the call that asks for it returns is no different."""
        far = FakeTransport()
        self.client.instant.append(far)
        near = self.connect(POST)
        self.assertEqual(far.take()[-5:], b"hello")
        far.deliver(OK)
        self.assertEqual(near.take(), OK_KEPT)

    def test_upload_backpressure(self) -> None:
        """A full stream holds the application."""
        near = self.connect(POST[:-5])
        far = self.client.attempts[0].succeed()
        far.fill()
        self.assertTrue(near.paused)
        far.drain()
        near.deliver(b"hello")
        self.assertEqual(far.take()[-5:], b"hello")

    def test_download_backpressure(self) -> None:
        """A full application holds the stream, and the next stream too while it is still full."""
        near = self.connect(GET + GET)
        far = self.client.attempts[0].succeed()
        near.fill()
        self.assertTrue(far.paused)
        near.drain()
        far.deliver(OK[:-1])
        near.fill()
        far.deliver(OK[-1:], on_its_way=True)
        second = self.client.attempts[1].succeed()
        self.assertTrue(second.paused)
        near.drain()
        self.assertFalse(second.paused)

    def test_held_until_open(self) -> None:
        """A body that is larger than what may wait holds the application until its stream is open."""
        near = self.connect(POST.replace(b"h: 5", b"h: 999999") + b"x" * WAITING_LIMIT)
        self.assertTrue(near.paused)
        far = self.client.attempts[0].succeed()
        self.assertFalse(near.paused)
        self.assertEqual(far.take()[-WAITING_LIMIT:], b"x" * WAITING_LIMIT)

    def test_torn_answer(self) -> None:
        """A stream that is torn in the middle of an answer resets the application's connection."""
        near = self.connect(GET)
        far = self.client.attempts[0].succeed()
        far.deliver(OK[:-1])
        far.tear()
        self.assertEqual(near.calls, ["abort"])

    def test_torn_answer_without_a_length(self) -> None:
        """The same holds where only the end of the stream can end the answer."""
        near = self.connect(GET)
        far = self.client.attempts[0].succeed()
        far.deliver(b"HTTP/1.0 200 OK\r\n\r\nhel")
        far.tear()
        self.assertEqual(near.calls, ["abort"])

    def test_streams_do_not_mix(self) -> None:
        """What an old stream still brings is not taken for the next answer."""
        near = self.connect(GET + GET)
        first = self.client.attempts[0].succeed()
        first.deliver(OK)
        second = self.client.attempts[1].succeed()
        near.take()
        first.deliver(b"HTTP/1.1 200 OK\r\n\r\nsmuggled")
        first.tear()
        self.assertEqual(near.take(), b"")
        second.deliver(OK)
        self.assertEqual((near.take(), near.calls), (OK_KEPT, []))

    def test_answer_until_the_end(self) -> None:
        """A server's EOF, or a clean end of the stream, ends an answer without a length."""
        for end in ("eof", "done"):
            near = self.connect(GET)
            far = self.client.attempts[-1].succeed()
            far.deliver(b"HTTP/1.0 200 OK\r\n\r\nhello")
            if end == "eof":
                far.end_reading()
            else:
                far.lose(ConnectionDone())
            self.assertTrue(near.take().endswith(b"5\r\nhello\r\n0\r\n\r\n"))
            self.assertEqual(near.calls, [])

    def test_refused(self) -> None:
        """A failure is an answer; then the proxy ends writing and, a little later, closes."""
        near = self.connect(GET)
        self.client.attempts[0].fail(ConnectRefused())
        self.assertTrue(near.take().startswith(b"HTTP/1.1 502 Bad Gateway\r\n"))
        near.deliver(GET)
        self.assertEqual((len(self.client.attempts), near.calls), (1, ["half-close"]))
        self.clock.advance(LEAVING_TIMEOUT)
        near.settle()
        self.assertEqual((near.calls, self.clock.getDelayedCalls()), (["half-close", "close"], []))

    def test_bad_request(self) -> None:
        """A bad request reaches nobody."""
        near = self.connect(b"GET / HTTP/1.1\nHost: x\r\n\r\n")
        self.assertTrue(near.take().startswith(b"HTTP/1.1 400 "))
        self.assertEqual(self.client.attempts, [])

    def test_bad_chunk(self) -> None:
        """A bad chunk tears the stream that has begun, and the application is told."""
        near = self.connect(POST.replace(b"Content-Length: 5", b"Transfer-Encoding: chunked")[:-5])
        far = self.client.attempts[0].succeed()
        near.deliver(b"zz\r\n")
        self.assertEqual(far.calls, ["abort"])
        self.assertTrue(near.take().startswith(b"HTTP/1.1 400 "))

    def test_bad_chunk_while_opening(self) -> None:
        """A bad chunk while the stream is being opened cancels that."""
        near = self.connect(POST.replace(b"Content-Length: 5", b"Transfer-Encoding: chunked")[:-5])
        near.deliver(b"zz\r\n")
        self.assertTrue(self.client.attempts[0].cancelled)

    def test_application_leaves(self) -> None:
        """When the application goes, its stream is torn, or no longer opened."""
        near = self.connect(GET)
        near.tear()
        self.assertTrue(self.client.attempts[0].cancelled)
        near = self.connect(GET)
        far = self.client.attempts[1].succeed()
        near.tear()
        self.assertEqual(far.calls, ["abort"])
        far.settle()
        self.assertEqual((self.clock.getDelayedCalls(), self.factory.connections), ([], {}))

    def test_timeouts(self) -> None:
        """A head that does not come and a stream that does not open end in time."""
        near = connect(self.factory)
        self.clock.advance(DEFAULT_LIMITS.request_time)
        self.assertEqual(near.calls, ["close"])
        near = self.connect(GET)
        self.clock.advance(DEFAULT_LIMITS.open_time)
        self.assertTrue(near.take().startswith(b"HTTP/1.1 504 "))
        self.assertTrue(self.client.attempts[0].cancelled)

    def test_isolation(self) -> None:
        """The pair of Proxy-Authorization is the key; it is the same for a tunnel and a request."""
        for data in (
            GET,
            GET[:-2] + b"Proxy-Authorization: Basic YTpi\r\n\r\n",
            CONNECT[:-2] + b"Proxy-Authorization: Basic YTpi\r\n\r\n",
            GET[:-2] + b"Proxy-Authorization: Basic YTpj\r\n\r\n",
        ):
            self.connect(data)
        none, one, same, other = [attempt.isolation for attempt in self.client.attempts]
        self.assertEqual((one, len({none, one, same, other})), (same, 3))

    def test_private_destinations(self) -> None:
        """127.0.0.1 is a destination in a test network only."""
        local = GET.replace(b"example.org", b"127.0.0.1")
        near = self.connect(local)
        self.assertTrue(near.take().startswith(b"HTTP/1.1 403 "))
        self.client.allows_private_destinations = True
        self.connect(local)
        self.assertEqual(self.client.attempts[0].host, "127.0.0.1")

    def test_over_tls(self) -> None:
        """Where writing cannot end alone, the connection is closed after the answer."""
        near = connect(self.factory, TLSLikeTransport())
        near.deliver(GET[:-2] + b"Connection: close\r\n\r\n")
        self.client.attempts[0].succeed().deliver(OK)
        self.assertEqual((near.take()[-5:], near.calls), (b"hello", ["close"]))

    def test_nothing_is_logged_above_debug(self) -> None:
        """No request says where it went, except at debug."""
        with capturedLogs() as logs:
            self.connect(GET)
            self.client.attempts[0].fail(ConnectRefused("example.org refused"))
            self.connect(CONNECT)
            self.client.attempts[1].succeed().tear()
        self.assertEqual([log for log in logs if log["log_level"] > LogLevel.debug], [])
