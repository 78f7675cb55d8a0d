"""Tests of torpydo.client.agent."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import AccumulatingProtocol, StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IAgent
from zope.interface import implementer
from zope.interface.verify import verifyObject

from torpydo.client.agent import KEEP_ALIVE, CircuitAgent, WebConnections

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class ServerTransport(StringTransport):
    """The transport of a connection to a web server, which can be closed."""

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Asked for by HTTP over TLS."""

    def loseConnection(self) -> None:
        self.disconnected = True

    def abortConnection(self) -> None:
        self.disconnected = True


@implementer(IStreamClientEndpoint)
class EndpointDouble:
    """Connects at once, and remembers what was asked for."""

    def __init__(self, test: AgentTests, host: str, port: int, isolation: Hashable) -> None:
        self.test = test
        self.where = (host, port, isolation)

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        protocol = protocolFactory.buildProtocol(None)
        transport = ServerTransport()
        assert protocol is not None
        protocol.makeConnection(transport)
        self.test.connections.append((self.where, protocol, transport))
        result: Deferred[IProtocol] = Deferred()
        result.callback(protocol)
        return result


class AgentTests(SynchronousTestCase):
    """Requests through circuits."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.connections: list[tuple[tuple[str, int, Hashable], Any, ServerTransport]] = []
        self.web = WebConnections(self.clock, lambda host, port, key: EndpointDouble(self, host, port, key))

    def get(self, isolation: Hashable = None, url: bytes = b"http://example.org/") -> bytes:
        """A whole request and its answer."""
        waiting = CircuitAgent(self.web, isolation).request(b"GET", url)
        self.connections[-1][1].dataReceived(ANSWER)
        body = AccumulatingProtocol()
        self.successResultOf(waiting).deliverBody(body)
        data: bytes = body.data
        return data

    def test_provides_its_interface(self) -> None:
        """treq and others take it."""
        verifyObject(IAgent, CircuitAgent(self.web, None))

    def test_a_request(self) -> None:
        """Goes to the host by name, and the body comes back."""
        self.assertEqual(self.get(url=b"http://example.org:8000/x"), b"hi")
        where, _, transport = self.connections[0]
        self.assertEqual(where, ("example.org", 8000, None))
        self.assertIn(b"GET /x HTTP/1.1", transport.value())

    def test_kept_alive_inside_one_key(self) -> None:
        """The second request uses the first one's connection."""
        self.get("a")
        self.get("a")
        self.assertEqual(len(self.connections), 1)

    def test_never_shared_between_keys(self) -> None:
        """A kept connection would join what isolation keeps apart."""
        self.get("a")
        self.get("b")
        self.assertEqual([where[2] for where, _, _ in self.connections], ["a", "b"])

    def test_dropped_by_a_new_identity(self) -> None:
        """What was kept is closed and not used again."""
        self.get("a")
        self.web.drop()
        self.assertTrue(self.connections[0][2].disconnected)
        self.get("a")
        self.assertEqual(len(self.connections), 2)
        self.clock.advance(KEEP_ALIVE)

    def test_a_request_under_way_is_not_shared_afterwards(self) -> None:
        """Its connection belongs to before, also when it ends after the new identity."""
        waiting = CircuitAgent(self.web, "a").request(b"GET", b"http://example.org/")
        self.web.drop()
        self.connections[0][1].dataReceived(ANSWER)
        self.successResultOf(waiting).deliverBody(AccumulatingProtocol())
        self.get("a")
        self.assertEqual(len(self.connections), 2)
        self.clock.advance(KEEP_ALIVE)

    def test_https_is_tls_through_the_stream(self) -> None:
        """What goes into the stream is a TLS hello, not the request."""
        CircuitAgent(self.web, None).request(b"GET", b"https://example.org/").addErrback(lambda failure: None)
        where, _, transport = self.connections[0]
        self.assertEqual(where[:2], ("example.org", 443))
        self.assertEqual(transport.value()[:2], b"\x16\x03")

    def test_an_ipv6_literal(self) -> None:
        """Without its brackets."""
        self.get(url=b"http://[2600::1]:80/")
        self.assertEqual(self.connections[0][0][0], "2600::1")
