"""Tests of torpydo.cli.bench.figures."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torpydo.cli.bench.figures import Figure, figures_from_json, figures_to_json
from torpydo.errors import ConfigurationError

FIGURES = st.builds(
    Figure,
    key=st.text(max_size=10),
    system=st.text(max_size=10),
    conditions=st.text(max_size=10),
    unit=st.text(max_size=4),
    samples=st.lists(st.floats(0, 1e9), min_size=1, max_size=5),
)


class FigureTests(SynchronousTestCase):
    """The samples of one line."""

    def test_the_three_figures(self) -> None:
        """Smallest, middle and largest; the middle one is not the mean."""
        figure = Figure("rtt", "torpydo", "loopback", "ms", (9.0, 1.0, 2.0))
        self.assertEqual((figure.minimum, figure.median, figure.maximum), (1.0, 2.0, 9.0))

    def test_no_samples(self) -> None:
        """What was not measured is no figure."""
        self.assertRaises(ValueError, Figure, "rtt", "torpydo", "loopback", "ms", ())


class JSONTests(SynchronousTestCase):
    """The file that ``--json`` writes."""

    @given(st.lists(FIGURES, max_size=3))
    def test_round_trip(self, figures: list[Figure]) -> None:
        """What was written is read again."""
        self.assertEqual(figures_from_json(figures_to_json(figures, {"python": "3.11"})), ({"python": "3.11"}, figures))

    def test_the_figures_stand_in_it(self) -> None:
        """Who reads the file need not calculate."""
        text = figures_to_json([Figure("rtt", "tor", "25 ms", "ms", (3.0, 1.0))], {})
        self.assertEqual(
            json.loads(text)["figures"],
            [{"key": "rtt", "system": "tor", "conditions": "25 ms", "unit": "ms", "samples": [3.0, 1.0],
              "minimum": 1.0, "median": 2.0, "maximum": 3.0}],
        )  # fmt: skip

    def test_other_documents(self) -> None:
        """Anything else is refused with the reason, and never with a traceback."""
        whole = {"key": "", "system": "", "conditions": "", "unit": "", "samples": [1]}
        broken = [whole | change for change in ({"key": 1}, {"samples": "12"}, {"samples": []}, {"samples": [None]})]
        for document in ["", "[]", "{}", *(json.dumps({"facts": {}, "figures": [one]}) for one in [*broken, 7, {}])]:
            self.assertRaises(ConfigurationError, figures_from_json, document)
