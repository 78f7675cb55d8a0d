"""A circuit of the client: an :class:`~torpydo.tpdp.OriginCircuit` on a link, and the streams on it.

It decides nothing about which circuits there are or who may use them (circuitpool). Events come in batches, one a
read; what is to be sent goes out once a turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, auto
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint

from torpydo.client.circuitstreams import CircuitStreams
from torpydo.client.endings import build_error
from torpydo.client.endpoints import CircuitEndpoint
from torpydo.client.firstdata import FirstData
from torpydo.client.links import ClientLinks
from torpydo.client.servedstreams import AcceptFunction, ServedStreams
from torpydo.crypto import SigningKey
from torpydo.directory import Descriptor
from torpydo.errors import CircuitLost, TorpydoError
from torpydo.net import LinkProtocol
from torpydo.tpdp import (
    CellsReceived,
    CircuitEnd,
    CreatedReceived,
    DestroyReceived,
    EndEvent,
    Event,
    ExtendRefused,
    HandshakeKeys,
    Hop,
    HopAdded,
    JoinedCircuit,
    LinkState,
    MessageType,
    OriginCircuit,
    OriginEnd,
    OriginState,
    PongReceived,
    Said,
    ServiceEnd,
)

ROUNDING = 1e-6
"""Seconds by which a timer may be early."""


class CircuitState(Enum):
    """Where a circuit is in its life."""

    BUILDING = auto()
    BUILT = auto()
    CLOSED = auto()


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
        self._reactor = reactor
        self._link = link
        self._owner = owner
        self.hear: Callable[[Said], None] | None = None
        """Called with what the last hop says in a conversation."""
        hops = [Hop(node.node_id, node.onion_keys[0], node.address) for node in path]
        self._origin = origin = OriginCircuit(hops, rng=rng)
        self._core: OriginCircuit | JoinedCircuit[OriginEnd] | JoinedCircuit[ServiceEnd] = origin
        self._started = self._asked = reactor.seconds()
        self._streams: CircuitStreams | ServedStreams = self._streams_to(origin.end, joined=False)
        self._pings: list[Deferred[float]] = []
        self._when_built: list[Deferred[Circuit]] = []
        self._when_closed: list[Deferred[None]] = []
        self._error: TorpydoError | None = None
        self._timer: Any = None
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
        circuit._timer = reactor.callLater(min(owner.limits.hop_answer, build_timeout), circuit._look, build_timeout)
        link.send_create(circuit._circ_id, circuit._origin.create_message)
        return circuit.when_built()

    def _look(self, build_timeout: float) -> None:
        """See whether a hop, or all of them, have had their time. One timer for both, and none is moved for a hop."""
        self._timer = None
        now = self._reactor.seconds()
        hop_answer = self._owner.limits.hop_answer
        left = min(self._asked + hop_answer, self._started + build_timeout) - now
        if left > ROUNDING:
            self._timer = self._reactor.callLater(left, self._look, build_timeout)
            return
        seconds = hop_answer if now - self._asked >= hop_answer - ROUNDING else build_timeout
        self._destroy(build_error(self.path, self._origin.hops + 1, f"no answer within {seconds:.0f} s"))

    def _hop_added(self) -> None:
        now = self._reactor.seconds()
        self.hop_times.append(now - self._asked)
        self._asked = now
        if self._origin.state is OriginState.BUILT:
            self.state = CircuitState.BUILT
            self.built_at = now
            self.build_seconds = now - self._started
            self._cancel_timer()
            while self._when_built:
                self._when_built.pop(0).callback(self)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- Facts

    @property
    def streams(self) -> int:
        """Streams and questions that are not over."""
        return len(self._streams)

    @property
    def last_used(self) -> float:
        """When a stream was last opened or closed, on the reactor's clock."""
        return self._streams.last_used

    @property
    def queued(self) -> int:
        """Bytes that wait: in streams that are not read, and for cells or the link."""
        return self._streams.held + self._link.core.queued(self._circ_id)

    @property
    def rtt(self) -> float | None:
        """The last measured round trip to the exit in seconds."""
        return self._core.end.rtt

    @property
    def is_open(self) -> bool:
        """Whether streams can be opened on it now: it is built, and so is its link still."""
        return self.state is CircuitState.BUILT and self._link.core.state is LinkState.OPEN

    @property
    def end(self) -> CircuitEnd:
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

    def open_stream(
        self, factory: IProtocolFactory, host: str, port: int, *, first_data: bytes | FirstData = b""
    ) -> Deferred[IProtocol]:
        """Open a stream; *host* goes to the exit as it is.

        :param first_data: at most 64 KiB that go out with the question, before the exit has connected
        :return: the protocol, connected; cancellable; fails with :class:`StreamError`, or with :class:`CircuitLost`
            if the circuit was lost before any of *first_data* had gone
        """
        streams = self._streams
        if self.state is not CircuitState.BUILT or not isinstance(streams, CircuitStreams):
            return fail(self._error or CircuitLost("the circuit is not open"))
        return streams.open(factory, host, port, first_data)

    def resolve(self, host: str) -> Deferred[list[tuple[str, int]]]:
        """Ask the exit for the addresses of *host*: pairs of address and time to live in seconds.

        :return: cancellable; fails with :class:`StreamError` or :class:`CircuitLost`
        """
        streams = self._streams
        if self.state is not CircuitState.BUILT or not isinstance(streams, CircuitStreams):
            return fail(self._error or CircuitLost("the circuit is not open"))
        return streams.resolve(host)

    def ping(self) -> Deferred[float]:
        """Measure the round trip to the last hop, in seconds."""
        end = self._core.end
        if self.state is not CircuitState.BUILT or not isinstance(end, OriginEnd):
            return fail(self._error or CircuitLost("the circuit is not open"))
        deferred: Deferred[float] = Deferred()
        self._pings.append(deferred)
        end.ping(self._reactor.seconds())
        self.flush_soon()
        return deferred

    def endpoint(self, host: str, port: int, *, first_data: bytes | FirstData = b"") -> IStreamClientEndpoint:
        """An endpoint whose connections are streams of this circuit, and begin with *first_data*."""
        return CircuitEndpoint(partial(self.open_stream, first_data=first_data), host, port)

    def close(self, why: str = "the circuit was closed") -> None:
        """Destroy the circuit with all its streams."""
        self._destroy(CircuitLost(why))

    def abort(self, why: str) -> None:
        """The same, for a turn in which it could not send (``net.Turn``)."""
        self.close(why)

    def _exit_silent(self) -> None:
        # It holds what is nobody's any more.
        self._destroy(CircuitLost("the exit did not answer the end of a stream"))

    # -- Onion services (client/conversations)

    def establish_intro(self, key: SigningKey) -> None:
        """Ask the last hop to be an introduction point.

        :raises TorpydoError: if the circuit is not built, or used already
        """
        self._origin.establish_intro(key)
        self.flush_soon()

    def say(self, kind: MessageType, data: bytes) -> None:
        """Begin a conversation with the last hop, or go on.

        :raises TorpydoError: if the circuit is not built, or used already
        """
        self._origin.end.say(kind, data)
        self.flush_soon()

    def join_as_client(self, keys: HandshakeKeys) -> Circuit:
        """The service has come: from now on it is the other end."""
        joined = self._core = self._origin.join_as_client(keys)
        self._streams = self._streams_to(joined.end, joined=True)
        return self

    def join_as_service(self, keys: HandshakeKeys, incoming: AcceptFunction) -> Circuit:
        """Send what was said, and take the client that waits as the other end.

        :param incoming: given each stream that it opens
        """
        self.flush()
        joined = self._core = self._origin.join_as_service(keys)
        self._streams = ServedStreams(self._reactor, joined.end, incoming, **self._hooks())
        return self

    def _streams_to(self, end: OriginEnd, *, joined: bool) -> CircuitStreams:
        return CircuitStreams(self._reactor, self.path, end, joined=joined, **self._hooks())

    def _hooks(self) -> dict[str, Any]:
        hooks = {"flush_soon": self.flush_soon, "silent": self._exit_silent, "stalled": self._stalled}
        return {**hooks, "congestion": self._owner.congestion}

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
                    self._handle(self._origin.created(event.message))
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
            # What is torn was not torn by the node that is asked: the hop before it would have told of that. The first
            # is not blamed once it has answered, or it would be the guard no more.
            hop = self._origin.hops + 1 if sent else max(self._origin.hops, min(self._origin.hops + 1, 2))
            self._destroy(build_error(self.path, hop, why), sent)
        else:
            self._destroy(CircuitLost(f"{why}; open the stream again and another circuit will be used"), sent)

    def flush_soon(self) -> None:
        """Send what the core has at the end of this turn."""
        self._owner.turn.add(self)

    def flush(self) -> None:
        """Send what the core has now."""
        while self.state is not CircuitState.CLOSED:
            cells = self._core.cells_to_send(self._reactor.seconds())
            if cells:
                self._link.send_cells(self._circ_id, cells)
                # Whether or not the link takes bytes now: it may stop doing so in the middle of these.
                self._stalled()
            events = self._core.end.take_events()
            self._handle(events)
            self._streams.pull()
            if not cells and not events:
                if self._core.end.buffered_total:
                    self._stalled()
                return

    def _handle(self, events: list[EndEvent]) -> None:
        for event in events:
            if self.state is CircuitState.CLOSED:
                return
            if self._streams.handle(event):
                continue
            if isinstance(event, PongReceived):
                self._pings.pop(0).callback(event.rtt)
            elif isinstance(event, HopAdded):
                self._hop_added()
            elif isinstance(event, Said):
                if self.hear is not None:
                    self.hear(event)
            elif isinstance(event, ExtendRefused):
                self._destroy(build_error(self.path, event.hop, status=event.status))

    def _stalled(self) -> None:
        if self.state is not CircuitState.CLOSED:
            self._owner.congestion.note(self)

    # -- The end

    def _destroy(self, error: TorpydoError, sent: bool = True) -> None:
        """*sent*: whether the node is to be told."""
        if self.state is CircuitState.CLOSED:
            return
        self.state = CircuitState.CLOSED
        self._error = error
        self._cancel_timer()
        if sent:
            self._link.send_destroy(self._circ_id)
        self._owner.unregister(self._link, self._circ_id)
        self._owner.congestion.forget(self)
        self._streams.lost(error)
        while self._pings:
            self._pings.pop(0).errback(error)
        while self._when_built:
            self._when_built.pop(0).errback(error)
        while self._when_closed:
            self._when_closed.pop(0).callback(None)
