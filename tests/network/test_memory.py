"""What waits in a client, and that it is bounded."""

from __future__ import annotations

from tests.network.base import NetworkTestCase, stream
from tests.testing.recorders import Recorder, Servers
from torpydo.testing.ways import Conditions

MEGABYTE = 1024 * 1024


class Silent(Recorder):
    """A destination that does not read."""

    def connectionMade(self) -> None:
        self.tcp.pauseProducing()


class Giver(Recorder):
    """A destination that sends half a megabyte."""

    def connectionMade(self) -> None:
        self.tcp.write(bytes(MEGABYTE // 2))


class MemoryTests(NetworkTestCase):
    """Applications that write too fast, or do not read."""

    def queued(self) -> int:
        """Bytes that wait; the sum of the circuits is always that of the client."""
        status = self.network.client.status()
        self.assertEqual(status.queued, sum(circuit.queued for circuit in status.circuits))
        return status.queued

    def test_the_oldest_data_goes_first(self) -> None:
        """Above 64 MiB the circuit whose bytes have waited longest is closed, and the others go on."""
        network = self.start()
        where = network.serve(Servers(Silent))
        writers = [self.connect(where, isolation=number) for number in range(3)]
        for writer in reversed(writers):
            stream(writer).write(bytes(24 * MEGABYTE))
            network.advance(2)
        self.assertEqual([len(writer.lost) for writer in writers], [0, 0, 1])
        self.assertTrue(32 * MEGABYTE < self.queued() <= 58 * MEGABYTE)

    def test_application_that_does_not_read(self) -> None:
        """What came for it is counted, until it reads again or is gone."""
        network = self.start(latency=0.01)
        client = self.connect(network.serve(Servers(Giver)))
        stream(client).pauseProducing()
        network.advance(5)
        before = self.queued()
        self.assertGreater(before, 16 * 1024)
        stream(client).resumeProducing()
        network.advance(5)
        self.assertEqual((self.queued(), len(client.data)), (0, MEGABYTE // 2))

    def test_what_comes_long_after_the_pause(self) -> None:
        """An application that had nothing to read when it stopped reading is counted all the same."""
        network = self.start(latency=0.01)
        servers = Servers()
        client = self.connect(network.serve(servers))
        stream(client).pauseProducing()
        network.advance(3)
        # Less than what asks for an acknowledgement: nothing of the client's goes out for it.
        servers.built[0].tcp.write(bytes(20 * 1024))
        network.advance(5)
        self.assertEqual(self.queued(), 20 * 1024)

    def test_application_that_goes(self) -> None:
        """What waited for it goes, too."""
        network = self.start(latency=0.01)
        client = self.connect(network.serve(Servers(Giver)))
        stream(client).pauseProducing()
        network.advance(5)
        stream(client).abortConnection()
        network.advance(5)
        self.assertEqual(self.queued(), 0)

    def test_link_that_does_not_take_cells(self) -> None:
        """Cells that wait for the link count as well, and none are left when it is lost."""
        network = self.start()
        client = self.connect(network.serve(Servers()))
        network.partition(network.clients[0])
        stream(client).write(bytes(8 * MEGABYTE))
        network.advance(5)
        self.assertTrue(7 * MEGABYTE < self.queued() <= 8 * MEGABYTE + 64 * 1024)
        network.heal()
        network.advance(20)
        self.assertEqual(self.queued(), 0)

    def test_link_that_stops_in_the_middle(self) -> None:
        """Cells are counted that the circuit gave to its link before the link took no more."""
        network = self.start(latency=0.1)
        client = self.connect(network.serve(Servers()))
        # So that the window lets all go at once.
        for _ in range(3):
            stream(client).write(bytes(8 * MEGABYTE))
            network.advance(20)
        network.internet.ways.set(
            Conditions(latency=0.1, rate=20_000, in_flight=32 * 1024), source=network.clients[0].ip
        )
        stream(client).write(bytes(300 * 1024))
        network.advance(3)
        self.assertGreater(self.queued(), 100 * 1024)
        # What is under way at that rate takes its time.
        network.advance(30)
        network.internet.ways.set(Conditions(latency=0.1), source=network.clients[0].ip)
