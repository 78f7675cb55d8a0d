"""Tests of torpydo.net.directwrite, with two ends of a pair of sockets and no reactor that turns."""

from __future__ import annotations

from socket import SO_SNDBUF, SOL_SOCKET, socketpair

from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase

from torpydo.net import unwritten, write_now

MEGABYTE = 1 << 20


class Layer(Protocol):
    """Stands where Twisted has TLS."""

    plain = b""

    def write(self, data: bytes) -> None:
        """Take what is to be sealed."""
        self.plain += data


class WriteNowTests(SynchronousTestCase):
    """What has left when the call returns, and in which order."""

    def setUp(self) -> None:
        """A connection whose other end is a plain socket."""
        near, self.far = socketpair()
        near.setblocking(False)
        self.far.setblocking(False)
        near.setsockopt(SOL_SOCKET, SO_SNDBUF, 65536)
        self.addCleanup(near.close)
        self.addCleanup(self.far.close)
        self.reactor = MemoryReactorClock()
        self.connection = Connection(near, Protocol(), self.reactor)
        self.connection.connected = True

    def arrived(self) -> bytes:
        """What the other end has."""
        try:
            return self.far.recv(2 * MEGABYTE)
        except BlockingIOError:
            return b""

    def writing(self) -> bool:
        """Whether the reactor is asked to tell when the socket takes more."""
        return self.connection in self.reactor.getWriters()

    def test_it_has_left(self) -> None:
        """Without a turn of the reactor."""
        write_now(self.connection, b"at once")
        self.assertEqual(self.arrived(), b"at once")
        self.assertEqual((unwritten(self.connection), self.writing()), (0, False))

    def test_what_does_not_fit_follows(self) -> None:
        """The socket takes a part; the rest, and what is written after it, goes in order."""
        data = bytes(range(256)) * 4096
        write_now(self.connection, data)
        got = self.arrived()
        self.assertTrue(0 < len(got) < len(data))
        self.assertEqual(unwritten(self.connection), len(data) - len(got))
        write_now(self.connection, b"the last")
        while self.writing():
            self.connection.doWrite()
            got += self.arrived()
        self.assertEqual(got, data + b"the last")
        self.assertEqual(unwritten(self.connection), 0)

    def test_nothing_overtakes_what_waits(self) -> None:
        """What the transport was given before goes first."""
        self.connection.write(b"first, ")
        write_now(self.connection, b"second")
        self.connection.doWrite()
        self.assertEqual(self.arrived(), b"first, second")

    def test_a_lost_connection(self) -> None:
        """It is no error here: the reactor will find it."""
        self.far.close()
        write_now(self.connection, b"to nobody")
        self.assertEqual((unwritten(self.connection), self.writing()), (9, True))

    def test_a_closed_transport(self) -> None:
        """It drops what it is given, as always."""
        self.connection.connected = False
        write_now(self.connection, b"late")
        self.assertEqual((self.arrived(), unwritten(self.connection)), (b"", 0))

    def test_with_tls(self) -> None:
        """What the socket gets is not what is written: TLS has its own way."""
        self.connection.TLS = True
        self.connection.protocol = layer = Layer()
        write_now(self.connection, b"plain")
        self.assertEqual((self.arrived(), layer.plain), (b"", b"plain"))

    def test_other_transports(self) -> None:
        """They are written to."""
        transport = StringTransport()
        write_now(transport, b"anything")
        self.assertEqual(transport.value(), b"anything")
