"""The protocol that stands on a stream through the network and tells its owner what the stream brings.

Opening is reported from ``connectionMade``, not from the Deferred of ``connect``: no byte can come between the two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from torpydo.apps.needs import PipeTransport
from torpydo.apps.relay import Wire

__all__ = ["StreamFactory", "StreamOwner", "StreamProtocol"]


class StreamOwner(Protocol):
    """Who is told what a stream brings; a relay's end is one."""

    def received(self, data: bytes) -> None: ...

    def eof(self) -> None: ...

    def lost(self, reason: Failure) -> None: ...


@implementer(IHalfCloseableProtocol)
class StreamProtocol(TwistedProtocol):
    """The protocol of one stream.

    :param on_open: called when the stream is open; sets :attr:`owner`
    :ivar owner: who is told; None once nobody cares
    :ivar wire: the stream, once it is open
    """

    wire: Wire

    def __init__(self, on_open: Callable[[StreamProtocol], None]) -> None:
        self.owner: StreamOwner | None = None
        self._on_open = on_open

    def connectionMade(self) -> None:
        """The stream is open."""
        self.wire = Wire(cast(PipeTransport, self.transport))
        self._on_open(self)

    def dataReceived(self, data: bytes) -> None:
        """Pass bytes on."""
        if self.owner is not None:
            self.owner.received(data)

    def readConnectionLost(self) -> None:
        """Pass the far side's EOF on."""
        self.wire.read_ended()
        if self.owner is not None:
            self.owner.eof()

    def writeConnectionLost(self) -> None:
        """Our own EOF has gone out; nobody waits for that."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Pass the end on."""
        if self.owner is not None:
            self.owner.lost(reason)
        else:
            self.wire.lost()


class StreamFactory(Factory[StreamProtocol]):
    """A factory for one protocol that exists already."""

    noisy = False

    def __init__(self, stream: StreamProtocol) -> None:
        self._stream = stream

    def buildProtocol(self, addr: IAddress | None) -> StreamProtocol:
        """The one protocol."""
        return self._stream
