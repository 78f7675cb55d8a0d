"""Tests of tests.soak.truth."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.soak.truth import Check, Truth

SEEDS = st.integers(0, 2**64 - 1)
SIZE = 70_000


class TruthTests(SynchronousTestCase):
    """Bytes that follow from a seed."""

    @given(SEEDS, st.integers(0, SIZE), st.integers(0, SIZE))
    def test_any_part_is_the_same(self, seed: int, one: int, other: int) -> None:
        """Where it is cut does not matter."""
        first, last = sorted((one, other))
        truth = Truth(seed)
        self.assertEqual(truth.read(first, last - first), truth.read(0, SIZE)[first:last])

    def test_nothing_comes_twice(self) -> None:
        """Neither in one transfer nor in two: the head of a block says where it belongs."""
        count = 40_000
        heads = {Truth(seed).read(number * 16 * 1024, 24) for seed in (1, 2) for number in range(count)}
        self.assertEqual(len(heads), 2 * count)


class CheckTests(SynchronousTestCase):
    """What is compared with them."""

    @given(SEEDS, st.lists(st.integers(0, 30_000), max_size=5))
    def test_the_truth_in_any_pieces(self, seed: int, sizes: list[int]) -> None:
        """It is right, and complete with the last piece."""
        check, truth = Check(seed, sum(sizes)), Truth(seed)
        for size in sizes:
            self.assertTrue(check.add(truth.read(check.offset, size)))
        self.assertTrue(check.complete)

    @given(st.integers(0, SIZE - 1), st.integers(1, 255), st.integers(1, SIZE))
    def test_one_wrong_byte(self, place: int, change: int, piece: int) -> None:
        """Its place is told, whatever the pieces are, and nothing after it is right."""
        data = bytearray(Truth(5).read(0, SIZE))
        data[place] ^= change
        check = Check(5, SIZE)
        right = [check.add(data[begin : begin + piece]) for begin in range(0, SIZE, piece)]
        self.assertEqual((check.wrong_at, right.count(True), check.complete), (place, place // piece, False))

    def test_more_than_was_wanted(self) -> None:
        """A byte too many is a wrong byte."""
        check = Check(5, 10)
        self.assertFalse(check.add(Truth(5).read(0, 11)))
        self.assertEqual(check.wrong_at, 10)

    def test_less_than_was_wanted(self) -> None:
        """It is right so far, and not complete."""
        check = Check(5, 10)
        self.assertTrue(check.add(Truth(5).read(0, 9)))
        self.assertFalse(check.complete)
