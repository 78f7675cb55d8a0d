"""Tests of torpydo.node.drain: a node that stops, as its clients and neighbours see it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.node.network import World
from torpydo.node.drain import IDLE, LEAST_STOP_TIME, STOP_TIME, stop_time
from torpydo.testing import Conditions, LocalNetwork
from torpydo.tpdp import DestroyReceived, EndReason, StreamConnected

LONG = 60.0


class DrainTests(SynchronousTestCase):
    """Guard, middle and exit; one of them drains."""

    def setUp(self) -> None:
        self.world = World()
        self.guard, self.middle = self.world.relay(), self.world.relay()
        self.exit = self.world.relay("accept *:*")
        self.world.publish()

    def over(self, drained: Deferred[None], *, within: float) -> float:
        """Seconds until a drain is over."""
        begun = self.world.reactor.seconds()
        self.world.reactor.success(drained, within)
        return self.world.reactor.seconds() - begun

    def circuits(self) -> list[int]:
        """How many each node has."""
        return [relay.router.status().circuits for relay in self.world.relays]

    def test_nothing_is_open(self) -> None:
        """There is nothing to wait for."""
        for relay in self.world.relays:
            self.successResultOf(relay.router.drain(LONG))

    def test_no_new_circuits(self) -> None:
        """Whoever asks for one hears at once that it must be built elsewhere; the operator sees how many."""
        traveller = self.world.traveller(self.guard, self.middle).build()
        drained = self.guard.router.drain(LONG)
        again = self.world.traveller(self.guard).build(traveller.link)
        self.assertIn(DestroyReceived(again.circ_id), traveller.others)
        self.assertEqual(self.guard.router.status().refused["creates_stopping"], 1)
        self.over(drained, within=LONG)

    def test_no_new_links(self) -> None:
        """One that comes is closed at once; those that are open stay."""
        traveller = self.world.traveller(self.guard).build()
        drained = self.guard.router.drain(LONG)
        late = self.world.traveller(self.guard, host="198.51.100.2").build()
        self.assertTrue(late.lost)
        self.assertFalse(traveller.lost)
        self.over(drained, within=LONG)

    def test_a_circuit_that_nobody_uses(self) -> None:
        """It ends after a second without a cell, on both sides, and the node is free."""
        for place in (0, 1, 2):
            traveller = self.world.traveller(self.guard, self.middle, self.exit).build()
            seconds = self.over(self.world.relays[place].router.drain(LONG), within=LONG)
            self.assertTrue(IDLE <= seconds < IDLE + 1.0, seconds)
            self.world.flush()
            self.assertTrue(traveller.destroyed)
            self.assertEqual(self.circuits(), [0, 0, 0])
            self.setUp()

    def test_a_circuit_in_use(self) -> None:
        """It lives as long as something moves in it, in whichever direction, and ends a second later."""
        server = self.world.server()
        traveller = self.world.traveller(self.guard, self.middle, self.exit).build()
        stream = traveller.begin(data=b"hello")
        drained = self.middle.router.drain(LONG)
        for turn in range(10):
            self.world.reactor.advance(0.9)
            if turn % 2:
                traveller.circuit.end.send_data(stream, b"up")
                traveller.send()
            else:
                server.connections[0].transport.write(b"down")
        self.assertNoResult(drained)
        self.assertFalse(traveller.destroyed)
        self.assertEqual((server.connections[0].data, traveller.received(stream)), (b"hello" + b"up" * 5, b"down" * 5))
        self.assertLess(self.over(drained, within=LONG), 2.5)
        self.world.flush()
        self.assertTrue(traveller.destroyed)

    def test_an_exit_knows_its_streams(self) -> None:
        """One that is open and silent is waited for, and its end is the end of the circuit."""
        self.world.server()
        traveller = self.world.traveller(self.guard, self.middle, self.exit).build()
        stream = traveller.begin()
        self.assertEqual(len(traveller.of_kind(StreamConnected)), 1)
        drained = self.exit.router.drain(LONG)
        self.world.reactor.advance(20.0)
        self.assertNoResult(drained)
        traveller.circuit.end.finish(stream, EndReason.MISC)
        traveller.send()
        self.assertLess(self.over(drained, within=LONG), 2.5)

    def test_the_time_is_over(self) -> None:
        """A circuit that never falls idle is not waited for without end, and nothing is left to be done."""
        self.world.server()
        traveller = self.world.traveller(self.guard, self.middle, self.exit).build()
        traveller.begin()
        before = len(self.exit.reactor.getDelayedCalls())
        self.assertAlmostEqual(self.over(self.exit.router.drain(7.3), within=LONG), 7.3, places=3)
        self.assertFalse(traveller.destroyed)
        self.assertLessEqual(len(self.exit.reactor.getDelayedCalls()), before)
        self.world.reactor.success(self.exit.router.close())
        self.world.flush()
        self.assertTrue(traveller.destroyed)

    def test_a_stop_has_an_end(self) -> None:
        """Five seconds with the default, and a little more than the drain with others (SECURITY Z3)."""
        self.assertEqual([stop_time(0), stop_time(2)], [STOP_TIME, 2.0])
        for seconds in (0, 0.5, 1, 2):
            self.assertLess(seconds + stop_time(seconds), 4.5)
        self.assertEqual([stop_time(3), stop_time(600)], [LEAST_STOP_TIME] * 2)


class Pieces(Protocol):
    """Sends a file in pieces, a few a second, and closes."""

    transport: Any
    count = 40

    def connectionMade(self) -> None:
        self._send(self.count)

    def _send(self, left: int) -> None:
        if not left:
            self.transport.loseConnection()
            return
        self.transport.write(bytes([left]) * 20_000)
        self.factory.reactor.callLater(0.3, self._send, left - 1)


class Taker(Protocol):
    """Takes everything."""

    def __init__(self) -> None:
        self.size = 0
        self.done: Deferred[bool] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.size += len(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.done.callback(reason.check(ConnectionDone) is not None)


class NetworkTests(SynchronousTestCase):
    """A whole network, of which a node is stopped by its operator."""

    def test_a_transfer_is_finished(self) -> None:
        """What runs through the node when it is told to stop is finished; what comes after goes through others."""
        network = LocalNetwork(nodes=5, conditions=Conditions(latency=0.01))
        for node in network.nodes:
            node.drain = LONG
        network.start()
        factory = ServerFactory.forProtocol(Pieces)
        host, port = network.serve(factory)
        factory.reactor = network.destinations[host].reactor
        taker = Taker()
        network.success(connectProtocol(network.client.endpoint(host, port), taker))
        network.advance(1.0)
        names = next(one.path for one in network.client.status().circuits if one.streams)
        middle = next(node for node in network.nodes if node.name == names[1])
        stopped = middle.stop()
        network.advance(5.0)
        self.assertNoResult(stopped)
        other = Taker()
        network.success(connectProtocol(network.client.endpoint(host, port, isolation="other"), other))
        paths = [one.path for one in network.client.status().circuits if one.streams]
        self.assertEqual([middle.name in path for path in paths].count(True), 1)
        for one in (taker, other):
            self.assertTrue(network.success(one.done))
            self.assertEqual(one.size, Pieces.count * 20_000)
        begun = network.reactor.seconds()
        network.success(stopped)
        self.assertLess(network.reactor.seconds() - begun, 5.0)
        network.close()
