"""Tests of torpydo.net.quiet (SECURITY I2)."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger, LogLevel, LogPublisher, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from torpydo.net.quiet import LIMITED, MAX_KINDS, MOST, PERIOD, QuietObserver, keep_quiet


class QuietTests(SynchronousTestCase):
    """A log of ten lines a minute for each kind."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.events: list[LogEvent] = []
        self.publisher = LogPublisher(self.events.append)
        keep_quiet(self.publisher, self.clock.seconds)
        self.log = Logger(namespace="torpydo.node", observer=self.publisher)

    def lines(self) -> list[str]:
        """What was written since the last look."""
        lines = [formatEvent(event) for event in self.events]
        self.events.clear()
        return lines

    def test_a_flood(self) -> None:
        """A hundred thousand bad cells in ten minutes: eleven lines a minute."""
        for _ in range(600):
            for number in range(100_000 // 600):
                self.publisher({"log_namespace": "n", "log_format": "bad {number}", "number": number})
            self.clock.advance(1)
        self.assertLessEqual(len(self.lines()), 10 * (MOST + 1))

    def test_the_first_ten(self) -> None:
        """Then nothing until the minute is over, and then how many there were."""
        for number in range(MOST + 5):
            self.log.warn("a bad cell {number}", number=number)
        self.assertEqual(self.lines(), [f"a bad cell {number}" for number in range(MOST)])
        self.clock.advance(PERIOD - 1)
        self.log.warn("a bad cell {number}", number=98)
        self.assertEqual(self.lines(), [])
        self.clock.advance(1)
        self.log.warn("a bad cell {number}", number=99)
        self.assertEqual(self.lines(), ["6 more lines like the next were left out", "a bad cell 99"])

    def test_nothing_was_left_out(self) -> None:
        """Then nothing is said about it."""
        for _ in range(3):
            self.log.info("hello")
            self.clock.advance(PERIOD)
        self.assertEqual(self.lines(), ["hello"] * 3)

    def test_kinds_do_not_disturb_each_other(self) -> None:
        """Another text, or the same one said by another part, is another kind."""
        other = Logger(namespace="torpydo.pool", observer=self.publisher)
        for _ in range(MOST + 1):
            self.log.info("one")
            self.log.info("two")
            other.info("one")
        self.assertEqual(len(self.lines()), 3 * MOST)

    def test_what_ends_the_process_is_said(self) -> None:
        """However often."""
        for _ in range(MOST + 1):
            self.log.critical("cannot listen")
        self.assertEqual(len(self.lines()), MOST + 1)

    def test_what_was_limited_elsewhere(self) -> None:
        """A worker's lines have one kind here and many there."""
        for _ in range(MOST + 1):
            self.log.emit(LogLevel.info, "worker {text}", text="x", **{LIMITED: True})
        self.assertEqual(len(self.lines()), MOST + 1)

    def test_failures(self) -> None:
        """A traceback is a line too, and the longest."""
        for _ in range(MOST + 1):
            try:
                raise ZeroDivisionError("x")
            except ZeroDivisionError:
                self.log.failure("it broke")
        self.assertEqual(len(self.lines()), MOST)

    def test_kinds_are_bounded(self) -> None:
        """Even if somebody made kinds out of data."""
        observer = QuietObserver(lambda event: None, self.clock.seconds)
        for number in range(MAX_KINDS + 100):
            observer({"log_namespace": "n", "log_format": str(number)})
        self.assertEqual(len(observer._kinds), MAX_KINDS)
