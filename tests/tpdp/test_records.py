"""Records: the vectors, any pieces, and nothing that was touched."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.tpdp.vectors import load, ratcheted
from torpydo.crypto import record_nonce, seal
from torpydo.errors import CryptoError, DecryptionFailed, TorpydoError
from torpydo.tpdp.constants import MAX_RECORD_FRAMES, RECORD_RATCHET
from torpydo.tpdp.records import LENGTH_SIZE, Cipher, RecordOpener, RecordSealer
from torpydo.wire import Malformed

KEY = bytes(range(32))
ONE = b"\x01" * 1029
TWO = b"\x02" * 2058


class CipherTests(SynchronousTestCase):
    """The ciphers of records."""

    def test_numbers_and_overheads(self) -> None:
        """They are on the wire and never change."""
        self.assertEqual([(one.value, one.overhead) for one in Cipher], [(1, 16), (2, 32)])


class VectorTests(SynchronousTestCase):
    """The vectors of an independent program; their keys are those of counter 0."""

    def test_records(self) -> None:
        """Sealed byte for byte, opened again, and both counters move as they must, over ratchets too."""
        cases = load("link")["records"]
        self.assertEqual({case["cipher"] for case in cases}, {"secretbox", "aegis256"})
        for case in cases:
            cipher, counter = Cipher[case["cipher"].upper()], case["counter"]
            key = ratcheted(bytes.fromhex(case["key"]), counter // RECORD_RATCHET)
            frames, record = bytes.fromhex(case["frames"]), bytes.fromhex(case["record"])
            sealer, opener = RecordSealer(key, cipher, counter), RecordOpener(key, cipher, counter)
            self.assertEqual(sealer.seal(frames), record)
            self.assertEqual(opener.receive(record), [frames])
            self.assertEqual((sealer.counter, opener.counter), (case["next_counter"],) * 2)


class RecordTests(SynchronousTestCase):
    """What one side seals the other opens."""

    def pairs(self) -> list[tuple[RecordSealer, RecordOpener]]:
        """A sealer and its opener for each cipher."""
        return [(RecordSealer(KEY, cipher), RecordOpener(KEY, cipher)) for cipher in Cipher]

    @given(
        st.lists(st.integers(1, 4).map(lambda count: b"f" * 1029 * count), min_size=1, max_size=4),
        st.lists(st.integers(1, 3000)),
        st.sampled_from(Cipher),
    )
    def test_any_pieces(self, records: list[bytes], pieces: list[int], cipher: Cipher) -> None:
        """However the bytes arrive, the same records come out, as soon as they are whole."""
        sealer, opener = RecordSealer(KEY, cipher), RecordOpener(KEY, cipher)
        data = b"".join(map(sealer.seal, records))
        got: list[bytes] = []
        for size in pieces:
            got += opener.receive(data[:size])
            data = data[size:]
        got += opener.receive(data)
        self.assertEqual((got, opener.buffered), (records, 0))

    def test_byte_by_byte(self) -> None:
        """A record comes out with its last byte, not before (every prefix)."""
        for sealer, opener in self.pairs():
            for frames in (ONE, TWO):
                data = sealer.seal(frames)
                for place in range(len(data) - 1):
                    self.assertEqual(opener.receive(data[place : place + 1]), [])
                self.assertEqual(opener.receive(data[-1:]), [frames])

    def test_every_flipped_byte_is_refused(self) -> None:
        """A record with one byte changed, anywhere, does not open, with either cipher (row L3)."""
        for sealer, _ in self.pairs():
            data = sealer.seal(ONE)
            for place in range(len(data)):
                changed = bytearray(data)
                changed[place] ^= 0x10
                opener = RecordOpener(KEY, sealer.cipher)
                with self.assertRaises(CryptoError):
                    opener.receive(bytes(changed))

    def test_replayed_reordered_or_missing(self) -> None:
        """Only the next record opens."""
        for sealer, opener in self.pairs():
            first, second, third = (sealer.seal(ONE) for _ in range(3))
            for wrong in (second, third):
                self.assertRaises(DecryptionFailed, RecordOpener(KEY, sealer.cipher).receive, wrong)
            self.assertEqual(opener.receive(first), [ONE])
            self.assertRaises(DecryptionFailed, opener.receive, first)

    def test_swapped_halves(self) -> None:
        """A length of one record does not go with the frames of another."""
        for sealer, opener in self.pairs():
            first, second = sealer.seal(ONE), sealer.seal(ONE)
            self.assertRaises(DecryptionFailed, opener.receive, first[:LENGTH_SIZE] + second[LENGTH_SIZE:])

    def test_trailing_bytes_wait(self) -> None:
        """What comes after a record is the beginning of the next."""
        for sealer, opener in self.pairs():
            first, second = sealer.seal(ONE), sealer.seal(TWO)
            self.assertEqual(opener.receive(first + second[:5]), [ONE])
            self.assertEqual(opener.buffered, 5)
            self.assertEqual(opener.receive(second[5:]), [TWO])

    def test_lengths_that_cannot_be(self) -> None:
        """A length below one frame or above four BULK frames is refused before a byte is buffered."""
        for cipher in Cipher:
            for frames in (0, 1, 1028, MAX_RECORD_FRAMES + 1, 2**24 - 1 - cipher.overhead):
                head = seal((frames + cipher.overhead).to_bytes(3, "big"), record_nonce(0), KEY)
                for more in (b"", bytes(100)):
                    opener = RecordOpener(KEY, cipher)
                    self.assertRaises(Malformed, opener.receive, head + more)
                    self.assertEqual(opener.buffered, 0)

    def test_largest_record(self) -> None:
        """Four BULK frames fit."""
        for sealer, opener in self.pairs():
            frames = b"\x03" * MAX_RECORD_FRAMES
            self.assertEqual(opener.receive(sealer.seal(frames)), [frames])

    def test_the_old_key_is_gone_after_the_ratchet(self) -> None:
        """What was sealed under the next key does not open under the first (row L4)."""
        for cipher in Cipher:
            before = RECORD_RATCHET - 2
            sealer, opener = RecordSealer(KEY, cipher, before), RecordOpener(KEY, cipher, before)
            last, first = sealer.seal(ONE), sealer.seal(TWO)
            self.assertEqual(opener.receive(last + first), [ONE, TWO])
            self.assertRaises(TorpydoError, RecordOpener(KEY, cipher, RECORD_RATCHET).receive, first)
            fresh = RecordOpener(ratcheted(KEY, 1), cipher, RECORD_RATCHET)
            self.assertEqual(fresh.receive(first), [TWO])
            held = [getattr(sealer, name) for name in ("_key", "_aegis")]
            self.assertNotIn(KEY, held)
