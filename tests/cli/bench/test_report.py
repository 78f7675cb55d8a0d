"""Tests of torpydo.cli.bench.report."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from torpydo.cli.bench.figures import Figure
from torpydo.cli.bench.goals import goal_of
from torpydo.cli.bench.report import number, scale_table, seconds_lines, table


class TableTests(SynchronousTestCase):
    """The table on the terminal."""

    FIGURES = (
        Figure("rtt", "direct", "loopback", "ms", (0.0125,)),
        Figure("rtt", "torpydo", "loopback", "ms", (0.7, 0.9, 0.75)),
        Figure("download", "torpydo", "loopback", "MB/s", (80, 90, 99)),
        Figure("download", "torpydo", "25 ms", "MB/s", (50,)),
    )

    def test_a_line(self) -> None:
        """Ours with the range, the goal, whether it was reached, and who stands beside."""
        download, rtt = table(self.FIGURES)[2:4]
        self.assertEqual(download.split("  ")[1], "download, 1 stream")
        self.assertRegex(download, r"MB/s +80\.0 +90\.0 +99\.0 +>= 100 +MISSED$")
        self.assertRegex(rtt, r"ms +0\.70 +0\.75 +0\.90 +<= 0\.8 +reached +direct 0\.01$")

    def test_conditions_have_tables_of_their_own(self) -> None:
        """Figures of different conditions never stand side by side."""
        titles = [line for line in table(self.FIGURES) if not line.startswith(" ")]
        self.assertEqual(titles, ["loopback:", "25 ms:"])

    def test_without_a_verdict(self) -> None:
        """A short run reaches nothing and misses nothing."""
        text = "\n".join(table(self.FIGURES, judged=False))
        self.assertIn(">= 100", text)
        self.assertNotIn("MISSED", text)
        self.assertNotIn("reached", text)

    def test_others_alone(self) -> None:
        """A line that only stands beside is shown too."""
        self.assertIn("direct 0.01", table(self.FIGURES[:1])[2])

    def test_sizes_have_a_table_of_their_own(self) -> None:
        """At the end, a line for each size, with the goal that it has at that size."""
        goal = goal_of("scale_heartbeats", "n = 1250")
        assert goal is not None
        sized = (
            Figure("scale_heartbeats", "torpydo", "n = 1250", "1/s", (goal.value,)),
            Figure("scale_circuits_memory", "torpydo", "n = 100", "MB", (1.5,)),
        )
        lines = table((*sized, *self.FIGURES))
        start = lines.index("scale:")
        self.assertEqual(lines[start:], scale_table(sized))
        self.assertRegex(lines[start + 2], r"idle circuits +n = 100 +MB +1\.50 +1\.50 +1\.50$")
        self.assertRegex(lines[start + 3], rf"n = 1250 +1/s( +{goal.value:.0f}){{3}} +>= {goal.value:.0f} +reached$")

    def test_no_sizes_no_table(self) -> None:
        """What was not measured has no title."""
        self.assertNotIn("scale:", table(self.FIGURES))

    def test_each_second(self) -> None:
        """How a transfer got up to its speed."""
        lines = seconds_lines({"torpydo": {"download": [1.0, 33.3], "upload": []}})
        self.assertEqual(lines, ["  torpydo, download, 1 stream, MB/s in each second: 1.00 33.3"])

    def test_numbers(self) -> None:
        """Three digits, at any size."""
        self.assertEqual([number(value) for value in (0.1234, 12.34, 1234.5, 0)], ["0.12", "12.3", "1234", "0.00"])
