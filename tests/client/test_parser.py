"""Tests of torpydo.client.parser."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.endpoints import quoteStringArgument
from twisted.internet.error import ConnectError, ConnectingCancelledError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpointStringParserWithReactor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.client.network import URL
from tests.directory.build import url
from torpydo.client.parser import SharedClients, TorpydoStringParser
from torpydo.errors import ConfigurationError, PoolUnreachable, PoolURLError


@attrs.define(eq=False)
class ClientDouble:
    """Remembers what streams were opened."""

    opened: list[tuple[str, int, Any, Any]] = attrs.field(factory=list)
    closed: bool = False

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


class ParserTests(SynchronousTestCase):
    """Endpoint strings."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.made: list[tuple[tuple[Any, ...], Deferred[Any]]] = []
        self.cancelled: list[object] = []
        self.parser = TorpydoStringParser(SharedClients(self.create))

    def create(self, *arguments: Any) -> Deferred[Any]:
        result: Deferred[Any] = Deferred(self.cancelled.append)
        self.made.append((arguments, result))
        return result

    def connect(self, *arguments: str, **options: str) -> Deferred[Any]:
        endpoint = self.parser.parseStreamClient(self.reactor, *arguments, **{"pool": URL, **options})
        return endpoint.connect(Factory.forProtocol(Protocol))

    def quiet(self, deferred: Deferred[Any]) -> None:
        deferred.addErrback(lambda failure: failure.trap(ConnectError, ConnectingCancelledError, CancelledError))

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
