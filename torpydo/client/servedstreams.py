"""The streams that come to a service on one joined circuit: those that were not answered yet, and those that are open.

It is to them what ``circuitstreams`` is to streams that this side opens. Called by circuits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final

from twisted.internet.interfaces import IProtocol
from twisted.logger import Logger

from torpydo.client.openstreams import ClientStream, OpenStreams
from torpydo.errors import TorpydoError
from torpydo.net import Buckets
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

PER_SECOND: Final = 100.0
BURST: Final = 300
"""Streams that a client may open, and in one go; as many as a node allows a circuit (SECURITY D2)."""
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

    def refuse(self, *, busy: bool = False) -> None:
        """Say that nobody listens there, or that there are too many streams. If the client has gone nothing is said."""
        streams, self._streams = self._streams, None
        if streams is not None:
            streams.refuse(self._number, EndReason.RESOURCE_LIMIT if busy else EndReason.CONNECT_REFUSED)

    def gone(self) -> None:
        """The client has given up."""
        self._streams = None
        ended, self.ended = self.ended, None
        if ended is not None:
            ended()


AcceptFunction = Callable[[IncomingStream], None]
"""Is given each stream that comes."""


class ServedStreams(OpenStreams[ServiceEnd]):
    """The streams of one joined circuit at the service.

    :param incoming: given each stream that a client asks for; what it raises is logged, and the stream refused
    :param options: those of :class:`~torpydo.client.openstreams.OpenStreams`
    """

    log = Logger()

    def __init__(self, clock: Any, end: ServiceEnd, incoming: AcceptFunction, **options: Any) -> None:
        super().__init__(clock, end, **options)
        self._incoming = incoming
        self._bucket = Buckets(clock.seconds, PER_SECOND, BURST)
        self._asked: dict[int, IncomingStream] = {}

    def __len__(self) -> int:
        """Streams that are not over, answered or not."""
        return len(self._asked) + super().__len__()

    @property
    def held(self) -> int:
        """Bytes that wait, those that came before the answer included."""
        return super().held + sum([len(part) for one in self._asked.values() for part in one.data])

    # -- What the application answers

    def accept(self, number: int, protocol: IProtocol) -> None:
        """The stream is open, and *protocol* has it."""
        asked = self._asked.pop(number)
        self.end.connected(number, NOWHERE, 0)
        stream = ClientStream(self, number, NOWHERE)
        self._add(number, stream)
        stream.attach(protocol)
        if asked.data:
            stream.data_received(asked.data)
        if asked.eof:
            stream.eof_received()
        self.flush_soon()

    def refuse(self, number: int, reason: EndReason) -> None:
        """Nobody wants it."""
        del self._asked[number]
        self.end.finish(number, reason)
        self.flush_soon()

    # -- What the client says

    def _requested(self, event: StreamRequested) -> None:
        self.last_used = self.clock.seconds()
        if not self._bucket.take(b""):
            self.end.finish(event.stream, EndReason.RESOURCE_LIMIT)
            self.flush_soon()
            return
        asked = self._asked[event.stream] = IncomingStream(self, event.stream, event.host, event.port)
        try:
            self._incoming(asked)
        except Exception:
            # A fault of the application costs this stream, and neither the circuit nor the link (SECURITY Z1).
            self.log.failure("a stream could not be handed to the application")
            asked.refuse()

    def _resolve_requested(self, event: ResolveRequested) -> None:
        # A service looks nothing up for anybody.
        self.end.finish(event.stream, EndReason.RESOLVE_FAILED)
        self.flush_soon()

    def _data(self, event: StreamData) -> None:
        asked = self._asked.get(event.stream)
        if asked is None:
            super()._data(event)
        else:
            asked.data += event.data
            self.stalled()

    def _eof(self, event: StreamEOF) -> None:
        asked = self._asked.get(event.stream)
        if asked is None:
            super()._eof(event)
        else:
            asked.eof = True

    def _ended(self, event: StreamEnded) -> None:
        asked = self._asked.pop(event.stream, None)
        if asked is not None:
            asked.gone()
        super()._ended(event)

    # -- What the circuit says

    def lost(self, error: TorpydoError) -> None:
        """The circuit is gone."""
        # One at a time: what hears of it may do anything to the others.
        while self._asked:
            self._asked.pop(next(iter(self._asked))).gone()
        # It may know the circuit, which knows this.
        self._incoming = IncomingStream.refuse
        super().lost(error)

    handlers: ClassVar = {
        StreamRequested: _requested,
        ResolveRequested: _resolve_requested,
        StreamData: _data,
        StreamWritable: OpenStreams._writable,
        StreamEOF: _eof,
        StreamEnded: _ended,
    }
