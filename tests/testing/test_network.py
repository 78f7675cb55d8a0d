"""LocalNetwork: what application authors get."""

from __future__ import annotations

import contextlib
import re
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest import defaultTestLoader, result

from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols import tls
from twisted.trial.unittest import SynchronousTestCase

import torpydo
from tests.testing.recorders import Recorder
from torpydo.testing import LocalNetwork, SimulationError

EXAMPLES = Path(torpydo.__file__).parent.parent / "docs" / "examples"


class Echo(Protocol):
    """Sends back what comes."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


def run_of(seed: int) -> bytes:
    """The hash of everything that was sent in a short run."""
    network, sent = LocalNetwork(seed=seed, latency=0.01), sha256()

    def tap(source: str, target: str, data: bytes) -> bytes:
        # twisted.web takes its Date from the computer's clock; nothing in torpydo reads it.
        known = re.sub(rb"\r\nDate: [^\r]*", b"", data)
        sent.update(f"{network.reactor.seconds()} {source} {target} {len(data)} ".encode() + known)
        return data

    network.internet.tap = tap
    network.start()
    host, port = network.serve(Factory.forProtocol(Echo), 7)
    recorder = network.success(connectProtocol(network.client.endpoint(host, port), Recorder()))
    recorder.tcp.write(b"x" * 100_000)
    network.advance(10)
    network.close()
    return sent.digest()


class LocalNetworkTests(SynchronousTestCase):
    """A whole network."""

    def start(self, **options: Any) -> LocalNetwork:
        """One that runs until the end of the test."""
        network = LocalNetwork(**options)
        network.start()
        self.addCleanup(network.close)
        return network

    def test_client_is_ready(self) -> None:
        """After the start all nodes are listed, it is a test network, and circuits can be built."""
        network = self.start()
        status = network.client.status()
        self.assertEqual((status.ready, status.nodes, status.test_network), (True, 5, True))
        self.assertEqual(network.listed(), {node.node_id for node in network.nodes})

    def test_same_seed_same_run(self) -> None:
        """Every byte is sent at the same time, from and to the same host, and is the same."""
        self.assertEqual(run_of(7), run_of(7))

    def test_other_seed_other_run(self) -> None:
        """The seed is what decides it."""
        self.assertNotEqual(run_of(7), run_of(8))

    def test_client_cannot_resolve(self) -> None:
        """A lookup on the client's host is an error, even of a name that exists."""
        network = self.start()
        host, port = network.serve(Factory.forProtocol(Echo), 7)
        reactor = network.clients[0].reactor
        endpoint = HostnameEndpoint(reactor, host.encode(), port)
        self.assertRaises(SimulationError, connectProtocol, endpoint, Recorder())
        self.assertEqual(reactor.names.lookups, [host])
        reactor.names.lookups.clear()

    def test_latency(self) -> None:
        """A round trip takes eight ways: four links there, and back."""
        network = self.start(latency=0.5)
        host, port = network.serve(Factory.forProtocol(Echo), 7)
        recorder = network.success(connectProtocol(network.client.endpoint(host, port), Recorder()))
        recorder.tcp.write(b"x")
        network.advance(3.9)
        self.assertEqual(bytes(recorder.data), b"")
        network.advance(0.2)
        self.assertEqual(bytes(recorder.data), b"x")

    def test_two_servers_on_one_host(self) -> None:
        """A name is one host, with as many ports as are wanted."""
        network = self.start()
        self.assertEqual(network.serve(Factory.forProtocol(Echo), 7, "two.example"), ("two.example", 7))
        self.assertEqual(network.serve(Factory.forProtocol(Echo), 8, "two.example"), ("two.example", 8))
        self.assertEqual(len(network.destinations), 1)

    def test_kill_and_restart(self) -> None:
        """A node that was killed is not listed any more, and is the same node when it is back."""
        network = self.start()
        victim = network.nodes[0]
        node_id = victim.node_id
        network.kill(victim)
        self.assertFalse(victim.alive)
        network.advance(60)
        self.assertNotIn(node_id, network.listed())
        network.restart(victim)
        network.settle()
        self.assertIn(node_id, network.listed())

    def test_nodes_that_cannot_be_listed(self) -> None:
        """A network that does not come up is an error and not an endless wait."""
        network = LocalNetwork(nodes=3)
        network.partition(network.nodes[0])
        self.assertRaises(SimulationError, network.start)
        network.heal()
        network.close()

    def test_second_client(self) -> None:
        """Each client has its own host and its own randomness."""
        network = self.start(seed=3)
        second = network.success(network.add_client())
        self.assertTrue(second.status().ready)
        self.assertNotEqual(network.clients[0].ip, network.clients[1].ip)

    def test_client_before_the_start(self) -> None:
        """There is none, and the error says so."""
        self.assertRaises(SimulationError, lambda: LocalNetwork().client)

    def test_number_of_nodes(self) -> None:
        """Every node needs an address of its own."""
        self.assertRaises(SimulationError, LocalNetwork, 0)
        self.assertRaises(SimulationError, LocalNetwork, 201)


class CloseTests(SynchronousTestCase):
    """The end of a network."""

    def test_nothing_is_left(self) -> None:
        """No timed call, no connection, no listener, and Twisted's TLS has its clock back."""
        before = tls._get_default_clock
        network = LocalNetwork()
        network.start()
        host, port = network.serve(Factory.forProtocol(Echo), 7)
        network.success(connectProtocol(network.client.endpoint(host, port), Recorder()))
        self.assertIsNot(tls._get_default_clock, before)
        network.close()
        self.assertIs(tls._get_default_clock, before)
        self.assertEqual((list(network.internet.connections), list(network.internet.sockets)), ([], []))
        self.assertIsNone(network.reactor.clock.next_event())

    def test_what_is_left_is_named(self) -> None:
        """A timed call of the application that nobody cancelled is an error."""
        network = LocalNetwork(nodes=3)
        network.start()
        network.clients[0].reactor.callLater(1000, sorted, ())
        error = self.assertRaises(SimulationError, network.close)
        self.assertIn("client1", str(error))
        self.assertIn("sorted", str(error))

    def test_lookups_are_named(self) -> None:
        """A lookup beside the network is an error even if the application hides it."""
        network = LocalNetwork(nodes=3)
        network.start()
        endpoint = HostnameEndpoint(network.clients[0].reactor, b"www.example.org", 80)
        with contextlib.suppress(SimulationError):
            connectProtocol(endpoint, Recorder())
        error = self.assertRaises(SimulationError, network.close)
        self.assertIn("www.example.org", str(error))

    def test_twice(self) -> None:
        """A second close finds nothing to do."""
        network = LocalNetwork(nodes=3)
        network.start()
        network.close()
        network.close()

    def test_with_dead_processes(self) -> None:
        """What was killed needs no stopping."""
        network = LocalNetwork(nodes=3)
        network.start()
        network.kill(network.nodes[0])
        network.kill(network.pool, silently=True)
        network.kill(network.clients[0])
        network.close()

    def test_before_the_start(self) -> None:
        """Nothing was begun, nothing is closed."""
        LocalNetwork().close()


class ExampleTests(SynchronousTestCase):
    """The page for application authors."""

    def test_example_runs(self) -> None:
        """The tests of the example pass."""
        namespace: dict[str, object] = {"__name__": "test_application"}
        exec(compile((EXAMPLES / "test_application.py").read_text(), "test_application.py", "exec"), namespace)
        case = namespace["ShoutTests"]
        assert isinstance(case, type) and issubclass(case, SynchronousTestCase)
        outcome = result.TestResult()
        suite = defaultTestLoader.loadTestsFromTestCase(case)
        self.assertEqual(suite.countTestCases(), 2)
        suite.run(outcome)
        self.assertEqual((outcome.testsRun, outcome.failures, outcome.errors), (2, [], []))
