"""Tests of torpydo.cli.bench.bulk: how an upload keeps in step with its destination. No sockets."""

from __future__ import annotations

import sys

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from torpydo.cli.bench.bulk import AHEAD, DRAIN, Counting, Extent, Report, send
from torpydo.errors import StreamFailed

MB = 1_000_000


class SendTests(SynchronousTestCase):
    """The sender."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.sent = 0
        self.arrived = 0
        self.asked = 0
        self.furthest = 0

    def push(self) -> int:
        """A socket that takes a megabyte in a millisecond, whatever becomes of it."""
        self.clock.advance(0.001)
        self.sent += MB
        self.furthest = max(self.furthest, self.sent - self.arrived)
        return MB

    def ask(self) -> int:
        """What the destination says."""
        self.asked += 1
        return self.arrived

    def send(self, seconds: float, size: int = sys.maxsize) -> int:
        """Run the sender."""
        return send(self.push, Extent(seconds, size), self.ask, clock=self.clock.seconds, sleep=self.clock.advance)

    def test_a_network_that_takes_everything_and_delivers_nothing(self) -> None:
        """No more than so much goes into it, and the time ends all the same."""
        self.assertEqual(self.send(3.0), AHEAD)
        self.assertGreaterEqual(self.clock.seconds(), 3.0)

    def test_it_goes_on_when_something_has_arrived(self) -> None:
        """What is under way stays below the same amount."""
        push = self.push

        def slow() -> int:
            count = push()
            self.arrived = max(self.arrived, self.sent - AHEAD // 2)
            return count

        sent = send(slow, Extent(1.0, sys.maxsize), self.ask, clock=self.clock.seconds, sleep=self.clock.advance)
        self.assertGreater(sent, 10 * AHEAD)
        self.assertLessEqual(self.furthest, AHEAD)

    def test_whoever_keeps_in_step_is_seldom_asked(self) -> None:
        """Asking takes the processors from what is measured."""
        self.arrived = sys.maxsize
        self.assertGreater(self.send(1.0), 10 * AHEAD)
        self.assertEqual(self.asked, 1)

    def test_an_amount(self) -> None:
        """It ends when all is sent."""
        self.assertEqual(self.send(3.0, 5 * MB), 5 * MB)


class CountingTests(SynchronousTestCase):
    """Waiting for the destination."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.ended_at = 0.0

    def report(self) -> Report:
        """What it says now."""
        return Report(self.clock.seconds() >= self.ended_at, [1.0], [7 * MB])

    def until_ended(self) -> Report:
        """Wait."""
        counting = Counting(self.report, self.clock.seconds, self.clock.advance)
        return counting.until(lambda report: report.ended, "has not ended")

    def test_it_waits_for_long(self) -> None:
        """The next run begins when nothing of this one is under way, even if that takes most of a minute."""
        self.ended_at = DRAIN - 1
        self.assertTrue(self.until_ended().ended)
        self.assertGreaterEqual(self.clock.seconds(), self.ended_at)

    def test_it_fails_rather_than_go_on(self) -> None:
        """With what is still under way the next figure would be none; the error says how far it got."""
        self.ended_at = DRAIN + 10
        error = self.assertRaises(StreamFailed, self.until_ended)
        self.assertIn("has not ended at its destination within 60 s; 7000000 bytes of it are there", str(error))

    def test_nothing_arrived(self) -> None:
        """A report without marks is one of no bytes."""
        self.assertEqual(Report(True, [], []).arrived, 0)
