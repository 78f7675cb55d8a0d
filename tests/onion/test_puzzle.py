"""Puzzles: a proof holds for its message, its seed and its effort, and takes about as many tries as it says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torpydo.onion import Proof, proves, solve

SEED = b"s" * 32


class PuzzleTests(SynchronousTestCase):
    """Finding and checking."""

    @given(st.integers(1, 200), st.binary(min_size=512, max_size=512), st.binary(min_size=16, max_size=16))
    def test_what_is_found_holds(self, effort: int, message: bytes, start: bytes) -> None:
        """For that message and seed."""
        nonce = solve(SEED, message, effort, start, 1_000_000)
        assert nonce is not None
        self.assertTrue(proves(SEED, message, Proof(effort, nonce)))

    @given(st.integers(0, 511), st.integers(1, 255))
    def test_for_another_message(self, place: int, mask: int) -> None:
        """A proof is worth nothing with a message of which one byte is another, wherever it is."""
        message = bytes(512)
        nonce = solve(SEED, message, 1 << 16, bytes(16), 1_000_000)
        changed = bytearray(message)
        changed[place] ^= mask
        assert nonce is not None
        self.assertFalse(proves(SEED, bytes(changed), Proof(1 << 16, nonce)))

    def test_for_another_seed_or_effort(self) -> None:
        """Nor is it with another seed, or for more than it took."""
        nonce = solve(SEED, bytes(512), 5000, bytes(16), 1_000_000)
        assert nonce is not None
        self.assertFalse(proves(b"t" * 32, bytes(512), Proof(5000, nonce)))
        self.assertFalse(proves(SEED, bytes(512), Proof(2**32 - 1, nonce)))

    def test_tries(self) -> None:
        """An effort of 100 takes 100 tries on average."""
        total = 0
        for number in range(400):
            nonce = solve(SEED, number.to_bytes(512, "big"), 100, bytes(16), 100_000)
            assert nonce is not None
            total += int.from_bytes(nonce, "big") + 1
        self.assertTrue(85 < total / 400 < 115, total / 400)

    def test_in_parts(self) -> None:
        """A search ends after so many tries, and can begin anywhere, at the end of the numbers too."""
        nonce = solve(SEED, bytes(512), 100, bytes(16), 100_000)
        assert nonce is not None
        tries = int.from_bytes(nonce, "big") + 1
        self.assertIsNone(solve(SEED, bytes(512), 100, bytes(16), tries - 1))
        self.assertEqual(solve(SEED, bytes(512), 100, nonce, 1), nonce)
        self.assertEqual(solve(SEED, bytes(512), 100, b"\xff" * 16, tries + 1), nonce)

    def test_no_effort(self) -> None:
        """Anything proves it."""
        self.assertEqual(solve(SEED, bytes(512), 0, b"n" * 16, 1), b"n" * 16)
        self.assertTrue(proves(SEED, bytes(512), Proof()))
