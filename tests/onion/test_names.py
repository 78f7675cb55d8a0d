"""Names of onion services: read as they are written, and a wrong letter is found."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torpydo.crypto import Secret, SigningKey, VerifyKey, blind
from torpydo.errors import OnionNameError
from torpydo.onion import PERIOD, OnionName, is_onion, period_of

SEEDS = st.binary(min_size=32, max_size=32)
ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


def name_of(seed: bytes = bytes(32)) -> OnionName:
    """The name of a service."""
    return OnionName.of(SigningKey(Secret(seed)))


class NameTests(SynchronousTestCase):
    """Reading and writing."""

    @given(SEEDS)
    def test_round_trip(self, seed: bytes) -> None:
        """56 characters and the suffix; labels before, case and a last dot mean nothing."""
        name = name_of(seed)
        text = str(name)
        self.assertRegex(text, r"^[a-z2-7]{56}\.torpydo$")
        for form in (text, text.upper(), text + ".", f"www.sub.{text}"):
            self.assertEqual(OnionName.parse(form), name)

    @given(SEEDS, st.integers(0, 55), st.sampled_from(ALPHABET))
    def test_one_wrong_letter(self, seed: bytes, place: int, letter: str) -> None:
        """It is never another service's name (but for one in 65536, which has no key of ours)."""
        text = str(name_of(seed))
        wrong = text[:place] + letter + text[place + 1 :]
        if wrong == text:
            return
        try:
            other = OnionName.parse(wrong)
        except OnionNameError:
            return
        self.assertNotEqual(other, name_of(seed))

    def test_what_is_refused(self) -> None:
        """Each mistake has its own words, none of which repeats the name."""
        text = str(name_of())
        body = text.removesuffix(".torpydo")
        for wrong, words in (
            ("example.org", "ends in .torpydo"),
            (".torpydo", "not 0; was it cut off"),
            (f"{body[:-1]}.torpydo", "not 55; was it cut off"),
            (f"{body[:-1]}1.torpydo", "letters a-z and digits 2-7"),
            (f"{body[:-1]}7.torpydo", "of a version that is not known"),
            (f"{'b' + body[1:]}.torpydo", "a wrong letter"),
        ):
            error = self.assertRaises(OnionNameError, OnionName.parse, wrong)
            self.assertIn(words, str(error))
            self.assertNotIn(body[:8], str(error))

    def test_letters_that_look_alike(self) -> None:
        """Not even those that are ASCII's in capitals: a long s, a dotless i; nor the sign of the kelvin."""
        name = next(one for seed in range(99) if {"s", "i", "k"} <= {*(one := str(name_of(bytes([seed]) * 32)))[:56]})
        for letter, other in (("s", "\u017f"), ("i", "\u0131"), ("k", "\u212a")):
            error = self.assertRaises(OnionNameError, OnionName.parse, name.replace(letter, other, 1))
            self.assertIn("letters a-z and digits 2-7", str(error))

    def test_a_name_of_no_key(self) -> None:
        """A point of low order with the right checksum is nobody's name."""
        low = OnionName.__new__(OnionName)
        key = VerifyKey.__new__(VerifyKey)
        object.__setattr__(key, "raw", b"\x01" + bytes(31))
        object.__setattr__(low, "key", key)
        error = self.assertRaises(OnionNameError, OnionName.parse, str(low))
        self.assertIn("belongs to no key", str(error))

    def test_repr_keeps_the_name(self) -> None:
        """A log has its beginning only (SECURITY I1)."""
        name = name_of()
        self.assertEqual(repr(name), f"<OnionName {str(name)[:8]}>")

    def test_is_onion(self) -> None:
        """Whatever ends so is never asked of anybody else, even if it is no name."""
        for host in ("a.torpydo", "TORPYDO", "x.y.Torpydo.", ".torpydo"):
            self.assertTrue(is_onion(host), host)
        for host in ("example.org", "torpydo.org", "nottorpydo", ""):
            self.assertFalse(is_onion(host), host)

    def test_periods(self) -> None:
        """A day each, and a key each, which the service comes to as well."""
        found = [period_of(PERIOD * 20_000 + second) for second in (-1, 0, PERIOD - 1)]
        self.assertEqual(found, [19_999, 20_000, 20_000])
        key = SigningKey(Secret(b"k" * 32))
        self.assertEqual(OnionName.of(key).blinded(20_000), blind(key, 20_000).public)
