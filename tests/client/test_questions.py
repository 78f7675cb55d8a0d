"""Tests of torpydo.client.questions: questions to nodes, in turn, and what becomes of those that wait."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.client.doubles import CircuitDouble, StreamDouble, path
from tests.directory.build import node_id
from torpydo.client.questions import ANSWER, CIRCUITS, IDLE, Questions
from torpydo.crypto import NodeId
from torpydo.dht import DHT_HOST, DHT_PORT, MAX_FRAME, frame, take_frame
from torpydo.errors import (
    BadKey,
    CircuitBuildError,
    CircuitLost,
    PathError,
    RemoteProtocolError,
    StreamReset,
    TorpydoError,
)

NODE = node_id(1).raw
OTHER = node_id(2).raw


@attrs.define(eq=False)
class Build:
    """A circuit that was asked for."""

    node_id: NodeId
    deferred: Deferred[Any]
    cancelled: bool = False


class QuestionsTests(SynchronousTestCase):
    """Circuits by the test."""

    hops = 1

    def setUp(self) -> None:
        self.clock = Clock()
        self.builds: list[Build] = []
        self.questions = Questions(self.clock, self.build)

    def build(self, node: NodeId) -> Deferred[Any]:
        """Like ``Client.circuit_to``."""

        def cancel(ignored: object) -> None:
            made.cancelled = True

        made = Build(node, Deferred(cancel))
        self.builds.append(made)
        return made.deferred

    def instead(self, deferred: Callable[[], Deferred[Any]]) -> Questions:
        """Circuits that are there, or are not, at once."""
        return Questions(self.clock, lambda node: deferred())

    def built(self, number: int = -1) -> CircuitDouble:
        """The circuit is there, and its stream asked for."""
        circuit = CircuitDouble(path(*range(1, self.hops + 1)))
        self.builds[number].deferred.callback(circuit)
        return circuit

    def opened(self) -> tuple[CircuitDouble, IProtocol, StreamDouble]:
        """The same, and the stream is open."""
        circuit = self.built()
        return circuit, *circuit.connect()

    def asked(self, transport: StreamDouble) -> list[bytes]:
        """The questions on a stream."""
        return frames(transport.value())

    def assertNothingLeft(self) -> None:
        """No circuit, no timer."""
        self.assertEqual((len(self.questions), self.clock.getDelayedCalls()), (0, []))


def frames(data: bytes) -> list[bytes]:
    """What stands in frames one after the other."""
    read, found = bytearray(data), []
    while (one := take_frame(read)) is not None:
        found.append(one)
    assert not read
    return found


class AnswerTests(QuestionsTests):
    """Questions that are answered."""

    def test_a_question(self) -> None:
        """It goes along with the BEGIN, to the node itself."""
        answer = self.questions.ask(NODE, b"one")
        self.assertEqual([one.node_id.raw for one in self.builds], [NODE])
        circuit, protocol, transport = self.opened()
        self.assertEqual((circuit.opened, circuit.first_data), ([(DHT_HOST, DHT_PORT)], [frame(b"one")]))
        self.assertEqual(transport.value(), b"")
        self.assertNoResult(answer)
        protocol.dataReceived(frame(b"ONE"))
        self.assertEqual(self.successResultOf(answer), b"ONE")

    def test_in_turn(self) -> None:
        """Whenever they were asked: before the circuit is there, before the stream is, and after."""
        answers = [self.questions.ask(NODE, b"one"), self.questions.ask(NODE, b"two")]
        circuit = self.built()
        answers.append(self.questions.ask(NODE, b"three"))
        protocol, transport = circuit.connect()
        answers.append(self.questions.ask(NODE, b"four"))
        self.assertEqual(frames(circuit.first_data[0]), [b"one", b"two"])
        self.assertEqual(self.asked(transport), [b"three", b"four"])
        self.assertEqual(len(self.builds), 1)
        # Two answers and a half.
        data = b"".join(map(frame, (b"1", b"2", b"3", b"4")))
        protocol.dataReceived(data[:8])
        self.assertEqual([self.successResultOf(one) for one in answers[:2]], [b"1", b"2"])
        self.assertNoResult(answers[2])
        for byte in data[8:]:
            protocol.dataReceived(bytes([byte]))
        self.assertEqual([self.successResultOf(one) for one in answers[2:]], [b"3", b"4"])

    def test_who_hears_asks_the_next(self) -> None:
        """In the very moment; it is the same stream."""
        first = self.questions.ask(NODE, b"one")
        second: list[Deferred[bytes]] = []
        first.addCallback(lambda _: second.append(self.questions.ask(NODE, b"two")))
        _, protocol, transport = self.opened()
        protocol.dataReceived(frame(b"1"))
        self.assertEqual(self.asked(transport), [b"two"])
        protocol.dataReceived(frame(b"2"))
        self.assertEqual(self.successResultOf(second[0]), b"2")

    def test_nodes_have_circuits_of_their_own(self) -> None:
        """And so have isolation keys."""
        for node, isolation in ((NODE, None), (OTHER, None), (NODE, "one"), (NODE, "two"), (NODE, "one")):
            self.questions.ask(node, b"q", isolation)
        self.assertEqual([one.node_id.raw for one in self.builds], [NODE, OTHER, NODE, NODE])
        self.assertEqual(len(self.questions), 4)

    def test_answers_of_one_key_are_not_another_ones(self) -> None:
        """Each circuit has its own."""
        one, two = self.questions.ask(NODE, b"q", "one"), self.questions.ask(NODE, b"q", "two")
        streams = [self.built(number).connect()[0] for number in (0, 1)]
        streams[1].dataReceived(frame(b"2"))
        self.assertNoResult(one)
        self.assertEqual(self.successResultOf(two), b"2")


class SilenceTests(QuestionsTests):
    """Time that passes."""

    def test_no_circuit(self) -> None:
        """It is given up."""
        answer = self.questions.ask(NODE, b"one")
        self.clock.advance(ANSWER - 0.01)
        self.assertNoResult(answer)
        self.clock.advance(0.01)
        self.failureResultOf(answer, CircuitLost)
        self.assertTrue(self.builds[0].cancelled)
        self.assertNothingLeft()

    def test_no_stream(self) -> None:
        """The node does not answer BEGIN."""
        answer = self.questions.ask(NODE, b"one")
        circuit = self.built()
        self.clock.advance(ANSWER)
        self.failureResultOf(answer, CircuitLost)
        self.assertTrue(circuit.closed)
        self.assertEqual(circuit.waiting, [])
        self.assertNothingLeft()

    def test_no_answer(self) -> None:
        """All who wait are told, each once, and the circuit is closed."""
        answers = [self.questions.ask(NODE, b"one") for _ in range(3)]
        circuit, _, _ = self.opened()
        self.clock.advance(ANSWER)
        for answer in answers:
            self.failureResultOf(answer, CircuitLost)
        self.assertTrue(circuit.closed)
        self.assertNothingLeft()

    def test_each_answer_gives_time_for_the_next(self) -> None:
        """A node that works through many is not silent; the last one alone has ten seconds too."""
        answers = [self.questions.ask(NODE, b"one") for _ in range(3)]
        _, protocol, _ = self.opened()
        for answer in answers[:2]:
            self.clock.advance(ANSWER - 1)
            protocol.dataReceived(frame(b"1"))
            self.successResultOf(answer)
        self.clock.advance(ANSWER - 1)
        self.assertNoResult(answers[2])
        self.clock.advance(1)
        self.failureResultOf(answers[2], CircuitLost)

    def test_a_later_question_does_not_help_the_first(self) -> None:
        """Who asks again and again does not keep a silent node alive."""
        first = self.questions.ask(NODE, b"one")
        self.opened()
        self.clock.advance(ANSWER - 1)
        self.questions.ask(NODE, b"two").addErrback(lambda failure: failure.trap(CircuitLost))
        self.clock.advance(1)
        self.failureResultOf(first, CircuitLost)

    def test_idle(self) -> None:
        """A circuit without questions is closed soon; the next question has another one."""
        answer = self.questions.ask(NODE, b"one")
        circuit, protocol, _ = self.opened()
        protocol.dataReceived(frame(b"1"))
        self.successResultOf(answer)
        self.clock.advance(IDLE - 0.01)
        self.assertEqual((circuit.closed, len(self.questions)), (False, 1))
        self.clock.advance(0.01)
        self.assertTrue(circuit.closed)
        self.assertNothingLeft()
        self.questions.ask(NODE, b"two")
        self.assertEqual(len(self.builds), 2)
        self.assertEqual(self.opened()[0].first_data, [frame(b"two")])

    def test_used_again_before_that(self) -> None:
        """The time of an answer counts then."""
        self.questions.ask(NODE, b"one")
        circuit, protocol, _ = self.opened()
        protocol.dataReceived(frame(b"1"))
        self.clock.advance(IDLE - 1)
        second = self.questions.ask(NODE, b"two")
        self.clock.advance(IDLE)
        self.assertFalse(circuit.closed)
        protocol.dataReceived(frame(b"2"))
        self.assertEqual(self.successResultOf(second), b"2")


class FailureTests(QuestionsTests):
    """What goes wrong at the other end, and here."""

    def test_no_path(self) -> None:
        """Building fails at once, as for a node that is not listed any more: nobody waits, the next may ask again."""
        for error in (PathError("node is not listed"), CircuitLost("the client is closed")):
            questions = self.instead(partial(fail, error))
            for _ in range(2):
                self.failureResultOf(questions.ask(NODE, b"one"), type(error))
                self.assertEqual(len(questions), 0)
        self.assertNothingLeft()

    def test_a_circuit_at_once(self) -> None:
        """Building may also succeed at once."""
        circuit = CircuitDouble(path(1))
        questions = self.instead(partial(succeed, circuit))
        answer = questions.ask(NODE, b"one")
        protocol, transport = circuit.connect()
        asked = frames(b"".join(circuit.first_data) + transport.value())
        self.assertEqual(asked, [b"one"])
        protocol.dataReceived(frame(b"1"))
        self.assertEqual(self.successResultOf(answer), b"1")

    def test_a_circuit_that_is_gone_already(self) -> None:
        """It died in the moment in which it was built."""
        circuit = CircuitDouble(path(1))
        circuit.close()
        questions = self.instead(partial(succeed, circuit))
        self.failureResultOf(questions.ask(NODE, b"one"), CircuitLost)
        self.assertEqual(len(questions), 0)

    def test_the_node_refuses(self) -> None:
        """All who wait hear why, and no other circuit is built."""
        answers = [self.questions.ask(NODE, b"one") for _ in range(2)]
        self.builds[0].deferred.errback(CircuitBuildError(3, 3, "name", "no answer"))
        for answer in answers:
            self.failureResultOf(answer, CircuitBuildError)
        self.assertEqual(len(self.builds), 1)
        self.assertNothingLeft()

    def test_the_stream_is_refused(self) -> None:
        """By a node that takes no part."""
        answer = self.questions.ask(NODE, b"one")
        circuit = self.built()
        circuit.refuse(StreamReset("no"))
        self.failureResultOf(answer, StreamReset)
        self.assertTrue(circuit.closed)
        self.assertNothingLeft()

    def test_the_stream_ends(self) -> None:
        """Cleanly or not: who still waits hears an error of ours."""
        for reason in (ConnectionDone(), ConnectionLost(), StreamReset("torn")):
            answers = [self.questions.ask(NODE, b"one") for _ in range(2)]
            circuit, protocol, _ = self.opened()
            protocol.dataReceived(frame(b"1"))
            self.successResultOf(answers[0])
            protocol.connectionLost(Failure(reason))
            self.failureResultOf(answers[1], TorpydoError)
            self.assertTrue(circuit.closed)
            self.assertNothingLeft()

    def test_the_circuit_is_lost(self) -> None:
        """At each step."""
        for steps in (self.built, self.opened):
            answer = self.questions.ask(NODE, b"one")
            made = steps()
            (made[0] if isinstance(made, tuple) else made).close()
            self.failureResultOf(answer, CircuitLost)
            self.assertNothingLeft()

    def test_a_wrong_frame(self) -> None:
        """Too long or empty: the circuit is closed."""
        for wrong in (b"\0\0", (MAX_FRAME + 1).to_bytes(2, "big"), b"\xff\xff" + b"x" * 10):
            answer = self.questions.ask(NODE, b"one")
            circuit, protocol, _ = self.opened()
            protocol.dataReceived(wrong)
            self.failureResultOf(answer, RemoteProtocolError)
            self.assertTrue(circuit.closed)
            self.assertNothingLeft()

    def test_an_answer_too_many(self) -> None:
        """Nobody has asked for it: nothing more is believed on this stream."""
        answer = self.questions.ask(NODE, b"one")
        circuit, protocol, _ = self.opened()
        protocol.dataReceived(frame(b"1") + frame(b"2") + frame(b"3"))
        self.assertEqual(self.successResultOf(answer), b"1")
        self.assertTrue(circuit.closed)
        self.assertNothingLeft()

    def test_answers_after_the_end(self) -> None:
        """What still comes of a stream that is over is nobody's."""
        self.questions.ask(NODE, b"one").addErrback(lambda failure: failure.trap(CircuitLost))
        _, protocol, _ = self.opened()
        self.clock.advance(ANSWER)
        protocol.dataReceived(frame(b"1"))
        protocol.connectionLost(Failure(ConnectionDone()))
        self.assertNothingLeft()

    def test_who_hears_of_the_end_asks_again(self) -> None:
        """It is another circuit."""
        again: list[Deferred[bytes]] = []
        answer = self.questions.ask(NODE, b"one")
        answer.addErrback(lambda failure: again.append(self.questions.ask(NODE, b"again")))
        circuit, _, _ = self.opened()
        circuit.close()
        self.assertEqual(len(self.builds), 2)
        _, protocol, _ = self.opened()
        protocol.dataReceived(frame(b"1"))
        self.assertEqual(self.successResultOf(again[0]), b"1")

    def test_no_id(self) -> None:
        """What is no key of a node is an error, not a circuit."""
        for raw in (b"", b"short", b"x" * 33):
            self.failureResultOf(self.questions.ask(raw, b"one"), BadKey)
        self.assertEqual(self.builds, [])
        self.assertNothingLeft()


class AgainTests(QuestionsTests):
    """A node on the way is lost, and not the one that is asked: another circuit."""

    hops = 3

    def assertAsked(self, *questions: bytes) -> tuple[CircuitDouble, IProtocol]:
        """The circuit that was asked for last is there, with these questions and no others."""
        circuit, protocol, transport = self.opened()
        self.assertEqual(frames(b"".join(circuit.first_data) + transport.value()), list(questions))
        return circuit, protocol

    def test_a_hop_refuses(self) -> None:
        """The first or the one in the middle: all who wait have their answers through others."""
        answers = [self.questions.ask(NODE, b"one"), self.questions.ask(NODE, b"two")]
        for hop in (1, 2):
            self.builds[-1].deferred.errback(CircuitBuildError(hop, 3, "name", "no answer"))
        self.assertEqual((len(self.builds), len(self.questions)), (3, 1))
        _, protocol = self.assertAsked(b"one", b"two")
        protocol.dataReceived(frame(b"1") + frame(b"2"))
        self.assertEqual([self.successResultOf(answer) for answer in answers], [b"1", b"2"])

    def test_the_circuit_is_lost(self) -> None:
        """At each step. What has its answer is not asked again, and what is asked meanwhile goes along."""
        for steps in (self.built, lambda: self.opened()[0]):
            first, second = self.questions.ask(NODE, b"one"), self.questions.ask(NODE, b"two")
            steps().close()
            third = self.questions.ask(NODE, b"three")
            circuit, protocol = self.assertAsked(b"one", b"two", b"three")
            protocol.dataReceived(frame(b"1"))
            circuit.close()
            _, protocol = self.assertAsked(b"two", b"three")
            protocol.dataReceived(frame(b"2") + frame(b"3"))
            self.assertEqual([self.successResultOf(one) for one in (first, second, third)], [b"1", b"2", b"3"])
            self.clock.advance(IDLE)
            self.assertNothingLeft()

    def test_the_stream_hears_of_it_first(self) -> None:
        """As with a real circuit: each question is asked once more, not twice."""
        self.questions.ask(NODE, b"one")
        circuit, protocol, _ = self.opened()
        circuit.is_open = False
        protocol.connectionLost(Failure(CircuitLost("gone")))
        circuit.close()
        self.assertEqual((len(self.builds), len(self.questions)), (2, 1))
        self.assertAsked(b"one")

    def test_not_for_ever(self) -> None:
        """So many circuits, and no more."""
        answer = self.questions.ask(NODE, b"one")
        for _ in range(CIRCUITS):
            self.assertNoResult(answer)
            self.opened()[0].close()
        self.failureResultOf(answer, CircuitLost)
        self.assertEqual(len(self.builds), CIRCUITS)
        self.assertNothingLeft()

    def test_no_more_time(self) -> None:
        """It is the first circuit's time that counts, with all that are built."""
        answer = self.questions.ask(NODE, b"one")
        circuit = self.built()
        self.clock.advance(ANSWER - 1)
        circuit.close()
        self.built()
        self.clock.advance(1)
        self.failureResultOf(answer, CircuitLost)
        self.assertNothingLeft()

    def test_the_node_ends_it(self) -> None:
        """It has answered, in its way: no other circuit helps."""
        for reason in (ConnectionDone(), StreamReset("torn")):
            answer = self.questions.ask(NODE, b"one")
            builds = len(self.builds)
            _, protocol, _ = self.opened()
            protocol.connectionLost(Failure(reason))
            self.failureResultOf(answer, StreamReset)
            self.assertEqual(len(self.builds), builds)
            self.assertNothingLeft()

    def test_nobody_waits(self) -> None:
        """Then there is nothing to ask again."""
        answer = self.questions.ask(NODE, b"one")
        circuit, protocol, _ = self.opened()
        protocol.dataReceived(frame(b"1"))
        self.successResultOf(answer)
        circuit.close()
        self.assertEqual(len(self.builds), 1)
        self.assertNothingLeft()

    def test_closed_meanwhile(self) -> None:
        """No circuit is built for questions that were given up."""
        answer = self.questions.ask(NODE, b"one")
        circuit = self.built()
        circuit.is_open = False
        self.questions.close()
        self.failureResultOf(answer, CircuitLost)
        self.assertEqual(len(self.builds), 1)
        self.assertNothingLeft()


class GivenUpTests(QuestionsTests):
    """Cancel and close."""

    def test_cancel(self) -> None:
        """The others have their own answers still."""
        answers = [self.questions.ask(NODE, question) for question in (b"one", b"two", b"three")]
        answers[1].cancel()
        self.failureResultOf(answers[1], CancelledError)
        _, protocol, _ = self.opened()
        protocol.dataReceived(frame(b"1") + frame(b"2") + frame(b"3"))
        self.assertEqual([self.successResultOf(answers[at]) for at in (0, 2)], [b"1", b"3"])

    def test_cancel_and_silence(self) -> None:
        """One that nobody waits for is not told."""
        answers = [self.questions.ask(NODE, question) for question in (b"one", b"two")]
        answers[0].cancel()
        self.failureResultOf(answers[0], CancelledError)
        self.clock.advance(ANSWER)
        self.failureResultOf(answers[1], CircuitLost)
        self.assertNothingLeft()

    def test_close(self) -> None:
        """At every step: all who wait are told, and nothing stays."""
        for steps in (lambda: None, self.built, self.opened):
            self.questions = Questions(self.clock, self.build)
            answers = [self.questions.ask(NODE, b"one"), self.questions.ask(NODE, b"two")]
            made = steps()
            self.questions.close()
            for answer in answers:
                self.failureResultOf(answer, CircuitLost)
            if made is None:
                self.assertTrue(self.builds[-1].cancelled)
            else:
                self.assertTrue((made[0] if isinstance(made, tuple) else made).closed)
            self.assertNothingLeft()

    def test_closed(self) -> None:
        """No circuit is built any more, also not for those who ask again when they hear of it."""
        again: list[Deferred[bytes]] = []
        self.questions.ask(NODE, b"one").addErrback(lambda _: again.append(self.questions.ask(NODE, b"again")))
        self.questions.close()
        self.failureResultOf(again[0], CircuitLost)
        self.failureResultOf(self.questions.ask(NODE, b"one"), CircuitLost)
        self.assertEqual(len(self.builds), 1)
        self.questions.close()
        self.assertNothingLeft()
