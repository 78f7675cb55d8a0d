"""Puzzles: a solution holds for its cookie and its effort, and takes about as many tries as it says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torpydo.onion import Puzzle, solve

PUZZLE = Puzzle(b"s" * 32, 10)


class PuzzleTests(SynchronousTestCase):
    """Finding and checking."""

    @given(st.integers(1, 200), st.binary(min_size=20, max_size=20), st.binary(min_size=16, max_size=16))
    def test_what_is_found_holds(self, effort: int, cookie: bytes, start: bytes) -> None:
        """For that cookie and seed alone."""
        nonce = solve(PUZZLE, cookie, effort, start, 1_000_000)
        assert nonce is not None
        self.assertEqual(PUZZLE.effort_of(cookie, nonce, effort), effort)
        self.assertEqual(PUZZLE.effort_of(cookie, nonce, 0), 0)

    def test_for_another_cookie(self) -> None:
        """A solution is not worth its effort with another cookie, seed or claim."""
        cookie = bytes(20)
        nonce = solve(PUZZLE, cookie, 5000, bytes(16), 1_000_000)
        assert nonce is not None
        self.assertEqual(PUZZLE.effort_of(b"\x01" * 20, nonce, 5000), 0)
        self.assertEqual(Puzzle(b"t" * 32).effort_of(cookie, nonce, 5000), 0)
        self.assertEqual(PUZZLE.effort_of(cookie, nonce, 2**32 - 1), 0)

    def test_tries(self) -> None:
        """An effort of 100 takes 100 tries on average."""
        total = 0
        for number in range(400):
            nonce = solve(PUZZLE, number.to_bytes(20, "big"), 100, bytes(16), 100_000)
            assert nonce is not None
            total += int.from_bytes(nonce, "big") + 1
        self.assertTrue(85 < total / 400 < 115, total / 400)

    def test_in_parts(self) -> None:
        """A search ends after so many tries, and can begin anywhere, at the end of the numbers too."""
        nonce = solve(PUZZLE, bytes(20), 100, bytes(16), 100_000)
        assert nonce is not None
        tries = int.from_bytes(nonce, "big") + 1
        self.assertIsNone(solve(PUZZLE, bytes(20), 100, bytes(16), tries - 1))
        self.assertEqual(solve(PUZZLE, bytes(20), 100, nonce, 1), nonce)
        self.assertEqual(solve(PUZZLE, bytes(20), 100, b"\xff" * 16, tries + 1), nonce)

    def test_no_effort(self) -> None:
        """Anything is a solution, and worth nothing."""
        self.assertEqual(solve(PUZZLE, bytes(20), 0, b"n" * 16, 1), b"n" * 16)
