"""Tests of SimulatedReactor.freeze, wall clocks that differ, and limits of members: what tests of faults need."""

from __future__ import annotations

from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.trial.unittest import SynchronousTestCase

from tests.testing.recorders import Recorder, Servers, pair
from torpydo.testing import LocalNetwork, SimulatedReactor


class FreezeTests(SynchronousTestCase):
    """A process that is stopped and goes on."""

    def setUp(self) -> None:
        self.reactor = SimulatedReactor(seed=1)
        self.near = self.reactor.host("10.0.0.1")
        self.far = self.reactor.host("10.0.0.2")

    def test_neither_reads_nor_writes(self) -> None:
        """Its kernel takes what fits; it has it when it goes on. What it wanted to write, too."""
        client, server = pair(self.near, self.far)
        self.far.freeze()
        client.tcp.write(b"hello")
        server.tcp.write(b"was written in the same moment")
        self.reactor.advance(100)
        self.assertEqual((bytes(server.data), bytes(client.data)), (b"", b""))
        self.far.thaw()
        self.reactor.flush()
        self.assertEqual((bytes(server.data), bytes(client.data)), (b"hello", b"was written in the same moment"))

    def test_sender_is_held_up(self) -> None:
        """No more than what the kernels hold is taken."""
        client, server = pair(self.near, self.far)
        self.far.freeze()
        client.tcp.write(bytes(10_000_000))
        self.reactor.advance(100)
        [connection] = self.reactor.internet.connections
        self.assertLess(connection._forward.in_flight, 300_000)
        self.far.thaw()
        self.reactor.flush()
        self.assertEqual(len(server.data), 10_000_000)

    def test_timed_calls_are_late(self) -> None:
        """Those that fell due are made at once afterwards, in their order, the others in their time."""
        made: list[tuple[str, float]] = []
        calls = {
            name: self.near.callLater(delay, lambda name=name: made.append((name, self.reactor.seconds())))
            for name, delay in (("one", 1.0), ("two", 2.0), ("three", 3.0), ("late", 50.0))
        }
        self.far.callLater(2.5, lambda: made.append(("other", self.reactor.seconds())))
        self.near.freeze()
        self.reactor.advance(10)
        self.assertEqual(made, [("other", 2.5)])
        self.assertEqual(len(self.near.getDelayedCalls()), 4)
        calls["two"].cancel()
        self.near.thaw()
        self.reactor.flush()
        self.assertEqual(made[1:], [("one", 10.0), ("three", 10.0)])
        self.reactor.advance(100)
        self.assertEqual(made[3:], [("late", 50.0)])

    def test_connections_wait(self) -> None:
        """Its kernel accepts them, and it does when it goes on."""
        servers = Servers()
        self.reactor.success(TCP4ServerEndpoint(self.far, 80, interface="10.0.0.2").listen(servers))
        self.far.freeze()
        client = self.reactor.success(connectProtocol(TCP4ClientEndpoint(self.near, "10.0.0.2", 80), Recorder()))
        client.tcp.write(b"hello")
        self.reactor.advance(10)
        self.assertEqual(servers.built, [])
        self.far.thaw()
        self.reactor.flush()
        self.assertEqual(bytes(servers.built[0].data), b"hello")

    def test_does_not_notice_an_end(self) -> None:
        """Until it goes on."""
        client, server = pair(self.near, self.far)
        self.far.freeze()
        client.tcp.abortConnection()
        self.reactor.advance(10)
        self.assertEqual(server.lost, [])
        self.far.thaw()
        self.reactor.flush()
        self.assertEqual(len(server.lost), 1)

    def test_killed_while_it_is_frozen(self) -> None:
        """Nothing of it is ever made."""
        client, _ = pair(self.near, self.far)
        made: list[str] = []
        self.far.callLater(1, made.append, "never")
        self.far.freeze()
        self.reactor.advance(5)
        self.far.kill()
        self.far.thaw()
        self.reactor.advance(5)
        self.assertEqual((made, len(client.lost)), ([], 1))


class MemberTests(SynchronousTestCase):
    """Members of a network, one by one."""

    def test_freeze(self) -> None:
        """A network is closed although one of its processes was frozen."""
        network = LocalNetwork(nodes=3)
        network.start()
        network.freeze(network.nodes[0])
        network.advance(5)
        network.thaw(network.nodes[0])
        network.freeze(network.clients[0])
        network.close()

    def test_skew(self) -> None:
        """Each has a clock of its own."""
        network = LocalNetwork(nodes=1)
        network.nodes[0].skew = -90.0
        self.assertEqual(network.pool.wall_clock() - network.nodes[0].wall_clock(), 90.0)
