"""Tests of torpydo.cli.running."""

from __future__ import annotations

import io

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from torpydo.cli.running import LineObserver, end_of
from torpydo.errors import ConfigurationError, PoolUnreachable, StateError, TorpydoError


class EndTests(SynchronousTestCase):
    """How a coroutine's end becomes an exit status."""

    def end(self, result: Deferred[int], signal: int | None = None) -> tuple[int, str]:
        """The exit status, and what is said."""
        err = io.StringIO()
        return self.successResultOf(end_of(result, lambda: signal, err)), err.getvalue()

    def test_success_is_silent(self) -> None:
        """A command that did its job says nothing more."""
        self.assertEqual(self.end(succeed(0)), (0, ""))

    def test_an_error_is_one_line_with_its_own_status(self) -> None:
        """The type of the error decides."""
        for error, status in (
            (TorpydoError("a"), 1),
            (ConfigurationError("a"), 2),
            (PoolUnreachable("a"), 3),
            (StateError("a"), 4),
        ):
            self.assertEqual(self.end(fail(error)), (status, "torpydo: a\n"))

    def test_an_interrupted_command_says_so(self) -> None:
        """Whatever the interruption made fail is not told."""
        for number, status in ((2, 130), (15, 143)):
            interrupted: Deferred[int] = Deferred()
            interrupted.cancel()
            self.assertEqual(self.end(interrupted, number), (status, "torpydo: interrupted\n"))

    def test_an_error_of_an_interruption_is_not_told(self) -> None:
        """The processes got the same Ctrl-C; that they are gone is no news."""
        self.assertEqual(self.end(fail(TorpydoError("the pool ended by itself")), 2), (130, "torpydo: interrupted\n"))

    def test_a_command_may_take_ctrl_c_as_its_end(self) -> None:
        """A network that was kept until Ctrl-C has done its job."""
        self.assertEqual(self.end(succeed(0), 2), (0, ""))

    def test_a_reader_that_has_gone_is_no_message(self) -> None:
        """``torpydo status | head`` is nobody's mistake."""
        self.assertEqual(self.end(fail(BrokenPipeError())), (1, ""))

    def test_what_the_log_has_said_is_not_said_again(self) -> None:
        """One mistake is one line."""
        err = io.StringIO()
        said = ["torpydo: pool a: it does not answer"]
        end = end_of(fail(PoolUnreachable("it does not answer")), lambda: None, err, said)
        self.assertEqual((self.successResultOf(end), err.getvalue()), (3, ""))

    def test_a_programming_error_stays_what_it_is(self) -> None:
        """It must be seen with its traceback."""
        self.failureResultOf(end_of(fail(ZeroDivisionError()), lambda: None, io.StringIO()), ZeroDivisionError)


class LogTests(SynchronousTestCase):
    """Warnings on standard error."""

    def test_a_failure_is_one_line(self) -> None:
        """What happened and why, without a traceback."""
        out = io.StringIO()
        log = Logger(namespace="test", observer=LineObserver(out))
        log.warn("pool {url} is down", url="http://a/")
        try:
            raise PoolUnreachable("no pool answered")
        except PoolUnreachable:
            log.failure("listing")
        self.assertEqual(out.getvalue(), "torpydo: pool http://a/ is down\ntorpydo: listing: no pool answered\n")
