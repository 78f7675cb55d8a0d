"""Key derivation: the table of purposes, and that it keeps them apart."""

from __future__ import annotations

from hashlib import blake2b
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torpydo.crypto import Person, Purpose, blake, document_hash, with_hash, without_hash


class TableTests(SynchronousTestCase):
    """The purpose strings are the protocol's."""

    def test_persons(self) -> None:
        """Each derivation has the person that the protocol names."""
        names = "hello message seed reply forward backward bind ratchet aegis document".split()
        names += "blind blindnonce sequence name puzzle outer inner entry".split() + ["entry id"]
        names += "target place presence known".split()
        self.assertEqual({person.value for person in Person}, {f"tpdp1 {name}".encode() for name in names})

    def test_purposes(self) -> None:
        """Each signature has the purpose that the protocol names; none begins with another."""
        names = "descriptor heartbeat listing auth item introduction presence".split()
        self.assertEqual({purpose.value for purpose in Purpose}, {f"TPDP/1 {name}".encode() for name in names})
        for one, other in combinations([purpose.value for purpose in Purpose], 2):
            self.assertFalse(one.startswith(other) or other.startswith(one))

    def test_persons_fit(self) -> None:
        """BLAKE2b takes 16 bytes of person; a longer one would be refused when it is first used."""
        self.assertLessEqual(max(len(person.value) for person in Person), blake2b.PERSON_SIZE)


class BlakeTests(SynchronousTestCase):
    """One keyed hash."""

    def test_golden(self) -> None:
        """The result of a fixed input never changes."""
        self.assertEqual(
            blake(b"abc", Person.HELLO, key=b"k" * 32).hex(),
            blake2b(b"abc", digest_size=32, key=b"k" * 32, person=b"tpdp1 hello", salt=b"").hexdigest(),
        )

    def test_persons_give_different_keys(self) -> None:
        """A key derived for one purpose is none for another."""
        self.assertEqual(len({blake(b"", person, key=bytes(32)) for person in Person}), len(Person))

    @given(st.integers(1, 64))
    def test_size(self, size: int) -> None:
        """The result is as long as was asked for, and no prefix of a longer one."""
        digest = blake(b"x", Person.SEED, size=size)
        self.assertEqual(len(digest), size)
        if 8 <= size < 64:
            self.assertFalse(blake(b"x", Person.SEED, size=64).startswith(digest))

    def test_document_hash(self) -> None:
        """A document's name is 32 bytes under a person of its own."""
        self.assertEqual(document_hash(b"listing"), blake(b"listing", Person.DOCUMENT))
        self.assertEqual(len(document_hash(b"")), 32)

    @given(st.binary(max_size=64), st.integers(0, 95), st.integers(1, 255))
    def test_a_torn_file_is_known_as_one(self, body: bytes, place: int, change: int) -> None:
        """What was written is read; with any byte changed, or an end missing, nothing is."""
        whole = with_hash(body)
        self.assertEqual(without_hash(whole), body)
        changed = bytearray(whole)
        changed[place % len(whole)] ^= change
        for torn in (bytes(changed), whole[: place % len(whole)]):
            with self.assertRaises(ValueError):
                without_hash(torn)
