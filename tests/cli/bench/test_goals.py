"""Tests of torpydo.cli.bench.goals."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from torpydo.cli.bench.figures import Figure
from torpydo.cli.bench.goals import ALL_GOALS, ALL_LINES, LINES, goal_of, reached
from torpydo.cli.bench.scalelines import OFFERED


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
        self.assertIsNone(goal_of("scale_path", "n = 1250"))
        few = Figure("scale_circuits_memory", "torpydo", "n = 10000", "MB", (121,))
        self.assertIs(reached(few), False)

    def test_what_size_must_not_cost(self) -> None:
        """At the largest sizes; the bounds themselves are enough, a little more or less is not."""
        bounds = {
            "scale_circuits_stall": ("n = 10000", 100.0, 100.1),
            "scale_streams_spread": ("n = 1000", 5.0, 5.01),
            "scale_listing_ready": ("n = 10000", 1000.0, 1001.0),
            "scale_path": ("n = 10000", 1.0, 1.01),
            "scale_heartbeats": ("n = 10000", 1500.0, 1499.9),
            "scale_heartbeats_p99": ("n = 10000", 50.0, 50.1),
        }
        for key, (conditions, enough, missed) in bounds.items():
            found = [reached(Figure(key, "torpydo", conditions, "", (value,))) for value in (enough, missed)]
            self.assertEqual(found, [True, False], key)

    def test_the_heartbeats_goal_can_be_reached(self) -> None:
        """A pool that answers the last heartbeat within the time that is asked of it has answered enough a second."""
        seconds, goals = 3.0, {goal.key: goal.value for goal in ALL_GOALS if goal.conditions == "n = 10000"}
        slowest = seconds + goals["scale_heartbeats_p99"] / 1000
        self.assertGreaterEqual(OFFERED * seconds / slowest, goals["scale_heartbeats"])

    def test_labels_say_what_is_left_out(self) -> None:
        """Three whole seconds, not two."""
        for key in ("download_3s", "upload_3s"):
            self.assertIn("after the first three seconds", LINES[key].what)
