"""Links over Twisted: bytes between a transport and a :class:`~torpydo.tpdp.Link`, nothing decided here.

After every input the same steps: the core takes it, the owner hears of it, what is to be written is written, and the
one timer is set. As little as possible waits below the core, for only there circuits take turns. Called by client,
node and pool.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IPushProducer, ITCPTransport
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from zope.interface import implementer

from torpydo.crypto import SigningKey
from torpydo.errors import LinkError, TorpydoError
from torpydo.net.gate import Gate
from torpydo.net.turn import Turn
from torpydo.net.waiting import Queue
from torpydo.tpdp import MAX_RECORD_FRAMES, Address, Cell, Link, LinkClosed, LinkEvent, LinkReady

READ_SIZE = MAX_RECORD_FRAMES + 256
"""Bytes that one read takes at the most: a whole record, for before its last byte nothing of it can be passed on."""
UNSENT = 128 * 1024
"""Bytes that the kernel takes beyond what is under way: enough to be busy until the next turn of the reactor."""
LINGER = 2.0
"""Seconds that a link which we closed may take to deliver what was written."""
CLOSING = 1024 * 1024
"""Bytes that are still written to a link which we close (SECURITY F7); of what is beyond them the end itself tells."""
DESTROY_COST = 1024
"""Bytes that a DESTROY takes while it waits, all in all."""
BEFORE_READY = 4096
"""Bytes that are read of whoever connected before its handshake is done (SECURITY L5): a hello and a record of one
frame have less than half of it."""

Rng = Callable[[int], bytes]


class LinkOwner(Protocol):
    """Who the links of a process report to."""

    @property
    def turn(self) -> Turn:
        """One for all links of this owner."""

    def link_events(self, link: LinkProtocol, events: list[LinkEvent]) -> None:
        """Take all events of one read, in order. LinkReady comes first, LinkClosed is not among them."""

    def link_closed(self, link: LinkProtocol, error: TorpydoError) -> None:
        """The link is gone: exactly once for a link that was ready, and nothing after it."""


@implementer(IPushProducer)
class LinkProtocol(TwistedProtocol):
    """One link. What is sent while its owner takes events leaves when it has taken them, anything else at the end of
    the turn.

    :param gate: told how far it is, if it asked for this link
    :ivar paused: whether the transport does not take more for now; what is sent waits in the core
    :ivar received: bytes that were read
    :ivar sent: bytes that were given to the transport
    :ivar at_fault: whether it was closed because the other side broke the protocol
    """

    def __init__(self, core: Link, owner: LinkOwner, reactor: Any, gate: Gate | None = None) -> None:
        self.core = core
        self.paused = False
        self.received = 0
        self.sent = 0
        self.at_fault = False
        self.peer_address: Address | None = None
        self._owner = owner
        self._reactor = reactor
        self._gate = gate
        self._ready = False
        self._gone = False
        self._waiter: Deferred[LinkProtocol] | None = None
        self._direct = False
        self._timer: Any = None
        self._linger: Any = None

    # -- What waits in it and is no circuit's (see Waiting)

    @property
    def queued(self) -> int:
        """Bytes that DESTROYs take."""
        return self.core.destroys[0] * DESTROY_COST

    def queues(self) -> tuple[Queue]:
        """They are one queue."""
        waiting, left = self.core.destroys
        return ((None, waiting * DESTROY_COST, left * DESTROY_COST),)

    # -- Verbs

    def send_create(self, circ_id: int, message: bytes) -> None:
        """Ask the peer for a circuit with 512 bytes."""
        self.core.send_create(circ_id, message)
        self._owner.turn.add(self)

    def send_created(self, circ_id: int, message: bytes) -> None:
        """Accept the peer's circuit with 512 bytes."""
        self.core.send_created(circ_id, message)
        self._owner.turn.add(self)

    def send_cells(self, circ_id: int, cells: list[Cell]) -> int:
        """Send cells of a circuit, in order; gives how many bytes that are."""
        if not cells:
            return 0
        self._owner.turn.add(self)
        return self.core.send_cells(circ_id, cells)

    def send_destroy(self, circ_id: int) -> None:
        """Destroy a circuit."""
        self.core.send_destroy(circ_id)
        self._owner.turn.add(self)

    def close(self, why: str = "the link was closed by this side") -> None:
        """Close the link; of what was sent a megabyte has two seconds to leave, the owner hears of it at once."""
        if self._gone:
            return
        transport: Any = self.transport
        if transport is not None:
            transport.write(self.core.data_to_send(CLOSING))
            transport.unregisterProducer()
            transport.loseConnection()
            self._linger = self._reactor.callLater(LINGER, transport.abortConnection)
        self.core.close()
        self._end(LinkError(why))

    def abort(self, why: str) -> None:
        """Close the link at once; what waits is lost, the owner hears of it if the link was ready."""
        if self._gone:
            return
        self._drop_transport()
        self.core.close()
        self._end(LinkError(why))

    def flush(self) -> None:
        """Write now what the transport takes; the rest waits in the core, where circuits take turns."""
        while not self.paused and not self._gone and self.transport is not None:
            data = self.core.data_to_send(MAX_RECORD_FRAMES)
            if not data:
                break
            self._write(data)
            self.core.written(self._reactor.seconds())

    def _write(self, data: bytes) -> None:
        transport: Any = self.transport
        self.sent += len(data)
        if not self._direct:
            transport.write(data)
            return
        # Without the detour through the reactor, which would ask whether the socket is writable: it nearly is.
        # A connection that is lost shows when the rest is written.
        sent = transport.writeSomeData(data)
        if sent == len(data):
            return
        if isinstance(sent, int) and sent > 0:
            data = data[sent:]
        # The transport calls resumeProducing as soon as it has nothing left.
        self.paused = True
        transport.write(data)

    # -- Twisted's side

    def connectionMade(self) -> None:
        transport: Any = self.transport
        if ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)
        self._direct = isinstance(transport, Connection) and not transport.TLS
        if self._direct:
            sock = transport.socket
            if hasattr(socket, "TCP_NOTSENT_LOWAT") and sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
        transport.bufferSize = READ_SIZE if self.core.is_initiator else BEFORE_READY
        self.peer_address = peer_address(transport.getPeer())
        self._arm()
        # Only a socket of our own tells at once when it has nothing left; others ask a pull producer without end.
        transport.registerProducer(self, not self._direct)
        self.flush()

    def dataReceived(self, data: bytes) -> None:
        if self._gone:
            return
        self.received += len(data)
        turn = self._owner.turn
        turn.begin()
        try:
            self._handle(self.core.receive_data(data, self._reactor.seconds()), at_fault=True)
        finally:
            turn.add(self)
            turn.end()
        if not self._ready and not self.core.is_initiator:
            self._read_little()

    def _read_little(self) -> None:
        """Nobody is known at the other end yet."""
        transport: Any = self.transport
        left = BEFORE_READY - self.received
        # The next one shows that there is more.
        transport.bufferSize = max(left, 1)
        if left < 0:
            self.abort("too much before the end of the handshake")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._gate is not None:
            self._gate.closed()
        if self._linger is not None and self._linger.active():
            self._linger.cancel()
        if not self._gone:
            self._handle(self.core.receive_eof(self._reactor.seconds()))

    def pauseProducing(self) -> None:
        """The transport is full."""
        self.paused = True

    def resumeProducing(self) -> None:
        """The transport takes more."""
        self.paused = False
        self.flush()

    def stopProducing(self) -> None:
        """The transport is gone; connectionLost says so."""
        self.paused = True

    def _arm(self) -> None:
        deadline = self.core.next_deadline()
        if deadline is not None:
            self._timer = self._reactor.callLater(max(0.0, deadline - self._reactor.seconds()), self._deadline)

    def _deadline(self) -> None:
        self._timer = None
        self._handle(self.core.deadline_passed(self._reactor.seconds()))
        if not self._gone:
            self._arm()
            self.flush()

    def _handle(self, events: list[LinkEvent], *, at_fault: bool = False) -> None:
        if not events:
            return
        closed = events.pop() if isinstance(events[-1], LinkClosed) else None
        if events:
            if isinstance(events[0], LinkReady):
                self._became_ready()
            if not self._gone:
                self._owner.link_events(self, events)
        if isinstance(closed, LinkClosed):
            self.at_fault = at_fault
            self._drop_transport()
            self._end(closed.error)

    def _drop_transport(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            transport.unregisterProducer()
            transport.abortConnection()

    def _became_ready(self) -> None:
        self._ready = True
        if self.core.is_initiator:
            # What proves who we are goes out alone: before it is read, the other side reads little.
            self.flush()
        else:
            transport: Any = self.transport
            transport.bufferSize = READ_SIZE
        if self._gate is not None:
            self._gate.ready(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._arm()
        if self._waiter is not None:
            waiter, self._waiter = self._waiter, None
            waiter.callback(self)

    def _end(self, error: TorpydoError) -> None:
        if self._gone:
            return
        self._gone = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiter is not None:
            waiter, self._waiter = self._waiter, None
            waiter.errback(error)
        if self._gate is not None:
            self._gate.gone(self)
        if self._ready:
            self._owner.link_closed(self, error)

    def when_ready(self) -> Deferred[LinkProtocol]:
        """Fires when the handshake is done; fails with :class:`LinkError`. Cancelling closes the connection."""
        self._waiter = Deferred(lambda _: self.close("the handshake was not finished in time"))
        return self._waiter


class LinkFactory(Factory):
    """Makes the links that others open to this node.

    :param gate: asked before each of them
    """

    noisy = False

    def __init__(
        self,
        identity: SigningKey,
        owner: LinkOwner,
        *,
        reactor: Any,
        rng: Rng,
        wall_clock: Callable[[], float],
        aegis: bool = True,
        gate: Gate | None = None,
    ) -> None:
        self._identity = identity
        self._owner = owner
        self._reactor = reactor
        self._rng = rng
        self._wall_clock = wall_clock
        self._aegis = aegis
        self._gate = gate

    def buildProtocol(self, addr: IAddress | None) -> LinkProtocol | None:
        address = peer_address(addr)
        gate = self._gate
        if gate is not None and not gate.admits(address):
            return None
        core = Link.responder(
            self._identity,
            rng=self._rng,
            now=self._reactor.seconds(),
            wall_clock=self._wall_clock,
            aegis=self._aegis,
            seen=address,
        )
        link = LinkProtocol(core, self._owner, self._reactor, gate)
        if gate is not None:
            gate.begun(link, address)
        return link


def peer_address(address: Any) -> Address | None:
    """An address of Twisted's as one of ours; ``None`` for what has no IP address."""
    host = getattr(address, "host", None)
    port = getattr(address, "port", None)
    if not isinstance(host, str) or not isinstance(port, int):
        return None
    try:
        return Address.parse(host.partition("%")[0], port)
    except ValueError:
        return None
