"""Tests of torpydo.pool.web and torpydo.pool.site: whole requests, byte by byte, through a channel in memory."""

from __future__ import annotations

import gzip
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from tests.directory.build import NOW
from tests.pool.build import POOL, Pool
from torpydo.directory import MAX_HEARTBEAT, HeartbeatAnswer, listing_etag, parse_listing
from torpydo.net import Refusals
from torpydo.pool.limits import PoolLimits
from torpydo.pool.publisher import Publisher
from torpydo.pool.refusal import PoolRefusal
from torpydo.pool.site import PoolChannel, PoolFactory
from torpydo.pool.web import PIECE, PoolResource


class Transport(StringTransport):
    """A transport whose reader takes *room* bytes before it makes its writer wait."""

    room = 1 << 40

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.producer is not None and self.streaming and len(self.value()) > self.room:
            self.producer.pauseProducing()


class WebTestCase(SynchronousTestCase):
    """A pool that can be asked."""

    def setUp(self) -> None:
        self.open()

    def open(self, **limits: float) -> None:
        """A pool with these limits."""
        self.pool = Pool(limits=PoolLimits(**limits))
        clock = self.pool.times.clock
        self.publisher = Publisher(
            POOL,
            self.pool.store,
            lambda: [node.record for node in self.pool.admission.listed()],
            clock=clock.seconds,
            wall_clock=self.pool.times.wall,
            later=clock.callLater,
            parameters={},
        )
        self.refusals = Refusals(PoolRefusal, clock.seconds)
        self.resource = PoolResource(
            POOL.pool_id,
            self.pool.admission,
            self.publisher,
            limits=self.pool.limits,
            refusals=self.refusals,
            clock=clock.seconds,
            wall_clock=self.pool.times.wall,
            test_network=False,
        )
        self.factory = PoolFactory(clock, self.pool.limits, self.refusals)
        self.factory.open(self.resource)

    def refused(self) -> dict[str, int]:
        """What was refused, by cause, as far as anything was."""
        return {cause: count for cause, count in self.refusals.counts().items() if count}

    def connect(self, host: str = "5.5.5.5") -> tuple[PoolChannel, Transport]:
        address = IPv4Address("TCP", host, 5555)
        channel = self.factory.buildProtocol(address)
        assert channel is not None
        transport = Transport(peerAddress=address)
        channel.makeConnection(transport)
        return channel, transport

    def ask(
        self,
        path: str,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        host: str = "5.5.5.5",
    ) -> tuple[int, dict[str, str], bytes]:
        """One request on a connection of its own."""
        channel, transport = self.connect(host)
        channel.dataReceived(request(path, method, headers, body))
        result = parse(transport.value())
        channel.connectionLost(Failure(ConnectionLost()))
        return result


def request(path: str, method: str = "GET", headers: dict[str, str] | None = None, body: bytes = b"") -> bytes:
    """The bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: pool"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def parse(data: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an answer."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(first.split()[1]), headers, body


class ListingTests(WebTestCase):
    """GET /v1/listing."""

    def test_plain(self) -> None:
        """Without Accept-Encoding the signed bytes come as they are, with their ETag."""
        self.successResultOf(self.pool.send(self.pool.node()))
        status, headers, body = self.ask("/v1/listing")
        listing = parse_listing(body, POOL.pool_id, NOW)
        self.assertEqual((status, len(listing.entries)), (200, 1))
        self.assertEqual(headers["ETag"], f'"{listing_etag(body)}"')
        self.assertEqual(headers["Content-Length"], str(len(body)))
        self.assertNotIn("Content-Encoding", headers)

    def test_gzip(self) -> None:
        """With it they come as gzip, under the same ETag; caches must not change them."""
        plain = self.ask("/v1/listing")
        for accepted in ("gzip", "br, GZIP;q=0.5", "deflate, gzip"):
            status, headers, body = self.ask("/v1/listing", headers={"Accept-Encoding": accepted})
            self.assertEqual((status, headers["Content-Encoding"]), (200, "gzip"))
            self.assertEqual(gzip.decompress(body), plain[2])
            self.assertEqual(headers["ETag"], plain[1]["ETag"])
            self.assertEqual(headers["Vary"], "Accept-Encoding")
            self.assertIn("no-transform", headers["Cache-Control"])

    def test_no_gzip(self) -> None:
        """Who refuses gzip gets none."""
        for accepted in ("", "identity", "gzip;q=0", "gzip; q=0.000", "x-gzip"):
            self.assertNotIn("Content-Encoding", self.ask("/v1/listing", headers={"Accept-Encoding": accepted})[1])

    def test_not_modified(self) -> None:
        """Who has the current bytes gets 304 without a body, whatever a cache made of the tag."""
        etag = self.ask("/v1/listing")[1]["ETag"]
        for names in (etag, f"W/{etag}", f'"other", {etag}'):
            status, headers, body = self.ask("/v1/listing", headers={"If-None-Match": names})
            self.assertEqual((status, body, headers["ETag"]), (304, b"", etag))
            self.assertNotIn("Content-Length", headers)

    def test_modified(self) -> None:
        """After a change the old tag gets the new bytes."""
        etag = self.ask("/v1/listing")[1]["ETag"]
        self.publisher.changed()
        self.pool.times.advance(1)
        self.assertEqual(self.ask("/v1/listing", headers={"If-None-Match": etag})[0], 200)

    def test_headers_of_any_bytes(self) -> None:
        """What is no text names no tag and accepts no encoding; it is no error, and nothing is logged."""
        channel, transport = self.connect()
        fields = b"Host: a\r\nIf-None-Match: \xff\r\nAccept-Encoding: \xfe\r\n\r\n"
        channel.dataReceived(b"GET /v1/listing HTTP/1.1\r\n" + fields)
        status, headers, _ = parse(transport.value().partition(b"\r\n\r\n")[0])
        self.assertEqual((status, headers.get("Content-Encoding")), (200, None))

    def test_head(self) -> None:
        """HEAD gets the same headers and no body."""
        get = self.ask("/v1/listing")
        status, headers, body = self.ask("/v1/listing", "HEAD")
        self.assertEqual((status, headers, body), (200, get[1], b""))

    def test_slow_reader(self) -> None:
        """A reader that does not take the listing makes the pool wait, not keep a copy; then it gets all of it."""
        policy = ", ".join(f"accept *:{port}" for port in range(1, 127))
        for name in range(90):
            self.successResultOf(self.pool.send(self.pool.node(name, policy=policy)))
        self.publisher.changed()
        whole = self.successResultOf(self.publisher.current()).raw
        self.assertGreater(len(whole), 2 * PIECE)
        channel, transport = self.connect()
        transport.room = 1000
        channel.dataReceived(request("/v1/listing"))
        self.assertLess(len(transport.value()), PIECE + 1000)
        received = b""
        while not received.endswith(whole):
            received += transport.value()
            transport.clear()
            transport.producer.resumeProducing()
        channel.connectionLost(Failure(ConnectionLost()))


class HeartbeatTests(WebTestCase):
    """POST /v1/heartbeat."""

    def post(self, body: bytes, **arguments: Any) -> tuple[int, dict[str, str], bytes]:
        return self.ask("/v1/heartbeat", "POST", body=body, **arguments)

    def test_accepted(self) -> None:
        """A heartbeat in order is answered with the delay and the pool's time."""
        status, headers, body = self.post(self.pool.node().heartbeat())
        self.assertEqual((status, HeartbeatAnswer.parse(body)), (200, HeartbeatAnswer(15.0, NOW)))
        self.assertEqual(headers["Cache-Control"], "no-store")
        self.assertEqual(len(self.pool.listed()), 1)

    def test_answered_after_the_probe(self) -> None:
        """The answer to a new node waits for its probe."""
        self.pool.probes.answer = False
        channel, transport = self.connect()
        channel.dataReceived(request("/v1/heartbeat", "POST", body=self.pool.node().heartbeat()))
        self.pool.times.advance(20)
        self.assertEqual(transport.value(), b"")
        self.pool.probes.finish_all()
        self.assertEqual(parse(transport.value())[0], 200)
        channel.connectionLost(Failure(ConnectionLost()))

    def test_node_does_not_wait(self) -> None:
        """A node that hangs up before the answer is listed all the same."""
        self.pool.probes.answer = False
        channel, transport = self.connect()
        channel.dataReceived(request("/v1/heartbeat", "POST", body=self.pool.node().heartbeat()))
        channel.connectionLost(Failure(ConnectionLost()))
        self.pool.probes.finish_all()
        self.assertEqual(len(self.pool.listed()), 1)

    def test_refused(self) -> None:
        """A refusal is a status, a sentence in plain text, and when to come again."""
        self.pool.probes.succeed = False
        status, headers, body = self.post(self.pool.node().heartbeat())
        self.assertEqual((status, headers["Retry-After"]), (422, "15"))
        self.assertEqual(headers["Content-Type"], "text/plain; charset=utf-8")
        self.assertIn(b"--advertise", body)

    def test_no_forms(self) -> None:
        """No body is read as a form, whatever it calls itself: these would be bad ones."""
        for boundary in ("; boundary=x", ""):
            headers = {"Content-Type": f"multipart/form-data{boundary}"}
            status, _, body = self.ask("/v1/heartbeat", "POST", headers, b"--x\r\nnonsense")
            self.assertEqual((status, b"heartbeat" in body), (400, True))

    def test_empty(self) -> None:
        """A heartbeat without a body is refused."""
        self.assertEqual(self.post(b"")[0], 400)

    def test_too_often(self) -> None:
        """One host may send so many heartbeats; another host is not disturbed."""
        for _ in range(40):
            self.assertEqual(self.post(b"x")[0], 400)
        status, headers, body = self.post(b"x")
        self.assertEqual((status, headers["Retry-After"]), (429, "10"))
        self.assertEqual(self.post(b"x", host="5.5.5.6")[0], 400)
        self.assertEqual(self.refused(), {"heartbeats_per_host": 1, "heartbeat_malformed": 41})
        self.pool.times.advance(1)
        self.assertEqual(self.post(b"x")[0], 400)

    def test_this_machine(self) -> None:
        """Heartbeats of this machine have only the limit on all together."""
        self.open(heartbeats_burst=100)
        statuses = [self.post(b"x", host="127.0.0.1")[0] for _ in range(101)]
        self.assertEqual(statuses, [400] * 100 + [503])
        self.assertEqual(self.refused(), {"heartbeats": 1, "heartbeat_malformed": 100})

    def test_too_large(self) -> None:
        """A body that is too large is refused before it comes, and never kept."""
        channel, transport = self.connect()
        channel.dataReceived(request("/v1/heartbeat", "POST", {"Content-Length": str(MAX_HEARTBEAT + 1)}))
        self.assertEqual(parse(transport.value())[0], 413)
        self.assertTrue(transport.disconnecting)
        size = len(transport.value())
        channel.dataReceived(bytes(MAX_HEARTBEAT + 1))
        self.assertEqual(len(transport.value()), size)
        self.assertEqual(self.refused(), {"request_size": 1})
        channel.connectionLost(Failure(ConnectionLost()))

    def test_largest(self) -> None:
        """A body of exactly the limit is read."""
        self.assertEqual(self.post(bytes(MAX_HEARTBEAT))[0], 400)

    def test_chunked(self) -> None:
        """A body whose length is not said is refused."""
        channel, transport = self.connect()
        chunks = b"1\r\nx\r\n0\r\n\r\n"
        channel.dataReceived(request("/v1/heartbeat", "POST", {"Transfer-Encoding": "chunked"}) + chunks)
        self.assertEqual(parse(transport.value())[0], 411)
        self.assertTrue(transport.disconnecting)
        channel.connectionLost(Failure(ConnectionLost()))


class OtherTests(WebTestCase):
    """The other paths, and what is on none."""

    def test_time(self) -> None:
        """The time is whole seconds."""
        self.assertEqual(self.ask("/v1/time")[::2], (200, b"%d\n" % NOW))

    def test_page(self) -> None:
        """The page comes with its strict policy."""
        self.successResultOf(self.pool.send(self.pool.node()))
        status, headers, body = self.ask("/")
        self.assertEqual((status, headers["Content-Type"]), (200, "text/html; charset=utf-8"))
        self.assertIn("default-src 'none'", headers["Content-Security-Policy"])
        self.assertIn(b"node0", body)

    def test_page_is_kept(self) -> None:
        """The page is made once in some seconds, however often it is asked for."""
        before = self.ask("/")[2]
        self.successResultOf(self.pool.send(self.pool.node()))
        self.assertEqual(self.ask("/")[2], before)
        self.pool.times.advance(5)
        self.assertIn(b"node0", self.ask("/")[2])

    def test_other_paths(self) -> None:
        """Other paths are not found, and are not repeated in the answer."""
        for path in ("/x", "/v1", "/v1/", "/v1/listing/", "//v1/listing", "/v1/listing/planted", "/%2e%2e/x", "*"):
            status, headers, body = self.ask(path)
            self.assertEqual(status, 405 if path == "*" else 404, path)
            self.assertNotIn(b"planted", body)

    def test_query(self) -> None:
        """A query changes nothing."""
        self.assertEqual(self.ask("/v1/time?x=1")[0], 200)

    def test_other_methods(self) -> None:
        """Other methods are refused with those that work."""
        cases = ("/", "POST", "GET, HEAD"), ("/v1/listing", "DELETE", "GET, HEAD"), ("/v1/heartbeat", "GET", "POST")
        for path, method, allowed in (*cases, ("/v1/heartbeat", "HEAD", "POST")):
            status, headers, body = self.ask(path, method)
            self.assertEqual((status, headers["Allow"]), (405, allowed))

    def test_neutral_headers(self) -> None:
        """No answer tells a version, sets a cookie, or lets a browser guess."""
        for path in ("/", "/v1/listing", "/x", "*"):
            headers = self.ask(path)[1]
            self.assertEqual(headers["Server"], "torpydo")
            self.assertNotIn("Set-Cookie", headers)
        self.assertEqual(self.ask("/x")[1]["X-Content-Type-Options"], "nosniff")

    def test_unexpected_error(self) -> None:
        """An error of ours is logged; who asked learns nothing of it."""

        def broken() -> None:
            raise ZeroDivisionError("planted")

        self.patch(self.publisher, "current", broken)
        status, headers, body = self.ask("/v1/listing")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(status, 500)
        self.assertNotIn(b"planted", body)


class Silent(Resource):
    """Never answers."""

    isLeaf = True

    def render_GET(self, request: Request) -> int:
        return NOT_DONE_YET


class ConnectionTests(WebTestCase):
    """Connections that are many, slow or strange."""

    def test_before_open(self) -> None:
        """Before the pool is ready nobody is let in."""
        factory = PoolFactory(self.pool.times.clock, self.pool.limits, self.refusals)
        self.assertIsNone(factory.buildProtocol(IPv4Address("TCP", "5.5.5.5", 1)))

    def test_no_file_descriptors(self) -> None:
        """The connection is closed before anything is read, and counted; the listener stays (SECURITY D4)."""
        factory = PoolFactory(self.pool.times.clock, self.pool.limits, self.refusals, iter([False, True]).__next__)
        factory.open(self.resource)
        here = IPv4Address("TCP", "5.5.5.5", 1)
        self.assertIsNone(factory.buildProtocol(here))
        self.assertEqual(self.refused(), {"files": 1})
        self.assertIsNotNone(factory.buildProtocol(here))

    def test_byte_by_byte(self) -> None:
        """A request may come in as many pieces as it has bytes."""
        channel, transport = self.connect()
        for byte in request("/v1/heartbeat", "POST", body=self.pool.node().heartbeat()):
            channel.dataReceived(bytes([byte]))
        self.assertEqual(parse(transport.value())[0], 200)
        channel.connectionLost(Failure(ConnectionLost()))

    def test_several_requests(self) -> None:
        """A connection serves one request after another."""
        channel, transport = self.connect()
        channel.dataReceived(request("/v1/time") * 3)
        self.assertEqual(transport.value().count(b"HTTP/1.1 200 OK"), 3)
        channel.connectionLost(Failure(ConnectionLost()))

    def test_slow_request(self) -> None:
        """A request that is not whole after 10 s is cut off, however regularly its bytes come."""
        channel, transport = self.connect()
        for byte in b"GET /v1/t":
            self.pool.times.advance(1)
            channel.dataReceived(bytes([byte]))
        self.assertFalse(transport.disconnected)
        self.pool.times.advance(1.1)
        self.assertTrue(transport.disconnected)
        self.assertEqual(self.refused(), {"request_time": 1})
        channel.connectionLost(Failure(ConnectionLost()))

    def test_slow_body(self) -> None:
        """The same holds for a body."""
        channel, transport = self.connect()
        channel.dataReceived(request("/v1/heartbeat", "POST", {"Content-Length": "100"}))
        self.pool.times.advance(10.1)
        self.assertTrue(transport.disconnected)
        channel.connectionLost(Failure(ConnectionLost()))

    def test_idle(self) -> None:
        """A connection that asks nothing more is cut off after 10 s; nothing was refused by that."""
        channel, transport = self.connect()
        self.pool.times.advance(5)
        channel.dataReceived(request("/v1/time"))
        self.pool.times.advance(9.9)
        self.assertFalse(transport.disconnected)
        self.pool.times.advance(0.2)
        self.assertTrue(transport.disconnected)
        self.assertEqual(self.refused(), {})
        channel.connectionLost(Failure(ConnectionLost()))

    def test_idle_after_a_long_wait(self) -> None:
        """The 10 s after an answer are no more because the answer took long."""
        self.pool.probes.answer = False
        channel, transport = self.connect()
        channel.dataReceived(request("/v1/heartbeat", "POST", body=self.pool.node().heartbeat()))
        self.pool.times.advance(11, 9)
        self.pool.probes.finish_all()
        self.assertEqual(parse(transport.value())[0], 200)
        self.pool.times.advance(9.9)
        self.assertFalse(transport.disconnected)
        self.pool.times.advance(0.2)
        self.assertTrue(transport.disconnected)
        channel.connectionLost(Failure(ConnectionLost()))

    def test_answer_that_takes_too_long(self) -> None:
        """A request that is not answered, or whose answer is not taken, ends after a minute."""
        self.pool.probes.answer = False
        channel, transport = self.connect()
        channel.dataReceived(request("/v1/heartbeat", "POST", body=self.pool.node().heartbeat()))
        self.pool.times.advance(59.9)
        self.assertFalse(transport.disconnected)
        self.pool.times.advance(0.2)
        self.assertTrue(transport.disconnected)
        self.assertEqual(self.refused(), {"answer_time": 1})
        channel.connectionLost(Failure(ConnectionLost()))

    def test_other_times(self) -> None:
        """Both times are the operator's."""
        self.open(request_time=3.0, answer_time=5.0)
        self.pool.probes.answer = False
        slow, asking = self.connect(), self.connect()
        asking[0].dataReceived(request("/v1/heartbeat", "POST", body=self.pool.node().heartbeat()))
        self.pool.times.advance(3.1)
        self.assertEqual((slow[1].disconnected, asking[1].disconnected), (True, False))
        self.pool.times.advance(2)
        self.assertTrue(asking[1].disconnected)
        for channel, _ in (slow, asking):
            channel.connectionLost(Failure(ConnectionLost()))

    def test_headers(self) -> None:
        """A request with too many headers, or with too many bytes of them, is refused; one below the bounds is not."""
        self.open(headers=20, header_bytes=2048)
        for headers, status in (
            ({f"X-{number}": "y" for number in range(19)}, 200),
            ({f"X-{number}": "y" for number in range(21)}, 400),
            ({"X": "y" * 1900}, 200),
            ({"X": "y" * 2048}, 400),
        ):
            self.assertEqual(self.ask("/v1/time", headers=headers)[0], status)
        self.assertEqual(self.refused(), {"request_malformed": 2})

    def test_many_of_one_host(self) -> None:
        """One host has so many connections, and gets another when one ends."""
        channels = [self.connect()[0] for _ in range(16)]
        self.assertIsNone(self.factory.buildProtocol(IPv4Address("TCP", "5.5.5.5", 1)))
        self.connect("5.5.5.6")
        channels[0].connectionLost(Failure(ConnectionLost()))
        self.connect()
        self.assertEqual(self.refused(), {"connections_per_host": 1})

    def test_many_of_this_machine(self) -> None:
        """This machine has only the limit on all together: then the oldest that asks nothing goes (fault 8)."""
        self.open(connections=20)
        transports = [self.connect("127.0.0.1")[1] for _ in range(20)]
        for _ in range(2):
            self.connect("127.0.0.1")
        self.assertEqual([transport.disconnected for transport in transports], [True] * 2 + [False] * 18)
        self.assertEqual(self.refused(), {"connections": 2})

    def test_many_that_wait_for_an_answer(self) -> None:
        """Whoever has asked is not cut off for somebody who may."""
        self.open(connections=2)
        self.factory.open(Silent())
        asking, waiting = self.connect(), self.connect()
        asking[0].dataReceived(request("/"))
        self.connect()
        self.assertEqual((asking[1].disconnected, waiting[1].disconnected), (False, True))
        waiting[0].connectionLost(Failure(ConnectionLost()))
        for channel in list(self.factory.channels):
            if channel is not asking[0]:
                channel.dataReceived(request("/"))
        self.assertIsNone(self.factory.buildProtocol(IPv4Address("TCP", "5.5.5.6", 1)))

    def test_close(self) -> None:
        """Closing ends every connection and lets nobody in."""
        channel, transport = self.connect()
        self.factory.close()
        self.assertTrue(transport.disconnected)
        self.assertIsNone(self.factory.buildProtocol(IPv4Address("TCP", "5.5.5.5", 1)))
        channel.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.pool.times.clock.getDelayedCalls(), [])

    def test_not_http(self) -> None:
        """Something that is not HTTP is refused."""
        channel, transport = self.connect()
        channel.dataReceived(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
        self.assertTrue(transport.value().startswith(b"HTTP/1.1 400"))
        self.assertTrue(transport.disconnecting)
        self.assertEqual(self.refused(), {"request_malformed": 1})
        channel.connectionLost(Failure(ConnectionLost()))

    def test_log(self) -> None:
        """The log says every ten minutes how many requests there were, and never from where or for what."""
        lines: list[str] = []

        class Log:
            def info(self, text: str, **fields: str) -> None:
                lines.append(text.format(**fields))

        self.patch(PoolFactory, "_log", Log())
        self.ask("/v1/time")
        self.ask("/v1/time")
        self.ask("/planted", "PLANTED")
        self.pool.times.advance(601)
        self.assertEqual(lines, ["answered since the last such line: 2 x GET 200, 1 x other 404"])
        self.pool.times.advance(1000)
        self.assertEqual(len(lines), 1)
