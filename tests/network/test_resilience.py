"""What must not spread: a silent death is noticed, an application's error costs its own stream, a burst is no stall."""

from __future__ import annotations

from random import Random

from tests.network.base import NetworkTestCase, stream
from tests.network.test_failures import busy_path
from tests.testing.recorders import Recorder, Servers


class Broken(Recorder):
    """An application with a mistake."""

    def dataReceived(self, data: bytes) -> None:
        raise RuntimeError("the application's own")


class SilentDeathTests(NetworkTestCase):
    """A node whose power fails sends no reset."""

    def test_every_place(self) -> None:
        """Whoever waits on it is told within two minutes, and the next stream works."""
        for place in (0, 1):
            network = self.start()
            client, server = self.pair()
            stream(client).write(b"hello")
            network.advance(1)
            network.kill(busy_path(network)[place], silently=True)
            network.advance(130)
            self.assertEqual([reason.__name__ for reason in client.lost], ["ConnectionLost"], place)
            self.assertEqual([reason.__name__ for reason in server.lost], ["ConnectionLost"], place)
            after = self.connect(self.echo())
            stream(after).write(b"again")
            network.advance(1)
            self.assertEqual(bytes(after.data), b"again")


class ApplicationErrorTests(NetworkTestCase):
    """A protocol that raises."""

    def test_only_its_own_stream(self) -> None:
        """Another stream of the same circuit goes on."""
        network = self.start()
        servers = Servers(Recorder)
        where = network.serve(servers)
        broken = self.connect(where, Broken)
        whole = self.connect(where)
        for server in servers.built:
            stream(server).write(b"data")
        network.advance(1)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual([reason.__name__ for reason in broken.lost], ["ConnectionAborted"])
        self.assertEqual((bytes(whole.data), whole.lost), (b"data", []))


class LargeWriteTests(NetworkTestCase):
    """One write of many megabytes."""

    def test_whole_upload_in_one_write(self) -> None:
        """It arrives whole, in order, and with its end."""
        network = self.start()
        client, server = self.pair()
        data = Random(5).randbytes(8_000_000)
        stream(client).write(data)
        stream(client).loseConnection()
        network.advance(5)
        self.assertEqual(bytes(server.data), data)
        self.assertEqual([reason.__name__ for reason in server.lost], ["ConnectionDone"])
