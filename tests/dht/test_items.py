"""Items: nobody makes one for another's key, and bytes from outside are read or refused."""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.dht.build import NOW, item, owner
from torpydo.crypto import SigningKey, blind
from torpydo.dht import MAX_SALT, MAX_VALUE, Item, target_of
from torpydo.errors import BadSignature, LocalProtocolError
from torpydo.wire import Malformed, Reader


class ItemTests(SynchronousTestCase):
    """Signing and checking."""

    @given(st.integers(0, 2**63 - 1), st.binary(max_size=MAX_VALUE), st.binary(max_size=MAX_SALT))
    def test_round_trip(self, sequence: int, value: bytes, salt: bytes) -> None:
        """What is written is read, and holds."""
        one = item(1, sequence, value, salt)
        found = Item.read(Reader(one.encode()))
        self.assertEqual(found, one)
        found.check()
        self.assertEqual(found.target, target_of(owner().public, salt))

    def test_whatever_is_changed(self) -> None:
        """Key, salt, sequence, expiry, value: with another one the signature does not hold."""
        one = item(salt=b"salt")
        for changes in (
            {"key": owner(2).public}, {"key": b"\x01" + bytes(31)}, {"salt": b"Salt"}, {"salt": b""}, {"sequence": 2},
            {"expires": NOW}, {"value": b"Value"}, {"signature": bytes(64)},
        ):  # fmt: skip
            self.assertRaises(BadSignature, attrs.evolve(one, **changes).check)

    def test_a_blinded_key(self) -> None:
        """A service signs with the key of the day."""
        key = blind(SigningKey(owner().seed), 20_000)
        Item.make(key, key.public.raw, b"", 1, NOW, b"x").check()

    def test_which_one_counts(self) -> None:
        """The higher sequence; of two with the same neither replaces the other."""
        self.assertTrue(item(sequence=2).replaces(item(sequence=1)))
        self.assertFalse(item(sequence=1).replaces(item(sequence=2)))
        self.assertFalse(item(value=b"other").replaces(item()))
        self.assertTrue(item().replaces(None))

    def test_too_much(self) -> None:
        """What nobody would keep is not signed."""
        for wrong in ({"salt": bytes(65)}, {"value": bytes(4097)}, {"sequence": 2**63}, {"sequence": -1}):
            self.assertRaises(LocalProtocolError, item, **wrong)

    def test_salts_are_places_of_their_own(self) -> None:
        """Several items of one key."""
        self.assertNotEqual(item(salt=b"a").target, item(salt=b"b").target)

    def test_cut_off(self) -> None:
        """Before its value begins it is none."""
        whole = item(salt=b"salt", value=b"").encode()
        for size in range(len(whole)):
            self.assertRaises(Malformed, Item.read, Reader(whole[:size]))
        Item.read(Reader(whole))

    @given(st.binary(max_size=400))
    def test_any_bytes(self, data: bytes) -> None:
        """They are read or refused."""
        try:
            found = Item.read(Reader(data))
        except Malformed:
            return
        self.assertEqual(found.encode(), data)

    def test_beyond_the_limits(self) -> None:
        """A sequence of 64 bits, a long value and a long salt are refused before anything else."""
        one = item()
        for wrong in (
            attrs.evolve(one, sequence=2**63), attrs.evolve(one, value=bytes(MAX_VALUE + 1)),
            attrs.evolve(one, salt=bytes(MAX_SALT + 1)),
        ):  # fmt: skip
            self.assertRaises(Malformed, Item.read, Reader(wrong.encode()))

    def test_repr_keeps_the_value(self) -> None:
        """It may be anything."""
        self.assertNotIn("hush", repr(item(value=b"hush")))
