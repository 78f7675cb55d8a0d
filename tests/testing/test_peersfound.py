"""Tests of torpydo.testing.peersfound: the figures of ``torpydo bench --peers`` come from peers that have met."""

from __future__ import annotations

import json
from contextlib import redirect_stdout
from io import StringIO

import attrs
from twisted.trial.unittest import SynchronousTestCase

from torpydo.testing.peersfound import Case, main, measure


class MeasureTests(SynchronousTestCase):
    """A few peers."""

    def test_all_honest(self) -> None:
        """All know all, soon; nobody has worked but they, and there is nothing false."""
        found = measure(20, Case.LIARS, 0.0, 65, 1)
        self.assertEqual(found.known, [100.0] * 20)
        self.assertEqual((found.false, found.bad, found.refused, found.work), ([0] * 20, [0], [0], [0]))
        (minutes,) = found.minutes
        self.assertLessEqual(minutes, 30)
        self.assertGreater(found.bytes[0], 1000)

    def test_liars(self) -> None:
        """They lie, which is seen; the others know each other and nobody else."""
        found = measure(20, Case.LIARS, 0.2, 65, 1)
        self.assertEqual((found.known, found.false), ([100.0] * 16, [0] * 16))
        self.assertGreater(found.bad[0], 5)
        self.assertGreater(found.refused[0], 0)
        self.assertGreater(found.work[0], 1)

    def test_sybils(self) -> None:
        """Names that nobody runs are in the tables, and do not keep the others out."""
        found = measure(20, Case.SYBILS, 0.1, 65, 1)
        self.assertEqual((min(found.known), found.bad), (100.0, [0]))
        self.assertGreater(sum(found.false), 0)

    def test_a_flood(self) -> None:
        """Who floods works many times as much as all the others, for entries that displace each other."""
        found = measure(12, Case.FLOOD, 0.1, 65, 1)
        self.assertEqual(min(found.known), 100.0)
        self.assertGreater(found.work[0], 10)
        self.assertGreater(found.bad[0], 10)
        self.assertLessEqual(max(found.false), 300)

    def test_churn(self) -> None:
        """Newcomers are known, and those who have gone are false until that is noticed."""
        found = measure(20, Case.CHURN, 0.2, 65, 1)
        self.assertEqual(len(found.known), 20)
        self.assertGreater(min(found.known), 90)
        self.assertGreater(sum(found.false), 0)

    def test_cut_off(self) -> None:
        """For most of an hour they do not reach each other, and then the time is taken."""
        found = measure(20, Case.CUT_OFF, 0.4, 90, 1)
        self.assertEqual(min(found.known), 100.0)
        self.assertLessEqual(found.minutes[0], 30)

    def test_the_same_again(self) -> None:
        """The seed decides, and nothing else; minutes are rounded up to five."""
        first, second, other = (measure(10, Case.LIARS, 0.2, 61 + seed, seed) for seed in (4, 4, 5))
        self.assertEqual(first, second)
        self.assertNotEqual(first.bytes, other.bytes)

    def test_the_command(self) -> None:
        """It prints what was measured."""
        output = StringIO()
        with redirect_stdout(output):
            self.assertEqual(main(["--peers=10", "--percent=20", "--minutes=65", "--case=sybils", "--seed=5"]), 0)
        self.assertEqual(json.loads(output.getvalue()), attrs.asdict(measure(10, Case.SYBILS, 0.2, 65, 5)))
