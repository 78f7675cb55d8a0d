"""What stands on a node's port, from the privileged start on. Called by service."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.interfaces import IAddress, IDelayedCall, IListeningPort
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.tcp import Port

from torpydo.net import lengthen_backlog

__all__ = ["NodePort"]

PAUSE: Final = 0.1
"""Seconds for which new connections wait in the system when no file descriptor is left (SECURITY D5)."""


class _Refused(Protocol):
    """A connection that nobody wants."""

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.abortConnection()


class NodePort(Factory):
    """Hands connections on; what takes them comes when the keys were read.

    :ivar inside: what takes them
    """

    noisy = False

    def __init__(self, reactor: Any) -> None:
        self.inside: Factory | None = None
        self._reactor = reactor
        self._port: Port | None = None
        self._resume: IDelayedCall | None = None

    def listening(self, port: IListeningPort) -> None:
        """*port* is the one."""
        self._port = port if isinstance(port, Port) else None
        lengthen_backlog(port)

    def buildProtocol(self, addr: IAddress | None) -> Any:
        protocol = None if self.inside is None else self.inside.buildProtocol(addr)
        if protocol is None and (self._port is None or self._port.factory is not self):
            # A wrapper, TLS for example, takes no for an answer only in the form of a protocol.
            return _Refused()
        return protocol

    def pause(self) -> None:
        """Take no connection for a moment: none could be kept, and each costs time that others need."""
        if self._port is not None and self._resume is None:
            self._port.stopReading()
            self._resume = self._reactor.callLater(PAUSE, self._go_on)

    def _go_on(self) -> None:
        self._resume = None
        if self._port is not None:
            self._port.startReading()

    def close(self) -> None:
        """The port is being closed."""
        self.inside = self._port = None
        if self._resume is not None:
            self._resume.cancel()
            self._resume = None
