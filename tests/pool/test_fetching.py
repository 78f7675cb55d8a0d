"""A pool asked by torpydo's own fetch: both ends of HTTP agree."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import NOW
from tests.pool.build import Node, Probes, Reactor, Times
from tests.pool.test_service import POOL
from torpydo.directory import HeartbeatAnswer, listing_etag, parse_listing
from torpydo.net import Fetched, fetch
from torpydo.pool import PoolConfig, PoolService


class FetchingTests(SynchronousTestCase):
    """Requests as clients and nodes make them."""

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.probes = Probes()
        self.service = PoolService(
            self.reactor,
            PoolConfig(endpoint=self, listen="memory", state_dir=None),
            probe=self.probes,
            wall_clock=lambda: NOW + self.reactor.seconds(),
            rng=lambda count: b"k" * count,
        )
        self.service.startService()
        self.addCleanup(self.service.stopService)

    def listen(self, factory: Any) -> Deferred[Any]:
        self.factory = factory
        return Deferred()

    def ask(self, path: str, **arguments: Any) -> Fetched:
        """One fetch, its bytes carried by hand."""
        result = fetch(self.reactor, "127.0.0.1", 8080, path, **arguments)
        client = self.reactor.tcpClients[-1][2].buildProtocol(IPv4Address("TCP", "127.0.0.1", 8080))
        server = self.factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 5555))
        ends = [(client, StringTransport()), (server, StringTransport())]
        for protocol, transport in ends:
            protocol.makeConnection(transport)
        while any(transport.value() for _, transport in ends):
            for (_, source), (target, sink) in (ends, ends[::-1]):
                data = source.value()
                source.clear()
                if not sink.disconnecting:
                    target.dataReceived(data)
        for protocol, _ in ends:
            protocol.connectionLost(Failure(ConnectionLost()))
        return self.successResultOf(result)

    def heartbeat(self) -> Fetched:
        self.reactor.advance(0.001)
        body = Node(Times(self.reactor, NOW), pool=POOL).heartbeat()
        return self.ask("/v1/heartbeat", method=b"POST", body=body)

    def test_heartbeat(self) -> None:
        """A node learns the delay and the pool's time."""
        fetched = self.heartbeat()
        self.assertEqual(fetched.status, 200)
        self.assertEqual(HeartbeatAnswer.parse(fetched.body), HeartbeatAnswer(15.0, NOW + 0.001))

    def test_refusal(self) -> None:
        """A node learns why it was refused."""
        self.probes.succeed = False
        fetched = self.heartbeat()
        self.assertEqual(fetched.status, 422)
        self.assertIn(b"check --advertise", fetched.body)

    def test_listing(self) -> None:
        """A client gets the listing, and later is told that it still has it."""
        self.heartbeat()
        first = self.ask("/v1/listing")
        self.assertEqual(len(parse_listing(first.body, POOL.pool_id, NOW).entries), 1)
        etag = listing_etag(first.body)
        self.assertEqual(first.etag, etag)
        self.assertEqual(self.ask("/v1/listing", etag=etag), Fetched(304, b"", etag, True))

    def test_long_policies(self) -> None:
        """A network whose nodes all have the same long exit policy is no bomb to its clients."""
        rules = ", ".join(f"reject 9.9.{number}.0/24:{1000 + number}-{2000 + number}" for number in range(127))
        for name in range(40):
            self.reactor.advance(0.001)
            node = Node(Times(self.reactor, NOW), name, pool=POOL, overrides={"policy": f"{rules}, accept *:*"})
            self.assertEqual(self.ask("/v1/heartbeat", method=b"POST", body=node.heartbeat()).status, 200)
        fetched = self.ask("/v1/listing")
        self.assertEqual(len(parse_listing(fetched.body, POOL.pool_id, NOW + 1).entries), 40)

    def test_time(self) -> None:
        """A client can read the pool's time."""
        self.assertEqual(int(self.ask("/v1/time", limit=64).body), NOW)
