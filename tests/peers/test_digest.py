"""Digests: what somebody has, in eight bytes a name."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.peers.build import owner
from torpydo.peers.digest import Digest, encode_digest, number_of

SALTS = st.binary(min_size=8, max_size=8)
NUMBERS = st.integers(0, 2**64 - 1)


class DigestTests(SynchronousTestCase):
    """Writing and asking."""

    @given(SALTS, st.dictionaries(NUMBERS, st.integers(0, 2**63 - 1), max_size=20))
    def test_what_is_in_it(self, salt: bytes, known: dict[int, int]) -> None:
        """Nothing of it is lacked, and everything that is later is."""
        digest = encode_digest(salt, known.items())
        found = Digest(salt, digest)
        if len({digest[place : place + 4] for place in range(0, len(digest), 8)}) == len(known):
            for number, timestamp in known.items():
                self.assertFalse(found.lacks(number, timestamp))
                self.assertFalse(found.lacks(number, timestamp - 1))
                self.assertTrue(found.lacks(number, timestamp + 1))

    def test_what_is_not(self) -> None:
        """Of other names everything is lacked."""
        one, other = number_of(owner(1).public), number_of(owner(2).public)
        self.assertTrue(Digest(b"salt" * 2, encode_digest(b"salt" * 2, [(one, 5)])).lacks(other, 1))

    def test_the_end_of_a_timestamp_is_enough(self) -> None:
        """Over the place where 32 bits begin anew."""
        found = Digest(bytes(8), encode_digest(bytes(8), [(7, 2**32 - 1)]))
        self.assertTrue(found.lacks(7, 2**32))
        self.assertFalse(found.lacks(7, 2**32 - 2))

    def test_golden(self) -> None:
        """docs/protocol-peers, Exchange: the factor is odd, the upper half of the product counts."""
        self.assertEqual(encode_digest(bytes(7) + b"\x02", [(2**40 + 1, 2**32 + 9)]).hex(), "0000030000000009")

    def test_a_collision_is_of_one_salt(self) -> None:
        """Two names that have one entry in a question have two in the next."""
        one, other = 2**40, 2**40 + 1
        entries = [encode_digest(salt, [(number, 1)]) for salt in (bytes(8), b"\x9d" * 8) for number in (one, other)]
        self.assertEqual((entries[0] == entries[1], entries[2] == entries[3]), (True, False))
