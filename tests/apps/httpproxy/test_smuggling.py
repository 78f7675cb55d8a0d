"""Requests that two programs could read differently: each is refused, and nothing of it is forwarded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.apps.doubles import feeds
from torpydo.apps.events import (
    AbortNow,
    CloseUpstream,
    DropUpstream,
    Event,
    HangUp,
    OpenTunnel,
    OpenUpstream,
    SendUpstream,
)
from torpydo.apps.httpproxy.connection import ProxyConnection, State

GET = b"GET http://example.org/ HTTP/1.1\r\nHost: example.org\r\n"
POST = b"POST http://example.org/ HTTP/1.1\r\nHost: example.org\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n"
SECRET = b"GET http://victim.example/ HTTP/1.1\r\nHost: victim.example\r\n\r\n"

BAD_HEADS: dict[str, bytes] = {
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "two equal lengths": POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "a list of lengths": POST + b"Content-Length: 5, 5\r\n\r\nhello",
    "a signed length": POST + b"Content-Length: +5\r\n\r\nhello",
    "a negative length": POST + b"Content-Length: -5\r\n\r\nhello",
    "a hexadecimal length": POST + b"Content-Length: 0x5\r\n\r\nhello",
    "an empty length": POST + b"Content-Length: \r\n\r\nhello",
    "a length with a blank inside": POST + b"Content-Length: 5 5\r\n\r\nhello",
    "a length with an underscore": POST + b"Content-Length: 1_0\r\n\r\nhello",
    "a huge length": POST + b"Content-Length: 99999999999999999999\r\n\r\nhello",
    "length, then chunked": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SECRET,
    "chunked, then length": CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n" + SECRET,
    "two transfer codings": CHUNKED + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked twice in a list": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunked, identity": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "gzip, chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "quoted chunked": POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "an empty transfer coding": POST + b"Transfer-Encoding:\r\n\r\n0\r\n\r\n",
    "chunked behind a vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": CHUNKED.replace(b"1.1", b"1.0") + b"\r\n0\r\n\r\n",
    "a space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a tab before the colon": POST + b"Content-Length\t: 5\r\n\r\nhello",
    "a folded field": POST + b"X: a\r\n Transfer-Encoding: chunked\r\n\r\n",
    "a field folded with a tab": POST + b"X: a\r\n\tb\r\n\r\n",
    "a fold right after the first line": b"GET http://example.org/ HTTP/1.1\r\n Host: example.org\r\n\r\n",
    "a bare LF after the first line": b"GET http://example.org/ HTTP/1.1\nHost: example.org\r\n\r\n",
    "a bare LF between fields": GET + b"A: b\nC: d\r\n\r\n",
    "a bare LF as the end": GET + b"\n",
    "bare LFs everywhere": (GET + b"\r\n").replace(b"\r\n", b"\n"),
    "a bare CR in a value": GET + b"A: b\rTransfer-Encoding: chunked\r\n\r\n",
    "a bare CR as line end": GET + b"A: b\rC: d\r\n\r\n",
    "CR CR LF": GET + b"A: b\r\r\n\r\n",
    "a NUL in a value": GET + b"A: b\0c\r\n\r\n",
    "a NUL in a name": GET + b"A\0: b\r\n\r\n",
    "a NUL in the target": GET.replace(b"org/", b"org/\0") + b"\r\n",
    "a control character": GET + b"A: \x1b[0m\r\n\r\n",
    "an empty name": GET + b": b\r\n\r\n",
    "a name with a blank": GET + b"A B: c\r\n\r\n",
    "a name with a slash": GET + b"A/B: c\r\n\r\n",
    "a name that is not ASCII": GET + b"\xc3\xa4: c\r\n\r\n",
    "a line without a colon": GET + b"Transfer-Encoding chunked\r\n\r\n",
    "two Hosts": GET + b"Host: other.example\r\n\r\n",
    "no Host": b"GET http://example.org/ HTTP/1.1\r\n\r\n",
    "a Host with a user": GET.replace(b"Host: ", b"Host: user@") + b"\r\n",
    "a Host that is a list": GET.replace(b"Host: ", b"Host: a, ") + b"\r\n",
    "Connection names Host": GET + b"Connection: close, Host\r\n\r\n",
    "Connection names Content-Length": POST + b"Content-Length: 5\r\nConnection: content-length\r\n\r\nhello",
    "Connection names Transfer-Encoding": CHUNKED + b"Connection: Transfer-Encoding\r\n\r\n0\r\n\r\n",
    "two spaces in the first line": GET.replace(b"GET ", b"GET  ") + b"\r\n",
    "a tab in the first line": GET.replace(b"GET ", b"GET\t") + b"\r\n",
    "a space in the target": GET.replace(b"org/", b"org/a b") + b"\r\n",
    "a blank behind the version": GET.replace(b"HTTP/1.1", b"HTTP/1.1 ") + b"\r\n",
    "HTTP/0.9": b"GET http://example.org/\r\n\r\n",
    "HTTP/1.2": GET.replace(b"HTTP/1.1", b"HTTP/1.2") + b"\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a method with a control character": b"GE\x01T" + GET[3:] + b"\r\n",
    "origin form": b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "asterisk form": b"OPTIONS * HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "a user in the target": GET.replace(b"//", b"//user:pw@") + b"\r\n",
    "a fragment": GET.replace(b"org/", b"org/#x") + b"\r\n",
    "no host in the target": GET.replace(b"//example.org", b"//") + b"\r\n",
    "a backslash in the authority": GET.replace(b"example.org/", b"example.org\\@b/") + b"\r\n",
    "a port with a sign": GET.replace(b"org/", b"org:+80/") + b"\r\n",
    "a port of 0": GET.replace(b"org/", b"org:0/") + b"\r\n",
    "a port too large": GET.replace(b"org/", b"org:65536/") + b"\r\n",
    "https without CONNECT": GET.replace(b"http:", b"https:") + b"\r\n",
    "CONNECT without a port": b"CONNECT example.org HTTP/1.1\r\n\r\n",
    "CONNECT with a path": b"CONNECT example.org:443/x HTTP/1.1\r\n\r\n",
    "CONNECT with an address": b"CONNECT http://example.org:443/ HTTP/1.1\r\n\r\n",
    "CONNECT with a length": b"CONNECT example.org:443 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
    "CONNECT in chunks": b"CONNECT example.org:443 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "CONNECT to this machine": b"CONNECT 127.0.0.1:22 HTTP/1.1\r\n\r\n",
    "CONNECT to this machine in hex": b"CONNECT 0x7f000001:22 HTTP/1.1\r\n\r\n",
    "CONNECT to an onion": b"CONNECT x.onion:80 HTTP/1.1\r\n\r\n",
    "a request to the local network": GET.replace(b"//example.org", b"//192.168.0.1") + b"\r\n",
    "an unknown Expect": POST + b"Content-Length: 5\r\nExpect: 200-ok\r\n\r\nhello",
    "TRACE": GET.replace(b"GET", b"TRACE") + b"\r\n",
    "Proxy-Authorization twice": GET + b"Proxy-Authorization: Basic YTpi\r\n" * 2 + b"\r\n",
    "Proxy-Authorization that is no base64": GET + b"Proxy-Authorization: Basic ?\r\n\r\n",
    "a head too long": GET + b"A: " + b"b" * 16384 + b"\r\n\r\n",
    "too many fields": GET + b"A: b\r\n" * 300 + b"\r\n",
    "two empty lines first": b"\r\n\r\n" + GET + b"\r\n",
    "SOCKS": b"\x05\x01\x00",
    "TLS": b"\x16\x03\x01\x02\x00\x01",
}

BAD_CHUNKS: dict[str, bytes] = {
    "a size that is no number": b"z\r\n",
    "a negative size": b"-5\r\nhello\r\n",
    "a size with 0x": b"0x5\r\nhello\r\n",
    "a size with a blank before": b" 5\r\nhello\r\n",
    "a size with a blank behind": b"5 \r\nhello\r\n",
    "a size with an underscore": b"1_0\r\n",
    "a size that overflows": b"fffffffffffffffff\r\n",
    "no size": b"\r\nhello\r\n",
    "a bare LF behind the size": b"5\nhello\r\n",
    "a bare LF behind the extension": b"5;x\nhello\r\n",
    "a bare CR in the extension": b"5;a\rb\r\nhello\r\n",
    "more bytes than the size": b"4\r\nhello\r\n0\r\n\r\n",
    "a bare LF behind the bytes": b"5\r\nhello\n0\r\n\r\n",
    "a bad trailer": b"0\r\nContent Length: 5\r\n\r\n",
    "a folded trailer": b"0\r\nA: b\r\n c\r\n\r\n",
    "a bare LF at the end": b"0\r\n\n",
}

FORWARDING = (OpenTunnel, OpenUpstream, SendUpstream)


def make() -> ProxyConnection:
    return ProxyConnection(allow_private=lambda: False, now=0.0)


def forwarded(events: list[Event]) -> list[Event]:
    return [event for event in events if isinstance(event, FORWARDING)]


class SmugglingTests(SynchronousTestCase):
    """The table."""

    def test_the_table_is_long(self) -> None:
        """There are at least 40 cases."""
        self.assertGreaterEqual(len(BAD_HEADS), 40)

    def test_heads(self) -> None:
        """Each bad head is answered with an error, nothing of it is forwarded, and the connection ends."""
        for name, data in BAD_HEADS.items():
            core = make()
            events = core.receive_data(data, 1.0)
            answer = core.data_to_send()
            self.assertEqual(events, [DropUpstream(), HangUp()], name)
            self.assertRegex(answer, rb"\AHTTP/1\.1 (4|50[15])", name)
            self.assertIn(b"\r\nX-Torpydo-Error: ", answer, name)
            self.assertIn(b"\r\nConnection: close\r\n", answer, name)
            self.assertEqual(core.receive_data(SECRET, 1.0), [], name)

    def test_heads_byte_by_byte(self) -> None:
        """It makes no difference that a head arrives byte by byte."""
        for name, data in BAD_HEADS.items():
            core = make()
            events = [event for i in range(len(data)) for event in core.receive_data(data[i : i + 1], 1.0)]
            self.assertEqual((forwarded(events), core.state), ([], State.LEAVING), name)

    def test_a_good_request_before(self) -> None:
        """A bad request behind a good one is refused when its turn comes; the good one is served."""
        for name, data in BAD_HEADS.items():
            core = make()
            opened = core.receive_data(GET + b"\r\n" + data.removeprefix(b"\r\n\r\n"), 1.0)
            self.assertEqual(len(forwarded(opened)), 1, name)
            core.upstream_opened(1.0)
            events = core.upstream_data(b"HTTP/1.1 204 OK\r\n\r\n", 1.0)
            self.assertEqual(events[0], CloseUpstream(), name)
            if not data.startswith(b"\r\n\r\n"):
                self.assertEqual(forwarded(events), [], name)

    def test_chunks_in_the_same_read(self) -> None:
        """A bad chunk that comes with its head keeps the whole request from going out."""
        for name, data in BAD_CHUNKS.items():
            core = make()
            self.assertEqual(core.receive_data(CHUNKED + b"\r\n" + data, 1.0), [DropUpstream(), HangUp()], name)

    def test_chunks_later(self) -> None:
        """A bad chunk that comes later tears the stream, so that the server never sees a whole request."""
        for name, data in BAD_CHUNKS.items():
            for pieces in feeds(data):
                core = make()
                core.receive_data(CHUNKED + b"\r\n", 1.0)
                core.upstream_opened(1.0)
                events = [event for piece in pieces for event in core.receive_data(piece, 1.0)]
                self.assertIn(DropUpstream(), events, name)
                sent = b"".join(event.data for event in events if isinstance(event, SendUpstream))
                self.assertNotIn(b"0\r\n\r\n", sent, name)

    def test_chunks_behind_an_answer(self) -> None:
        """A bad chunk after the answer has begun tears the application's connection too."""
        core = make()
        core.receive_data(CHUNKED + b"\r\n", 1.0)
        core.upstream_opened(1.0)
        core.upstream_data(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", 1.0)
        self.assertEqual(core.receive_data(b"z\r\n", 1.0), [DropUpstream(), AbortNow()])

    @given(st.binary(max_size=60), st.integers(0, len(GET)))
    def test_any_bytes_anywhere(self, garbage: bytes, place: int) -> None:
        """Whatever is put into a request, one request at most goes out, and what goes out is clean."""
        core = make()
        events = forwarded(core.receive_data(GET[:place] + garbage + GET[place:] + b"\r\n", 1.0))
        self.assertLessEqual(len(events), 1)
        if events and isinstance(events[0], OpenUpstream):
            (sent,) = core.upstream_opened(1.0)
            assert isinstance(sent, SendUpstream)
            self.assertNotRegex(sent.data, rb"[^\r]\n|\r[^\n]|\x00")
            self.assertEqual(sent.data.count(b"\r\n\r\n"), 1)
