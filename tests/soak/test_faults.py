"""Tests of tests.soak.faults: the judgements that need no network."""

from __future__ import annotations

import os

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.soak.faults import ALL, choose
from tests.soak.faults.loads import MANY, unfair
from tests.soak.faults.memory import EVERY, grown, watched


class UnfairTests(SynchronousTestCase):
    """Many streams beside one alone."""

    def test_kept(self) -> None:
        """Five times as long, and 60 % of the rate."""
        self.assertEqual(unfair([1.0, 2.0, 5.0], 30.0, 50.0), [])
        self.assertEqual(unfair([1.0] * MANY, 30.0, 50.0), [])

    def test_lost(self) -> None:
        """More than that, and less than that, is said with figures."""
        self.assertEqual(unfair([1.0, 5.1], 30.0, 50.0), ["the last stream ended after 5.1 x the first"])
        self.assertEqual(unfair([1.0] * MANY, 29.0, 50.0), ["all together have 29.0 MiB/s, one alone 50.0"])

    def test_few(self) -> None:
        """They are over too soon to have a rate, and in a second nobody is late."""
        self.assertEqual(unfair([0.1, 0.9], 1.0, 50.0), [])
        self.assertEqual(unfair([1.0] * (MANY - 1), 1.0, 50.0), [])


class MemoryTests(SynchronousTestCase):
    """Looks at the memory of processes."""

    def test_grown(self) -> None:
        """The largest growth between the thirds; one high look does not count."""
        looks = {"a": [50.0, 50.0, 50.0, 90.0, 51.0, 52.0, 53.0, 53.0, 99.0], "b": [70.0, 60.0, 50.0]}
        self.assertEqual(grown(looks), (3.0, "a"))

    def test_not_known(self) -> None:
        """A process that was not looked at has not stayed as it was."""
        with self.assertRaisesRegex(ValueError, "b was looked at 2 times"):
            grown({"a": [1.0] * 9, "b": [1.0, 1.0]})

    def test_watched(self) -> None:
        """Each is looked at until the end of the block, and one that is gone has nothing to show."""
        clock = Clock()
        with watched(clock, {"here": os.getpid(), "gone": 1 << 30}) as samples:
            clock.pump([EVERY] * 3)
        self.assertEqual(len(samples["here"]), 5)
        self.assertGreater(min(samples["here"]), 1.0)
        self.assertEqual(samples["gone"], [])
        self.assertEqual(clock.getDelayedCalls(), [])


class ChooseTests(SynchronousTestCase):
    """The faults that somebody wants."""

    def test_numbers(self) -> None:
        """In the order in which they are run; two have the same number."""
        self.assertEqual([fault.number for fault in choose("31,39,1")], ["39", "1", "39", "31"])
        self.assertEqual(choose("all"), ALL)

    def test_unknown(self) -> None:
        """A number that is no fault is named."""
        with self.assertRaisesRegex(ValueError, "no fault has the number 98, 99"):
            choose("99,1,98")
