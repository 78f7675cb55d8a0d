"""Tests of torpydo.cli.bench.onion and its lines: what needs no network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.task import Clock
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from torpydo.cli.bench.figures import Figure
from torpydo.cli.bench.goals import reached
from torpydo.cli.bench.loads import LOADS
from torpydo.cli.bench.onion import READY_TIME, WARM_UP, OnionPlan, Onions
from torpydo.cli.bench.onionlines import NEAR, ONION_GOALS, ONION_KEYS, ONION_LINES, ONION_LOADS, ONION_TITLE
from torpydo.cli.bench.report import onion_table, table
from torpydo.errors import TorpydoError


class OnionLinesTests(SynchronousTestCase):
    """The lines, the plan and the table."""

    def test_every_goal_has_a_line(self) -> None:
        """No goal is asked of nothing."""
        self.assertEqual({goal.key for goal in ONION_GOALS} - set(ONION_KEYS), set())
        self.assertEqual({goal.conditions for goal in ONION_GOALS}, {NEAR})

    def test_every_line_is_measured(self) -> None:
        """By a load that exists, or by this process."""
        self.assertEqual({*ONION_LOADS.values(), "onion_first", "onion_publish"}, set(ONION_KEYS))
        self.assertEqual(set(ONION_LOADS) - set(LOADS), set())

    def test_a_plan_has_the_loads_of_its_keys(self) -> None:
        """No other is run."""
        self.assertEqual(OnionPlan.short(["onion_rtt", "onion_first"]).loads, ["rtt"])
        self.assertEqual(OnionPlan().loads, list(ONION_LOADS))

    def test_the_table(self) -> None:
        """In the order of the lines, each with its verdict, after everything else."""
        figures = [
            Figure(key, "torpydo", NEAR, ONION_LINES[key].unit, (value,))
            for key, value in (("onion_download", 39.0), ("onion_first", 150.0))
        ]
        self.assertEqual([reached(one) for one in figures], [False, True])
        lines = onion_table(figures)
        self.assertEqual(lines[0], f"{ONION_TITLE}:")
        self.assertIn("reached", lines[2])
        self.assertIn("MISSED", lines[3])
        self.assertEqual(table([*figures, Figure("rtt", "torpydo", NEAR, "ms", (1.0,))])[-4:], lines)
        self.assertEqual(onion_table([]), [])


class Visited(Onions):
    """A service that is reached for the first time so many seconds after its start."""

    reached_after = 0.0
    started = 0.0

    def __attrs_post_init__(self) -> None:
        self.events: list[str] = []

    def _start_service(self) -> None:
        self.events.append("start")
        self.started = self.reactor.seconds()

    async def _kill_service(self) -> None:
        self.events.append("kill")

    @asynccontextmanager
    async def _visitor(self) -> AsyncIterator[Any]:
        self.events.append("visitor")
        # To get ready.
        self.reactor.advance(7.0)
        yield None

    async def _visit(self, client: Any) -> None:
        self.reactor.advance(0.02)
        if self.reactor.seconds() - self.started < self.reached_after:
            raise ConnectError("no such service")


class VisitTests(SynchronousTestCase):
    """First connections."""

    def setUp(self) -> None:
        self.clock = Clock()
        plan = OnionPlan(runs=2, visits=3)
        self.onions = Visited(self.clock, FilePath("/nowhere"), plan, lambda words: None)

    def test_each_sample_has_a_client_of_its_own(self) -> None:
        """The first ones do not count; getting ready is not measured."""
        taken = self.successResultOf(Deferred.fromCoroutine(self.onions._first()))
        self.assertEqual([round(value, 3) for value in taken], [20.0] * 6)
        self.assertEqual(self.onions.events, ["visitor"] * (WARM_UP + 6))

    def test_a_service_that_starts_again(self) -> None:
        """The clock begins with its start, and ends with the first connection that succeeds."""
        self.onions.reached_after = 2.0
        publishing = Deferred.fromCoroutine(self.onions._publish())
        self.assertNoResult(publishing)
        self.clock.pump([0.1] * 30)
        self.assertEqual(round(self.successResultOf(publishing), 1), 2.1)
        # Who comes later cannot have met the service in its life before.
        self.assertEqual(self.onions.events, ["kill", "visitor", "start"])

    def test_a_service_that_does_not_come_back(self) -> None:
        """It is given up, with the last reason."""
        self.onions.reached_after = READY_TIME + 30
        publishing = Deferred.fromCoroutine(self.onions._publish())
        self.clock.pump([0.1] * int(READY_TIME / 0.1 + 10))
        error = self.failureResultOf(publishing, TorpydoError).value
        self.assertIn("no such service", str(error))
