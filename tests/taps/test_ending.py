"""Tests of torpydo.taps.ending."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from torpydo.errors import ListenError, StateError
from torpydo.taps.ending import CannotStart, EndingService


class Reactor(MemoryReactorClock):
    """A reactor that counts how often it was asked to stop."""

    stops = 0

    def begin(self) -> None:
        """Begin to run."""
        hooks, self.whenRunningHooks = self.whenRunningHooks, []
        for function, args, kwargs in hooks:
            function(*args, **kwargs)

    def stop(self) -> None:
        self.stops += 1

    def callFromThread(self, function: Callable[..., object], *args: object, **kwargs: object) -> None:
        function(*args, **kwargs)


class Broken(Service):
    """Cannot start."""

    def startService(self) -> None:
        raise StateError("the key is torn")


class EndingTests(SynchronousTestCase):
    """How a command ends."""

    def setUp(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        self.reactor = Reactor()

    def test_a_signal_stops_the_reactor(self) -> None:
        """It is an ordinary stop, and so the status is 0."""
        for number in (signal.SIGINT, signal.SIGTERM):
            EndingService(Service(), self.reactor).startService()
            self.reactor.begin()
            os.kill(os.getpid(), number)
        self.assertEqual(self.reactor.stops, 2)

    def test_a_second_signal_does_not_wait(self) -> None:
        """Who asks twice gets what the system does."""
        EndingService(Service(), self.reactor).startService()
        self.reactor.begin()
        os.kill(os.getpid(), signal.SIGINT)
        self.assertEqual(signal.getsignal(signal.SIGINT), signal.SIG_DFL)
        self.assertEqual(signal.getsignal(signal.SIGTERM), signal.SIG_DFL)

    def hang_up(self, *, terminal: bool) -> None:
        """A service with or without a terminal is told a hundred times (SECURITY section 3, 39)."""
        EndingService(Service(), self.reactor, terminal=lambda: terminal).startService()
        self.reactor.begin()
        for _ in range(100):
            os.kill(os.getpid(), signal.SIGHUP)

    def test_a_terminal_that_is_closed_stops_it(self) -> None:
        """A hang-up of the terminal is an ordinary stop, however often it comes."""
        self.hang_up(terminal=True)
        self.assertEqual(self.reactor.stops, 1)
        self.assertEqual(signal.getsignal(signal.SIGTERM), signal.SIG_DFL)

    def test_without_a_terminal_a_hang_up_means_nothing(self) -> None:
        """Other services read their options again; here there is nothing to read, and nothing ends."""
        self.hang_up(terminal=False)
        self.assertEqual(self.reactor.stops, 0)
        self.assertNotEqual(signal.getsignal(signal.SIGTERM), signal.SIG_DFL)

    def test_nohup_is_respected(self) -> None:
        """Whoever was told to ignore hang-ups ignores them, with a terminal as well."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.hang_up(terminal=True)
        self.assertEqual(self.reactor.stops, 0)

    def test_a_signal_during_the_start(self) -> None:
        """The start is finished, the stop follows as soon as the reactor runs, and a second signal does not wait."""
        class Slow(Service):
            def startService(self) -> None:
                os.kill(os.getpid(), signal.SIGINT)
                Service.startService(self)

        slow = Slow()
        EndingService(slow, self.reactor).startService()
        self.assertTrue(slow.running)
        # What a reactor does when it begins.
        signal.signal(signal.SIGTERM, lambda number, frame: None)
        self.reactor.begin()
        self.assertEqual(self.reactor.stops, 1)
        self.assertEqual(signal.getsignal(signal.SIGINT), signal.SIG_DFL)
        self.assertEqual(signal.getsignal(signal.SIGTERM), signal.SIG_DFL)

    def test_a_start_that_fails_gives_the_signals_back(self) -> None:
        """Whoever had them before goes on to have them."""
        before = signal.getsignal(signal.SIGINT)
        self.assertRaises(CannotStart, EndingService(Broken(), self.reactor).startService)
        self.assertIs(signal.getsignal(signal.SIGINT), before)

    def test_a_stop_gives_the_signals_back(self) -> None:
        """Whoever had them before goes on to have them."""
        before = signal.getsignal(signal.SIGINT)
        for terminal in (False, True):
            service = EndingService(Service(), self.reactor, terminal=lambda terminal=terminal: terminal)
            service.startService()
            self.reactor.begin()
            self.successResultOf(service.stopService())
            self.assertIs(signal.getsignal(signal.SIGINT), before)
            self.assertIs(signal.getsignal(signal.SIGHUP), signal.SIG_DFL)

    def test_what_cannot_start_ends_with_its_status(self) -> None:
        """The status is the error's, and the sentence as well."""
        error = self.assertRaises(CannotStart, EndingService(Broken(), self.reactor).startService)
        self.assertEqual((error.code, str(error)), (4, "the key is torn"))

    def test_what_finds_out_late_that_it_cannot_listen_ends_it(self) -> None:
        """With one line that says why; nobody could be served."""
        listening: Deferred[None] = Deferred()
        EndingService(Service(), self.reactor, listening=lambda: listening).startService()
        with capturedLogs() as lines:
            listening.errback(ListenError("the address is taken"))
        self.assertEqual([line["error"] for line in lines], ["the address is taken"])
        self.assertEqual(self.reactor.stops, 1)

    def test_what_is_stopped_before_it_listens_says_nothing(self) -> None:
        """Nobody needs to hear that it does not listen."""
        for reason in (CancelledError(), ListenError("the address is taken")):
            listening: Deferred[None] = Deferred()
            service = EndingService(Service(), self.reactor, listening=lambda listening=listening: listening)
            service.startService()
            service.stopService()
            with capturedLogs() as lines:
                listening.errback(reason)
            self.assertEqual((lines, self.reactor.stops), ([], 0))
