"""Tests of torpydo.client.attempts."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.client.doubles import Builder, CircuitDouble, Cycle, exits, make_paths, want
from tests.directory.build import document, network
from torpydo.client.attempts import RETRY_PAUSE, attempt
from torpydo.client.builds import UsableCircuit
from torpydo.client.circuitpool import CircuitPool
from torpydo.client.firstdata import FirstData
from torpydo.client.keeping import KeptTimes
from torpydo.client.limits import DEFAULT_LIMITS
from torpydo.errors import (
    CircuitLost,
    ConnectRefused,
    ConnectTimeout,
    ExitPolicyRefused,
    NodeOverloaded,
    ResolveFailed,
    StreamReset,
    TooFewNodes,
)

TRIES = DEFAULT_LIMITS.tries
ONLY_TRY = sum(TRIES)


class AttemptTests(SynchronousTestCase):
    """One stream and its circuits."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.builder = Builder()
        self.paths = make_paths(exits(), self.clock)
        self.pool = CircuitPool(
            self.clock,
            self.paths,
            self.builder,
            Cycle(),
            KeptTimes(None, self.clock),
            stale=lambda: None,
            outcome=lambda outcome: None,
        )
        self.addCleanup(self.pool.close)
        self.circuits: list[CircuitDouble] = []
        self.pool.work()
        self.build()

    def build(self) -> None:
        """Build everything that is missing."""
        self.circuits += self.builder.finish()

    def open(self, first: FirstData | None = None, **options: Any) -> Deferred[Any]:
        """Open a stream to example.org:80."""
        factory = Factory.forProtocol(Protocol)

        def open_on(circuit: UsableCircuit) -> Deferred[Any]:
            return circuit.open_stream(factory, "h", 80, first_data=first or b"")

        return Deferred.fromCoroutine(attempt(self.pool, self.clock, want(**options), open_on, first, tries=TRIES))

    def busy(self) -> CircuitDouble:
        """The circuit that carries the stream now."""
        return next(circuit for circuit in self.circuits if circuit.waiting)

    def test_connected(self) -> None:
        """The first circuit is enough."""
        result = self.open()
        protocol, _ = self.busy().connect()
        self.assertIs(self.successResultOf(result), protocol)

    def test_a_circuit_that_dies_costs_a_try(self) -> None:
        """The stream goes on on another one, and the application hears nothing."""
        result = self.open()
        first = self.busy()
        first.close()
        self.clock.advance(RETRY_PAUSE)
        self.build()
        second = self.busy()
        self.assertIsNot(second, first)
        second.connect()
        self.successResultOf(result)

    def test_circuits_that_die_together_cost_one_try(self) -> None:
        """A node that is lost takes all circuits through it along, one after another: the next try waits for that."""
        result = self.open()
        first = self.busy()
        for circuit in [first, *self.circuits]:
            circuit.close()
        self.clock.advance(RETRY_PAUSE)
        self.build()
        self.assertNoResult(result)
        self.assertNotIn(self.busy(), self.circuits[:1])
        for _ in TRIES[2:]:
            self.busy().close()
            self.clock.advance(RETRY_PAUSE)
            self.build()
        self.busy().connect()
        self.successResultOf(result)

    def test_three_dead_circuits_are_enough(self) -> None:
        """Then the application is told."""
        result = self.open()
        for _ in TRIES:
            self.busy().close()
            self.clock.advance(RETRY_PAUSE)
            self.build()
        self.failureResultOf(result, CircuitLost)

    def test_no_answer_in_time(self) -> None:
        """10, 10 and 15 seconds, each on another circuit; the silent ones take no more streams."""
        result = self.open()
        tried = []
        for seconds in (10, 10, 15):
            circuit = self.busy()
            tried.append(circuit)
            self.clock.advance(seconds - 1)
            self.assertEqual(len(circuit.waiting), 1)
            self.clock.advance(1)
            self.build()
        self.failureResultOf(result, ConnectTimeout)
        self.assertEqual(len(set(tried)), 3)
        self.assertTrue(all(circuit.closed for circuit in tried))

    def test_an_exit_that_refuses_is_replaced_and_remembered(self) -> None:
        """Another exit is asked, and later streams to that port go round it."""
        result = self.open()
        first = self.busy()
        first.refuse(ExitPolicyRefused("no"))
        self.build()
        second = self.busy()
        refusing = first.path[-1].node_id
        self.assertNotEqual(second.path[-1].node_id, refusing)
        self.assertTrue(self.paths.avoids(refusing, 80))
        second.connect()
        self.successResultOf(result)

    def test_an_overloaded_exit_is_replaced_but_not_remembered(self) -> None:
        """The next stream may ask it again."""
        result = self.open()
        first = self.busy()
        first.refuse(NodeOverloaded("no"))
        self.build()
        self.assertFalse(self.paths.avoids(first.path[-1].node_id, 80))
        self.busy().connect()
        self.successResultOf(result)

    def test_when_no_other_exit_is_left_the_refusal_is_the_reason(self) -> None:
        """Not that there is no path."""
        self.paths.netdir = network([document(1, policy="accept *:8000"), document(2), document(3), document(4)])
        result = self.open(port=8000, isolation="new", hops=2)
        self.build()
        self.busy().refuse(ExitPolicyRefused("no"))
        self.failureResultOf(result, ExitPolicyRefused)

    def test_what_the_destination_answers_is_the_answer(self) -> None:
        """No second try for a refused connection or an unknown name."""
        for error in (ConnectRefused("no"), ResolveFailed("no")):
            result = self.open()
            self.busy().refuse(error)
            self.assertIs(self.failureResultOf(result).value, error)

    def test_no_path_is_the_reason_at_once(self) -> None:
        """Nothing to try."""
        self.failureResultOf(self.open(hops=8), TooFewNodes)

    def test_cancel(self) -> None:
        """The stream is given up and its place on the circuit is free."""
        result = self.open()
        circuit = self.busy()
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.assertEqual((circuit.waiting, circuit.streams), ([], 0))

    def test_cancel_while_waiting_for_a_circuit(self) -> None:
        """The wait is given up."""
        result = self.open(isolation="new", hops=4)
        result.cancel()
        self.failureResultOf(result, CancelledError)

    def test_cancel_between_two_tries(self) -> None:
        """The pause is, too."""
        result = self.open()
        self.busy().close()
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.clock.advance(RETRY_PAUSE)
        self.build()
        self.assertEqual([circuit for circuit in self.circuits if circuit.waiting], [])


class FirstDataTests(AttemptTests):
    """The same with bytes that go with the question: an answer that is missing is not asked for again."""

    def open(self, first: FirstData | None = None, **options: Any) -> Deferred[Any]:
        return super().open(first or FirstData(b"GET /"), **options)

    def sent(self) -> list[bytes]:
        """What went with the question, on every circuit."""
        return [data for circuit in self.circuits for data in circuit.first_data]

    def test_connected(self) -> None:
        """They go once."""
        super().test_connected()
        self.assertEqual(self.sent(), [b"GET /"])

    def test_no_answer_in_time(self) -> None:
        """The exit may have delivered them: after the time of all tries that is an error, and nothing is sent twice."""
        result = self.open()
        circuit = self.busy()
        self.clock.advance(ONLY_TRY - 1)
        self.assertNoResult(result)
        self.clock.advance(1)
        self.build()
        self.failureResultOf(result, ConnectTimeout)
        self.assertEqual(self.sent(), [b"GET /"])
        self.assertTrue(circuit.closed)

    def test_bytes_that_came_later(self) -> None:
        """Nor are those that were not there when the stream was asked for."""
        first = FirstData()
        result = self.open(first)
        first.add(b"GET /")
        self.clock.advance(TRIES[0])
        self.clock.advance(ONLY_TRY - TRIES[0] - 1)
        self.assertNoResult(result)
        self.clock.advance(1)
        self.build()
        self.failureResultOf(result, ConnectTimeout)
        self.assertEqual(self.sent(), [b"GET /"])

    def test_a_refusal_is_no_doubt(self) -> None:
        """An exit that says that it did not connect has delivered nothing: they go to the next one."""
        result = self.open()
        self.busy().refuse(ExitPolicyRefused("port 80"))
        self.build()
        self.busy().connect()
        self.successResultOf(result)
        self.assertEqual(self.sent(), [b"GET /", b"GET /"])

    def test_a_doubt_is_an_error(self) -> None:
        """A circuit that was lost after they had gone is not replaced."""
        result = self.open()
        self.busy().refuse(StreamReset("they may have arrived"))
        self.build()
        self.failureResultOf(result, StreamReset)
        self.assertEqual(self.sent(), [b"GET /"])
