"""Tests of torpydo.client.classic."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.client.doubles import CircuitDouble
from tests.client.network import Network
from tests.directory.build import document, key
from tests.net.pools import signed
from torpydo.client.client import Client
from torpydo.errors import (
    CircuitBuildError,
    ConnectRefused,
    LinkError,
    LocalProtocolError,
    PathError,
    PoolUnreachable,
    PoolURLError,
    TooFewNodes,
)


class StepsTestCase(SynchronousTestCase):
    """A step-by-step client in a test network of three nodes."""

    def setUp(self) -> None:
        self.network = Network()
        self.network.list_nodes(
            1, 2, 3, policy="accept 127.0.0.0/8:*, accept *:*", parameters={"test-network": True}
        )
        self.client = Client(self.network.reactor, world=self.network.world)
        self.addCleanup(self.client.close)

    def sync(self) -> Any:
        return self.successResultOf(self.client.sync_nodes_list("127.0.0.1", 8080))

    def path(self, building: Any) -> list[str]:
        return [node.nickname for node in building.path]

    def connected(self) -> tuple[Any, Any, CircuitDouble]:
        """The application's pipe, the transport and the circuit, after everything went well."""
        self.sync()
        result = self.client.random_path_to_destination("127.0.0.1", 8000, 3)
        circuit = self.network.builder.open[0].done()
        pipe, transport = circuit.connect()
        self.assertIsNone(self.successResultOf(result))
        return pipe, transport, circuit


class NodesTests(StepsTestCase):
    """The list of nodes."""

    def test_sync_gives_the_addresses(self) -> None:
        """Of all nodes that the pool lists."""
        self.assertEqual(sorted(self.sync()), [("20.1.1.1", 6000), ("20.2.1.1", 6000), ("20.3.1.1", 6000)])

    def test_lists_of_several_pools_are_merged(self) -> None:
        """A node counts if any of them lists it."""
        self.sync()
        self.network.pools.answers[("127.0.0.2", 8080)] = signed("b", [document(3), document(4)])
        nodes = self.successResultOf(self.client.sync_nodes_list("127.0.0.2", 8080))
        self.assertEqual(len(nodes), 4)

    def test_a_pool_that_is_down(self) -> None:
        """The error is typed, and what was known stays."""
        self.sync()
        self.failureResultOf(self.client.sync_nodes_list("127.0.0.9", 8080), PoolUnreachable)
        self.assertEqual(len(self.sync()), 3)

    def test_a_pool_elsewhere_needs_its_key(self) -> None:
        """Only a loopback pool is believed without."""
        self.failureResultOf(self.client.sync_nodes_list("192.0.2.1", 8080), PoolURLError)
        self.network.pools.answers[("192.0.2.1", 8080)] = signed("b", [document(3)])
        nodes = self.successResultOf(self.client.sync_nodes_list("192.0.2.1", 8080, key=str(key("b").pool_id)))
        self.assertEqual(len(nodes), 1)

    def test_the_key_is_pinned_for_this_client(self) -> None:
        """Another pool on the same port is refused the second time."""
        self.sync()
        self.network.pools.answers[("127.0.0.1", 8080)] = signed("b", [document(3)])
        self.failureResultOf(self.client.sync_nodes_list("127.0.0.1", 8080), ConnectError)

    def test_purge(self) -> None:
        """Then there are none."""
        self.sync()
        self.successResultOf(self.client.purge_nodes_list())
        self.failureResultOf(self.client.random_path_to_destination("127.0.0.1", 8000, 3), PathError)

    def test_nothing_runs_between_two_calls(self) -> None:
        """A step-by-step client has no life of its own."""
        self.sync()
        self.assertEqual(self.network.reactor.getDelayedCalls(), [])


class PathTests(StepsTestCase):
    """Ways to a destination."""

    def test_random_path(self) -> None:
        """So many nodes, and a stream at the end."""
        _, _, circuit = self.connected()
        self.assertEqual(len(circuit.path), 3)
        self.assertEqual(circuit.opened, [("127.0.0.1", 8000)])

    def test_step_by_step(self) -> None:
        """A first node, further nodes, the destination: in that order."""
        self.sync()
        self.successResultOf(self.client.connect("20.2.1.1", 6000))
        self.assertEqual(len(self.network.links), 1)
        self.successResultOf(self.client.next_destination("20.1.1.1", 6000))
        self.successResultOf(self.client.next_destination("20.3.1.1", 6000))
        result = self.client.next_destination("example.org", 80)
        building = self.network.builder.open[0]
        self.assertEqual(self.path(building), ["node2", "node1", "node3"])
        circuit = building.done()
        circuit.connect()
        self.successResultOf(result)
        self.assertEqual(circuit.opened, [("example.org", 80)])

    def test_a_node_of_the_path_can_be_the_destination(self) -> None:
        """It cannot be in the path twice, so its address is meant as such."""
        self.sync()
        self.successResultOf(self.client.connect("20.2.1.1", 6000))
        result = self.client.next_destination("20.2.1.1", 6000)
        circuit = self.network.builder.open[0].done()
        circuit.connect()
        self.successResultOf(result)
        self.assertEqual(circuit.opened, [("20.2.1.1", 6000)])

    def test_an_unknown_first_node(self) -> None:
        """Only what is listed has a key to talk to."""
        self.sync()
        for host in ("9.9.9.9", "example.org"):
            self.failureResultOf(self.client.connect(host, 6000), PathError)

    def test_a_first_node_that_is_down(self) -> None:
        """Told at once; the next connect starts over."""
        self.sync()
        self.network.dead = True
        self.failureResultOf(self.client.connect("20.2.1.1", 6000), LinkError)
        self.network.dead = False
        self.successResultOf(self.client.connect("20.1.1.1", 6000))

    def test_too_few_nodes(self) -> None:
        """With the numbers."""
        self.sync()
        self.failureResultOf(self.client.random_path_to_destination("127.0.0.1", 80, 4), TooFewNodes)

    def test_a_hop_that_fails(self) -> None:
        """Named; the client can try another path."""
        self.sync()
        result = self.client.random_path_to_destination("127.0.0.1", 80, 3)
        self.network.builder.open[0].fail(2)
        self.failureResultOf(result, CircuitBuildError)
        self.client.random_path_to_destination("127.0.0.1", 80, 3).addErrback(lambda failure: None)
        self.assertEqual(len(self.network.builder.open), 1)

    def test_a_destination_that_refuses(self) -> None:
        """The circuit is not left behind."""
        self.sync()
        result = self.client.random_path_to_destination("127.0.0.1", 80, 3)
        circuit = self.network.builder.open[0].done()
        circuit.refuse(ConnectRefused("no"))
        self.failureResultOf(result, ConnectRefused)
        self.assertTrue(circuit.closed)

    def test_cancelling_frees_the_circuit(self) -> None:
        """While it is built, and while the stream is opened."""
        self.sync()
        result = self.client.random_path_to_destination("127.0.0.1", 80, 3)
        result.addErrback(lambda failure: None)
        building = self.network.builder.open[0]
        result.cancel()
        self.assertTrue(building.cancelled)

    def test_steps_out_of_order(self) -> None:
        """Each says what is missing."""
        for call in (
            lambda: self.client.next_destination("h", 1),
            lambda: self.client.send(b"x"),
            lambda: self.client.receive(1),
            lambda: self.client.receive_exactly(1),
        ):
            self.failureResultOf(call(), LocalProtocolError)
        self.connected()
        for call in (
            lambda: self.client.connect("20.1.1.1", 6000),
            lambda: self.client.next_destination("h", 1),
            lambda: self.client.random_path_to_destination("h", 1, 3),
        ):
            self.failureResultOf(call(), LocalProtocolError)


class BytesTests(StepsTestCase):
    """Sending, receiving, closing."""

    def test_send_and_receive(self) -> None:
        """To and from the destination."""
        pipe, transport, _ = self.connected()
        self.assertIsNone(self.successResultOf(self.client.send(b"hello")))
        self.assertEqual(transport.value(), b"hello")
        pipe.dataReceived(b"abcdef")
        self.assertEqual(self.successResultOf(self.client.receive(2)), b"ab")
        self.assertEqual(self.successResultOf(self.client.receive_exactly(4)), b"cdef")

    def test_close_and_again(self) -> None:
        """Stream, circuit and link end; the nodes are still known, so the next path can be made."""
        pipe, transport, circuit = self.connected()
        closed: Deferred[Any] = self.client.close()
        self.assertTrue(transport.disconnecting)
        self.assertNoResult(closed)
        pipe.connectionLost(Failure(ConnectionDone()))
        self.successResultOf(closed)
        self.assertTrue(circuit.closed)
        self.assertTrue(all(link.closed for link in self.network.links))
        self.assertEqual(self.network.reactor.getDelayedCalls(), [])
        self.client.random_path_to_destination("127.0.0.1", 8000, 3).addErrback(lambda failure: None)
        self.assertEqual(len(self.network.builder.open), 1)
        self.network.builder.open[0].fail(1)
