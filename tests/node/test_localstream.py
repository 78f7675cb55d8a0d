"""Tests of torpydo.node.localstream: questions on streams to the node itself, in whatever pieces they come."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.node.network import Traveller, World
from torpydo.dht import DHT_HOST, DHT_PORT, MAX_FRAME, Find, Found, Participant, frame, place_of, take_frame
from torpydo.node.limits import READ_HIGH
from torpydo.node.localstream import LocalService
from torpydo.node.refusal import NodeRefusal
from torpydo.testing import strategies
from torpydo.tpdp import Address, EndReason, StreamConnected, StreamEnded
from torpydo.wire import Malformed

WRONG = b"wrong"
LONG = b"long"


class LocalStreams(SynchronousTestCase):
    """A node without exits that answers, and a client with a circuit to it."""

    policy = ""

    def setUp(self) -> None:
        self.make()

    def make(self) -> None:
        self.world = World()
        self.node = self.world.relay(self.policy)
        self.asked: list[tuple[bytes, bytes]] = []
        self.node.exits.local = LocalService(self.node.reactor.seconds, self.node.bounds, self.answer)
        self.traveller: Traveller = self.world.traveller(self.node).build()

    def answer(self, question: bytes, source: bytes) -> bytes:
        """Says the question again."""
        self.asked.append((question, source))
        if question == WRONG:
            raise Malformed("no question")
        return question * 500 if question.startswith(LONG) else b"to " + question

    def begin(self, data: bytes = b"", traveller: Traveller | None = None) -> int:
        """A stream with questions."""
        return (traveller or self.traveller).begin(DHT_HOST, DHT_PORT, data)

    def say(self, stream: int, data: bytes) -> None:
        """More of them."""
        self.traveller.circuit.end.send_data(stream, data)
        self.traveller.send()

    def answers(self, stream: int, traveller: Traveller | None = None) -> list[bytes]:
        """Those that have come."""
        read = bytearray((traveller or self.traveller).received(stream))
        found = []
        while (one := take_frame(read)) is not None:
            found.append(one)
        self.assertEqual(read, b"")
        return found

    def ended(self, stream: int, traveller: Traveller | None = None) -> list[EndReason]:
        """Why the node has ended it."""
        events = (traveller or self.traveller).of_kind(StreamEnded)
        return [event.reason for event in events if event.stream == stream]

    def assertNothingLeft(self) -> None:
        """The node keeps nothing, and has counted what it kept."""
        status = self.node.router.status()
        self.assertEqual((status.streams, status.queued), (0, 0))
        for circuit in self.node.router._circuits.values():
            self.assertEqual(0 if circuit.streams is None else len(circuit.streams), 0)


class AnswerTests(LocalStreams):
    """From questions to answers."""

    def test_a_question(self) -> None:
        """The stream is connected to nowhere, though the exit policy is closed, and nothing is dialled or looked up."""
        before = len(self.world.reactor.internet.connections)
        stream = self.begin(frame(b"one"))
        self.assertEqual(self.traveller.of_kind(StreamConnected), [StreamConnected(stream, Address(bytes(4), 0), 0)])
        self.assertEqual(self.answers(stream), [b"to one"])
        self.assertEqual(self.ended(stream), [])
        self.assertEqual((self.node.refused(), self.node.reactor.names.lookups), ({}, []))
        self.assertEqual(len(self.world.reactor.internet.connections), before)

    def test_the_source(self) -> None:
        """It is the host that the circuit comes from."""
        self.begin(frame(b"one"))
        self.assertEqual(self.asked, [(b"one", bytes((198, 51, 100, 1)))])

    def test_several_in_one_write(self) -> None:
        """Each has its answer, in turn."""
        stream = self.begin(frame(b"one") + frame(b"two") + frame(b"three"))
        self.assertEqual(self.answers(stream), [b"to one", b"to two", b"to three"])

    def test_byte_by_byte(self) -> None:
        """A question is answered when it is whole."""
        stream = self.begin()
        for byte in frame(b"one"):
            self.assertEqual(self.asked, [])
            self.say(stream, bytes([byte]))
        self.assertEqual(self.answers(stream), [b"to one"])

    @given(st.data())
    @settings(max_examples=20)
    def test_cut_anywhere(self, data: st.DataObject) -> None:
        """However they are cut, the answers are the same."""
        self.make()
        questions = data.draw(st.lists(st.binary(min_size=1, max_size=60).filter(lambda one: one != WRONG), max_size=6))
        stream = self.begin()
        for piece in data.draw(strategies.pieces(b"".join(map(frame, questions)))):
            self.say(stream, piece)
        self.assertEqual([question for question, _ in self.asked], questions)
        self.assertEqual(len(self.answers(stream)), len(questions))

    def test_a_participant(self) -> None:
        """The real one answers as the protocol says."""
        place = place_of(b"n" * 32)
        participant = Participant(place, lambda node_id: None, self.node.reactor.seconds, lambda: 1e9)
        self.node.exits.local = LocalService(self.node.reactor.seconds, self.node.bounds, participant.answer)
        stream = self.begin(frame(Find(b"t" * 32, wants_item=True).encode()))
        self.assertEqual([Found.decode(one) for one in self.answers(stream)], [Found(())])

    def test_two_streams(self) -> None:
        """They do not mix."""
        first, second = self.begin(frame(b"one")[:3]), self.begin(frame(b"two")[:3])
        self.say(first, frame(b"one")[3:])
        self.say(second, frame(b"two")[3:])
        self.assertEqual((self.answers(first), self.answers(second)), ([b"to one"], [b"to two"]))


class EndTests(LocalStreams):
    """How such a stream ends."""

    def test_half_close(self) -> None:
        """A client that has no more questions still gets its answers, and then a clean end."""
        stream = self.begin(frame(b"one") + frame(b"two")[:3])
        self.say(stream, frame(b"two")[3:])
        self.traveller.circuit.end.close_write(stream)
        self.traveller.send()
        self.assertEqual((self.answers(stream), self.ended(stream)), ([b"to one", b"to two"], [EndReason.DONE]))
        self.assertNothingLeft()

    def test_half_close_at_once(self) -> None:
        """Question, half-close and the stream in one cell."""
        end = self.traveller.circuit.end
        stream = end.begin(DHT_HOST, DHT_PORT)
        end.send_data(stream, frame(b"one"))
        end.close_write(stream)
        self.traveller.send()
        self.assertEqual((self.answers(stream), self.ended(stream)), ([b"to one"], [EndReason.DONE]))

    def test_half_close_within_a_question(self) -> None:
        """Half a question is none; it is not answered and the stream ends."""
        stream = self.begin(frame(b"one")[:3])
        self.traveller.circuit.end.close_write(stream)
        self.traveller.send()
        self.assertEqual((self.answers(stream), self.ended(stream)), ([], [EndReason.DONE]))
        self.assertNothingLeft()

    def test_half_close_while_answers_wait(self) -> None:
        """They are not lost."""
        self.traveller.consume = False
        stream = self.begin(frame(LONG + b"x" * 10) * 15)
        self.traveller.circuit.end.close_write(stream)
        self.traveller.send()
        self.assertEqual(self.ended(stream), [])
        self.traveller.consume = True
        self.traveller.circuit.end.consumed(stream, len(self.traveller.received(stream)))
        self.traveller.send()
        self.assertEqual((len(self.answers(stream)), self.ended(stream)), (15, [EndReason.DONE]))
        self.assertNothingLeft()

    def test_malformed(self) -> None:
        """What is no question ends the stream, not the circuit; what stands behind it is not looked at."""
        for wrong in (frame(WRONG), b"\0\0", (MAX_FRAME + 1).to_bytes(2, "big")):
            self.make()
            stream = self.begin(frame(b"one") + wrong + frame(b"two"))
            self.assertEqual(self.ended(stream), [EndReason.MISC])
            self.assertNotIn(b"two", [question for question, _ in self.asked])
            self.assertFalse(self.traveller.destroyed)
            self.assertNothingLeft()
            # The circuit is as good as before.
            self.assertEqual(self.answers(self.begin(frame(b"three"))), [b"to three"])

    def test_more_after_the_end(self) -> None:
        """What is still under way when the node has ended the stream is taken and dropped."""
        end = self.traveller.circuit.end
        stream = end.begin(DHT_HOST, DHT_PORT)
        end.send_data(stream, frame(WRONG))
        self.traveller.queue()
        end.send_data(stream, frame(b"two") * 1000)
        self.traveller.send()
        self.assertEqual((self.ended(stream), self.traveller.destroyed), ([EndReason.MISC], False))
        self.assertEqual([question for question, _ in self.asked], [WRONG])
        self.assertNothingLeft()

    def test_the_client_ends_it(self) -> None:
        """In the middle of a question; nothing stays."""
        stream = self.begin(frame(b"one")[:4])
        self.traveller.circuit.end.finish(stream, EndReason.DONE)
        self.traveller.send()
        self.assertEqual((self.asked, self.ended(stream)), ([], [EndReason.DONE]))
        self.assertNothingLeft()

    def test_the_circuit_is_gone(self) -> None:
        """With questions and answers that wait."""
        self.traveller.consume = False
        self.begin(frame(LONG + b"x" * 10) * 15)
        self.assertGreater(self.node.router.status().queued, 0)
        self.traveller.destroy()
        self.assertEqual(self.node.router.status().circuits, 0)
        self.assertNothingLeft()


class BoundTests(LocalStreams):
    """What it may cost."""

    def test_too_many(self) -> None:
        """More than the limit are refused and counted; another host is not touched, and time gives new ones."""
        self.node.restrict(questions_per_second=1.0, questions_burst=3)
        self.node.exits.local = LocalService(self.node.reactor.seconds, self.node.bounds, self.answer)
        stream = self.begin(frame(b"one") * 5)
        self.assertEqual(len(self.asked), 3)
        self.assertEqual(self.ended(stream), [EndReason.RESOURCE_LIMIT])
        self.assertEqual(self.node.refused(), {NodeRefusal.QUESTIONS_TOO_FAST.name.lower(): 1})
        self.assertNothingLeft()
        other = self.world.traveller(self.node, host="198.51.100.2").build()
        self.assertEqual(self.answers(self.begin(frame(b"two"), other), other), [b"to two"])
        self.world.reactor.advance(1)
        self.assertEqual(self.answers(self.begin(frame(b"three"))), [b"to three"])
        self.assertEqual(self.ended(self.begin(frame(b"four"))), [EndReason.RESOURCE_LIMIT])

    def test_one_budget_for_all_streams_of_a_host(self) -> None:
        """Other streams and circuits of it are the same host."""
        self.node.restrict(questions_per_second=1.0, questions_burst=3)
        self.node.exits.local = LocalService(self.node.reactor.seconds, self.node.bounds, self.answer)
        other = self.world.traveller(self.node).build()
        self.begin(frame(b"one"))
        self.begin(frame(b"two"), other)
        self.begin(frame(b"three"))
        self.assertEqual(self.ended(self.begin(frame(b"four"), other), other), [EndReason.RESOURCE_LIMIT])

    def test_without_a_limit(self) -> None:
        """As in a test network, where all are one host."""
        self.node.restrict(questions_per_second=float("inf"), questions_burst=float("inf"))
        self.node.exits.local = LocalService(self.node.reactor.seconds, self.node.bounds, self.answer)
        self.begin(frame(b"one") * 3000)
        self.assertEqual((len(self.asked), self.node.refused()), (3000, {}))

    def test_answers_that_nobody_takes(self) -> None:
        """No question is taken while they wait, the client gets no credit for more, and the node counts what waits."""
        self.traveller.consume = False
        question = frame(LONG + b"x" * 10)
        stream = self.begin(question * 100)
        answer = 500 * (len(question) - 2) + 2
        # What the client takes without new credit, what may wait, and the one that went beyond that.
        self.assertLessEqual(len(self.asked) * answer, 64 * 1024 + READ_HIGH + answer)
        (circuit,) = self.node.router._circuits.values()
        assert circuit.streams is not None
        held = circuit.streams.held
        self.assertGreater(held, READ_HIGH)
        self.assertEqual(self.node.router.status().queued, circuit.queued)
        (out, back, _) = circuit.streams.queues()
        self.assertEqual(out[1] + back[1], held)
        self.assertEqual(out[1], 100 * len(question) - len(self.asked) * len(question))
        # The client takes them, and the rest is answered.
        self.traveller.consume = True
        self.traveller.circuit.end.consumed(stream, len(self.traveller.received(stream)))
        self.traveller.send()
        self.assertEqual(len(self.answers(stream)), 100)
        self.assertEqual(self.node.router.status().queued, 0)

    def test_questions_are_paid_for(self) -> None:
        """A client may ask more than the credit that a stream begins with."""
        self.node.restrict(questions_burst=10**6)
        self.node.exits.local = LocalService(self.node.reactor.seconds, self.node.bounds, self.answer)
        stream = self.begin(frame(b"q" * 1000) * 200)
        self.assertEqual(len(self.answers(stream)), 200)

    def test_streams_of_a_circuit(self) -> None:
        """They count as others do."""
        self.node.restrict(streams_per_circuit=2)
        streams = [self.begin() for _ in range(3)]
        self.assertEqual([self.ended(one) for one in streams], [[], [], [EndReason.RESOURCE_LIMIT]])
        self.assertEqual(self.node.refused(), {"streams_per_circuit": 1})
        self.traveller.circuit.end.finish(streams[0], EndReason.DONE)
        self.traveller.send()
        self.assertEqual(self.answers(self.begin(frame(b"one"))), [b"to one"])

    def test_streams_a_second(self) -> None:
        """And come no faster."""
        self.node.restrict(streams_per_second=1.0, streams_burst=2)
        other = self.world.traveller(self.node).build()
        streams = [self.begin(traveller=other) for _ in range(3)]
        self.assertEqual([self.ended(one, other) for one in streams], [[], [], [EndReason.RESOURCE_LIMIT]])
        self.assertEqual(self.node.refused(), {"streams_too_fast": 1})


class NotHereTests(SynchronousTestCase):
    """A node that takes no part."""

    def reason(self, policy: str, host: str = DHT_HOST) -> tuple[list[EndReason], list[str], dict[str, int]]:
        """What comes of a stream to it; what it has looked up, and refused."""
        world = World()
        node = world.relay(policy, allow_single_hop=True)
        traveller = world.traveller(node).build()
        traveller.begin(host, DHT_PORT, frame(b"one"))
        return [one.reason for one in traveller.of_kind(StreamEnded)], node.reactor.names.lookups, node.refused()

    def test_closed(self) -> None:
        """It is refused as any other host."""
        self.assertEqual(self.reason(""), ([EndReason.EXIT_POLICY], [], {"exit_policy": 1}))
        self.assertEqual(self.reason(""), self.reason("", "example.org"))

    def test_open(self) -> None:
        """An exit knows that it is no name, and asks nobody."""
        reasons, lookups, _ = self.reason("accept *:*")
        self.assertEqual((reasons, lookups), ([EndReason.RESOLVE_FAILED], []))

    def test_other_names(self) -> None:
        """Only that very name means the node itself."""
        world = World()
        node = world.relay("", allow_single_hop=True)
        node.exits.local = LocalService(node.reactor.seconds, node.bounds, lambda question, source: question)
        traveller = world.traveller(node).build()
        for name in ("@DHT", "@dht.", "dht", "@", "@dht@dht"):
            traveller.begin(name, DHT_PORT)
        self.assertEqual([one.reason for one in traveller.of_kind(StreamEnded)], [EndReason.EXIT_POLICY] * 5)
        traveller.circuit.end.resolve(DHT_HOST)
        traveller.send()
        self.assertEqual(traveller.of_kind(StreamEnded)[-1].reason, EndReason.EXIT_POLICY)
