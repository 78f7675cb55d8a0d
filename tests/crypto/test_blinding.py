"""Blinded keys: both sides come to the same key, which signs as any other, and days cannot be tied to each other."""

from __future__ import annotations

from hashlib import blake2b

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.crypto import ed25519
from torpydo.crypto import Purpose, Secret, SigningKey, VerifyKey, blind, blind_public, blinding
from torpydo.errors import BadKey, BadSignature

SEEDS = st.binary(min_size=32, max_size=32)
PERIODS = st.integers(0, 2**64 - 1)


def factor(public: bytes, period: int) -> int:
    """The factor of docs/protocol-onion, Names, in other words than the code's."""
    digest = blake2b(public + period.to_bytes(8, "big"), digest_size=64, person=b"tpdp1 blind").digest()
    return int.from_bytes(digest, "little") % ed25519.ORDER


class BlindingTests(SynchronousTestCase):
    """The two halves."""

    @given(SEEDS, PERIODS)
    def test_both_sides_come_to_the_same_key(self, seed: bytes, period: int) -> None:
        """Who knows the name alone, and the service."""
        key = SigningKey(Secret(seed))
        self.assertEqual(blind(key, period).public, blind_public(VerifyKey(key.public), period))

    @given(SEEDS, PERIODS, st.binary(max_size=300))
    def test_signatures_hold(self, seed: bytes, period: int, data: bytes) -> None:
        """Checked by the library as any other; for another purpose, other bytes or another day they do not hold."""
        key = SigningKey(Secret(seed))
        blinded = blind(key, period)
        signature = blinded.sign(Purpose.ITEM, data)
        blinded.public.verify(Purpose.ITEM, data, signature)
        self.assertEqual(signature, blinded.sign(Purpose.ITEM, data))
        self.assertRaises(BadSignature, blinded.public.verify, Purpose.AUTH, data, signature)
        self.assertRaises(BadSignature, blinded.public.verify, Purpose.ITEM, data + b"x", signature)
        self.assertRaises(BadSignature, blind(key, period ^ 1).public.verify, Purpose.ITEM, data, signature)
        self.assertRaises(BadSignature, VerifyKey(key.public).verify, Purpose.ITEM, data, signature)

    def test_by_whole_numbers(self) -> None:
        """Key and signature agree with an implementation that shares nothing with the library."""
        for number, period in enumerate((0, 1, 20_778, 2**64 - 1)):
            key = SigningKey(Secret(bytes([number]) * 32))
            self.assertEqual(ed25519.encode(ed25519.times(ed25519.secret_scalar(key.seed), ed25519.BASE)), key.public)
            wanted = ed25519.encode(ed25519.times(factor(key.public, period), ed25519.decode(key.public)))
            blinded = blind(key, period)
            self.assertEqual(blinded.public.raw, wanted)
            signature = blinded.sign(Purpose.ITEM, b"bytes")
            self.assertTrue(ed25519.verifies(wanted, Purpose.ITEM.value + b"bytes", signature))
            self.assertFalse(ed25519.verifies(wanted, Purpose.ITEM.value + b"other", signature))

    def test_nonces_of_days_differ(self) -> None:
        """The same bytes signed on two days have two nonces: one for both would give the secret key away."""
        key = SigningKey(Secret(bytes(32)))
        points = {blind(key, period).sign(Purpose.ITEM, b"same")[:32] for period in range(20)}
        self.assertEqual(len(points), 20)

    def test_a_key_that_cannot_be_blinded(self) -> None:
        """A factor that leaves no point is refused; no hash comes to it, and no caller may meet the library's error."""
        self.patch(blinding, "_factor", lambda service, period: bytes(32))
        self.assertRaises(BadKey, blind_public, VerifyKey(SigningKey(Secret(bytes(32))).public), 1)

    def test_keys_outside_the_subgroup(self) -> None:
        """They are refused before anything is computed with them."""
        for raw in (bytes(32), b"\x01" + bytes(31), b"\xff" * 32):
            self.assertRaises(BadKey, VerifyKey, raw)

    def test_repr_keeps_the_secret(self) -> None:
        """What is printed has the public key's first characters only."""
        blinded = blind(SigningKey(Secret(bytes(32))), 1)
        self.assertEqual(repr(blinded), f"<BlindedKey of {blinded.public.short}>")
        self.assertEqual(repr(blinded._scalar), "<secret of 32 bytes>")
