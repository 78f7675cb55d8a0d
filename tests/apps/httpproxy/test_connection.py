"""One connection to the HTTP proxy, without I/O."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.apps.doubles import feeds
from torpydo.apps.destinations import Destination
from torpydo.apps.events import (
    AbortNow,
    CloseNow,
    CloseUpstream,
    DropUpstream,
    Event,
    HangUp,
    OpenTunnel,
    OpenUpstream,
    SendUpstream,
)
from torpydo.apps.httpproxy.bodies import LAST_CHUNK, ChunkedBody, chunk
from torpydo.apps.httpproxy.connection import (
    GONE_TIMEOUT,
    IDLE_TIMEOUT,
    LEAVING_TIMEOUT,
    WAITING_LIMIT,
    ProxyConnection,
    State,
)
from torpydo.apps.isolation import NOBODY, Credentials
from torpydo.apps.refusals import ProxyRefusal
from torpydo.client import DEFAULT_LIMITS
from torpydo.errors import ConnectRefused, ExitPolicyRefused, NoExit, ResolveFailed

CONNECT = b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n"
GET = b"GET http://example.org/a HTTP/1.1\r\nHost: example.org\r\n\r\n"
HEAD = GET.replace(b"GET", b"HEAD")
GET10 = b"GET http://example.org/a HTTP/1.0\r\n\r\n"
POST = b"POST http://example.org/ HTTP/1.1\r\nHost: example.org\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST http://example.org/ HTTP/1.1\r\nHost: example.org\r\nTransfer-Encoding: chunked\r\n\r\n"
GET_OUT = b"GET /a HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n"
EXAMPLE = Destination("example.org", 80, literal=False, private=False)
OPEN = OpenUpstream(EXAMPLE, NOBODY)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello"
OK_KEPT = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\nConnection: keep-alive\r\n\r\nhello"


def make() -> ProxyConnection:
    return ProxyConnection(allow_private=lambda: False, now=0.0)


def sent(events: list[Event]) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, SendUpstream))


def exchange(data: bytes) -> ProxyConnection:
    core = make()
    core.receive_data(data, 1.0)
    core.upstream_opened(1.0)
    return core


def exchange_opened(data: bytes) -> list[Event]:
    """What happens when the stream of a request is open."""
    core = make()
    core.receive_data(data, 1.0)
    return core.upstream_opened(1.0)


class TunnelTests(SynchronousTestCase):
    """CONNECT."""

    def test_open(self) -> None:
        """A tunnel is asked for without resolving the name, and the answer comes when it is open."""
        for pieces in feeds(CONNECT):
            core = make()
            events = [event for piece in pieces for event in core.receive_data(piece, 1.0)]
            self.assertEqual(
                events, [OpenTunnel(Destination("example.org", 443, literal=False, private=False), NOBODY)]
            )
            self.assertEqual(core.data_to_send(), b"")
            self.assertEqual(core.tunnel_opened(1.0), [])
            self.assertEqual(core.data_to_send(), b"HTTP/1.1 200 Connection established\r\n\r\n")
            self.assertIsNone(core.next_deadline())

    def test_every_prefix_waits(self) -> None:
        """No prefix of a request is acted upon."""
        for data in (CONNECT, GET):
            for end in range(len(data)):
                core = make()
                self.assertEqual((core.receive_data(data[:end], 1.0), core.state), ([], State.HEAD))

    def test_credentials(self) -> None:
        """The pair comes with the event."""
        (event,) = make().receive_data(CONNECT[:-2] + b"Proxy-Authorization: Basic YTpi\r\n\r\n", 1.0)
        assert isinstance(event, OpenTunnel)
        self.assertEqual(event.credentials, Credentials(b"a", b"b"))

    def test_early_data(self) -> None:
        """What comes before the answer is kept, and bounded by asking the adapter to stop reading."""
        core = make()
        core.receive_data(CONNECT + b"early ", 1.0)
        core.receive_data(b"data", 1.0)
        self.assertTrue(core.wants_data)
        core.receive_data(b"x" * WAITING_LIMIT, 1.0)
        self.assertFalse(core.wants_data)
        core.tunnel_opened(1.0)
        self.assertEqual(core.early_data(), (b"early data" + b"x" * WAITING_LIMIT, False))

    def test_failures(self) -> None:
        """The status says what failed."""
        for error, status in (
            (ExitPolicyRefused(), b"403"),
            (ResolveFailed(), b"502"),
            (NoExit(25), b"503"),
            (None, b"502"),
        ):
            core = make()
            core.receive_data(CONNECT, 1.0)
            self.assertEqual(core.open_failed(error, 1.0), [DropUpstream(), HangUp()])
            self.assertEqual(core.data_to_send()[9:12], status)

    def test_end(self) -> None:
        """An EOF with nothing said gives up; one behind early data goes the same way."""
        core = make()
        core.receive_data(CONNECT, 1.0)
        self.assertEqual(core.receive_eof(1.0), [DropUpstream(), CloseNow()])
        core = make()
        core.receive_data(CONNECT + b"all", 1.0)
        self.assertEqual(core.receive_eof(1.0), [])
        core.tunnel_opened(1.0)
        self.assertEqual(core.early_data(), (b"all", True))

    def test_end_of_what_went_ahead(self) -> None:
        """An EOF behind early data that has gone to the network already does not give up either."""
        core = make()
        core.receive_data(CONNECT + b"all", 1.0)
        self.assertEqual(core.data_ahead(100), b"all")
        self.assertEqual((core.receive_eof(1.0), core.state), ([], State.OPENING))
        self.assertEqual(core.tunnel_opened(1.0), [])
        self.assertEqual(core.early_data(), (b"", True))


class RequestTests(SynchronousTestCase):
    """What goes to the server."""

    def test_get(self) -> None:
        """The request goes out once, when its stream is open."""
        for pieces in feeds(GET):
            core = make()
            self.assertEqual([event for piece in pieces for event in core.receive_data(piece, 1.0)], [OPEN])
            self.assertEqual(core.upstream_opened(1.0), [SendUpstream(GET_OUT)])

    def test_body_with_a_length(self) -> None:
        """A body goes out as it comes, before and after the stream is open."""
        for cut in range(POST.index(b"hello"), len(POST)):
            core = make()
            core.receive_data(POST[:cut], 1.0)
            out = sent(core.upstream_opened(1.0)) + sent(core.receive_data(POST[cut:], 1.0))
            self.assertTrue(out.endswith(b"Content-Length: 5\r\nConnection: close\r\n\r\nhello"))

    def test_body_in_chunks(self) -> None:
        """A chunked body goes out in chunks of our own, without extensions and trailers."""
        core = exchange(CHUNKED)
        out = sent(core.receive_data(b"5;ext=1\r\nhel", 1.0) + core.receive_data(b"lo\r\n0\r\nT: x\r\n\r\n", 1.0))
        self.assertEqual(out, chunk(b"hel") + chunk(b"lo") + LAST_CHUNK)

    def test_body_is_bounded_while_opening(self) -> None:
        """A body waits for its stream up to 64 KiB; then the adapter is asked to stop reading."""
        core = make()
        core.receive_data(POST.replace(b"h: 5", b"h: 9999999"), 1.0)
        self.assertTrue(core.wants_data)
        core.receive_data(b"x" * WAITING_LIMIT, 1.0)
        self.assertFalse(core.wants_data)
        core.upstream_opened(1.0)
        self.assertTrue(core.wants_data)

    def test_ahead(self) -> None:
        """A request can go to the network before its stream is open: head and body, in order, nothing twice."""
        whole = sent(exchange_opened(POST))
        for pieces in feeds(POST):
            core = make()
            ahead = b""
            for piece in pieces:
                core.receive_data(piece, 1.0)
                ahead += core.data_ahead(7)
            self.assertTrue(ahead)
            self.assertEqual(ahead + sent(core.upstream_opened(1.0)), whole)
            self.assertEqual(core.data_ahead(100), b"")

    def test_nothing_goes_ahead_of_a_bad_request(self) -> None:
        """What is refused as a whole is not sent in part."""
        core = make()
        core.receive_data(CHUNKED + b"no length\r\n", 1.0)
        self.assertEqual(core.data_ahead(100), b"")

    def test_ahead_is_bounded(self) -> None:
        """What was taken counts until the stream is open."""
        core = make()
        core.receive_data(POST.replace(b"h: 5", b"h: 999999"), 1.0)
        core.receive_data(bytes(WAITING_LIMIT), 1.0)
        core.data_ahead(WAITING_LIMIT)
        self.assertFalse(core.wants_data)
        core.upstream_opened(1.0)
        self.assertTrue(core.wants_data)

    def test_pipelined(self) -> None:
        """A request that comes ahead waits for the answer before, and then has a stream of its own."""
        core = exchange(GET + POST)
        events = core.upstream_data(OK, 1.0)
        self.assertEqual(events, [CloseUpstream(), OPEN])
        self.assertTrue(sent(core.upstream_opened(1.0)).endswith(b"hello"))

    def test_pipelined_is_bounded(self) -> None:
        """What comes ahead is bounded too."""
        core = exchange(GET)
        core.receive_data(GET * (WAITING_LIMIT // len(GET) + 1), 1.0)
        self.assertFalse(core.wants_data)

    def test_end_in_a_request(self) -> None:
        """An application that ends in the middle of its request takes the request with it."""
        for data in (POST[:-1], CHUNKED, CHUNKED + b"5\r\nhello\r\n"):
            self.assertEqual(exchange(data).receive_eof(1.0), [DropUpstream(), CloseNow()])
        core = make()
        core.receive_data(GET[:20], 1.0)
        self.assertEqual(core.receive_eof(1.0), [CloseNow()])

    def test_end_after_a_request(self) -> None:
        """An application that ends after its request still gets the answer, and then the connection ends."""
        core = exchange(GET)
        self.assertEqual(core.receive_eof(1.0), [])
        self.assertEqual(core.upstream_data(OK, 1.0), [CloseUpstream(), HangUp()])
        self.assertIn(b"Connection: close", core.data_to_send())


class AnswerTests(SynchronousTestCase):
    """What goes to the application."""

    def assert_answer(self, request: bytes, answer: bytes, expected: bytes, *, kept: bool, ends: bool = False) -> None:
        for pieces in feeds(answer):
            core = exchange(request)
            events = [event for piece in pieces for event in core.upstream_data(piece, 1.0)]
            if ends:
                self.assertEqual(events, [])
                events = core.upstream_ended(1.0)
            got = core.data_to_send()
            if b"chunked" in expected:
                head, body = got.split(b"\r\n\r\n", 1)
                got = head + b"\r\n\r\n" + ChunkedBody().take(body)[0]
            self.assertEqual(got, expected)
            self.assertEqual(events, [CloseUpstream()] if kept else [CloseUpstream(), HangUp()])
            self.assertIs(core.state, State.HEAD if kept else State.LEAVING)

    def test_length(self) -> None:
        """A body with a length keeps it, and the connection."""
        self.assert_answer(GET, OK, OK_KEPT, kept=True)

    def test_chunked(self) -> None:
        """A chunked body stays chunked."""
        answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\nT: x\r\n\r\n"
        expected = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\nhello"
        self.assert_answer(GET, answer, expected, kept=True)

    def test_until_the_end(self) -> None:
        """A body that ends with the connection is given in chunks, so that the connection can be kept."""
        expected = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\nhello"
        self.assert_answer(GET, b"HTTP/1.0 200 OK\r\n\r\nhello", expected, kept=True, ends=True)

    def test_for_http_1_0(self) -> None:
        """An application of HTTP/1.0 gets no chunks; the end of the connection is the end of the body."""
        expected = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"
        self.assert_answer(GET10, b"HTTP/1.1 200 OK\r\n\r\nhello", expected, kept=False, ends=True)
        answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        core = exchange(GET10)
        self.assertEqual(core.upstream_data(answer, 1.0), [CloseUpstream(), HangUp()])
        self.assertEqual(core.data_to_send(), expected)

    def test_keep_alive_of_http_1_0(self) -> None:
        """An application of HTTP/1.0 that asks for it keeps its connection when there is a length."""
        request = GET10[:-2] + b"Proxy-Connection: keep-alive\r\n\r\n"
        self.assert_answer(request, OK, OK_KEPT, kept=True)

    def test_close_on_wish(self) -> None:
        """The connection ends after the answer when the application wants that."""
        request = GET[:-2] + b"Connection: close\r\n\r\n"
        self.assert_answer(request, OK, OK_KEPT.replace(b"keep-alive", b"close"), kept=False)

    def test_without_a_body(self) -> None:
        """HEAD, 204 and 304 have no body, whatever their length says."""
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"
        for request, answer in (
            (HEAD, head),
            (GET, b"HTTP/1.1 204 No Content\r\n"),
            (GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n"),
        ):
            self.assert_answer(request, answer + b"\r\n", answer + b"Connection: keep-alive\r\n\r\n", kept=True)

    def test_stripped(self) -> None:
        """What belongs to the server's connection is taken away, and nobody else speaks as the proxy."""
        answer = (
            b"HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nUpgrade: h2\r\nTrailer: x\r\n"
            b"Proxy-Authenticate: Basic\r\nX-Torpydo-Error: lie\r\n"
            b"Set-Cookie: a\r\nset-cookie: b\r\nContent-Length: 0\r\n\r\n"
        )
        core = exchange(GET)
        core.upstream_data(answer, 1.0)
        self.assertEqual(
            core.data_to_send(),
            b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nset-cookie: b\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n",
        )

    def test_interim(self) -> None:
        """100 Continue reaches the application, and the body then reaches the server."""
        core = exchange(POST[:-5])
        self.assertEqual(core.upstream_data(b"HTTP/1.1 100 Continue\r\n\r\n", 1.0), [])
        self.assertEqual(core.data_to_send(), b"HTTP/1.1 100 Continue\r\n\r\n")
        self.assertEqual(core.receive_data(b"hello", 1.0), [SendUpstream(b"hello")])
        core.upstream_data(OK, 1.0)
        self.assertEqual(core.data_to_send(), OK_KEPT)

    def test_interim_and_answer_together(self) -> None:
        """An interim answer may come with the real one; HTTP/1.0 is not told of it."""
        for request, expected in (
            (GET, b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK_KEPT),
            (GET10, OK_KEPT.replace(b"keep-alive", b"close")),
        ):
            core = exchange(request)
            core.upstream_data(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, 1.0)
            self.assertEqual(core.data_to_send(), expected)

    def test_answer_before_the_body(self) -> None:
        """An answer to half a request is passed on, and the connection ends with it."""
        core = exchange(POST[:-5])
        self.assertEqual(core.upstream_data(OK, 1.0), [CloseUpstream(), HangUp()])
        self.assertEqual(core.data_to_send(), OK_KEPT.replace(b"keep-alive", b"close"))
        self.assertEqual(core.receive_data(b"hello", 1.0), [])

    def test_more_than_the_answer(self) -> None:
        """What a server sends behind its answer goes nowhere."""
        core = exchange(GET)
        core.upstream_data(OK + b"HTTP/1.1 200 OK\r\n\r\nsmuggled", 1.0)
        self.assertEqual(core.data_to_send(), OK_KEPT)
        self.assertEqual((core.upstream_data(b"x", 1.0), core.upstream_ended(1.0), core.data_to_send()), ([], [], b""))

    def test_bad_answers(self) -> None:
        """An answer that is not HTTP becomes a 502, and none of it is passed on."""
        for bad in (
            b"SSH-2.0-x\r\n\r\n",
            b"HTTP/1.1 200 OK\nA: b\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 101 Switching\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
            b"HTTP/2.0 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70000,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nConnection: Content-Length\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n" * 17,
        ):
            core = exchange(GET)
            self.assertEqual(core.upstream_data(bad, 1.0), [DropUpstream(), HangUp()], bad[:60])
            answer = core.data_to_send()
            self.assertTrue(answer.startswith(b"HTTP/1.1 502 ") and b"X-Torpydo-Error: bad-answer" in answer)

    def test_no_answer(self) -> None:
        """A server that closes without an answer, or tears the stream, becomes a 502 that says which."""
        for part in (b"", b"HTTP/1.1 200 OK\r\nA"):
            for torn, word in ((False, b"no-answer"), (True, b"reset")):
                core = exchange(GET)
                core.upstream_data(part, 1.0)
                events = core.upstream_torn(1.0) if torn else core.upstream_ended(1.0)
                self.assertEqual(events, [DropUpstream(), HangUp()])
                self.assertIn(b"X-Torpydo-Error: " + word, core.data_to_send())

    def test_torn_answers(self) -> None:
        """An answer that is torn after it has begun tears the application's connection; nothing makes it look whole."""
        for answer, clean_too in (
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", True),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", True),
            (b"HTTP/1.1 200 OK\r\n\r\nhello", False),
        ):
            for request in (GET, GET10):
                for torn in (True, False) if clean_too else (True,):
                    core = exchange(request)
                    core.upstream_data(answer, 1.0)
                    events = core.upstream_torn(1.0) if torn else core.upstream_ended(1.0)
                    self.assertEqual(events, [DropUpstream(), AbortNow()])
                    self.assertNotIn(LAST_CHUNK, core.data_to_send())
                    self.assertIsNone(core.next_deadline())

    @given(st.lists(st.binary(max_size=40), max_size=8), st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", OK[:-5]]))
    def test_any_answer(self, pieces: list[bytes], start: bytes) -> None:
        """Whatever a server sends, the exchange ends once and without an error."""
        core = exchange(GET)
        events = [event for piece in (start, *pieces) for event in core.upstream_data(piece, 1.0)]
        events += core.upstream_ended(1.0)
        self.assertEqual(len([e for e in events if isinstance(e, CloseUpstream | DropUpstream)]), 1)

    @given(st.lists(st.tuples(st.sampled_from([GET, POST, HEAD, GET10, CHUNKED]), st.integers(1, 30)), max_size=20))
    def test_any_order(self, steps: list[tuple[bytes, int]]) -> None:
        """Whatever order things happen in, nothing is opened twice at a time and nothing fails."""
        core = make()
        open_streams = 0
        for data, choice in steps:
            act = (
                lambda data=data: core.receive_data(data, 1.0),
                lambda: core.upstream_opened(1.0),
                lambda: core.upstream_data(OK, 1.0),
                lambda: core.upstream_ended(1.0),
                lambda: core.upstream_torn(1.0),
                lambda: core.open_failed(ConnectRefused(), 1.0),
                lambda: core.receive_eof(1.0),
                lambda: core.deadline_passed(1e9),
            )[choice % 8]
            for event in act():
                if isinstance(event, OpenUpstream | OpenTunnel):
                    open_streams += 1
                if isinstance(event, CloseUpstream | DropUpstream):
                    open_streams = 0
                self.assertLessEqual(open_streams, 1)


class DeadlineTests(SynchronousTestCase):
    """The times."""

    def test_head(self) -> None:
        """A head has ten seconds, however slowly it drips; then the application is told."""
        for end in range(1, len(GET)):
            core = make()
            core.receive_data(GET[:end], 9.0)
            self.assertEqual(core.next_deadline(), DEFAULT_LIMITS.request_time)
            self.assertEqual(core.deadline_passed(DEFAULT_LIMITS.request_time - 1), [])
            self.assertEqual(core.deadline_passed(DEFAULT_LIMITS.request_time + 1), [DropUpstream(), HangUp()])
            self.assertEqual(core.data_to_send()[9:12], b"408")

    def test_silence(self) -> None:
        """A connection that says nothing is closed, and counted like a request that is not finished."""
        core = make()
        self.assertEqual(core.deadline_passed(DEFAULT_LIMITS.request_time), [CloseNow()])
        self.assertIs(core.refusal, ProxyRefusal.PROXY_SILENCE)
        core = make()
        core.receive_data(GET[:9], 1.0)
        core.deadline_passed(DEFAULT_LIMITS.request_time)
        self.assertIs(core.refusal, ProxyRefusal.PROXY_SILENCE)

    def test_silence_after_a_request(self) -> None:
        """It is how every kept connection ends, so nothing was refused."""
        core = exchange(GET)
        core.upstream_data(OK, 5.0)
        self.assertEqual(core.deadline_passed(5.0 + IDLE_TIMEOUT), [CloseNow()])
        self.assertIsNone(core.refusal)

    def test_between_requests(self) -> None:
        """A kept connection may be silent for a minute; a head that has begun has its ten seconds."""
        core = exchange(GET)
        core.upstream_data(OK, 5.0)
        self.assertEqual(core.next_deadline(), 5.0 + IDLE_TIMEOUT)
        core.receive_data(b"G", 20.0)
        self.assertEqual(core.next_deadline(), 20.0 + DEFAULT_LIMITS.request_time)
        core.receive_data(b"E", 25.0)
        self.assertEqual(core.next_deadline(), 20.0 + DEFAULT_LIMITS.request_time)

    def test_opening(self) -> None:
        """A stream has 120 seconds to open; then the answer is 504."""
        for data in (CONNECT, GET):
            core = make()
            core.receive_data(data, 1.0)
            self.assertEqual(core.deadline_passed(DEFAULT_LIMITS.open_time), [])
            self.assertEqual(core.deadline_passed(1.0 + DEFAULT_LIMITS.open_time), [DropUpstream(), HangUp()])
            self.assertEqual(core.data_to_send()[9:12], b"504")

    def test_a_slow_server(self) -> None:
        """A server may think as long as the application waits."""
        self.assertIsNone(exchange(GET).next_deadline())

    def test_a_slow_server_and_a_gone_application(self) -> None:
        """When the application has ended, the answer must begin within two minutes."""
        core = exchange(GET)
        core.receive_eof(1.0)
        self.assertEqual(core.deadline_passed(1.0 + GONE_TIMEOUT), [DropUpstream(), CloseNow()])
        core = exchange(GET)
        core.receive_eof(1.0)
        core.upstream_data(OK[:-1], 2.0)
        self.assertIsNone(core.next_deadline())

    def test_leaving(self) -> None:
        """After the last answer the connection is closed soon, or at the application's EOF."""
        core = make()
        core.receive_data(b"\0", 1.0)
        self.assertEqual(core.next_deadline(), 1.0 + LEAVING_TIMEOUT)
        self.assertEqual(core.deadline_passed(1.0 + LEAVING_TIMEOUT), [CloseNow()])
