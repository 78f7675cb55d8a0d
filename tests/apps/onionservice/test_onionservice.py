"""Services and their clients in a simulated network, with a store in memory."""

from __future__ import annotations

import random
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from torpydo.apps.onionservice import OnionConnector, OnionService
from torpydo.client import Client, IncomingStream
from torpydo.dht import Item
from torpydo.errors import OnionNameError, ServiceNotFound, ServiceUnreachable
from torpydo.onion import PERIOD, DHSecretKey, OnionName, Secret, SigningKey
from torpydo.testing import LocalNetwork

START = 1_699_960_000


class Said(Protocol):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.data = b""
        self.lost: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason


class Echo(Said):
    """Sends back what comes."""

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        assert self.transport is not None
        self.transport.write(data)


class MemoryStore:
    """A store that forgets nothing and keeps the newest."""

    def __init__(self) -> None:
        self.items: dict[bytes, Item] = {}
        self.puts = self.gets = 0

    def put(self, item: Item) -> Deferred[int]:
        self.puts += 1
        item.check()
        if item.replaces(self.items.get(item.target)):
            self.items[item.target] = item
        return succeed(8)

    def get(self, target: bytes) -> Deferred[Item | None]:
        self.gets += 1
        return succeed(self.items.get(target))


class Services(SynchronousTestCase):
    """One service, and clients that want to reach it."""

    skew = 0.0

    def setUp(self) -> None:
        self.network = LocalNetwork(nodes=8)
        self.addCleanup(self.network.close)
        self.network.start()
        self.store = MemoryStore()
        self.random = random.Random(5)
        self.hosting: Client = self.network.success(self.network.add_client())
        self.incoming: list[IncomingStream] = []
        self.connector = self.connects(self.network.client)

    def wall(self) -> float:
        return START + self.skew + self.network.reactor.seconds()

    def accept(self, stream: IncomingStream) -> None:
        self.incoming.append(stream)
        stream.accept(Echo())

    def service(self, seed: bytes = b"s" * 32, **options: Any) -> OnionService:
        """One that is reachable."""
        made = OnionService(
            self.network.reactor, self.hosting, SigningKey(Secret(seed)), self.store, self.accept,
            rng=self.random.randbytes, randbelow=self.random.randrange, wall_clock=self.wall, **options,
        )  # fmt: skip
        made.start()
        self.addCleanup(made.stop)
        self.network.advance(5)
        return made

    def connects(self, client: Client) -> OnionConnector:
        return OnionConnector(
            self.network.reactor, client, self.store,
            rng=self.random.randbytes, wall_clock=self.wall, shuffle=self.random.shuffle,
        )  # fmt: skip

    def open(self, name: object, isolation: object = None, connector: OnionConnector | None = None) -> Deferred[Any]:
        return (connector or self.connector).open_stream(Factory.forProtocol(Said), str(name), 80, isolation)

    def echoes(self, name: object, **options: Any) -> Said:
        """A stream that works."""
        said: Said = self.network.success(self.open(name, **options))
        assert said.transport is not None
        said.transport.write(b"hello")
        self.network.advance(1)
        self.assertEqual(said.data, b"hello")
        return said


class ReachingTests(Services):
    """From the name to the stream."""

    def test_a_stream(self) -> None:
        """By its name alone; the next ones use the same circuit, those of others another one."""
        service = self.service()
        self.assertEqual((len(service.introduction_points), service.is_reachable), (3, True))
        self.echoes(service.name)
        self.echoes(f"www.{service.name}".upper())
        self.assertEqual(len(service._circuits), 1)
        self.echoes(service.name, isolation="other")
        self.assertEqual(len(service._circuits), 2)
        self.assertEqual([one.port for one in self.incoming], [80, 80, 80])

    def test_many_at_once(self) -> None:
        """All who want it wait for one circuit."""
        service = self.service()
        opening = [self.open(service.name) for _ in range(20)]
        self.network.advance(5)
        for one in opening:
            self.successResultOf(one)
        self.assertEqual(len(service._circuits), 1)

    def test_no_such_service(self) -> None:
        """A name that nobody has, and one that is none."""
        other = OnionName.of(SigningKey(Secret(b"o" * 32)))
        self.failureResultOf(self.open(other), ServiceNotFound)
        self.failureResultOf(self.open("short.torpydo"), OnionNameError)

    def test_clients_with_keys(self) -> None:
        """Who has a key comes in; who has none hears the same as of a service that is not there."""
        key = DHSecretKey(Secret(b"c" * 32))
        service = self.service(clients=[key.public])
        self.failureResultOf(self.open(service.name), ServiceNotFound)
        self.connector.client_keys[service.name] = key
        self.echoes(service.name)

    def test_a_day_later(self) -> None:
        """Descriptors are signed with the keys of several days around midnight; clients with other clocks find them."""
        self.skew = PERIOD - (START % PERIOD) - 3600.0
        service = self.service()
        self.assertEqual(len(self.store.items), 2)
        # Two hours later: another day for the client, and the service has stored again meanwhile.
        self.skew += 2 * 3600.0
        service._publish()
        self.network.advance(1)
        self.echoes(service.name)
        self.assertEqual(len(self.store.items), 2)
        # A client whose clock is a day behind or ahead of the service's.
        for hours in (-24, 24):
            later = self.connects(self.network.client)
            later._wall_clock = lambda hours=hours: self.wall() + 3600 * hours
            self.echoes(service.name, isolation=hours, connector=later)

    def test_stored_again(self) -> None:
        """Once an hour, and a second after each change, however many there are at once."""
        service = self.service()
        self.assertEqual(self.store.puts, 1)
        sequences = [item.sequence for item in self.store.items.values()]
        service._publish()
        self.assertEqual(self.store.puts, 2)
        self.assertGreater([item.sequence for item in self.store.items.values()], sequences)


class LossTests(Services):
    """What breaks."""

    def test_the_service_starts_again(self) -> None:
        """With the same key it has the same name, and clients that know the old descriptor find the new one."""
        first = self.service()
        self.echoes(first.name)
        first.stop()
        self.network.advance(1)
        second = self.service()
        self.assertEqual(second.name, first.name)
        self.echoes(second.name)

    def test_the_service_has_gone(self) -> None:
        """The client is told after it has tried every point."""
        service = self.service()
        service.stop()
        self.network.advance(1)
        opening = self.open(service.name)
        self.network.advance(60)
        self.failureResultOf(opening, ServiceUnreachable)

    def test_an_introduction_point_is_killed(self) -> None:
        """Another one takes its place, and the next connection works at once."""
        service = self.service()
        node_id = service._points[0].conversation.node_id
        self.network.kill(next(node for node in self.network.nodes if node.node_id == node_id))
        self.echoes(service.name)
        self.network.advance(30)
        self.assertEqual(len(service.introduction_points), 3)
        self.assertNotIn(node_id, [point.conversation.node_id for point in service._points])

    def test_the_rendezvous_node_is_killed(self) -> None:
        """The streams are torn, and the next one takes another node."""
        service = self.service()
        said = self.echoes(service.name)
        (circuit,) = self.connector._joined.values()
        node_id = circuit.path[-1].node_id
        self.network.kill(next(node for node in self.network.nodes if node.node_id == node_id))
        self.network.advance(2)
        assert said.lost is not None
        self.echoes(service.name)

    def test_a_replay(self) -> None:
        """An introduction that comes twice is met once (SECURITY O4)."""
        service = self.service()
        seen: list[bytes] = []
        point = service._points[0]
        original = point.conversation._introduced
        assert original is not None
        for one in service._points:
            take = one.conversation._introduced
            one.conversation._introduced = lambda message, take=take: (seen.append(message), take(message))
        self.echoes(service.name)
        before = len(service._circuits)
        for one in service._points:
            service._introduced(one, seen[0])
        self.network.advance(5)
        self.assertEqual(len(service._circuits), before)

    def test_stop_leaves_nothing(self) -> None:
        """No timer, no circuit."""
        service = self.service()
        self.echoes(service.name)
        service.stop()
        self.network.advance(2)
        self.assertEqual((len(service.introduction_points), len(service._circuits)), (0, 0))
