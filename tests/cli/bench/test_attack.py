"""Tests of torpydo.cli.bench.attack and its lines: what needs no network."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from torpydo.cli.bench.attack import LIMITS, AttackPlan, Attacks
from torpydo.cli.bench.attackers import KINDS
from torpydo.cli.bench.attacklines import ATTACK_GOALS, ATTACK_GROUPS, ATTACK_KEYS, ATTACKED
from torpydo.cli.bench.figures import Figure
from torpydo.cli.bench.goals import reached
from torpydo.cli.bench.report import attack_table
from torpydo.node import NodeLimits


class Refusing(Attacks):
    """Whose attacked node takes the first links and refuses the others, each after two milliseconds."""

    takes = 0

    async def _probe(self, bed: object) -> bool:
        self.reactor.advance(0.002)
        self.takes -= 1
        return self.takes >= 0


class ConnectTests(SynchronousTestCase):
    """How long honest links take beside an attack."""

    def figure(self, takes: int) -> Figure:
        """What is measured of a node that takes so many."""
        attacks = Refusing(Clock(), FilePath("/nowhere"), AttackPlan(), lambda words: None)
        attacks.takes = takes
        bed: Any = None
        self.successResultOf(Deferred.fromCoroutine(attacks._connects(bed)))
        [figure] = attacks.figures
        return figure

    def test_links_that_open(self) -> None:
        """They count as long as they took."""
        figure = self.figure(AttackPlan().probes)
        self.assertEqual((round(figure.samples[0], 3), reached(figure)), (2.0, True))

    def test_links_that_are_refused(self) -> None:
        """A node that refuses them at once has not reached the goal."""
        for takes in (0, AttackPlan().probes * 9 // 10):
            self.assertIs(reached(self.figure(takes)), False)


class AttackTests(SynchronousTestCase):
    """The lines, the plan, and the limits of the nodes."""

    def test_every_line_has_a_goal(self) -> None:
        """And no goal is asked of nothing."""
        self.assertEqual({goal.key for goal in ATTACK_GOALS}, set(ATTACK_KEYS))

    def test_every_group_is_an_attack(self) -> None:
        """With somebody who makes it, and a number of them, in a short run too."""
        for plan in (AttackPlan(), AttackPlan.short()):
            self.assertEqual(set(ATTACK_GROUPS), set(KINDS))
            self.assertEqual(set(plan.counts), set(KINDS))

    def test_a_plan_wants_the_groups_of_its_keys(self) -> None:
        """One line of a group is enough."""
        plan = AttackPlan.short(["attack_files_again"])
        self.assertEqual([group for group in ATTACK_GROUPS if plan.wants(group)], ["files"])

    def test_the_limits_by_host_hold_although_it_is_a_test_network(self) -> None:
        """Each of them is chosen, and next to its default, so that what is measured is what people have."""
        chosen = NodeLimits.parse(word.removeprefix("--limit=") for word in LIMITS)
        lifted = {one.name for one in NodeLimits.known() if one.lifted}
        self.assertEqual({word.removeprefix("--limit=").partition("=")[0] for word in LIMITS}, lifted)
        self.assertEqual(chosen.in_test_network(), chosen)
        for one in NodeLimits.known():
            value = getattr(chosen, one.name.replace("-", "_"))
            self.assertLessEqual(abs(value - one.default), 0.11 * one.default, one.name)

    def test_the_table(self) -> None:
        """In the order of the attacks, each with its verdict."""
        figures = [
            Figure(key, "torpydo", ATTACKED, "x", (value,))
            for key, value in (("attack_slow_trip", 3.0), ("attack_slow_rate", 0.7))
        ]
        self.assertEqual([reached(one) for one in figures], [False, True])
        lines = attack_table(figures)
        self.assertEqual(lines[0], f"{ATTACKED}:")
        self.assertIn("reached", lines[2])
        self.assertIn("MISSED", lines[3])
        self.assertEqual(attack_table([]), [])
