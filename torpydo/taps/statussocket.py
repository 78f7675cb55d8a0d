"""The status socket of whatever a tap runs, for ``torpydo status``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure

from torpydo.apps.status import STATUS_SOCKET, HasStatus, StatusFactory, remove_left_socket, status_endpoint

__all__ = ["Source", "StatusService"]


@attrs.frozen
class Source:
    """Something that has more to say than its ``status`` gives."""

    status: Callable[[], Any]


class StatusService(Service):
    """Answers whoever runs the process. Its service must have opened the state directory, and found it private.

    :param state_dir: where the socket is
    :param sources: what they say is one answer, in this order
    """

    log = Logger()

    def __init__(self, reactor: Any, state_dir: str, first: HasStatus, *others: HasStatus) -> None:
        self._reactor = reactor
        self._directory = state_dir
        self._factory = StatusFactory(first, reactor, *others)
        self._port: IListeningPort | None = None

    def startService(self) -> None:
        """Listen. What goes wrong is said and costs only ``torpydo status``."""
        Service.startService(self)
        maybeDeferred(self._listen).addCallbacks(self._listening, self._deaf)

    def _listen(self) -> Deferred[IListeningPort]:
        remove_left_socket(self._directory)
        listening: Deferred[IListeningPort] = status_endpoint(self._reactor, self._directory).listen(self._factory)
        return listening

    def _listening(self, port: IListeningPort) -> None:
        self._port = port

    def _deaf(self, failure: Failure) -> None:
        error = failure.value
        reason = error.socketError if isinstance(error, CannotListenError) else error
        where = f"{STATUS_SOCKET} in {self._directory}"
        self.log.warn("'torpydo status' will not work: cannot listen on {where}: {why}", where=where, why=str(reason))

    def stopService(self) -> Deferred[None]:
        """Listen no more."""
        Service.stopService(self)
        port, self._port = self._port, None
        closed: Deferred[Any] = succeed(None) if port is None else maybeDeferred(port.stopListening)
        return closed.addCallback(lambda ignored: None)
