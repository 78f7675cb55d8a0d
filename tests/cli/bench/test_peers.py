"""Tests of ``torpydo bench --peers``: what is simulated, and the table."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from tests.cli.bench.test_command import options
from tests.cli.bench.test_dht import Reactor
from torpydo.cli.bench.command import _check_complete
from torpydo.cli.bench.figures import Figure
from torpydo.cli.bench.goals import goal_of
from torpydo.cli.bench.peerlines import PEER_KEYS, PEER_LINES
from torpydo.cli.bench.peersfound import PEERS, PeersPlan
from torpydo.cli.bench.peersreport import peers_table
from torpydo.cli.bench.plan import plan_of
from torpydo.cli.bench.simulated import among, simulate
from torpydo.cli.bench.tasks import Tasks
from torpydo.errors import ConfigurationError, TorpydoError


class PlanTests(SynchronousTestCase):
    """What the options ask for."""

    def test_not_unless_asked_for(self) -> None:
        """Neither by default nor in a short run, nor with the DHT."""
        for given in ([], ["--short"], ["--only", "rtt"], ["--dht"]):
            self.assertIsNone(plan_of(options(*given)).peers)

    def test_alone(self) -> None:
        """No network of processes is measured, and no sizes, unless they are asked for as well."""
        for given in (["--peers"], ["--peers", "--short"], ["--only", *PEER_KEYS]):
            plan = plan_of(options(*given))
            assert plan.peers is not None
            self.assertEqual((plan.keys, plan.scale, plan.dht), ((), None, None))
            self.assertEqual(plan.peers.keys, frozenset(PEER_KEYS))
        self.assertIsNotNone(plan_of(options("--dht", "--peers")).dht)
        self.assertEqual(plan_of(options("--only", "rtt", "--peers")).keys, ("rtt",))

    def test_chosen(self) -> None:
        """Sizes, shares, the time, and the seed; the other cases are tried at all of these sizes."""
        plan = plan_of(
            options("--peers", "--peers-sizes=30", "--peers-liars", "5", "--peers-time=70", "--peers-seed=3")
        ).peers
        assert plan is not None
        self.assertEqual((plan.sizes, plan.percents, plan.minutes, plan.seed), ((30,), (5.0,), 70, 3))
        others = [(30, 5.0, case) for case in ("sybils", "flood", "churn", "cut off")]
        self.assertEqual(plan.points, [(30, 5.0, "liars"), *others])

    def test_options_that_would_do_nothing(self) -> None:
        """Each goes with --peers."""
        for given in ("--peers-sizes=30", "--peers-liars=0", "--peers-time=70", "--peers-seed=0"):
            self.assertRaises(ConfigurationError, plan_of, options(given))

    def test_the_goal_is_measured(self) -> None:
        """A thousand peers with a fifth of liars; without a share of them there are no other cases either."""
        points = [among(*point) for point in PeersPlan().points]
        self.assertEqual(len(points), len(set(points)))
        self.assertEqual(len([one for one in points if goal_of("peers_share", one) is not None]), 2)
        plan = plan_of(options("--peers", "--peers-liars=0")).peers
        assert plan is not None
        self.assertEqual({percent for _, percent, _ in plan.points}, {0})


class TableTests(SynchronousTestCase):
    """The table on the terminal."""

    def figures(self, share: float) -> list[Figure]:
        """Of two sizes."""
        samples = {"peers_share": (share,), "peers_known": (90.0, 100.0), "peers_minutes": (25.0,)}
        return [
            Figure(key, "torpydo", among(size, 20, "liars"), PEER_LINES[key].unit, samples.get(key, (7.0,)))
            for size in (500, 1000)
            for key in PEER_KEYS
        ]

    def test_a_line(self) -> None:
        """The goal stands where there is one."""
        lines = peers_table(self.figures(99.5))
        self.assertRegex(lines[2], r"^  500 +20 % liars +99\.5 +95\.0 +90\.0 +25\.0( +7\.00){5}$")
        self.assertRegex(lines[3], r"^  1000 +20 % liars +99\.5 +>= 99 +reached +95\.0 ")
        self.assertIn("MISSED", peers_table(self.figures(98.5))[3])
        self.assertNotIn("MISSED", peers_table(self.figures(98.5), judged=False)[3])

    def test_one_line_alone(self) -> None:
        """What was not measured is empty; without any there is no table."""
        self.assertRegex(peers_table(self.figures(1)[2:3])[2], r"^  500 +20 % liars +25\.0$")
        self.assertEqual(peers_table([]), [])


class PeersFoundTests(SynchronousTestCase):
    """Everything that is simulated has its figures."""

    def measured(self, *given: str) -> tuple[PeersPlan, list[Figure], list[str]]:
        """The figures of a short run with these options, and what was said."""
        directory = FilePath(self.mktemp())
        directory.makedirs()
        asked = options("--peers", "--short", *given)
        plan = plan_of(asked)
        assert plan.peers is not None
        said: list[str] = []
        found = simulate(PEERS, Tasks(Reactor(), directory), plan.peers, said.append)
        figures = self.successResultOf(Deferred.fromCoroutine(found))
        _check_complete(asked, plan, figures)
        return plan.peers, figures, said

    def test_a_short_run(self) -> None:
        """In the order of the plan; each has all lines, and all peers know nearly all."""
        plan, figures, said = self.measured("--peers-sizes=10", "--peers-time=80", "--peers-liars=20")
        self.assertEqual(said, [f"simulating peers: {among(*point)}" for point in plan.points])
        self.assertEqual(len(figures), len(PEER_KEYS) * len(plan.points))
        for one in figures:
            if one.key == "peers_share":
                self.assertEqual(one.samples, (100.0,), one.conditions)
        self.assertEqual(len(peers_table(figures)), 2 + len(plan.points))

    def test_what_was_not_reached(self) -> None:
        """A time that came in no world is said to be missing, and nothing else is."""
        given = ("--peers-sizes=10", "--peers-liars=0", "--peers-time=65")
        _, figures, _ = self.measured(*given)
        without = [one for one in figures if one.key != "peers_minutes"]
        asked = options("--peers", "--short", *given)
        error = self.assertRaises(TorpydoError, _check_complete, asked, plan_of(asked), without)
        self.assertIn("no figure came out for peers_minutes;", str(error))
