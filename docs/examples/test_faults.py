"""How an application takes faults of the network: python -m twisted.trial test_faults.py"""

from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase

from torpydo.testing import BlackHole, Flip, LocalNetwork, Rate, Reset

FILE = b"all of it\n" * 10_000


class Sender(Protocol):
    """The server of the application: sends a file and closes."""

    def connectionMade(self):
        self.transport.write(FILE)
        self.transport.loseConnection()


class Download(Protocol):
    """The client of the application: has the file if the connection ends well."""

    def __init__(self):
        self.data = b""
        self.lost = None

    def dataReceived(self, data):
        self.data += data

    def connectionLost(self, reason):
        self.lost = reason.type


class FaultTests(SynchronousTestCase):
    def setUp(self):
        self.network = LocalNetwork(nodes=3)
        self.addCleanup(self.network.close)
        self.guards = [self.network.intercept(node) for node in self.network.nodes]
        self.network.start()
        self.where = self.network.serve(Factory.forProtocol(Sender))
        self.server = self.network.intercept(self.network.destinations[self.where[0]], self.where[1])

    def download(self):
        endpoint = self.network.client.endpoint(*self.where)
        return self.network.success(connectProtocol(endpoint, Download()))

    def test_server_that_breaks_off(self):
        """Half a file is never taken for the whole."""
        self.server.set(to_source=[Reset(after=50_000)])
        download = self.download()
        self.network.advance(1)
        self.assertEqual((len(download.data), download.lost), (50_000, ConnectionLost))
        self.assertEqual(self.server.done[Reset], 1)

    def test_slow_server(self):
        """A slow line is no fault."""
        self.server.set(to_source=[Rate(5_000)])
        download = self.download()
        self.network.advance(10)
        self.assertLess(len(download.data), 60_000)
        self.network.advance(20)
        self.assertEqual(download.data, FILE)

    def test_changed_byte_on_the_way(self):
        """One bit costs the connection, and the next one works."""
        for proxy in self.guards:
            for connection in proxy.connections.values():
                connection.set(to_source=[Flip(connection.to_source.received + 5000)])
        download = self.download()
        self.network.advance(1)
        self.assertIs(download.lost, ConnectionLost)
        again = self.download()
        self.network.advance(1)
        self.assertEqual(again.data, FILE)

    def test_silence(self):
        """A network that swallows everything is noticed within two minutes."""
        download = self.download()
        for proxy in self.guards:
            proxy.set([BlackHole()], [BlackHole()])
        self.network.advance(120)
        self.assertTrue(download.lost)
