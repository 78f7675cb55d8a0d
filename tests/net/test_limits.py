"""Tests of torpydo.net.limits."""

from __future__ import annotations

import math

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torpydo.errors import ConfigurationError
from torpydo.net import Limits, limit


@attrs.frozen
class Some(Limits):
    """Limits for these tests."""

    links_per_host: int = limit(100, "links", "of one address", lifted=True)
    idle: float = limit(3600.0, "seconds", "a link is kept")
    tries: int = limit(3, "times", "a name is asked for", least=0)


class LimitsTests(SynchronousTestCase):
    """Options like links-per-host=200."""

    def refusal(self, word: str) -> str:
        """Why a word is refused."""
        with self.assertRaises(ConfigurationError) as caught:
            Some.parse([word])
        return str(caught.exception)

    def test_defaults(self) -> None:
        """What is not named keeps its default."""
        self.assertEqual(Some.parse([]), Some())
        self.assertEqual(Some.parse(["idle=5"]), Some(idle=5.0))

    def test_values(self) -> None:
        """Whole numbers where something is counted, others too where it is measured; K, M and G are powers of 1024."""
        chosen = Some.parse(["links-per-host=2K", "idle=0.5m", "tries=0"])
        self.assertEqual(chosen, Some(links_per_host=2048, idle=0.5 * 1024 * 1024, tries=0))
        self.assertEqual([type(value) for value in attrs.astuple(chosen)], [int, float, int])

    def test_the_last_word_counts(self) -> None:
        """As with any option."""
        self.assertEqual(Some.parse(["tries=1", "tries=2"]).tries, 2)

    def test_known(self) -> None:
        """All that a table needs is there, under the name that the option has."""
        first = next(Some.known())
        self.assertEqual(attrs.astuple(first), ("links-per-host", 100, "links", "of one address", True))

    def test_unknown_names(self) -> None:
        """The names that there are, are named."""
        for word in ("links=3", "links_per_host=3", "idle", "", "=3"):
            self.assertIn("the names are links-per-host, idle, tries", self.refusal(word))

    def test_other_values(self) -> None:
        """What is no number, or no sensible one, is refused, and said with its unit."""
        for text in ("", "many", "-1", "1e3", "0x10", "1.5", "inf", "nan", "١", "1 ", "1KK"):
            self.assertIn("a whole number of links", self.refusal(f"links-per-host={text}"))
        self.assertIn("a number of seconds", self.refusal("idle=."))
        self.assertIn("at least 1 links", self.refusal("links-per-host=0"))
        self.assertIn("more than any computer has", self.refusal("links-per-host=999999999999999G"))

    def test_a_test_network(self) -> None:
        """It is without those that make no sense there, unless somebody chose them."""
        self.assertEqual(Some().in_test_network(), attrs.evolve(Some(), **{"links_per_host": math.inf}))
        self.assertEqual(Some(links_per_host=7).in_test_network().links_per_host, 7)

    @given(st.integers(1, 10**15 - 1), st.floats(1, 10**14).map(lambda number: round(number, 3)))
    def test_words(self, links: int, idle: float) -> None:
        """What was chosen can be told to another process."""
        chosen = Some(links_per_host=links, idle=idle)
        self.assertEqual(Some.parse(chosen.words()), chosen)

    def test_words_of_defaults(self) -> None:
        """Nothing is said of them."""
        self.assertEqual(Some().words(), ())
        self.assertEqual(Some(tries=4).words(), ("tries=4",))
