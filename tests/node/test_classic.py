"""Tests of torpydo.node.classic: the older calls."""

from __future__ import annotations

import io
import random
from typing import Any

from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import key
from torpydo.errors import ConfigurationError, ListenError, PoolURLError
from torpydo.net import fetch
from torpydo.node import Node
from torpydo.pool import PoolIndex
from torpydo.testing import SimulatedReactor

POOL = ("127.0.3.2", 8080)


class NodeTests(SynchronousTestCase):
    """A node in four lines, with a real pool index."""

    def setUp(self) -> None:
        self.reactor = SimulatedReactor()
        self.out = io.StringIO()
        self.random = random.Random(1)
        self.pool_index = PoolIndex(*POOL, reactor=self.reactor)
        self.reactor.success(self.pool_index.start())
        self.addCleanup(lambda: self.reactor.success(self.pool_index.stop()))

    def make(self, host: str = "127.0.2.3", port: int = 6000, **arguments: Any) -> Node:
        """A node that knows the pool and is not started."""
        node = Node(host, port, reactor=self.reactor, rng=self.random.randbytes, out=self.out, **arguments)
        node.set_pool_index(*POOL)
        self.addCleanup(node.set_log, False)
        self.addCleanup(lambda: self.reactor.success(node.stop()))
        return node

    def listing(self) -> bytes:
        """The pool's listing as it is served."""
        return self.reactor.success(fetch(self.reactor, *POOL, "/v1/listing")).body

    def test_is_listed(self) -> None:
        """Its quick start works as it is: the pool lists the node, which exits to this machine."""
        node = self.make()
        self.assertIsNone(self.reactor.success(node.start()))
        self.reactor.advance(5)
        self.assertIn(b"127.0.0.0/8", self.listing())
        status = node.status()
        assert status is not None
        # The pool has tried the node.
        self.assertEqual((status.links, status.circuits, status.handshakes), (0, 0, 1))

    def test_policy_elsewhere(self) -> None:
        """On any other address exits are closed, and a keyword decides otherwise."""
        cases: tuple[tuple[str, str | None, str], ...] = (
            ("127.0.2.3", None, "accept 127.0.0.0/8:*"),
            ("::1", None, "accept 127.0.0.0/8:*"),
            ("20.1.1.1", None, "reject *:*"),
            ("127.0.2.3", "reject *:*", "reject *:*"),
            ("20.1.1.1", "accept *:443", "accept *:443"),
        )
        for host, policy, expected in cases:
            config = self.make(host, exit_policy=policy)._make()._config
            self.assertEqual(str(config.exit_policy), expected, msg=str((host, policy)))

    def test_other_pools(self) -> None:
        """Each call of set_pool_index adds a pool; one that is not on this machine needs its key."""
        node = self.make()
        node.set_pool_index(*POOL)
        node.set_pool_index("127.0.3.3", 8080)
        self.assertEqual([url.host for url in node._make()._config.pools], ["127.0.3.2", "127.0.3.3"])
        node.set_pool_index("203.0.113.1", 8080)
        self.failureResultOf(node.start(), PoolURLError)

    def test_pool_with_key(self) -> None:
        """With its key a pool may be anywhere."""
        node = self.make()
        node.set_pool_index("203.0.113.1", 80, str(key("pool").pool_id))
        self.assertEqual(node._make()._config.pools[1].pool_id, key("pool").pool_id)

    def test_without_pool(self) -> None:
        """Without a pool it does not start, and says what is missing."""
        failure = self.failureResultOf(Node("127.0.2.3", 6000, reactor=self.reactor).start(), ConfigurationError)
        self.assertIn("pool", str(failure.value))

    def test_busy_port(self) -> None:
        """A busy port is a failure of start()."""
        self.reactor.success(self.make().start())
        self.failureResultOf(self.make().start(), ListenError)

    def test_stop(self) -> None:
        """After a stop the port is free; a second stop does nothing, and it can be started again."""
        node = self.make()
        self.reactor.success(node.start())
        self.reactor.success(node.stop(), within=5)
        self.assertIsNone(node.status())
        self.successResultOf(node.stop())
        self.reactor.success(node.start())

    def test_log(self) -> None:
        """set_log says on the console what the node does, and only that."""
        node = self.make()
        node.set_log(True)
        node.set_log(True)
        self.reactor.success(node.start())
        Logger("somebody.else").info("not ours")
        node.set_log(False)
        Logger("torpydo.node").info("too late")
        lines = self.out.getvalue().splitlines()
        self.assertEqual(sum("listens on 127.0.2.3:6000" in line for line in lines), 1)
        self.assertFalse([line for line in lines if "not ours" in line or "too late" in line])
