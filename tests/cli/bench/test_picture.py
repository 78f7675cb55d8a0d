"""Tests of torpydo.cli.bench.picture."""

from __future__ import annotations

from importlib.util import find_spec

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from torpydo.cli.bench.figures import Figure
from torpydo.cli.bench.picture import check_picture, draw
from torpydo.errors import ConfigurationError, TorpydoError

MATPLOTLIB = find_spec("matplotlib") is not None
FIGURES = [
    Figure("rtt", "direct", "loopback", "ms", (0.01,)),
    Figure("rtt", "torpydo", "loopback", "ms", (0.7, 0.9, 0.75)),
    Figure("queue", "torpydo", "25 ms", "ms", (-1.0,)),
    Figure("dht_hops", "torpydo", "n = 50, all honest", "", (1, 2)),
    Figure("dht_hops", "torpydo", "n = 200, all honest", "", (2, 2)),
    Figure("dht_hops", "torpydo", "n = 200, 20 % churn", "", (2, 3)),
    Figure("dht_found", "torpydo", "n = 200, all honest", "%", (100,)),
]


class NameTests(SynchronousTestCase):
    """What is found out before anything is measured."""

    def test_a_name_without_a_kind(self) -> None:
        """The name must say which kind of picture it is."""
        error = self.assertRaises(ConfigurationError, check_picture, "figures.json")
        self.assertIn(".png", str(error))

    def test_matplotlib_is_missing(self) -> None:
        """The reason says how to install it."""
        if MATPLOTLIB:
            raise SkipTest("matplotlib is installed")
        error = self.assertRaises(ConfigurationError, check_picture, "figures.png")
        self.assertIn("pip install 'torpydo[bench]'", str(error))


class DrawTests(SynchronousTestCase):
    """The picture."""

    skip = None if MATPLOTLIB else "matplotlib is not installed"

    def test_it_is_drawn(self) -> None:
        """It is of the kind that the name of its file says."""
        drawn = draw(FIGURES, "a.b.svg", "a title").decode()
        for text in ("a title", "20 % churn"):
            self.assertIn(text, drawn)
        self.assertTrue(draw(FIGURES, "a.png", "").startswith(b"\x89PNG"))

    def test_there_is_nothing_to_draw(self) -> None:
        """The reason is a sentence."""
        error = self.assertRaises(TorpydoError, draw, [], "a.svg", "")
        self.assertIn("nothing was measured", str(error))
