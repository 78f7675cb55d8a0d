"""How a twistd command ends when it cannot start: one line in the log, and a status that says why.

twistd shows a traceback for an error at start, removes its pid file only for an ``Exception``, and leaves with the
status that a ``SystemExit`` names. :class:`CannotStart` is both. Used by every tap.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.service import IService, MultiService
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
    :param started: called after each start
    """

    log = Logger()

    def __init__(self, service: IService, started: Callable[[], object] = lambda: None) -> None:
        MultiService.__init__(self)
        self._started = started
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
        self._started()

    def _start(self, start: Callable[[Any], None]) -> None:
        try:
            start(self)
        except TorpydoError as error:
            self.log.critical("{error}", error=str(error))
            raise CannotStart(error) from None
