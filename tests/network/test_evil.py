"""Nodes with valid keys that do wrong: the circuit is destroyed, and no byte arrives that was not sent."""

from __future__ import annotations

from random import Random
from typing import cast

from twisted.internet.endpoints import connectProtocol

from tests.network.base import NetworkTestCase, stream
from tests.testing.recorders import Recorder, Servers
from torpydo.client import Circuit
from torpydo.errors import CircuitBuildError
from torpydo.testing import LocalNetwork, SimulationError
from torpydo.testing.evil import (
    Deed,
    EvilNode,
    acknowledge_wrongly,
    as_early,
    drop,
    flip,
    insert,
    message,
    relabel,
    reorder,
    replay,
    rewrite,
    say,
)
from torpydo.tpdp import Cell, TransitCircuit

DATA = Random(5).randbytes(200_000)
PLACES = (0, 1, 15, 16, 17, 100, 127, 128, 500, -17, -16, -1)
"""Where bytes are flipped: both MACs, the head, the payload, the mark, and their edges."""
CONNECTED, DATA_MESSAGE, END, WINDOW, RESOLVED, PONG, DROP, EXTENDED = 4, 5, 7, 8, 10, 12, 13, 2


class EvilTestCase(NetworkTestCase):
    """A circuit through nodes 1, 2, 3, each of which may do wrong."""

    def setUp(self) -> None:
        """Start the network; everybody is good at first."""
        self.rng = Random(6).randbytes
        network = self.network = LocalNetwork(latency=0.005)
        self.evil = [EvilNode(node) for node in network.nodes[:3]]
        self.addCleanup(self.finish, network)
        network.start()
        self.servers = Servers()
        self.where = network.serve(self.servers)

    def circuit(self) -> Circuit:
        """The circuit, built."""
        for evil in self.evil:
            evil.be_good()
        path = [evil.member.node_id for evil in self.evil]
        return self.network.success(self.network.client.build_circuit(path=path))

    def pair_on(self, circuit: Circuit) -> tuple[Recorder, Recorder]:
        """Both ends of a stream on that circuit."""
        client = self.network.success(connectProtocol(circuit.endpoint(*self.where), Recorder()))
        return cast(Recorder, client), self.servers.built[-1]

    def assert_destroyed(self, circuit: Circuit, client: Recorder, server: Recorder, about: object) -> None:
        """The circuit is gone, its stream is torn, and what has arrived is what was sent."""
        self.successResultOf(circuit.when_closed())
        self.assertEqual([reason.__name__ for reason in client.lost], ["ConnectionLost"], about)
        self.assertEqual(len(server.lost), 1, about)
        self.assertNotIn("ConnectionDone", [reason.__name__ for reason in server.lost], about)
        self.assertTrue(DATA.startswith(bytes(client.data)), about)
        self.assertTrue(DATA.startswith(bytes(server.data)), about)
        self.assertLess(len(client.data) + len(server.data), len(DATA), about)

    def upload(self, place: int, deed: Deed) -> None:
        """While the client sends, the node at *place* does *deed* to what it passes on."""
        circuit = self.circuit()
        client, server = self.pair_on(circuit)
        self.evil[place].forward = deed
        stream(client).write(DATA)
        self.network.advance(5)
        self.assertGreater(self.evil[place].deeds, 0)
        self.assert_destroyed(circuit, client, server, (place, deed))

    def download(self, place: int, deed: Deed) -> None:
        """While the destination sends, the node at *place* does *deed* to what it passes back."""
        circuit = self.circuit()
        client, server = self.pair_on(circuit)
        self.evil[place].backward = deed
        server.tcp.write(DATA)
        self.network.advance(5)
        self.assertGreater(self.evil[place].deeds, 0)
        self.assert_destroyed(circuit, client, server, (place, deed))

    def late(self, place: int, forward: bool) -> None:
        """When large cells are under way, the node at *place* flips a bit."""
        circuit = self.circuit()
        client, server = self.pair_on(circuit)
        sender, receiver = (stream(client), server) if forward else (server.tcp, client)
        sender.write(DATA)
        while len(receiver.data) < 50_000:
            self.network.advance(0.001)
        seen: list[int] = []

        def deed(cells: list[Cell], transit: TransitCircuit) -> list[Cell]:
            seen.append(len(cells[0][1]))
            return flip(9000)(cells, transit) if seen[-1] > 9000 else cells

        if forward:
            self.evil[place].forward = deed
        else:
            self.evil[place].backward = deed
        self.network.advance(5)
        self.assertIn(16384, seen)
        self.assert_destroyed(circuit, client, server, (place, forward))


class GoodTests(EvilTestCase):
    """The doubles themselves."""

    def test_good_nodes(self) -> None:
        """As long as nobody does wrong, everything arrives: what the other tests see is not the doubles' doing."""
        circuit = self.circuit()
        client, server = self.pair_on(circuit)
        for evil in self.evil:
            evil.forward = evil.backward = lambda cells, transit: cells
        stream(client).write(DATA)
        server.tcp.write(DATA)
        self.network.advance(5)
        self.assertEqual((bytes(client.data), bytes(server.data)), (DATA, DATA))
        self.assertTrue(all(evil.deeds for evil in self.evil))
        stream(client).loseConnection()
        self.network.advance(1)

    def test_node_that_runs_is_not_made_evil(self) -> None:
        """Its links are there already."""
        self.assertRaises(SimulationError, EvilNode, self.network.nodes[4])


class ForwardTests(EvilTestCase):
    """Wrong on the way to the exit, by the guard or the middle node."""

    def each(self, make: Deed) -> None:
        """The guard does it, then the middle node."""
        for place in (0, 1):
            self.upload(place, make)

    def test_flipped(self) -> None:
        """A flipped bit, anywhere in a cell."""
        for offset in PLACES:
            self.each(flip(offset))

    def test_flipped_in_a_large_cell(self) -> None:
        """The same in the middle of a transfer."""
        for place in (0, 1):
            self.late(place, forward=True)

    def test_replayed(self) -> None:
        """A cell twice."""
        self.each(replay)

    def test_dropped(self) -> None:
        """A cell that never comes."""
        self.each(drop)

    def test_reordered(self) -> None:
        """Two cells the other way round."""
        for place in (0, 1):
            self.upload(place, reorder())

    def test_inserted(self) -> None:
        """A cell that nobody made."""
        self.each(insert(self.rng))

    def test_early_flipped(self) -> None:
        """EARLY as CELL and CELL as EARLY, which would mark the circuit for the next node."""
        for place in (0, 1):
            circuit = self.circuit()
            client, server = self.pair_on(circuit)
            self.evil[place].forward = relabel
            stream(client).write(DATA[:500])
            self.network.advance(5)
            self.assert_destroyed(circuit, client, server, place)
            self.assertEqual(bytes(server.data), b"")


class BackwardTests(EvilTestCase):
    """Wrong on the way to the client, by any node."""

    def each(self, make: Deed) -> None:
        """The guard does it, then the middle node, then the exit."""
        for place in (0, 1, 2):
            self.download(place, make)

    def test_flipped(self) -> None:
        """A flipped bit, anywhere in a cell."""
        for offset in PLACES:
            self.each(flip(offset))

    def test_flipped_in_a_large_cell(self) -> None:
        """The same in the middle of a transfer."""
        for place in (0, 1, 2):
            self.late(place, forward=False)

    def test_replayed(self) -> None:
        """A cell twice."""
        self.each(replay)

    def test_dropped(self) -> None:
        """A cell that never comes."""
        self.each(drop)

    def test_reordered(self) -> None:
        """Two cells the other way round."""
        for place in (0, 1, 2):
            self.download(place, reorder())

    def test_inserted(self) -> None:
        """A cell that nobody made."""
        self.each(insert(self.rng))

    def test_backward_early(self) -> None:
        """Nothing is ever EARLY on the way back."""
        self.each(as_early)

    def test_originated_on_the_way(self) -> None:
        """A cell that the guard or the middle node made itself, with its own key, as if it were the exit."""
        for place in (0, 1):
            self.download(place, say(message(DATA_MESSAGE, 1, b"not from the exit")))


class ExitTests(EvilTestCase):
    """An exit that says what it may not say, rightly sealed."""

    def test_unexpected_messages(self) -> None:
        """Each of them ends the circuit: what was ignored could carry a mark."""
        for what in (
            message(DATA_MESSAGE, 99, b"for a stream that there is not"),
            message(DATA_MESSAGE, 1),
            message(CONNECTED, 1, b"\x04\x0a\x00\x03\x01\x00\x50\x00\x00\x00\x3c"),
            message(RESOLVED, 1, b""),
            message(END, 99, b"\x01"),
            message(PONG, 0, self.rng(8)),
            message(DROP, 0, self.rng(16)),
            message(EXTENDED, 0, b"\x00" + self.rng(512)),
            message(77, 0),
            b"\0\0\0not zero",
        ):
            self.download(2, say(what))

    def test_surplus_acknowledgement(self) -> None:
        """An acknowledgement of nothing."""
        self.download(2, say(message(WINDOW, 0, b"\x01" + self.rng(16))))

    def test_wrong_acknowledgement(self) -> None:
        """Acknowledgements in the right place, of cells that were not received."""
        circuit = self.circuit()
        client, server = self.pair_on(circuit)
        self.evil[2].payload = acknowledge_wrongly
        stream(client).write(DATA)
        self.network.advance(5)
        self.assertGreater(self.evil[2].deeds, 0)
        self.successResultOf(circuit.when_closed())
        self.assertEqual([reason.__name__ for reason in client.lost], ["ConnectionLost"])
        self.assertEqual([reason.__name__ for reason in server.lost], ["ConnectionLost"])
        self.assertTrue(DATA.startswith(bytes(server.data)))

    def test_wrong_size(self) -> None:
        """An exit that asks the client for a size of cells, which is not its to choose."""
        self.download(2, say(message(WINDOW, 0, b"\x02\x04")))


class ClientTests(EvilTestCase):
    """A client that does wrong: the node destroys the circuit."""

    def test_wrong_messages(self) -> None:
        """Acknowledgements of nothing, streams used twice, extending a circuit that has streams."""
        for what in (
            message(WINDOW, 0, b"\x01" + self.rng(16)),
            message(WINDOW, 0, b"\x02\x09"),
            message(3, 1, b"again.example:80"),
            message(1, 0, self.rng(600)),
            message(DATA_MESSAGE, 99, b"x"),
        ):
            circuit = self.circuit()
            client, server = self.pair_on(circuit)
            circuit.end._control.append(what)
            circuit.flush_soon()
            self.network.advance(5)
            self.assert_destroyed(circuit, client, server, what)

    def test_wrong_acknowledgement(self) -> None:
        """Whoever acknowledges what it has not received gets no more of it."""
        circuit = self.circuit()
        client, server = self.pair_on(circuit)
        rewrite(circuit.end, acknowledge_wrongly)
        server.tcp.write(DATA)
        self.network.advance(5)
        self.assert_destroyed(circuit, client, server, "wrong acknowledgement")


class BuildTests(EvilTestCase):
    """Wrong while a circuit is being built."""

    def fails(self, hop: int) -> None:
        """Building fails, and *hop* is blamed."""
        path = [evil.member.node_id for evil in self.evil]
        with self.assertRaises(CircuitBuildError) as caught:
            self.network.success(self.network.client.build_circuit(path=path))
        self.assertEqual(caught.exception.hop, hop)
        self.network.advance(1)

    def test_answer_for_another_hop(self) -> None:
        """A node that answers in the name of the next one, without that one's key, is not believed."""
        for place in (0, 1):
            for forged in (lambda answer: self.rng(512), lambda answer: answer[:32] + self.rng(480)):
                self.evil[place].be_good()
                self.evil[place].created = forged
                self.fails(place + 2)
                self.assertEqual(self.evil[place].deeds, 1)
                self.evil[place].be_good()

    def test_answer_of_an_earlier_circuit(self) -> None:
        """Nor does the true answer to another circuit help."""
        answers: list[bytes] = []

        def swap(answer: bytes) -> bytes:
            answers.append(answer)
            return answers[0]

        self.evil[0].created = swap
        path = [evil.member.node_id for evil in self.evil]
        self.network.success(self.network.client.build_circuit(path=path))
        self.fails(2)
        self.evil[0].be_good()

    def test_flipped_extend(self) -> None:
        """A flipped bit on the way to the second hop, which tears the circuit; the third never heard of it."""
        self.evil[0].forward = flip(500)
        self.fails(2)
        self.evil[0].be_good()
