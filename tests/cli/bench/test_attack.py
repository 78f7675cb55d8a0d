"""Tests of torpydo.cli.bench.attack and its lines: what needs no network."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from torpydo.cli.bench.attack import LIMITS, AttackPlan
from torpydo.cli.bench.attackers import KINDS
from torpydo.cli.bench.attacklines import ATTACK_GOALS, ATTACK_GROUPS, ATTACK_KEYS, ATTACKED
from torpydo.cli.bench.figures import Figure
from torpydo.cli.bench.goals import reached
from torpydo.cli.bench.report import attack_table
from torpydo.node import NodeLimits


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
