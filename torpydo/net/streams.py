"""A stream of a circuit as a Twisted transport.

It behaves as a TCP transport does: it pauses producers and is paused, closes after what is queued, half-closes,
aborts. Only the core decides what goes out when. Called by client/circuits.
::

    OPEN ──loseConnection──> CLOSING ──END both ways──> GONE      connectionLost(ConnectionDone)
      │ └──abortConnection, circuit lost, peer tears──> GONE      connectionLost(ConnectionAborted / ConnectionLost)
      └──peer's END(DONE)─────────────────────────────> GONE      connectionLost(ConnectionDone)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum, auto
from typing import Any, Protocol

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    IProtocol,
    IPushProducer,
    ITCPTransport,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from torpydo.tpdp import BUFFER_LOW, Address, CircuitEnd, EndReason, put_piece

END_TIMEOUT = 60.0
"""Seconds that the exit may take to answer the end of a stream."""


class StreamState(Enum):
    """Where a transport is in its life."""

    OPEN = auto()
    CLOSING = auto()
    GONE = auto()


class StreamCircuit(Protocol):
    """What a stream needs of its circuit."""

    @property
    def end(self) -> CircuitEnd:
        """The core's end."""

    @property
    def buffer_high(self) -> int:
        """Bytes that may wait in a stream before its producer is to pause."""

    def flush_soon(self) -> None:
        """Send what the core has at the end of this turn."""

    def exit_silent(self) -> None:
        """The exit does not answer the end of a stream."""


@implementer(ITCPTransport, IConsumer, IPushProducer)
class StreamTransport:
    """The transport of one stream.

    :param circuit: the circuit it is on
    :param stream: its number
    :param peer: the address that the exit has connected to
    :param call_later: runs a function after so many seconds; what it gives can be cancelled
    """

    log = Logger()
    disconnecting = False
    disconnected = False

    def __init__(
        self, circuit: StreamCircuit, stream: int, peer: Address, call_later: Callable[[float, Callable[[], None]], Any]
    ) -> None:
        self.state = StreamState.OPEN
        self._circuit = circuit
        self._stream = stream
        self._peer = peer
        self._call_later = call_later
        self._end_timer: Any = None
        self._protocol: IProtocol | None = None
        self._producer: Any = None
        self._streaming = False
        self._producer_paused = False
        self._reading_paused = False
        self._pending: list[bytes] = []
        self._pending_end: list[Callable[[], None]] = []
        self._write_closed = False
        self._finished = False
        self._read_closed = False
        self._close_after_producer: Callable[[], None] | None = None

    @property
    def held(self) -> int:
        """Bytes that came and that the protocol has not taken."""
        return sum(map(len, self._pending))

    def attach(self, protocol: IProtocol) -> None:
        """Connect *protocol* to this transport."""
        self._protocol = protocol
        self._call(protocol.makeConnection, self)

    # -- ITransport

    def write(self, data: bytes) -> None:
        """Queue bytes; dropped once the stream is closed for writing."""
        if self.state is StreamState.GONE or self._write_closed or not data:
            return
        self._circuit.end.send_data(self._stream, bytes(data), self._circuit.buffer_high)
        self._circuit.flush_soon()
        if self._producer is not None and self._streaming and not self._producer_paused:
            if self._circuit.end.is_full(self._stream):
                self._producer_paused = True
                self._call(self._producer.pauseProducing)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Queue several pieces."""
        self.write(b"".join(data))

    def loseConnection(self, *_: object) -> None:
        """Close after everything queued has been sent; a paused producer may finish first."""
        if self.state is not StreamState.OPEN:
            return
        self.state = StreamState.CLOSING
        self.disconnecting = True
        self._after_producer(self._finish)

    def abortConnection(self) -> None:
        """Tear the stream: the other side sees that it did not end cleanly."""
        if self.state is StreamState.GONE:
            return
        self._circuit.end.finish(self._stream, EndReason.MISC)
        self._circuit.flush_soon()
        self._pending.clear()
        self._pending_end.clear()
        self._lost(Failure(ConnectionAborted()), soon=True)

    def loseWriteConnection(self) -> None:
        """Half-close: the peer sees the end of what is queued and may go on sending."""
        if self.state is StreamState.OPEN and not self._write_closed:
            self._after_producer(self._close_write)

    def getPeer(self) -> IPv4Address | IPv6Address:
        """The address that the exit has connected to."""
        kind = IPv4Address if len(self._peer.ip) == 4 else IPv6Address
        return kind("TCP", self._peer.host, self._peer.port)

    def getHost(self) -> IPv4Address:
        """Nobody's address: the destination sees the exit's, and nothing here may tell the client's."""
        return IPv4Address("TCP", "0.0.0.0", 0)

    def getTcpNoDelay(self) -> bool:
        """Nothing is ever delayed."""
        return True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing is ever delayed."""

    def getTcpKeepAlive(self) -> bool:
        """There is no TCP connection of this stream's own."""
        return False

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """There is no TCP connection of this stream's own."""

    # -- IConsumer

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Let *producer* feed this transport."""
        if self._producer is not None:
            raise RuntimeError(f"cannot register {producer!r}: {self._producer!r} was never unregistered")
        if self.state is StreamState.GONE:
            producer.stopProducing()
            return
        self._producer = producer
        self._streaming = streaming
        self._producer_paused = False
        if not streaming:
            self._call(producer.resumeProducing)

    def unregisterProducer(self) -> None:
        """The producer is done."""
        self._producer = None
        self._producer_paused = False
        if self._close_after_producer is not None:
            close, self._close_after_producer = self._close_after_producer, None
            close()

    def _after_producer(self, close: Callable[[], None]) -> None:
        if self._producer is not None and (self._producer_paused or not self._streaming):
            self._close_after_producer = close
        else:
            close()

    def drained(self) -> None:
        """The circuit has put bytes of this stream into cells: a producer may go on."""
        producer = self._producer
        if producer is None:
            return
        if self._streaming:
            # Somebody else may have written meanwhile; only if that was too much there will be another call.
            if self._producer_paused and not self._circuit.end.is_full(self._stream):
                self._producer_paused = False
                self._call(producer.resumeProducing)
        elif self._circuit.end.buffered(self._stream) < BUFFER_LOW:
            self._call(producer.resumeProducing)

    @property
    def pulls(self) -> bool:
        """Whether a pull producer waits to be asked for more."""
        return self._producer is not None and not self._streaming

    # -- IPushProducer: towards the protocol

    def pauseProducing(self) -> None:
        """Deliver nothing until ``resumeProducing``; a transport that closes has only its end to deliver."""
        self._reading_paused = not self._finished

    def resumeProducing(self) -> None:
        """Go on delivering."""
        if self._reading_paused:
            self._reading_paused = False
            self._call_soon(self._deliver)

    def stopProducing(self) -> None:
        """The consumer has gone."""
        self.loseConnection()

    # -- From the circuit

    def data_received(self, data: list[bytes]) -> None:
        """Bytes came from the exit."""
        if self.state is not StreamState.GONE and not self._read_closed and not self._finished:
            put_piece(self._pending, b"".join(data))
            self._deliver()

    def eof_received(self) -> None:
        """The exit will send no more."""
        self._pending_end.append(self._read_connection_lost)
        self._deliver()

    def ended(self, reason: EndReason) -> None:
        """The stream is over."""
        torn = ConnectionLost(f"the stream was torn: {reason.name.lower()}")
        error = ConnectionDone() if reason is EndReason.DONE else torn
        self._pending_end.append(lambda: self._lost(Failure(error)))
        self._deliver()

    def circuit_lost(self, error: Exception) -> None:
        """The circuit is gone, and this stream with it: never a clean end."""
        self._pending_end.append(lambda: self._lost(Failure(ConnectionLost(str(error)))))
        # A paused protocol must hear of it as well: nothing will ever come to wake it.
        self._reading_paused = False
        self._deliver()

    def _deliver(self) -> None:
        count = 0
        while self._pending and not self._reading_paused and self.state is not StreamState.GONE:
            data = self._pending.pop(0)
            assert self._protocol is not None
            count += len(data)
            self._call(self._protocol.dataReceived, data)
        if count:
            # Paid for at once, so that the core sees whether the application keeps up.
            self._circuit.end.consumed(self._stream, count)
            self._circuit.flush_soon()
        while self._pending_end and not self._reading_paused and not self._pending:
            self._pending_end.pop(0)()

    def _read_connection_lost(self) -> None:
        if self.state is StreamState.GONE:
            return
        self._read_closed = True
        half = IHalfCloseableProtocol(self._protocol, None)
        if half is None:
            self.loseConnection()
            return
        self._call(half.readConnectionLost)
        self._finish_if_both_closed()

    # -- The end

    def _finish(self) -> None:
        # What an application writes from now on would come after the end.
        self._write_closed = True
        self._circuit.end.finish(self._stream, EndReason.DONE)
        self._circuit.flush_soon()
        # Nobody resumes what was closed, so a pause must not keep the end back, and as in TCP nothing else comes.
        self._finished = True
        self._pending.clear()
        self._end_timer = self._call_later(END_TIMEOUT, self._silent)
        if self._reading_paused:
            self._reading_paused = False
            self._call_soon(self._deliver)

    def _silent(self) -> None:
        if self._circuit.end.buffered(self._stream):
            self._end_timer = self._call_later(END_TIMEOUT, self._silent)
        else:
            self._end_timer = None
            self._circuit.exit_silent()

    def _close_write(self) -> None:
        self._write_closed = True
        self._circuit.end.close_write(self._stream)
        self._circuit.flush_soon()
        half = IHalfCloseableProtocol(self._protocol, None)
        if half is not None:
            self._call_soon(lambda: self._call_if_open(half.writeConnectionLost))
        self._finish_if_both_closed()

    def _finish_if_both_closed(self) -> None:
        if self._write_closed and self._read_closed and self.state is StreamState.OPEN:
            self.loseConnection()

    def _call_soon(self, function: Callable[[], None]) -> None:
        self._call_later(0, function)

    def _call_if_open(self, method: Callable[[], object]) -> None:
        if self.state is not StreamState.GONE:
            self._call(method)

    def _call(self, method: Callable[..., object], *args: object) -> None:
        """Call the application: as on a TCP transport, its error costs its own connection and nothing else."""
        try:
            method(*args)
        except Exception:
            self.log.failure("an application's protocol failed; its stream is torn")
            self.abortConnection()

    def _lost(self, reason: Failure, soon: bool = False) -> None:
        if self.state is StreamState.GONE:
            return
        if self._end_timer is not None:
            self._end_timer.cancel()
            self._end_timer = None
        self.state = StreamState.GONE
        self.disconnected = True
        self._pending.clear()
        self._close_after_producer = None
        producer, self._producer = self._producer, None

        def tell() -> None:
            if producer is not None:
                self._call(producer.stopProducing)
            # It knows this transport, which knows the circuit: all of them would wait for the cycle collector.
            protocol, self._protocol = self._protocol, None
            if protocol is not None:
                self._call(protocol.connectionLost, reason)

        if soon:
            self._call_soon(tell)
        else:
            tell()
