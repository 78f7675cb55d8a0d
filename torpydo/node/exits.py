"""Exits: the streams of circuits that end here, and which destinations they may have.

A name is resolved, the policy judges the address, and that very address is connected to; the name is never looked
at again (SECURITY E1, E2). Knows no cells and no links. Called by router.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import attrs
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectError, ConnectingCancelledError
from twisted.internet.error import TimeoutError as ConnectTimedOut
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from torpydo.dht import DHT_HOST
from torpydo.directory import ExitPolicy, is_private
from torpydo.net import Buckets, Queue
from torpydo.node.bounds import Bounds
from torpydo.node.connectreason import connect_reason
from torpydo.node.crowds import Crowds
from torpydo.node.exitstream import ExitStream, OneStream
from torpydo.node.limits import CONNECT_ADDRESSES
from torpydo.node.localstream import LocalService, LocalStream
from torpydo.node.refusal import NodeRefusal
from torpydo.node.resolver import NAME_LIFE, Asker, Outcome, Resolver
from torpydo.tpdp import (
    Address,
    EndEvent,
    EndReason,
    ExitEnd,
    ResolveRequested,
    StreamData,
    StreamEnded,
    StreamEOF,
    StreamRequested,
    StreamWritable,
)

__all__ = ["Exits", "ExitStreams"]

class Exits:
    """What the exit streams of all circuits share.

    :param reactor: connects and keeps time
    :param policy: which destinations are opened
    :param resolver: for names
    :param bounds: of this process
    """

    def __init__(self, reactor: Any, policy: ExitPolicy, resolver: Resolver, bounds: Bounds) -> None:
        self.reactor = reactor
        self.policy = policy
        self.resolver = resolver
        self.bounds = bounds
        self.streams = 0
        """Streams and lookups that are open or being opened."""
        self.local: LocalService | None = None
        """Answers what is asked on streams to this node itself; without it there are none."""
        self.crowds: Crowds[ExitStreams] = Crowds()
        """The streams of each circuit."""
        self.test_network = False
        self._own_ips: frozenset[bytes] = frozenset()
        self._nodes: frozenset[Address] = frozenset()
        self._own: frozenset[Address] = frozenset()
        self._lingering: set[ExitStream] = set()

    def set_own(self, addresses: Iterable[Address]) -> None:
        """This node is reached at *addresses*, and nowhere else any more: no stream goes there, nor to anything else on
        a public address of ours.
        """
        self._own = frozenset(addresses)
        self._own_ips = frozenset(address.ip for address in self._own if not is_private(address.ip))

    def network_changed(self, nodes: Iterable[Address], *, test_network: bool) -> None:
        """*nodes* are the nodes of the network: no stream goes there either (SECURITY E4)."""
        self._nodes = frozenset(nodes)
        self.test_network = test_network

    def linger(self, stream: ExitStream) -> IDelayedCall:
        """Abort *stream* if its last bytes are not taken in time."""
        limits = self.bounds.limits
        seconds = limits.linger + stream.queued / limits.linger_rate
        call: IDelayedCall = self.reactor.callLater(seconds, self.cut, stream)
        self._lingering.add(stream)
        return call

    def cut(self, stream: ExitStream) -> None:
        """The destination takes the last bytes of *stream* too slowly, or there is no room for them any more."""
        self.bounds.refuse(NodeRefusal.STREAMS_LINGERING)
        stream.transport.abortConnection()

    def orphaned(self, stream: ExitStream) -> None:
        """The circuit of *stream* is gone, and counts it no more."""
        self.bounds.waiting.note(stream)

    def gone(self, stream: ExitStream) -> None:
        """*stream* is closed."""
        self.streams -= 1
        self._lingering.discard(stream)
        self.bounds.waiting.forget(stream)

    def close(self) -> None:
        """The node stops: there is no time for last bytes."""
        for stream in list(self._lingering):
            stream.transport.abortConnection()

    def allows(self, ip: bytes, port: int) -> bool:
        """Whether a connection to this address may be opened."""
        address = Address(ip, port)
        if ip in self._own_ips or address in self._own or address in self._nodes:
            return False
        return self.policy.allows(ip, port)

    def may_tell(self, ip: bytes) -> bool:
        """Whether a client may know that a name has this address: names of a private network are not for it."""
        if not is_private(ip):
            return True
        return any(rule.accept and rule.names_private and rule.matches_ip(ip) for rule in self.policy.rules)

    def look_up(self, circuit: ExitStreams, host: str) -> Deferred[Outcome]:
        """The addresses of *host*, for a stream of *circuit*."""
        if self.bounds.files.excess:
            # A question needs a socket, too.
            return succeed(EndReason.RESOURCE_LIMIT)
        return self.resolver.resolve(host, circuit.asker)

    async def open(self, circuit: ExitStreams, stream: ExitStream, host: str, port: int) -> EndReason | None:
        """Resolve, judge, connect.

        :param circuit: whose stream it is
        :return: why that failed, ``None`` if *stream* is connected
        """
        found = await self.look_up(circuit, host)
        if isinstance(found, EndReason):
            return found
        allowed = [ip for ip in found if self.allows(ip, port)][:CONNECT_ADDRESSES]
        if allowed and not self._may_connect(circuit):
            return EndReason.RESOURCE_LIMIT
        reason = EndReason.EXIT_POLICY
        until = self.reactor.seconds() + self.bounds.limits.stream_connect
        for left, ip in zip(range(len(allowed), 0, -1), allowed, strict=True):
            # Each address gets its share of the time, so that a silent first one does not use it up.
            timeout = max((until - self.reactor.seconds()) / left, 0.1)
            stream.address = Address(ip, port)
            kind = TCP4ClientEndpoint if len(ip) == 4 else TCP6ClientEndpoint
            endpoint = kind(self.reactor, stream.address.host, port, timeout=timeout)
            try:
                await endpoint.connect(OneStream(stream))
            except (ConnectError, ConnectTimedOut) as error:
                reason = connect_reason(error)
            else:
                return None
        return reason

    def _may_connect(self, circuit: ExitStreams) -> bool:
        """Whether a file descriptor is left; half of them are for links, or a few clients could close the node."""
        files, crowds = self.bounds.files, self.crowds
        if files.most is not None:
            if files.excess:
                return False
            if crowds.total > files.most // 2:
                if crowds.size(circuit) >= crowds.most:
                    return False
                # Nor may a few of them shut the others out: who has the most gives one.
                self.bounds.refuse(NodeRefusal.STREAMS_RESOURCE_LIMIT)
                crowds.largest().evict_one()
        return files.grant()


@attrs.define(eq=False)
class ExitStreams:
    """The streams of one circuit.

    :ivar end: the circuit's end
    :ivar flush: sends the cells that verbs made
    :ivar stalled: told when something begins to wait
    :param may_exit: whether a circuit that comes the way this one does may have streams (DESIGN 4.4, AUTH)
    :ivar source: where the circuit comes from: a host
    """

    exits: Exits
    end: ExitEnd
    flush: Callable[[], None]
    stalled: Callable[[], None]
    _may_exit: Callable[[], bool]
    ttl: int = NAME_LIFE
    asker: Asker = attrs.field(factory=Asker)
    source: bytes = b""
    _streams: dict[int, ExitStream | LocalStream] = attrs.field(factory=dict)
    _lookups: dict[int, Deferred[None]] = attrs.field(factory=dict)
    _asked: Buckets = attrs.field(init=False)
    _closed: bool = False

    log = Logger()

    def __attrs_post_init__(self) -> None:
        limits = self.exits.bounds.limits
        self._asked = Buckets(self.exits.reactor.seconds, limits.streams_per_second, limits.streams_burst)

    def __len__(self) -> int:
        return len(self._streams) + len(self._lookups)

    @property
    def held(self) -> int:
        """Bytes that wait in the streams and in the circuit's end, which keeps those of streams that are over, too."""
        return self.end.buffered_total + sum([stream.queued for stream in self._streams.values()])

    def queues(self) -> Iterator[Queue]:
        """The same, one by one."""
        rest = self.end.buffered_total
        for stream in self._streams.values():
            out, back = stream.queues()
            yield out
            yield back
            rest -= back[1]
        # Of streams that are over.
        yield "rest", rest, 0

    # -- From the circuit

    def receive(self, events: Iterable[EndEvent]) -> None:
        """Take what the circuit's end reports."""
        for event in events:
            if self._closed:
                return
            _HANDLERS[type(event)](self, event)

    def close(self) -> None:
        """The circuit is gone."""
        self._closed = True
        for stream in list(self._streams.values()):
            stream.abandon()
            if isinstance(stream, ExitStream) and stream.is_flushing:
                self.exits.orphaned(stream)
        for lookup in list(self._lookups.values()):
            lookup.cancel()

    def _data(self, event: StreamData) -> None:
        stream = self._streams.get(event.stream)
        if stream is not None:
            stream.write(event.data)

    def _eof(self, event: StreamEOF) -> None:
        stream = self._streams.get(event.stream)
        if stream is not None:
            stream.client_closed()

    def _ended(self, event: StreamEnded) -> None:
        stream = self._streams.get(event.stream)
        if stream is not None:
            stream.client_ended(event.reason)
        lookup = self._lookups.get(event.stream)
        if lookup is not None:
            lookup.cancel()

    def _writable(self, event: StreamWritable) -> None:
        stream = self._streams.get(event.stream)
        if stream is not None:
            stream.writable()

    # -- New ones

    def _is_refused(self, stream: int) -> bool:
        """Refuse a stream or a lookup if it is one too many."""
        reason = EndReason.EXIT_POLICY
        if not self.exits.policy.is_open:
            refusal = NodeRefusal.EXIT_POLICY
        elif not self._may_exit():
            refusal = NodeRefusal.SINGLE_HOP
        else:
            return self._is_too_much(stream)
        self.exits.bounds.refuse(refusal)
        self.end.finish(stream, reason)
        return True

    def _is_too_much(self, stream: int) -> bool:
        """The same for one that would go nowhere else."""
        limits = self.exits.bounds.limits
        if len(self) >= limits.streams_per_circuit:
            refusal = NodeRefusal.STREAMS_PER_CIRCUIT
        elif not math.isinf(limits.streams_burst) and not self._asked.take(b""):
            refusal = NodeRefusal.STREAMS_TOO_FAST
        else:
            return False
        self.exits.bounds.refuse(refusal)
        self.end.finish(stream, EndReason.RESOURCE_LIMIT)
        return True

    def _count(self, reason: EndReason) -> None:
        """A stream or a lookup has failed; what others are to blame for is no refusal."""
        if reason is EndReason.EXIT_POLICY:
            self.exits.bounds.refuse(NodeRefusal.EXIT_POLICY)
        elif reason is EndReason.RESOURCE_LIMIT:
            self.exits.bounds.refuse(NodeRefusal.STREAMS_RESOURCE_LIMIT)

    def _requested(self, event: StreamRequested) -> None:
        if event.host == DHT_HOST and self.exits.local is not None:
            if not self._is_too_much(event.stream):
                self._streams[event.stream] = LocalStream(self, event.stream, self.exits.local)
            return
        if self._is_refused(event.stream):
            return
        stream = self._streams[event.stream] = ExitStream(self, event.stream)
        self.exits.streams += 1
        self.exits.crowds.add(self)
        opening = Deferred.fromCoroutine(self._open(stream, event.host, event.port))
        # Kept only while it lasts: it may be over already.
        stream.opening = None if opening.called else opening
        opening.addErrback(lambda failure: failure.trap(CancelledError, ConnectingCancelledError))
        opening.addErrback(self._broke, stream)

    async def _open(self, stream: ExitStream, host: str, port: int) -> None:
        reason = await self.exits.open(self, stream, host, port)
        stream.opening = None
        if reason is not None:
            self._count(reason)
            stream.refuse(reason)

    def _broke(self, failure: Failure, stream: ExitStream) -> None:
        # One stream that fails in a way nobody thought of must cost that stream only (SECURITY Z1).
        self.log.failure("a stream could not be opened", failure)
        stream.refuse(EndReason.MISC)

    def _resolve_requested(self, event: ResolveRequested) -> None:
        if self._is_refused(event.stream):
            return
        self.exits.streams += 1
        lookup = Deferred.fromCoroutine(self._resolve(event.stream, event.host))
        if not lookup.called:
            self._lookups[event.stream] = lookup
        lookup.addErrback(lambda failure: failure.trap(CancelledError))
        lookup.addBoth(self._resolved, event.stream)

    async def _resolve(self, stream: int, host: str) -> None:
        found = await self.exits.look_up(self, host)
        if isinstance(found, EndReason):
            self._count(found)
            self.end.finish(stream, found)
        else:
            answers = [(ip, self.ttl) for ip in found if self.exits.may_tell(ip)]
            if answers:
                self.end.resolved(stream, answers)
            else:
                self.end.finish(stream, EndReason.RESOLVE_FAILED)
        self.flush()

    def _resolved(self, result: object, stream: int) -> None:
        self.exits.streams -= 1
        self._lookups.pop(stream, None)
        if isinstance(result, Failure):
            self.log.failure("a name could not be looked up", result)

    # -- From the streams

    def linger(self, stream: ExitStream) -> IDelayedCall:
        """Abort *stream* if its last bytes are not taken in time."""
        return self.exits.linger(stream)

    def gone(self, stream: ExitStream) -> None:
        """*stream* needs nothing any more."""
        if self._streams.pop(stream.number, None) is not None:
            self.exits.crowds.remove(self)
            self.exits.gone(stream)

    def local_gone(self, number: int) -> None:
        """The same for a stream to this node itself."""
        self._streams.pop(number, None)

    def seconds(self) -> float:
        """The time."""
        return float(self.exits.reactor.seconds())

    def evict_one(self) -> None:
        """End the stream that was not used for the longest; another circuit needs its connection."""
        connected = [one for one in self._streams.values() if isinstance(one, ExitStream)]
        stream = min(connected, key=lambda one: one.used_at)
        self.gone(stream)
        stream.evict()


_HANDLERS: Final[dict[type, Callable[[ExitStreams, Any], None]]] = {
    StreamData: ExitStreams._data,
    StreamEOF: ExitStreams._eof,
    StreamEnded: ExitStreams._ended,
    StreamWritable: ExitStreams._writable,
    StreamRequested: ExitStreams._requested,
    ResolveRequested: ExitStreams._resolve_requested,
}
