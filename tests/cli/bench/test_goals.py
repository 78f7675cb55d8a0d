"""Tests of torpydo.cli.bench.goals."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from torpydo.cli.bench.figures import Figure
from torpydo.cli.bench.goals import ALL_GOALS, ALL_LINES, LINES, goal_of, reached


def figure(key: str, *samples: float, conditions: str = "loopback") -> Figure:
    """A figure of ours."""
    return Figure(key, "torpydo", conditions, LINES[key].unit, samples)


class GoalTests(SynchronousTestCase):
    """What must be reached."""

    def test_more_is_better_for_rates(self) -> None:
        """The goal itself is enough, a little less is not."""
        self.assertEqual([reached(figure("download", rate)) for rate in (99.9, 100, 101)], [False, True, True])

    def test_less_is_better_for_times(self) -> None:
        """The goal itself is enough, a little more is not."""
        self.assertEqual([reached(figure("rtt", taken)) for taken in (0.7, 0.8, 0.81)], [True, True, False])

    def test_the_median_counts(self) -> None:
        """One slow run does not miss a goal, and one fast run does not reach it."""
        self.assertTrue(reached(figure("download", 1, 120, 130)))
        self.assertFalse(reached(figure("download", 50, 60, 500)))

    def test_conditions_have_goals_of_their_own(self) -> None:
        """The same key far away is another line."""
        self.assertTrue(reached(figure("streams16", 61, conditions="25 ms")))
        self.assertFalse(reached(figure("streams16", 61)))

    def test_no_goal(self) -> None:
        """Nothing is judged under conditions of one's own."""
        self.assertIsNone(goal_of("download", "80 ms"))
        self.assertIsNone(reached(figure("download", 1, conditions="80 ms")))

    def test_goals_are_of_lines(self) -> None:
        """No goal for a key that nothing measures."""
        self.assertEqual({goal.key for goal in ALL_GOALS} - set(ALL_LINES), set())

    def test_sizes_have_goals_of_their_own(self) -> None:
        """What 10 000 circuits may take is not asked of 100."""
        goal = goal_of("scale_circuits_memory", "n = 10000")
        self.assertEqual(goal and goal.value, 120)
        self.assertIsNone(goal_of("scale_circuits_memory", "n = 100"))
        few = Figure("scale_circuits_memory", "torpydo", "n = 10000", "MB", (121,))
        self.assertIs(reached(few), False)
