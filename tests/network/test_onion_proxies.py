"""Both proxies in front of a client, asked for names of onion services."""

from __future__ import annotations

from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory

from tests.network.base import Echo
from tests.network.test_leaks import APPLICATION, HTTP, PAGE, SOCKS, Page
from tests.network.test_onions import KEY, OTHER, OnionTestCase
from tests.testing.proxyrequests import RESOLVE, http_connect, http_get, socks4a, socks5
from tests.testing.recorders import Recorder
from torpydo.apps.httpproxy import HTTPProxyFactory
from torpydo.apps.httpproxy.failures import ERROR_FIELD
from torpydo.apps.socks import SocksFactory
from torpydo.apps.socks.messages import Reply
from torpydo.onion import OnionName
from torpydo.testing import LocalNetwork

BAD = "x.torpydo"
UNKNOWN = str(OnionName.of(OTHER))
OPEN4 = b"\x00\x5a"
FAILED4 = b"\x00\x5b"


class ProxyTests(OnionTestCase):
    """A hidden web site, and a visitor whose programs know nothing of all this."""

    def setUp(self) -> None:
        super().setUp()
        member = self.network.clients[1]
        proxies = (
            (SOCKS, SocksFactory(self.visitor, member.reactor)),
            (HTTP, HTTPProxyFactory(self.visitor, member.reactor)),
        )
        self.ports = [member.reactor.listenTCP(port, proxy, interface=member.ip) for port, proxy in proxies]
        self.application = self.network.reactor.host(APPLICATION)

    def finish(self, network: LocalNetwork) -> None:
        """The programs hang up first."""
        self.application.kill()
        for port in self.ports:
            port.stopListening()
        super().finish(network)

    def ask(self, port: int, request: bytes, within: float = 5.0) -> Recorder:
        """What comes of a request of a program."""
        endpoint = TCP4ClientEndpoint(self.application, self.network.clients[1].ip, port)
        recorder = self.network.success(connectProtocol(endpoint, Recorder()))
        recorder.tcp.write(request)
        self.network.advance(within)
        return recorder

    def socks(self, host: str, port: int = 80, command: int = 1, within: float = 5.0) -> int:
        """The reply of SOCKS5."""
        answer = bytes(self.ask(SOCKS, socks5(host, port, command), within).data)
        self.assertEqual(answer[:3], b"\x05\x00\x05", answer)
        return answer[3]

    def word(self, request: bytes, within: float = 5.0) -> bytes:
        """Why the HTTP proxy has said no."""
        head, _, _ = bytes(self.ask(HTTP, request, within).data).partition(b"\r\n\r\n")
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
        return fields.get(ERROR_FIELD, b"")

    def test_tunnels(self) -> None:
        """By each protocol that has names, in any spelling."""
        service = self.create((7, Factory.forProtocol(Echo)))
        for name in (service.name, service.name.upper(), f"www.{service.name}", f"{service.name}."):
            for proxy, request, opened in (
                (SOCKS, socks5(name, 7), b"\x05\x00\x05\x00"),
                (SOCKS, socks4a(name, 7), OPEN4),
                (HTTP, http_connect(name, 7), b"HTTP/1.1 200 "),
            ):
                program = self.ask(proxy, request)
                self.assertTrue(bytes(program.data).startswith(opened), (name, program.data))
                program.tcp.write(b"over there")
                self.network.advance(1)
                self.assertTrue(bytes(program.data).endswith(b"over there"), (name, program.data))

    def test_pages(self) -> None:
        """A hidden web site in a browser."""
        service = self.create((80, Factory.forProtocol(Page)))
        answer = bytes(self.ask(HTTP, http_get(service.name, 80)).data)
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer)
        self.assertTrue(answer.endswith(b"page"), answer)
        program = self.ask(SOCKS, socks5(service.name, 80))
        program.tcp.write(b"GET / HTTP/1.0\r\n\r\n")
        self.network.advance(1)
        self.assertTrue(bytes(program.data).endswith(PAGE), program.data)

    def test_first_data(self) -> None:
        """What a program sends at once is there when the stream is open, once."""
        service = self.create((7, Factory.forProtocol(Echo)))
        program = self.ask(SOCKS, socks5(service.name, 7) + b"early")
        self.assertEqual(bytes(program.data)[12:], b"early")

    def test_no_name(self) -> None:
        """What can be no name of a service."""
        self.assertEqual(self.socks(BAD), Reply.HOST_UNREACHABLE)
        self.assertEqual(bytes(self.ask(SOCKS, socks4a(BAD, 80)).data)[:2], FAILED4)
        for request in (http_connect(BAD, 80), http_get(BAD, 80)):
            self.assertEqual(self.word(request), b"onion-name")

    def test_nobody_has_it(self) -> None:
        """A good name."""
        self.assertEqual(self.socks(UNKNOWN), Reply.HOST_UNREACHABLE)
        self.assertEqual(bytes(self.ask(SOCKS, socks4a(UNKNOWN, 80)).data)[:2], FAILED4)
        for request in (http_connect(UNKNOWN, 80), http_get(UNKNOWN, 80)):
            self.assertEqual(self.word(request), b"service-not-found")

    def test_it_does_not_answer(self) -> None:
        """Its descriptor is there, and it has gone."""
        service = self.create((80, Factory.forProtocol(Echo)))
        service.remove()
        self.assertEqual(self.socks(service.name, within=45), Reply.HOST_UNREACHABLE)
        self.assertEqual(self.word(http_connect(service.name, 80), within=45), b"service-unreachable")

    def test_a_closed_port(self) -> None:
        """Of a service that is there."""
        service = self.create((80, Factory.forProtocol(Echo)))
        self.assertEqual(self.socks(service.name, 81), Reply.REFUSED)
        self.assertEqual(self.word(http_connect(service.name, 81)), b"connect-refused")

    def test_no_address(self) -> None:
        """A service has none: the question goes nowhere."""
        for name in (str(OnionName.of(KEY)), BAD):
            self.assertEqual(self.socks(name, 0, RESOLVE), Reply.NOT_ALLOWED)

    def test_isolation(self) -> None:
        """Programs that log in with other names share no circuit to the service."""
        service = self.create((7, Factory.forProtocol(Echo)))
        for user in (b"one", b"two", b"one"):
            greeting = b"\x05\x01\x02" + b"\x01" + bytes((len(user),)) + user + b"\x01p"
            program = self.ask(SOCKS, greeting + socks5(service.name, 7)[3:])
            self.assertEqual(bytes(program.data)[:6], b"\x05\x02\x01\x00\x05\x00")
        self.assertEqual(self.joined(service), 2)

    def test_the_program_hangs_up(self) -> None:
        """While the service is looked for: nothing is left of it."""
        service = self.create((7, Factory.forProtocol(Echo)))
        for request, proxy in ((socks5(service.name, 7), SOCKS), (http_connect(service.name, 7), HTTP)):
            endpoint = TCP4ClientEndpoint(self.application, self.network.clients[1].ip, proxy)
            program = self.network.success(connectProtocol(endpoint, Recorder()))
            program.tcp.write(request)
            program.tcp.loseConnection()
            self.network.advance(15)
        self.assertEqual(self.visitor.onions._connector._joined._making, {})
        self.assertEqual(sum(circuit.streams for circuit in self.running(service)._meetings.circuits), 0)
