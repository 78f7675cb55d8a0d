"""How a twistd command ends: with one line and a status that says why if it cannot start, with 0 if it is stopped.

twistd shows a traceback for an error at start, removes its pid file only for an ``Exception``, and leaves with the
status that a ``SystemExit`` names. :class:`CannotStart` is both. After Ctrl-C, twistd stops everything and then kills
itself with the same signal, as if something had failed; here both signals that ask for an end stop the reactor like
any other caller, and a second one does not wait for it. Used by every tap.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger

from torpydo.errors import TorpydoError

__all__ = ["CannotStart", "EndingService"]


class CannotStart(TorpydoError, SystemExit):
    """A command cannot start; the reason was logged.

    :ivar code: the exit status
    """

    def __init__(self, reason: TorpydoError) -> None:
        super().__init__(str(reason))
        self.code = self.exit_status = reason.exit_status


class EndingService(MultiService):
    """The root of a command's services.

    :param service: what the command runs
    :param reactor: what runs it
    :param started: called after each start
    """

    log = Logger()

    def __init__(self, service: IService, reactor: Any, started: Callable[[], object] = lambda: None) -> None:
        MultiService.__init__(self)
        self._reactor = reactor
        self._started = started
        self._before: dict[int, Any] = {}
        service.setServiceParent(self)

    def privilegedStartService(self) -> None:
        """Start what needs privileges.

        :raises CannotStart: if that fails in a way that an operator can do something about
        """
        self._start(MultiService.privilegedStartService)

    def startService(self) -> None:
        """Start everything.

        :raises CannotStart: if that fails in a way that an operator can do something about
        """
        self._start(MultiService.startService)
        # Only then: a reactor takes the signals when it begins to run.
        self._reactor.callWhenRunning(self._take_signals)
        self._started()

    def _start(self, start: Callable[[Any], None]) -> None:
        try:
            start(self)
        except TorpydoError as error:
            self.log.critical("{error}", error=str(error))
            raise CannotStart(error) from None

    def stopService(self) -> Deferred[Any]:
        """Stop everything, and leave the signals to whom they belonged."""
        for number, before in self._before.items():
            # Not after a signal: the next one is not to wait.
            if signal.getsignal(number) == self._stop:
                signal.signal(number, before)
        self._before.clear()
        stopped: Deferred[Any] = maybeDeferred(MultiService.stopService, self)
        return stopped

    def _take_signals(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._stop)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        for again in (signal.SIGINT, signal.SIGTERM):
            signal.signal(again, signal.SIG_DFL)
        self._reactor.callFromThread(self._reactor.stop)
