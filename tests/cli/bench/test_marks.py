"""Tests of torpydo.cli.bench.marks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torpydo.cli.bench.marks import STEP, Marks, percentile

MB = 1_000_000


def steady(rate: int, seconds: int) -> Marks:
    """A transfer of *rate* MB/s that started at 100.0."""
    marks = Marks(100.0)
    for number in range(1, seconds * 10 + 1):
        marks.add(rate * MB // 10, 100.0 + number / 10)
    return marks


class MarksTests(SynchronousTestCase):
    """The course of a transfer."""

    def test_a_steady_transfer(self) -> None:
        """The same rate in each second, and over all."""
        marks = steady(7, 3)
        self.assertEqual([round(rate, 6) for rate in marks.each_second(3.0, 10**9)], [7.0, 7.0, 7.0])
        self.assertAlmostEqual(marks.overall(3.0, 10**9), 7.0)

    def test_one_that_starts_late(self) -> None:
        """From the second second on it is as fast as it then is."""
        marks = Marks(0.0)
        marks.add(0, 2.0)
        for number in range(1, 21):
            marks.add(MB, 2.0 + number / 10)
        self.assertAlmostEqual(marks.rate(2.0, 4.0), 10.0)
        self.assertAlmostEqual(marks.overall(4.0, 10**9), 5.0)

    def test_one_that_stalls(self) -> None:
        """The time in which nothing came counts."""
        marks = steady(8, 1)
        self.assertAlmostEqual(marks.overall(4.0, 10**9), 2.0)

    def test_one_that_is_whole_early(self) -> None:
        """After its last byte no time counts."""
        marks = steady(8, 1)
        self.assertAlmostEqual(marks.overall(4.0, 8 * MB), 8.0)

    def test_what_comes_later_does_not_count(self) -> None:
        """An upload's bytes that arrive after its time are not part of its rate."""
        self.assertAlmostEqual(steady(8, 4).overall(2.0, 10**9), 8.0)

    def test_nothing_came(self) -> None:
        """A transfer without a byte has the rate 0."""
        self.assertEqual((Marks(5.0).overall(1.0, 10), Marks(5.0).each_second(1.0, 10)), (0.0, [0.0]))
        self.assertEqual(Marks(5.0).total, 0)

    def test_the_last_second_counts(self) -> None:
        """Its last bytes come before it is over."""
        marks = Marks(0.0)
        for number in range(1, 8):
            marks.add(MB, number * 0.427)
        self.assertEqual(marks.end, 7 * 0.427)
        self.assertEqual(len(marks.each_second(3.0, 10**9)), 3)
        self.assertGreater(marks.each_second(3.0, 10**9)[2], 0.0)

    def test_seconds_of_one_that_is_whole_early(self) -> None:
        """Those after its last byte do not count."""
        self.assertEqual(len(steady(8, 2).each_second(5.0, 16 * MB)), 2)

    def test_few_marks_are_kept(self) -> None:
        """A read each microsecond does not fill the memory."""
        marks = Marks(0.0)
        for number in range(1, 10_001):
            marks.add(1, number / 1_000_000)
        self.assertLess(len(marks.times), 0.01 / STEP + 3)
        self.assertEqual(marks.total, 10_000)

    @given(st.lists(st.tuples(st.integers(1, 10**6), st.floats(0.0001, 0.5)), min_size=1, max_size=50))
    def test_the_sum_is_kept(self, reads: list[tuple[int, float]]) -> None:
        """Whatever is merged, the bytes at the end are all that came, and they only ever grow."""
        marks, now = Marks(0.0), 0.0
        for size, pause in reads:
            now += pause
            marks.add(size, now)
        self.assertEqual(marks.bytes_until(now), sum(size for size, _ in reads))
        course = [marks.bytes_until(now * part / 10) for part in range(11)]
        self.assertEqual(course, sorted(course))


class PercentileTests(SynchronousTestCase):
    """A share of all values."""

    def test_of_a_hundred(self) -> None:
        """Five of a hundred are at or above it."""
        self.assertEqual(percentile([float(value) for value in reversed(range(100))], 0.95), 95.0)

    def test_of_one(self) -> None:
        """A single value is every percentile."""
        self.assertEqual(percentile([3.0], 0.95), 3.0)
