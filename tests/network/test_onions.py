"""Onion services as a program uses them: a client hosts, another one connects, through real nodes and the DHT."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.network.base import Echo, NetworkTestCase, router_of
from tests.testing.recorders import HalfRecorder, Recorder, Servers
from torpydo.apps.onionservice import HostedService, OnionAddress, OnionService, PointLife, ServiceLimits
from torpydo.apps.onionservice.joined import IDLE, LOOK
from torpydo.apps.onionservice.publishing import SOON
from torpydo.client import Circuit, Client
from torpydo.directory import Descriptor
from torpydo.errors import (
    CircuitError,
    ConfigurationError,
    ConnectRefused,
    NoExit,
    OnionNameError,
    ResolveFailed,
    ServiceNotFound,
    ServiceUnreachable,
    StateError,
    TorpydoError,
)
from torpydo.net import open_key_file
from torpydo.node.exits import ExitStreams
from torpydo.onion import DHSecretKey, OnionName, Secret, SigningKey
from torpydo.testing import Conditions, LocalNetwork
from torpydo.testing.members import NodeMember
from torpydo.tpdp import ResolveRequested, StreamRequested

KEY = SigningKey(Secret(b"k" * 32))
OTHER = SigningKey(Secret(b"l" * 32))
CLIENT = DHSecretKey(Secret(b"c" * 32))
LOCAL = 8000
"""Where a local program listens."""


@implementer(IStreamClientEndpoint)
class Silent:
    """A local program that never answers."""

    asked = cancelled = 0

    def connect(self, factory: object) -> Deferred[Any]:
        """Like an endpoint's."""
        self.asked += 1
        return Deferred(self._cancel)

    def _cancel(self, ignored: object) -> None:
        self.cancelled += 1


class OnionTestCase(NetworkTestCase):
    """One client is the host, another the visitor."""

    nodes = 6
    exits: int | None = None
    """All of them are."""

    def setUp(self) -> None:
        super().setUp()
        self.names: list[str] = []
        self.start(nodes=self.nodes, exits=self.exits, dht=True)
        self.network.advance(10)
        self.watch_exits()
        self.host = self.network.client
        self.visitor: Client = self.network.success(self.network.add_client())

    def watch_exits(self) -> None:
        """Write down whatever host any node is asked for."""
        names, receive = self.names, ExitStreams.receive

        def watch(streams: ExitStreams, events: Any) -> None:
            events = list(events)
            names.extend(one.host for one in events if isinstance(one, StreamRequested | ResolveRequested))
            receive(streams, events)

        self.patch(ExitStreams, "receive", watch)

    def finish(self, network: LocalNetwork) -> None:
        """No exit was ever asked for the name of a service."""
        super().finish(network)
        self.assertEqual([name for name in self.names if "torpydo" in name.lower()], [])

    def create(self, *ports: object, key: SigningKey | None = KEY, **options: Any) -> HostedService:
        """A service of the host that can be found."""
        made: HostedService = self.network.success(self.host.create_onion_service(ports, private_key=key, **options))
        return made

    def opening(
        self, name: str, port: int = 80, client: Client | None = None, kind: type[Recorder] = Recorder, **options: Any
    ) -> Deferred[Any]:
        """A stream to a service that is being opened."""
        return connectProtocol((client or self.visitor).endpoint(name, port, **options), kind())

    def visit(self, name: str, port: int = 80, **options: Any) -> Any:
        """One that is open."""
        return self.network.success(self.opening(name, port, **options))

    def refused(self, error: type[TorpydoError], name: str, port: int = 80, **options: Any) -> TorpydoError:
        """One that cannot be opened, with an error of both families."""
        failed = self.assertRaises(error, self.visit, name, port, **options)
        self.assertIsInstance(failed, ConnectError)
        assert isinstance(failed, TorpydoError)
        return failed

    def echoes(self, name: str, port: int = 80, **options: Any) -> Recorder:
        """A stream on which what is said comes back."""
        visitor: Recorder = self.visit(name, port, **options)
        visitor.tcp.write(b"hello")
        self.network.advance(1)
        self.assertEqual(bytes(visitor.data), b"hello")
        return visitor

    def running(self, service: HostedService) -> OnionService:
        """What is behind it."""
        assert service._service is not None
        return service._service

    def joined(self, service: HostedService) -> int:
        """Circuits on which visitors have come."""
        return self.running(service).circuits

    def circuits(self) -> list[Circuit]:
        """Those that the visitor would use again."""
        return list(self.visitor.onions._connector._joined._open.values())

    def node(self, node_id: object) -> NodeMember:
        """The process of a node."""
        return next(node for node in self.network.nodes if node.node_id == node_id)


class CreateTests(OnionTestCase):
    """``Client.create_onion_service`` and ``host_onion_service``."""

    def test_a_factory(self) -> None:
        """What the visitor says comes to the factory's protocol, and its answer back."""
        service = self.create((80, Factory.forProtocol(Echo)))
        self.assertEqual((service.ports, service.is_reachable, len(service.introduction_points)), ((80,), True, 3))
        self.assertEqual(service.name, str(OnionName.of(KEY)))
        self.echoes(service.name)

    def test_all_spellings(self) -> None:
        """Case, a final dot, and names of the application before it are no other service."""
        service = self.create((80, Factory.forProtocol(Echo)))
        for name in (service.name.upper(), f"{service.name}.", f"www.{service.name}", f"a.B.{service.name}"):
            self.echoes(name)
        self.assertEqual(self.joined(service), 1)

    def test_what_the_protocols_see(self) -> None:
        """There is no address of anybody on either side."""
        servers = Servers()
        service = self.create((80, servers))
        visitor = self.visit(service.name)
        for transport in (visitor.transport, servers.built[0].tcp):
            for address in (transport.getPeer(), transport.getHost()):
                self.assertNotIn("10.0.", str(address))

    def test_several_ports(self) -> None:
        """They are one service with one name."""
        service = self.create((80, Factory.forProtocol(Echo)), (81, Factory.forProtocol(Recorder)))
        self.echoes(service.name)
        silent = self.visit(service.name, 81)
        silent.tcp.write(b"hello")
        self.network.advance(1)
        self.assertEqual((bytes(silent.data), silent.lost), (b"", []))
        self.assertEqual((service.ports, self.joined(service)), ((80, 81), 1))

    def test_an_unknown_port(self) -> None:
        """The visitor is told that nobody listens there, and the service serves on."""
        service = self.create((80, Factory.forProtocol(Echo)))
        error = self.refused(ConnectRefused, service.name, 81)
        # Not the node where the two have met.
        self.assertTrue(str(error).startswith("the onion service has nobody at port 81"), error)
        self.assertIsInstance(error, ConnectionRefusedError)
        # It was the service that refused it, and no node.
        self.assertIn("the onion service has nobody at port 81", str(error))
        self.assertNotIn("node", str(error))
        self.echoes(service.name)
        self.assertEqual(self.joined(service), 1)

    def test_a_factory_that_does_not_want(self) -> None:
        """As a closed port."""

        class Picky(Factory[Protocol]):
            noisy = False

            def buildProtocol(self, addr: object) -> None:
                return None

        service = self.create((80, Picky()))
        self.refused(ConnectRefused, service.name)

    def test_a_factory_that_breaks(self) -> None:
        """A fault of a program costs the stream that met it: not the circuit, and not the link to the guard."""

        class Broken(Factory[Protocol]):
            noisy = False

            def buildProtocol(self, addr: object) -> Protocol:
                raise ZeroDivisionError

        @implementer(IStreamClientEndpoint)
        class BrokenEndpoint:
            def connect(self, factory: object) -> Deferred[Any]:
                raise ZeroDivisionError

        service = self.create((80, Factory.forProtocol(Echo)), (81, Broken()), (82, BrokenEndpoint()))
        open_before = self.echoes(service.name)
        for port in (81, 82):
            self.refused(ConnectRefused, service.name, port)
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        open_before.tcp.write(b" again")
        self.network.advance(1)
        self.assertEqual((bytes(open_before.data), open_before.lost), (b"hello again", []))
        self.assertEqual(self.joined(service), 1)

    def test_a_new_key(self) -> None:
        """Without one each service is another; the result has it, and with it the service is the same again."""
        first = self.create((80, Factory.forProtocol(Echo)), key=None)
        second = self.create((80, Factory.forProtocol(Echo)), key=None)
        self.assertNotEqual(first.name, second.name)
        self.echoes(first.name)
        self.echoes(second.name)
        name, key = first.name, first.private_key
        first.remove()
        self.assertEqual(self.create((80, Factory.forProtocol(Echo)), key=key).name, name)
        self.echoes(name)

    def test_a_key_file(self) -> None:
        """It is made, and the service has the same name again."""
        directory = tempfile.mkdtemp(prefix="torpydo-test-")
        self.addCleanup(shutil.rmtree, directory)
        path = os.path.join(directory, "key")
        service = self.create((80, Factory.forProtocol(Echo)), key=None, key_file=path)
        self.assertEqual(service.name, str(OnionName.of(open_key_file(path, os.urandom))))
        service.remove()
        self.assertEqual(self.create((80, Factory.forProtocol(Echo)), key=None, key_file=path).name, service.name)

    def test_progress(self) -> None:
        """It rises to a hundred, and names the service at the end."""
        said: list[tuple[int, str, str]] = []
        service = self.create((80, Factory.forProtocol(Echo)), progress=lambda *words: said.append(words))
        self.assertEqual([percent for percent, _, _ in said], sorted(percent for percent, _, _ in said))
        self.assertEqual((said[-1][0], service.name in said[-1][2]), (100, True))
        # Nothing more is said of a service that is gone.
        count = len(said)
        self.running(service)._publisher.soon()
        self.network.advance(SOON)
        service.remove()
        self.network.advance(15)
        self.assertEqual(len(said), count)

    def test_progress_that_cannot_be_said(self) -> None:
        """A pipe that nobody reads any more, say: it is logged, and the service finds new introduction points."""

        def progress(*words: object) -> None:
            raise BrokenPipeError

        service = self.create((80, Factory.forProtocol(Echo)), progress=progress)
        for node_id in {*service.introduction_points}:
            self.network.restart(self.node(node_id))
        self.network.settle()
        self.network.advance(60)
        self.assertEqual((len(service.introduction_points), service.is_reachable), (3, True))
        self.assertGreater(len(self.flushLoggedErrors(BrokenPipeError)), 2)

    def test_wrong(self) -> None:
        """Typed errors, and nothing runs because of them."""
        factory = Factory.forProtocol(Echo)
        for ports, options in (
            ((), {}),
            (("http",), {}),
            (((0, factory),), {}),
            (((65536, factory),), {}),
            (((80, factory), (80, factory)), {}),
            (("80", "80:8001"), {}),
            (("80",), {"key_file": "/no/such", "private_key": KEY}),
        ):
            self.failureResultOf(self.host.create_onion_service(ports, **options), ConfigurationError)
            self.assertRaises(ConfigurationError, self.host.host_onion_service, ports, **options)
        self.failureResultOf(self.host.create_onion_service(["80"], key_file="/no/such/directory/key"), StateError)
        self.assertEqual(self.host.onions._services, {})

    def test_limits(self) -> None:
        """They are the service's, however it is made; those that cannot be are refused before anything runs."""
        limits = ServiceLimits(idle=20.0, waiting=7)
        service = self.create((80, Factory.forProtocol(Echo)), limits=limits)
        self.assertEqual(self.running(service)._queue.most, 7)
        self.echoes(service.name).tcp.loseConnection()
        self.network.advance(15)
        self.assertEqual(self.joined(service), 1)
        self.network.advance(30)
        self.assertEqual(self.joined(service), 0)
        endpoint = self.host.onion_endpoint(80, private_key=OTHER, limits=limits)
        self.network.success(endpoint.listen(Factory.forProtocol(Echo)))
        other = self.host.onions._services[bytes(OTHER.public)]
        self.assertEqual(self.running(other)._queue.most, 7)
        unlimited = self.create((80, Factory.forProtocol(Echo)), key=None)
        self.assertEqual(self.running(unlimited)._queue.most, ServiceLimits().waiting)
        wrong: list[dict[str, Any]] = [
            {"waiting": 0},
            {"per_second": 0.0},
            {"per_second": math.inf},
            {"circuits": -1},
            {"idle": 0.0},
            {"idle": math.nan},
            {"life": PointLife((2, 1))},
            {"life": PointLife(introductions=(0, 5))},
        ]
        for values in wrong:
            self.assertRaises(ConfigurationError, ServiceLimits, **values)

    def test_one_key_twice(self) -> None:
        """One client runs no two services with one key; the first goes on."""
        service = self.create((80, Factory.forProtocol(Echo)))
        twice = self.host.create_onion_service([(81, Factory.forProtocol(Echo))], private_key=KEY)
        self.failureResultOf(twice, ConfigurationError)
        self.echoes(service.name)

    def test_cancel(self) -> None:
        """Before it is reachable: nothing is left of it, and the key is free."""
        creating = self.host.create_onion_service([(80, Factory.forProtocol(Echo))], private_key=KEY)
        creating.cancel()
        self.failureResultOf(creating, CancelledError)
        self.assertEqual(self.host.onions._services, {})
        self.network.advance(15)
        self.create((80, Factory.forProtocol(Echo)))


class RemoveTests(OnionTestCase):
    """Services that end."""

    def test_remove(self) -> None:
        """Streams are torn, nothing is left at any node, and visitors hear that it does not answer."""
        servers = Servers()
        service = self.create((80, servers))
        visitor = self.visit(service.name)
        service.remove()
        self.network.advance(1)
        self.assertEqual((len(visitor.lost), len(servers.built[0].lost)), (1, 1))
        self.assertNotEqual((visitor.lost, servers.built[0].lost), ([ConnectionDone], [ConnectionDone]))
        self.assertEqual((service.is_reachable, service.introduction_points), (False, ()))
        self.network.advance(15)
        self.assertEqual(self.introduced(), 0)
        self.refused(ServiceUnreachable, service.name)
        service.remove()
        self.failureResultOf(service.when_reachable(), CircuitError)

    def introduced(self) -> int:
        """Services that any node would introduce to."""
        return sum(router_of(node)._onions.introduction_points for node in self.network.nodes)

    def test_the_host_is_closed(self) -> None:
        """As if each service were removed; later ones are refused."""
        service = self.create((80, Factory.forProtocol(Echo)))
        visitor = self.visit(service.name)
        self.network.success(self.host.close())
        self.network.advance(1)
        self.assertEqual(len(visitor.lost), 1)
        self.assertEqual(self.introduced(), 0)
        later = self.host.create_onion_service([(80, Factory.forProtocol(Echo))], private_key=KEY)
        self.failureResultOf(later, ConfigurationError)
        self.refused(ServiceUnreachable, service.name)

    def test_closed_before_it_is_reachable(self) -> None:
        """Who waits is told."""
        creating = self.host.create_onion_service([(80, Factory.forProtocol(Echo))], private_key=KEY)
        self.network.success(self.host.close())
        self.failureResultOf(creating, CircuitError)

    def test_it_starts_again(self) -> None:
        """With the same key it is found again within 30 seconds, by those who knew it and those who did not."""
        service = self.create((80, Factory.forProtocol(Echo)))
        self.echoes(service.name)
        service.remove()
        started = self.network.reactor.seconds()
        self.create((80, Factory.forProtocol(Echo)))
        self.echoes(service.name)
        stranger = self.network.success(self.network.add_client())
        self.echoes(service.name, client=stranger)
        self.assertLess(self.network.reactor.seconds() - started, 30)

    def test_it_starts_again_with_another_clock(self) -> None:
        """Set back by an hour: all holders have a newer descriptor, and the service comes after it."""
        service = self.create((80, Factory.forProtocol(Echo)))
        self.echoes(service.name)
        service.remove()
        onions, world = self.host.onions, self.host.onions._world
        onions._world = attrs.evolve(world, wall_clock=lambda: world.wall_clock() - 3600)
        started = self.network.reactor.seconds()
        self.create((80, Factory.forProtocol(Echo)))
        stranger = self.network.success(self.network.add_client())
        self.echoes(service.name, client=stranger)
        self.assertLess(self.network.reactor.seconds() - started, 30)

    def test_another_process(self) -> None:
        """The host was killed, and its key runs elsewhere."""
        service = self.create((80, Factory.forProtocol(Echo)))
        self.echoes(service.name)
        self.network.kill(self.network.clients[0])
        self.network.advance(1)
        self.host = self.network.success(self.network.add_client())
        started = self.network.reactor.seconds()
        again = self.create((80, Factory.forProtocol(Echo)))
        self.assertEqual(again.name, service.name)
        self.echoes(service.name)
        self.assertLess(self.network.reactor.seconds() - started, 30)


class EndpointTests(OnionTestCase):
    """``Client.onion_endpoint``."""

    def listen(self, port: int, key: SigningKey | None = KEY, factory: Factory[Any] | None = None) -> Any:
        """A port that listens."""
        endpoint = self.host.onion_endpoint(port, private_key=key)
        return self.network.success(endpoint.listen(factory or Factory.forProtocol(Echo)))

    def test_listen(self) -> None:
        """It fires when the service can be reached, and knows its name."""
        port = self.listen(80)
        where = port.getHost()
        self.assertEqual(where, OnionAddress(str(OnionName.of(KEY)), 80))
        self.echoes(where.host)

    def test_one_key_is_one_service(self) -> None:
        """It ends with the last of its ports."""
        first, second = self.listen(80), self.listen(81)
        name = first.getHost().host
        self.assertEqual(len(self.host.onions._services), 1)
        self.echoes(name, 80)
        visitor = self.echoes(name, 81)
        self.network.success(first.stopListening())
        self.refused(ConnectRefused, name, 80)
        self.assertEqual(visitor.lost, [])
        self.network.success(second.stopListening())
        self.network.advance(1)
        self.assertEqual((len(visitor.lost), self.host.onions._services), (1, {}))
        self.refused(ServiceUnreachable, name, 81)

    def test_new_keys(self) -> None:
        """Without a key each endpoint is a service of its own."""
        first, second = self.listen(80, None), self.listen(80, None)
        self.assertNotEqual(first.getHost().host, second.getHost().host)

    def test_a_taken_port(self) -> None:
        """The second is told, and the first one goes on."""
        factory = Factory.forProtocol(Echo)
        first = self.listen(80)
        failure = self.failureResultOf(
            self.host.onion_endpoint(80, private_key=KEY).listen(factory), ConfigurationError
        )
        self.assertIn("port 80", str(failure.value))
        self.assertEqual(factory.numPorts, 0)
        self.echoes(first.getHost().host)

    def test_no_port(self) -> None:
        """No service runs because somebody wanted a port that is none."""
        for port in (0, 65536, -1):
            self.failureResultOf(
                self.host.onion_endpoint(port, private_key=KEY).listen(Factory.forProtocol(Echo)), ConfigurationError
            )
            self.assertEqual(self.host.onions._services, {})

    def test_wrong_keys(self) -> None:
        """Both, and a file that cannot be."""
        factory = Factory.forProtocol(Echo)
        both = self.host.onion_endpoint(80, private_key=KEY, key_file="/no/such")
        self.failureResultOf(both.listen(factory), ConfigurationError)
        nowhere = self.host.onion_endpoint(80, key_file="/no/such/directory/key")
        self.failureResultOf(nowhere.listen(factory), StateError)

    def test_doors(self) -> None:
        """The factory hears of its start and its stop, once each."""
        factory = Factory.forProtocol(Echo)
        port = self.listen(80, factory=factory)
        self.assertEqual(factory.numPorts, 1)
        for _ in range(2):
            self.network.success(port.stopListening())
        self.assertEqual(factory.numPorts, 0)

    def test_listen_again(self) -> None:
        """The port is free when it was stopped."""
        self.network.success(self.listen(80).stopListening())
        self.echoes(self.listen(80).getHost().host)

    def test_cancel(self) -> None:
        """Before the service is reachable; another port of it is not touched."""
        factory = Factory.forProtocol(Echo)
        cancelled = self.host.onion_endpoint(80, private_key=KEY).listen(factory)
        staying = self.host.onion_endpoint(81, private_key=KEY).listen(Factory.forProtocol(Echo))
        cancelled.cancel()
        self.failureResultOf(cancelled, CancelledError)
        self.assertEqual(factory.numPorts, 0)
        port: Any = self.network.success(staying)
        self.refused(ConnectRefused, port.getHost().host, 80)
        self.echoes(port.getHost().host, 81)

    def test_beside_a_service(self) -> None:
        """An endpoint with the key of a service that was created is one more port of it."""
        service = self.create((80, Factory.forProtocol(Echo)))
        self.listen(81)
        self.assertEqual(service.ports, (80, 81))
        self.echoes(service.name, 81)


class ForwardTests(OnionTestCase):
    """Streams that become connections to a local program."""

    def program(self, factory: Factory[Any] | None = None, port: int = LOCAL) -> Any:
        """A program on loopback, where the host's guard lets it connect to."""
        self.network.clients[0].guards[0].allow("127.0.0.1", port)
        factory = factory or Factory.forProtocol(Echo)
        listening = self.network.reactor.listenTCP(port, factory, interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        return listening

    def test_a_local_program(self) -> None:
        """It has the streams of the port, each a connection of its own."""
        servers = Servers()
        self.program(servers)
        service = self.create(f"80:127.0.0.1:{LOCAL}")
        first, second = self.visit(service.name), self.visit(service.name)
        first.tcp.write(b"one")
        second.tcp.write(b"two")
        self.network.advance(1)
        self.assertEqual(sorted(bytes(one.data) for one in servers.built), [b"one", b"two"])

    def test_short_forms(self) -> None:
        """The same port, and another one, of this machine."""
        self.program()
        self.program(port=8080)
        service = self.create(f"80:{LOCAL}", "8080")
        self.echoes(service.name, 80)
        self.echoes(service.name, 8080)

    def test_an_endpoint(self) -> None:
        """Any that a program can make."""
        self.program()
        reactor = self.network.clients[0].guards[0].reactor
        service = self.create((80, TCP4ClientEndpoint(reactor, "127.0.0.1", LOCAL)))
        self.echoes(service.name)

    def test_first_data(self) -> None:
        """What goes along with the question for the stream is not lost while the local connection is opened."""
        self.program()
        service = self.create(f"80:{LOCAL}")
        visitor = self.visit(service.name, first_data=b"early")
        visitor.tcp.write(b" late")
        self.network.advance(1)
        self.assertEqual(bytes(visitor.data), b"early late")

    def test_nobody_listens(self) -> None:
        """The visitor is told so; when the program runs the next stream works."""
        self.network.clients[0].guards[0].allow("127.0.0.1", LOCAL)
        service = self.create(f"80:{LOCAL}")
        self.refused(ConnectRefused, service.name)
        self.program()
        self.echoes(service.name)

    def test_megabytes_both_ways(self) -> None:
        """Whole, in order, and with a half-close at each end."""
        servers = Servers(HalfRecorder)
        self.program(servers)
        service = self.create(f"80:{LOCAL}")
        visitor = self.visit(service.name, kind=HalfRecorder)
        self.network.advance(1)
        there, back = os.urandom(1 << 20) * 3, os.urandom(1 << 20) * 3
        visitor.tcp.write(there)
        visitor.tcp.loseWriteConnection()
        program = servers.built[0]
        program.tcp.write(back)
        self.network.advance(5)
        self.assertTrue(bytes(program.data) == there)
        assert isinstance(program, HalfRecorder)
        self.assertEqual((program.ends, program.lost, visitor.lost), (["read"], [], []))
        # The other direction is still open.
        program.tcp.write(b"end")
        program.tcp.loseConnection()
        self.network.advance(5)
        self.assertTrue(bytes(visitor.data) == back + b"end")
        self.assertEqual((program.lost, visitor.lost), ([ConnectionDone], [ConnectionDone]))

    def test_a_slow_program(self) -> None:
        """One that does not read holds the visitor, and nothing piles up at the host."""
        servers = Servers()
        self.program(servers)
        service = self.create(f"80:{LOCAL}")
        visitor = self.visit(service.name)
        self.network.advance(1)
        servers.built[0].tcp.pauseProducing()
        data = bytes(8 << 20)
        visitor.tcp.write(data)
        self.network.advance(5)
        self.assertLess(self.host.status().queued, 1 << 20)
        servers.built[0].tcp.resumeProducing()
        self.network.advance(20)
        self.assertEqual(len(servers.built[0].data), len(data))

    def test_a_torn_connection(self) -> None:
        """What is torn on one side is torn on the other, and no clean end on either."""
        servers = Servers()
        self.program(servers)
        service = self.create(f"80:{LOCAL}")
        for near in (True, False):
            visitor = self.visit(service.name)
            self.network.advance(1)
            program = servers.built[-1]
            (program if near else visitor).tcp.abortConnection()
            self.network.advance(1)
            other = visitor if near else program
            self.assertEqual(len(other.lost), 1)
            self.assertFalse(issubclass(other.lost[0], ConnectionDone), other.lost)

    def test_a_torn_circuit(self) -> None:
        """The rendezvous is killed: the program sees a torn connection, not the end of a file."""
        servers = Servers()
        self.program(servers)
        service = self.create(f"80:{LOCAL}")
        visitor = self.visit(service.name)
        self.network.advance(1)
        (circuit,) = self.circuits()
        self.network.kill(self.node(circuit.path[-1].node_id))
        self.network.advance(2)
        self.assertEqual(len(servers.built[0].lost), 1)
        self.assertFalse(issubclass(servers.built[0].lost[0], ConnectionDone))
        self.assertFalse(issubclass(visitor.lost[0], ConnectionDone))

    def test_the_visitor_gives_up(self) -> None:
        """While the local program does not answer: the host gives up, too."""
        silent = Silent()
        service = self.create((80, silent), (81, Factory.forProtocol(Echo)))
        self.echoes(service.name, 81)
        opening = self.opening(service.name)
        self.network.advance(1)
        self.assertNoResult(opening)
        self.assertEqual((silent.asked, silent.cancelled), (1, 0))
        opening.cancel()
        self.failureResultOf(opening, ConnectingCancelledError)
        self.network.advance(1)
        self.assertEqual((silent.asked, silent.cancelled), (1, 1))
        (circuit,) = self.running(service)._meetings.circuits
        # That of the echo.
        self.assertEqual(circuit.streams, 1)
        self.echoes(service.name, 81)

    def test_what_waits_for_a_silent_program_is_counted(self) -> None:
        """What visitors send along with their questions is memory of the host (SECURITY F6)."""
        service = self.create((80, Silent()), (81, Factory.forProtocol(Echo)))
        self.echoes(service.name, 81)
        self.network.advance(5)
        opening = [self.opening(service.name, first_data=bytes(300))]
        self.network.advance(3)
        self.assertEqual(self.host.status().queued, 300)
        opening += [self.opening(service.name, first_data=bytes(30_000)) for _ in range(20)]
        self.network.advance(3)
        self.assertGreater(self.host.status().queued, 20 * 15_000)
        for one in opening:
            one.cancel()
            self.failureResultOf(one)
        self.network.advance(3)
        self.assertEqual(self.host.status().queued, 0)

    def test_connected_although_it_was_given_up(self) -> None:
        """An endpoint that cannot be cancelled: the connection is of no use to anybody, and is torn."""

        @implementer(IStreamClientEndpoint)
        class Stubborn:
            def connect(self, factory: Any) -> Deferred[Any]:
                self.factory = factory
                return Deferred()

        stubborn = Stubborn()
        service = self.create((80, stubborn))
        opening = self.opening(service.name)
        self.network.advance(1)
        opening.cancel()
        self.failureResultOf(opening, ConnectingCancelledError)
        self.network.advance(1)
        transport = StringTransport()
        stubborn.factory.buildProtocol(None).makeConnection(transport)
        self.assertTrue(transport.disconnecting or transport.disconnected)

    def test_removed_while_it_connects(self) -> None:
        """Nobody waits any more."""
        silent = Silent()
        service = self.create((80, silent))
        opening = self.opening(service.name)
        self.network.advance(1)
        service.remove()
        self.network.advance(10)
        self.failureResultOf(opening, TorpydoError)
        self.assertEqual((silent.asked, silent.cancelled), (1, 1))


class WithoutExitsTests(OnionTestCase):
    """No node is an exit, as it is if no operator gives an exit policy."""

    exits = 0

    def test_a_service(self) -> None:
        """It is found and reached as everywhere."""
        service = self.create((80, Factory.forProtocol(Echo)))
        self.echoes(service.name)
        self.refused(NoExit, "203.0.113.9")


class AuthorisationTests(OnionTestCase):
    """Services for those who have a key (SECURITY O7)."""

    def test_with_and_without(self) -> None:
        """Without the key, or with a wrong one, it is as if there were no such service; with it one comes in."""
        service = self.create((80, Factory.forProtocol(Echo)), clients=[CLIENT.public])
        missing = self.refused(ServiceNotFound, str(OnionName.of(OTHER)))
        without = self.refused(ServiceNotFound, service.name)
        self.assertEqual((type(without), str(without)), (type(missing), str(missing)))
        self.visitor.onions.authorise(service.name, DHSecretKey(Secret(b"w" * 32)))
        wrong = self.refused(ServiceNotFound, service.name)
        self.assertEqual((type(wrong), str(wrong)), (type(missing), str(missing)))
        self.visitor.onions.authorise(service.name, CLIENT)
        self.echoes(service.name)
        # Another client has no use of that.
        self.refused(ServiceNotFound, service.name, client=self.host)

    def test_no_name(self) -> None:
        """A key for what is no name."""
        self.assertRaises(OnionNameError, self.visitor.onions.authorise, "short.torpydo", CLIENT)


class ClosedTests(OnionTestCase):
    """A client that was closed, and one that is not ready yet."""

    def told(self, opening: Deferred[Any]) -> None:
        """It ends at once with what has happened and what to do."""
        failed = self.failureResultOf(opening, CircuitError).value
        self.assertIsInstance(failed, ConnectError)
        self.assertIn("closed", str(failed))
        self.assertIn("make another one", str(failed))

    def test_a_visit(self) -> None:
        """It is no matter of the service, whether it is known or was ever asked for."""
        service = self.create((80, Factory.forProtocol(Echo)))
        self.echoes(service.name)
        self.network.success(self.visitor.close())
        self.told(self.opening(service.name))
        self.told(self.opening(str(OnionName.of(OTHER))))

    def test_a_first_visit(self) -> None:
        """A client that was closed before it knew of any service has nothing left that runs."""
        self.network.success(self.visitor.close())
        self.told(self.opening(str(OnionName.of(OTHER))))
        later = self.visitor.create_onion_service([(80, Factory.forProtocol(Echo))], private_key=OTHER)
        self.failureResultOf(later, ConfigurationError)
        looking = self.visitor.onions.dht.get(bytes(32))
        self.assertIn("closed", str(self.failureResultOf(looking, CircuitError).value))
        self.assertEqual(list(self.network.clients[1].reactor.getDelayedCalls()), [])

    def test_at_any_moment(self) -> None:
        """Whatever is under way for the visitor, it ends with that and leaves no timer."""
        service = self.create((80, Factory.forProtocol(Echo)), (81, Silent()))
        self.running(service)._demand.effort = 1 << 14
        self.running(service)._publisher.soon()
        self.network.advance(5)
        self.network.internet.ways.set(Conditions(latency=0.02))
        for step in range(12):
            member = len(self.network.clients)
            visitor: Client = self.network.success(self.network.add_client())
            opening = self.opening(service.name, 81, client=visitor)
            looking = visitor.onions.dht.get(bytes([step]) * 32)
            self.network.advance(0.04 * step * step)
            self.assertNoResult(opening)
            closing = visitor.close()
            self.told(opening)
            if not looking.called or isinstance(looking.result, Failure):
                self.failureResultOf(looking, CircuitError)
            self.network.success(closing)
            self.assertEqual(list(self.network.clients[member].reactor.getDelayedCalls()), [], step)
        self.assertGreater(self.joined(service), 0)

    def test_after_a_new_identity(self) -> None:
        """Whoever waits for a circuit that nobody else is to have is told as well."""
        service = self.create((80, Factory.forProtocol(Echo)))
        opening = self.opening(service.name)
        self.visitor.new_identity()
        closing = self.visitor.close()
        self.told(opening)
        self.network.success(closing)

    def test_before_it_is_ready(self) -> None:
        """A visit waits, as every other stream does, until the client knows any node."""
        service = self.create((80, Factory.forProtocol(Echo)))
        made: list[Client] = []
        start = Client.start

        def note(*arguments: Any, **options: Any) -> Client:
            made.append(start(*arguments, **options))
            return made[0]

        self.patch(Client, "start", note)
        starting = self.network.add_client()
        self.assertNoResult(starting)
        self.echoes(service.name, client=made[0])
        self.successResultOf(starting)

    def test_nobody_answers(self) -> None:
        """That none of the nodes answers who would know says nothing of the service."""
        self.network.partition(self.network.clients[1])
        self.refused(ServiceUnreachable, str(OnionName.of(OTHER)))


class IsolationTests(OnionTestCase):
    """Who shares a joined circuit with whom."""

    def test_keys(self) -> None:
        """Different keys never do, the same do; a service cannot tell two keys of one client from two clients."""
        service = self.create((80, Factory.forProtocol(Echo)))
        for isolation in ("one", "two", "one", None, "two"):
            self.echoes(service.name, isolation=isolation)
        self.assertEqual(self.joined(service), 3)

    def test_keys_at_once(self) -> None:
        """Also while circuits are being made."""
        service = self.create((80, Factory.forProtocol(Echo)))
        opening = [self.opening(service.name, isolation=f"key {number % 3}") for number in range(9)]
        self.network.success(gatherResults(opening))
        self.assertEqual(self.joined(service), 3)

    def test_services(self) -> None:
        """Two services of one host are two for whoever visits them."""
        first = self.create((80, Factory.forProtocol(Echo)))
        second = self.create((80, Factory.forProtocol(Echo)), key=OTHER)
        self.echoes(first.name)
        self.echoes(second.name)
        self.assertEqual((self.joined(first), self.joined(second)), (1, 1))

    def test_new_identity(self) -> None:
        """Nothing that is opened later shares a circuit with anything before, and what was open goes on."""
        service = self.create((80, Factory.forProtocol(Echo)))
        before = self.echoes(service.name)
        self.visitor.new_identity()
        self.echoes(service.name)
        self.assertEqual(self.joined(service), 2)
        before.tcp.write(b" again")
        self.network.advance(1)
        self.assertEqual((bytes(before.data), before.lost), (b"hello again", []))

    def test_new_identity_while_one_is_made(self) -> None:
        """A circuit that was begun before is not for those who come after."""
        service = self.create((80, Factory.forProtocol(Echo)))
        before = self.opening(service.name)
        self.visitor.new_identity()
        after = self.opening(service.name)
        self.network.success(gatherResults([before, after]))
        self.assertEqual(self.joined(service), 2)
        self.echoes(service.name)
        self.assertEqual(self.joined(service), 2)

    def test_one_of_many_gives_up(self) -> None:
        """The first of those who wait for one circuit is no more than the others."""
        service = self.create((80, Factory.forProtocol(Echo)))
        opening = [self.opening(service.name) for _ in range(4)]
        opening[0].cancel()
        self.failureResultOf(opening[0])
        opening[2].cancel()
        self.failureResultOf(opening[2])
        for at in (1, 3):
            self.network.success(opening[at])
        self.assertEqual(self.joined(service), 1)

    def test_all_give_up(self) -> None:
        """Then nothing is left, at any node."""
        service = self.create((80, Factory.forProtocol(Echo)))
        opening = [self.opening(service.name) for _ in range(3)]
        for one in opening:
            one.cancel()
            self.failureResultOf(one)
        self.network.advance(15)
        self.assertEqual(self.visitor.onions._connector._joined._making, {})
        self.assertLessEqual(self.joined(service), 1)
        self.echoes(service.name)

    def test_give_up_at_any_moment(self) -> None:
        """Whatever was under way; the next one works."""
        service = self.create((80, Factory.forProtocol(Echo)))
        self.network.internet.ways.set(Conditions(latency=0.02))
        for number in range(30):
            opening = self.opening(service.name, isolation=number)
            self.network.advance(0.02 * number)
            if not opening.called:
                opening.cancel()
                self.failureResultOf(opening, ConnectingCancelledError)
        self.assertTrue(opening.called)
        self.echoes(service.name)

    def test_idle(self) -> None:
        """A circuit without streams is closed after a while; that of an identity of before with its last stream."""
        service = self.create((80, Factory.forProtocol(Echo)))
        used = self.echoes(service.name)
        self.echoes(service.name, isolation="one").tcp.loseConnection()
        self.network.advance(1)
        self.everything = self.circuits()
        self.assertEqual(self.joined(service), 2)
        self.network.advance(LOOK + 1)
        self.assertEqual(self.joined(service), 2)
        self.a_while_later()
        self.assertEqual((self.joined(service), used.lost), (1, []))
        self.visitor.new_identity()
        self.network.advance(LOOK + 1)
        self.assertEqual((self.joined(service), used.lost), (1, []))
        used.tcp.loseConnection()
        self.network.advance(LOOK + 1)
        self.assertEqual(self.joined(service), 0)

    def a_while_later(self) -> None:
        """What was not used is due, without the minutes that would cost."""
        for circuit in self.everything:
            circuit._streams.last_used -= IDLE
        self.network.advance(LOOK + 1)


class HopsTests(OnionTestCase):
    """How long the circuits are that a service and its visitors build."""

    nodes = 9

    def lengths(self, hops: int) -> set[tuple[int, ...]]:
        """Of circuits to introduction points, to the DHT, and to visitors, of a host with so many hops; and those of a
        visitor with as many.
        """
        self.host = self.network.success(self.network.add_client(hops=hops))
        visitor: Client = self.network.success(self.network.add_client(hops=hops))
        dht, circuit_to = set(), self.host.circuit_to

        def note(node_id: Any) -> Deferred[Circuit]:
            def built(circuit: Circuit) -> Circuit:
                dht.add(len(circuit.path))
                return circuit

            return circuit_to(node_id).addCallback(built)

        self.patch(self.host, "circuit_to", note)
        service = self.create((80, Factory.forProtocol(Echo)), key=None)
        self.echoes(service.name, client=visitor)
        running = self.running(service)
        points = {len(point.conversation._circuit.path) for point in running._points._points}
        visits = {len(circuit.path) for circuit in visitor.onions._connector._joined._open.values()}
        meetings = {len(circuit.path) for circuit in running._meetings.circuits}
        service.remove()
        return {tuple(points), tuple(dht), tuple(visits), tuple(meetings)}

    def test_hops(self) -> None:
        """Those of the client, but never fewer than three, and one more where the other side chooses the end."""
        self.assertEqual(self.lengths(1), {(3,), (4,)})
        self.assertEqual(self.lengths(3), {(3,), (4,)})
        self.assertEqual(self.lengths(5), {(5,), (6,)})

    def test_the_most(self) -> None:
        """There are no more than eight."""
        self.assertEqual(self.lengths(8), {(8,)})


class VanishedTests(OnionTestCase):
    """Nodes that stay connected, and nothing comes through to them or from them any more."""

    nodes = 9

    def test_an_introduction_point(self) -> None:
        """Half a minute later there is another one instead, and whoever comes then has not to wait for the old one."""
        service = self.create((80, Factory.forProtocol(Echo)))
        on_the_way = {node.node_id for one in self.points(service) for node in one[:-1]}
        gone = next(one[-1].node_id for one in self.points(service) if one[-1].node_id not in on_the_way)
        self.network.partition(self.node(gone))
        self.network.advance(35)
        self.assertNotIn(gone, service.introduction_points)
        self.assertEqual(len(service.introduction_points), 3)
        self.network.heal()
        self.echoes(service.name)

    def points(self, service: HostedService) -> list[tuple[Descriptor, ...]]:
        """The paths to its introduction points."""
        return [point.conversation._circuit.path for point in self.running(service)._points._points]

    def test_whoever_lives_is_left_alone(self) -> None:
        """Not even slow ways end a circuit that can be used."""
        service = self.create((80, Factory.forProtocol(Echo)))
        before = self.points(service)
        self.network.internet.ways.set(Conditions(latency=0.7))
        self.network.advance(200)
        self.assertEqual(self.points(service), before)


class TroubleTests(OnionTestCase):
    """Nodes that die, and names that are none."""

    def test_names(self) -> None:
        """What is no name of a service is said to be none; no node hears of it."""
        good = str(OnionName.of(KEY))
        for name in ("torpydo", ".torpydo", "x.torpydo", good[1:], f"a{good}", f"{'a' * 56}.torpydo", "\u00fc.torpydo",
                     f"{good[:-9]}1.torpydo", "www.example.org.torpydo"):  # fmt: skip
            self.refused(OnionNameError, name)
        for name in (good, "x.torpydo", f"www.{good}."):
            self.assertRaises(ResolveFailed, self.network.success, self.visitor.resolve(name))

    def test_a_circuit_of_ones_own(self) -> None:
        """A name is no destination of an exit, whoever has built the circuit."""
        circuit = self.network.success(self.visitor.build_circuit())
        for name in (str(OnionName.of(KEY)), "x.torpydo", "WWW.X.Torpydo."):
            opening = connectProtocol(circuit.endpoint(name, 80), Recorder())
            self.assertRaises(TorpydoError, self.network.success, opening)

    def test_unknown(self) -> None:
        """Nobody has this name."""
        self.refused(ServiceNotFound, str(OnionName.of(OTHER)))

    def test_an_introduction_point_dies(self) -> None:
        """Another one works at once, and soon there are three again."""
        service = self.create((80, Factory.forProtocol(Echo)))
        dead = self.node(service.introduction_points[0])
        self.network.kill(dead)
        started = self.network.reactor.seconds()
        self.echoes(service.name)
        self.assertLess(self.network.reactor.seconds() - started, 15)
        self.network.advance(30)
        self.assertEqual(len(service.introduction_points), 3)

    def test_introduction_points_differ(self) -> None:
        """One node that dies takes one of them."""
        for number in range(4):
            service = self.create((80, Factory.forProtocol(Echo)), key=None)
            self.assertEqual(len({*service.introduction_points}), 3, number)
            service.remove()

    def test_all_introduction_points_have_gone(self) -> None:
        """A visitor who knows the old ones, which are not even listed any more, looks again and comes in."""
        service = self.create((80, Factory.forProtocol(Echo)))
        self.echoes(service.name)
        self.visitor.new_identity()
        for node_id in {*service.introduction_points}:
            self.network.restart(self.node(node_id))
        self.network.settle()
        self.network.advance(30)
        self.echoes(service.name)

    def test_points_that_are_not_listed(self) -> None:
        """The descriptor that the visitor knows names nodes that have gone: it looks again, with no error unhandled."""
        service = self.create((80, Factory.forProtocol(Echo)))
        self.echoes(service.name)
        known, name = self.visitor.onions._connector._known, OnionName.of(KEY)
        gone = SigningKey(Secret(b"gone" * 8)).node_id
        old = known[name].descriptor
        points = tuple(attrs.evolve(point, node_id=gone) for point in old.points)
        known[name] = attrs.evolve(known[name], descriptor=attrs.evolve(old, points=points))
        self.visitor.new_identity()
        self.echoes(service.name)

    def test_a_store_that_was_away(self) -> None:
        """The host was cut off when it wanted to tell where it is: it tells so soon after, not an hour later."""
        service = self.create((80, Factory.forProtocol(Echo)))
        self.network.partition(self.network.clients[0])
        self.network.advance(120)
        self.network.heal()
        self.network.advance(90)
        self.assertTrue(service.is_reachable)
        self.echoes(service.name)

    def test_two_hosts_with_one_key(self) -> None:
        """Whoever was the last to say where it is has the visitors; when it is gone, the other has them again."""
        other = self.network.success(self.network.add_client())
        first = self.create((80, Factory.forProtocol(Echo)))
        second: HostedService = self.network.success(
            other.create_onion_service([(80, Factory.forProtocol(Echo))], private_key=KEY)
        )
        self.assertEqual(first.name, second.name)
        self.echoes(first.name)
        self.assertEqual((self.joined(first), self.joined(second)), (0, 1))
        second.remove()
        self.network.advance(5)
        # The first one says it again within the hour; here it has a reason to do so now.
        self.network.restart(self.node(first.introduction_points[0]))
        self.network.settle()
        self.network.advance(30)
        self.visitor.new_identity()
        self.echoes(first.name)
        self.assertEqual(self.joined(first), 1)
