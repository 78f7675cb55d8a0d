"""Tests of torpydo.net.refusals."""

from __future__ import annotations

from enum import Enum

from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger, LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from torpydo.net import QuietObserver, Refusals
from torpydo.net.quiet import MOST
from torpydo.net.refusals import QUIET


class Cause(Enum):
    """Causes for these tests."""

    TOO_FAST = "connections that came too fast"
    TOO_MANY = "links that were too many"


class RefusalsTests(SynchronousTestCase):
    """Counts and lines."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.refusals = Refusals(Cause, self.clock.seconds)

    def lines(self, cause: Cause, *counts: int) -> list[str]:
        """What the log says of so many."""
        with capturedLogs() as logs:
            for count in counts:
                self.refusals.add(cause, count)
        self.assertTrue(all([event["log_level"] is LogLevel.info for event in logs]))
        return [str(formatEvent(event)) for event in logs]

    def test_counts(self) -> None:
        """Every cause is there from the start."""
        self.assertEqual(self.refusals.counts(), {"too_fast": 0, "too_many": 0})
        self.lines(Cause.TOO_MANY, 1, 1, 5)
        self.assertEqual(self.refusals.counts(), {"too_fast": 0, "too_many": 7})

    def test_a_flood(self) -> None:
        """The first is told at once, and then nothing for a minute (SECURITY I2); then how many there were."""
        self.assertEqual(self.lines(Cause.TOO_FAST, *[1] * 1000), ["refused 1: connections that came too fast"])
        self.clock.advance(QUIET - 1)
        self.assertEqual(self.lines(Cause.TOO_FAST, 1), [])
        self.clock.advance(1)
        self.assertEqual(self.lines(Cause.TOO_FAST, 1), ["refused 1001: connections that came too fast"])

    def test_each_cause_for_itself(self) -> None:
        """One does not silence the other."""
        self.lines(Cause.TOO_FAST, 1)
        self.assertEqual(self.lines(Cause.TOO_MANY, 2), ["refused 2: links that were too many"])

    def test_many_causes(self) -> None:
        """However many there are: the limit on lines of one kind does not hide any of them."""
        causes = Enum("Causes", {f"CAUSE{number}": f"cause {number}" for number in range(3 * MOST)})
        seen: list[LogEvent] = []
        quiet = QuietObserver(lambda event: seen.append(event), self.clock.seconds)
        self.patch(Refusals, "log", Logger(namespace="refusals", observer=quiet))
        refusals = Refusals(causes, self.clock.seconds)
        for cause in causes:
            refusals.add(cause)
            refusals.add(cause)
        self.assertEqual(len(seen), 3 * MOST)
