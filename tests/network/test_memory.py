"""What waits in a client, and that it is bounded."""

from __future__ import annotations

import attrs
from twisted.internet.endpoints import connectProtocol
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from tests.network.base import NetworkTestCase, stream
from tests.testing.recorders import Recorder, Servers
from torpydo.client import DEFAULT_LIMITS, share_of
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


@implementer(IPushProducer)
class Sender:
    """Writes pieces of 16 KiB as long as it may."""

    def __init__(self, writer: Recorder, size: int) -> None:
        self._transport = stream(writer)
        self._left = size
        self._paused = self._writing = False
        self._transport.registerProducer(self, True)
        self.resumeProducing()

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        while self._left and not self._paused and not self._writing:
            count = min(self._left, 16 * 1024)
            self._left -= count
            self._writing = True
            self._transport.write(bytes(count))
            self._writing = False

    def stopProducing(self) -> None:
        self._left = 0


class ManySendersTests(NetworkTestCase):
    """Applications that send on many streams at once, and can be told to stop."""

    size = 300 * 1024

    def test_none_is_torn(self) -> None:
        """Far more than the memory is to be sent: it waits where it comes from, and no circuit ends because of it."""
        network = self.start(client=False)
        limits = attrs.evolve(DEFAULT_LIMITS, memory=8 * MEGABYTE)
        client = network.success(network.add_client(limits=limits))
        servers = Servers()
        host, port = network.serve(servers)
        network.internet.ways.set(Conditions(rate=400_000, in_flight=8192), source=network.clients[0].ip)
        begun: list[Recorder] = []

        def begin(writer: Recorder) -> None:
            Sender(writer, self.size)
            begun.append(writer)

        for count in (60, 120):
            # Each who comes makes the part of those smaller who wait already.
            for number in range(count):
                endpoint = client.endpoint(host, port, isolation=number % 6)
                connectProtocol(endpoint, Recorder()).addCallback(begin)
            for _ in range(20):
                network.advance(1)
                self.assertLess(client.status().queued, 8 * MEGABYTE)
        self.assertGreater(client.status().queued, 2 * MEGABYTE)
        self.assertEqual(len(begun), 180)
        network.internet.ways.set(Conditions(), source=network.clients[0].ip)
        for _ in range(60):
            network.advance(1)
            self.assertLess(client.status().queued, 8 * MEGABYTE)
        self.assertEqual([writer.lost for writer in begun], [[]] * len(begun))
        self.assertEqual({len(server.data) for server in servers.built}, {self.size})

    def test_few_have_what_they_had(self) -> None:
        """A hundred do not wait in smaller pieces than one, with the memory that a client has."""
        self.assertEqual(share_of(DEFAULT_LIMITS.memory, 100), share_of(DEFAULT_LIMITS.memory, 1))
        self.assertEqual(share_of(DEFAULT_LIMITS.memory, 0), 64 * 1024)
        self.assertEqual(share_of(DEFAULT_LIMITS.memory, 1000), 64 * MEGABYTE // 8 // 1000)
        self.assertEqual(share_of(DEFAULT_LIMITS.memory, 10**6), 4096)
