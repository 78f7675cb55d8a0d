"""Case 38: an application, or whoever gets at the proxy's port, that says what it should not.

The tables are those of tests/apps (test_smuggling has one of more than forty requests), which show what is answered;
here they come over connections to proxies of a whole network, and nothing of them reaches a destination or an exit's
resolver. A page in a browser that talks to a SOCKS port, and ports for control, are in tests/apps.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol

from tests.apps.httpproxy.test_smuggling import BAD_CHUNKS, BAD_HEADS, CHUNKED
from tests.faults.base import FaultTestCase
from tests.testing.recorders import Recorder, Servers
from torpydo.apps.httpproxy import HTTPProxyFactory
from torpydo.apps.socks import SocksFactory

MEGABYTE = 1 << 20
GREETING = b"\x05\x01\x00"
NAME = b"server1.example"
PORT = b"\x00\x50"


def request(host: bytes, *, command: int = 1, kind: int = 3, port: bytes = PORT) -> bytes:
    """A SOCKS 5 request."""
    return bytes((5, command, 0, kind)) + (bytes((len(host),)) if kind == 3 else b"") + host + port


BAD_SOCKS: dict[str, bytes] = {
    "no method": b"\x05\x00",
    "no method that is known": b"\x05\xfe" + bytes(range(1, 3)) * 127,
    "another version": b"\x06\x01\x00",
    "BIND": GREETING + request(NAME, command=2),
    "UDP": GREETING + request(NAME, command=3),
    "an unknown command": GREETING + request(NAME, command=9),
    "an unknown kind of address": GREETING + request(bytes(4), kind=5),
    "an empty name": GREETING + request(b""),
    "a name with NUL": GREETING + request(b"server1.example\0.evil.example"),
    "a name with CRLF": GREETING + request(b"server1.example\r\nHost: x"),
    "a name with a blank": GREETING + request(b"server1 .example"),
    "a name of other bytes": GREETING + request(b"\xff\xfe.example"),
    "a name of 255 bytes": GREETING + request(b"a" * 255),
    "port 0": GREETING + request(NAME, port=b"\0\0"),
    "this machine by name": GREETING + request(b"localhost"),
    "an onion": GREETING + request(b"abc.onion"),
    "SOCKS 4 with a user without end": b"\x04\x01\x00\x50\x01\x02\x03\x04" + b"u" * 5000,
    "SOCKS 4a with a name without end": b"\x04\x01\x00\x50\x00\x00\x00\x01u\x00" + b"n" * 5000,
    "a password of another version": b"\x05\x01\x02\x05\x01u\x01p",
    "a page": b"POST / HTTP/1.1\r\nHost: 127.0.0.1:9050\r\nContent-Length: 5\r\n\r\nhello",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600),
}


class EvilApplicationTests(FaultTestCase):
    """Strangers at the ports of the client's proxies."""

    def setUp(self) -> None:
        network = self.start()
        member = network.clients[0]
        self.ports: list[Any] = []
        for number, kind in ((1080, SocksFactory), (8118, HTTPProxyFactory)):
            # An ordinary network has no private destinations; this one has nothing else.
            factory = kind(network.client, member.reactor, allow_private=False)
            self.ports.append(member.reactor.listenTCP(number, factory, interface=member.ip))
        self.strangers = network.reactor.host("10.9.9.8")
        self.servers = Servers()
        network.serve(self.servers)

    def say(self, port: int, what: bytes, piece: int = 1 << 16) -> Recorder:
        """Connect, say it, and wait for what comes of it."""
        network = self.network
        endpoint = TCP4ClientEndpoint(self.strangers, network.clients[0].ip, port)
        recorder = network.success(connectProtocol(endpoint, Recorder()))
        for start in range(0, len(what), piece):
            if not recorder.lost:
                recorder.tcp.write(what[start : start + piece])
                network.flush()
        network.advance(1)
        return recorder

    def assert_nothing_came_of_it(self, recorders: list[Recorder]) -> None:
        """No exit was asked for anything, no destination reached, and every connection is over."""
        self.network.advance(12)
        self.assertEqual({len(recorder.lost) for recorder in recorders}, {1})
        self.assertEqual(self.servers.built, [])
        self.assertEqual([name for node in self.network.nodes for name in node.reactor.names.lookups], [])
        for port in self.ports:
            self.network.success(port.stopListening())
        self.oracle.check()

    def test_good_ones(self) -> None:
        """What is right gets there: the other tests do not pass for another reason."""
        for port, what in (
            (1080, GREETING + request(NAME)),
            (8118, b"CONNECT %s:80 HTTP/1.1\r\n\r\n" % NAME),
            (8118, b"GET http://%s/ HTTP/1.1\r\nHost: %s\r\n\r\n" % (NAME, NAME)),
        ):
            self.servers.built.clear()
            self.say(port, what).tcp.abortConnection()
            self.network.advance(1)
            self.assertEqual(len(self.servers.built), 1, what)
        for port in self.ports:
            self.network.success(port.stopListening())
        self.oracle.check()

    def test_socks(self) -> None:
        """Each is refused in SOCKS's own words, or not answered at all."""
        recorders = [self.say(1080, what) for what in BAD_SOCKS.values()]
        for name, recorder in zip(BAD_SOCKS, recorders, strict=True):
            self.assertNotIn(b"\x05\x00\x00\x01", bytes(recorder.data), name)
            self.assertNotIn(b"\x00\x5a", bytes(recorder.data), name)
        self.assert_nothing_came_of_it(recorders)

    def test_http(self) -> None:
        """Each is refused with a status of four hundred or more."""
        said = {name: head.replace(b"example.org", NAME) for name, head in BAD_HEADS.items()}
        chunked = CHUNKED.replace(b"example.org", NAME) + b"\r\n"
        said |= {f"chunk: {name}": chunked + chunk for name, chunk in BAD_CHUNKS.items()}
        recorders = [self.say(8118, what) for what in said.values()]
        for name, recorder in zip(said, recorders, strict=True):
            answer = bytes(recorder.data)
            self.assertTrue(not answer or answer[9:10] in (b"4", b"5"), (name, answer[:80]))
        self.assert_nothing_came_of_it(recorders)

    def test_a_megabyte(self) -> None:
        """A head that goes on and on, and a SOCKS message that does: they are cut off, and not kept."""
        recorders = []
        for port, what in (
            (8118, b"GET http://server1.example/ HTTP/1.1\r\nX: " + b"x" * MEGABYTE),
            (8118, b"\r\n" * (MEGABYTE // 2)),
            (8118, b"CONNECT " + b"a" * MEGABYTE),
            (1080, b"\x04\x01\x00\x50\x01\x02\x03\x04" + b"u" * MEGABYTE),
        ):
            recorders.append(self.say(port, what))
        self.assertLess(self.network.client.status().queued, MEGABYTE // 8)
        self.assert_nothing_came_of_it(recorders)

    def test_private_destinations(self) -> None:
        """By CONNECT, by GET and by SOCKS, in many spellings: refused here, and no exit ever hears of them."""
        recorders = []
        for host in (b"127.0.0.1", b"10.0.3.1", b"192.168.1.1", b"[::1]", b"0x7f.1", b"2130706433", b"localhost."):
            recorders.append(self.say(8118, b"CONNECT %s:80 HTTP/1.1\r\n\r\n" % host))
            recorders.append(self.say(8118, b"GET http://%s/ HTTP/1.1\r\nHost: %s\r\n\r\n" % (host, host)))
            recorders.append(self.say(1080, GREETING + request(host.strip(b"[]"))))
        self.assert_nothing_came_of_it(recorders)
