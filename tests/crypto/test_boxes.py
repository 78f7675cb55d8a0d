"""Boxes: what was sealed opens, and nothing else does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torpydo.crypto import (
    AEGIS_OVERHEAD,
    CELL_BACKWARD_ORIGIN,
    CELL_BACKWARD_PASS,
    CELL_FORWARD,
    MAC_SIZE,
    ZERO_NONCE,
    aegis_open,
    aegis_seal,
    aegis_supported,
    cell_nonce,
    open_sealed,
    record_nonce,
    seal,
)
from torpydo.errors import DecryptionFailed

KEY = bytes(range(32))
COUNTERS = st.integers(0, 2**64 - 1)


class NonceTests(SynchronousTestCase):
    """The nonce rule."""

    def test_cell_golden(self) -> None:
        """kind ‖ command ‖ 0^14 ‖ counter (protocol, section Cells)."""
        self.assertEqual(cell_nonce(CELL_FORWARD, 9, 258).hex(), "0109" + "00" * 14 + "0000000000000102")
        self.assertEqual(cell_nonce(CELL_BACKWARD_PASS, 3, 0).hex(), "1103" + "00" * 22)
        self.assertEqual(cell_nonce(CELL_BACKWARD_ORIGIN, 4, 1).hex(), "1204" + "00" * 21 + "01")

    def test_record_golden(self) -> None:
        """0^16 ‖ counter (protocol, section Records)."""
        self.assertEqual(record_nonce(0x0102030405060708).hex(), "00" * 16 + "0102030405060708")

    def test_zero_nonce(self) -> None:
        """The handshake's nonce; its keys are used once."""
        self.assertEqual(ZERO_NONCE, bytes(24))

    @given(
        st.sets(
            st.tuples(
                st.sampled_from([CELL_FORWARD, CELL_BACKWARD_PASS, CELL_BACKWARD_ORIGIN]), st.integers(0, 255), COUNTERS
            ),
            min_size=2,
            max_size=2,
        )
    )
    def test_cell_nonces_differ(self, both: set[tuple[int, int, int]]) -> None:
        """Two cells that differ in kind, command or counter have different nonces of the right length."""
        nonces = {cell_nonce(*one) for one in both}
        self.assertEqual((len(nonces), {len(nonce) for nonce in nonces}), (2, {24}))

    def test_counter_that_does_not_fit(self) -> None:
        """A counter never wraps."""
        self.assertRaises(OverflowError, cell_nonce, CELL_FORWARD, 3, 1 << 64)
        self.assertRaises(OverflowError, record_nonce, 1 << 64)


class SecretBoxTests(SynchronousTestCase):
    """SecretBox."""

    @given(st.binary(max_size=200), COUNTERS)
    def test_round_trip(self, message: bytes, counter: int) -> None:
        """A box is MAC_SIZE longer and opens to the message."""
        box = seal(message, record_nonce(counter), KEY)
        self.assertEqual(len(box), len(message) + MAC_SIZE)
        self.assertEqual(open_sealed(box, record_nonce(counter), KEY), message)

    def test_every_flipped_byte_is_refused(self) -> None:
        """A box with one byte changed, anywhere, does not open."""
        box = seal(b"0123456789", ZERO_NONCE, KEY)
        for place in range(len(box)):
            changed = bytearray(box)
            changed[place] ^= 0x80
            self.assertRaises(DecryptionFailed, open_sealed, bytes(changed), ZERO_NONCE, KEY)

    def test_every_prefix_is_refused(self) -> None:
        """A box that is cut, down to nothing, does not open."""
        box = seal(b"0123456789", ZERO_NONCE, KEY)
        for size in range(len(box)):
            self.assertRaises(DecryptionFailed, open_sealed, box[:size], ZERO_NONCE, KEY)

    def test_another_nonce_or_key_is_refused(self) -> None:
        """Nonce and key are part of what must fit."""
        box = seal(b"x", record_nonce(1), KEY)
        self.assertRaises(DecryptionFailed, open_sealed, box, record_nonce(2), KEY)
        self.assertRaises(DecryptionFailed, open_sealed, box, record_nonce(1), bytes(32))


class AegisTests(SynchronousTestCase):
    """AEGIS-256."""

    @given(st.binary(max_size=200), COUNTERS)
    def test_round_trip(self, message: bytes, counter: int) -> None:
        """A box is AEGIS_OVERHEAD longer and opens to the message."""
        box = aegis_seal(message, counter, KEY)
        self.assertEqual(len(box), len(message) + AEGIS_OVERHEAD)
        self.assertEqual(aegis_open(box, counter, KEY), message)

    def test_every_flipped_byte_is_refused(self) -> None:
        """A box with one byte changed, anywhere, does not open."""
        box = aegis_seal(b"0123456789", 7, KEY)
        for place in range(len(box)):
            changed = bytearray(box)
            changed[place] ^= 1
            self.assertRaises(DecryptionFailed, aegis_open, bytes(changed), 7, KEY)

    def test_another_counter_or_key_is_refused(self) -> None:
        """Counter and key are part of what must fit."""
        box = aegis_seal(b"x", 7, KEY)
        self.assertRaises(DecryptionFailed, aegis_open, box, 8, KEY)
        self.assertRaises(DecryptionFailed, aegis_open, box, 7, bytes(32))

    def test_supported_by_whole_words(self) -> None:
        """Only the processor's own word counts, not a word that contains it."""
        self.assertTrue(aegis_supported("fpu sse2 aes avx"))
        self.assertFalse(aegis_supported("fpu vaes aesni"))
        self.assertFalse(aegis_supported(""))
