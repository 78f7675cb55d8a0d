"""Heads, fields and first lines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.apps.doubles import feeds
from torpydo.apps.httpproxy.grammar import (
    FIELDS_LIMIT,
    BadMessage,
    Fields,
    HeadReader,
    RequestLine,
    StatusLine,
    parse_fields,
    parse_request_line,
    parse_status_line,
)

HEAD = b"GET / HTTP/1.1\r\nHost: example.org\r\nX: y\r\n\r\n"
LINES = [b"GET / HTTP/1.1", b"Host: example.org", b"X: y"]


class HeadReaderTests(SynchronousTestCase):
    """Where a head ends."""

    def test_whole(self) -> None:
        """A head is found however its bytes arrive, and what is behind it is left."""
        for pieces in feeds(HEAD):
            reader = HeadReader(1000)
            results = [reader.take(piece) for piece in pieces]
            self.assertEqual(results[-1], (LINES, b""))
            self.assertEqual([lines for lines, _ in results[:-1]], [None] * (len(pieces) - 1))
        self.assertEqual(HeadReader(1000).take(HEAD + b"\nbehind\r"), (LINES, b"\nbehind\r"))

    def test_the_next_one(self) -> None:
        """A reader is ready for another head."""
        reader = HeadReader(1000)
        for _ in range(3):
            self.assertEqual(reader.take(HEAD), (LINES, b""))
            self.assertTrue(reader.empty)

    def test_one_empty_line_is_forgiven(self) -> None:
        """One empty line before a head is skipped, two are not."""
        for pieces in feeds(b"\r\n" + HEAD):
            reader = HeadReader(1000)
            self.assertEqual([reader.take(piece) for piece in pieces][-1], (LINES, b""))
        lines, _ = HeadReader(1000).take(b"\r\n\r\n" + HEAD)
        self.assertNotEqual(lines, LINES)

    def test_forbidden_bytes(self) -> None:
        """A byte that no head may contain is refused as soon as it shows, at any place."""
        for bad in (b"\0", b"\n", b"\rx", b"\x01", b"\x0b", b"\x7f", b"\x1b"):
            for place in range(len(HEAD) - 4):
                if HEAD[place - 1 : place] == b"\r":
                    continue
                for pieces in ([HEAD[:place] + bad], [HEAD[:place], *(bad[i : i + 1] for i in range(len(bad)))]):
                    reader = HeadReader(1000)
                    with self.assertRaises(BadMessage):
                        for piece in pieces:
                            reader.take(piece)

    def test_bare_cr_before_the_end(self) -> None:
        """It is refused here, whether or not the end came with it: two readers would not agree what it belongs to."""
        for sizes in ([len(HEAD) + 1], [1] * (len(HEAD) + 1)):
            reader, data = HeadReader(1000), HEAD[:-4] + b"\r" + HEAD[-4:]
            with self.assertRaises(BadMessage):
                for size in sizes:
                    reader.take(data[:size])
                    data = data[size:]

    def test_limit(self) -> None:
        """A head of the limit is taken, and one byte more is refused with its own status."""
        size = len(HEAD) - 4
        self.assertEqual(HeadReader(size).take(HEAD)[0], LINES)
        with self.assertRaises(BadMessage) as caught:
            HeadReader(size - 1).take(HEAD)
        self.assertEqual(caught.exception.status, 431)
        with self.assertRaises(BadMessage):
            HeadReader(100).take(b"G" * 101)

    def test_a_long_body_is_no_long_head(self) -> None:
        """What is behind the head does not count."""
        self.assertEqual(HeadReader(100).take(HEAD + b"x" * 5000), (LINES, b"x" * 5000))

    @given(st.lists(st.binary(max_size=30), max_size=10))
    def test_any_bytes(self, pieces: list[bytes]) -> None:
        """Any bytes give a head, a wish for more, or a refusal."""
        reader = HeadReader(100)
        try:
            for piece in pieces:
                reader.take(piece)
        except BadMessage:
            pass


class LineTests(SynchronousTestCase):
    """First lines and fields."""

    def test_request_line(self) -> None:
        """Method, target and version, with exactly one space between them."""
        self.assertEqual(parse_request_line(b"GET http://a/ HTTP/1.0"), RequestLine(b"GET", b"http://a/", 0))
        for line in (
            b"",
            b"GET",
            b"GET / ",
            b"GET  / HTTP/1.1",
            b"GET /\tHTTP/1.1",
            b"GET / HTTP/1.1 ",
            b" GET / HTTP/1.1",
            b"G@T / HTTP/1.1",
            b"GET /\xff HTTP/1.1",
            b"GET / http/1.1",
            b"GET / HTTP/1.1x",
            b"GET / HTTP/11",
        ):
            self.assertRaises(BadMessage, parse_request_line, line)

    def test_versions(self) -> None:
        """Another version has its own status."""
        for version in (b"0.9", b"1.2", b"2.0", b"3.0"):
            with self.assertRaises(BadMessage) as caught:
                parse_request_line(b"GET / HTTP/" + version)
            self.assertEqual(caught.exception.status, 505)

    def test_status_line(self) -> None:
        """Version, status and reason; the reason may be missing."""
        self.assertEqual(parse_status_line(b"HTTP/1.1 200 OK"), StatusLine(1, 200, b"OK"))
        self.assertEqual(parse_status_line(b"HTTP/1.0 404 Not \xe9 Found"), StatusLine(0, 404, b"Not \xe9 Found"))
        self.assertEqual(parse_status_line(b"HTTP/1.1 200"), StatusLine(1, 200, b""))
        self.assertEqual(parse_status_line(b"HTTP/1.1 200 "), StatusLine(1, 200, b""))
        for line in (
            b"",
            b"HTTP/1.1",
            b"HTTP/1.1 99 x",
            b"HTTP/1.1 2000 x",
            b"HTTP/2.0 200 OK",
            b"HTTP/1.1  200 OK",
            b"HTTP/1.1 020 x",
            b"ICY 200 OK",
            b"HTTP/1.1 200OK",
        ):
            self.assertRaises(BadMessage, parse_status_line, line)

    def test_fields(self) -> None:
        """Names are tokens, values lose the blanks around them."""
        fields = parse_fields([b"A: 1", b"b:2", b"a:\t 3 \t", b"C:", b"D: \xff x"])
        self.assertEqual(fields.items, ((b"A", b"1"), (b"b", b"2"), (b"a", b"3"), (b"C", b""), (b"D", b"\xff x")))
        self.assertEqual(fields.all(b"a"), [b"1", b"3"])
        self.assertEqual(fields.without([b"a", b"d"]).encode(), b"b: 2\r\nC: \r\n")

    def test_bad_fields(self) -> None:
        """A line that is no field is refused."""
        for line in (
            b"",
            b"x",
            b": y",
            b"a b: c",
            b"a : b",
            b" a: b",
            b"\ta: b",
            b"a\xff: b",
            b"a: b\0",
            b"a: b\x7f",
            b"(a): b",
            b"a: b\rc",
            b"a: b\nc",
        ):
            self.assertRaises(BadMessage, parse_fields, [line])

    def test_too_many_fields(self) -> None:
        """The number of fields is bounded."""
        parse_fields([b"a: b"] * FIELDS_LIMIT)
        self.assertRaises(BadMessage, parse_fields, [b"a: b"] * (FIELDS_LIMIT + 1))

    def test_tokens(self) -> None:
        """The members of a list, from all its fields."""
        fields = Fields(((b"Connection", b"Close , X,,"), (b"connection", b"y")))
        self.assertEqual(fields.tokens(b"connection"), [b"close", b"x", b"y"])
