"""Tests of torpydo.taps.node."""

from __future__ import annotations

import os
import shutil
import tempfile

from twisted.application.service import Application, IService
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import key, url
from torpydo.node import DEFAULT_BANDWIDTH, NodeConfig, NodeLimits, NodeService
from torpydo.taps.ending import CannotStart
from torpydo.taps.node import Options, makeService
from torpydo.testing import SimulatedReactor

POOL = f"--pool={url()}"


def parse(*arguments: str) -> Options:
    """Options from a command line."""
    options = Options()
    options.parseOptions(arguments)
    return options


def config(*arguments: str) -> NodeConfig:
    """What a command line means."""
    return parse(POOL, *arguments).config(SimulatedReactor())


class OptionsTests(SynchronousTestCase):
    """The command line."""

    def test_defaults(self) -> None:
        """With nothing but a pool the node listens on loopback and opens no exit."""
        made = config()
        self.assertEqual((made.listen, made.advertise), ("tcp:6000:interface=127.0.0.1", None))
        self.assertFalse(made.exit_policy.is_open or made.allow_single_hop)
        self.assertEqual((made.nickname, made.family, made.bandwidth), ("", frozenset(), DEFAULT_BANDWIDTH))

    def test_all(self) -> None:
        """Every option arrives."""
        others = [key(name).node_id for name in ("a", "b", "c")]
        made = config(
            "--pool=http://127.0.0.1:8081/",
            "--listen=tcp:9",
            "--advertise=node.example.org:9",
            "--state-dir=/some/where",
            "--exit-policy=accept *:443, accept *:80",
            "--nickname=nick",
            f"--family={others[0]},{others[1]}",
            f"--family={others[2]}",
            "--bandwidth=5M",
            "--allow-single-hop",
            "--workers=1",
        )
        self.assertEqual([pool.port for pool in made.pools], [8080, 8081])
        self.assertEqual((made.listen, str(made.advertise)), ("tcp:9", "node.example.org:9"))
        self.assertEqual((made.state_dir, made.nickname, made.bandwidth), ("/some/where", "nick", 5_000_000))
        self.assertEqual((str(made.exit_policy), made.family), ("accept *:443, accept *:80", frozenset(others)))
        self.assertTrue(made.allow_single_hop)

    def test_limits(self) -> None:
        """Each can be changed; a wrong one is an error with the names that there are."""
        self.assertEqual(config().limits, NodeLimits())
        made = config("--limit=links-per-host=7", "--limit=memory=64M")
        self.assertEqual(made.limits, NodeLimits(links_per_host=7, memory=64 << 20))
        for word in ("links-per-host=none", "links=3"):
            with self.assertRaises(UsageError) as caught:
                parse(POOL, f"--limit={word}")
            self.assertIn("links", str(caught.exception))

    def test_bandwidth(self) -> None:
        """It is written in bytes, or with a factor."""
        for text, expected in (("1", 1), ("2k", 2000), ("3K", 3000), ("4m", 4_000_000), ("5G", 5_000_000_000)):
            self.assertEqual(config(f"--bandwidth={text}").bandwidth, expected)

    def test_listeners_that_are_one_address(self) -> None:
        """These need no --advertise."""
        for listen in (
            "tcp:6000:interface=127.0.0.1",
            "tcp:port=6000:interface=203.0.113.5",
            "tcp:6000:backlog=9:interface=10.0.0.1",
            r"tcp6:6000:interface=\:\:1",
            r"tcp6:6000:interface=2001\:db8\:\:1",
        ):
            self.assertIsNone(config(f"--listen={listen}").advertise)

    def test_listeners_that_are_not(self) -> None:
        """These do."""
        for listen in (
            "tcp:6000",
            "tcp:6000:interface=0.0.0.0",
            "tcp:interface=0.0.0.0:port=6000",
            r"tcp6:6000:interface=\:\:",
            "tcp6:6000",
            "unix:/run/node",
        ):
            with self.assertRaises(UsageError, msg=listen) as caught:
                config(f"--listen={listen}")
            self.assertIn("--advertise", str(caught.exception))
            self.assertIsNotNone(config(f"--listen={listen}", "--advertise=203.0.113.5:6000").advertise)

    def test_bad_options(self) -> None:
        """A bad option is a usage error, before anything is made."""
        for arguments in (
            [],
            ["--pool=http://203.0.113.1:80/"],
            ["--pool=nonsense"],
            [POOL, "--listen=tcp:x"],
            [POOL, "--listen=nonsense:6000"],
            [POOL, "--listen="],
            [POOL, "--advertise=node"],
            [POOL, "--advertise=node:0"],
            [POOL, "--state-dir="],
            [POOL, "--exit-policy=accept everything"],
            [POOL, "--nickname=a b"],
            [POOL, "--family=nobody"],
            [POOL, "--bandwidth=fast"],
            [POOL, "--bandwidth=0"],
            [POOL, "--bandwidth=-1"],
            [POOL, "--colour=red"],
            [POOL, "surplus"],
        ):
            with self.assertRaises(UsageError, msg=str(arguments)):
                parse(*arguments)

    def test_workers(self) -> None:
        """One process by default, up to 64 on request."""
        self.assertEqual([config(*more).workers for more in ([], ["--workers=2"], ["--workers=64"])], [1, 2, 64])

    def test_bad_workers(self) -> None:
        """Any other number is a usage error that says what would do."""
        for number in ("0", "65", "-1", "many", "2.5", "", "\N{ARABIC-INDIC DIGIT THREE}"):
            with self.assertRaises(UsageError, msg=number) as caught:
                parse(POOL, f"--workers={number}")
            self.assertIn("worker", str(caught.exception))

    def test_listeners_for_workers(self) -> None:
        """A connection that is more than a socket cannot be given to another process."""
        for listen in ("unix:/run/node", r"tcp6:6000:interface=\:\:1"):
            self.assertEqual(config(f"--listen={listen}", "--advertise=a.example:1", "--workers=2").workers, 2)
        with self.assertRaises(UsageError) as caught:
            parse(POOL, r"--listen=haproxy:tcp:6000", "--advertise=a.example:1", "--workers=2")
        self.assertIn("leave --workers out", str(caught.exception))
        self.assertEqual(config(r"--listen=haproxy:tcp:6000", "--advertise=a.example:1").workers, 1)

    def test_drain(self) -> None:
        """Two seconds, so that a stop takes five at the most; more on request."""
        self.assertEqual([config(*more).drain for more in ([], ["--drain=0"], ["--drain=60"], ["--drain=0.5"])],
                         [2.0, 0.0, 60.0, 0.5])  # fmt: skip
        for text in ("-1", "", "3601", "1m", "nan", "1e3"):
            with self.assertRaises(UsageError, msg=text):
                parse(POOL, f"--drain={text}")

    def test_metrics(self) -> None:
        """They are served to this machine alone (SECURITY I3)."""
        parse(POOL, "--metrics=tcp:9100:interface=127.0.0.1")
        with self.assertRaises(UsageError) as caught:
            parse(POOL, "--metrics=tcp:9100")
        self.assertIn("on this machine alone", str(caught.exception))

    def test_help(self) -> None:
        """The help names every option."""
        text = str(Options())
        for name in (
            "drain", "metrics",
            "listen", "advertise", "pool", "state-dir", "exit-policy", "nickname", "family", "bandwidth", "workers",
            "allow-single-hop",
        ):  # fmt: skip
            self.assertIn(f"--{name}", text)


class MakeServiceTests(SynchronousTestCase):
    """What twistd runs."""

    def setUp(self) -> None:
        scratch = os.path.realpath(tempfile.mkdtemp(prefix="torpydo-test-"))
        self.addCleanup(shutil.rmtree, scratch, ignore_errors=True)
        self.state = os.path.join(scratch, "state")
        self.reactor = SimulatedReactor()

    def make(self, *arguments: str) -> IService:
        return makeService(parse(POOL, f"--state-dir={self.state}", *arguments), self.reactor)

    def start(self) -> IService:
        """Start a node as twistd does it."""
        application = Application("node")
        self.make().setServiceParent(application)
        root = IService(application)
        root.privilegedStartService()
        root.startService()
        self.addCleanup(lambda: self.reactor.success(root.stopService()))
        return root

    def test_runs_a_node(self) -> None:
        """It makes its keys and listens."""
        self.start()
        self.assertLessEqual({"node.key", "onion.keys"}, set(os.listdir(self.state)))
        self.reactor.flush()

    def test_nothing_before_the_start(self) -> None:
        """Making the service touches neither disk nor network."""
        service = self.make()
        self.assertFalse(os.path.exists(self.state))
        self.assertIsInstance(list(iter(service))[0], NodeService)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_busy_port(self) -> None:
        """A busy port ends the process with status 3 and one line."""
        self.start()
        error = self.assertRaises(CannotStart, self.make().privilegedStartService)
        self.assertEqual(error.code, 3)
        self.assertIn("Address already in use", str(error))

    def test_bad_state(self) -> None:
        """A state directory that others may read ends the process with status 4."""
        os.mkdir(self.state, 0o755)
        os.chmod(self.state, 0o755)
        error = self.assertRaises(CannotStart, self.make().startService)
        self.assertEqual(error.code, 4)
        self.assertIn("chmod 700", str(error))
