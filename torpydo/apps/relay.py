"""The byte pump between two transports.

A :class:`Wire` is one transport seen as a source and as a sink; a :class:`Relay` joins two of them. Nothing is
buffered here: a sink that is full holds its source. What happens on one side is told to the other, once:

====================================  ==========================================================
here                                  there
====================================  ==========================================================
bytes                                 written
end of reading                        end of writing; when both sides have ended, both are closed
lost after a clean end                closed, after what was written
lost in any other way                 aborted: a torn stream never looks like a clean end
nothing for 10 min, one side ended    both aborted, for the other side may be gone without a sign
====================================  ==========================================================
"""

from __future__ import annotations

from typing import Self

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime, ISSLTransport, ITCPTransport
from twisted.internet.tcp import Connection
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from zope.interface import implementer

from torpydo.apps.needs import PipeTransport
from torpydo.client import ORIGIN_READ, write_now

__all__ = ["HALF_CLOSED_IDLE", "Relay", "RelayEnd", "Wire"]

# Seconds without a byte after one side has ended. A program that waits for an answer after its EOF may wait long; a
# program that is gone cannot be told from it until something is written to it.
HALF_CLOSED_IDLE = 600.0


@implementer(IPushProducer)
class Wire:
    """One transport as a source that can be held for several reasons, and as a sink that holds its feeder.

    It is registered as the transport's producer once and stays so until writing ends: Twisted's transports
    forget to pause a producer that replaces a paused one.
    """

    def __init__(self, transport: PipeTransport) -> None:
        self.transport = transport
        self._holds: set[object] = set()
        self._feeder: Wire | None = None
        self._registered = False
        self._full = False
        self._readable = True
        self._writable = True
        if ITCPTransport.providedBy(transport):
            # A keystroke must not wait for the answer to the last one.
            transport.setTcpNoDelay(True)
        if isinstance(transport, Connection):
            # One read of a program fills whole cells.
            transport.bufferSize = ORIGIN_READ

    # the source

    def hold(self, reason: object) -> None:
        """Stop reading until *reason* is released."""
        if not self._holds and self._readable:
            self.transport.pauseProducing()
        self._holds.add(reason)

    def release(self, reason: object) -> None:
        """Take back one hold; reading goes on when no other is left."""
        if reason in self._holds:
            self._holds.remove(reason)
            if not self._holds and self._readable:
                self.transport.resumeProducing()

    def read_ended(self) -> None:
        """Note that nothing more comes; a transport must not be resumed after that, it would report EOF again."""
        self._readable = False

    # the sink

    def fed_by(self, feeder: Wire | None) -> None:
        """Let *feeder* be held while this transport is full; None lets the last one go."""
        if self._feeder is not None:
            self._feeder.release(self)
        self._feeder = feeder
        if feeder is None or not self._writable:
            return
        if not self._registered:
            self._registered = True
            self.transport.registerProducer(self, True)
        if self._full:
            feeder.hold(self)

    def write(self, data: bytes) -> None:
        """Write, unless writing has ended."""
        if self._writable:
            write_now(self.transport, data)

    def pauseProducing(self) -> None:
        """The transport is full."""
        self._full = True
        if self._feeder is not None:
            self._feeder.hold(self)

    def resumeProducing(self) -> None:
        """The transport has room again."""
        self._full = False
        if self._feeder is not None:
            self._feeder.release(self)

    def stopProducing(self) -> None:
        """The transport is lost; its protocol hears of it by connectionLost and acts there."""

    @property
    def can_half_close(self) -> bool:
        """Whether the transport can end writing and go on reading; TLS has the method and would lose data."""
        return (
            hasattr(self.transport, "loseWriteConnection")
            and not isinstance(self.transport, ProtocolWrapper)
            and not ISSLTransport.providedBy(self.transport)
        )

    def end_write(self) -> None:
        """End writing after what was written; a transport that cannot do that alone is closed."""
        self._stop_writing()
        lose = getattr(self.transport, "loseWriteConnection", None)
        if lose is not None and self.can_half_close:
            lose()
        else:
            self.transport.loseConnection()

    def close(self) -> None:
        """Close after what was written."""
        self._stop_writing()
        self._readable = False
        self.transport.loseConnection()

    def abort(self) -> None:
        """Tear the connection; what was written may be lost."""
        self._stop_writing()
        self._readable = False
        self.transport.abortConnection()

    def lost(self) -> None:
        """Note that the transport is gone."""
        self._registered = False
        self._readable = False
        self._stop_writing()

    def _stop_writing(self) -> None:
        self.fed_by(None)
        self._writable = False
        if self._registered:  # first of all: TLS never closes while a producer is registered
            self._registered = False
            self.transport.unregisterProducer()


class RelayEnd:
    """One side of a relay; the protocol on that side tells it what happened there."""

    def __init__(self, relay: Relay, wire: Wire) -> None:
        self.wire = wire
        self.relay = relay
        self.ended = False
        self.gone = False
        self.peer: Self | RelayEnd = self

    def received(self, data: bytes) -> None:
        """Bytes have come."""
        self.relay.moved = True
        self.peer.wire.write(data)

    def eof(self) -> None:
        """Nothing more will come, but bytes are still taken."""
        if self.ended or self.gone:
            return
        self.ended = True
        self.wire.read_ended()
        if self.peer.gone:
            return
        if self.peer.ended:
            self.peer.wire.close()
            self.wire.close()
        else:
            self.peer.wire.end_write()
            self.relay.watch()

    def lost(self, reason: Failure) -> None:
        """The transport is gone."""
        if self.gone:
            return
        self.gone = True
        self.wire.lost()
        if self.peer.gone:
            self.relay.finished()
        elif reason.check(ConnectionDone):
            self.peer.wire.close()
        else:
            self.peer.wire.abort()


class Relay:
    """Join two transports until both are gone.

    :ivar near: the side of the application
    :ivar far: the side of the network
    :ivar moved: whether bytes have moved since the last look
    """

    def __init__(self, near: Wire, far: Wire, clock: IReactorTime) -> None:
        self.near = RelayEnd(self, near)
        self.far = RelayEnd(self, far)
        self.near.peer = self.far
        self.far.peer = self.near
        self.moved = False
        self._clock = clock
        self._timer: IDelayedCall | None = None
        far.fed_by(near)
        near.fed_by(far)

    def watch(self) -> None:
        """Begin to look for silence, for one side has ended."""
        self.moved = False
        self._timer = self._clock.callLater(HALF_CLOSED_IDLE, self._look)

    def _look(self) -> None:
        self._timer = None
        if self.moved:
            self.watch()
            return
        for end in (self.near, self.far):
            if not end.gone:
                end.wire.abort()

    def finished(self) -> None:
        """Stop looking, for both sides are gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for end in (self.near, self.far):
            # What they know of each other would keep both transports, and a circuit, until the cycle collector comes.
            del end.peer, end.relay
