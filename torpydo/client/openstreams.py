"""What the streams of a circuit do alike, whichever side has asked for them: transports, their events, their end.

Streams that this side opens are in circuitstreams, those that come to a service in servedstreams. Called by both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, TypeVar

from torpydo.client.congestion import Congestion
from torpydo.errors import TorpydoError
from torpydo.net import StreamTransport
from torpydo.tpdp import Address, CircuitEnd, StreamData, StreamEnded, StreamEOF, StreamWritable

__all__ = ["ClientStream", "OpenStreams"]

EndT = TypeVar("EndT", bound=CircuitEnd)


class ClientStream(StreamTransport):
    """A stream that tells when bytes wait in it."""

    def __init__(self, streams: OpenStreams[Any], number: int, peer: Address) -> None:
        super().__init__(streams, number, peer, streams.clock.callLater)
        self._stalled = streams.stalled

    def data_received(self, data: list[bytes]) -> None:
        """As every transport; what the protocol does not take waits here."""
        super().data_received(data)
        if self.held:
            self._stalled()


class OpenStreams(Generic[EndT]):
    """The open streams of one circuit. To each of them it is the circuit (``net.StreamCircuit``).

    :param clock: keeps time
    :param end: the core's end of the circuit
    :param flush_soon: sends what the end has at the end of the turn
    :param silent: called if the other end does not answer the end of a stream
    :param stalled: called when bytes begin to wait for an application
    :param congestion: of the client; told how many streams there are
    """

    handlers: ClassVar[Mapping[type, Callable[[Any, Any], None]]]
    """What takes each event of the end."""

    def __init__(
        self,
        clock: Any,
        end: EndT,
        *,
        flush_soon: Callable[[], None],
        silent: Callable[[], None],
        stalled: Callable[[], None],
        congestion: Congestion,
    ) -> None:
        self.clock = clock
        self.end: EndT = end
        self.flush_soon = flush_soon
        self.exit_silent = silent
        self.stalled = stalled
        self.last_used: float = clock.seconds()
        self._congestion = congestion
        self._streams: dict[int, ClientStream] = {}

    def __len__(self) -> int:
        """Streams that are not over."""
        return len(self._streams)

    @property
    def held(self) -> int:
        """Bytes that wait: for applications that do not read, and for cells."""
        return self.end.buffered_total + sum([stream.held for stream in self._streams.values()])

    @property
    def buffer_high(self) -> int:
        """Bytes that may wait in a stream before its producer is to pause."""
        return self._congestion.buffer_high

    def handle(self, event: Any) -> bool:
        """Take an event of the circuit's end, if it is one of a stream."""
        handler = self.handlers.get(type(event))
        if handler is None:
            return False
        handler(self, event)
        return True

    def _add(self, number: int, transport: ClientStream) -> None:
        """A stream is open from now on."""
        self._streams[number] = transport
        self._congestion.streams += 1

    # -- What the other end says

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
        while self._streams:
            self._congestion.streams -= 1
            self._streams.pop(next(iter(self._streams))).circuit_lost(error)
        # They are the circuit's, which knows these streams: with its keys it would wait for the cycle collector.
        self.flush_soon = self.exit_silent = self.stalled = _nothing


def _nothing() -> None:
    """What is left to do when the circuit is gone."""
