"""Tests of torpydo.pool.index: the older calls."""

from __future__ import annotations

import io
from typing import Any

from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from tests.pool.build import Probes, Reactor
from torpydo.errors import ConfigurationError, ListenError
from torpydo.pool import PoolIndex, PoolService


class PoolIndexTests(SynchronousTestCase):
    """A pool index in three lines."""

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.out = io.StringIO()

    def make(self, host: str = "127.0.3.2", port: int = 8080, **arguments: Any) -> PoolIndex:
        index = PoolIndex(host, port, reactor=self.reactor, probe=Probes(), out=self.out, **arguments)
        self.addCleanup(index.stop)
        self.addCleanup(index.set_log, False)
        return index

    def config(self, index: PoolIndex) -> Any:
        configs: list[Any] = []
        init = PoolService.__init__

        def recording(service: PoolService, reactor: Any, config: Any, **arguments: Any) -> None:
            configs.append(config)
            init(service, reactor, config, **arguments)

        self.patch(PoolService, "__init__", recording)
        self.successResultOf(index.start())
        return configs[0]

    def test_start(self) -> None:
        """It listens where it was told and fires with its URL."""
        url = self.successResultOf(self.make().start())
        port, factory, backlog, interface = self.reactor.tcpServers[0]
        self.assertEqual((interface, port, url.host, url.port), ("127.0.3.2", 8080, "127.0.3.2", 8080))
        self.assertIsNotNone(url.pool_id)

    def test_ipv6(self) -> None:
        """It listens on IPv6 addresses too."""
        self.make("::1")
        url = self.successResultOf(self.make("::1").start())
        self.assertEqual(url.host, "::1")

    def test_loopback_is_a_test_network(self) -> None:
        """On a loopback address it is a test network, elsewhere not, and the keyword decides."""
        cases = (
            ("127.0.3.2", None, True),
            ("::1", None, True),
            ("localhost", None, True),
            ("192.0.2.1", None, False),
            ("pool.example", None, False),
            ("127.0.0.1", False, False),
            ("192.0.2.1", True, True),
        )
        for host, flag, expected in cases:
            index = self.make(host, test_network=flag)
            self.assertEqual(self.config(index).test_network, expected, host)
            self.successResultOf(index.stop())

    def test_settings(self) -> None:
        """The three delays are taken at the start."""
        index = self.make()
        index.set_requested_delay(5)
        index.set_deprecation_delay(12.5)
        index.set_garbage_collector_cycle(3)
        config = self.config(index)
        self.assertEqual((config.requested_delay, config.deprecation_delay, config.gc_cycle), (5, 12.5, 3))

    def test_bad_settings(self) -> None:
        """A delay that makes no sense is an error of the start."""
        index = self.make()
        index.set_garbage_collector_cycle(0)
        self.failureResultOf(index.start(), ConfigurationError)

    def test_busy(self) -> None:
        """A busy port is an error of the start."""
        self.reactor.busy = True
        self.failureResultOf(self.make().start(), ListenError)

    def test_stop(self) -> None:
        """Stopping ends everything; without a start, or twice, it does nothing."""
        index = self.make()
        self.successResultOf(index.stop())
        self.successResultOf(index.start())
        self.successResultOf(index.stop())
        self.successResultOf(index.stop())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_log(self) -> None:
        """With the flag it says on the console what happens; without it nothing; other programs' lines never."""
        index = self.make()
        index.set_log(True)
        index.set_log(True)
        url = self.successResultOf(index.start())
        Logger(namespace="elsewhere").info("planted")
        self.assertEqual(self.out.getvalue().count(str(url)), 1)
        self.assertNotIn("planted", self.out.getvalue())
        index.set_log(False)
        Logger(namespace="torpydo.pool").info("quiet")
        self.assertNotIn("quiet", self.out.getvalue())
