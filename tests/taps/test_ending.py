"""Tests of torpydo.taps.ending."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from torpydo.errors import StateError
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
        for number in (signal.SIGINT, signal.SIGTERM):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
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

    def test_signals_are_not_taken_before_it_runs(self) -> None:
        """A reactor takes them itself when it begins, so there is no use in coming first."""
        before = signal.getsignal(signal.SIGINT)
        EndingService(Service(), self.reactor).startService()
        self.assertIs(signal.getsignal(signal.SIGINT), before)

    def test_a_stop_gives_the_signals_back(self) -> None:
        """Whoever had them before goes on to have them."""
        before = signal.getsignal(signal.SIGINT)
        service = EndingService(Service(), self.reactor)
        service.startService()
        self.reactor.begin()
        self.successResultOf(service.stopService())
        self.assertIs(signal.getsignal(signal.SIGINT), before)

    def test_what_cannot_start_ends_with_its_status(self) -> None:
        """The status is the error's, and the sentence as well."""
        error = self.assertRaises(CannotStart, EndingService(Broken(), self.reactor).startService)
        self.assertEqual((error.code, str(error)), (4, "the key is torn"))
