"""What goes wrong outside the client: it is told what happened, nothing looks like a clean end, and it goes on."""

from __future__ import annotations

import errno
from random import Random
from shutil import rmtree
from tempfile import mkdtemp

from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import ConnectError

from tests.network.base import NetworkTestCase, stream
from tests.testing.recorders import Recorder, Servers
from torpydo import errors
from torpydo.testing import LocalNetwork
from torpydo.testing.members import NodeMember

DATA = Random(3).randbytes(300_000)


def busy_path(network: LocalNetwork) -> list[NodeMember]:
    """The nodes of the circuit that has streams."""
    path = next(circuit.path for circuit in network.client.status().circuits if circuit.streams)
    return [next(node for node in network.nodes if node.name == name) for name in path]


class LostNodeTests(NetworkTestCase):
    """A node dies, or its power fails, in the middle of a transfer."""

    def lose(self, place: int) -> None:
        """Kill the node at *place* of the circuit: the stream is torn at both ends, and the next one works."""
        network = self.start(latency=0.02)
        client, server = self.pair()
        stream(client).write(DATA)
        network.advance(0.1)
        self.assertTrue(0 < len(server.data) < len(DATA))
        network.kill(busy_path(network)[place])
        network.advance(5)
        self.assertEqual([reason.__name__ for reason in client.lost], ["ConnectionLost"])
        self.assertEqual(len(server.lost), 1)
        self.assertEqual(DATA[: len(server.data)], bytes(server.data))
        after = self.connect(self.echo())
        stream(after).write(b"again")
        network.advance(1)
        self.assertEqual(bytes(after.data), b"again")

    def test_guard_dies(self) -> None:
        """The first node."""
        self.lose(0)

    def test_middle_dies(self) -> None:
        """The second."""
        self.lose(1)

    def test_exit_dies(self) -> None:
        """The last."""
        self.lose(2)

    def test_torn_stream_at_the_destination(self) -> None:
        """If the circuit is lost while the client uploads, the destination sees a reset and not an end."""
        network = self.start(latency=0.02)
        client, server = self.pair()
        stream(client).write(DATA)
        network.advance(0.1)
        network.kill(busy_path(network)[1])
        network.advance(5)
        self.assertEqual([reason.__name__ for reason in server.lost], ["ConnectionLost"])

    def test_node_that_comes_back(self) -> None:
        """A node that was restarted is listed again, with its old name, and carries circuits."""
        network = self.start(nodes=3)
        for node in network.nodes:
            network.kill(node)
        network.advance(1)
        for node in network.nodes:
            network.restart(node)
        network.settle()
        client = self.connect(self.echo())
        stream(client).write(b"again")
        network.advance(1)
        self.assertEqual(bytes(client.data), b"again")

    def test_client_that_vanishes(self) -> None:
        """What a client had in the nodes is freed when its process dies."""
        network = self.start()
        self.pair()
        network.kill(network.clients[0])
        network.advance(5)
        self.assertEqual([node.status().circuits for node in network.nodes], [0] * 5)


class RefusedStreamTests(NetworkTestCase):
    """Streams that the exit does not open."""

    def refused(self, host: str, port: int, *kinds: type[BaseException]) -> None:
        """Connecting fails with every one of *kinds*, and the message names the hop."""
        endpoint = self.network.client.endpoint(host, port)
        with self.assertRaises(kinds[0]) as caught:
            self.network.success(connectProtocol(endpoint, Recorder()))
        for kind in (*kinds, ConnectError, errors.StreamError):
            self.assertIsInstance(caught.exception, kind)
        self.assertIn("hop 3 of 3, node node", str(caught.exception))

    def test_exit_policy(self) -> None:
        """An address that no exit's policy names."""
        self.start().internet.names["elsewhere.example"] = ["10.0.4.1"]
        self.refused("elsewhere.example", 80, errors.ExitPolicyRefused)

    def test_exits_do_not_reach_nodes(self) -> None:
        """The network's own nodes are no destinations."""
        network = self.start()
        network.internet.names["node.example"] = [network.nodes[0].ip]
        self.refused("node.example", 6000, errors.ExitPolicyRefused)

    def test_destination_refuses(self) -> None:
        """Nothing listens on that port."""
        network = self.start()
        host, _ = self.echo()
        self.refused(host, 81, errors.ConnectRefused)
        self.assertEqual(network.destinations[host].reactor.names.lookups, [])

    def test_name_that_does_not_exist(self) -> None:
        """A name that the exit cannot resolve."""
        self.start()
        self.refused("nowhere.example", 80, errors.ResolveFailed)

    def test_name_servers_that_do_not_answer(self) -> None:
        """A name that is never answered ends with an error in time."""
        network = self.start()
        for node in network.nodes:
            node.reactor.names.silent.add("silent.example.")
        self.refused("silent.example", 80, errors.ResolveFailed)

    def test_destination_that_does_not_answer(self) -> None:
        """A destination behind a black hole."""
        network = self.start()
        host, port = self.echo()
        network.internet.ways.cut(None, network.destinations[host].ip)
        self.refused(host, port, errors.ConnectTimeout)

    def test_unreachable(self) -> None:
        """No way to the destination's host, or its network."""
        network = self.start()
        host, port = self.echo()
        network.internet.ways.unreachable(network.destinations[host].ip, errno.EHOSTUNREACH)
        self.refused(host, port, errors.HostUnreachable)
        network.internet.ways.unreachable(network.destinations[host].ip, errno.ENETUNREACH)
        self.refused(host, port, errors.NetworkUnreachable)

    def test_no_exit(self) -> None:
        """Where no node is an exit there are circuits, and streams say why they have none."""
        self.start(client=False, exits=0)
        client = self.network.success(self.network.add_client())
        with self.assertRaises(errors.NoExit):
            self.network.success(connectProtocol(client.endpoint("203.0.113.9", 80), Recorder()))

    def test_destination_resets(self) -> None:
        """A destination that tears the connection is never taken for one that closed it."""
        network = self.start()
        client, server = self.pair()
        server.tcp.write(b"half an ans")
        network.advance(1)
        server.tcp.abortConnection()
        network.advance(1)
        self.assertEqual(bytes(client.data), b"half an ans")
        self.assertEqual([reason.__name__ for reason in client.lost], ["ConnectionLost"])

    def test_resolve(self) -> None:
        """A name is looked up by the exit; what does not exist fails."""
        network = self.start()
        host, _ = self.echo()
        answers = network.success(network.client.resolve(host))
        self.assertEqual([ip for ip, _ in answers], ["10.0.3.1"])
        with self.assertRaises(errors.ResolveFailed):
            network.success(network.client.resolve("nowhere.example"))


class DirectoryTests(NetworkTestCase):
    """The pool, and too little in it."""

    def test_too_few_nodes(self) -> None:
        """Two nodes make no circuit of three hops; the error says how many are needed."""
        self.start(client=False, nodes=2)
        with self.assertRaises(errors.TooFewNodes) as caught:
            self.network.success(self.network.add_client())
        self.assertEqual((caught.exception.needed, caught.exception.known), (3, 2))

    def test_pool_down(self) -> None:
        """A client that knows nothing fails when no pool answers."""
        network = self.start(client=False)
        network.kill(network.pool)
        with self.assertRaises(errors.PoolUnreachable):
            network.success(network.add_client())

    def test_pool_down_and_a_cache(self) -> None:
        """A client that has been there before starts from what it kept."""
        network = self.start(client=False)
        directory = mkdtemp()
        self.addCleanup(rmtree, directory)
        client = network.success(network.add_client(state_dir=directory))
        network.success(client.close())
        network.kill(network.pool)
        client = network.success(network.add_client(state_dir=directory))
        self.assertTrue(client.status().ready)
        recorder = network.success(connectProtocol(client.endpoint(*self.echo()), Recorder()))
        stream(recorder).write(b"without a pool")
        network.advance(1)
        self.assertEqual(bytes(recorder.data), b"without a pool")

    def test_pool_that_comes_back(self) -> None:
        """A pool that restarts without its memory lists all nodes again, and nothing was lost in between."""
        network = self.start()
        client = self.connect(self.echo())
        network.restart(network.pool)
        stream(client).write(b"meanwhile")
        network.settle()
        self.assertEqual(bytes(client.data), b"meanwhile")
        self.assertEqual(network.listed(), {node.node_id for node in network.nodes})

    def test_dead_node_is_dropped(self) -> None:
        """A node without heartbeats is not listed for long."""
        network = self.start()
        network.kill(network.nodes[2])
        network.advance(40)
        self.assertNotIn(network.nodes[2].node_id, network.listed())


class PartitionTests(NetworkTestCase):
    """Nobody dies, but nothing gets through."""

    def test_partition_that_heals(self) -> None:
        """What was under way arrives when a short partition ends."""
        network = self.start()
        client = self.connect(self.echo())
        network.partition(network.clients[0])
        stream(client).write(b"later")
        network.advance(3)
        self.assertEqual(bytes(client.data), b"")
        network.heal()
        network.advance(1)
        self.assertEqual(bytes(client.data), b"later")

    def test_no_circuit_through_a_black_hole(self) -> None:
        """If the power of all nodes fails, opening a stream ends with an error in time."""
        network = self.start()
        where = network.serve(Servers())
        network.partition(network.clients[0])
        network.client.new_identity()
        with self.assertRaises(errors.TorpydoError):
            network.success(connectProtocol(network.client.endpoint(*where), Recorder()))
