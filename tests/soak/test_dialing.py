"""Tests of tests.soak.dialing."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from tests.soak.dialing import BadAnswer, Dial, HTTPDial, Refused, SOCKSDial

GREETED = b"\x05\x02\x01\x00"
OPEN = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50"
OPEN_BY_NAME = b"\x05\x00\x00\x03\x02ab\x00\x50"


def socks() -> Dial:
    """A dial whose messages follow the answers."""
    return SOCKSDial("host.example", 80, "user")


def dialled(dial: Dial, answer: bytes, step: int) -> tuple[bytes, bytes | None]:
    """What it sends in all, and what came through the tunnel, when the answer comes in pieces."""
    sent, through = dial.begin(), None
    for begin in range(0, len(answer), step):
        piece = answer[begin : begin + step]
        if through is None:
            more, through = dial.receive(piece)
            sent += more
        else:
            through += piece
    return sent, through


class DialTests(SynchronousTestCase):
    """A program's side of a proxy."""

    def test_socks(self) -> None:
        """The tunnel is open after the reply, however it is cut, and the rest belongs to the stream."""
        wanted = b"\x05\x01\x02" + b"\x01\x04user\x01x" + b"\x05\x01\x00\x03\x0chost.example\x00\x50"
        for reply in (OPEN, OPEN_BY_NAME):
            for step in (1, 2, 3, 100):
                self.assertEqual(dialled(socks(), GREETED + reply + b"rest", step), (wanted, b"rest"))

    def test_hasty_socks(self) -> None:
        """The same bytes, all before the first answer."""
        hasty = SOCKSDial("host.example", 80, "user", hasty=True)
        self.assertEqual(hasty.begin(), dialled(socks(), GREETED + OPEN, 100)[0])
        self.assertEqual(hasty.receive(GREETED + OPEN), (b"", b""))

    def test_http(self) -> None:
        """The tunnel is open after the head of a 200."""
        for step in (1, 7, 100):
            sent, through = dialled(HTTPDial("h", 80, "user"), b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nrest", step)
            head = b"CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\nProxy-Authorization: Basic dXNlcjp4\r\n\r\n"
            self.assertEqual(sent, head)
            self.assertEqual(through, b"rest")

    def assert_answered(self, error: type[Exception], make: Callable[[], Dial], answer: bytes, text: str) -> None:
        """The answer, whole and byte by byte, raises *error*."""
        for step in (1, 1000):
            raised = self.assertRaises(error, dialled, make(), answer, step)
            self.assertIn(text, str(raised))

    def test_typed_failures(self) -> None:
        """Whoever says why has refused."""
        self.assert_answered(Refused, socks, GREETED + b"\x05\x05\x00\x01" + bytes(6), "SOCKS 5")
        head = b"HTTP/1.1 502 Bad Gateway\r\nX-Torpydo-Error: connect-refused\r\n\r\n"
        self.assert_answered(Refused, lambda: HTTPDial("h", 80, "u"), head, "HTTP 502 connect-refused")

    def test_what_is_no_answer(self) -> None:
        """Anything else is not what a proxy says."""
        for answer in (b"\x05\xff", b"\x05\x02\x01\x01", GREETED + b"\x05\x09\x00\x01" + bytes(6), GREETED + b"GET /"):
            self.assert_answered(BadAnswer, socks, answer, "")
        for head in (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", b"SSH-2.0-x\r\n\r\n"):
            self.assert_answered(BadAnswer, lambda: HTTPDial("h", 80, "u"), head, "")
