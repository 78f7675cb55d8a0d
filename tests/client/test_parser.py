"""Tests of torpydo.client.parser."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.endpoints import quoteStringArgument, serverFromString
from twisted.internet.error import ConnectError, ConnectingCancelledError
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpoint,
    IStreamServerEndpointStringParser,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent
from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.client.network import URL
from tests.directory.build import url
from torpydo.client.parser import (
    FIRST_PAUSE,
    LAST_PAUSE,
    SharedClients,
    TorpydoServiceStringParser,
    TorpydoStringParser,
)
from torpydo.crypto import SigningKey
from torpydo.errors import (
    CircuitBuildError,
    ConfigurationError,
    PoolUnreachable,
    PoolURLError,
    StateError,
    TorpydoError,
)
from torpydo.net import open_key_file


@attrs.define(eq=False)
class ClientDouble:
    """Remembers what streams were opened."""

    opened: list[tuple[str, int, Any, Any]] = attrs.field(factory=list)
    closed: bool = False
    hosted: list[tuple[int, SigningKey | None]] = attrs.field(factory=list)
    listening: list[Deferred[Any]] = attrs.field(factory=list)

    def onion_endpoint(self, port: int, *, private_key: SigningKey | None = None) -> ClientDouble:
        """Like ``Client.onion_endpoint``."""
        self.hosted.append((port, private_key))
        return self

    def listen(self, factory: IProtocolFactory) -> Deferred[Any]:
        """Like the endpoint's."""
        self.listening.append(Deferred())
        return self.listening[-1]

    def open_stream(
        self, factory: IProtocolFactory, host: str, port: int, *, isolation: Any, hops: Any
    ) -> Deferred[IProtocol]:
        """Like ``Client.open_stream``."""
        self.opened.append((host, port, isolation, hops))
        return Deferred()

    def close(self) -> Deferred[None]:
        """Like ``Client.close``."""
        self.closed = True
        return succeed(None)


class StringTests(SynchronousTestCase):
    """Both parsers, over clients that are made when the test says so."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.made: list[tuple[tuple[Any, ...], Deferred[Any]]] = []
        self.cancelled: list[object] = []
        self.shared = SharedClients(self.create)
        self.parser = TorpydoStringParser(self.shared)
        self.services = TorpydoServiceStringParser(self.shared)

    def create(self, *arguments: Any) -> Deferred[Any]:
        result: Deferred[Any] = Deferred(self.cancelled.append)
        self.made.append((arguments, result))
        return result

    def connect(self, *arguments: str, **options: str) -> Deferred[Any]:
        endpoint = self.parser.parseStreamClient(self.reactor, *arguments, **{"pool": URL, **options})
        return endpoint.connect(Factory.forProtocol(Protocol))

    def quiet(self, deferred: Deferred[Any]) -> None:
        deferred.addErrback(lambda failure: failure.trap(ConnectError, ConnectingCancelledError, CancelledError))

    def listen(self, *arguments: str, **options: str) -> Deferred[Any]:
        endpoint = self.services.parseStreamServer(self.reactor, *arguments, **{"pool": URL, **options})
        return endpoint.listen(Factory.forProtocol(Protocol))

    def quiet_service(self, deferred: Deferred[Any]) -> None:
        deferred.addErrback(lambda failure: failure.trap(TorpydoError, CancelledError))


class ParserTests(StringTests):
    """``torpydo:``."""

    def test_is_a_plugin(self) -> None:
        """What ``clientFromString`` looks for."""
        verifyObject(IPlugin, self.parser)
        verifyObject(IStreamClientEndpointStringParserWithReactor, self.parser)
        self.assertEqual(self.parser.prefix, "torpydo")

    def test_nothing_happens_before_connect(self) -> None:
        """A string is only read."""
        self.parser.parseStreamClient(self.reactor, "example.org", "80", pool=URL)
        self.assertEqual(self.made, [])

    def test_connect_makes_the_client_and_opens_the_stream(self) -> None:
        """With all that the string says."""
        self.quiet(self.connect("example.org", "80", hops="4", isolation="mail", stateDir="/somewhere"))
        self.assertEqual(self.made[0][0], (self.reactor, (URL,), "/somewhere"))
        client = ClientDouble()
        self.made[0][1].callback(client)
        self.assertEqual(client.opened, [("example.org", 80, "mail", 4)])

    def test_defaults(self) -> None:
        """Three hops, no isolation, nothing on disk."""
        self.quiet(self.connect("example.org", "80"))
        client = ClientDouble()
        self.made[0][1].callback(client)
        self.assertEqual(client.opened, [("example.org", 80, None, 3)])
        self.assertIsNone(self.made[0][0][2])

    def test_one_client_for_the_same_pools(self) -> None:
        """However many strings, in whatever order the pools are written."""
        other = str(url("other", "127.0.0.2"))
        for pool in (f"{URL},{other}", f"{other},{URL}", f"{URL},{other}"):
            self.quiet(self.connect("example.org", "80", pool=pool))
        self.assertEqual(len(self.made), 1)
        self.quiet(self.connect("example.org", "80", pool=URL))
        self.assertEqual(len(self.made), 2)

    def test_another_reactor_has_its_own(self) -> None:
        """Nothing is shared between reactors."""
        self.quiet(self.connect("example.org", "80"))
        self.reactor = MemoryReactorClock()
        self.quiet(self.connect("example.org", "80"))
        self.assertEqual(len(self.made), 2)

    def test_the_only_client_needs_no_name(self) -> None:
        """``pool=`` may be left out while there is one; with none or two it is an error that says what to write."""
        self.assertRaises(ConfigurationError, self.connect, "example.org", "80", pool="")
        self.quiet(self.connect("example.org", "80"))
        self.quiet(self.connect("example.org", "80", pool=""))
        self.assertEqual(len(self.made), 1)
        self.quiet(self.connect("example.org", "80", stateDir="/other"))
        self.assertRaises(ConfigurationError, self.connect, "example.org", "80", pool="")

    def test_a_failure_is_told_and_the_next_connect_tries_again(self) -> None:
        """Also to those who waited along."""
        first, second = self.connect("example.org", "80"), self.connect("example.org", "80")
        self.made[0][1].errback(PoolUnreachable("down"))
        for result in (first, second):
            self.assertIsInstance(self.failureResultOf(result, PoolUnreachable).value, ConnectError)
        self.quiet(self.connect("example.org", "80"))
        self.assertEqual(len(self.made), 2)

    def test_cancel_while_the_client_is_made(self) -> None:
        """It goes on for the others, and is given up with the last."""
        first, second = self.connect("example.org", "80"), self.connect("example.org", "80")
        first.cancel()
        self.failureResultOf(first, ConnectingCancelledError)
        self.assertEqual(self.cancelled, [])
        second.cancel()
        self.failureResultOf(second, ConnectingCancelledError)
        self.assertEqual(len(self.cancelled), 1)

    def test_the_client_ends_with_the_reactor(self) -> None:
        """Links are closed and the state directory is free."""
        self.quiet(self.connect("example.org", "80"))
        client = ClientDouble()
        self.made[0][1].callback(client)
        for function, args, kwargs in self.reactor.triggers["before"]["shutdown"]:
            function(*args, **kwargs)
        self.assertTrue(client.closed)

    def test_bad_strings(self) -> None:
        """Typed errors, when the string is read."""
        for arguments, options in (
            (("h", "0"), {}),
            (("h", "65536"), {}),
            (("h", "http"), {}),
            (("h", "80"), {"hops": "9"}),
            (("h", "80"), {"hops": "x"}),
        ):
            self.assertRaises(ConfigurationError, self.connect, *arguments, **options)
        self.assertRaises(PoolURLError, self.connect, "h", "80", pool="ftp://x")
        self.assertRaises(TypeError, self.connect, "h", "80", unknown="x")

    def test_quoting(self) -> None:
        """The documented way to write a URL in a string."""
        self.assertEqual(quoteStringArgument("http://127.0.0.1:1/#k"), "http\\://127.0.0.1\\:1/#k")


class ServiceStringTests(StringTests):
    """``torpydo-service:``."""

    def test_is_a_plugin(self) -> None:
        """What ``serverFromString`` looks for."""
        verifyObject(IPlugin, self.services)
        verifyObject(IStreamServerEndpointStringParser, self.services)
        self.assertEqual(self.services.prefix, "torpydo-service")
        endpoint = self.services.parseStreamServer(self.reactor, "80", pool=URL)
        verifyObject(IStreamServerEndpoint, endpoint)

    def test_the_installed_one(self) -> None:
        """Twisted finds it by its prefix."""
        endpoint = serverFromString(self.reactor, f"torpydo-service:80:pool={quoteStringArgument(URL)}")
        verifyObject(IStreamServerEndpoint, endpoint)
        self.assertEqual(self.reactor.tcpClients, [])

    def test_nothing_happens_before_listen(self) -> None:
        """A string is only read, and no key is made."""
        self.services.parseStreamServer(self.reactor, "80", keyFile="/no/such/place", pool=URL)
        self.assertEqual(self.made, [])

    def key_path(self) -> str:
        """Where a key file may be."""
        directory = tempfile.mkdtemp(prefix="torpydo-test-")
        self.addCleanup(shutil.rmtree, directory)
        return os.path.join(directory, "key")

    def test_listen_makes_the_client_and_the_service(self) -> None:
        """With all that the string says; it fires when the service is there."""
        path = self.key_path()
        listening = self.listen("80", keyFile=path, stateDir="/somewhere")
        self.assertEqual(self.made[0][0], (self.reactor, (URL,), "/somewhere"))
        client = ClientDouble()
        self.made[0][1].callback(client)
        [(port, key)] = client.hosted
        assert key is not None
        self.assertEqual((port, key.public), (80, open_key_file(path, os.urandom).public))
        self.assertNoResult(listening)
        client.listening[0].callback("port")
        self.assertEqual(self.successResultOf(listening), "port")

    def test_defaults(self) -> None:
        """A new key, and nothing on disk."""
        self.quiet_service(self.listen("65535"))
        client = ClientDouble()
        self.made[0][1].callback(client)
        self.assertEqual((client.hosted, self.made[0][0][2]), ([(65535, None)], None))

    def test_one_client_for_both_kinds_of_strings(self) -> None:
        """What connects and what listens is one client if the pools and the state directory are the same."""
        self.quiet(self.connect("example.org", "80"))
        self.quiet_service(self.listen("80"))
        self.quiet_service(self.listen("81", pool=""))
        self.assertEqual((len(self.made), len(self.shared)), (1, 1))
        client = ClientDouble()
        self.made[0][1].callback(client)
        self.assertEqual((len(client.opened), client.hosted), (1, [(80, None), (81, None)]))
        self.quiet_service(self.listen("80", stateDir="/other"))
        self.assertEqual(len(self.made), 2)

    def test_it_keeps_trying(self) -> None:
        """While pools are down: nobody would listen again. The log says why, and does not name the guard."""
        listening = self.listen("80")
        with capturedLogs() as lines:
            self.made[0][1].errback(PoolUnreachable("down"))
            self.reactor.advance(FIRST_PAUSE)
            self.made[1][1].errback(CircuitBuildError(1, 3, "GUARDNAME", "no answer"))
        words = [formatEvent(line) for line in lines]
        self.assertEqual([word.rpartition(": ")[2] for word in words], ["down", "no circuit can be built"])
        self.assertNotIn("GUARDNAME", str(lines))
        self.reactor.advance(2 * FIRST_PAUSE - 1)
        self.assertEqual(len(self.made), 2)
        self.reactor.advance(1)
        client = ClientDouble()
        self.made[2][1].callback(client)
        client.listening[0].callback("port")
        self.assertEqual(self.successResultOf(listening), "port")

    def test_the_pauses_have_an_end(self) -> None:
        """It is tried every five minutes, however long the network is away."""
        self.quiet_service(self.listen("80"))
        for _ in range(9):
            self.made[-1][1].errback(PoolUnreachable("down"))
            self.reactor.advance(LAST_PAUSE)
        self.assertEqual(len(self.made), 10)

    def test_what_waiting_does_not_mend(self) -> None:
        """It is told at once, so that Twisted ends the process; the key file before the network is asked."""
        with open(path := self.key_path(), "wb") as file:
            file.write(b"torn")
        self.failureResultOf(self.listen("80", keyFile=path), StateError)
        self.assertEqual(self.made, [])
        listening = self.listen("80")
        self.made[0][1].errback(StateError("another process is using it"))
        self.failureResultOf(listening, StateError)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_cancel(self) -> None:
        """While the client is made, and while the service becomes reachable."""
        listening = self.listen("80")
        listening.cancel()
        self.failureResultOf(listening, CancelledError)
        self.assertEqual(len(self.cancelled), 1)
        listening = self.listen("80", stateDir="/other")
        client = ClientDouble()
        self.made[1][1].callback(client)
        listening.cancel()
        self.failureResultOf(listening, CancelledError)
        self.assertTrue(client.listening[0].called)
        listening = self.listen("80", stateDir="/third")
        self.made[2][1].errback(PoolUnreachable("down"))
        listening.cancel()
        self.failureResultOf(listening, CancelledError)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_bad_strings(self) -> None:
        """Typed errors, when the string is read."""
        for port in ("0", "65536", "http", "", "-1", "8 0", "\u0661"):
            error = self.assertRaises(ConfigurationError, self.listen, port)
            self.assertIn("torpydo-service:PORT", str(error))
        self.assertRaises(PoolURLError, self.listen, "80", pool="ftp://x")
        self.assertRaises(ConfigurationError, self.listen, "80", pool="")
        self.assertRaises(TypeError, self.listen, "80", unknown="x")
        self.assertRaises(TypeError, self.listen, "80", "81")
        self.assertRaises(TypeError, self.listen)
        self.assertEqual(self.made, [])
