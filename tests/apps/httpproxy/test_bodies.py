"""Bodies: where they end, and how they are framed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.apps.doubles import feeds
from torpydo.apps.httpproxy.bodies import (
    LAST_CHUNK,
    Body,
    ChunkedBody,
    EndlessBody,
    LengthBody,
    chunk,
    content_length,
    is_chunked,
)
from torpydo.apps.httpproxy.grammar import BadMessage, Fields

CHUNKED = b"5\r\nhello\r\n10;name=value\r\n0123456789abcdef\r\n00\r\nTrailer: x\r\n\r\n"
PAYLOAD = b"hello0123456789abcdef"


def read(body: Body, pieces: list[bytes]) -> tuple[bytes, bytes]:
    payload, rest = b"", b""
    for piece in pieces:
        got, rest = body.take(piece)
        payload += got
    return payload, rest


class ChunkedBodyTests(SynchronousTestCase):
    """Chunks."""

    def test_whole(self) -> None:
        """The payload is found however the bytes arrive; extensions and trailers are dropped."""
        for pieces in feeds(CHUNKED):
            body = ChunkedBody()
            self.assertEqual((read(body, pieces), body.done), ((PAYLOAD, b""), True))

    def test_what_is_behind(self) -> None:
        """The bytes behind the body are not its own."""
        self.assertEqual(ChunkedBody().take(CHUNKED + b"GET"), (PAYLOAD, b"GET"))

    def test_every_prefix_is_torn(self) -> None:
        """An EOF at any place before the end means that something is missing."""
        for end in range(len(CHUNKED)):
            body = ChunkedBody()
            body.take(CHUNKED[:end])
            self.assertTrue(body.torn_by_eof and not body.done)

    def test_bad(self) -> None:
        """What is no chunk is refused, however it arrives, and none of its bytes come through."""
        for data in (
            b"g\r\n",
            b"-1\r\n",
            b"+1\r\n",
            b"0x1\r\n",
            b" 1\r\n",
            b"1 \r\n",
            b"\r\n",
            b";x\r\n",
            b"1\n",
            b"1\rx",
            b"1;\0\r\n",
            b"1\r\nab",
            b"1\r\na\n",
            b"1\r\na\rb",
            b"1" * 16 + b"\r\n",
            b"1;" + b"x" * 300,
            b"0\r\nbad trailer\r\n",
            b"0\r\n a: b\r\n",
            b"0\r\nx\n",
            b"0\r\n\n",
        ):
            for pieces in feeds(data):
                body = ChunkedBody()
                with self.assertRaises(BadMessage, msg=repr(data)):
                    read(body, pieces)

    def test_trailers_are_bounded(self) -> None:
        """Fields after the last chunk cannot go on for ever."""
        body = ChunkedBody()
        body.take(b"0\r\n")
        with self.assertRaises(BadMessage):
            for _ in range(1000):
                body.take(b"a: " + b"b" * 50 + b"\r\n")

    @given(st.lists(st.binary(min_size=1, max_size=50), max_size=8), st.integers(1, 9))
    def test_round_trip(self, payloads: list[bytes], step: int) -> None:
        """What was framed is read back."""
        data = b"".join(map(chunk, payloads)) + LAST_CHUNK + b"behind"
        body = ChunkedBody()
        payload = b""
        position = 0
        while not body.done:
            got, rest = body.take(data[position : position + step])
            payload += got
            position += step
        self.assertEqual(payload, b"".join(payloads))
        self.assertEqual(rest + data[position:], b"behind")

    @given(st.lists(st.binary(max_size=20), max_size=10))
    def test_any_bytes(self, pieces: list[bytes]) -> None:
        """Any bytes are payload, framing, or refused."""
        try:
            read(ChunkedBody(), pieces)
        except BadMessage:
            pass


class OtherBodyTests(SynchronousTestCase):
    """Bodies with a length, and without an end."""

    def test_length(self) -> None:
        """A body of known length ends there."""
        for pieces in feeds(b"hello"):
            body = LengthBody(5)
            self.assertEqual((read(body, pieces), body.done, body.torn_by_eof), ((b"hello", b""), True, False))
        self.assertEqual(LengthBody(5).take(b"hello GET"), (b"hello", b" GET"))

    def test_length_is_missing(self) -> None:
        """An EOF before the length is reached is a tear."""
        body = LengthBody(5)
        body.take(b"hell")
        self.assertTrue(body.torn_by_eof)

    def test_no_body(self) -> None:
        """A length of 0 is done at once."""
        self.assertTrue(LengthBody(0).done)

    def test_endless(self) -> None:
        """A body without framing takes everything, and a clean end is its end."""
        body = EndlessBody()
        self.assertEqual((body.take(b"x"), body.done, body.torn_by_eof), ((b"x", b""), False, False))


class FramingTests(SynchronousTestCase):
    """What the fields say about the body."""

    def test_length(self) -> None:
        """One number, or none."""
        self.assertEqual(content_length(Fields(((b"Content-Length", b"12"),))), 12)
        self.assertIsNone(content_length(Fields(())))
        for value in (b"", b"+1", b"-1", b"1 2", b"1,1", b"0x1", b"1.0", b"9" * 19, b"\xb2"):
            self.assertRaises(BadMessage, content_length, Fields(((b"content-length", value),)))
        twice = Fields(((b"Content-Length", b"1"), (b"content-length", b"1")))
        self.assertRaises(BadMessage, content_length, twice)

    def test_chunked(self) -> None:
        """Chunked alone, in HTTP/1.1, without a length."""
        self.assertTrue(is_chunked(Fields(((b"Transfer-Encoding", b"Chunked"),)), 1))
        self.assertFalse(is_chunked(Fields(()), 1))
        chunked = (b"transfer-encoding", b"chunked")
        for items, minor, status in (
            (((b"transfer-encoding", b"gzip, chunked"),), 1, 501),
            (((b"transfer-encoding", b"identity"),), 1, 501),
            (((b"transfer-encoding", b""),), 1, 501),
            ((chunked, chunked), 1, 400),
            ((chunked,), 0, 400),
            ((chunked, (b"content-length", b"1")), 1, 400),
        ):
            with self.assertRaises(BadMessage) as caught:
                is_chunked(Fields(items), minor)
            self.assertEqual(caught.exception.status, status)

    def test_an_empty_chunk_is_not_written(self) -> None:
        """No payload is no chunk, for an empty one would end the body."""
        self.assertEqual((chunk(b""), chunk(b"x" * 26)), (b"", b"1a\r\n" + b"x" * 26 + b"\r\n"))
