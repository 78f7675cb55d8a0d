"""Tests of tests.soak.beside: what an honest circuit must keep."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.soak.beside import Speed, compare


class CompareTests(SynchronousTestCase):
    """Before and during an attack."""

    def lost(self, rate: float, trip: float, before: float = 0.1) -> list[str]:
        """What is lost by a circuit that had 20 MB/s and such round trips."""
        return compare(Speed(20e6, before), Speed(rate, trip))

    def test_kept(self) -> None:
        """Half the rate, and twice the time; on loopback 50 ms more."""
        self.assertEqual(self.lost(10e6, 0.2), [])
        self.assertEqual(self.lost(10e6, 0.052, before=0.002), [])

    def test_lost(self) -> None:
        """Less than that, and longer than that, is said with figures."""
        self.assertEqual(self.lost(9e6, 0.1), ["an honest download keeps 45% of its 20.0 MB/s"])
        self.assertEqual(self.lost(20e6, 0.201), ["honest round trips take 201 ms, 100 before"])
        self.assertEqual(len(self.lost(1e6, 0.06, before=0.002)), 2)
