"""Tests of the bounds that an input has under the fuzzer, of scripts, and of what an entry point looks at besides."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from torpydo.testing.fuzz import Finding
from torpydo.testing.fuzz.cursor import MOST_READS, Cursor, cut, scripted
from torpydo.testing.fuzz.execution import bounded
from torpydo.testing.fuzz.target import watched_log


class BoundTests(SynchronousTestCase):
    """What an input may cost: 50 ms of the processor, and 64 MiB."""

    def setUp(self) -> None:
        self.seconds = 0.0
        self.memory = 100_000
        self.told: list[str] = []
        self.saved: list[bytes] = []

    def look(self, run: Callable[[bytes], None]) -> Callable[[bytes], None]:
        """Bounds with a clock and a memory that the test turns."""
        return bounded(
            run, self.told.append, self.saved.append, clock=lambda: self.seconds, peak=lambda: self.memory
        )

    def test_an_input_that_takes_too_long(self) -> None:
        """More than 50 ms, each time that it is run. The input is kept."""

        def run(data: bytes) -> None:
            self.seconds += 0.050 + 0.001 * data[0]

        self.look(run)(b"\0")
        self.assertEqual(self.saved, [])
        self.assertRaises(Finding, self.look(run), b"\1")
        self.assertEqual(self.saved, [b"\1"])

    def test_one_pause_is_no_finding(self) -> None:
        """The garbage collector may have run."""
        pauses = [0.5, 0.01, 0.01]

        def run(data: bytes) -> None:
            self.seconds += pauses.pop(0)

        self.look(run)(b"")
        self.assertEqual(pauses, [])

    def test_an_input_that_takes_too_much_memory(self) -> None:
        """The peak counts, though everything may have been given back."""

        def run(data: bytes) -> None:
            self.memory += 64 * 1024 + data[0]

        self.look(run)(b"\0")
        self.assertRaises(Finding, self.look(run), b"\1")

    def test_the_slowest_input_is_told(self) -> None:
        """A line for each that is much slower than all before it."""

        def run(data: bytes) -> None:
            self.seconds += data[0] / 1000

        look = self.look(run)
        for data in (b"\1", b"\x0a", b"\x0b", b"\x14"):
            look(data)
        self.assertEqual(self.told, ["slowest input so far: 10.0 ms\n", "slowest input so far: 20.0 ms\n"])


class LogTests(SynchronousTestCase):
    """What an entry point writes to the log."""

    log = Logger()

    def write(self, write: Callable[[], object]) -> None:
        """Log something under watch."""
        with watched_log():
            write()

    def test_plain_words_are_none_of_its_business(self) -> None:
        """Warnings are."""
        self.write(lambda: self.log.warn("a {word}", word="word"))

    def test_a_failure_is_a_finding(self) -> None:
        """Its traceback is shown."""

        def fail() -> None:
            try:
                raise ValueError("unseen")
            except ValueError:
                self.log.failure("something")

        found = self.assertRaises(Finding, self.write, fail)
        self.assertIn("ValueError: unseen", str(found))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_a_terminal_must_not_obey_it(self) -> None:
        """Not even in a warning."""
        found = self.assertRaises(Finding, self.write, lambda: self.log.warn("said: {it}", it="\x1b[1m"))
        self.assertIn("x1b", str(found))


class ScriptTests(SynchronousTestCase):
    """How an input is read."""

    def test_after_its_end_everything_is_zero(self) -> None:
        """A script that is cut off is a script."""
        script = Cursor(b"\x02ab\x01\x02")
        self.assertEqual((script.short(), script.number(3), script.ended), (b"ab", 0x010200, True))
        self.assertEqual((script.byte(), script.short(), script.rest()), (0, b"", b""))

    @given(st.binary(max_size=255), st.binary(max_size=20))
    def test_what_is_scripted_is_read(self, data: bytes, behind: bytes) -> None:
        """One reads what the other writes."""
        script = Cursor(scripted(data) + behind)
        self.assertEqual((script.short(), script.rest()), (data, behind))

    def test_many_reads_end_in_a_large_one(self) -> None:
        """What costs time is the parser, not a million reads of one byte."""
        pieces = cut(bytes(10_000), b"\0")
        self.assertEqual((len(pieces), len(pieces[-1])), (MOST_READS + 1, 10_000 - MOST_READS))

    @given(st.binary(max_size=100), st.binary(max_size=5))
    def test_cutting_loses_nothing(self, data: bytes, sizes: bytes) -> None:
        """The pieces make up the whole; each is one byte longer than its number, but for the last."""
        pieces = cut(data, sizes)
        self.assertEqual(b"".join(pieces), data)
        for number, piece in enumerate(pieces[:-1]):
            self.assertEqual(len(piece), sizes[number % len(sizes)] + 1)
