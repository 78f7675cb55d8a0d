"""Tests for torpydo.testing.clock."""

from __future__ import annotations

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.trial.unittest import SynchronousTestCase

from torpydo.testing import SimulatedReactor, SimulationError


class CallLaterTests(SynchronousTestCase):
    """Timed calls."""

    def setUp(self) -> None:
        self.reactor = SimulatedReactor()
        self.calls: list[object] = []

    def note(self, what: object) -> None:
        self.calls.append((self.reactor.seconds(), what))

    def test_in_order_of_time(self) -> None:
        """Calls are made at their own time, in order, whatever the order in which they were asked for."""
        self.reactor.callLater(3, self.note, "c")
        self.reactor.callLater(1, self.note, "a")
        self.reactor.callLater(2, self.note, "b")
        self.reactor.advance(2.5)
        self.assertEqual(self.calls, [(1, "a"), (2, "b")])
        self.assertEqual(self.reactor.seconds(), 2.5)

    def test_same_time_in_order_of_asking(self) -> None:
        """Calls for the same time are made in the order in which they were asked for."""
        for number in range(20):
            self.reactor.callLater(1, self.note, number)
        self.reactor.advance(1)
        self.assertEqual([what for _, what in self.calls], list(range(20)))

    def test_nested(self) -> None:
        """A call made by a call happens within the same advance, at its own time."""
        self.reactor.callLater(1, lambda: self.reactor.callLater(1, self.note, "inner"))
        self.reactor.advance(10)
        self.assertEqual(self.calls, [(2, "inner")])

    def test_cancel(self) -> None:
        """A cancelled call is not made, and cannot be cancelled again."""
        call = self.reactor.callLater(1, self.note, "never")
        call.cancel()
        self.assertRaises(AlreadyCancelled, call.cancel)
        self.reactor.advance(2)
        self.assertEqual(self.calls, [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_cancel_of_a_call_that_is_due(self) -> None:
        """A call can be cancelled by another one of the same instant."""
        self.reactor.callLater(1, lambda: call.cancel())
        call = self.reactor.callLater(1, self.note, "never")
        self.reactor.advance(2)
        self.assertEqual(self.calls, [])

    def test_cancel_after_call(self) -> None:
        """A call that was made cannot be cancelled."""
        call = self.reactor.callLater(1, self.note, "made")
        self.reactor.advance(1)
        self.assertRaises(AlreadyCalled, call.cancel)

    def test_reset_sooner(self) -> None:
        """A call that is moved forward is made once, at the new time."""
        call = self.reactor.callLater(10, self.note, "x")
        call.reset(1)
        self.reactor.advance(20)
        self.assertEqual(self.calls, [(1, "x")])

    def test_reset_later(self) -> None:
        """A call that is put off is made once, at the new time."""
        call = self.reactor.callLater(1, self.note, "x")
        self.reactor.callLater(0.5, call.reset, 4.5)
        self.reactor.advance(20)
        self.assertEqual(self.calls, [(5, "x")])

    def test_reset_later_beside_another(self) -> None:
        """A call that was put off is not made with others that are due at its old time."""
        self.reactor.callLater(1, self.note, "a")
        self.reactor.callLater(1, self.note, "b").reset(2)
        self.reactor.advance(1)
        self.assertEqual(self.calls, [(1, "a")])
        self.reactor.advance(1)
        self.assertEqual(self.calls, [(1, "a"), (2, "b")])

    def test_delay(self) -> None:
        """A delay adds to the time of the call, and may be taken back."""
        call = self.reactor.callLater(1, self.note, "x")
        call.delay(5)
        call.delay(-2)
        self.reactor.advance(20)
        self.assertEqual(self.calls, [(4, "x")])

    def test_many_cancelled(self) -> None:
        """Time-outs that are cancelled do not fill the heap."""
        for _ in range(10_000):
            self.reactor.callLater(60, self.note, "never").cancel()
        self.assertLess(len(self.reactor.clock._heap), 3000)
        self.reactor.callLater(1, self.note, "x")
        self.reactor.advance(100)
        self.assertEqual(self.calls, [(1, "x")])

    def test_error_is_logged_and_the_rest_goes_on(self) -> None:
        """An error in a timed call is logged, as by a real reactor, and later calls are made."""
        self.reactor.callLater(1, lambda: 1 // 0)
        self.reactor.callLater(1, self.note, "x")
        self.reactor.advance(1)
        self.assertEqual(self.calls, [(1, "x")])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_no_call_in_the_past(self) -> None:
        """A negative delay is refused; so is one that is no number."""
        self.assertRaises(ValueError, self.reactor.callLater, -1, self.note)
        self.assertRaises(ValueError, self.reactor.callLater, float("nan"), self.note)

    def test_from_thread(self) -> None:
        """What a thread asks for happens in the next turn."""
        self.reactor.callFromThread(self.note, "x")
        self.assertEqual(self.calls, [])
        self.reactor.flush()
        self.assertEqual(self.calls, [(0, "x")])


class EndlessTests(SynchronousTestCase):
    """What never becomes quiet is found."""

    def test_endless_loop(self) -> None:
        """A call that repeats itself without delay ends with an error that names it."""
        reactor = SimulatedReactor()
        reactor.clock.max_turns = 1000

        def again_and_again() -> None:
            reactor.callLater(0, again_and_again)

        again_and_again()
        error = self.assertRaises(SimulationError, reactor.flush)
        self.assertIn("again_and_again", str(error))

    def test_not_from_inside(self) -> None:
        """Code that runs in the simulation cannot drive it."""
        reactor = SimulatedReactor()
        reactor.callLater(0, reactor.advance, 1)
        reactor.flush()
        self.assertEqual(len(self.flushLoggedErrors(SimulationError)), 1)

    def test_advance_backwards(self) -> None:
        """Time does not run backwards."""
        self.assertRaises(ValueError, SimulatedReactor().advance, -1)
