"""One stream at the exit: a TCP connection on one side, a stream of the circuit on the other.

Both sides are bounded: the socket is read only while little waits for the circuit, and the client gets new credit
only for what the socket took. Each way of ending is passed on as what it is: a half-close as a half-close, a clean
close as DONE, everything else as torn. Made and fed by exits.
::

    OPENING ── connected ──> OPEN ── END(DONE) from the client ──> FLUSHING ──> GONE
       │                       └─ reset, or END(MISC), or both directions closed ──> GONE
       └── refused, or END from the client ──> GONE
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Any
from typing import Protocol as Interface

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IConsumer, IDelayedCall, IHalfCloseableProtocol, IPushProducer, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from torpydo.net import Queue, unwritten, was_reset, write_now
from torpydo.node.limits import READ_HIGH
from torpydo.tpdp import EXIT_READ, Address, EndReason, put_piece

__all__ = ["ExitStream", "OneStream", "StreamOwner", "Verbs"]


class Verbs(Interface):
    """What an exit stream does with its circuit's end; ``tpdp`` has the real one."""

    def send_data(self, stream: int, data: bytes) -> None:
        """Queue bytes."""

    def buffered(self, stream: int) -> int:
        """Bytes that are queued and not in cells yet."""

    def close_write(self, stream: int) -> None:
        """Send no more."""

    def finish(self, stream: int, reason: EndReason) -> None:
        """End the stream."""

    def consumed(self, stream: int, count: int) -> None:
        """Pay for new credit."""

    def connected(self, stream: int, address: Address, ttl: int) -> None:
        """Tell the client."""


class StreamOwner(Interface):
    """What an exit stream wants of the streams of its circuit."""

    ttl: int

    def seconds(self) -> float:
        """The time."""

    @property
    def end(self) -> Verbs:
        """The circuit's end."""

    def flush(self) -> None:
        """Send the cells that the last verbs made."""

    def stalled(self) -> None:
        """Something waits that did not wait before: count it."""

    def linger(self, stream: ExitStream) -> IDelayedCall:
        """Abort *stream* if its last bytes are not taken in time."""

    def gone(self, stream: ExitStream) -> None:
        """The stream needs nothing any more."""


class ISocket(ITCPTransport, IConsumer, IPushProducer):
    """A TCP connection of Twisted's: it can be paused, and pauses who writes to it."""

    bufferSize: int


class Stage(Enum):
    """Where a stream is in its life."""

    OPENING = auto()
    OPEN = auto()
    FLUSHING = auto()
    GONE = auto()


@implementer(IHalfCloseableProtocol, IPushProducer)
class ExitStream(Protocol):
    """A stream and its connection.

    :param owner: the streams of the circuit
    :param number: the stream's number in its circuit
    :ivar opening: resolving and connecting; cancelled when the client does not want it any more
    :ivar address: what is being connected to
    :ivar used_at: when bytes came last, from either side
    """

    transport: ISocket

    def __init__(self, owner: StreamOwner, number: int) -> None:
        self.owner = owner
        self.number = number
        self.opening: Deferred[None] | None = None
        self.address: Address | None = None
        self.used_at = owner.seconds()
        self.stage = Stage.OPENING
        # END went or came: nothing more is told to the circuit.
        self._over = False
        # What the client sent before the connection was open; its credit bounds it.
        self._early: list[bytes] = []
        # Bytes of the client for which it got no new credit: those that came since the transport was full.
        self._unpaid = 0
        # All bytes of the client, and all of the destination.
        self._from_client = 0
        self._from_server = 0
        self._write_paused = False
        self._read_paused = False
        self._client_closed = False
        self._ended_early = False
        self._write_closed = False
        self._peer_closed = False
        self._linger: IDelayedCall | None = None

    @property
    def queued(self) -> int:
        """Bytes of the client that wait here, for the connection to open or for the socket to take them."""
        if self.stage is Stage.OPENING:
            return self._unpaid
        return 0 if self.stage is Stage.GONE else unwritten(self.transport)

    def queues(self) -> tuple[Queue, Queue]:
        """What waits for the connection, and what waits for the circuit."""
        out, back = self.queued, self.owner.end.buffered(self.number)
        return (
            ((self.number, "out"), out, self._from_client - out),
            ((self.number, "back"), back, self._from_server - back),
        )

    @property
    def is_flushing(self) -> bool:
        """Whether the client has closed it, and the destination has not taken the last bytes yet."""
        return self.stage is Stage.FLUSHING

    # -- From the circuit

    def write(self, data: list[bytes]) -> None:
        """The client sent bytes."""
        piece = b"".join(data)
        count = len(piece)
        self._from_client += count
        self.used_at = self.owner.seconds()
        if self.stage is Stage.OPENING:
            put_piece(self._early, piece)
            self._unpaid += count
            self.owner.stalled()
        elif self.stage is Stage.OPEN:
            self._unpaid += count
            write_now(self.transport, piece)
            _join_last(self.transport)
            # Whether or not it is full: it has them.
            self.owner.stalled()
            if not self._write_paused:
                self._pay()

    def client_closed(self) -> None:
        """The client will send no more, and may still read."""
        self._client_closed = True
        if self.stage is Stage.OPEN:
            # A producer that is paused would keep the transport from closing: what waits is all there is.
            self.transport.unregisterProducer()
            self.transport.loseWriteConnection()

    def client_ended(self, reason: EndReason) -> None:
        """The client ended the stream; only after DONE does the destination see a clean end."""
        self._over = True
        if self.stage is Stage.OPENING:
            if reason is EndReason.DONE and self._early:
                # It said all that it had to say before the connection was open: that is still delivered.
                self._ended_early = True
            else:
                self._cancel()
        elif self.stage is Stage.OPEN and reason is EndReason.DONE:
            self._flush_out()
        elif self.stage is Stage.OPEN:
            self.transport.abortConnection()

    def _flush_out(self) -> None:
        """Close when the last bytes are taken."""
        self.stage = Stage.FLUSHING
        self._linger = self.owner.linger(self)
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def writable(self) -> None:
        """The circuit takes bytes again."""
        if self._read_paused:
            self._read_paused = False
            if self.stage is Stage.OPEN:
                self.transport.resumeProducing()

    def abandon(self) -> None:
        """The circuit is gone: the destination sees a torn connection."""
        self._over = True
        if self.stage is Stage.OPENING:
            self._cancel()
        elif self.stage is Stage.OPEN:
            self.transport.abortConnection()
        # What is FLUSHING was ended before the circuit was, and gets its clean end.

    def evict(self) -> None:
        """Somebody else needs its connection: client and destination see it torn."""
        self._finish(EndReason.RESOURCE_LIMIT)
        if self.stage is Stage.FLUSHING:
            self.transport.abortConnection()
        else:
            self.abandon()

    def refuse(self, reason: EndReason) -> None:
        """The connection cannot be opened."""
        if self.stage is Stage.OPENING:
            self.stage = Stage.GONE
            self._finish(reason)
            self.owner.gone(self)

    def _cancel(self) -> None:
        self.stage = Stage.GONE
        if self.opening is not None:
            self.opening.cancel()
        self.owner.gone(self)

    # -- From the connection

    def connectionMade(self) -> None:
        """Tell the client, and send what it sent meanwhile."""
        if self.stage is not Stage.OPENING or self.address is None:
            self.transport.abortConnection()
            return
        self.stage = Stage.OPEN
        self.transport.setTcpNoDelay(True)
        # Four full cells a read; Twisted's own 64 KiB would leave a fifth with a few bytes in it.
        self.transport.bufferSize = EXIT_READ
        self.transport.registerProducer(self, True)
        self.owner.end.connected(self.number, self.address, self.owner.ttl)
        if self._early:
            early, self._early = self._early, []
            self.transport.writeSequence(early)
            if not self._write_paused:
                self._pay()
        if self._ended_early:
            self._flush_out()
        elif self._client_closed:
            self.client_closed()
        self.owner.flush()

    def dataReceived(self, data: bytes) -> None:
        """Pass bytes of the destination on, and stop reading when too many wait."""
        if self._over:
            return
        owner = self.owner
        self._from_server += len(data)
        self.used_at = owner.seconds()
        owner.end.send_data(self.number, data)
        owner.flush()
        waiting = owner.end.buffered(self.number)
        if waiting:
            owner.stalled()
        if not self._over and waiting > READ_HIGH:
            self._read_paused = True
            self.transport.pauseProducing()

    def readConnectionLost(self) -> None:
        """The destination will send no more, and may still read."""
        if was_reset(self.transport):
            self.transport.abortConnection()
            return
        self._peer_closed = True
        if self._over:
            return
        if self._write_closed:
            self._close()
        else:
            self.owner.end.close_write(self.number)
            self.owner.flush()

    def writeConnectionLost(self) -> None:
        """All that the client sent has gone out, and the half-close after it."""
        self._write_closed = True
        # Nobody was told so before: the producer was unregistered for the half-close.
        self._unpaid = 0
        if self._peer_closed and not self._over:
            self._close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is over, cleanly or not."""
        if self._linger is not None and self._linger.active():
            self._linger.cancel()
        if self.stage is Stage.GONE:
            return
        self.stage = Stage.GONE
        self._finish(EndReason.DONE if reason.check(ConnectionDone) else EndReason.RESET)
        self.owner.gone(self)

    def _close(self) -> None:
        """Both directions are closed, and everything was delivered."""
        self._finish(EndReason.DONE)
        self.transport.loseConnection()

    def _finish(self, reason: EndReason) -> None:
        if not self._over:
            self._over = True
            self.owner.end.finish(self.number, reason)
            self.owner.flush()

    # -- IPushProducer: what the socket takes of the client's bytes

    def pauseProducing(self) -> None:
        """The socket does not take more: the client gets no new credit."""
        self._write_paused = True

    def resumeProducing(self) -> None:
        """The socket took everything."""
        self._write_paused = False
        if not self._over:
            self._pay()
            self.owner.flush()

    def stopProducing(self) -> None:
        """The connection is over; ``connectionLost`` follows."""

    def _pay(self) -> None:
        count, self._unpaid = self._unpaid, 0
        self.owner.end.consumed(self.number, count)


def _join_last(transport: Any) -> None:
    """Let what was written last be one piece with what waits before it, if both are small."""
    pieces = transport._tempDataBuffer
    if len(pieces) > 1:
        put_piece(pieces, pieces.pop())


class OneStream(Factory):
    """Gives the connection to the stream that wanted it, once."""

    noisy = False

    def __init__(self, stream: ExitStream) -> None:
        self._stream: ExitStream | None = stream

    def buildProtocol(self, addr: object) -> ExitStream | None:
        # The connection knows this factory: with the stream they, the circuit, and all bytes that waited in it would
        # have to wait for the cycle collector when they are over.
        stream, self._stream = self._stream, None
        return stream
