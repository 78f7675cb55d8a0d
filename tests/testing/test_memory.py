"""Tests for torpydo.testing.memory: unmodified Twisted on the simulated reactor."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from twisted.internet import ssl
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    clientFromString,
    connectProtocol,
    serverFromString,
    wrapClientTLS,
)
from twisted.internet.error import ConnectionDone, ConnectionLost, ReactorNotRunning
from twisted.internet.interfaces import IReactorCore, IReactorFDSet, IReactorTCP, IReactorTime
from twisted.internet.task import react
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import Agent, readBody
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted.web.static import Data
from zope.interface.verify import verifyObject

from tests.testing.recorders import Recorder, Servers, pair
from torpydo.testing import Conditions, SimulatedReactor, SimulationError, random_split


class ReactorTests(SynchronousTestCase):
    """The reactor itself."""

    def setUp(self) -> None:
        self.reactor = SimulatedReactor()

    def test_interfaces(self) -> None:
        """It is what it says."""
        for interface in (IReactorCore, IReactorFDSet, IReactorTCP, IReactorTime):
            verifyObject(interface, self.reactor)

    def test_runs_from_the_start(self) -> None:
        """callWhenRunning calls at once."""
        calls: list[int] = []
        self.reactor.callWhenRunning(calls.append, 1)
        self.assertEqual(calls, [1])

    def test_shutdown(self) -> None:
        """stop runs the triggers of each phase in order, and waits for what the first phase returns."""
        calls: list[str] = []
        held: Deferred[None] = Deferred()

        def before() -> Deferred[None]:
            calls.append("before")
            return held

        self.reactor.addSystemEventTrigger("after", "shutdown", calls.append, "after")
        self.reactor.addSystemEventTrigger("during", "shutdown", calls.append, "during")
        self.reactor.addSystemEventTrigger("before", "shutdown", before)
        removed = self.reactor.addSystemEventTrigger("before", "shutdown", calls.append, "never")
        self.reactor.removeSystemEventTrigger(removed)
        self.reactor.stop()
        self.reactor.flush()
        self.assertEqual((calls, self.reactor.running), (["before"], True))
        held.callback(None)
        self.assertEqual((calls, self.reactor.running), (["before", "during", "after"], False))
        self.assertRaises(ReactorNotRunning, self.reactor.stop)

    def test_run(self) -> None:
        """run lets time pass until somebody stops the reactor."""
        self.reactor.callLater(100, self.reactor.stop)
        self.reactor.run()
        self.assertEqual((self.reactor.seconds(), self.reactor.running), (100, False))

    def test_run_for_ever(self) -> None:
        """run ends with an error when nothing is left that could stop it."""
        self.assertRaises(SimulationError, self.reactor.run)

    def test_react(self) -> None:
        """task.react runs a program on it."""

        def main(reactor: SimulatedReactor) -> Deferred[None]:
            done: Deferred[None] = Deferred()
            reactor.callLater(5, done.callback, None)
            return done

        exited = self.assertRaises(SystemExit, react, main, (), self.reactor)
        self.assertEqual((exited.code, self.reactor.seconds()), (0, 5))

    def test_success(self) -> None:
        """success gives the result when it comes, and raises what went wrong."""
        later: Deferred[str] = Deferred()
        self.reactor.callLater(7, later.callback, "x")
        self.assertEqual(self.reactor.success(later), "x")
        self.assertEqual(self.reactor.seconds(), 7)
        self.assertEqual(self.reactor.success(succeed(3)), 3)
        self.assertRaises(KeyError, self.reactor.success, fail(KeyError("x")))

    def test_success_gives_up(self) -> None:
        """success does not wait for ever."""
        self.assertRaises(SimulationError, self.reactor.success, Deferred())
        self.reactor.callLater(1000, lambda: None)
        self.assertRaises(SimulationError, self.reactor.success, Deferred(), 10)
        self.assertLess(self.reactor.seconds(), 11)

    def test_no_real_files(self) -> None:
        """What has a real file cannot be waited for, and says so."""

        class Real(Recorder):
            def fileno(self) -> int:
                return 0

        reader: Any = Real()
        self.assertRaises(SimulationError, self.reactor.addReader, reader)

    def test_address_taken(self) -> None:
        """An address belongs to one host."""
        self.reactor.host("10.0.0.1")
        self.assertRaises(SimulationError, self.reactor.host, "10.0.0.1")
        self.assertRaises(SimulationError, self.reactor.host)

    def test_remove_all(self) -> None:
        """removeAll takes all transports away and returns them."""
        port = self.reactor.listenTCP(80, Servers())
        self.assertEqual(self.reactor.getReaders(), [port])
        self.assertEqual(self.reactor.removeAll(), [port])
        self.assertEqual(self.reactor.getReaders(), [])


class KillTests(SynchronousTestCase):
    """Processes die."""

    def setUp(self) -> None:
        self.reactor = SimulatedReactor()
        self.near = self.reactor.host("10.0.0.1")
        self.far = self.reactor.host("10.0.0.2")
        self.client, self.server = pair(self.near, self.far)

    def test_peer_is_told(self) -> None:
        """When a process is killed the system closes its connections; its own code hears nothing."""
        self.far.kill()
        self.reactor.flush()
        self.assertEqual((self.client.lost, self.server.lost), ([ConnectionDone], []))

    def test_peer_is_told_of_unread_bytes(self) -> None:
        """Bytes that the dead process had not read make it a reset."""
        self.server.tcp.pauseProducing()
        self.client.tcp.write(b"unread")
        self.reactor.flush()
        self.client.tcp.pauseProducing()
        self.far.kill()
        self.client.tcp.write(b"more")
        self.reactor.flush()
        self.assertEqual(self.client.lost, [ConnectionLost])

    def test_timed_calls_die(self) -> None:
        """Timed calls of a killed process are not made."""
        calls: list[int] = []
        self.far.callLater(1, calls.append, 1)
        self.near.callLater(1, calls.append, 2)
        self.far.kill()
        self.reactor.advance(2)
        self.assertEqual(calls, [2])
        self.assertEqual(self.far.getDelayedCalls(), [])

    def test_silently(self) -> None:
        """Without power nobody is told; after the way is healed a write meets a reset."""
        self.far.kill(silently=True)
        self.client.tcp.write(b"hello?")
        self.reactor.advance(100)
        self.assertEqual(self.client.lost, [])
        self.reactor.internet.ways.heal()
        self.reactor.advance(1)
        self.assertEqual(self.client.lost, [ConnectionLost])

    def test_restart(self) -> None:
        """After the end of a process another one can have its addresses and ports."""
        self.far.listenTCP(80, Servers())
        self.far.kill()
        again = self.reactor.host("10.0.0.2")
        servers = Servers()
        again.listenTCP(80, servers)
        self.near.success(connectProtocol(TCP4ClientEndpoint(self.near, "10.0.0.2", 80), Recorder()))
        self.reactor.flush()
        self.assertEqual(len(servers.built), 1)


class EndpointTests(SynchronousTestCase):
    """Twisted's endpoints and twisted.web work as they are."""

    def setUp(self) -> None:
        self.reactor = SimulatedReactor(seed=4, conditions=Conditions(latency=0.01))
        self.near = self.reactor.host("10.0.0.1")
        self.far = self.reactor.host("10.0.0.2", "fd00::2")
        self.reactor.internet.names["server.example"] = ["fd00::2", "10.0.0.2"]
        self.reactor.internet.split = random_split(4)

    def test_strings(self) -> None:
        """Endpoints from strings connect."""
        servers = Servers()
        port = self.far.success(serverFromString(self.far, "tcp:0:interface=10.0.0.2").listen(servers))
        endpoint = clientFromString(self.near, f"tcp:server.example:{port.getHost().port}")
        client = self.near.success(connectProtocol(endpoint, Recorder()))
        client.tcp.write(b"hello")
        self.reactor.advance(1)
        self.assertEqual(servers.built[0].data, b"hello")

    def test_hostname_endpoint_falls_back(self) -> None:
        """A host that has no IPv6 reaches a name by its second address."""
        self.far.listenTCP(80, Servers(), interface="10.0.0.2")
        client = self.near.success(connectProtocol(HostnameEndpoint(self.near, "server.example", 80), Recorder()))
        self.assertEqual(client.tcp.getPeer().host, "10.0.0.2")

    def test_web(self) -> None:
        """An Agent fetches from a Site."""
        body = bytes(range(256)) * 4000
        root = Resource()
        root.putChild(b"file", Data(body, "application/octet-stream"))
        self.far.listenTCP(80, Site(root, reactor=self.far))
        response = self.near.success(Agent(self.near).request(b"GET", b"http://server.example/file"))
        self.assertEqual(self.near.success(readBody(response)), body)

    def certificate(self) -> ssl.PrivateCertificate:
        """A certificate for server.example that signs itself."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server.example")])
        builder = x509.CertificateBuilder(name, name, key.public_key(), 1, datetime(2020, 1, 1), datetime(2120, 1, 1))
        names = x509.SubjectAlternativeName([x509.DNSName("server.example")])
        certificate = builder.add_extension(names, False).sign(key, hashes.SHA256())
        pem = Encoding.PEM
        secret = key.private_bytes(pem, PrivateFormat.PKCS8, NoEncryption())
        return ssl.PrivateCertificate.loadPEM(secret + certificate.public_bytes(pem))

    def test_tls(self) -> None:
        """TLS works on top, with small writes in both directions."""
        certificate = self.certificate()
        servers = Servers()
        self.far.listenSSL(443, servers, certificate.options())
        options = ssl.optionsForClientTLS("server.example", trustRoot=ssl.Certificate(certificate.original))
        with self.reactor.as_default_clock():
            endpoint = wrapClientTLS(options, TCP4ClientEndpoint(self.near, "10.0.0.2", 443))
            client = self.near.success(connectProtocol(endpoint, Recorder()))
            client.tcp.write(b"question")
            self.reactor.advance(1)
            servers.built[0].tcp.write(b"answer" * 100_000)
            servers.built[0].tcp.loseConnection()
            self.reactor.advance(10)
        self.assertEqual((servers.built[0].data, client.data), (b"question", b"answer" * 100_000))
        self.assertEqual(client.lost, [ConnectionDone])


class DeterminismTests(SynchronousTestCase):
    """The same seed is the same run."""

    def run_once(self, seed: int) -> list[tuple[int, int, float]]:
        reactor = SimulatedReactor(seed, conditions=Conditions(latency=0.01, jitter=0.01))
        events: list[tuple[int, int, float]] = []

        class Noting(Recorder):
            def dataReceived(self, data: bytes) -> None:
                events.append((self.tcp.getPeer().port, len(data), reactor.seconds()))

        hosts = [reactor.host(f"10.0.0.{number}") for number in range(1, 6)]
        clients = [pair(each, hosts[0], Noting)[0] for each in hosts]
        for number, client in enumerate(clients):
            for size in range(1, 30):
                client.tcp.write(bytes(size * number * 100))
        reactor.advance(10)
        return events

    def test_same_seed(self) -> None:
        """Two runs with one seed have the same events at the same times."""
        self.assertEqual(self.run_once(1), self.run_once(1))

    def test_other_seed(self) -> None:
        """Another seed is another run."""
        self.assertNotEqual(self.run_once(1), self.run_once(2))
