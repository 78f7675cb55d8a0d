"""The HTTP proxy on Twisted: the factory that a listener is given, and the stream of the request being served.

All decisions are made by :class:`~torpydo.apps.httpproxy.connection.ProxyConnection`.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from torpydo.apps.events import CloseUpstream, DropUpstream, OpenUpstream, SendUpstream
from torpydo.apps.front import FrontFactory, FrontProtocol
from torpydo.apps.httpproxy.connection import ProxyConnection
from torpydo.apps.needs import NetworkClient
from torpydo.apps.streams import StreamProtocol

__all__ = ["HTTPProxyFactory", "HTTPProxyProtocol"]


class HTTPProxyFactory(FrontFactory):
    """An HTTP proxy listener: CONNECT, and requests for http addresses.

    :param connect_only: refuse all but CONNECT: what goes through it without TLS is read by the exit
    :param options: those of :class:`~torpydo.apps.front.FrontFactory`
    """

    def __init__(
        self, client: NetworkClient, reactor: IReactorTime, *, connect_only: bool = False, **options: Any
    ) -> None:
        super().__init__(client, reactor, **options)
        self.connect_only = connect_only

    def buildProtocol(self, addr: IAddress | None) -> HTTPProxyProtocol | None:
        """One connection; ``None`` closes it."""
        return HTTPProxyProtocol(self) if self.admits() else None


class HTTPProxyProtocol(FrontProtocol[ProxyConnection]):
    """One connection to the HTTP proxy; it owns the stream of the request that is being served."""

    def __init__(self, factory: HTTPProxyFactory) -> None:
        def make_core(now: float) -> ProxyConnection:
            return ProxyConnection(
                allow_private=factory.allows_private,
                connect_only=factory.connect_only,
                now=now,
                request_time=factory.limits.request_time,
                open_time=factory.limits.open_time,
            )

        super().__init__(factory, make_core)
        self._stream: StreamProtocol | None = None
        self.handlers[OpenUpstream] = self._open_upstream
        self.handlers[SendUpstream] = self._send_upstream
        self.handlers[CloseUpstream] = self._close_upstream
        self.handlers[DropUpstream] = self._drop_upstream

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The application is gone, and with it its request."""
        self._drop_upstream(DropUpstream())
        super().connectionLost(reason)

    # what the core says

    def _open_upstream(self, event: OpenUpstream) -> None:
        self.open(event.destination, event.credentials, self._opened)

    def _opened(self, stream: StreamProtocol) -> None:
        self._stream = stream
        stream.owner = _Answer(self, stream)
        stream.wire.fed_by(self.wire)
        self.wire.fed_by(stream.wire)
        self.pump(self.core.upstream_opened(self.now))

    def _send_upstream(self, event: SendUpstream) -> None:
        if self._stream is not None:
            self._stream.wire.write(event.data)

    def _close_upstream(self, event: CloseUpstream) -> None:
        stream = self._release()
        if stream is not None:
            stream.wire.close()

    def _drop_upstream(self, event: DropUpstream) -> None:
        self.stop_opening()
        stream = self._release()
        if stream is not None:
            stream.wire.abort()

    def _release(self) -> StreamProtocol | None:
        """Let the stream go: nothing that it still brings matters."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.owner = None
        return stream

    # what the stream says

    def answer_came(self, data: bytes) -> None:
        """The server has sent something."""
        self.pump(self.core.upstream_data(data, self.now))

    def answer_ended(self) -> None:
        """The server has ended cleanly."""
        self.pump(self.core.upstream_ended(self.now))

    def answer_lost(self, stream: StreamProtocol, reason: Failure) -> None:
        """The stream is gone."""
        self._release()
        stream.wire.lost()
        if reason.check(ConnectionDone):
            self.pump(self.core.upstream_ended(self.now))
        else:
            self.pump(self.core.upstream_torn(self.now))


class _Answer:
    """What the stream of one request brings."""

    def __init__(self, front: HTTPProxyProtocol, stream: StreamProtocol) -> None:
        self._front = front
        self._stream = stream

    def received(self, data: bytes) -> None:
        """Bytes of the answer."""
        self._front.answer_came(data)

    def eof(self) -> None:
        """The server's EOF."""
        self._front.answer_ended()

    def lost(self, reason: Failure) -> None:
        """The end."""
        self._front.answer_lost(self._stream, reason)
