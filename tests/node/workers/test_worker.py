"""Tests of torpydo.node.workers.worker."""

from __future__ import annotations

import os
import socket
from typing import Any

from msgspec.structs import astuple
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import NOW, listing, url
from tests.node.network import PORT, Relay, World
from torpydo.directory import TEST_NETWORK, ExitPolicy, sign_descriptor
from torpydo.node.workers.channel import LOST
from torpydo.node.workers.messages import (
    MAX_LOG_TEXT,
    AcceptedKeys,
    Connection,
    Leaving,
    LogLine,
    MessageReader,
    NetworkChanged,
    OwnAddresses,
    PoolListing,
    Setup,
    Status,
    Stop,
    ToSupervisor,
    ToWorker,
    encode,
)
from torpydo.node.workers.worker import REPORT, REPORT_SOON, ChannelObserver, Worker
from torpydo.testing import SimulatedReactor
from torpydo.tpdp import Address, StreamEnded


class Adopting:
    """A reactor that adopts connections of a simulated host."""

    def __init__(self, reactor: SimulatedReactor) -> None:
        self._reactor = reactor
        self.peer: IAddress | None = None
        self.adopted: Any = None
        self.offered: list[int] = []
        self.broken: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def adoptStreamConnection(self, descriptor: int, family: int, factory: Factory) -> None:
        """What the worker's factory makes is the simulated connection's."""
        assert family == socket.AF_INET
        self.offered.append(descriptor)
        os.fstat(descriptor)
        if self.broken is not None:
            raise self.broken
        self.adopted = factory.buildProtocol(self.peer)


class Door(Factory):
    """Stands where the supervisor does: every connection goes to the worker."""

    noisy = False

    def __init__(self, case: WorkerTestCase) -> None:
        self._case = case

    def buildProtocol(self, addr: IAddress | None) -> Any:
        self._case.reactor.peer = addr
        self._case.says(Connection(socket.AF_INET))
        return self._case.reactor.adopted


class Place(Relay):
    """A node for those who build circuits, with its keys and its address; what is there is up to the test."""

    def __attrs_post_init__(self) -> None:
        """Nothing listens."""


class WorkerTestCase(SynchronousTestCase):
    """A worker on a simulated host, that is a node of a simulated network."""

    def setUp(self) -> None:
        self.world = World()
        self.place = Place(self.world, 9, ExitPolicy.parse("accept *:80"))
        self.reactor = Adopting(self.world.reactor.host(self.place.address.host))
        self.reader: MessageReader[ToSupervisor] = MessageReader(ToSupervisor)
        self.heard: list[ToSupervisor] = []
        self.broken: Exception | None = None
        self.stops = 0
        self.opened: list[int] = []
        self.worker = Worker(
            self.reactor,
            send=self.hear,
            stop=self.stop,
            rng=self.world.random.randbytes,
            wall_clock=lambda: float(NOW),
        )
        self.reactor.listenTCP(PORT, Door(self), interface=self.place.address.host)

    def hear(self, data: bytes) -> None:
        """The worker says something."""
        broken, self.broken = self.broken, None
        if broken is not None:
            raise broken
        self.heard += self.reader.receive(data)

    def stop(self) -> None:
        """The worker wants to end."""
        self.stops += 1

    def says(self, *messages: ToWorker) -> None:
        """The supervisor says something, with a descriptor where one belongs."""
        for message in messages:
            descriptors = []
            if isinstance(message, Connection):
                descriptors.append(os.open(os.devnull, os.O_RDONLY))
                self.opened += descriptors
            self.worker.received(encode(message), descriptors)

    def start(self, *limits: str) -> None:
        """The worker learns all that it must know."""
        address = self.place.address
        self.says(
            Setup(
                identity=bytes(self.place.key.seed),
                exit_policy=str(self.place.policy),
                allow_single_hop=False,
                aegis=True,
                pools=(str(url()),),
                limits=limits,
            ),
            AcceptedKeys((bytes(self.place.onion_key.raw),)),
            OwnAddresses(((address.ip, address.port),)),
        )
        self.addCleanup(lambda: self.world.reactor.success(self.worker.stop()))

    def network(self, *, test_network: bool = True) -> None:
        """The worker learns of all nodes, and they learn of it."""
        relays = [*self.world.relays, self.place]
        documents = [sign_descriptor(relay.descriptor, relay.key) for relay in relays]
        made = listing(documents=documents, parameters={TEST_NETWORK: test_network})
        self.says(PoolListing.of(url(), made), NetworkChanged(float(NOW)))
        netdir = self.world.listing(relays, test_network=test_network)
        for relay in self.world.relays:
            relay.knows(netdir)

    def status(self) -> Status:
        """The next report."""
        self.world.reactor.advance(REPORT)
        return next(message for message in reversed(self.heard) if isinstance(message, Status))

    def assert_descriptors_closed(self) -> None:
        """Nothing is left of what came over the channel."""
        for descriptor in self.opened:
            self.assertRaises(OSError, os.fstat, descriptor)


class CarryTests(WorkerTestCase):
    """A worker does what a node does."""

    def test_exit(self) -> None:
        """A circuit through another node ends in a worker, which opens a stream."""
        self.start()
        other = self.world.relay()
        server = self.world.server()
        self.network()
        traveller = self.world.traveller(other, self.place).build()
        stream = traveller.begin(data=b"hello")
        self.assertEqual(server.connections[0].data, b"hello")
        server.connections[0].transport.write(b"world")
        self.world.flush()
        self.assertEqual(traveller.received(stream), b"world")
        self.assert_descriptors_closed()

    def test_middle(self) -> None:
        """A worker passes a circuit on to the next node."""
        self.start()
        other = self.world.relay("accept *:80")
        server = self.world.server()
        self.network()
        self.world.traveller(self.place, other).build().begin(data=b"hello")
        self.assertEqual(server.connections[0].data, b"hello")

    def test_single_hop(self) -> None:
        """The rules of a node hold: a client alone may not exit, outside of a test network."""
        self.start()
        server = self.world.server()
        self.network(test_network=False)
        traveller = self.world.traveller(self.place).build()
        traveller.begin()
        self.assertEqual(server.connections, [])
        self.assertEqual(len(traveller.of_kind(StreamEnded)), 1)

    def test_other_nodes_are_no_destination(self) -> None:
        """The listings reach the exits, and so does the node's own address."""
        self.start()
        self.network()
        policy = ExitPolicy.parse("accept *:*")
        other = self.world.relay()
        self.network()
        carrying = self.worker._carrying
        assert carrying is not None
        exits = carrying.carrier.exits
        exits.policy = policy
        self.assertFalse(exits.allows(other.address.ip, other.address.port))
        self.assertFalse(exits.allows(self.place.address.ip, 80))

    def test_new_keys(self) -> None:
        """Circuits are accepted for the keys that the supervisor names, and for no others."""
        self.start()
        self.network()
        self.says(AcceptedKeys((bytes([99]) * 32,)))
        self.assertTrue(self.world.traveller(self.place).build().destroyed)
        self.says(AcceptedKeys((bytes([99]) * 32, bytes(self.place.onion_key.raw))))
        self.assertFalse(self.world.traveller(self.place).build().destroyed)

    def test_same_view(self) -> None:
        """Supervisor and worker see the same network."""
        self.start()
        self.world.relay()
        self.network()
        netdir = self.world.listing([*self.world.relays, self.place], test_network=True)
        assert self.worker._netdir is not None
        self.assertEqual(self.worker._netdir.digest, netdir.digest)

    def test_limits(self) -> None:
        """It has its share of the node's memory, and what else the operator wants."""
        self.start("memory=2000000", "links-per-host=7")
        carrying = self.worker._carrying
        assert carrying is not None
        bounds = carrying.carrier.exits.bounds
        self.assertEqual((bounds.waiting.most, bounds.limits.links_per_host), (2_000_000, 7))


    def test_how_fast_connections_come(self) -> None:
        """The supervisor has counted that: here many of one host may come at once, to be spread as they are."""
        self.start()
        carrying = self.worker._carrying
        assert carrying is not None
        gate = carrying.carrier.gate
        self.assertTrue(all([gate.admits(Address.parse("198.51.100.1", 1)) for _ in range(100)]))


class ReportTests(WorkerTestCase):
    """What the supervisor hears."""

    def test_ready(self) -> None:
        """The first report comes at once: the worker is ready."""
        self.assertEqual(self.heard, [])
        self.start()
        (report,) = self.heard
        assert isinstance(report, Status)
        counts = [value for value in astuple(report) if not isinstance(value, dict)]
        self.assertEqual((set(counts), set(report.refused.values())), ({0}, {0}))

    def test_counts(self) -> None:
        """Connections, links and circuits are counted, each second."""
        self.start()
        other = self.world.relay("accept *:80")
        self.world.server()
        self.network()
        traveller = self.world.traveller(self.place, other).build()
        traveller.begin(data=b"x" * 5000)
        status = self.status()
        # The client's link, and the one that the worker opened.
        self.assertEqual((status.taken, status.still_open, status.links, status.circuits), (1, 1, 2, 1))
        assert traveller.link is not None
        traveller.link.close()
        self.world.flush()
        status = self.status()
        self.assertEqual((status.taken, status.still_open, status.circuits), (1, 0, 0))

    def test_closed_ones_at_once(self) -> None:
        """The supervisor hears of connections that have closed before the second is over, once for all of them."""
        self.start()
        self.network()
        travellers = [self.world.traveller(self.place).build() for _ in range(3)]
        self.assertEqual(self.status().still_open, 3)
        before = len(self.heard)
        for traveller in travellers[:2]:
            assert traveller.link is not None
            traveller.link.close()
        self.world.reactor.advance(2 * REPORT_SOON)
        (status,) = self.heard[before:]
        assert isinstance(status, Status)
        self.assertEqual((status.taken, status.still_open), (3, 1))

    def test_never_ready(self) -> None:
        """A connection that is no link counts as long as it is open."""
        self.start()
        host = self.world.reactor.host("198.51.100.7")
        endpoint = TCP4ClientEndpoint(host, self.place.address.host, PORT)
        stranger = self.world.reactor.success(connectProtocol(endpoint, Protocol()))
        self.assertEqual(self.status().still_open, 1)
        stranger.transport.loseConnection()
        self.assertEqual((self.status().taken, self.status().still_open), (1, 0))

    def test_reports_go_on(self) -> None:
        """There is one for each second, whether anything happens or not."""
        self.start()
        self.world.reactor.advance(10.0)
        self.assertEqual(len(self.heard), 11)

    def test_report_that_fails(self) -> None:
        """The next ones come all the same: a worker that reports nothing is killed."""
        self.start()
        self.broken = RuntimeError("cannot be sent")
        self.world.reactor.advance(REPORT)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        before = len(self.heard)
        self.world.reactor.advance(3 * REPORT)
        self.assertEqual(len(self.heard) - before, 3)

    def test_connection_that_cannot_be_taken(self) -> None:
        """It counts as taken and closed, and its descriptor is not kept."""
        self.start()
        self.reactor.broken = OSError(107, "Transport endpoint is not connected")
        self.says(Connection(socket.AF_INET))
        self.assert_descriptors_closed()
        self.assertEqual((self.status().taken, self.status().still_open), (1, 0))

    def test_descriptor_that_was_lost(self) -> None:
        """The one after it still gets its own."""
        self.start()
        kept = os.open(os.devnull, os.O_RDONLY)
        self.opened.append(kept)
        self.reactor.broken = OSError(107, "Transport endpoint is not connected")
        self.worker.received(encode(Connection(socket.AF_INET)) * 2, [LOST, kept])
        self.assertEqual(self.reactor.offered, [kept])
        self.assert_descriptors_closed()
        self.assertEqual(self.status().taken, 2)


class StopTests(WorkerTestCase):
    """How a worker ends."""

    def test_told_to(self) -> None:
        """It ends when the supervisor says so."""
        self.start()
        self.says(Stop())
        self.assertEqual(self.stops, 1)

    def test_destroys_circuits(self) -> None:
        """Those who have circuits through it hear of the end, and no report comes any more."""
        self.start()
        self.network()
        traveller = self.world.traveller(self.place).build()
        self.world.reactor.success(self.worker.stop())
        self.world.flush()
        self.assertTrue(traveller.destroyed)
        before = len(self.heard)
        self.world.reactor.advance(10.0)
        self.assertEqual(len(self.heard), before)

    def test_says_so_first(self) -> None:
        """The supervisor hears of it before the last link is closed: what it hands over now is closed at once."""
        self.start()
        self.network()
        self.world.traveller(self.place).build()
        before = len(self.heard)
        stopped = self.worker.stop()
        self.assertNoResult(stopped)
        self.assertEqual(self.heard[before:], [Leaving()])
        self.world.reactor.success(stopped)
        self.assertEqual(self.heard[before:], [Leaving()])

    def test_no_timer_left(self) -> None:
        """A report that was due soon is not made any more."""
        before = len(self.reactor.getDelayedCalls())
        self.start()
        self.network()
        traveller = self.world.traveller(self.place).build()
        assert traveller.link is not None
        traveller.link.close()
        self.world.flush()
        self.world.reactor.success(self.worker.stop())
        self.assertEqual(len(self.reactor.getDelayedCalls()), before)

    def test_before_it_was_set_up(self) -> None:
        """Nothing is there to be closed, but a descriptor that came early."""
        descriptor = os.open(os.devnull, os.O_RDONLY)
        self.opened.append(descriptor)
        self.worker.received(b"", [descriptor])
        self.assertIsNone(self.successResultOf(self.worker.stop()))
        self.assert_descriptors_closed()

    def test_nonsense(self) -> None:
        """It ends if it does not understand its supervisor."""
        self.worker.received(bytes([0, 0, 0, 1, 0xC1]), [])
        self.assertEqual(self.stops, 1)


class ChannelObserverTests(SynchronousTestCase):
    """What a worker logs."""

    def setUp(self) -> None:
        self.sent = b""
        self.full = False
        self.observer = ChannelObserver(self.send, lambda: self.full)

    def send(self, data: bytes) -> None:
        self.sent += data

    def lines(self) -> list[ToSupervisor]:
        """What arrived."""
        return MessageReader[ToSupervisor](ToSupervisor).receive(self.sent)

    def emit(self, level: LogLevel, namespace: str, text: str) -> None:
        """Log something."""
        self.observer({"log_level": level, "log_namespace": namespace, "log_format": "{text}", "text": text})

    def test_ours(self) -> None:
        """Everything of torpydo's from info on goes to the supervisor."""
        self.emit(LogLevel.info, "torpydo.node", "said")
        self.emit(LogLevel.debug, "torpydo.node", "not said")
        self.assertEqual(self.lines(), [LogLine("info", "torpydo.node", "said")])

    def test_others(self) -> None:
        """Of everybody else's only what is wrong."""
        self.emit(LogLevel.info, "twisted.internet", "not said")
        self.emit(LogLevel.warn, "twisted.internet", "said")
        self.assertEqual(self.lines(), [LogLine("warn", "twisted.internet", "said")])

    def test_long(self) -> None:
        """A long text is cut to what a message may have."""
        self.emit(LogLevel.error, "torpydo." + "a" * 1000, "b" * 100_000)
        (line,) = self.lines()
        assert isinstance(line, LogLine)
        self.assertEqual(len(line.text), MAX_LOG_TEXT)

    def test_what_no_message_can_have(self) -> None:
        """What is in the text only because a file has a strange name is replaced."""
        self.emit(LogLevel.error, "torpydo.node", "bad \udcff name")
        self.assertEqual(self.lines(), [LogLine("error", "torpydo.node", "bad ? name")])

    def test_full(self) -> None:
        """Nothing is added while the supervisor does not read."""
        self.full = True
        self.emit(LogLevel.error, "torpydo.node", "said")
        self.assertEqual(self.sent, b"")
