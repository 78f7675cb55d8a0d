"""Boxes that a passphrase opens."""

from __future__ import annotations

import os

from nacl.exceptions import RuntimeError as NaClRuntimeError
from nacl.pwhash import argon2id
from twisted.trial.unittest import SynchronousTestCase

from torpydo.crypto import ZERO_NONCE, Secret, open_with_passphrase, seal, seal_with_passphrase
from torpydo.errors import CryptoError, DecryptionFailed


class PassphraseTests(SynchronousTestCase):
    """Sealed and opened. Argon2id is cheap here: what it costs is a matter of two constants, and tested once."""

    def setUp(self) -> None:
        self.costs: list[tuple[int, int]] = []
        real = argon2id.kdf

        def cheap(size: int, passphrase: bytes, salt: bytes, *, opslimit: int, memlimit: int) -> bytes:
            self.costs.append((opslimit, memlimit))
            key: bytes = real(size, passphrase, salt, opslimit=1, memlimit=argon2id.MEMLIMIT_MIN)
            return key

        self.patch(argon2id, "kdf", cheap)

    def test_golden(self) -> None:
        """salt ‖ box under the stretched passphrase."""
        box = seal_with_passphrase(b"secret", Secret(b"tulip"), lambda size: b"s" * size)
        key = argon2id.kdf(32, b"tulip", b"s" * 16, opslimit=1, memlimit=argon2id.MEMLIMIT_MIN)
        self.assertEqual(box, b"s" * 16 + seal(b"secret", ZERO_NONCE, key))

    def test_round_trip(self) -> None:
        """Only with the same passphrase, and never the same box twice."""
        one, two = (seal_with_passphrase(b"secret", Secret(b"tulip"), os.urandom) for _ in range(2))
        self.assertNotEqual(one[16:], two[16:])
        self.assertEqual(open_with_passphrase(one, Secret(b"tulip")), b"secret")
        self.assertRaises(DecryptionFailed, open_with_passphrase, one, Secret(b"Tulip"))

    def test_every_byte_counts(self) -> None:
        """A box with one byte changed, or cut short, does not open."""
        box = seal_with_passphrase(b"secret", Secret(b"tulip"), os.urandom)
        for place in range(len(box)):
            changed = box[:place] + bytes([box[place] ^ 1]) + box[place + 1 :]
            self.assertRaises(DecryptionFailed, open_with_passphrase, changed, Secret(b"tulip"))
            self.assertRaises(DecryptionFailed, open_with_passphrase, box[:place], Secret(b"tulip"))

    def test_a_guess_costs_memory_and_time(self) -> None:
        """256 MiB, three passes."""
        seal_with_passphrase(b"", Secret(b"tulip"), os.urandom)
        self.assertEqual(self.costs, [(3, 256 * 1024 * 1024)])

    def test_without_the_memory(self) -> None:
        """It is said, and nothing is sealed with less."""

        def poor(*arguments: object, **options: object) -> bytes:
            raise NaClRuntimeError("no memory")

        self.patch(argon2id, "kdf", poor)
        error = self.assertRaises(CryptoError, seal_with_passphrase, b"", Secret(b"tulip"), os.urandom)
        self.assertIn("256 MiB", str(error))
