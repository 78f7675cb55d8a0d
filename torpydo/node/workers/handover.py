"""What stands on the port of a node with workers: it takes the socket out of each connection and gives it away.

Called by supervisor.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.tcp import Connection
from twisted.logger import Logger

from torpydo.net import Gate, peer_address

__all__ = ["Hand", "HandoverFactory"]

Hand = Callable[[int, int], None]
"""Takes a file descriptor, which it owns from then on, and the family of the socket."""


class _Handover(Protocol):
    """One connection, for a moment."""

    def __init__(self, factory: HandoverFactory) -> None:
        self._factory = factory

    def connectionMade(self) -> None:
        transport: Any = self.transport
        if not isinstance(transport, Connection):
            self._factory.refuse()
            transport.abortConnection()
            return
        connection: socket.socket = transport.getHandle()
        transport.stopReading()
        family = connection.family
        # From here on the transport has no socket any more, so that its end is not the connection's.
        descriptor = connection.detach()
        transport.abortConnection()
        self._factory.hand(descriptor, int(family))


class HandoverFactory(Factory):
    """Gives away every connection.

    :param hand: to whom
    :param gate: asked before each of them
    """

    noisy = False
    log = Logger()

    def __init__(self, hand: Hand, gate: Gate) -> None:
        self.hand = hand
        self._gate = gate
        self._refused = False

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        return _Handover(self) if self._gate.admits(peer_address(addr)) else None

    def refuse(self) -> None:
        """A connection is more than a socket, TLS for example, and that cannot be given to another process."""
        if not self._refused:
            self._refused = True
            self.log.error("connections to this endpoint cannot be given to workers; use --workers=1 or listen on tcp:")
