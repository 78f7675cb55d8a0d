"""The streams of one circuit: those that wait for the exit's answer, and those that are open.

Events come from the circuit, one batch a read; what a stream wants to send goes through the circuit's end. Called by
circuits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.python.failure import Failure

from torpydo.client.congestion import Congestion
from torpydo.client.endings import stream_error
from torpydo.client.firstdata import FirstData
from torpydo.directory import Descriptor
from torpydo.errors import LocalProtocolError, StreamFailed, StreamReset, TorpydoError
from torpydo.net import StreamCircuit, StreamTransport
from torpydo.tpdp import (
    Address,
    EndReason,
    OriginEnd,
    StreamConnected,
    StreamData,
    StreamEnded,
    StreamEOF,
    StreamResolved,
    StreamWritable,
)

_TORN = "the circuit was lost after the first bytes of the stream had gone; they may have arrived, so ask for it again"


class _Opening:
    """A stream, or a question, that waits for the exit's answer."""

    __slots__ = ("deferred", "factory", "first", "host", "port")

    def __init__(
        self, deferred: Deferred[Any], host: str, port: int, factory: IProtocolFactory | None, first: FirstData | None
    ) -> None:
        self.deferred = deferred
        self.host = host
        self.port = port
        self.factory = factory
        self.first = first


class StreamOwner(StreamCircuit, Protocol):
    """What such a stream needs of the streams of its circuit."""

    clock: Any
    stalled: Callable[[], None]


class ClientStream(StreamTransport):
    """A stream that tells when bytes wait in it."""

    def __init__(self, streams: StreamOwner, number: int, peer: Address) -> None:
        super().__init__(streams, number, peer, streams.clock.callLater)
        self._stalled = streams.stalled

    def data_received(self, data: list[bytes]) -> None:
        """As every transport; what the protocol does not take waits here."""
        super().data_received(data)
        if self.held:
            self._stalled()


class CircuitStreams:
    """The streams of one circuit. To each of them it is the circuit (``net.StreamCircuit``).

    :param clock: keeps time
    :param end: the core's end of the circuit
    :param flush_soon: sends what the end has at the end of the turn
    :param silent: called if the exit does not answer the end of a stream
    :param stalled: called when bytes begin to wait for an application
    :param congestion: of the client; told how many streams there are
    """

    def __init__(
        self,
        clock: Any,
        path: Sequence[Descriptor],
        end: OriginEnd,
        *,
        flush_soon: Callable[[], None],
        silent: Callable[[], None],
        stalled: Callable[[], None],
        congestion: Congestion,
    ) -> None:
        self.clock = clock
        self.end = end
        self.flush_soon = flush_soon
        self.exit_silent = silent
        self.stalled = stalled
        self.last_used: float = clock.seconds()
        self._path = path
        self._congestion = congestion
        self._opening: dict[int, _Opening] = {}
        self._streams: dict[int, ClientStream] = {}

    def __len__(self) -> int:
        """Streams and questions that are not over."""
        return len(self._opening) + len(self._streams)

    @property
    def held(self) -> int:
        """Bytes that wait: for applications that do not read, and for cells."""
        return self.end.buffered_total + sum([stream.held for stream in self._streams.values()])

    @property
    def buffer_high(self) -> int:
        """Bytes that may wait in a stream before its producer is to pause."""
        return self._congestion.buffer_high

    # -- Asking for them

    def open(
        self, factory: IProtocolFactory, host: str, port: int, first_data: bytes | FirstData
    ) -> Deferred[IProtocol]:
        """Ask the exit for a stream. See ``Circuit.open_stream``."""
        try:
            first = FirstData(first_data) if isinstance(first_data, bytes) else first_data
            first.check_free()
            stream = self.end.begin(host, port)
        except LocalProtocolError:
            return fail(Failure())
        except ValueError as error:
            return fail(StreamFailed(f"this destination cannot be asked for: {error}"))
        first.attach(lambda data: self._send(stream, data))
        return self._wait(stream, host, port, factory, first)

    def resolve(self, host: str) -> Deferred[list[tuple[str, int]]]:
        """Ask the exit for the addresses of *host*. See ``Circuit.resolve``."""
        try:
            stream = self.end.resolve(host)
        except ValueError as error:
            return fail(StreamFailed(f"this destination cannot be asked for: {error}"))
        return self._wait(stream, host, 0, None, None)

    def _wait(
        self, stream: int, host: str, port: int, factory: IProtocolFactory | None, first: FirstData | None
    ) -> Deferred[Any]:
        self.last_used = self.clock.seconds()
        deferred: Deferred[Any] = Deferred(lambda _: self._cancelled(stream))
        self._opening[stream] = _Opening(deferred, host, port, factory, first)
        self.flush_soon()
        return deferred

    def handle(self, event: Any) -> bool:
        """Take an event of the circuit's end, if it is one of a stream."""
        handler = _HANDLERS.get(type(event))
        if handler is None:
            return False
        handler(self, event)
        return True

    def _send(self, stream: int, data: bytes) -> None:
        self.end.send_data(stream, data)
        self.flush_soon()

    def _answered(self, stream: int) -> _Opening | None:
        opening = self._opening.pop(stream, None)
        if opening is not None and opening.first is not None:
            opening.first.detach()
        return opening

    def _cancelled(self, stream: int) -> None:
        if self._answered(stream) is not None:
            self.end.finish(stream, EndReason.MISC)
            self.flush_soon()

    # -- What the exit says

    def _connected(self, event: StreamConnected) -> None:
        stream = event.stream
        opening = self._answered(stream)
        if opening is None or opening.factory is None:
            return
        if opening.first is not None:
            opening.first.finish()
        transport = ClientStream(self, stream, event.address)
        failure = Failure(StreamFailed("the factory made no protocol for the stream"))
        try:
            protocol = opening.factory.buildProtocol(transport.getPeer())
        except Exception:
            # The application's own error is the answer to whoever opened the stream.
            protocol, failure = None, Failure()
        if protocol is None:
            self.end.finish(stream, EndReason.MISC)
            opening.deferred.errback(failure)
            return
        self._streams[stream] = transport
        self._congestion.streams += 1
        transport.attach(protocol)
        opening.deferred.callback(protocol)

    def _resolved(self, event: StreamResolved) -> None:
        opening = self._answered(event.stream)
        if opening is not None:
            opening.deferred.callback([(Address(ip, 0).host, ttl) for ip, ttl in event.answers])

    def _data(self, event: StreamData) -> None:
        transport = self._streams.get(event.stream)
        if transport is not None:
            transport.data_received(event.data)

    def _writable(self, event: StreamWritable) -> None:
        transport = self._streams.get(event.stream)
        if transport is not None:
            transport.drained()

    def _eof(self, event: StreamEOF) -> None:
        transport = self._streams.get(event.stream)
        if transport is not None:
            transport.eof_received()

    def _ended(self, event: StreamEnded) -> None:
        self.last_used = self.clock.seconds()
        opening = self._answered(event.stream)
        if opening is not None:
            opening.deferred.errback(stream_error(event.reason, self._path, opening.host, opening.port))
        transport = self._streams.pop(event.stream, None)
        if transport is not None:
            self._congestion.streams -= 1
            transport.ended(event.reason)

    # -- What the circuit says

    def pull(self) -> None:
        """Ask producers that wait to be asked."""
        for transport in [transport for transport in self._streams.values() if transport.pulls]:
            transport.drained()

    def lost(self, error: TorpydoError) -> None:
        """The circuit is gone."""
        # One at a time: what hears of it may cancel others, or open and close more.
        while self._opening:
            stream = next(iter(self._opening))
            begun = self._has_begun(stream)
            opening = self._answered(stream)
            if opening is not None:
                opening.deferred.errback(StreamReset(_TORN) if begun else error)
        while self._streams:
            self._congestion.streams -= 1
            self._streams.pop(next(iter(self._streams))).circuit_lost(error)
        # They are the circuit's, which knows these streams: with its keys it would wait for the cycle collector.
        self.flush_soon = self.exit_silent = self.stalled = _nothing

    def _has_begun(self, stream: int) -> bool:
        """Whether bytes of a stream that is not open yet may have been delivered."""
        first = self._opening[stream].first
        return first is not None and self.end.buffered(stream) < first.size


def _nothing() -> None:
    """What is left to do when the circuit is gone."""


_HANDLERS: Final[dict[type, Callable[[CircuitStreams, Any], None]]] = {
    StreamData: CircuitStreams._data,
    StreamWritable: CircuitStreams._writable,
    StreamEOF: CircuitStreams._eof,
    StreamEnded: CircuitStreams._ended,
    StreamConnected: CircuitStreams._connected,
    StreamResolved: CircuitStreams._resolved,
}
