"""Keys: what they refuse, how they are written, and that secrets never show."""

from __future__ import annotations

import weakref

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.tpdp.vectors import load
from torpydo.crypto import (
    KEY_SIZE,
    DHPublicKey,
    DHSecretKey,
    NodeId,
    PoolId,
    Purpose,
    Secret,
    SigningKey,
    VerifyKey,
    same,
)
from torpydo.errors import BadKey, BadSignature

LOW_ORDER = [bytes.fromhex(point) for point in load("refused")["low_order_points"]]
SEEDS = st.binary(min_size=KEY_SIZE, max_size=KEY_SIZE)


class SecretTests(SynchronousTestCase):
    """Secret bytes do not show themselves."""

    @given(st.binary(min_size=4))
    def test_never_printed(self, raw: bytes) -> None:
        """No way of formatting gives the bytes."""
        secret = Secret(raw)
        shown = {repr(secret), str(secret), f"{secret}", f"{secret!r:>3}", format(secret)}
        self.assertEqual(shown, {f"<secret of {len(raw)} bytes>"})

    def test_equal_to_its_bytes(self) -> None:
        """It is still bytes."""
        self.assertEqual(Secret(b"abc"), b"abc")

    def test_same(self) -> None:
        """The comparison in constant time says what ``==`` says."""
        self.assertTrue(same(b"abc", b"abc"))
        self.assertFalse(same(b"abc", b"abd"))
        self.assertFalse(same(b"abc", b"ab"))


class ReprTests(SynchronousTestCase):
    """What is printed of a key."""

    @given(SEEDS)
    def test_no_secret_byte_in_any_repr(self, seed: bytes) -> None:
        """Neither the seed nor the X25519 secret is in what a key class prints."""
        signing = SigningKey(seed)
        agreeing = DHSecretKey(seed)
        for shown in (repr(signing), str(signing), repr(agreeing), str(agreeing)):
            for hidden in (seed, bytes(signing.dh_key().raw)):
                self.assertNotIn(hidden.hex(), shown)
                self.assertNotIn(repr(hidden)[2:-1], shown)

    def test_fingerprints(self) -> None:
        """A public key shows its beginning only."""
        key = SigningKey(bytes(32))
        self.assertEqual(repr(key.node_id), f"<NodeId {str(key.node_id)[:8]}>")
        self.assertEqual(repr(key.pool_id), f"<PoolId {str(key.pool_id)[:8]}>")
        self.assertEqual(repr(key), f"<SigningKey of {key.node_id.short}>")
        self.assertEqual(repr(DHPublicKey(b"\xab" * 32)), "<DHPublicKey abababab>")
        self.assertIn("<DHPublicKey ", repr(DHSecretKey(bytes(32))))


class SizeTests(SynchronousTestCase):
    """Keys have 32 bytes."""

    def test_other_sizes_are_refused(self) -> None:
        """One byte less or more is refused by every class."""
        for kind in (DHPublicKey, DHSecretKey, VerifyKey, NodeId, PoolId, SigningKey):
            for size in (0, 31, 33, 64):
                self.assertRaises(BadKey, kind, b"\x09" * size)


class AgreementTests(SynchronousTestCase):
    """X25519."""

    @given(SEEDS, SEEDS)
    def test_both_sides_agree(self, one: bytes, other: bytes) -> None:
        """The shared key is the same from either side."""
        left, right = DHSecretKey(one), DHSecretKey(other)
        self.assertEqual(left.agree(right.public), right.agree(left.public))

    def test_low_order_points_are_refused(self) -> None:
        """Every point of the vectors is refused (row H2)."""
        self.assertEqual(len(LOW_ORDER), 7)
        for point in LOW_ORDER:
            self.assertRaises(BadKey, DHSecretKey(b"\x07" * 32).agree, DHPublicKey(point))

    def test_identity_agrees_in_its_second_form(self) -> None:
        """The X25519 form of a signing key and that of its public key belong together."""
        identity, other = SigningKey(b"\x01" * 32), DHSecretKey(b"\x02" * 32)
        self.assertEqual(identity.dh_key().public, identity.node_id.dh_key())
        self.assertEqual(other.agree(identity.node_id.dh_key()), identity.dh_key().agree(other.public))

    def test_vectors(self) -> None:
        """Public keys and node ids of the handshake vectors."""
        for case in load("handshake"):
            secret = DHSecretKey(bytes.fromhex(case["relay_secret"]))
            self.assertEqual(secret.public.raw.hex(), case["relay_public"])
            self.assertEqual(SigningKey(bytes.fromhex(case["identity_seed"])).public.hex(), case["node_id"])

    def test_secret_key_can_be_forgotten(self) -> None:
        """Nothing keeps an ephemeral key that its owner has dropped (row H3)."""
        made = Forgettable(b"\x03" * 32)
        made.agree(DHSecretKey(b"\x04" * 32).public)
        watch = weakref.ref(made)
        del made
        self.assertIsNone(watch())


class Forgettable(DHSecretKey):
    """A secret key that can be watched: the class itself has slots."""


class SignatureTests(SynchronousTestCase):
    """Signatures over a purpose."""

    @given(SEEDS, st.binary(max_size=100), st.sampled_from(Purpose))
    def test_round_trip(self, seed: bytes, data: bytes, purpose: Purpose) -> None:
        """What a key signed its id verifies."""
        key = SigningKey(seed)
        signature = key.sign(purpose, data)
        key.node_id.verify(purpose, data, signature)
        key.pool_id.verify(purpose, data, signature)

    def test_another_purpose_is_refused(self) -> None:
        """A signature made for one purpose is none for another."""
        key = SigningKey(bytes(32))
        for made in Purpose:
            for asked in set(Purpose) - {made}:
                self.assertRaises(BadSignature, key.node_id.verify, asked, b"x", key.sign(made, b"x"))

    def test_every_flipped_byte_is_refused(self) -> None:
        """A signature with one byte changed, anywhere, is refused."""
        key = SigningKey(bytes(32))
        signature = key.sign(Purpose.AUTH, b"x")
        for place in range(len(signature)):
            changed = bytearray(signature)
            changed[place] ^= 1
            self.assertRaises(BadSignature, key.node_id.verify, Purpose.AUTH, b"x", bytes(changed))

    def test_other_sizes_are_refused(self) -> None:
        """A cut or a longer signature is refused: bytes cannot move from it into the data."""
        key = SigningKey(bytes(32))
        signature = key.sign(Purpose.AUTH, b"x")
        for wrong in (b"", signature[:-1], signature + b"\0"):
            self.assertRaises(BadSignature, key.node_id.verify, Purpose.AUTH, b"x", wrong)

    def test_other_data_or_key_is_refused(self) -> None:
        """Data and key are part of what must fit."""
        key = SigningKey(bytes(32))
        signature = key.sign(Purpose.AUTH, b"x")
        self.assertRaises(BadSignature, key.node_id.verify, Purpose.AUTH, b"y", signature)
        self.assertRaises(BadSignature, SigningKey(b"1" * 32).node_id.verify, Purpose.AUTH, b"x", signature)

    def test_auth_vector(self) -> None:
        """The signature of an AUTH frame, byte for byte."""
        case = load("link")["auth"]
        key = SigningKey(bytes.fromhex(case["identity_seed"]))
        made = key.public + key.sign(Purpose.AUTH, bytes.fromhex(case["bind_key"]))
        self.assertEqual(made.hex(), case["auth_body_start"])


class IdTests(SynchronousTestCase):
    """Node ids and pool ids."""

    @given(SEEDS)
    def test_text_round_trip(self, seed: bytes) -> None:
        """An id is written as 52 small base32 characters and read in either case."""
        node_id = SigningKey(seed).node_id
        text = str(node_id)
        self.assertEqual((len(text), text.lower()), (52, text))
        self.assertEqual(NodeId.parse(text), node_id)
        self.assertEqual(NodeId.parse(text.upper()), node_id)

    def test_text_that_is_none(self) -> None:
        """Another alphabet, another length, other letters: refused."""
        good = str(SigningKey(bytes(32)).node_id)
        for text in ("", "1" * 52, good[:-1], good + "a", good[:-1] + "é", "ab cd"):
            self.assertRaises(BadKey, NodeId.parse, text)

    def test_what_does_not_convert_is_refused(self) -> None:
        """A node id that is no point of the main subgroup is refused where it is made."""
        for raw in (bytes(32), b"\x01" + bytes(31), b"\x02" + bytes(31), b"\xff" * 32):
            self.assertRaises(BadKey, NodeId, raw)

    def test_kinds_differ(self) -> None:
        """The same key as node and as pool are two ids; ids have an order."""
        key = SigningKey(bytes(32))
        self.assertNotEqual(key.node_id, key.pool_id)
        ids = sorted(SigningKey(bytes([number]) * 32).node_id for number in range(4))
        self.assertEqual([one.raw for one in ids], sorted(one.raw for one in ids))
