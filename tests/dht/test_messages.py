"""Questions and answers: read as they are written, and bytes from outside are read or refused."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.dht.build import item
from torpydo.dht import MAX_FRAME, Find, Found, Put, PutAnswer, Verdict, decode_question, frame, take_frame
from torpydo.wire import Malformed

IDS = st.binary(min_size=32, max_size=32)


class MessageTests(SynchronousTestCase):
    """Each of them."""

    @given(IDS, st.booleans())
    def test_find(self, target: bytes, wanted: bool) -> None:
        """Which nodes, and perhaps an item."""
        self.assertEqual(decode_question(Find(target, wanted).encode()), Find(target, wanted))

    def test_put(self) -> None:
        """An item, of any size."""
        for one in (item(), item(value=b""), item(value=bytes(4096), salt=bytes(64))):
            self.assertEqual(decode_question(Put(one).encode()), Put(one))

    @given(st.lists(IDS, max_size=20), st.booleans())
    def test_found(self, nodes: list[bytes], with_item: bool) -> None:
        """Nodes, and perhaps an item; it fits into a frame."""
        answer = Found(tuple(nodes), item(value=bytes(4096)) if with_item else None)
        self.assertEqual(Found.decode(answer.encode()), answer)
        self.assertLessEqual(len(answer.encode()), MAX_FRAME)

    def test_put_answer(self) -> None:
        """Every verdict."""
        for verdict in Verdict:
            self.assertEqual(PutAnswer.decode(PutAnswer(verdict).encode()), PutAnswer(verdict))

    @given(st.binary(max_size=300))
    def test_any_bytes(self, data: bytes) -> None:
        """They are read, and written again as they were, or refused."""
        for decode in (decode_question, Found.decode, PutAnswer.decode):
            try:
                found = decode(data)
            except Malformed:
                continue
            self.assertEqual(found.encode(), data)

    def test_what_is_refused(self) -> None:
        """Unknown kinds, too many nodes, neither yes nor no, and what is cut off."""
        for decode, wrong in (
            (decode_question, b""), (decode_question, b"\x03" + bytes(33)), (decode_question, b"\x01" + bytes(32)),
            (decode_question, b"\x01" + bytes(32) + b"\x02"), (decode_question, b"\x01" + bytes(34)),
            (Found.decode, b""), (Found.decode, b"\x01\x00"), (Found.decode, b"\x81\x15" + bytes(21 * 32)),
            (Found.decode, b"\x81\x01" + bytes(31)), (PutAnswer.decode, b"\x82"), (PutAnswer.decode, b"\x82\x07"),
            (PutAnswer.decode, b"\x81\x00"),
        ):  # fmt: skip
            self.assertRaises(Malformed, decode, wrong)


class FrameTests(SynchronousTestCase):
    """Messages on a stream."""

    @given(st.lists(st.binary(min_size=1, max_size=50), max_size=5), st.integers(1, 20))
    def test_split_anywhere(self, messages: list[bytes], step: int) -> None:
        """They come out as they went in."""
        data, buffer, found = b"".join(map(frame, messages)), bytearray(), []
        for start in range(0, len(data), step):
            buffer += data[start : start + step]
            while (one := take_frame(buffer)) is not None:
                found.append(one)
        self.assertEqual((found, bytes(buffer)), (messages, b""))

    def test_lengths_that_there_are_not(self) -> None:
        """An empty message and one beyond the limit are refused before anything is kept."""
        for wrong in (b"\0\0", (MAX_FRAME + 1).to_bytes(2, "big")):
            self.assertRaises(Malformed, take_frame, bytearray(wrong))
        self.assertIsNone(take_frame(bytearray(b"\0")))
