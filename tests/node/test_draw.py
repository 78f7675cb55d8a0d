"""Tests of torpydo.node.draw."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torpydo.node.draw import make_randbelow


class RandbelowTests(SynchronousTestCase):
    """Integers from random bytes."""

    @given(st.binary(min_size=16, max_size=16), st.integers(1, 2**64))
    def test_below(self, data: bytes, below: int) -> None:
        """Whatever the bytes are, the integer is in range."""
        self.assertIn(make_randbelow(lambda size: data[:size])(below), range(below))

    def test_every_value(self) -> None:
        """Every value can come out."""
        drawn = {make_randbelow(lambda size, one=one: bytes([one]) * size)(7) for one in range(256)}
        self.assertEqual(drawn, set(range(7)))
