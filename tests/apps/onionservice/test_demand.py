"""What a service asks for: the effort rises with the crowd and falls after it, seeds change, solutions count once."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from tests.onion.build import node
from torpydo.apps.onionservice.demand import Demand
from torpydo.onion import LEAST_EFFORT, MOST_EFFORT, Meeting, Puzzle, solve


def nobody(effort: int) -> int:
    """An empty queue."""
    return 0


class EffortTests(SynchronousTestCase):
    """What is suggested."""

    def setUp(self) -> None:
        self.demand = Demand(random.Random(1).randbytes, 0.0, 250)
        self.now = 100.0

    def look(self, waiting: int, at_least: int = 1 << 32, seconds: float = 0.0) -> bool:
        """After so many seconds, with so many who have made an effort of *at_least*."""
        self.now += seconds
        return self.demand.look(lambda effort: waiting if effort <= at_least else 0, self.now)

    def test_nobody(self) -> None:
        """Nothing is asked for until there is a crowd."""
        self.assertEqual(self.demand.puzzle.effort, 0)
        self.assertFalse(self.look(249))
        self.assertEqual(self.demand.effort, 0)

    def test_it_rises(self) -> None:
        """At once, then every half minute while a crowd makes that effort, up to a bound."""
        self.assertTrue(self.look(250))
        self.assertEqual(self.demand.puzzle.effort, LEAST_EFFORT)
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
        self.assertFalse(self.look(0, seconds=299))
        self.assertTrue(self.look(0, seconds=1))
        self.assertEqual(self.demand.effort, 2 * LEAST_EFFORT)
        self.assertTrue(self.look(0, seconds=300))
        self.assertEqual(self.demand.effort, 0)


class SeedTests(SynchronousTestCase):
    """What a solution is worth."""

    def setUp(self) -> None:
        self.demand = Demand(random.Random(1).randbytes, 0.0, 250)

    def solution(self, puzzle: Puzzle, cookie: bytes = b"c" * 20, effort: int = 100) -> Meeting:
        """A client that has looked for one."""
        nonce = solve(puzzle, cookie, effort, bytes(16), 1_000_000)
        assert nonce is not None
        return Meeting(node(1), cookie, effort, nonce)

    def test_it_counts_once(self) -> None:
        """Who introduces himself again with the same has made no other effort; another cookie is another puzzle."""
        solved = self.solution(self.demand.puzzle)
        self.assertEqual(self.demand.worth(solved), 100)
        self.assertEqual(self.demand.worth(solved), 0)
        self.assertEqual(self.demand.worth(self.solution(self.demand.puzzle, b"d" * 20)), 100)

    def test_nothing(self) -> None:
        """No effort is worth nothing, and is not remembered."""
        nothing = Meeting(node(1), b"c" * 20)
        self.assertEqual([self.demand.worth(nothing), self.demand.worth(nothing)], [0, 0])
        self.assertEqual(self.demand.worth(self.solution(self.demand.puzzle)), 100)

    def test_another_seed(self) -> None:
        """After two hours; the last one counts as well, the one before does not, and once is once."""
        first = self.demand.puzzle
        self.assertFalse(self.demand.look(nobody, 7199.0))
        before = self.solution(first)
        self.demand.worth(before)
        self.assertTrue(self.demand.look(nobody, 7200.0))
        self.assertNotEqual(self.demand.puzzle.seed, first.seed)
        self.assertEqual(self.demand.worth(before), 0)
        self.assertEqual(self.demand.worth(self.solution(first, b"d" * 20)), 100)
        self.assertEqual(self.demand.worth(self.solution(self.demand.puzzle, b"e" * 20)), 100)
        self.assertTrue(self.demand.look(nobody, 14400.0))
        self.assertEqual(self.demand.worth(self.solution(first, b"f" * 20)), 0)

    def test_many_solutions(self) -> None:
        """All must be remembered, so there is another seed before they are too many."""
        where = node(1)
        for number in range(1 << 17):
            self.demand.worth(Meeting(where, number.to_bytes(20, "big"), 1))
        self.assertTrue(self.demand.look(nobody, 1.0))
        self.assertFalse(self.demand.look(nobody, 2.0))
