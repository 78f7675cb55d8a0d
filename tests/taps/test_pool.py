"""Tests of torpydo.taps.pool."""

from __future__ import annotations

import os
import shutil
import tempfile

from twisted.application.service import Application, IService
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from tests.pool.build import Reactor
from torpydo.pool import PoolLimits, PoolService
from torpydo.taps.ending import CannotStart
from torpydo.taps.pool import Options, makeService


def parse(*arguments: str) -> Options:
    """Options from a command line."""
    options = Options()
    options.parseOptions(arguments)
    return options


class OptionsTests(SynchronousTestCase):
    """The command line."""

    def test_defaults(self) -> None:
        """Without options the pool listens on loopback and is no test network."""
        config = parse().config(Reactor())
        self.assertEqual(config.listen, "tcp:8080:interface=127.0.0.1")
        self.assertEqual((config.requested_delay, config.deprecation_delay, config.gc_cycle), (15.0, 30.0, 10.0))
        self.assertFalse(config.test_network)
        self.assertEqual(config.stamp_bits, 0)

    def test_all(self) -> None:
        """Every option arrives."""
        options = parse(
            "--listen=tcp:9:interface=127.0.0.2",
            "--state-dir=/some/where",
            "--requested-delay=5",
            "--deprecation-delay=11.5",
            "--gc-cycle=3",
            "--test-network",
            "--stamp-bits=12",
        )
        config = options.config(Reactor())
        self.assertEqual((config.listen, config.state_dir), ("tcp:9:interface=127.0.0.2", "/some/where"))
        self.assertEqual((config.requested_delay, config.deprecation_delay, config.gc_cycle), (5.0, 11.5, 3.0))
        self.assertTrue(config.test_network)
        self.assertEqual(config.stamp_bits, 12)

    def test_limits(self) -> None:
        """Each is an option, the rest keep their defaults; all of them are named when one is misspelt."""
        config = parse("--limit=nodes-per-host=4", "--limit=request-time=2.5").config(Reactor())
        self.assertEqual((config.limits.nodes_per_host, config.limits.request_time), (4, 2.5))
        self.assertEqual(config.limits.connections, PoolLimits().connections)
        with self.assertRaises(UsageError) as caught:
            parse("--limit=node-per-host=4")
        self.assertTrue(all(limit.name in str(caught.exception) for limit in PoolLimits.known()))

    def test_bad_options(self) -> None:
        """A bad option is a usage error, before anything is made."""
        for arguments in (
            ["--listen=tcp:x"],
            ["--listen=tcp"],
            ["--listen=nonsense:8080"],
            ["--listen=tcp:8080:colour=red"],
            ["--listen="],
            ["--state-dir="],
            ["--requested-delay=soon"],
            ["--requested-delay=0"],
            ["--requested-delay=301", "--deprecation-delay=400"],
            ["--deprecation-delay=15"],
            ["--deprecation-delay=nan"],
            ["--gc-cycle=-1"],
            ["--gc-cycle=inf"],
            ["--stamp-bits=-1"],
            ["--stamp-bits=25"],
            ["--stamp-bits=many"],
            ["--limit=colour=red"],
            ["--limit=nodes-per-host=0"],
            ["--limit=nodes=40000"],
            ["--colour=red"],
            ["surplus"],
        ):
            with self.assertRaises(UsageError, msg=str(arguments)):
                parse(*arguments)

    def test_help(self) -> None:
        """The help names every option."""
        text = str(Options())
        names = ("listen", "state-dir", "requested-delay", "deprecation-delay", "gc-cycle", "test-network", "limit")
        for name in names:
            self.assertIn(f"--{name}", text)


class MakeServiceTests(SynchronousTestCase):
    """What twistd runs."""

    def setUp(self) -> None:
        scratch = os.path.realpath(tempfile.mkdtemp(prefix="torpydo-test-"))
        self.addCleanup(shutil.rmtree, scratch, ignore_errors=True)
        self.state = os.path.join(scratch, "state")
        self.reactor = Reactor()

    def make(self) -> IService:
        return makeService(parse(f"--state-dir={self.state}"), self.reactor)

    def test_runs_a_pool(self) -> None:
        """Started as twistd does it, the pool listens and writes its URL."""
        application = Application("pool")
        self.make().setServiceParent(application)
        root = IService(application)
        root.privilegedStartService()
        root.startService()
        self.addCleanup(root.stopService)
        self.assertEqual(len(self.reactor.tcpServers), 1)
        with open(os.path.join(self.state, "pool.url")) as file:
            self.assertTrue(file.read().startswith("http://127.0.0.1:8080/#"))

    def test_nothing_before_the_start(self) -> None:
        """Making the service touches neither disk nor network."""
        service = self.make()
        self.assertFalse(os.path.exists(self.state))
        self.assertEqual(self.reactor.tcpServers, [])
        self.assertIsInstance(list(iter(service))[0], PoolService)

    def test_busy_port(self) -> None:
        """A busy port ends the process with status 3 and one line."""
        self.reactor.busy = True
        error = self.assertRaises(CannotStart, self.make().privilegedStartService)
        self.assertIsInstance(error, SystemExit)
        self.assertIsInstance(error, Exception)
        self.assertEqual((error.code, error.exit_status), (3, 3))
        self.assertIn("Address already in use", str(error))

    def test_bad_state(self) -> None:
        """A state directory that others may read ends the process with status 4."""
        os.mkdir(self.state, 0o755)
        os.chmod(self.state, 0o755)
        error = self.assertRaises(CannotStart, self.make().startService)
        self.assertEqual(error.code, 4)
        self.assertIn("chmod 700", str(error))
