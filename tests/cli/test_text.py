"""Tests of torpydo.cli.text."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.nodes import node
from torpydo.cli.text import milliseconds, path_lines, path_summary, rate, size


class NumberTests(SynchronousTestCase):
    """Numbers as people read them."""

    def test_a_small_size_is_exact(self) -> None:
        """A few bytes are counted."""
        self.assertEqual(size(1234), "1234 bytes")

    def test_larger_sizes_are_rounded(self) -> None:
        """A long number says nothing to a person."""
        self.assertEqual(size(123_456), "123 kB")
        self.assertEqual(size(268_435_456), "268.4 MB")

    def test_a_rate_is_in_millions_of_bytes(self) -> None:
        """MB/s means the same as in the tables of the documentation."""
        self.assertEqual(rate(150_000_000, 1.5), "100.0 MB/s")

    def test_a_rate_over_no_time_is_no_error(self) -> None:
        """An empty file takes no measurable time."""
        self.assertEqual(rate(0, 0.0), "0.0 MB/s")

    def test_times_are_in_milliseconds(self) -> None:
        """Circuits take milliseconds."""
        self.assertEqual(milliseconds(0.00214), "2.1 ms")


class PathTests(SynchronousTestCase):
    """A path as text."""

    def test_each_hop_has_a_line(self) -> None:
        """The table shows place, name, id, address and time of every hop."""
        path = [node(1, "alpha"), node(2, "b"), node(3, "")]
        lines = path_lines(path, [0.001, 0.0021, 0.0132])
        places, times = ("guard", "middle", "exit"), ("1.0", "2.1", "13.2")
        for line, place, hop, time in zip(lines, places, path, times, strict=True):
            for part in (place, hop.name, hop.node_id.short, str(hop.address), f"{time} ms"):
                self.assertIn(part, line)

    def test_the_columns_stand_below_each_other(self) -> None:
        """Every address begins in the same column."""
        lines = path_lines([node(1, "alpha"), node(2, "b")], [0.1, 0.2])
        self.assertEqual(len({line.index("127.0.0.1") for line in lines}), 1)

    def test_the_only_hop_is_the_exit(self) -> None:
        """A circuit of one hop has no guard."""
        [line] = path_lines([node(1, "alpha")], [0.1])
        self.assertIn("exit", line)

    def test_a_summary_names_the_guard_first(self) -> None:
        """The path on one line reads in the direction of the bytes."""
        path = [node(1, "alpha"), node(2, "")]
        self.assertEqual(path_summary(path), f"alpha ({path[0].node_id.short}) > ({path[1].node_id.short})")
