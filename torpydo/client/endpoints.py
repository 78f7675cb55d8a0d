"""A stream through a circuit as a Twisted endpoint: every program that takes an endpoint takes this one.

The rules of ``IStreamClientEndpoint`` are kept here (``doStart``/``doStop``, cancelling, ``ConnectError``); how a
stream is opened is somebody else's matter. Called by the client, its web agent and the endpoint string.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from twisted.internet.address import HostnameAddress
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    ITransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import directlyProvides, implementer

from torpydo.client.failures import as_connect_error
from torpydo.errors import TorpydoError

OpenFunction = Callable[[IProtocolFactory, str, int], Deferred[IProtocol]]
"""Opens a stream to a host and a port; the factory's protocol is made when it is open."""


class _Watched(Protocol):
    """Stands before an application's protocol, to tell its factory when the connection has ended."""

    def __init__(self, wrapped: IProtocol, ended: Callable[[], None]) -> None:
        self.wrapped = wrapped
        self._ended = ended
        if IHalfCloseableProtocol.providedBy(wrapped):
            directlyProvides(self, IHalfCloseableProtocol)

    def makeConnection(self, transport: ITransport) -> None:
        """Hand the transport on: the application writes to it directly."""
        self.transport = transport
        self.wrapped.makeConnection(transport)

    def dataReceived(self, data: bytes) -> None:
        """Hand on."""
        self.wrapped.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Hand on, then tell the factory."""
        try:
            self.wrapped.connectionLost(reason)
        finally:
            self._ended()

    def readConnectionLost(self) -> None:
        """Hand on; called only if the application's protocol has it."""
        IHalfCloseableProtocol(self.wrapped).readConnectionLost()

    def writeConnectionLost(self) -> None:
        """Hand on; called only if the application's protocol has it."""
        IHalfCloseableProtocol(self.wrapped).writeConnectionLost()


class _WatchedFactory(Factory[_Watched]):
    """Makes the application's protocols and keeps its factory's count of connections right."""

    noisy = False

    def __init__(self, wrapped: IProtocolFactory, where: IAddress) -> None:
        self._wrapped = wrapped
        self._where = where
        self._started = False

    def start(self) -> None:
        """One more connection of the application's factory."""
        self._started = True
        self._wrapped.doStart()

    def stop(self) -> None:
        """One less; further calls change nothing."""
        if self._started:
            self._started = False
            self._wrapped.doStop()

    def buildProtocol(self, addr: IAddress | None) -> _Watched | None:
        """The application's protocol with its watcher, ``None`` if the application does not want it."""
        wrapped = self._wrapped.buildProtocol(self._where if addr is None else addr)
        return None if wrapped is None else _Watched(wrapped, self.stop)


@implementer(IStreamClientEndpoint)
class CircuitEndpoint:
    """A destination at the end of a circuit.

    :param host: a name, which only the exit resolves, or an IP literal
    """

    def __init__(self, open_stream: OpenFunction, host: str, port: int) -> None:
        self._open_stream = open_stream
        self._host = host
        self._port = port

    def __repr__(self) -> str:
        return f"<CircuitEndpoint {self._host}:{self._port}>"

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Open a stream.

        :return: fires with the protocol; cancellable; fails with a class that is both one of
            :mod:`torpydo.errors` and a ``twisted.internet.error.ConnectError``
        """
        factory = _WatchedFactory(protocolFactory, self._address())
        factory.start()
        return self._open_stream(factory, self._host, self._port).addCallbacks(
            self._connected, self._failed, errbackArgs=(factory,)
        )

    def _address(self) -> HostnameAddress:
        return HostnameAddress(self._host.encode("ascii", "replace"), self._port)

    def _connected(self, protocol: IProtocol) -> IProtocol:
        assert isinstance(protocol, _Watched)
        return protocol.wrapped

    def _failed(self, failure: Failure, factory: _WatchedFactory) -> NoReturn:
        factory.stop()
        error = failure.value
        if isinstance(error, CancelledError):
            raise ConnectingCancelledError(self._address())
        if isinstance(error, TorpydoError):
            raise as_connect_error(error)
        failure.raiseException()
        raise AssertionError("raiseException returned")
