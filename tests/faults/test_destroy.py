"""Case 17: a circuit is destroyed in every state that it and its streams go through, by the client and by each node.

The states are not made one by one: the same life is lived again and again, and ended a little later each time. What
was seen on the way must contain every state of the table. (A rendezvous is a state of onion services.)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import ConnectionDone, ConnectionLost

from tests.faults.base import FaultTestCase, stream
from tests.network.base import router_of
from tests.testing.recorders import HalfRecorder, Recorder, Servers
from torpydo.client import Circuit
from torpydo.errors import TorpydoError
from torpydo.node.circuit import RoutedCircuit
from torpydo.testing.connections import State
from torpydo.testing.members import NodeMember

LATENCY = 0.02
STEP = 0.01
LOOKUP = 0.05
"""Seconds that an exit needs for a name."""
DATA = bytes(range(256)) * 80
BUILD_STATES = {"hop 1 is asked", "hop 2 is asked", "hop 3 is asked", "built"}
STREAM_STATES = {
    "asked",
    "resolving",
    "connecting",
    "connected, the client not told",
    "open",
    "half-closed by the client",
    "half-closed by the destination",
    "closed by the client, END under way",
}


class Watched:
    """A Deferred of which every result is kept."""

    def __init__(self, deferred: Deferred[Any]) -> None:
        self.results: list[object] = []
        deferred.addBoth(self.results.append)
        self.deferred = deferred

    @property
    def value(self) -> object:
        """What it fired with; an error as itself."""
        [result] = self.results
        return getattr(result, "value", result)


class DestroyTests(FaultTestCase):
    """One circuit through nodes 1, 2 and 3 after another."""

    def setUp(self) -> None:
        network = self.start(latency=LATENCY)
        self.route: list[NodeMember] = network.nodes[:3]
        for node in network.nodes:
            node.reactor.names.delay = LOOKUP
        self.servers = Servers(HalfRecorder)
        self.where = network.serve(self.servers)
        self.built().close()
        network.advance(1)
        self.seen: set[str] = set()

    # -- Lives

    def begin(self) -> Watched:
        """Begin to build it; which parts of it a node has is known by what it did not have before."""
        self.before = {node.name: set(router_of(node)._circuits.values()) for node in self.network.nodes}
        path = [node.node_id for node in self.route]
        return Watched(self.network.client.build_circuit(path=path))

    def built(self) -> Circuit:
        """It, built."""
        building = self.begin()
        self.network.advance(1)
        circuit = building.value
        assert isinstance(circuit, Circuit)
        return circuit

    def parts(self, place: int) -> list[RoutedCircuit]:
        """What the node at that place has of it."""
        node = self.route[place]
        return list(set(router_of(node)._circuits.values()) - self.before[node.name])

    def enders(self, by_client: Callable[[], object]) -> list[Callable[[], bool]]:
        """Who may destroy it; each tells whether there was anything to destroy."""

        def client() -> bool:
            by_client()
            return True

        def node(place: int) -> bool:
            parts = self.parts(place)
            for part in parts:
                router_of(self.route[place])._drop(part)
            return bool(parts)

        return [client, lambda: node(0), lambda: node(1), lambda: node(2)]

    def assert_gone(self, about: object) -> None:
        """No node has anything of it."""
        self.network.advance(2)
        for node in self.network.nodes:
            left = set(router_of(node)._circuits.values()) - self.before[node.name]
            self.assertEqual(left, set(), (node.name, about))
            self.assertEqual(node.status().streams, 0, about)

    # -- While it is built

    def test_building(self) -> None:
        """Whoever waits for it hears once that it will not be, or that it is; and nobody keeps a part of it."""
        ended = 0
        for who in range(4):
            elapsed = 0.0
            while elapsed < 0.3:
                building = self.begin()
                self.network.advance(elapsed)
                known = len(building.results)
                self.seen.add(self.building_state(building))
                if self.enders(partial(self.give_up, building))[who]():
                    ended += 1
                    self.network.advance(1)
                    self.assertEqual(len(building.results), 1, (who, elapsed))
                    if isinstance(building.value, Circuit):
                        # Built, or the last answer was under way already.
                        self.successResultOf(building.value.when_closed())
                    else:
                        self.assertFalse(known)
                        self.assertIsInstance(building.value, (TorpydoError, CancelledError))
                else:
                    self.network.advance(1)
                    self.give_up(building)
                self.assert_gone((who, elapsed))
                elapsed += STEP
        self.assertGreater(ended, 50)
        self.assertLessEqual(BUILD_STATES, self.seen)
        self.oracle.check()

    def give_up(self, building: Watched) -> None:
        """What the client does: close what it has, or wait no longer."""
        if building.results and isinstance(building.value, Circuit):
            building.value.close()
        else:
            building.deferred.cancel()

    def building_state(self, building: Watched) -> str:
        """Which hop has been asked, by what the nodes have of it."""
        if building.results:
            return "built"
        return f"hop {sum(bool(self.parts(place)) for place in (0, 1)) + 1} is asked"

    # -- While it has a stream

    def live(self) -> tuple[HalfRecorder, Watched, list[tuple[float, Callable[[], None]]]]:
        """A stream's life: what happens when, in seconds."""
        recorder = HalfRecorder()
        opening = Watched(connectProtocol(self.circuit_now.endpoint(*self.where), recorder))

        def write_both() -> None:
            stream(recorder).write(DATA)
            self.given += DATA
            self.servers.built[-1].tcp.write(DATA)

        return recorder, opening, [
            (0.4, write_both),
            (0.7, lambda: stream(recorder).loseWriteConnection()),
            (0.9, lambda: self.servers.built[-1].tcp.loseConnection()),
        ]

    def live_short(self) -> tuple[HalfRecorder, Watched, list[tuple[float, Callable[[], None]]]]:
        """Another one, which the destination ends first, and then the client."""
        recorder, opening, _ = self.live()
        return recorder, opening, [
            (0.4, lambda: self.servers.built[-1].tcp.loseWriteConnection()),
            (0.6, lambda: stream(recorder).loseConnection()),
        ]

    def lives(self, live: Callable[[], Any], begin: float, end: float) -> int:
        """Each of the four ends it at each moment; tells how often there was a stream to be ended."""
        torn = 0
        for who in range(4):
            elapsed = begin
            while elapsed < end:
                self.servers.built.clear()
                self.given = b""
                circuit = self.circuit_now = self.built()
                recorder, opening, script = live()
                start = self.network.reactor.seconds()
                for moment, act in script:
                    if moment < elapsed:
                        self.network.advance(start + moment - self.network.reactor.seconds())
                        act()
                self.network.advance(start + elapsed - self.network.reactor.seconds())
                was_open, was_lost = bool(opening.results), list(recorder.lost)
                self.seen.add(self.stream_state(recorder, opening))
                self.assertTrue(self.enders(circuit.close)[who]())
                self.network.advance(1)
                about = (who, elapsed)
                self.successResultOf(circuit.when_closed())
                self.assertEqual(len(opening.results), 1, about)
                if opening.value is recorder:
                    self.assertEqual(len(recorder.lost), 1, about)
                    if recorder.lost == [ConnectionDone]:
                        # Both had ended it before, and the last word of that was past the node already.
                        self.assertEqual(bytes(recorder.data), self.given, about)
                    elif not was_lost:
                        torn += 1
                        self.assertEqual(recorder.lost, [ConnectionLost], about)
                else:
                    torn += 1
                    self.assertFalse(was_open)
                    self.assertIsInstance(opening.value, TorpydoError)
                for server in self.servers.built:
                    self.assert_torn(server, about)
                self.assert_gone(about)
                elapsed += 4 * STEP
        return torn

    def assert_torn(self, server: Recorder, about: object) -> None:
        """The destination's connection is gone; one that reads no more sees it when it writes, or is done itself."""
        if not server.lost:
            self.assertIn("read", cast(HalfRecorder, server).ends, about)
            server.tcp.write(b"x")
            server.tcp.loseConnection()
            self.network.advance(1)
        self.assertEqual(len(server.lost), 1, about)

    def test_streams(self) -> None:
        """The application hears of exactly one end; so does the destination; and whoever waits for the stream."""
        self.assertGreater(self.lives(self.live, 0.0, 1.05), 70)
        self.lives(self.live_short, 0.39, 0.75)
        self.assertLessEqual(STREAM_STATES, self.seen)
        self.oracle.check()

    def test_lookups(self) -> None:
        """A question for a name is answered or fails, once."""
        for who in range(4):
            elapsed = 0.0
            while elapsed < 0.25:
                circuit = self.built()
                asking = Watched(circuit.resolve(self.where[0]))
                self.network.advance(elapsed)
                self.assertTrue(self.enders(circuit.close)[who]())
                self.network.advance(1)
                self.assertEqual(len(asking.results), 1)
                self.assert_gone((who, elapsed))
                elapsed += 2 * STEP
        self.oracle.check()

    def stream_state(self, recorder: HalfRecorder, opening: Watched) -> str:
        """Seen from outside."""
        exit_node = self.route[2]
        if not opening.results:
            if not exit_node.status().streams:
                return "asked"
            reached = [
                one for one in self.network.internet.connections_of(exit_node.ip) if one.ends[1][1] == self.where[1]
            ]
            reached = [one for one in reached if one.ends[1][0].startswith("10.0.3.")]
            if not reached:
                return "resolving"
            connected = any(one.client.state is State.CONNECTED for one in reached)
            return "connected, the client not told" if connected else "connecting"
        if recorder.lost:
            return "closed by the client, END under way" if exit_node.status().streams else "over"
        if stream(recorder).disconnecting:
            return "closed by the client, END under way"
        if "read" in recorder.ends:
            return "half-closed by the destination"
        return "half-closed by the client" if "write" in recorder.ends else "open"
