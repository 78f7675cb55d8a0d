"""Introductions: client and service come to the same keys, and nobody else to any."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.onion.build import NAME, node, secret
from torpydo.crypto import Secret, SigningKey
from torpydo.errors import CryptoError, DecryptionFailed
from torpydo.onion import Introduced, Introduction, Meeting, OnionName
from torpydo.wire import Malformed

COOKIE = bytes(range(20))
KEY = secret(77)
MEETING = Meeting(node(4), COOKIE)


class IntroductionTests(SynchronousTestCase):
    """The handshake between a client and a service."""

    @given(st.binary(min_size=20, max_size=20))
    def test_both_come_to_the_same_keys(self, cookie: bytes) -> None:
        """The service learns where the client waits, and both have the same keys."""
        meeting = Meeting(node(4), cookie)
        client = Introduction.start(NAME, KEY.public, secret(1), meeting)
        self.assertEqual(len(client.message), 512)
        introduced = Introduced.open(NAME, KEY, client.message)
        self.assertEqual(introduced.meeting, meeting)
        keys, reply = introduced.answer(secret(2))
        self.assertEqual(len(reply), 512)
        self.assertEqual(client.finish(reply), keys)

    def test_another_service_or_key(self) -> None:
        """An introduction is opened by nobody else (the name is part of it), and answered by nobody else."""
        client = Introduction.start(NAME, KEY.public, secret(1), MEETING)
        other = OnionName.of(SigningKey(Secret(b"o" * 32)))
        self.assertRaises(DecryptionFailed, Introduced.open, other, KEY, client.message)
        self.assertRaises(DecryptionFailed, Introduced.open, NAME, secret(78), client.message)
        stranger = Introduction.start(NAME, KEY.public, secret(3), MEETING)
        _, reply = Introduced.open(NAME, KEY, stranger.message).answer(secret(2))
        self.assertRaises(CryptoError, client.finish, reply)

    @given(st.integers(0, 511), st.integers(1, 255))
    def test_one_byte_changed(self, place: int, mask: int) -> None:
        """Whatever an introduction point or a rendezvous node changes is found."""
        client = Introduction.start(NAME, KEY.public, secret(1), MEETING)
        _, reply = Introduced.open(NAME, KEY, client.message).answer(secret(2))
        for message, take in (
            (client.message, lambda data: Introduced.open(NAME, KEY, data)),
            (reply, client.finish),
        ):
            changed = bytearray(message)
            changed[place] ^= mask
            if place == 31 and mask == 128:
                continue  # the bit that X25519 ignores; what is hashed has it, so the next line would fail as well
            self.assertRaises(CryptoError, take, bytes(changed))

    @given(st.binary(max_size=464))
    def test_any_options(self, data: bytes) -> None:
        """They are read or refused."""
        try:
            found = Meeting.decode(data.ljust(464, b"\0"))
        except Malformed:
            return
        self.assertEqual(Meeting.decode(found.encode()), found)

    @given(st.integers(0, 463), st.integers(1, 255))
    def test_changed_options(self, place: int, mask: int) -> None:
        """The same around good ones."""
        data = bytearray(MEETING.encode())
        data[place] ^= mask
        self.test_any_options.hypothesis.inner_test(self, bytes(data))

    def test_repr_keeps_the_cookie(self) -> None:
        """Who has it can join the client's circuit."""
        self.assertNotIn(repr(COOKIE)[2:10], repr(MEETING))
