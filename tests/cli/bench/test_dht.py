"""Tests of ``torpydo bench --dht``: what is simulated, the table, and how figures grow."""

from __future__ import annotations

import os
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from tests.cli.bench.test_command import options
from torpydo.cli.bench.command import _check_complete
from torpydo.cli.bench.dhtlines import DHT_KEYS, DHT_LINES
from torpydo.cli.bench.dhtlookups import LOOKUPS, DHTPlan
from torpydo.cli.bench.dhtreport import Fit, dht_table, fits
from torpydo.cli.bench.figures import Figure
from torpydo.cli.bench.goals import goal_of
from torpydo.cli.bench.plan import plan_of
from torpydo.cli.bench.simulated import among, case_of, simulate, size_of
from torpydo.cli.bench.tasks import Tasks
from torpydo.cli.processes import ChildProcess
from torpydo.errors import ConfigurationError
from torpydo.testing.dhtlookups import Case


def figure(key: str, conditions: str, *samples: float) -> Figure:
    """One of ours."""
    return Figure(key, "torpydo", conditions, DHT_LINES[key].unit, samples)


class PlanTests(SynchronousTestCase):
    """What the options ask for."""

    def dht(self, *given: str) -> DHTPlan | None:
        """The plan of these."""
        return plan_of(options(*given)).dht

    def test_not_unless_asked_for(self) -> None:
        """Neither by default nor in a short run."""
        for given in ([], ["--short"], ["--only", "rtt"]):
            self.assertIsNone(self.dht(*given))

    def test_alone(self) -> None:
        """No network of processes is measured, and no sizes, unless they are asked for as well."""
        for given in (["--dht"], ["--dht", "--short"], ["--only", *DHT_KEYS]):
            plan = plan_of(options(*given))
            assert plan.dht is not None
            self.assertEqual((plan.keys, plan.scale, plan.dht.keys), ((), None, frozenset(DHT_KEYS)))
        plan = plan_of(options("--dht", "--scale"))
        self.assertEqual((plan.keys, plan.scale is None, plan.dht is None), ((), False, False))
        self.assertEqual(plan_of(options("--only", "rtt", "--dht")).keys, ("rtt",))

    def test_what_would_do_nothing(self) -> None:
        """Without the simulation its options are a slip."""
        for given in ("--dht-nodes=30", "--dht-liars=0", "--dht-lookups=7", "--dht-seed=0"):
            for others in ([], ["--onion"], ["--only", "rtt"]):
                self.assertIn("--dht", str(self.assertRaises(ConfigurationError, self.dht, given, *others)))
            self.assertIsNotNone(self.dht(given, "--only", "dht_hops"))

    def test_chosen(self) -> None:
        """Sizes, shares, how many lookups, and the seed."""
        plan = self.dht("--dht", "--dht-nodes=30", "--dht-liars", "10", "5", "--dht-lookups=7", "--dht-seed=3")
        assert plan is not None
        self.assertEqual((plan.sizes, plan.percents, plan.lookups, plan.seed), ((30,), (10.0, 5.0), 7, 3))
        self.assertEqual(plan.points, [(30, 10.0, "liars"), (30, 5.0, "liars")])

    def test_the_goal_is_measured(self) -> None:
        """A thousand nodes with a fifth of liars, and what else a fifth may do there."""
        plan = DHTPlan()
        points = [among(*point) for point in plan.points]
        self.assertEqual(len(points), len(set(points)))
        goals = [goal for conditions in points if (goal := goal_of("dht_found", conditions)) is not None]
        self.assertEqual([goal.value for goal in goals], [99])
        others = {among(1000, 20, case.value) for case in Case}
        self.assertLessEqual(others, set(points))
        self.assertIn((2000, 0, "liars"), plan.points)

    def test_nobody_does_anything(self) -> None:
        """Without a share of liars there are no other cases either."""
        plan = self.dht("--dht", "--dht-liars=0")
        assert plan is not None
        self.assertEqual({percent for _, percent, _ in plan.points}, {0})


class ConditionsTests(SynchronousTestCase):
    """What stands in the place of the conditions."""

    def test_both_parts_are_read_again(self) -> None:
        """The size and the case."""
        for conditions, size, case in (
            (among(1000, 20, "liars"), 1000, "20 % liars"), (among(50, 0, "liars"), 50, "all honest"),
            (among(7, 2.5, "churn"), 7, "2.5 % churn"),
        ):  # fmt: skip
            self.assertEqual((size_of(conditions), case_of(conditions)), (size, case))


class FitTests(SynchronousTestCase):
    """How figures grow."""

    def test_a_line(self) -> None:
        """What doubles with each node's number adds the same each time; nothing is left."""
        fit = Fit.of({2: 3.0, 4: 3.5, 8: 4.0, 16: 4.5})
        self.assertEqual(str(fit), "2.50 + 0.50 * log2(n), residual 0.00")
        self.assertAlmostEqual(fit.at(1024), 7.5)

    def test_what_is_no_line(self) -> None:
        """The residual says so: what grows with n itself is far from it."""
        self.assertGreater(Fit.of({size: size / 100 for size in (50, 100, 200, 500, 1000, 2000)}).residual, 2)

    def test_cases_have_lines_of_their_own(self) -> None:
        """One that was measured at a single size has none."""
        found = fits(
            [
                figure("dht_hops", among(64, 0, "liars"), 1, 1), figure("dht_hops", among(128, 0, "liars"), 1, 2),
                figure("dht_hops", among(128, 20, "liars"), 9), figure("dht_time", among(256, 0, "liars"), 9),
            ],
            "dht_hops",
        )  # fmt: skip
        self.assertEqual({case: str(fit) for case, fit in found.items()}, {
            "all honest": "-2.00 + 0.50 * log2(n), residual 0.00"
        })  # fmt: skip


class TableTests(SynchronousTestCase):
    """The table on the terminal."""

    def figures(self, found: float) -> list[Figure]:
        """Of two sizes."""
        return [
            figure(key, among(size, 20, "liars"), *samples)
            for size in (500, 1000)
            for key, samples in (
                ("dht_found", (found,)), ("dht_hops", (1, 2, 3, 2)), ("dht_questions", (60, 70)),
                ("dht_time", (0.4, 0.5, 2.5)),
            )
        ]  # fmt: skip

    def test_a_line(self) -> None:
        """The goal stands where there is one."""
        lines = dht_table(self.figures(99.5))
        self.assertRegex(lines[2], r"^  500 +20 % liars +99\.5 +2\.00 +3\.00 +65\.0 +0\.50 +2\.50$")
        self.assertRegex(lines[3], r"^  1000 +20 % liars +99\.5 +>= 99 +reached +2\.00")
        self.assertEqual(lines[4], "  hops = 2.00 + 0.00 * log2(n), residual 0.00 (20 % liars)")
        self.assertIn("MISSED", dht_table(self.figures(98.5))[3])
        self.assertNotIn("MISSED", dht_table(self.figures(98.5), judged=False)[3])

    def test_one_line_alone(self) -> None:
        """What was not measured is empty; without any there is no table."""
        self.assertRegex(dht_table(self.figures(1)[1:2])[2], r"^  500 +20 % liars +2\.00 +3\.00$")
        self.assertEqual(dht_table([]), [])


class Reactor(MemoryReactorClock):
    """Runs what would be a process at once, in this one."""

    def spawnProcess(
        self, child: ChildProcess, executable: str, command: tuple[str, ...], childFDs: dict[int, int], **more: object
    ) -> None:
        _, option, module, *arguments = command
        assert option == "-m"
        output = StringIO()
        with redirect_stdout(output):
            import_module(module).main(arguments)
        os.write(childFDs[1], output.getvalue().encode())
        child.processEnded(Failure(ProcessDone(0)))


class LookupsTests(SynchronousTestCase):
    """Everything that is simulated has its figures."""

    def test_a_short_run(self) -> None:
        """In the order of the plan; as many samples as there were lookups."""
        directory = FilePath(self.mktemp())
        directory.makedirs()
        asked = options("--dht", "--short", "--dht-nodes", "20", "40", "--dht-lookups=4")
        plan = plan_of(asked)
        assert plan.dht is not None
        said: list[str] = []
        found = simulate(LOOKUPS, Tasks(Reactor(), directory), plan.dht, said.append)
        figures = self.successResultOf(Deferred.fromCoroutine(found))
        self.assertEqual(said, [f"simulating dht: {among(*point)}" for point in plan.dht.points])
        self.assertEqual(len(figures), 4 * len(plan.dht.points))
        for one in figures:
            self.assertEqual(len(one.samples), 1 if one.key == "dht_found" else 4)
            if one.key == "dht_found":
                self.assertEqual(one.samples, (100.0,), one.conditions)
        _check_complete(asked, plan, figures)
        self.assertEqual(len(dht_table(figures)), 2 + len(plan.dht.points) + 4)
