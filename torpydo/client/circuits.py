"""A circuit of the client: an :class:`~torpydo.tpdp.OriginCircuit` on a link, and the streams on it.

It decides nothing about which circuits there are or who may use them (circuitpool). Events come in batches, one a
read; what is to be sent goes out once a turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.python.failure import Failure

from torpydo.client.endings import build_error, stream_error
from torpydo.client.endpoints import CircuitEndpoint
from torpydo.client.links import ClientLinks
from torpydo.directory import Descriptor
from torpydo.errors import CircuitLost, StreamFailed, TorpydoError
from torpydo.net import LinkProtocol, StreamTransport
from torpydo.tpdp import (
    Address,
    CellsReceived,
    CreatedReceived,
    DestroyReceived,
    EndEvent,
    EndReason,
    Event,
    ExtendRefused,
    Hop,
    HopAdded,
    LinkState,
    OriginCircuit,
    OriginEnd,
    OriginState,
    PongReceived,
    StreamConnected,
    StreamData,
    StreamEnded,
    StreamEOF,
    StreamResolved,
    StreamWritable,
)

HOP_TIMEOUT = 10.0
"""Seconds for the answer of one hop (docs/threat-model, time-outs)."""


class CircuitState(Enum):
    """Where a circuit is in its life."""

    BUILDING = auto()
    BUILT = auto()
    CLOSED = auto()


class _Opening:
    """A stream that waits for the exit's answer."""

    def __init__(self, deferred: Deferred[Any], host: str, port: int, factory: IProtocolFactory | None) -> None:
        self.deferred = deferred
        self.host = host
        self.port = port
        self.factory = factory


class Circuit:
    """One circuit. :meth:`build` makes it; it can be used once that has fired.

    :ivar path: the nodes' descriptors, guard first
    :ivar hop_times: seconds that each hop took to answer, guard first
    """

    def __init__(
        self,
        reactor: Any,
        link: LinkProtocol,
        path: Sequence[Descriptor],
        *,
        rng: Callable[[int], bytes],
        owner: ClientLinks,
    ) -> None:
        self.path: tuple[Descriptor, ...] = tuple(path)
        self.state = CircuitState.BUILDING
        self.hop_times: list[float] = []
        self.built_at: float | None = None
        self.build_seconds: float | None = None
        self.last_used: float = reactor.seconds()
        self._reactor = reactor
        self._link = link
        self._owner = owner
        self._core = OriginCircuit([Hop(node.node_id, node.onion_keys[0], node.address) for node in path], rng=rng)
        self._started = self._asked = reactor.seconds()
        self._opening: dict[int, _Opening] = {}
        self._streams: dict[int, StreamTransport] = {}
        self._pings: list[Deferred[float]] = []
        self._when_built: list[Deferred[Circuit]] = []
        self._when_closed: list[Deferred[None]] = []
        self._error: TorpydoError | None = None
        self._timers: list[Any] = []
        self._scheduled = False
        self._circ_id = link.core.new_circuit_id()

    # -- Building

    @classmethod
    def build(
        cls,
        reactor: Any,
        link: LinkProtocol,
        path: Sequence[Descriptor],
        *,
        rng: Callable[[int], bytes],
        build_timeout: float,
        owner: ClientLinks,
    ) -> Deferred[Circuit]:
        """Build a circuit along *path* on a link to its first node.

        :param build_timeout: seconds for the whole
        :return: cancellable; fails with :class:`CircuitBuildError`
        """
        try:
            circuit = cls(reactor, link, path, rng=rng, owner=owner)
            owner.register(link, circuit._circ_id, circuit)
        except TorpydoError as error:
            return fail(build_error(path, 1, str(error)))
        circuit._timers = [
            reactor.callLater(HOP_TIMEOUT, circuit._fail_build, f"no answer within {HOP_TIMEOUT:.0f} s"),
            reactor.callLater(build_timeout, circuit._fail_build, f"no answer within {build_timeout:.0f} s"),
        ]
        link.send_create(circuit._circ_id, circuit._core.create_message)
        return circuit.when_built()

    def _fail_build(self, why: str) -> None:
        self._destroy(build_error(self.path, self._core.hops + 1, why))

    def _hop_added(self) -> None:
        now = self._reactor.seconds()
        self.hop_times.append(now - self._asked)
        self._asked = now
        if self._core.state is OriginState.BUILT:
            self.state = CircuitState.BUILT
            self.built_at = now
            self.build_seconds = now - self._started
            self._cancel_timers()
            while self._when_built:
                self._when_built.pop(0).callback(self)
        else:
            self._timers[0].reset(HOP_TIMEOUT)

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            if timer.active():
                timer.cancel()

    # -- Facts

    @property
    def streams(self) -> int:
        """Streams and questions that are not over."""
        return len(self._opening) + len(self._streams)

    @property
    def rtt(self) -> float | None:
        """The last measured round trip to the exit in seconds."""
        return self._core.end.rtt

    @property
    def is_open(self) -> bool:
        """Whether streams can be opened on it now: it is built, and so is its link still."""
        return self.state is CircuitState.BUILT and self._link.core.state is LinkState.OPEN

    @property
    def end(self) -> OriginEnd:
        """The core's end of this circuit."""
        return self._core.end

    def when_built(self) -> Deferred[Circuit]:
        """Fires with the circuit when it can be used; fails with :class:`CircuitBuildError` if it never can."""
        if self.state is CircuitState.BUILT:
            return succeed(self)
        if self.state is CircuitState.CLOSED:
            return fail(self._error or CircuitLost("the circuit is closed"))
        deferred: Deferred[Circuit] = Deferred(self._building_cancelled)
        self._when_built.append(deferred)
        return deferred

    def _building_cancelled(self, deferred: Deferred[Circuit]) -> None:
        if deferred in self._when_built:
            self._when_built.remove(deferred)
            if not self._when_built and self.state is CircuitState.BUILDING:
                self.close()

    def when_closed(self) -> Deferred[None]:
        """Fires when the circuit is gone, for whatever reason."""
        if self.state is CircuitState.CLOSED:
            return succeed(None)
        deferred: Deferred[None] = Deferred(self._closing_cancelled)
        self._when_closed.append(deferred)
        return deferred

    def _closing_cancelled(self, deferred: Deferred[None]) -> None:
        if deferred in self._when_closed:
            self._when_closed.remove(deferred)

    # -- Streams

    def open_stream(self, factory: IProtocolFactory, host: str, port: int) -> Deferred[IProtocol]:
        """Open a stream; *host* goes to the exit as it is.

        :return: the protocol, connected; cancellable; fails with :class:`StreamError` or :class:`CircuitLost`
        """
        return self._open(lambda: self._core.end.begin(host, port), host, port, factory)

    def resolve(self, host: str) -> Deferred[list[tuple[str, int]]]:
        """Ask the exit for the addresses of *host*: pairs of address and time to live in seconds.

        :return: cancellable; fails with :class:`StreamError` or :class:`CircuitLost`
        """
        return self._open(lambda: self._core.end.resolve(host), host, 0, None)

    def _open(self, ask: Callable[[], int], host: str, port: int, factory: IProtocolFactory | None) -> Deferred[Any]:
        if self.state is not CircuitState.BUILT:
            return fail(self._error or CircuitLost("the circuit is not open"))
        try:
            stream = ask()
        except ValueError as error:
            return fail(StreamFailed(f"this destination cannot be asked for: {error}"))
        self.last_used = self._reactor.seconds()
        deferred: Deferred[Any] = Deferred(lambda _: self._opening_cancelled(stream))
        self._opening[stream] = _Opening(deferred, host, port, factory)
        self.flush_soon()
        return deferred

    def _opening_cancelled(self, stream: int) -> None:
        if self._opening.pop(stream, None) is not None:
            self._core.end.finish(stream, EndReason.MISC)
            self.flush_soon()

    def ping(self) -> Deferred[float]:
        """Measure the round trip to the last hop, in seconds."""
        if self.state is not CircuitState.BUILT:
            return fail(self._error or CircuitLost("the circuit is not open"))
        deferred: Deferred[float] = Deferred()
        self._pings.append(deferred)
        self._core.end.ping(self._reactor.seconds())
        self.flush_soon()
        return deferred

    def endpoint(self, host: str, port: int) -> IStreamClientEndpoint:
        """An endpoint whose connections are streams of this circuit."""
        return CircuitEndpoint(self.open_stream, host, port)

    def close(self) -> None:
        """Destroy the circuit with all its streams."""
        self._destroy(CircuitLost("the circuit was closed"))

    def exit_silent(self) -> None:
        """The exit does not answer the end of a stream: it holds what is nobody's any more."""
        self._destroy(CircuitLost("the exit did not answer the end of a stream"))

    # -- From the link

    def link_events(self, events: list[Event]) -> None:
        """Take the events of this circuit that one read brought."""
        for event in events:
            if self.state is CircuitState.CLOSED:
                return
            try:
                if isinstance(event, CellsReceived):
                    self._handle(self._core.receive_cells(event.cells, self._reactor.seconds()))
                elif isinstance(event, CreatedReceived):
                    self._handle(self._core.created(event.message))
                elif isinstance(event, DestroyReceived):
                    self._gone("the circuit was destroyed by a node", sent=False)
            except TorpydoError as error:
                # A wrong cell is an attack or a fault; either way nothing more of this circuit can be believed.
                self._gone(f"the circuit was destroyed: {error}", sent=True)
        self.flush()

    def link_lost(self, error: TorpydoError) -> None:
        """The link is closed."""
        self._gone(f"the link to the first node was lost: {error}", sent=False)

    def _gone(self, why: str, sent: bool) -> None:
        if self.state is CircuitState.BUILDING:
            self._destroy(build_error(self.path, self._core.hops + 1, why), sent)
        else:
            self._destroy(CircuitLost(f"{why}; open the stream again and another circuit will be used"), sent)

    def flush_soon(self) -> None:
        """Send what the core has at the end of this turn."""
        if not self._scheduled:
            self._scheduled = True
            self._reactor.callLater(0, self._flush_scheduled)

    def _flush_scheduled(self) -> None:
        self._scheduled = False
        self.flush()

    def flush(self) -> None:
        """Send what the core has now."""
        while self.state is not CircuitState.CLOSED:
            cells = self._core.cells_to_send(self._reactor.seconds())
            if cells:
                self._link.send_cells(self._circ_id, cells)
                self._link.flush()
            events = self._core.end.take_events()
            self._handle(events)
            self._pull()
            if not cells and not events:
                return

    def _pull(self) -> None:
        for transport in [transport for transport in self._streams.values() if transport.pulls]:
            transport.drained()

    def _handle(self, events: list[EndEvent]) -> None:
        for event in events:
            if self.state is CircuitState.CLOSED:
                return
            if isinstance(event, StreamData | StreamWritable | StreamEOF):
                transport = self._streams.get(event.stream)
                if transport is None:
                    continue
                if isinstance(event, StreamData):
                    transport.data_received(event.data)
                elif isinstance(event, StreamWritable):
                    transport.drained()
                else:
                    transport.eof_received()
            elif isinstance(event, StreamEnded):
                self._stream_ended(event.stream, event.reason)
            elif isinstance(event, StreamConnected):
                self._connected(event.stream, event.address)
            elif isinstance(event, StreamResolved):
                opening = self._opening.pop(event.stream, None)
                if opening is not None:
                    opening.deferred.callback([(Address(ip, 0).host, ttl) for ip, ttl in event.answers])
            elif isinstance(event, PongReceived):
                self._pings.pop(0).callback(event.rtt)
            elif isinstance(event, HopAdded):
                self._hop_added()
            elif isinstance(event, ExtendRefused):
                self._destroy(build_error(self.path, event.hop, status=event.status))

    def _connected(self, stream: int, address: Address) -> None:
        opening = self._opening.pop(stream, None)
        if opening is None or opening.factory is None:
            return
        transport = StreamTransport(self, stream, address, self._reactor.callLater)
        failure = Failure(StreamFailed("the factory made no protocol for the stream"))
        try:
            protocol = opening.factory.buildProtocol(transport.getPeer())
        except Exception:
            # The application's own error is the answer to whoever opened the stream.
            protocol, failure = None, Failure()
        if protocol is None:
            self._core.end.finish(stream, EndReason.MISC)
            opening.deferred.errback(failure)
            return
        self._streams[stream] = transport
        transport.attach(protocol)
        opening.deferred.callback(protocol)

    def _stream_ended(self, stream: int, reason: EndReason) -> None:
        self.last_used = self._reactor.seconds()
        opening = self._opening.pop(stream, None)
        if opening is not None:
            opening.deferred.errback(stream_error(reason, self.path, opening.host, opening.port))
        transport = self._streams.pop(stream, None)
        if transport is not None:
            transport.ended(reason)

    # -- The end

    def _destroy(self, error: TorpydoError, sent: bool = True) -> None:
        """*sent*: whether the node is to be told."""
        if self.state is CircuitState.CLOSED:
            return
        self.state = CircuitState.CLOSED
        self._error = error
        self._cancel_timers()
        if sent:
            self._link.send_destroy(self._circ_id)
        self._owner.unregister(self._link, self._circ_id)
        # One at a time: what hears of it may cancel others, or open and close more.
        while self._opening:
            self._opening.pop(next(iter(self._opening))).deferred.errback(error)
        while self._streams:
            self._streams.pop(next(iter(self._streams))).circuit_lost(error)
        while self._pings:
            self._pings.pop(0).errback(error)
        while self._when_built:
            self._when_built.pop(0).errback(error)
        while self._when_closed:
            self._when_closed.pop(0).callback(None)
