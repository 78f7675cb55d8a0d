"""Who shares a circuit with whom."""

from __future__ import annotations

from twisted.internet.defer import gatherResults
from twisted.internet.endpoints import connectProtocol

from tests.network.base import NetworkTestCase, stream
from tests.testing.recorders import Recorder, Servers
from torpydo.client import Circuit


class IsolationTests(NetworkTestCase):
    """Isolation keys and identities."""

    def circuits(self) -> list[int]:
        """The streams of each circuit that has any."""
        return sorted(one.streams for one in self.network.client.status().circuits if one.streams)

    def test_same_key_shares_a_circuit(self) -> None:
        """Three streams of one key are on one circuit."""
        network = self.start()
        where = network.serve(Servers())
        for _ in range(3):
            self.connect(where, isolation="one")
        self.assertEqual(self.circuits(), [3])

    def test_different_keys_do_not(self) -> None:
        """200 streams with 20 keys, asked for at once: twenty circuits with ten streams each (SECURITY S4)."""
        network = self.start()
        where = network.serve(Servers())
        keys = [f"key {number % 20}" for number in range(200)]
        endpoints = [network.client.endpoint(*where, isolation=key) for key in keys]
        network.success(gatherResults([connectProtocol(endpoint, Recorder()) for endpoint in endpoints]))
        self.assertEqual(self.circuits(), [10] * 20)

    def test_new_identity(self) -> None:
        """After it nothing shares a circuit with anything before, and what was open goes on."""
        network = self.start()
        where = self.echo()
        before = self.connect(where)
        network.client.new_identity()
        after = self.connect(where)
        self.assertEqual(self.circuits(), [1, 1])
        stream(before).write(b"still here")
        stream(after).write(b"somebody else")
        network.advance(1)
        self.assertEqual((bytes(before.data), bytes(after.data)), (b"still here", b"somebody else"))

    def test_own_circuit(self) -> None:
        """A circuit that an application built itself carries nobody else's streams, and goes where it was sent."""
        network = self.start()
        where = self.echo()
        path = [network.nodes[number].node_id for number in (4, 0, 2)]
        circuit: Circuit = network.success(network.client.build_circuit(path=path))
        self.assertEqual([node.node_id for node in circuit.path], path)
        own = network.success(connectProtocol(circuit.endpoint(*where), Recorder()))
        self.connect(where)
        self.assertEqual((circuit.streams, self.circuits()), (1, [1]))
        self.assertGreaterEqual(network.success(circuit.ping()), 0)
        circuit.close()
        network.flush()
        self.assertEqual([reason.__name__ for reason in own.lost], ["ConnectionLost"])

    def test_destination_sees_the_exit(self) -> None:
        """The destination's peer is the last node of the circuit and never the client."""
        network = self.start()
        servers = Servers()
        self.connect(network.serve(servers))
        exit_name = next(one.path[-1] for one in network.client.status().circuits if one.streams)
        exit_ip = next(node.ip for node in network.nodes if node.name == exit_name)
        self.assertEqual(servers.built[0].tcp.getPeer().host, exit_ip)

    def test_client_talks_to_nodes_and_pool_only(self) -> None:
        """Everything that the client sent or received went to or came from the pool and its guard."""
        network = self.start()
        seen: set[frozenset[str]] = set()

        def tap(source: str, target: str, data: bytes) -> bytes:
            seen.add(frozenset((source, target)))
            return data

        network.internet.tap = tap
        client = self.connect(self.echo())
        stream(client).write(b"x" * 100_000)
        network.advance(60)
        mine = network.clients[0].ip
        others = {ip for pair in seen if mine in pair for ip in pair} - {mine}
        guard = network.client.status().guard
        self.assertEqual(others, {network.pool.ip, next(node.ip for node in network.nodes if node.name == guard)})
