"""Tests of torpydo.directory.heartbeat."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import NOW, descriptor, document, fields, forge, key, resign
from torpydo.crypto import Purpose, document_hash
from torpydo.directory import MAX_HEARTBEAT, HeartbeatAnswer, parse_heartbeat, sign_heartbeat
from torpydo.errors import DescriptorError, DirectoryError

POOL = key("pool").pool_id


def heartbeat(*, raw: bytes | None = None, time: float = NOW, signer: object = 0) -> bytes:
    return sign_heartbeat(document() if raw is None else raw, POOL, int(time * 1000), key(signer))


class HeartbeatTests(SynchronousTestCase):
    def test_round_trip(self) -> None:
        """What a node signed, its pool reads."""
        read = parse_heartbeat(heartbeat(time=NOW + 7), POOL, NOW)
        self.assertEqual(read.descriptor, descriptor())
        self.assertEqual(read.document, document())
        self.assertEqual(read.time_ms, (NOW + 7) * 1000)

    def test_golden(self) -> None:
        """The form is document, time, signature over pool key, time and hash of the document."""
        raw = document()
        time = (NOW * 1000).to_bytes(8, "big")
        signature = key(0).sign(Purpose.HEARTBEAT, POOL.raw + time + document_hash(raw))
        self.assertEqual(heartbeat(), raw + time + signature)

    def test_every_flipped_byte_and_prefix(self) -> None:
        """No byte can be changed or left out."""
        data = heartbeat()
        for place in range(len(data)):
            bad = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
            self.assertRaises(DescriptorError, parse_heartbeat, bad, POOL, NOW)
            self.assertRaises(DescriptorError, parse_heartbeat, data[:place], POOL, NOW)
        self.assertRaises(DescriptorError, parse_heartbeat, data + b"\0", POOL, NOW)

    def test_another_pool(self) -> None:
        """A heartbeat for one pool is worth nothing at another."""
        self.assertRaises(DescriptorError, parse_heartbeat, heartbeat(), key("other").pool_id, NOW)

    def test_another_node(self) -> None:
        """A node cannot send a heartbeat for another one's descriptor."""
        self.assertRaises(DescriptorError, parse_heartbeat, heartbeat(signer=1), POOL, NOW)

    def test_time(self) -> None:
        """Five minutes off is taken, more is refused and named."""
        for off in (-300, 300):
            parse_heartbeat(heartbeat(time=NOW + off), POOL, NOW)
            late = heartbeat(time=NOW + off * 1.01)
            error = self.assertRaises(DescriptorError, parse_heartbeat, late, POOL, NOW)
            self.assertIn("303 s", str(error))
            self.assertRaises(DescriptorError, parse_heartbeat, heartbeat(time=NOW + off + off / 1000), POOL, NOW)

    def test_known_document(self) -> None:
        """A document that was checked before is not checked again; the heartbeat itself is, and the time."""
        forged = forge(document())
        data = heartbeat(raw=forged)
        self.assertRaises(DescriptorError, parse_heartbeat, data, POOL, NOW)
        checked = {forged: descriptor()}
        self.assertEqual(parse_heartbeat(data, POOL, NOW, known=checked.get).descriptor, descriptor())
        self.assertRaises(DescriptorError, parse_heartbeat, data[:-1] + b"x", POOL, NOW, known=checked.get)
        checked = {forged: descriptor(published=NOW - 49 * 3600)}
        self.assertRaises(DescriptorError, parse_heartbeat, data, POOL, NOW, known=checked.get)

    def test_old_descriptor(self) -> None:
        """The descriptor must be of the day."""
        old = document(published=NOW - 49 * 3600)
        self.assertRaises(DescriptorError, parse_heartbeat, heartbeat(raw=old), POOL, NOW)

    def test_size(self) -> None:
        """A descriptor of any size and its trailer is read; nothing longer or shorter is looked at."""
        self.assertEqual(MAX_HEARTBEAT, 20_072)
        raw = document()
        # Three bytes before the new field, and two more before an array of 16.
        largest = resign([*fields(raw), bytes(20_000 - len(raw) - 5)], key(0), Purpose.DESCRIPTOR)
        self.assertEqual(len(heartbeat(raw=largest)), MAX_HEARTBEAT)
        self.assertEqual(parse_heartbeat(heartbeat(raw=largest), POOL, NOW).document, largest)
        for size in (MAX_HEARTBEAT + 1, 72, 0):
            error = self.assertRaises(DescriptorError, parse_heartbeat, bytes(size), POOL, NOW)
            self.assertIn(f"not {size}", str(error))
        self.assertNotIn("not 73", str(self.assertRaises(DescriptorError, parse_heartbeat, bytes(73), POOL, NOW)))

    @given(st.binary(max_size=300))
    def test_any_bytes(self, data: bytes) -> None:
        """Any bytes at all are a DescriptorError."""
        self.assertRaises(DescriptorError, parse_heartbeat, data, POOL, 0)


class AnswerTests(SynchronousTestCase):
    def test_golden(self) -> None:
        """An answer is two numbers of milliseconds."""
        data = HeartbeatAnswer(15.5, NOW + 0.25).encode()
        self.assertEqual(data.hex(), "00003c8c" + (NOW * 1000 + 250).to_bytes(8, "big").hex())
        self.assertEqual(HeartbeatAnswer.parse(data), HeartbeatAnswer(15.5, NOW + 0.25))

    def test_clamped(self) -> None:
        """A pool can neither hurry a node nor silence it."""
        self.assertEqual(HeartbeatAnswer.parse(bytes(12)).delay, 1)
        self.assertEqual(HeartbeatAnswer.parse(b"\xff" * 4 + bytes(8)).delay, 300)
        self.assertEqual(HeartbeatAnswer(0, 0).delay, 1)

    def test_other_sizes(self) -> None:
        """Anything but 12 bytes is not an answer."""
        for size in (0, 11, 13, 500):
            self.assertRaises(DirectoryError, HeartbeatAnswer.parse, bytes(size))

    def test_times(self) -> None:
        """A pool's clock may be far off, but not where it cannot be said again; found by the fuzzer."""
        latest = 2**43
        self.assertEqual(HeartbeatAnswer.parse(bytes(4) + latest.to_bytes(8, "big")).pool_time, latest / 1000)
        for time in (latest + 1, 2**64 - 1):
            with self.assertRaisesRegex(DirectoryError, f"a pool says that it is {time} ms after 1970"):
                HeartbeatAnswer.parse(bytes(4) + time.to_bytes(8, "big"))

    @given(st.integers(0, 2**32 - 1), st.integers(0, 2**43))
    def test_any_answer(self, delay: int, time: int) -> None:
        """Whatever a pool answers, the delay is within its bounds, and the answer can be said again."""
        answer = HeartbeatAnswer.parse(delay.to_bytes(4, "big") + time.to_bytes(8, "big"))
        self.assertTrue(1 <= answer.delay <= 300)
        self.assertEqual(HeartbeatAnswer.parse(answer.encode()), answer)
