"""Pools that are down, lie or contradict themselves, in a whole network (SECURITY section 3, cases 24 to 26)."""

from __future__ import annotations

import gzip

from twisted.internet.endpoints import connectProtocol
from twisted.logger import LogLevel, capturedLogs, formatEvent

from tests.network.base import stream
from tests.network.pools import Answer, Lie, LyingPool, PoolsTestCase, Question, ok
from tests.testing.recorders import Recorder
from torpydo.client import Client, World
from torpydo.crypto import Purpose
from torpydo.directory import ListingEntry
from torpydo.errors import PathError, PoolUnreachable
from torpydo.net.fetch import MAX_BODY

ROOM = 64 * 1024
"""Bytes that an answer may have beside its body."""


def whole(data: bytes) -> Answer:
    """One piece."""
    return iter((data,))


def forged(question: Question) -> Answer:
    """Signed with another key."""
    signed = question.sign()
    return whole(ok(bytes(64) + signed[64:]))


def stale(question: Question) -> Answer:
    """In order, and some minutes old."""
    return whole(ok(question.sign(sequence=(question.now - 250) * 1000, valid_after=question.now - 250)))


def future(question: Question) -> Answer:
    """Of tomorrow."""
    day = question.now + 86400
    return whole(ok(question.sign(sequence=day * 1000, valid_after=day, fresh_until=day + 9, valid_until=day + 99)))


def malformed(question: Question) -> Answer:
    """Signed, and no listing at all."""
    junk = b"\x91" * 100_000
    return whole(ok(question.key.sign(Purpose.LISTING, junk) + junk))


def bomb(question: Question) -> Answer:
    """A gigabyte in a megabyte."""
    return whole(ok(gzip.compress(bytes(64 << 20)), b"Content-Encoding: gzip"))


def announced(question: Question) -> Answer:
    """Too long, and says so."""
    yield b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY + 1)
    while True:
        yield bytes(65536)


def endless(question: Question) -> Answer:
    """Too long, and does not say so."""
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    while True:
        yield b"100000\r\n" + bytes(1 << 20) + b"\r\n"


def dripping(question: Question) -> Answer:
    """A byte now and then."""
    data = ok(question.sign())
    for byte in data:
        yield bytes([byte])
        yield 0.9


def silent(question: Question) -> Answer:
    """Nothing at all."""
    return iter(())


def headers(question: Question) -> Answer:
    """More headers than body."""
    yield b"HTTP/1.1 200 OK\r\n"
    while True:
        yield b"X-Header: value\r\n" * 100


def redirect(question: Question) -> Answer:
    """To somewhere else."""
    return whole(ok(b"", b"Location: http://10.0.3.1:80/", status=b"302 Found"))


def unchanged(question: Question) -> Answer:
    """Nothing new, whatever was asked."""
    return whole(b"HTTP/1.1 304 Not Modified\r\n\r\n")


def page(question: Question) -> Answer:
    """A web page."""
    return whole(ok(b"<html>welcome</html>"))


REFUSED: tuple[Lie, ...] = (
    forged,
    stale,
    future,
    malformed,
    bomb,
    announced,
    endless,
    dripping,
    silent,
    headers,
    redirect,
    page,
)


class LyingPoolTests(PoolsTestCase):
    """One of three pools lies to the client of a network that works."""

    def echoes(self, client: Recorder, text: bytes) -> None:
        """What is written comes back."""
        before = len(client.data)
        stream(client).write(text)
        self.network.advance(1)
        self.assertEqual(bytes(client.data[before:]), text)

    def assert_works(self, digest: str | None, about: object) -> None:
        status = self.client().status()
        known = len(self.network.nodes)
        self.assertEqual((status.ready, status.nodes, status.listing_digest), (True, known, digest), about)
        (host, port) = self.where
        opened = self.network.success(connectProtocol(self.client().endpoint(host, port), Recorder()))
        self.echoes(opened, b"a new stream")
        self.echoes(self.old, b"the old stream")
        stream(opened).loseConnection()

    def start_lying(self, nodes: int = 5) -> LyingPool:
        self.start_pools(nodes=nodes)
        self.where = self.echo()
        self.old = self.network.success(connectProtocol(self.client().endpoint(*self.where), Recorder()))
        return self.corrupt(self.pools[2])

    def end(self) -> None:
        """The applications are done; what the liar does now is nothing to the network."""
        stream(self.old).loseConnection()
        self.oracle.check()

    def test_what_is_refused(self) -> None:
        """Each costs the liar's own listing at the most: streams go on, new ones open, the liar alone is named."""
        liar = self.start_lying(nodes=3)
        self.ask()
        digest = self.client().status().listing_digest
        for lie in REFUSED:
            liar.lie = lie
            with capturedLogs() as lines:
                self.ask()
            self.assert_works(digest, lie.__name__)
            good, also_good, bad = self.client().status().pools
            self.assertEqual((good.error, also_good.error), (None, None), lie.__name__)
            self.assertIn("10.0.0.3:80", str(bad.error), lie.__name__)
            self.assertIsNotNone(bad.listing_age, lie.__name__)
            said = [str(formatEvent(line)) for line in lines if line["log_level"] is LogLevel.warn]
            self.assertEqual(len(said), 1, (lie.__name__, said))
            self.assertIn("10.0.0.3:80", said[0])
            liar.lie = None
            # A try of the client's own may be under way that began with the lie.
            self.ask()
            self.network.advance(1)
            self.ask()
            self.assertIsNone(self.client().status().pools[2].error, lie.__name__)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.network.advance(5)
        self.assertLessEqual(len(self.network.internet.connections_of("10.0.0.3")), len(self.network.nodes))
        self.end()

    def test_how_much_is_read(self) -> None:
        """Of an answer without end a client takes what a listing may have, and hangs up."""
        liar = self.start_lying()
        self.ask()
        liar.written, liar.lie = 0, endless
        self.ask()
        self.assertIn("10.0.0.3:80", str(self.client().status().pools[2].error))
        # What was under way when the client hung up: some socket buffers.
        self.assertLessEqual(liar.written, MAX_BODY + ROOM + (2 << 20))
        self.end()

    def test_what_is_not_new(self) -> None:
        """A pool that always says that nothing is new keeps its last listing, which goes on counting."""
        liar = self.start_lying()
        self.ask()
        digest = self.client().status().listing_digest
        liar.lie = unchanged
        self.network.advance(60)
        self.assert_works(digest, "unchanged")
        self.assertGreater(self.client().status().pools[2].listing_age or 0, 60)
        self.end()

    def test_nodes_that_are_not(self) -> None:
        """A pool that hides nodes, or all but a few, changes nothing and is named."""
        liar = self.start_lying()
        self.ask()
        digest = self.client().status().listing_digest
        liar.lie = lambda question: whole(ok(question.sign(question.honest.entries[:1])))
        self.network.advance(1)
        self.ask()
        self.assert_works(digest, "hidden")
        self.assertEqual([pool.missing for pool in self.client().status().pools], [0, 0, 4])
        self.assertTrue([text for text in self.client().status().warnings if "10.0.0.3:80 does not list 4" in text])
        self.end()

    def test_the_quickest_hides_nodes_from_a_new_client(self) -> None:
        """While one honest pool is down, a new client does not choose from what the liar lets it see; then it does."""
        liar = self.start_lying()
        liar.lie = lambda question: whole(ok(question.sign(question.honest.entries[:3])))
        self.pools[1].kill()
        member = self.make_client()
        liar.victims |= {member.ip}
        with self.assertRaises(PathError) as caught:
            self.network.success(member.connect(self.urls, hops=3))
        self.assertIn("hiding nodes", str(caught.exception))
        self.pools[1].start()
        self.network.settle()
        again = self.make_client()
        liar.victims |= {again.ip}
        client = self.network.success(again.connect(self.urls, hops=3))
        self.assertEqual(client.status().nodes, 5)
        self.end()


class EquivocationTests(PoolsTestCase):
    """A pool that tells two clients different things."""

    def test_digests_differ(self) -> None:
        """Each sees the same digest of the honest pools and another one of the liar; both go on with the same nodes."""
        self.start_pools(clients=2)
        liar = self.corrupt(self.pools[2])
        second = self.network.clients[1].ip

        def lie(question: Question) -> Answer:
            entries: list[ListingEntry] = list(question.honest.entries)
            return whole(ok(question.sign(entries[:-1] if question.reader == second else entries)))

        liar.lie = lie
        with capturedLogs() as lines:
            self.network.advance(30)
        one, two = (self.client(number).status() for number in range(2))
        same = [mine.digest == yours.digest for mine, yours in zip(one.pools, two.pools, strict=True)]
        self.assertEqual(same, [True, True, False])
        self.assertEqual(one.listing_digest, two.listing_digest)
        said = " ".join(str(formatEvent(line)) for line in lines)
        self.assertIn(str(two.pools[2].digest), said)
        self.oracle.check()


class DownTests(PoolsTestCase):
    """Pools that nobody reaches."""

    def test_all_are_down(self) -> None:
        """Streams go on, new ones open, and the client says which pools are silent; they come back."""
        self.start_pools()
        where = self.echo()
        old = self.network.success(connectProtocol(self.client().endpoint(*where), Recorder()))
        for pool in self.pools:
            pool.kill()
        self.network.advance(900)
        new = self.network.success(connectProtocol(self.client().endpoint(*where), Recorder()))
        for recorder in (old, new):
            stream(recorder).write(b"still there")
        self.network.advance(1)
        self.assertEqual((bytes(old.data), bytes(new.data)), (b"still there", b"still there"))
        status = self.client().status()
        self.assertTrue(status.ready)
        self.assertTrue(all("refuses connections" in str(pool.error) for pool in status.pools))
        for pool in self.pools:
            pool.start()
        # Nodes ask a pool that is down every two minutes, clients every ten.
        self.network.advance(120)
        self.network.settle()
        self.ask()
        self.assertEqual([pool.error for pool in self.client().status().pools], [None, None, None])
        for recorder in (old, new):
            stream(recorder).loseConnection()
        self.oracle.check()

    def test_one_is_down(self) -> None:
        """At the start of a client, and later."""
        self.start_pools(clients=0)
        self.pools[1].kill()
        status = self.add_client().status()
        self.assertEqual((status.ready, status.nodes), (True, 5))
        self.assertEqual([pool.error is None for pool in status.pools], [True, False, True])
        self.oracle.check()

    def test_two_are_down(self) -> None:
        """One pool alone decides nothing: a new client says that two are needed, one that runs goes on."""
        self.start_pools()
        for pool in self.pools[:2]:
            pool.kill()
        self.network.advance(600)
        self.assertEqual((self.client().status().ready, self.client().status().nodes), (True, 5))
        with self.assertRaises(PoolUnreachable) as caught:
            self.add_client()
        self.assertIn("1 of 3 pools gave a listing, 2 needed", str(caught.exception))
        self.oracle.check()

    def test_down_at_the_start(self) -> None:
        """A client that was started before the pools gets ready when they come."""
        network = self.start_pools(clients=0)
        for pool in self.pools:
            pool.kill()
        member = self.make_client()
        member.start()
        world = World(rng=member.rng(), wall_clock=member.wall_clock)
        member.client = Client.start(member.reactor, [str(url) for url in self.urls], None, world=world)
        network.advance(100)
        self.assertFalse(member.client.status().ready)
        for pool in self.pools:
            pool.start()
        network.advance(100)
        network.settle()
        self.assertTrue(member.client.status().ready)
        self.oracle.check()


