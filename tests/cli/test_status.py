"""Tests of torpydo.cli.status."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from torpydo.cli.status import outline


class OutlineTests(SynchronousTestCase):
    """A status for people."""

    def test_each_fact_is_a_line(self) -> None:
        """Names are written with spaces, values as people say them."""
        text = outline({"ready": True, "guard": None, "skew": 1.23456, "listing_digest": "k7x2", "test_network": False})
        self.assertEqual(text, "ready: yes\nguard: -\nskew: 1.235\nlisting digest: k7x2\ntest network: no")

    def test_a_list_of_things_is_a_table(self) -> None:
        """One line a thing, under the names of its facts, in columns."""
        circuits = [{"path": ["a", "b"], "streams": 1}, {"path": ["alpha", "beta"], "streams": 12}]
        lines = outline({"circuits": circuits}).split("\n")
        self.assertEqual(lines, ["circuits:", "  path         streams", "  a, b         1", "  alpha, beta  12"])

    def test_an_empty_list_is_a_dash(self) -> None:
        """A client without circuits has a line for them all the same."""
        self.assertEqual(outline({"circuits": []}), "circuits: -")

    def test_a_fact_of_a_later_version_is_shown(self) -> None:
        """Nothing is left out because this version does not know it."""
        self.assertEqual(outline({"new": {"a": 1, "b": None}}), "new: a 1, b -")

    def test_no_terminal_obeys_a_name(self) -> None:
        """Some of what is shown was chosen by strangers."""
        text = outline({"pools": [{"says": "\x1b[31mhel\nlo"}], "\x07name": "a\rb"})
        self.assertEqual(text, "pools:\n  says\n  ?[31mhel?lo\n?name: a?b")

    def test_a_status_that_is_very_deep(self) -> None:
        """It is shown as far as a person can follow."""
        deep: object = 1
        for _ in range(900):
            deep = {"a": deep}
        self.assertEqual(outline({"x": deep}), "x: " + "a " * 8 + "...")

    def test_counts_that_are_zero(self) -> None:
        """Those that never happened would hide the others."""
        text = outline({"refused": {"files": 0, "links": 2, "late": 0}, "none": {"files": 0}, "flags": {"on": False}})
        self.assertEqual(text, "refused: links 2\nnone: -\nflags: on no")
