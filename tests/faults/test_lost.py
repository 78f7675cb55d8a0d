"""Cases 1, 2, 3 and 30: processes that die, stop or starve, and connections of which only one end knows."""

from __future__ import annotations

from random import Random

from tests.faults.base import DATA, FaultTestCase, stream
from tests.testing.recorders import Recorder
from torpydo.testing import BlackHole, Conditions
from torpydo.testing.connections import StreamSocket
from torpydo.testing.members import Member

LINE = Conditions(latency=0.005, rate=10_000_000)
"""Slow enough for a transfer to have a middle."""
OFFSETS = Random(1).sample(range(1, len(DATA) // 2), 10)
CIRCUIT_QUEUE = 24 * 1024 * 1024
"""SECURITY F5: what may wait for one circuit."""


class KilledTests(FaultTestCase):
    """Case 1: a node is killed in the middle of a transfer."""

    def upload_to(self, offset: int, place: int) -> tuple[Recorder, Recorder]:
        """A transfer of which at least *offset* bytes have arrived when the node at *place* is killed."""
        network = self.network
        client, server = self.fresh_pair(isolation=(place, offset))
        stream(client).write(DATA)
        while len(server.data) < offset:
            network.advance(0.001)
        victim = self.path()[place]
        network.kill(victim)
        self.killed = victim
        return client, server

    def each_offset(self, place: int) -> None:
        """Ten offsets: both ends hear of it within two seconds, what came is a prefix, and another circuit is there."""
        network = self.start(nodes=6, conditions=LINE)
        for offset in OFFSETS:
            client, server = self.upload_to(offset, place)
            network.advance(2)
            self.assertEqual(self.names(client), ["ConnectionLost"], offset)
            self.assertEqual(len(server.lost), 1, offset)
            # A killed process is closed by its kernel, and the destination may see that as an ordinary end; but
            # where the node was alive to tell, it is told the truth.
            if place < 2:
                self.assertEqual(self.names(server), ["ConnectionLost"], offset)
            self.assertTrue(DATA.startswith(bytes(server.data)), offset)
            self.assertLess(len(server.data), len(DATA), offset)
            begun = network.reactor.seconds()
            again, _ = self.fresh_pair(isolation=("again", offset))
            self.assertLess(network.reactor.seconds() - begun, 10)
            stream(again).loseConnection()
            network.restart(self.killed)
            network.settle()
        self.oracle.check()

    def test_guard(self) -> None:
        """The first of three."""
        self.each_offset(0)

    def test_middle(self) -> None:
        """The second of three."""
        self.each_offset(1)

    def test_exit(self) -> None:
        """The last of three."""
        self.each_offset(2)

    def test_download(self) -> None:
        """The other direction, at each place: the client never takes a part for the whole."""
        network = self.start(nodes=6, conditions=LINE)
        for place in (0, 1, 2):
            for offset in OFFSETS[:3]:
                client, server = self.fresh_pair(isolation=(place, offset))
                server.tcp.write(DATA)
                server.tcp.loseConnection()
                while len(client.data) < offset:
                    network.advance(0.001)
                victim = self.path()[place]
                network.kill(victim)
                network.advance(2)
                self.assertEqual(self.names(client), ["ConnectionLost"], (place, offset))
                self.assertTrue(DATA.startswith(bytes(client.data)))
                network.restart(victim)
                network.settle()
        self.oracle.check()


class FrozenTests(FaultTestCase):
    """Case 2: a node stops for two minutes, as with SIGSTOP, and then goes on."""

    def connections_to(self, victim: Member, member: Member) -> int:
        """How many a process still has open."""
        sockets = [sock for sock in self.network.internet.sockets.values() if isinstance(sock, StreamSocket)]
        peers = [sock.remote[0] for sock in sockets if sock.host is member.reactor and sock.remote is not None]
        return peers.count(victim.ip)

    def freeze(self, place: int) -> None:
        """Its neighbours give it up within 90 s; nothing piles up; and when it goes on nothing of before comes back."""
        network = self.start()
        client, server = self.pair()
        server.tcp.write(DATA)
        network.advance(0.05)
        victim = self.path()[place]
        circuits = {circuit.path for circuit in network.client.status().circuits}
        network.freeze(victim)
        stream(client).write(DATA)
        for _ in range(90):
            network.advance(1)
            self.assertTrue(all(node.status().queued <= CIRCUIT_QUEUE for node in network.nodes))
            self.assertLess(network.client.status().queued, 2 * len(DATA))
        self.assertEqual(self.names(client), ["ConnectionLost"])
        if place < 2:
            self.assertEqual(self.names(server), ["ConnectionLost"])
        others = [member for member in (*network.nodes, *network.clients) if member is not victim]
        self.assertEqual([self.connections_to(victim, member) for member in others], [0] * len(others))
        got = len(client.data)
        network.advance(30)
        network.thaw(victim)
        network.advance(1)
        self.assertEqual((len(client.data), len(client.lost)), (got, 1))
        self.assertEqual(len(server.lost), 1)
        broken = {path for path in circuits if victim.name in path}
        self.assertFalse(broken & {circuit.path for circuit in network.client.status().circuits if circuit.age > 60})
        self.oracle.check()

    def test_guard(self) -> None:
        """The first of three."""
        self.freeze(0)

    def test_middle(self) -> None:
        """The second of three."""
        self.freeze(1)

    def test_exit(self) -> None:
        """The last of three."""
        self.freeze(2)

    def test_pool(self) -> None:
        """Nobody needs it for two minutes."""
        network = self.start()
        client, _ = self.pair()
        network.freeze(network.pool)
        network.advance(120)
        self.oracle.transfer(network.clients[0])
        self.assertEqual(client.lost, [])
        network.thaw(network.pool)
        stream(client).loseConnection()
        self.oracle.check()

    def test_client(self) -> None:
        """A laptop that slept: its nodes have let it go, and it begins anew."""
        network = self.start()
        client, server = self.pair()
        network.freeze(network.clients[0])
        network.advance(120)
        self.assertEqual([node.status().circuits for node in network.nodes], [0] * 5)
        self.assertEqual(self.names(server), ["ConnectionLost"])
        network.thaw(network.clients[0])
        network.advance(1)
        self.assertEqual(self.names(client), ["ConnectionLost"])
        self.oracle.check()


class StarvedTests(FaultTestCase):
    """Case 30 in virtual time: a process that gets no processor for less than 30 s is late, and nothing more."""

    def test_each_process(self) -> None:
        """Each in turn stops for 25 s in the middle of a transfer, which then goes on to its end."""
        network = self.start(nodes=3)
        members: list[Member] = [network.pool, *network.nodes, *network.clients]
        for member in members:
            client, server = self.pair()
            links = set(network.internet.connections_of(*[node.ip for node in network.nodes]))
            stream(client).write(DATA)
            network.advance(0.05)
            network.freeze(member)
            network.advance(25)
            network.thaw(member)
            network.advance(5)
            self.assertEqual(bytes(server.data), DATA, member.name)
            self.assertLessEqual(links, set(network.internet.connections), member.name)
            stream(client).loseConnection()
            network.advance(1)
            self.assertEqual(self.names(server), ["ConnectionDone"])
        self.oracle.check()


class HalfOpenTests(FaultTestCase):
    """Case 3: nothing gets through a connection any more, and nobody is told."""

    def lose(self, place: int) -> None:
        """Before the node at *place*: both ends find out within 90 s, and free what they had."""
        proxies = self.start_behind_proxies()
        network = self.network
        client, server = self.pair()
        network.advance(1)
        proxy = proxies[self.path()[place].name]
        numbers = set(proxy.connections)
        for connection in proxy.connections.values():
            connection.set([BlackHole()], [BlackHole()])
        network.advance(90)
        self.assertEqual(proxy.done[BlackHole], 2 * len(numbers))
        self.assertEqual(self.names(client), ["ConnectionLost"])
        self.assertEqual(self.names(server), ["ConnectionLost"])
        # Both of their processes have closed them: nothing is left that the proxy could stand between.
        self.assertFalse(numbers & set(proxy.connections))
        self.oracle.check()

    def test_client_and_guard(self) -> None:
        """The client's own link."""
        self.lose(0)

    def test_guard_and_middle(self) -> None:
        """A link between nodes."""
        self.lose(1)

    def test_middle_and_exit(self) -> None:
        """The last link of a circuit."""
        self.lose(2)
