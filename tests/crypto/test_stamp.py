"""Tests of torpydo.crypto.stamp, and the vectors of an independent program (tests/crypto/stamps)."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st
from nacl.exceptions import RuntimeError as NaClRuntimeError
from nacl.pwhash import argon2id
from twisted.trial.unittest import SynchronousTestCase

from tests.crypto.stamps import vectors
from tests.tpdp.vectors import load
from torpydo.crypto import STAMP_SIZE, claimed_bits, find_stamp, prove_work, stamp_holds
from torpydo.dht import place_of
from torpydo.errors import CryptoError

NODE = sha256(b"node").digest()


def cheap(data: bytes) -> bytes:
    """Work that takes no time."""
    return sha256(data).digest()[:16]


class VectorTests(SynchronousTestCase):
    """Byte for byte."""

    def test_the_program_makes_them(self) -> None:
        """What is kept is what the program writes."""
        self.assertEqual(vectors(), load("stamp"))

    def test_stamps(self) -> None:
        """Each is found where it is, holds, has its bits, and leads to its place."""
        for case in load("stamp"):
            node_id, stamp = bytes.fromhex(case["node_id"]), bytes.fromhex(case["stamp"])
            self.assertEqual(claimed_bits(stamp), case["bits"])
            self.assertEqual(find_stamp(node_id, case["bits"], case["number"], 1), stamp)
            self.assertEqual(place_of(node_id, stamp).hex(), case["place"])
        self.assertTrue(stamp_holds(node_id, stamp))
        self.assertFalse(stamp_holds(NODE, stamp))


class StampTests(SynchronousTestCase):
    """What holds, and what does not."""

    @given(st.integers(0, 2**64 - 1), st.integers(0, 6))
    def test_found(self, first: int, bits: int) -> None:
        """What is found holds, and has the bits that were wanted; numbers go on from nothing behind the last."""
        stamp = find_stamp(NODE, bits, first, 2000, cheap)
        assert stamp is not None
        self.assertEqual(len(stamp), STAMP_SIZE)
        self.assertTrue(stamp_holds(NODE, stamp, cheap))
        self.assertGreaterEqual(claimed_bits(stamp), bits)

    def test_not_found(self) -> None:
        """So many tries are made, and no more."""
        tried: list[bytes] = []

        def work(data: bytes) -> bytes:
            tried.append(data)
            return b"\1" * 16

        self.assertIsNone(find_stamp(NODE, 8, 2**64 - 1, 2, work))
        self.assertEqual(tried, [NODE + b"\xff" * 8, NODE + bytes(8)])

    def test_bits(self) -> None:
        """They are counted from the front of the proof; the number has none."""
        for proof, bits in ((1 << 127, 0), (1 << 120, 7), (1, 127), (0, 128)):
            self.assertEqual(claimed_bits(bytes(8) + proof.to_bytes(16, "big")), bits)
        self.assertEqual(claimed_bits(b""), 0)

    def test_every_flipped_bit(self) -> None:
        """Nothing of a stamp can be changed: neither a proof with more bits nor another number holds."""
        stamp = find_stamp(NODE, 1, 0, 100, cheap)
        assert stamp is not None
        for place in range(8 * STAMP_SIZE):
            changed = (int.from_bytes(stamp, "big") ^ 1 << place).to_bytes(STAMP_SIZE, "big")
            self.assertFalse(stamp_holds(NODE, changed, cheap), place)

    def test_sizes(self) -> None:
        """No stamp holds and has no bits; one of another size does not hold."""
        self.assertTrue(stamp_holds(NODE, b"", cheap))
        stamp = find_stamp(NODE, 0, 0, 1, cheap)
        assert stamp is not None
        for wrong in (stamp[:8], stamp[:-1], stamp + b"\0"):
            self.assertFalse(stamp_holds(NODE, wrong, cheap))

    def test_the_place_comes_after_the_work(self) -> None:
        """Two proofs of one number lead to two places: who looks for a place works for each number that he tries."""
        number = bytes(8)
        self.assertNotEqual(place_of(NODE, number + cheap(NODE)), place_of(NODE, number + cheap(b"other")))

    def test_real_work(self) -> None:
        """One bit of the real thing."""
        stamp = find_stamp(NODE, 1, 0, 100)
        assert stamp is not None
        self.assertTrue(stamp_holds(NODE, stamp))
        self.assertEqual(prove_work(NODE + stamp[:8]), stamp[8:])

    def test_no_memory(self) -> None:
        """A machine that has no 64 MiB left says so."""

        def kdf(*_: object, **__: object) -> bytes:
            raise NaClRuntimeError("no memory")

        self.patch(argon2id, "kdf", kdf)
        error = self.assertRaises(CryptoError, prove_work, b"data")
        self.assertIn("64 MiB", str(error))
