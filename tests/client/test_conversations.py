"""Tests of torpydo.client.conversations: two clients of a simulated network meet, and streams go between them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase

from tests.testing.recorders import Recorder
from torpydo.client import Circuit, Client, Conversation, IncomingStream
from torpydo.crypto import DHSecretKey, Secret, SigningKey
from torpydo.errors import CircuitLost, ConnectRefused, LocalProtocolError, PathError
from torpydo.onion import HandshakeKeys, Introduced, Introduction, Meeting, OnionName
from torpydo.testing import LocalNetwork
from torpydo.tpdp import Introduce2, IntroduceStatus, Proof

SERVICE = SigningKey(Secret(b"s" * 32))
NAME = OnionName.of(SERVICE)
POINT = SigningKey(Secret(b"p" * 32))
SERVICE_KEY = DHSecretKey(Secret(b"d" * 32))
COOKIE = b"c" * 20


class Meetings(SynchronousTestCase):
    """A service and a client, each with a client of the network of its own."""

    def setUp(self) -> None:
        self.network = LocalNetwork(nodes=6)
        self.addCleanup(self.network.close)
        self.network.start()
        self.service: Client = self.network.success(self.network.add_client())
        self.client = self.network.client
        self.introductions: list[Introduce2] = []
        self.streams: list[IncomingStream] = []

    def done(self, deferred: Any) -> Any:
        """What it fires with."""
        return self.network.success(deferred)

    def introduced(self) -> Conversation:
        """An introduction point."""
        point: Conversation = self.done(self.service.conversation())
        self.done(point.establish_intro(POINT, self.introductions.append))
        return point

    def meet(self) -> tuple[Circuit, Circuit]:
        """The joined circuit at the client and at the service."""
        point = self.introduced()
        waiting: Conversation = self.done(self.client.conversation())
        self.done(waiting.establish_rendezvous(COOKIE))
        meeting = Meeting(waiting.node_id, COOKIE)
        hello = Introduction.start(NAME, SERVICE_KEY.public, DHSecretKey(Secret(b"e" * 32)), meeting)
        asking: Conversation = self.done(self.client.conversation(point.node_id))
        self.assertIs(self.done(asking.introduce(POINT.public, hello.message)), IntroduceStatus.OK)
        asking.close()
        self.network.flush()
        (told,) = self.introductions
        introduced = Introduced.open(NAME, SERVICE_KEY, told.message)
        keys, reply = introduced.answer(DHSecretKey(Secret(b"f" * 32)))
        going: Conversation = self.done(self.service.conversation(introduced.meeting.node_id, more_hops=1))
        served = going.join_as_service(introduced.meeting.cookie, reply, keys, self.streams.append)
        return waiting.join_as_client(hello.finish(self.done(waiting.when_met()))), served

    def open(self, circuit: Circuit) -> tuple[Recorder, Recorder]:
        """A stream that the service has accepted; the protocols of client and service."""
        opening = circuit.open_stream(Factory.forProtocol(Recorder), str(NAME), 80)
        self.network.flush()
        theirs = Recorder()
        self.streams[-1].accept(theirs)
        return self.done(opening), theirs


class MeetingTests(Meetings):
    """From the introduction to the streams."""

    def test_streams_both_ways(self) -> None:
        """Megabytes, half-closes and clean ends go through six or more hops."""
        circuit, served = self.meet()
        mine, theirs = self.open(circuit)
        self.assertEqual((self.streams[0].host, self.streams[0].port), (str(NAME), 80))
        there, back = bytes(range(256)) * 8000, bytes(reversed(range(256))) * 8000
        mine.tcp.write(there)
        theirs.tcp.write(back)
        self.network.advance(5.0)
        self.assertTrue((theirs.data, mine.data) == (there, back))
        self.assertEqual((circuit.streams, served.streams), (1, 1))
        mine.tcp.loseConnection()
        self.network.advance(1.0)
        self.assertEqual((mine.lost, theirs.lost), ([ConnectionDone], [ConnectionDone]))
        self.assertEqual((circuit.streams, served.streams), (0, 0))

    def test_first_bytes_come_along(self) -> None:
        """What a client sends with its question waits until the service has answered it."""
        circuit, _ = self.meet()
        opening = circuit.open_stream(Factory.forProtocol(Recorder), str(NAME), 80, first_data=b"first")
        self.network.advance(1.0)
        theirs = Recorder()
        self.streams[0].accept(theirs)
        self.assertEqual(theirs.data, b"first")
        self.done(opening)

    def test_refused(self) -> None:
        """The client hears that nobody listens there, and may ask again."""
        circuit, _ = self.meet()
        opening = circuit.open_stream(Factory.forProtocol(Recorder), str(NAME), 81)
        self.network.flush()
        self.streams[0].refuse()
        self.network.flush()
        self.failureResultOf(opening, ConnectRefused)
        self.open(circuit)

    def test_a_client_that_gives_up(self) -> None:
        """The service is told, and its answer is too late without harm."""
        circuit, _ = self.meet()
        gone: list[int] = []
        opening = circuit.open_stream(Factory.forProtocol(Recorder), str(NAME), 80)
        self.network.flush()
        self.streams[0].ended = lambda: gone.append(1)
        opening.cancel()
        self.network.flush()
        self.failureResultOf(opening)
        self.assertEqual(gone, [1])
        self.streams[0].accept(Recorder())
        self.streams[0].refuse()

    def test_names_are_not_looked_up(self) -> None:
        """A service answers no such question."""
        circuit, _ = self.meet()
        asking = circuit.resolve("example.org")
        self.network.flush()
        self.failureResultOf(asking)

    def test_the_circuit_is_lost(self) -> None:
        """Both ends see their streams torn, never ended cleanly; so does a stream that waits for an answer."""
        circuit, served = self.meet()
        mine, theirs = self.open(circuit)
        waiting = circuit.open_stream(Factory.forProtocol(Recorder), str(NAME), 80)
        self.network.flush()
        gone: list[int] = []
        self.streams[1].ended = lambda: gone.append(1)
        circuit.close()
        self.network.flush()
        self.failureResultOf(waiting)
        self.assertEqual(gone, [1])
        self.assertEqual(theirs.lost, [ConnectionLost])
        self.assertEqual(len(mine.lost), 1)
        self.assertFalse(issubclass(mine.lost[0], ConnectionDone))
        self.assertEqual(served.streams, 0)

    def test_a_service_opens_nothing(self) -> None:
        """Its end of the circuit takes streams only."""
        _, served = self.meet()
        self.failureResultOf(served.open_stream(Factory.forProtocol(Recorder), "example.org", 80), CircuitLost)
        self.failureResultOf(served.resolve("example.org"), CircuitLost)
        self.failureResultOf(served.ping(), CircuitLost)


class ConversationTests(Meetings):
    """What a node says."""

    def test_nobody_is_introduced_there(self) -> None:
        """The client is told."""
        asking: Conversation = self.done(self.client.conversation())
        self.assertIs(self.done(asking.introduce(bytes(32), bytes(512))), IntroduceStatus.UNKNOWN)

    def test_the_circuit_is_lost(self) -> None:
        """Whoever waits hears of it, and so does whoever asks later."""
        waiting: Conversation = self.done(self.client.conversation())
        self.done(waiting.establish_rendezvous(COOKIE))
        met = waiting.when_met()
        waiting.close()
        self.failureResultOf(met, CircuitLost)
        self.failureResultOf(waiting.when_met(), CircuitLost)
        self.failureResultOf(waiting.introduce(bytes(32), bytes(512)), CircuitLost, LocalProtocolError)

    def test_an_answer_that_nobody_waits_for(self) -> None:
        """Who stopped waiting leaves nothing behind."""
        waiting: Conversation = self.done(self.client.conversation())
        established = waiting.establish_rendezvous(COOKIE)
        established.addErrback(lambda failure: None)
        established.cancel()
        self.network.flush()
        self.assertTrue(waiting.is_open)

    def test_effort(self) -> None:
        """What a client says it has done comes to the service as it is, whatever it is worth."""
        point = self.introduced()
        point.set_puzzle(b"s" * 32)
        asking: Conversation = self.done(self.client.conversation(point.node_id))
        proof = Proof(5, b"n" * 16)
        self.assertIs(self.done(asking.introduce(POINT.public, b"m" * 512, proof)), IntroduceStatus.OK)
        self.network.flush()
        self.assertEqual(self.introductions, [Introduce2(proof, 0, b"m" * 512)])
        self.assertRaises(LocalProtocolError, asking.set_puzzle, b"s" * 32)

    def test_an_answer_before_anybody_waits_for_it(self) -> None:
        """It is kept until somebody asks, once."""
        waiting: Conversation = self.done(self.client.conversation())
        self.done(waiting.establish_rendezvous(COOKIE))
        going: Conversation = self.done(self.service.conversation(waiting.node_id))
        keys = HandshakeKeys(*[Secret(bytes([number]) * 32) for number in range(3)])
        going.join_as_service(COOKIE, b"r" * 512, keys, self.streams.append)
        self.network.advance(1)
        self.assertEqual(self.successResultOf(waiting.when_met()), b"r" * 512)
        again = waiting.when_met()
        self.assertNoResult(again)
        waiting.close()
        self.failureResultOf(again, CircuitLost)

    def test_a_ping(self) -> None:
        """A circuit that waits can be asked whether it lives."""
        point = self.introduced()
        self.assertGreaterEqual(self.done(point.ping()), 0.0)

    def vanish(self, waiting: Conversation) -> None:
        """The last node of that circuit stays connected, and nothing comes through to it or from it any more."""
        self.network.partition(next(node for node in self.network.nodes if node.node_id == waiting.node_id))

    def test_an_introduction_point_that_vanishes(self) -> None:
        """Nothing is said on such a circuit for hours; that it is dead is found out all the same, in half a minute."""
        point = self.introduced()
        self.network.advance(120)
        self.assertTrue(point.is_open)
        self.vanish(point)
        self.network.advance(30)
        self.assertFalse(point.is_open)

    def test_questions_at_random_times(self) -> None:
        """Whoever sees the cells of two circuits learns nothing from the pauses between them."""
        point = self.introduced()
        asked: list[float] = []
        ping = point._circuit.ping

        def note() -> Deferred[float]:
            asked.append(self.network.reactor.seconds())
            return ping()

        self.patch(point._circuit, "ping", note)
        self.network.advance(600)
        pauses = [after - before for before, after in pairwise(asked)]
        self.assertTrue(all(10 <= pause <= 15.1 for pause in pauses), pauses)
        self.assertGreater(len({round(pause, 2) for pause in pauses}), 30)

    def test_only_introduction_points_are_asked(self) -> None:
        """Others wait for seconds, and are looked after by whoever waits; nothing is left of one that is closed."""
        waiting: Conversation = self.done(self.client.conversation())
        self.done(waiting.establish_rendezvous(COOKIE))
        self.vanish(waiting)
        self.network.advance(40)
        self.assertTrue(waiting.is_open)
        self.network.heal()
        point = self.introduced()
        calls = len(self.network.clients[1].reactor.getDelayedCalls())
        point.close()
        self.assertLess(len(self.network.clients[1].reactor.getDelayedCalls()), calls)

    def test_which_node(self) -> None:
        """The one that is asked for; one that is not listed is none, and those to avoid are not on the way."""
        for node in self.network.nodes:
            one: Conversation = self.done(self.client.conversation(node.node_id))
            self.assertEqual(one.node_id, node.node_id)
            one.close()
        self.failureResultOf(self.client.conversation(SERVICE.node_id), PathError)
        avoid = [node.node_id for node in self.network.nodes[:2]]
        for _ in range(10):
            other: Conversation = self.done(self.client.conversation(avoid=avoid))
            self.assertNotIn(other.node_id, avoid)
            other.close()

    def test_the_second_node(self) -> None:
        """In a network of six nodes it is one of three, wherever the circuit ends; no own choice ends there."""
        seconds, chosen = set(), set()
        for turn in range(30):
            node_id = self.network.nodes[turn // 2 % 6].node_id if turn % 2 else None
            one: Conversation = self.done(self.client.conversation(node_id, more_hops=turn % 3 // 2))
            path = one._circuit.path
            self.assertEqual(path[-1].node_id, one.node_id)
            seconds.add(path[1].node_id)
            if node_id is None:
                chosen.add(one.node_id)
            one.close()
        self.assertEqual(len(seconds), 3)
        self.assertEqual(chosen & seconds, set())
