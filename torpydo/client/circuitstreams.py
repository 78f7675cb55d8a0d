"""The streams of one circuit: those that wait for the exit's answer, and those that are open.

Events come from the circuit, one batch a read; what a stream wants to send goes through the circuit's end. Called by
circuits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.python.failure import Failure

from torpydo.client.endings import stream_error
from torpydo.client.firstdata import FirstData
from torpydo.client.openstreams import ClientStream, OpenStreams
from torpydo.directory import Descriptor
from torpydo.errors import LocalProtocolError, ResolveFailed, StreamFailed, StreamReset, TorpydoError
from torpydo.onion import is_onion
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

_NEVER_TOLD = "the name of an onion service is never told to an exit; open it with Client.endpoint"
_TORN = "the circuit was lost after the first bytes of the stream had gone; they may have arrived, so ask for it again"


class _Opening:
    """A stream, or a question, that waits for the exit's answer."""

    __slots__ = ("deferred", "factory", "first", "port")

    def __init__(
        self, deferred: Deferred[Any], port: int, factory: IProtocolFactory | None, first: FirstData | None
    ) -> None:
        self.deferred = deferred
        self.port = port
        self.factory = factory
        self.first = first


class CircuitStreams(OpenStreams[OriginEnd]):
    """The streams that this side opens on one circuit.

    :param path: of the circuit; an error names its last node if that is an exit
    :param joined: whether a service is at its other end, which alone may hear its name
    :param options: those of :class:`~torpydo.client.openstreams.OpenStreams`
    """

    def __init__(
        self, clock: Any, path: Sequence[Descriptor], end: OriginEnd, *, joined: bool, **options: Any
    ) -> None:
        super().__init__(clock, end, **options)
        self._path = path
        self._joined = joined
        self._opening: dict[int, _Opening] = {}

    def __len__(self) -> int:
        """Streams and questions that are not over."""
        return len(self._opening) + super().__len__()

    # -- Asking for them

    def open(
        self, factory: IProtocolFactory, host: str, port: int, first_data: bytes | FirstData
    ) -> Deferred[IProtocol]:
        """Ask the exit for a stream. See ``Circuit.open_stream``."""
        if self._is_not_for_exits(host):
            return fail(ResolveFailed(_NEVER_TOLD))
        try:
            first = FirstData(first_data) if isinstance(first_data, bytes) else first_data
            first.check_free()
            stream = self.end.begin(host, port)
        except LocalProtocolError:
            return fail(Failure())
        except ValueError as error:
            return fail(StreamFailed(f"this destination cannot be asked for: {error}"))
        first.attach(lambda data: self._send(stream, data))
        return self._wait(stream, port, factory, first)

    def resolve(self, host: str) -> Deferred[list[tuple[str, int]]]:
        """Ask the exit for the addresses of *host*. See ``Circuit.resolve``."""
        if self._is_not_for_exits(host):
            return fail(ResolveFailed(_NEVER_TOLD))
        try:
            stream = self.end.resolve(host)
        except ValueError as error:
            return fail(StreamFailed(f"this destination cannot be asked for: {error}"))
        return self._wait(stream, 0, None, None)

    def _is_not_for_exits(self, host: str) -> bool:
        return not self._joined and is_onion(host)

    def _wait(
        self, stream: int, port: int, factory: IProtocolFactory | None, first: FirstData | None
    ) -> Deferred[Any]:
        self.last_used = self.clock.seconds()
        deferred: Deferred[Any] = Deferred(lambda _: self._cancelled(stream))
        self._opening[stream] = _Opening(deferred, port, factory, first)
        self.flush_soon()
        return deferred

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
        self._add(stream, transport)
        transport.attach(protocol)
        opening.deferred.callback(protocol)

    def _resolved(self, event: StreamResolved) -> None:
        opening = self._answered(event.stream)
        if opening is not None:
            opening.deferred.callback([(Address(ip, 0).host, ttl) for ip, ttl in event.answers])

    def _ended(self, event: StreamEnded) -> None:
        opening = self._answered(event.stream)
        if opening is not None:
            # No node of a joined circuit's path has an opinion of its streams.
            path = () if self._joined else self._path
            opening.deferred.errback(stream_error(event.reason, path, opening.port))
        super()._ended(event)

    # -- What the circuit says

    def lost(self, error: TorpydoError) -> None:
        """The circuit is gone."""
        # One at a time: what hears of it may cancel others, or open and close more.
        while self._opening:
            stream = next(iter(self._opening))
            begun = self._has_begun(stream)
            opening = self._answered(stream)
            if opening is not None:
                opening.deferred.errback(StreamReset(_TORN) if begun else error)
        super().lost(error)

    def _has_begun(self, stream: int) -> bool:
        """Whether bytes of a stream that is not open yet may have been delivered."""
        first = self._opening[stream].first
        return first is not None and self.end.buffered(stream) < first.size

    handlers: ClassVar = {
        StreamData: OpenStreams._data,
        StreamWritable: OpenStreams._writable,
        StreamEOF: OpenStreams._eof,
        StreamEnded: _ended,
        StreamConnected: _connected,
        StreamResolved: _resolved,
    }
