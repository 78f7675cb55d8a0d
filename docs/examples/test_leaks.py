"""A test that an application leaks nothing: python -m twisted.trial test_leaks.py"""

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase

from torpydo.testing import LeakError, LeakGuard, LocalNetwork


class Greeter(Protocol):
    """The server: greets whoever comes."""

    def connectionMade(self):
        self.transport.write(b"welcome")


class Greeted(Protocol):
    """The client of the application: keeps the greeting."""

    def __init__(self):
        self.greeting = Deferred()

    def dataReceived(self, data):
        self.greeting.callback(data)


async def visit(endpoint):
    """The application. What it is given decides whether it leaks."""
    protocol = await connectProtocol(endpoint, Greeted())
    return await protocol.greeting


class LeakTests(SynchronousTestCase):
    def setUp(self):
        self.network = LocalNetwork()
        self.network.start()
        self.addCleanup(self.network.close)
        self.host, self.port = self.network.serve(Factory.forProtocol(Greeter), 7)
        self.guard = LeakGuard(self.network.clients[0].reactor)

    def visit(self, endpoint):
        with self.guard:
            return self.network.success(Deferred.fromCoroutine(visit(endpoint)))

    def test_through_the_network(self):
        """The application leaks nothing: neither it nor what it calls."""
        self.assertEqual(self.visit(self.network.client.endpoint(self.host, self.port)), b"welcome")
        self.guard.check()

    def test_a_mistake(self):
        """An endpoint of Twisted's looks the name up by itself; that is refused, and told."""
        self.assertRaises(LeakError, self.visit, HostnameEndpoint(self.guard.reactor, self.host, self.port))
        self.assertIn("a lookup of the name 'server1.example'", str(self.assertRaises(LeakError, self.guard.check)))
