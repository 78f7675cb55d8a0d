"""Tests of torpydo.pool.service: a whole pool on a memory reactor and a scratch directory."""

from __future__ import annotations

import os
import shutil
import tempfile
from math import inf
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.endpoints import TCP4ServerEndpoint, UNIXServerEndpoint
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.directory.build import NOW
from tests.pool.build import Node, Probes, Reactor, Times
from tests.pool.test_web import parse, request
from torpydo.crypto import SigningKey
from torpydo.directory import Listing, PoolURL, parse_listing
from torpydo.errors import ConfigurationError, ListenError, LocalProtocolError, StateError
from torpydo.net import StateDirectory
from torpydo.pool import PoolConfig, PoolLimits, PoolService, publisher
from torpydo.pool.admission import Admission
from torpydo.pool.site import PoolChannel
from torpydo.tpdp import Address

POOL = SigningKey(b"k" * 32)


class PoolServiceTests(SynchronousTestCase):
    """From start to stop."""

    def setUp(self) -> None:
        self.scratch = os.path.realpath(tempfile.mkdtemp(prefix="torpydo-test-"))
        self.addCleanup(shutil.rmtree, self.scratch, ignore_errors=True)
        self.reactor = Reactor()
        self.probes = Probes()

    def make(self, **overrides: Any) -> PoolService:
        arguments: dict[str, Any] = {
            "endpoint": TCP4ServerEndpoint(self.reactor, 8080, interface="127.0.0.1"),
            "listen": "tcp:8080",
            "state_dir": os.path.join(self.scratch, "state"),
            **overrides,
        }
        return PoolService(
            self.reactor,
            PoolConfig(**arguments),
            probe=self.probes,
            wall_clock=lambda: NOW + self.reactor.seconds(),
            rng=lambda count: b"k" * count,
        )

    def start(self, **overrides: Any) -> PoolService:
        service = self.make(**overrides)
        service.startService()
        self.addCleanup(service.stopService)
        return service

    def url(self, service: PoolService) -> PoolURL:
        return self.successResultOf(service.when_listening())

    def file(self) -> str:
        with open(os.path.join(self.scratch, "state", "pool.url")) as file:
            return file.read()

    def connect(self) -> tuple[PoolChannel, StringTransport]:
        factory = self.reactor.tcpServers[-1][1]
        channel = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 5555))
        transport = StringTransport()
        channel.makeConnection(transport)
        return channel, transport

    def ask(self, *arguments: Any, **keywords: Any) -> tuple[int, dict[str, str], bytes]:
        channel, transport = self.connect()
        channel.dataReceived(request(*arguments, **keywords))
        channel.connectionLost(Failure(ConnectionLost()))
        return parse(transport.value())

    def listing(self) -> Listing:
        return parse_listing(self.ask("/v1/listing")[2], POOL.pool_id, NOW + self.reactor.seconds())

    def beat(self, name: object = 0, **overrides: Any) -> int:
        times = Times(self.reactor, NOW)
        self.reactor.advance(0.001)
        node = Node(times, name, pool=POOL, overrides=overrides)
        return self.ask("/v1/heartbeat", "POST", body=node.heartbeat())[0]

    def test_url(self) -> None:
        """The pool writes its URL with its key, for its owner alone, and tells whoever waits."""
        url = self.url(self.start())
        self.assertEqual(url, PoolURL("127.0.0.1", 8080, POOL.pool_id))
        self.assertEqual(self.file(), f"{url}\n")
        self.assertEqual(os.stat(os.path.join(self.scratch, "state", "pool.url")).st_mode & 0o777, 0o600)

    def test_damaged_url(self) -> None:
        """Whatever is in the file of the URL at the start: it is written anew, from the key."""
        self.successResultOf(self.start().stopService())
        for content in (b"", b"http://127.0.0.1:8080/#", b"\xff" * 300, bytes(70 * 1024)):
            with open(os.path.join(self.scratch, "state", "pool.url"), "wb") as file:
                file.write(content)
            service = self.start()
            self.assertEqual(self.file(), f"{self.url(service)}\n")
            self.successResultOf(service.stopService())

    def test_url_that_cannot_be_written(self) -> None:
        """It is in the log; the pool works, and says in one line what it could not do."""
        self.successResultOf(self.start().stopService())
        os.unlink(os.path.join(self.scratch, "state", "pool.url"))
        os.mkdir(os.path.join(self.scratch, "state", "pool.url"))
        with capturedLogs() as events:
            self.start()
        self.assertEqual(self.beat(), 200)
        (line,) = [formatEvent(event) for event in events if event["log_level"].name == "warn"]
        self.assertIn(os.path.join(self.scratch, "state", "pool.url"), line)

    def test_url_of_all_addresses(self) -> None:
        """A pool that listens on all addresses is known by the name of the machine."""
        endpoint = TCP4ServerEndpoint(self.reactor, 8080, interface="0.0.0.0")
        url = self.url(self.start(endpoint=endpoint, host_name="pool.example"))
        self.assertEqual((url.host, url.port), ("pool.example", 8080))

    def test_url_of_a_unix_socket(self) -> None:
        """A pool behind a web server is known by the name of the machine and port 80."""
        endpoint = UNIXServerEndpoint(self.reactor, "/run/pool")
        url = self.url(self.start(endpoint=endpoint, host_name="pool.example"))
        self.assertEqual((url.host, url.port), ("pool.example", 80))

    def test_same_key_after_restart(self) -> None:
        """The key, the nodes and the order of listings survive."""
        service = self.start()
        first = self.url(service)
        self.assertEqual(self.beat(), 200)
        before = self.listing()
        self.successResultOf(service.stopService())
        again = self.start()
        self.assertEqual(self.url(again), first)
        after = self.listing()
        self.assertEqual(after.entries, before.entries)
        self.assertEqual(len(after.entries), 1)
        self.assertGreater(after.sequence, before.sequence)

    def test_parameters(self) -> None:
        """The listing says whether the pool is a test network."""
        for flag in (False, True):
            service = self.start(test_network=flag)
            self.assertEqual(dict(self.listing().parameters), {"test-network": flag})
            self.successResultOf(service.stopService())

    def test_limits_arrive(self) -> None:
        """Each part has the operator's limits, and what was refused is counted by its cause."""
        service = self.start(limits=PoolLimits(connections=2, nodes_per_host=1, header_bytes=1024))
        held = [self.connect()[0] for _ in range(2)]
        held.append(self.connect()[0])
        for channel in held:
            channel.connectionLost(Failure(ConnectionLost()))
        address = Address(bytes([20, 1, 1, 1]), 6000)
        self.assertEqual([self.beat(name, address=address) for name in range(2)], [200, 403])
        self.assertEqual(self.ask("/v1/time", headers={"X": "y" * 1024})[0], 400)
        counts = {cause: count for cause, count in service.refusals.counts().items() if count}
        self.assertEqual(counts, {"connections": 1, "nodes_per_host": 1, "request_malformed": 1})

    def test_collector(self) -> None:
        """Silent nodes disappear at the first look after the delay."""
        self.start(deprecation_delay=30, gc_cycle=7)
        self.beat()
        for steps, count in ([1] * 34, 1), ([1], 0):
            self.reactor.pump(steps)
            self.assertEqual(len(self.listing().entries), count)

    def test_collector_survives(self) -> None:
        """An error in one look does not end all looks."""
        self.start()
        collect = Admission.collect

        def broken(admission: Admission) -> None:
            raise ZeroDivisionError

        self.patch(Admission, "collect", broken)
        self.reactor.advance(10)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.patch(Admission, "collect", collect)
        self.beat()
        self.reactor.pump([10] * 5)
        self.assertEqual(self.listing().entries, ())

    def test_in_memory(self) -> None:
        """Without a state directory nothing is written."""
        self.start(state_dir=None)
        self.assertEqual(self.beat(), 200)
        self.assertEqual(os.listdir(self.scratch), [])

    def test_stop(self) -> None:
        """Stopping leaves no timer, no open state, and nobody is let in."""
        service = self.start()
        factory = self.reactor.tcpServers[-1][1]
        self.beat()
        self.successResultOf(service.stopService())
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertIsNone(factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 5555)))
        StateDirectory.open(os.path.join(self.scratch, "state")).close()
        self.assertFalse(service.running)

    def test_stop_in_the_middle_of_a_probe(self) -> None:
        """Stopping while a node is being probed leaves nothing behind."""
        service = self.start()
        self.probes.answer = False
        channel, transport = self.connect()
        node = Node(Times(self.reactor, NOW + 1), pool=POOL)
        channel.dataReceived(request("/v1/heartbeat", "POST", body=node.heartbeat()))
        self.successResultOf(service.stopService())
        self.assertTrue(transport.disconnected)
        channel.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_stop_with_requests_sent_ahead(self) -> None:
        """Whoever waits while the pool stops is answered; what was sent behind that begins nothing."""
        self.patch(publisher, "SLICE", 0.0)
        times = Times(self.reactor, NOW)
        listed, stranger, other = (Node(times, name, pool=POOL) for name in range(3))
        for ahead in ((None, listed), (None, stranger), (stranger, None), (stranger, other)):
            self.probes.answer = True
            service = self.start()
            self.assertEqual(self.beat(0), 200)
            self.probes.answer = False
            self.probes.asked.clear()
            self.reactor.advance(1)
            channel, transport = self.connect()
            for node in ahead:
                body = b"" if node is None else node.heartbeat()
                path, method = ("/v1/heartbeat", "POST") if body else ("/v1/listing", "GET")
                channel.dataReceived(request(path, method, body=body))
            self.successResultOf(service.stopService())
            self.assertEqual(transport.value().count(b"HTTP/1.1 "), 1)
            self.assertEqual(parse(transport.value())[0], 500)
            self.assertEqual(len(self.probes.asked), 0 if ahead[0] is None else 1)
            channel.connectionLost(Failure(ConnectionLost()))
            self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_not_started(self) -> None:
        """A pool that was not started has no URL to wait for."""
        self.failureResultOf(self.make().when_listening(), LocalProtocolError)

    def test_privileged_start(self) -> None:
        """A privileged start listens, and the start does not do it again."""
        service = self.make()
        service.privilegedStartService()
        self.assertEqual(len(self.reactor.tcpServers), 1)
        self.assertEqual(os.listdir(self.scratch), [])
        service.startService()
        self.addCleanup(service.stopService)
        self.assertEqual(len(self.reactor.tcpServers), 1)

    def test_busy_port(self) -> None:
        """A busy port is an error of the start, and nothing stays open."""
        self.reactor.busy = True
        service = self.make()
        self.assertRaises(ListenError, service.privilegedStartService)
        self.assertRaises(ListenError, service.startService)
        self.assertEqual(os.listdir(self.scratch), [])

    def test_bad_state(self) -> None:
        """A state that cannot be used is an error of the start, and nothing stays open."""
        state = StateDirectory.open(os.path.join(self.scratch, "state"))
        for name, content in (("pool.key", b"torn"), ("pool.db", b"foreign" * 1000)):
            state.write(name, content)
            state.close()
            service = self.make()
            error = self.assertRaises(StateError, service.startService)
            self.assertIn(name, str(error))
            self.assertFalse(service.running)
            self.assertFalse(self.reactor.ports[-1].is_open)
            self.assertEqual(self.reactor.getDelayedCalls(), [])
            state = StateDirectory.open(os.path.join(self.scratch, "state"))
            self.assertEqual(state.read(name), content)
            state.delete(name)
        state.close()

    def test_two_pools_on_one_state(self) -> None:
        """A second pool on the same state is refused."""
        self.start()
        self.assertRaises(StateError, self.make().startService)


class PoolConfigTests(SynchronousTestCase):
    """What an operator may choose."""

    def refuse(self, words: str, **overrides: Any) -> None:
        error = self.assertRaises(ConfigurationError, self.make, **overrides)
        self.assertIn(words, str(error))

    def make(self, **overrides: Any) -> PoolConfig:
        return PoolConfig(endpoint=None, listen="", state_dir=None, **overrides)

    def test_times(self) -> None:
        """Times that make no sense are refused, and the option is named."""
        for value in (0.0, -1.0, float("nan"), float("inf")):
            self.refuse("gc cycle", gc_cycle=value)
            self.refuse("requested delay", requested_delay=value)
            self.refuse("deprecation delay", deprecation_delay=value)

    def test_limits(self) -> None:
        """More nodes than a listing holds are refused; a test network is without the limits by address."""
        self.refuse("32768 nodes at most", limits=PoolLimits(nodes=32_769))
        limits = PoolLimits(nodes_per_host=1, nodes=32_768)
        self.assertEqual(self.make(limits=limits).limits_in_force, limits)
        lifted = self.make(test_network=True).limits_in_force
        self.assertEqual((lifted.nodes_per_host, lifted.connections_per_host), (inf, inf))
        self.assertEqual(lifted.connections, 512)

    def test_delays(self) -> None:
        """Nodes cannot be asked for more or less than they obey, nor be dropped before they were to speak."""
        self.refuse("1 to 300", requested_delay=0.5)
        self.refuse("1 to 300", requested_delay=301.0, deprecation_delay=1000.0)
        self.refuse("longer", requested_delay=30.0, deprecation_delay=30.0)
        self.make(requested_delay=300.0, deprecation_delay=301.0)
