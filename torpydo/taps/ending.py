"""How a twistd command ends: with one line and a status that says why if it cannot start, with 0 if it is stopped.

twistd shows a traceback for an error at start, removes its pid file only for an ``Exception``, and leaves with the
status that a ``SystemExit`` names. :class:`CannotStart` is both. After Ctrl-C, twistd stops everything and then kills
itself with the same signal, as if something had failed; here both signals that ask for an end stop the reactor like
any other caller, and a second one does not wait for it. A hang-up is one of them if it means that a terminal is gone;
a service without a terminal has nothing to read again and goes on (SECURITY section 3, 39). Used by every tap.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from torpydo.errors import TorpydoError

__all__ = ["CannotStart", "EndingService", "has_terminal"]


class CannotStart(TorpydoError, SystemExit):
    """A command cannot start; the reason was logged.

    :ivar code: the exit status
    """

    def __init__(self, reason: TorpydoError) -> None:
        super().__init__(str(reason))
        self.code = self.exit_status = reason.exit_status


def has_terminal() -> bool:
    """Whether this process belongs to a terminal, and a hang-up means that somebody has closed it."""
    try:
        terminal = os.open(os.ctermid(), os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    os.close(terminal)
    return True


class EndingService(MultiService):
    """The root of a command's services.

    :param service: what the command runs
    :param reactor: what runs it
    :param beside: what only looks at it; started after it
    :param listening: asked after each start; if what it gives fails, nobody can be served, and the command ends
    :param terminal: whether a hang-up asks for an end; asked when the reactor begins to run
    """

    log = Logger()

    def __init__(
        self,
        service: IService,
        reactor: Any,
        *beside: IService,
        listening: Callable[[], Deferred[Any]] = lambda: succeed(None),
        terminal: Callable[[], bool] = has_terminal,
    ) -> None:
        MultiService.__init__(self)
        self._reactor = reactor
        self._listening = listening
        self._terminal = terminal
        self._before: dict[int, Any] = {}
        self._stopping = False
        for one in (service, *beside):
            one.setServiceParent(self)

    def privilegedStartService(self) -> None:
        """Start what needs privileges.

        :raises CannotStart: if that fails in a way that an operator can do something about
        """
        self._start(MultiService.privilegedStartService)

    def startService(self) -> None:
        """Start everything.

        :raises CannotStart: if that fails in a way that an operator can do something about
        """
        # A Ctrl-C in the middle of the start would be a traceback, and leave half of it behind.
        self._take_signals()
        self._start(MultiService.startService)
        # And again: a reactor takes SIGTERM when it begins to run.
        self._reactor.callWhenRunning(self._take_signals)
        self._listening().addErrback(self._deaf)

    def _start(self, start: Callable[[Any], None]) -> None:
        try:
            start(self)
        except TorpydoError as error:
            self._give_signals_back()
            self.log.critical("{error}", error=str(error))
            raise CannotStart(error) from None

    def _deaf(self, failure: Failure) -> None:
        # Built-in endpoints fail at once and end the process with a status; one that fails later can only end it.
        error = failure.trap(TorpydoError, CancelledError)
        if error is TorpydoError and self.running:
            self.log.critical("{error}", error=failure.getErrorMessage())
            self._reactor.stop()

    def stopService(self) -> Deferred[Any]:
        """Stop everything, and leave the signals to whom they belonged."""
        self._give_signals_back()
        stopped: Deferred[Any] = maybeDeferred(MultiService.stopService, self)
        return stopped

    def _give_signals_back(self) -> None:
        for number, before in self._before.items():
            # Not after a signal: the next one is not to wait.
            if signal.getsignal(number) in (self._stop, self._go_on):
                signal.signal(number, before)
        self._before.clear()

    def _take_signals(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            # After a signal that came during the start, the next one is not to wait.
            before = signal.signal(number, signal.SIG_DFL if self._stopping else self._stop)
            self._before.setdefault(number, before)
        # Whoever ignores it from the start, as nohup does, is to go on doing so.
        if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
            hung_up = self._stop if self._terminal() else self._go_on
            self._before[signal.SIGHUP] = signal.signal(signal.SIGHUP, hung_up)

    def _go_on(self, number: int, frame: FrameType | None) -> None:
        """Unlike a signal that is ignored, it is not ignored by processes that this one starts."""

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
        for again in (signal.SIGINT, signal.SIGTERM):
            signal.signal(again, signal.SIG_DFL)
        if signal.SIGHUP in self._before:
            # It is no wish to hurry, and may come more than once.
            signal.signal(signal.SIGHUP, self._go_on)
        self._reactor.callFromThread(self._reactor.stop)
