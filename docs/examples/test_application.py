"""The tests of an application that talks through torpydo: python -m twisted.trial test_application.py"""

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase

from torpydo.testing import LocalNetwork


class Shout(Protocol):
    """The server of the application: answers in capitals."""

    def dataReceived(self, data):
        self.transport.write(data.upper())


class Asker(Protocol):
    """The client of the application: asks, and keeps the first answer."""

    def __init__(self):
        self.answer = Deferred()
        self.lost = None

    def connectionMade(self):
        self.transport.write(b"hello")

    def dataReceived(self, data):
        if not self.answer.called:
            self.answer.callback(data)

    def connectionLost(self, reason):
        self.lost = reason.type


class ShoutTests(SynchronousTestCase):
    def setUp(self):
        self.network = LocalNetwork(latency=0.05)
        self.network.start()
        self.addCleanup(self.network.close)
        host, port = self.network.serve(Factory.forProtocol(Shout), 7)
        self.endpoint = self.network.client.endpoint(host, port)

    def test_answer(self):
        """The answer comes through three hops."""
        asker = self.network.success(connectProtocol(self.endpoint, Asker()))
        self.assertEqual(self.network.success(asker.answer), b"HELLO")

    def test_lost_nodes(self):
        """When the nodes die, the application hears of it, and never of a clean end."""
        asker = self.network.success(connectProtocol(self.endpoint, Asker()))
        for node in self.network.nodes:
            self.network.kill(node)
        self.network.advance(1)
        self.assertIs(asker.lost, ConnectionLost)
