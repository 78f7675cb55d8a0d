"""Presence records: nobody makes one for another's name, each has cost something, and bytes are read or refused."""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.peers.build import DIFFICULTY, NOW, claim, idle, name, owner, presence, work
from torpydo.crypto import Person, blake
from torpydo.errors import BadSignature, LocalProtocolError
from torpydo.peers import MAX_LIFE, MAX_NOTE, MAX_RECORD, MAX_TOPIC, Claim, Presence, Role, Search
from torpydo.wire import Malformed

CLAIMS = st.builds(
    Claim,
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=1, max_size=MAX_TOPIC),
    st.sampled_from([Role.PARTICIPANT, Role.ROUTER, Role.PARTICIPANT | Role.ROUTER]),
    st.integers(0, 2**63 - 1),
    st.integers(1, MAX_LIFE),
    st.integers(1, 65535),
    st.binary(max_size=MAX_NOTE),
)


class CodecTests(SynchronousTestCase):
    """Bytes."""

    @given(CLAIMS, st.binary(min_size=8, max_size=8), st.binary(min_size=64, max_size=64))
    def test_round_trip(self, one: Claim, nonce: bytes, signature: bytes) -> None:
        """What is written is read, and is never longer than the longest."""
        made = Presence(one, signature, nonce)
        self.assertEqual(Presence.decode(made.encode()), made)
        self.assertLessEqual(len(made.encode()), MAX_RECORD)

    def test_golden(self) -> None:
        """docs/protocol-peers, Records."""
        one = Claim(b"k" * 32, b"chat", Role.ROUTER, 0x01020304, 0x0E10, 0x221D, b"hi")
        expected = "01" + "6b" * 32 + "02" + "0000000001020304" + "0e10" + "221d" + "0463686174" + "026869"
        self.assertEqual(one.encode().hex(), expected)
        self.assertEqual(Presence(one, b"s" * 64, b"n" * 8).encode().hex(), expected + "73" * 64 + "6e" * 8)

    def test_a_copy(self) -> None:
        """What is read keeps its bytes; a copy that says something else does not."""
        found = Presence.decode(presence().encode())
        other = attrs.evolve(found, nonce=b"n" * 8)
        self.assertEqual(found.encode()[:-8] + b"n" * 8, other.encode())

    def test_cut_off(self) -> None:
        """Every part of one is none, and so is one with something behind it."""
        whole = presence(note=b"note").encode()
        for size in range(len(whole)):
            self.assertRaises(Malformed, Presence.decode, whole[:size])
        self.assertRaises(Malformed, Presence.decode, whole + b"\0")

    @given(st.binary(max_size=MAX_RECORD + 10))
    def test_any_bytes(self, data: bytes) -> None:
        """They are read or refused."""
        try:
            found = Presence.decode(data)
        except Malformed:
            return
        self.assertEqual(found.encode(), data)

    def test_beyond_the_limits(self) -> None:
        """Neither made nor read: no topic, a long one, a long note, no role, no port, no life, a long one."""
        for wrong in (
            {"topic": b""}, {"topic": bytes(MAX_TOPIC + 1)}, {"note": bytes(MAX_NOTE + 1)}, {"roles": Role(0)},
            {"port": 0}, {"life": 0}, {"life": MAX_LIFE + 1}, {"timestamp": 2**63},
        ):  # fmt: skip
            one = attrs.evolve(claim(), **wrong)
            self.assertRaises(LocalProtocolError, Presence.make, one, owner())
            self.assertRaises(Malformed, Presence.decode, one.encode() + bytes(72))

    def test_what_is_not_known(self) -> None:
        """Another format, and a role that nobody has."""
        whole = bytearray(presence().encode())
        for place, value in ((0, 2), (33, 4), (33, 0xFF)):
            other = bytearray(whole)
            other[place] = value
            self.assertRaises(Malformed, Presence.decode, bytes(other))


class SignatureTests(SynchronousTestCase):
    """Whose it is."""

    def test_its_owner(self) -> None:
        """It holds, and says the name."""
        self.assertEqual(presence().check(), name())

    def test_whatever_is_changed(self) -> None:
        """With another value of anything it does not hold."""
        one = presence(note=b"note")
        for changes in (
            {"key": owner(2).public}, {"key": b"\x01" + bytes(31)}, {"topic": b"chaT"}, {"roles": Role.ROUTER},
            {"timestamp": NOW + 1}, {"life": 3601}, {"port": 1}, {"note": b"Note"},
        ):  # fmt: skip
            self.assertRaises(BadSignature, attrs.evolve(one, claim=attrs.evolve(one.claim, **changes)).check)
        self.assertRaises(BadSignature, attrs.evolve(one, signature=bytes(64)).check)

    def test_of_somebody_else(self) -> None:
        """Nobody signs for another's name."""
        self.assertRaises(BadSignature, presence(1, by=2).check)


class WorkTests(SynchronousTestCase):
    """What it has cost."""

    def test_bits(self) -> None:
        """So many at the front of the hash are zero; with more wanted it is not enough."""
        for difficulty in (0, 1, 8, 12):
            made = work(presence(), difficulty)
            bits = 64 - int.from_bytes(blake(made.encode(), Person.PRESENCE, size=8), "big").bit_length()
            self.assertGreaterEqual(bits, difficulty)
            self.assertTrue(made.has_work(bits))
            self.assertFalse(made.has_work(bits + 1))

    def test_idle(self) -> None:
        """Without a search it is luck."""
        self.assertFalse(idle(presence()).has_work(DIFFICULTY))

    def test_work_is_for_one_record(self) -> None:
        """Another time, name or note needs other work, and so does each other signature: or a flood cost it once."""
        one = work(presence(), 16)
        for changes in ({"timestamp": NOW + 1}, {"key": owner(2).public}, {"note": b"x"}, {"topic": b"other"}):
            self.assertFalse(attrs.evolve(one, claim=attrs.evolve(one.claim, **changes)).has_work(16))
        self.assertFalse(attrs.evolve(one, signature=bytes(64)).has_work(16))

    def test_a_search_goes_on(self) -> None:
        """Where it has stopped, over the end of the numbers."""
        one = presence()
        whole = Search(one, 10, b"\xff" * 8)
        found = whole.go_on(100_000)
        slices = Search(one, 10, b"\xff" * 8)
        while (made := slices.go_on(7)) is None:
            pass
        self.assertEqual((made, slices.tried), (found, whole.tried))
        self.assertIsNone(Search(one, 40, bytes(8)).go_on(10))
