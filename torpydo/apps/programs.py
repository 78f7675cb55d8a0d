"""Local programs behind an onion service: connected to as long as there is a file descriptor, and missed aloud.

Visitors are told no more than that nobody listens. Whoever runs the service is told why. Called by whatever hosts
services: the tap and the command.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.error import ConnectError, ConnectingCancelledError
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["Program", "ProgramRefusal"]


class ProgramRefusal(Enum):
    """A cause; the value is the words for it."""

    SERVICE_FILES = "visitors of the onion service, because the process has no file descriptors left"
    SERVICE_PROGRAM = "visitors of the onion service, because its program cannot be reached; is it running?"


@implementer(IStreamClientEndpoint)
class Program:
    """A local program.

    :param endpoint: where it listens
    :param refused: told of each visitor who is refused, and why
    :param grant: asked for each whether there is a file descriptor (SECURITY D4)
    """

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        refused: Callable[[ProgramRefusal], object],
        grant: Callable[[], bool] = lambda: True,
    ) -> None:
        self._endpoint = endpoint
        self._refused = refused
        self._grant = grant

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """Connect; cancellable; fails with ``ConnectError``."""
        if not self._grant():
            self._refused(ProgramRefusal.SERVICE_FILES)
            return fail(ConnectError("no file descriptor is left"))
        connecting: Deferred[Any] = self._endpoint.connect(protocolFactory)
        return connecting.addErrback(self._failed)

    def _failed(self, failure: Failure) -> Failure:
        # A visitor who gives up says nothing about the program.
        if not failure.check(CancelledError, ConnectingCancelledError):
            self._refused(ProgramRefusal.SERVICE_PROGRAM)
        return failure
