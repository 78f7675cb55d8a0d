"""Tests of torpydo.node.crowds."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torpydo.node.crowds import Crowds


class CrowdsTests(SynchronousTestCase):
    """Who has the most."""

    @given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), max_size=60))
    def test_as_if_all_were_counted(self, steps: list[tuple[bool, int]]) -> None:
        """At each moment."""
        crowds: Crowds[int] = Crowds()
        counts: Counter[int] = Counter()
        for more, owner in steps:
            if more:
                crowds.add(owner)
                counts[owner] += 1
            elif counts[owner]:
                crowds.remove(owner)
                counts[owner] -= 1
            most = max(counts.values(), default=0)
            self.assertEqual((crowds.total, crowds.most), (counts.total(), most))
            self.assertEqual([crowds.size(one) for one in range(5)], [counts[one] for one in range(5)])
            if most:
                self.assertEqual(counts[crowds.largest()], most)

    def test_nothing_stays(self) -> None:
        """Of an owner that has nothing any more."""
        crowds: Crowds[object] = Crowds()
        for step in (crowds.add, crowds.add, crowds.remove, crowds.remove):
            step(self)
        self.assertEqual((crowds._sizes, crowds._owners), ({}, {}))
