"""Listening on an endpoint, with a failure that nobody can overlook.

Twisted's own service only logs that a port is busy and goes on, deaf. Called by service.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.python.failure import Failure

from torpydo.errors import ListenError
from torpydo.net import lengthen_backlog

__all__ = ["Listener"]


class Listener:
    """One listening port.

    :param endpoint: where
    :param words: the same in words, for messages
    :param factory: what answers there
    """

    def __init__(self, endpoint: IStreamServerEndpoint, words: str, factory: IProtocolFactory) -> None:
        self._endpoint = endpoint
        self._words = words
        self._factory = factory
        self._opening: Deferred[None] | None = None
        self._port: IListeningPort | None = None
        self._error: ListenError | None = None
        self._waiting: list[Deferred[IListeningPort]] = []

    @property
    def is_started(self) -> bool:
        """Whether :meth:`start` was called, and :meth:`stop` was not called since."""
        return self._opening is not None

    def start(self) -> None:
        """Begin to listen.

        :raises ListenError: if that fails at once, as it does for TCP
        """
        self._error = None
        opening = maybeDeferred(self._endpoint.listen, self._factory)
        self._opening = opening.addCallbacks(self._opened, self._failed)
        if self._error is not None:
            self._opening = None
            raise self._error

    def when_listening(self) -> Deferred[IListeningPort]:
        """Fires with the port, or fails with :class:`ListenError`."""
        waiter: Deferred[IListeningPort] = Deferred(lambda cancelled: self._waiting.remove(waiter))
        self._waiting.append(waiter)
        self._tell()
        return waiter

    def stop(self) -> Deferred[None]:
        """Listen no more; fires when the port is closed."""
        opening, self._opening = self._opening, None
        port, self._port = self._port, None
        if opening is not None:
            opening.cancel()
        for waiter in list(self._waiting):
            waiter.cancel()
        if port is None:
            return succeed(None)
        closed: Deferred[object] = maybeDeferred(port.stopListening)
        return closed.addCallback(lambda ignored: None)

    def _opened(self, port: IListeningPort) -> None:
        self._port = port
        lengthen_backlog(port)
        self._tell()

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return
        error = failure.value
        reason = error.socketError if isinstance(error, CannotListenError) else error
        remedy = "stop what uses it, or choose another address"
        self._error = ListenError(f"cannot listen on {self._words}: {reason}; {remedy}")
        self._tell()

    def _tell(self) -> None:
        if self._port is None and self._error is None:
            return
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if self._port is not None:
                waiter.callback(self._port)
            else:
                waiter.errback(self._error)
