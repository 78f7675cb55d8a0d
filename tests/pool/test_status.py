"""Tests of torpydo.pool.status, as a running pool fills it, and of torpydo.pool.sequence."""

from __future__ import annotations

import os
import shutil
import tempfile

from twisted.internet.address import IPv4Address
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import NOW
from tests.pool.build import POOL, Node, Probes, Reactor, Times
from tests.pool.test_web import parse, request
from torpydo.directory import parse_listing
from torpydo.errors import StateError
from torpydo.pool import IndexStatus, PoolConfig, PoolService, raise_sequence, saved_sequence


class StatusTests(SynchronousTestCase):
    """A pool with nodes, in memory."""

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.probes = Probes()
        self.service = PoolService(
            self.reactor,
            PoolConfig(TCP4ServerEndpoint(self.reactor, 8080, interface="127.0.0.1"), "tcp:8080", None),
            probe=self.probes,
            wall_clock=lambda: NOW + self.reactor.seconds(),
            rng=lambda count: bytes(POOL.seed),
        )
        self.service.startService()
        self.addCleanup(self.service.stopService)
        self.times = Times(self.reactor)

    def ask(self, path: str, method: str = "GET", body: bytes = b"") -> bytes:
        """One request, over a connection of its own; everything that comes back at once."""
        channel = self.reactor.tcpServers[0][1].buildProtocol(IPv4Address("TCP", "127.0.0.1", 5555))
        transport = StringTransport()
        channel.makeConnection(transport)
        channel.dataReceived(request(path, method, body=body))
        channel.connectionLost(Failure(ConnectionLost()))
        return transport.value()

    def beat(self, name: object) -> None:
        """A heartbeat."""
        self.reactor.advance(0.001)
        self.ask("/v1/heartbeat", "POST", Node(self.times, name).heartbeat())

    def status(self) -> IndexStatus:
        """The pool at this moment."""
        status = self.service.status()
        assert status is not None
        return status

    def test_an_empty_pool(self) -> None:
        """It has said nothing yet."""
        status = self.status()
        self.assertEqual((status.listed, status.known, status.pending, status.heartbeats), (0, 0, 0, 0))
        self.assertEqual((status.listing_sequence, status.listing_age, status.listing_bytes), (0, None, 0))
        self.assertEqual(set(status.refused.values()), {0})
        report = self.service.report()
        assert report is not None
        self.assertEqual((report.pool_id, report.listing_digest, report.test_network), (str(POOL.pool_id), None, False))

    def test_nodes(self) -> None:
        """Those that are listed, those that are tried, and those to which no link opens."""
        for name in (1, 2, 3):
            self.beat(name)
        self.probes.succeed = False
        self.beat(4)
        self.probes.answer = False
        self.beat(5)
        status = self.status()
        self.assertEqual((status.listed, status.known, status.pending, status.probes), (3, 5, 2, 1))
        self.assertEqual((status.heartbeats, status.refused["unreachable"]), (3, 1))
        self.assertGreater(status.database_bytes, 0)

    def test_the_listing(self) -> None:
        """Its sequence, age and digest are those of what is served; asking for them makes none."""
        self.beat(1)
        self.assertEqual(self.status().listing_sequence, 0)
        listing = parse_listing(parse(self.ask("/v1/listing"))[2], POOL.pool_id, NOW + self.reactor.seconds())
        self.reactor.advance(7)
        status, report = self.status(), self.service.report()
        assert report is not None
        self.assertEqual((status.listing_sequence, report.listing_digest), (listing.sequence, listing.digest))
        self.assertAlmostEqual(status.listing_age or 0.0, 7.0, places=2)
        self.assertGreater(status.listing_bytes, 200)

    def test_connections(self) -> None:
        """Those that are open."""
        channel = self.reactor.tcpServers[0][1].buildProtocol(IPv4Address("TCP", "127.0.0.1", 5555))
        channel.makeConnection(StringTransport())
        self.assertEqual(self.status().connections, 1)
        channel.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.status().connections, 0)

    def test_a_pool_that_does_not_run(self) -> None:
        """It has nothing to tell."""
        self.service.stopService()
        self.assertEqual((self.service.status(), self.service.report()), (None, None))


class SequenceTests(SynchronousTestCase):
    """The sequence of a pool's database."""

    def setUp(self) -> None:
        scratch = os.path.realpath(tempfile.mkdtemp(prefix="torpydo-test-"))
        self.addCleanup(shutil.rmtree, scratch)
        self.path = os.path.join(scratch, "a pool?.db")

    def test_beside_a_pool_that_runs(self) -> None:
        """It can be read while another connection has the database open."""
        raise_sequence(self.path, 5)
        self.assertEqual(saved_sequence(self.path), 5)

    def test_it_only_rises(self) -> None:
        """A copy that is older changes nothing."""
        for sequence, expected in ((7, 7), (3, 7), (8, 8)):
            raise_sequence(self.path, sequence)
            self.assertEqual(saved_sequence(self.path), expected)

    def test_no_database(self) -> None:
        """There never was a listing, and none is made."""
        self.assertEqual(saved_sequence(self.path), 0)
        self.assertFalse(os.path.exists(self.path))

    def test_something_else(self) -> None:
        """It is refused with its path."""
        with open(self.path, "wb") as file:
            file.write(b"dear diary " * 1000)
        for call in (lambda: saved_sequence(self.path), lambda: raise_sequence(self.path, 1)):
            self.assertIn(self.path, str(self.assertRaises(StateError, call)))
