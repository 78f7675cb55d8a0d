"""Tests of torpydo.cli.download."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IPushProducer, IStreamClientEndpoint
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from torpydo.cli.download import SILENCE, Answer, Download, download, read_url, request
from torpydo.cli.progress import NoProgress
from torpydo.errors import ConfigurationError, StateError, StreamFailed, StreamReset

TARGET = read_url("http://example.org/dir/file?a=b")


class URLTests(SynchronousTestCase):
    """What a user types."""

    def test_the_port_follows_from_the_scheme(self) -> None:
        """http means 80 and https means 443, unless the URL says otherwise."""
        ports = [read_url(url).port for url in ("http://a/", "https://a/", "https://a:8443/")]
        self.assertEqual(ports, [80, 443, 8443])

    def test_the_fragment_stays_here(self) -> None:
        """What is behind the # is not for the server."""
        self.assertEqual(read_url("http://a/b?c#d").url, "http://a/b?c")

    def test_other_alphabets_are_encoded(self) -> None:
        """A server is asked in ASCII only."""
        self.assertEqual(read_url("http://bücher.example/ü").url, "http://xn--bcher-kva.example/%C3%BC")

    def test_the_last_part_of_the_path_is_the_name(self) -> None:
        """The name that a file would get."""
        names = [read_url(url).name for url in ("http://a", "http://a/", "http://a/b/", "http://a/b/c.txt?d", "http://a/..")]
        self.assertEqual(names, ["", "", "", "c.txt", ""])

    def test_what_is_no_web_url_is_refused(self) -> None:
        """The error says what a URL looks like."""
        for text in ("", "example.org", "ftp://a/b", "http://", "http:///path", "file:///etc/passwd", "http://a:99x/"):
            error = self.assertRaises(ConfigurationError, read_url, text)
            self.assertIn("URL", str(error), text)

    def test_no_port_but_those_that_there_are(self) -> None:
        """Nobody is asked for a circuit to one that cannot be."""
        for text in ("http://a:0/", "http://a:65536/"):
            self.assertRaises(ConfigurationError, read_url, text)

    def test_an_ipv6_literal_with_bytes_that_are_no_text(self) -> None:
        """hyperlink itself stumbles over what a terminal in another encoding sends; the error is ours all the same."""
        error = self.assertRaises(ConfigurationError, read_url, "http://[2a00\udce9::1]/")
        self.assertTrue(str(error).endswith("is not a URL"))

    def test_credentials_are_refused(self) -> None:
        """A password is not silently dropped."""
        self.assertRaises(ConfigurationError, read_url, "http://user:secret@a/")


class Bytes:
    """An output that keeps what it is given."""

    def __init__(self) -> None:
        self.data = b""
        self.full = False

    def follow(self, producer: IPushProducer) -> None:
        """Never full."""

    def write(self, data: bytes) -> None:
        if self.full:
            raise StateError("the disk is full")
        self.data += data

    def check(self) -> None:
        """Never fails by itself."""

    async def finish(self) -> None:
        """Not asked here."""

    def abandon(self) -> None:
        """Not asked here."""


class DownloadTests(SynchronousTestCase):
    """One GET, from the request to the last byte."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.output = Bytes()
        self.asked: list[tuple[str, int]] = []

    def endpoint_for(self, host: str, port: int) -> IStreamClientEndpoint:
        """Where the request goes."""
        self.asked.append((host, port))
        return TCP4ClientEndpoint(self.reactor, "192.0.2.1", port)

    def ask(self) -> Deferred[Answer]:
        """Ask, and connect."""
        answer = Deferred.fromCoroutine(request(self.reactor, self.endpoint_for, TARGET))
        factory = self.reactor.tcpClients[-1][2]
        self.transport = StringTransport()
        self.protocol: Any = factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)
        return answer

    def fetch(self, head: bytes) -> Deferred[Download]:
        """Ask, get *head*, and begin to read the body."""
        answer = self.ask()
        self.protocol.dataReceived(head)
        coroutine = download(self.reactor, self.successResultOf(answer), TARGET, self.output, NoProgress())
        return Deferred.fromCoroutine(coroutine)

    def lose(self, reason: Exception) -> None:
        """The connection ends."""
        self.protocol.connectionLost(Failure(reason))

    def test_the_name_is_asked_for_unresolved(self) -> None:
        """The endpoint gets the host as it stands in the URL."""
        self.ask()
        self.assertEqual(self.asked, [("example.org", 80)])

    def test_an_ipv6_literal_loses_its_brackets(self) -> None:
        """Brackets are a URL's way to write it, not an endpoint's."""
        Deferred.fromCoroutine(request(self.reactor, self.endpoint_for, read_url("http://[2001:db8::1]:81/")))
        self.assertEqual(self.asked, [("2001:db8::1", 81)])

    def test_the_request_names_no_program(self) -> None:
        """Nothing tells one user from another: only the host is said."""
        self.ask()
        lines = self.transport.value().split(b"\r\n")
        self.assertEqual(lines[0], b"GET /dir/file?a=b HTTP/1.1")
        headers = sorted(line.partition(b":")[0].lower() for line in lines[1:] if line)
        self.assertEqual(headers, [b"connection", b"host"])

    def test_a_whole_body_is_a_download(self) -> None:
        """It says how much came, and how long it took."""
        result = self.fetch(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
        self.reactor.advance(2)
        self.protocol.dataReceived(b"abc")
        self.reactor.advance(3)
        self.protocol.dataReceived(b"def")
        self.assertEqual(self.successResultOf(result), Download(size=6, first_byte=2.0, seconds=5.0))
        self.assertEqual(self.output.data, b"abcdef")

    def test_a_body_without_a_length_ends_with_the_connection(self) -> None:
        """A clean close is its end."""
        result = self.fetch(b"HTTP/1.0 200 OK\r\n\r\nabc")
        self.lose(ConnectionDone())
        self.assertEqual(self.successResultOf(result).size, 3)

    def test_a_torn_body_without_a_length_is_an_error(self) -> None:
        """A reset is never taken for the end."""
        result = self.fetch(b"HTTP/1.0 200 OK\r\n\r\nabc")
        self.lose(ConnectionLost())
        self.failureResultOf(result, StreamReset)

    def test_a_short_body_is_an_error(self) -> None:
        """Fewer bytes than announced are not a file, however the connection ended."""
        result = self.fetch(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
        self.lose(ConnectionDone())
        self.failureResultOf(result, StreamFailed)

    def test_silence_during_the_body_is_an_error(self) -> None:
        """A server that stops sending does not hold the user for ever."""
        result = self.fetch(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
        self.reactor.advance(SILENCE - 1)
        self.assertNoResult(result)
        self.reactor.advance(1)
        self.failureResultOf(result, StreamFailed)

    def test_each_byte_ends_the_silence(self) -> None:
        """A slow server is not a dead one."""
        result = self.fetch(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
        for _ in range(5):
            self.reactor.advance(SILENCE - 1)
            self.protocol.dataReceived(b"x")
        self.assertNoResult(result)
        self.protocol.dataReceived(b"x")
        self.successResultOf(result)

    def test_silence_before_the_answer_is_an_error(self) -> None:
        """A server that never answers neither."""
        answer = self.ask()
        self.reactor.advance(SILENCE)
        error = self.failureResultOf(answer, StreamFailed).value
        self.assertEqual(str(error), "example.org said nothing for 60 seconds")

    def test_an_answer_that_is_not_http_is_an_error(self) -> None:
        """Another protocol on the port is told as such."""
        answer = self.ask()
        self.protocol.dataReceived(b"SSH-2.0-OpenSSH_9.2\r\n")
        self.lose(ConnectionDone())
        self.failureResultOf(answer, StreamFailed)

    def test_an_output_that_refuses_ends_the_download(self) -> None:
        """A full disk is the error that the user sees, at once."""
        self.output.full = True
        result = self.fetch(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
        self.protocol.dataReceived(b"abc")
        self.failureResultOf(result, StateError)

    def test_a_cancelled_download_hangs_up(self) -> None:
        """Ctrl-C leaves no connection and no timer."""
        result = self.fetch(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
        result.cancel()
        self.failureResultOf(result)
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_the_words_of_a_server_are_not_repeated(self) -> None:
        """A terminal might obey them."""
        for first, status in ((b"404 \x1b[31mNo", "404 Not Found"), (b"799 \x07", "799")):
            answer = self.ask()
            self.protocol.dataReceived(b"HTTP/1.1 " + first + b"\r\nContent-Length: 0\r\n\r\n")
            self.assertEqual(self.successResultOf(answer).status, status)

    def test_a_place_of_any_bytes(self) -> None:
        """What is no UTF-8 is a place where nothing will be found, and no error."""
        answer = self.ask()
        self.protocol.dataReceived(b"HTTP/1.1 302 Found\r\nLocation: /\xff\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(self.successResultOf(answer).location, "/\ufffd")

    def test_only_a_redirection_has_a_place_to_go_to(self) -> None:
        """A location header of another answer means nothing."""
        answers = []
        for code in (b"302 Found", b"200 OK"):
            waiting = self.ask()
            self.protocol.dataReceived(b"HTTP/1.1 " + code + b"\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n")
            answers.append(self.successResultOf(waiting).location)
        self.assertEqual(answers, ["/there", None])
