"""What a service asks for: the effort rises with the crowd, at the service or at its points, and falls after it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.onion.build import node
from torpydo.apps.onionservice.demand import Demand
from torpydo.onion import LEAST_EFFORT, MOST_EFFORT

NODES = dict(zip("abcxyz", map(node, range(1, 7)), strict=True))
POINTS = [NODES[name] for name in "abc"]


class Demands(SynchronousTestCase):
    """A service with three points."""

    def setUp(self) -> None:
        self.demand = Demand(250)
        self.now = 100.0

    def look(self, waiting: int = 0, at_least: int = 1 << 32, seconds: float = 0.0) -> bool:
        """After so many seconds, with so many in the queue who have made an effort of *at_least*."""
        self.now += seconds
        return self.demand.look(lambda effort: waiting if effort <= at_least else 0, POINTS, self.now)

    def refuse(self, points: str, effort: int = 0, seconds: float = 0.0) -> bool:
        """After so many seconds these points refuse an effort."""
        self.now += seconds
        for point in points:
            self.demand.refused(NODES[point], effort, self.now)
        return self.look()


class QueueTests(Demands):
    """A crowd in the queue of the service."""

    def test_nobody(self) -> None:
        """Nothing is asked for until there is a crowd."""
        self.assertFalse(self.look(249))
        self.assertEqual(self.demand.effort, 0)

    def test_it_rises(self) -> None:
        """At once, then every half minute while a crowd makes that effort, up to a bound."""
        self.assertTrue(self.look(250))
        self.assertEqual(self.demand.effort, LEAST_EFFORT)
        self.assertFalse(self.look(250, seconds=29))
        self.assertTrue(self.look(250, seconds=1))
        self.assertEqual(self.demand.effort, 2 * LEAST_EFFORT)
        for _ in range(20):
            self.look(250, seconds=30)
        self.assertEqual(self.demand.effort, MOST_EFFORT)

    def test_a_crowd_that_makes_no_effort(self) -> None:
        """It makes honest clients pay once, not more and more; nor is that lowered as long as it lasts."""
        self.look(2500, at_least=0)
        for _ in range(100):
            self.assertFalse(self.look(2500, at_least=0, seconds=30))
        self.assertEqual(self.demand.effort, LEAST_EFFORT)

    def test_it_falls(self) -> None:
        """Five minutes after the last crowd, and then further, down to nothing."""
        for _ in range(4):
            self.look(250, seconds=30)
        self.assertEqual(self.demand.effort, 8 * LEAST_EFFORT)
        self.assertFalse(self.look(seconds=299))
        self.assertTrue(self.look(seconds=1))
        self.assertEqual(self.demand.effort, 2 * LEAST_EFFORT)
        self.assertTrue(self.look(seconds=300))
        self.assertEqual(self.demand.effort, 0)


class PointTests(Demands):
    """A crowd that never comes to the service: its introduction points refuse it."""

    def test_one_point(self) -> None:
        """It may lie: alone it is not believed, whatever it says, however long."""
        for _ in range(100):
            self.assertFalse(self.refuse("b", MOST_EFFORT, seconds=5))
        self.assertEqual(self.demand.effort, 0)

    def test_two_of_three(self) -> None:
        """They are, within ten seconds of each other."""
        self.assertFalse(self.refuse("a"))
        self.assertFalse(self.refuse("c", seconds=10))
        self.assertTrue(self.refuse("a", seconds=9.9))
        self.assertEqual(self.demand.effort, LEAST_EFFORT)

    def test_how_many_are_most(self) -> None:
        """More than half of those in the descriptor."""
        for points, most in ((1, 1), (2, 2), (3, 2), (4, 3), (10, 6)):
            listed = [node(number) for number in range(1, points + 1)]
            for count in range(points + 1):
                demand = Demand(250)
                for point in listed[:count]:
                    demand.refused(point, 0, 1.0)
                self.assertIs(demand.look(lambda effort: 0, listed, 1.0), count >= most, (points, count))

    def test_no_point(self) -> None:
        """Nobody was refused where nobody is introduced."""
        self.assertFalse(self.demand.look(lambda effort: 0, (), 1.0))

    def test_only_those_that_are_listed(self) -> None:
        """What others say counts nothing, and is not kept."""
        for number in range(100):
            self.refuse("xyz"[number % 3])
        self.assertEqual((self.demand.effort, self.demand._refusals), (0, {}))

    def test_less_than_is_suggested(self) -> None:
        """Those who are refused with less raise nothing; who has made as much does, every half minute."""
        self.refuse("ab")
        for _ in range(10):
            self.assertFalse(self.refuse("abc", LEAST_EFFORT - 1, seconds=30))
        self.assertTrue(self.refuse("ab", LEAST_EFFORT))
        self.assertEqual(self.demand.effort, 2 * LEAST_EFFORT)
        self.assertFalse(self.refuse("ab", 2 * LEAST_EFFORT, seconds=29))
        self.assertTrue(self.refuse("ab", 2 * LEAST_EFFORT, seconds=1))

    def test_a_high_effort_and_then_a_low_one(self) -> None:
        """The last refusal of each counts, not the last of all."""
        self.refuse("ab")
        self.now += 30
        self.refuse("a", LEAST_EFFORT)
        self.refuse("a", 0, seconds=5)
        self.assertTrue(self.refuse("b", LEAST_EFFORT))

    def test_it_falls(self) -> None:
        """Not as long as most points refuse those who would have made enough then."""
        for _ in range(4):
            self.refuse("abc", MOST_EFFORT, seconds=30)
        self.assertEqual(self.demand.effort, 8 * LEAST_EFFORT)
        for _ in range(100):
            self.assertFalse(self.refuse("ab", 2 * LEAST_EFFORT, seconds=30))
        self.assertFalse(self.refuse("ab", 2 * LEAST_EFFORT - 1, seconds=299))
        self.assertTrue(self.refuse("ab", 2 * LEAST_EFFORT - 1, seconds=1))
        self.assertEqual(self.demand.effort, 2 * LEAST_EFFORT)
        for _ in range(100):
            self.assertFalse(self.refuse("ab", 0, seconds=30))

    @given(st.lists(st.integers(0, (1 << 32) - 1)))
    def test_what_a_point_says_has_a_bound(self, efforts: list[int]) -> None:
        """Any numbers are taken, and no more is kept of them than there are bits."""
        demand = Demand(250)
        for number, effort in enumerate(efforts):
            demand.refused(POINTS[0], effort, number / 100)
            demand.look(lambda effort: 0, POINTS, number / 100)
        self.assertLessEqual(len(demand._refusals.get(POINTS[0], ())), 33)
        self.assertEqual(demand.effort, 0)
