"""A client with both of its proxies, asked for everything: what leaves its host goes to its pool and nodes.

SECURITY S1, S2 and S7. Each client of a local network has a guard; tests/testing/test_leakguard is about that.
tests/integration/test_leaks does the same to a client's process.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IHalfCloseableProtocol
from zope.interface import implementer

from tests.network.base import NetworkTestCase
from tests.testing.proxyrequests import (
    BAD,
    NEVER,
    RESOLVE,
    RESOLVE_PTR,
    http_connect,
    http_forms,
    http_get,
    http_refuses,
    socks4,
    socks5,
    socks5_address,
    socks_forms,
    socks_refuses,
)
from tests.testing.recorders import Recorder, Servers
from torpydo.apps.httpproxy import HTTPProxyFactory
from torpydo.apps.socks import SocksFactory
from torpydo.testing import LocalNetwork

SOCKS, HTTP = 9050, 8118
APPLICATION = "10.9.9.9"
PATIENCE = 120.0
"""Virtual seconds in which a proxy says yes or no."""
PAGE = b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\npage"


@implementer(IHalfCloseableProtocol)
class Page(Recorder):
    """The destination: a page for whoever asks."""

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self.tcp.write(PAGE)

    def readConnectionLost(self) -> None:
        self.tcp.loseConnection()

    def writeConnectionLost(self) -> None:
        """Nothing waits for that."""


class LeakTests(NetworkTestCase):
    """Applications ask, and the network and the client's host are watched."""

    def begin(self, **options: Any) -> None:
        """A client with proxies, and a destination that writes down who connects."""
        network = self.start(**options)
        self.host = network.clients[0].reactor
        proxies = (
            (SOCKS, SocksFactory(network.client, self.host)),
            (HTTP, HTTPProxyFactory(network.client, self.host)),
        )
        self.ports = [self.host.listenTCP(port, proxy, interface=network.clients[0].ip) for port, proxy in proxies]
        self.application = network.reactor.host(APPLICATION)
        self.servers = Servers(Page)
        self.name, self.port = network.serve(self.servers, 80)
        self.address = network.destinations[self.name].ip

    def finish(self, network: LocalNetwork) -> None:
        """Let the applications hang up first."""
        self.application.kill()
        for port in self.ports:
            port.stopListening()
        super().finish(network)

    def ask(self, port: int, request: bytes) -> Recorder:
        """One application's connection; it has an answer, or was hung up on, in time."""
        endpoint = TCP4ClientEndpoint(self.application, self.network.clients[0].ip, port)
        recorder = self.network.success(connectProtocol(endpoint, Recorder()))
        recorder.tcp.write(request)
        end = self.network.reactor.seconds() + PATIENCE
        enough = 3 if port == SOCKS and request[:1] == b"\x05" else 1
        while len(recorder.data) < enough and not recorder.lost:
            self.network.advance(0.5)
            self.assertLess(self.network.reactor.seconds(), end, request)
        recorder.tcp.abortConnection()
        self.network.advance(0.1)
        return recorder

    def assertNothingLeaked(self) -> None:
        """The client's host looked up nothing and has reached pools and nodes; the destination saw exits."""
        network = self.network
        (guard,) = network.clients[0].guards
        guard.check()
        self.assertEqual(self.host.names.lookups, [])
        self.assertLessEqual({ip for ip, _ in guard.allowed}, {network.pool.ip, *(node.ip for node in network.nodes)})
        self.assertLessEqual(
            {server.tcp.getPeer().host for server in self.servers.built}, {node.ip for node in network.nodes}
        )

    def asked_for(self) -> set[str]:
        """The names that any node has looked up. An exit asks for absolute names."""
        return {name.removesuffix(".") for node in self.network.nodes for name in node.reactor.names.lookups}

    def test_destinations_that_are_there(self) -> None:
        """By name and by address, in every form: they are reached, by an exit, and looked up there."""
        self.begin()
        for port, requests in (
            (SOCKS, [socks5(self.name, 80), socks5_address(self.address, 80), socks4(self.address, 80)]),
            (SOCKS, [*socks_forms(self.name, 80)[:3], *socks_forms(self.name.upper() + ".", 80)[:3]]),
            (HTTP, [*http_forms(self.name, 80), http_connect(self.address, 80), http_get(self.address, 80)]),
        ):
            for request in requests:
                answer = bytes(self.ask(port, request).data)
                self.assertFalse((socks_refuses if port == SOCKS else http_refuses)(answer), (request, answer))
        self.assertEqual(self.asked_for(), {self.name})
        self.assertTrue(self.servers.built)
        self.assertNothingLeaked()

    def test_destinations_that_are_not(self) -> None:
        """Names that do not resolve, closed ports, addresses that no exit takes, of both families: errors."""
        self.begin()
        absent = "no.such.example"
        for request in (
            *socks_forms(absent, 80),
            socks5(self.name, 81),
            socks5_address("::1", 80),
            socks5_address("2001:db8::1", 80),
            socks5_address("192.0.2.1", 80),
            socks5_address(self.address, 81),
            socks5_address(self.address, 0, RESOLVE_PTR),
            socks5("localhost", 80),
            socks4("127.0.0.1", 80),
            socks5("2001:db8::1", 80),
        ):
            answer = bytes(self.ask(SOCKS, request).data)
            if request[4:5] != bytes((RESOLVE,)):
                self.assertTrue(socks_refuses(answer), (request, answer))
        for request in (
            *http_forms(absent, 80),
            *http_forms(self.name, 81),
            *http_forms("::1", 80),
            *http_forms("2001:db8::1", 80),
            *http_forms("localhost", 80),
        ):
            answer = bytes(self.ask(HTTP, request).data)
            self.assertTrue(http_refuses(answer), (request, answer))
        self.assertLessEqual(self.asked_for(), {self.name, absent, "localhost"})
        self.assertNothingLeaked()

    def test_names_that_never_leave(self) -> None:
        """.onion and its like, in every spelling, and what is no name at all: no exit hears of it (SECURITY S2)."""
        self.begin()
        before = self.network.reactor.seconds()
        for name in (*NEVER, *BAD):
            # A name of SOCKS4a ends at the first zero: what is before it is another name.
            for request in [one for one in socks_forms(name, 80)[:3] if one[:1] == b"\x05" or "\0" not in name]:
                answer = self.ask(SOCKS, request)
                self.assertTrue(socks_refuses(bytes(answer.data)) or answer.lost, (request, answer.data))
            for request in http_forms(name, 80):
                answer = self.ask(HTTP, request)
                self.assertTrue(http_refuses(bytes(answer.data)) or answer.lost, (request, answer.data))
        self.assertEqual(self.asked_for(), set())
        self.assertEqual(self.servers.built, [])
        self.assertLess(self.network.reactor.seconds() - before, 5 * len((*NEVER, *BAD)))
        self.assertNothingLeaked()

    def test_all_nodes_are_killed(self) -> None:
        """Every request after that fails with an error of its protocol; nobody connects to the destination any more."""
        self.begin()
        answer = bytes(self.ask(SOCKS, socks5(self.name, 80)).data)
        self.assertFalse(socks_refuses(answer))
        reached = len(self.servers.built)
        for node in self.network.nodes:
            self.network.kill(node)
        for request in (socks5(self.name, 80), socks5_address(self.address, 80), socks5(self.name, 0, RESOLVE)):
            self.assertTrue(socks_refuses(bytes(self.ask(SOCKS, request).data)))
        for request in (http_connect(self.name, 80), http_get(self.address, 80)):
            self.assertTrue(http_refuses(bytes(self.ask(HTTP, request).data)))
        self.network.kill(self.network.pool)
        self.assertTrue(socks_refuses(bytes(self.ask(SOCKS, socks5(self.name, 80)).data)))
        self.assertEqual(len(self.servers.built), reached)
        self.assertNothingLeaked()

    def test_the_exits_are_gone(self) -> None:
        """Exits that have died, or that answer nothing any more, are no reason to connect by oneself either."""
        self.begin(exits=2)
        reached = len(self.servers.built)
        self.network.kill(self.network.nodes[0])
        self.network.partition(self.network.nodes[1])
        for request in (socks5(self.name, 80), socks5_address(self.address, 80)):
            self.assertTrue(socks_refuses(bytes(self.ask(SOCKS, request).data)))
        self.assertTrue(http_refuses(bytes(self.ask(HTTP, http_get(self.name, 80)).data)))
        self.assertEqual(len(self.servers.built), reached)
        self.assertNothingLeaked()
