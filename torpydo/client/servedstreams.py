"""The streams that come to a service on one joined circuit: those that were not answered yet, and those that are open.

It is to them what ``circuitstreams`` is to streams that this side opens. Called by circuits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IProtocol

from torpydo.client.circuitstreams import ClientStream
from torpydo.client.congestion import Congestion
from torpydo.errors import TorpydoError
from torpydo.tpdp import (
    Address,
    EndReason,
    ResolveRequested,
    ServiceEnd,
    StreamData,
    StreamEnded,
    StreamEOF,
    StreamRequested,
    StreamWritable,
)

__all__ = ["AcceptFunction", "IncomingStream", "ServedStreams"]

NOWHERE: Final = Address(bytes(4), 0)
"""What a service says it has connected to, and who it sees: there is no address on either side."""


class IncomingStream:
    """A stream that a client has asked for. Answer it with :meth:`accept` or :meth:`refuse`, at once or later.

    :ivar host: what the client has asked for; the name of the service as a rule, perhaps with labels before it
    :ivar port: the same
    :ivar ended: called if the client gives up before it is answered
    """

    def __init__(self, streams: ServedStreams, number: int, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.ended: Callable[[], None] | None = None
        self._streams: ServedStreams | None = streams
        self._number = number
        # What came with the question; no more than the credit that a stream begins with.
        self.data: list[bytes] = []
        self.eof = False

    def accept(self, protocol: IProtocol) -> None:
        """Let *protocol* have it; does nothing if the client has given up."""
        streams, self._streams = self._streams, None
        if streams is not None:
            streams.accept(self._number, protocol)

    def refuse(self) -> None:
        """Say that nobody listens there; does nothing if the client has given up."""
        streams, self._streams = self._streams, None
        if streams is not None:
            streams.refuse(self._number)

    def gone(self) -> None:
        """The client has given up."""
        self._streams = None
        ended, self.ended = self.ended, None
        if ended is not None:
            ended()


AcceptFunction = Callable[[IncomingStream], None]
"""Is given each stream that comes."""


class ServedStreams:
    """The streams of one joined circuit at the service. To each of them it is the circuit (``net.StreamCircuit``).

    :param clock: keeps time
    :param end: the core's end of the circuit
    :param incoming: given each stream that a client asks for
    :param flush_soon: sends what the end has at the end of the turn
    :param silent: called if the client does not answer the end of a stream
    :param stalled: called when bytes begin to wait for an application
    :param congestion: of the client; told how many streams there are
    """

    def __init__(
        self,
        clock: Any,
        end: ServiceEnd,
        incoming: AcceptFunction,
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
        self._incoming = incoming
        self._congestion = congestion
        self._asked: dict[int, IncomingStream] = {}
        self._streams: dict[int, ClientStream] = {}

    def __len__(self) -> int:
        """Streams that are not over."""
        return len(self._asked) + len(self._streams)

    @property
    def held(self) -> int:
        """Bytes that wait: for applications that do not read, and for cells."""
        asked = sum([len(part) for one in self._asked.values() for part in one.data])
        return self.end.buffered_total + asked + sum([stream.held for stream in self._streams.values()])

    @property
    def buffer_high(self) -> int:
        """Bytes that may wait in a stream before its producer is to pause."""
        return self._congestion.buffer_high

    def handle(self, event: Any) -> bool:
        """Take an event of the circuit's end, if it is one of a stream."""
        handler = _HANDLERS.get(type(event))
        if handler is None:
            return False
        handler(self, event)
        return True

    # -- What the application answers

    def accept(self, number: int, protocol: IProtocol) -> None:
        """The stream is open, and *protocol* has it."""
        asked = self._asked.pop(number)
        self.end.connected(number, NOWHERE, 0)
        stream = self._streams[number] = ClientStream(self, number, NOWHERE)
        self._congestion.streams += 1
        stream.attach(protocol)
        if asked.data:
            stream.data_received(asked.data)
        if asked.eof:
            stream.eof_received()
        self.flush_soon()

    def refuse(self, number: int) -> None:
        """Nobody wants it."""
        del self._asked[number]
        self.end.finish(number, EndReason.CONNECT_REFUSED)
        self.flush_soon()

    # -- What the client says

    def _requested(self, event: StreamRequested) -> None:
        self.last_used = self.clock.seconds()
        asked = self._asked[event.stream] = IncomingStream(self, event.stream, event.host, event.port)
        self._incoming(asked)

    def _resolve_requested(self, event: ResolveRequested) -> None:
        # A service looks nothing up for anybody.
        self.end.finish(event.stream, EndReason.RESOLVE_FAILED)
        self.flush_soon()

    def _data(self, event: StreamData) -> None:
        if event.stream in self._streams:
            self._streams[event.stream].data_received(event.data)
        elif event.stream in self._asked:
            self._asked[event.stream].data += event.data

    def _eof(self, event: StreamEOF) -> None:
        if event.stream in self._streams:
            self._streams[event.stream].eof_received()
        elif event.stream in self._asked:
            self._asked[event.stream].eof = True

    def _writable(self, event: StreamWritable) -> None:
        if event.stream in self._streams:
            self._streams[event.stream].drained()

    def _ended(self, event: StreamEnded) -> None:
        self.last_used = self.clock.seconds()
        asked, stream = self._asked.pop(event.stream, None), self._streams.pop(event.stream, None)
        if asked is not None:
            asked.gone()
        if stream is not None:
            self._congestion.streams -= 1
            stream.ended(event.reason)

    # -- What the circuit says

    def pull(self) -> None:
        """Ask producers that wait to be asked."""
        for stream in [stream for stream in self._streams.values() if stream.pulls]:
            stream.drained()

    def lost(self, error: TorpydoError) -> None:
        """The circuit is gone."""
        # One at a time: what hears of it may do anything to the others.
        while self._asked:
            self._asked.pop(next(iter(self._asked))).gone()
        while self._streams:
            self._congestion.streams -= 1
            self._streams.pop(next(iter(self._streams))).circuit_lost(error)
        # They are the circuit's, which knows these streams: with its keys it would wait for the cycle collector.
        self.flush_soon = self.exit_silent = self.stalled = _nothing


def _nothing() -> None:
    """What is left to do when the circuit is gone."""


_HANDLERS: Final[dict[type, Callable[[ServedStreams, Any], None]]] = {
    StreamRequested: ServedStreams._requested,
    ResolveRequested: ServedStreams._resolve_requested,
    StreamData: ServedStreams._data,
    StreamWritable: ServedStreams._writable,
    StreamEOF: ServedStreams._eof,
    StreamEnded: ServedStreams._ended,
}
