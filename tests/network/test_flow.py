"""Flow control in a whole network: a slow line is filled, shared, and never hidden behind a queue."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.endpoints import connectProtocol
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from tests.network.base import Echo, NetworkTestCase
from torpydo.client import Circuit
from torpydo.testing.members import NodeMember
from torpydo.testing.ways import Conditions

HOP = 0.05
"""Seconds that each link is long."""
LINE = 2_500_000
"""Bytes a second of the slowest line: 20 Mbit/s."""
TRIP = 6 * HOP
"""Seconds for three hops and back."""
PIECE = bytes(64 * 1024)


@implementer(IPushProducer)
class Source(Protocol):
    """Sends as fast as it is let."""

    wanted = True

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        """Write until told to stop."""
        self.wanted = True
        while self.wanted and self.transport is not None:
            self.transport.write(PIECE)

    def pauseProducing(self) -> None:
        """Write no more for now."""
        self.wanted = False

    def stopProducing(self) -> None:
        """The transport is gone."""
        self.wanted = False

    def connectionLost(self, reason: object = None) -> None:
        self.wanted = False


class Counter(Protocol):
    """Counts what comes."""

    got = 0

    def dataReceived(self, data: bytes) -> None:
        self.got += len(data)


class SlowLineTests(NetworkTestCase):
    """Three hops of 50 ms, with one slow line among them."""

    def setUp(self) -> None:
        """All circuits of a test go the same way."""
        network = self.start(nodes=3, latency=HOP)
        self.first = cast(Circuit, network.success(network.client.build_circuit(hops=3)))
        self.path = [descriptor.node_id for descriptor in self.first.path]
        self.source = network.serve(Factory.forProtocol(Source), 80)

    def hop(self, place: int) -> NodeMember:
        """The node at a place of the path, 0 is the guard."""
        return next(node for node in self.network.nodes if node.node_id == self.path[place])

    def slow(self, place: int) -> None:
        """What this node sends shares one slow line from now on."""
        self.network.internet.ways.set(Conditions(latency=HOP, rate=LINE), source=self.hop(place).ip)

    def another(self) -> Circuit:
        """One more circuit on the same path."""
        return cast(Circuit, self.network.success(self.network.client.build_circuit(path=self.path)))

    def download(self, circuit: Circuit) -> Counter:
        """Begin one that does not end."""
        return self.network.success(connectProtocol(circuit.endpoint(*self.source), Counter()))

    def trips(self, circuit: Circuit, beside: Counter | None = None) -> list[float]:
        """Round trips of 64 bytes to the destination and back."""
        where = ("echo.example", 7)
        if where[0] not in self.network.destinations:
            self.network.serve(Factory.forProtocol(Echo), 7, where[0])
        echo = self.network.success(connectProtocol(circuit.endpoint(*where), Counter()))
        taken = []
        for number in range(1, 11):
            asked = self.network.reactor.seconds()
            assert echo.transport is not None
            echo.transport.write(bytes(64))
            while echo.got < 64 * number:
                self.network.advance(0.001)
            taken.append(self.network.reactor.seconds() - asked)
            self.network.advance(0.037)
        return taken

    def test_one_stream_fills_the_line(self) -> None:
        """Wherever the slow line is: after 3 s at least 85 % of it are used, and little waits before it (row F3)."""
        for place in (0, 1, 2):
            self.slow(place)
            circuit = self.another()
            counter = self.download(circuit)
            waiting = []
            for _ in range(30):
                self.network.advance(0.1)
                waiting.append(max(node.status().queued for node in self.network.nodes))
            before = counter.got
            for _ in range(50):
                self.network.advance(0.1)
                waiting.append(max(node.status().queued for node in self.network.nodes))
            self.assertGreater((counter.got - before) / 5, 0.85 * LINE, place)
            self.assertLess(max(waiting), 2 * LINE * TRIP, place)
            circuit.close()
            self.network.advance(2)
            self.network.internet.ways.set(Conditions(latency=HOP), source=self.hop(place).ip)

    def test_two_circuits_share(self) -> None:
        """Also when the second begins while the first fills the line: neither gets less than two fifths."""
        self.slow(1)
        first = self.download(self.first)
        self.network.advance(4)
        second = self.download(self.another())
        self.network.advance(3)
        before = first.got, second.got
        self.network.advance(10)
        shares = first.got - before[0], second.got - before[1]
        self.assertGreater(min(shares), 0.4 * sum(shares), shares)
        self.assertGreater(sum(shares) / 10, 0.85 * LINE)

    def test_an_echo_beside_a_download(self) -> None:
        """On a circuit of its own its round trip is less than half as long again as without."""
        self.slow(1)
        other = self.another()
        idle = max(self.trips(other))
        self.download(self.first)
        self.network.advance(3)
        loaded = self.trips(other)
        self.assertLess(sum(loaded) / len(loaded), 1.5 * idle)

    def test_a_reader_that_stops(self) -> None:
        """What comes for it is bounded, it holds up nobody else, and it goes on within a second (row F4)."""
        counter = self.download(self.first)
        other = self.download(self.another())
        self.network.advance(5)
        transport: Any = counter.transport
        transport.pauseProducing()
        self.network.advance(2)
        had, others = counter.got, other.got
        self.network.advance(60)
        self.assertEqual(counter.got, had)
        self.assertGreater(other.got - others, 20 * LINE)
        for node in self.network.nodes:
            self.assertLess(node.status().queued, 20 * 1024 * 1024)
        transport.resumeProducing()
        self.network.advance(1)
        self.assertGreater(counter.got, had + len(PIECE))

    def test_what_waits_at_the_exit_for_a_reader_that_stops(self) -> None:
        """No more than 256 KiB, however fast the destination is and however long it lasts (row F4)."""
        for place in (None, 0, 2):
            if place is not None:
                self.slow(place)
            circuit = self.another()
            counter = self.download(circuit)
            self.network.advance(5)
            transport: Any = counter.transport
            transport.pauseProducing()
            self.network.advance(10)
            for _ in range(50):
                self.network.advance(1)
                self.assertLessEqual(self.hop(2).status().queued, 256 * 1024)
            self.assertGreater(self.hop(2).status().queued, 0)
            circuit.close()
            self.network.advance(2)
