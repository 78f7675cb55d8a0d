"""Links over Twisted: bytes between a transport and a :class:`~torpydo.tpdp.Link`, nothing decided here.

After every input the same steps: the core takes it, the owner hears of it, what is to be written is written, and the
one timer is set. As little as possible waits below the core, for only there circuits take turns. Called by client,
node and pool.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IAddress, IPushProducer, IStreamClientEndpoint, ITCPTransport
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from zope.interface import implementer

from torpydo.crypto import NodeId, SigningKey
from torpydo.errors import CryptoError, LinkError, TorpydoError
from torpydo.net.turn import Turn
from torpydo.tpdp import MAX_RECORD_FRAMES, Address, Cell, Link, LinkClosed, LinkEvent, LinkReady

LINK_TIMEOUT = 10.0
"""Seconds for connection and handshake (docs/threat-model, time-outs)."""
READ_SIZE = MAX_RECORD_FRAMES + 256
"""Bytes that one read takes at the most: a whole record, for before its last byte nothing of it can be passed on."""
UNSENT = 128 * 1024
"""Bytes that the kernel takes beyond what is under way: enough to be busy until the next turn of the reactor."""
LINGER = 2.0
"""Seconds that a link which we closed may take to deliver what was written."""

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

    :ivar paused: whether the transport does not take more for now; what is sent waits in the core
    """

    def __init__(self, core: Link, owner: LinkOwner, reactor: Any) -> None:
        self.core = core
        self.paused = False
        self.peer_address: Address | None = None
        self._owner = owner
        self._reactor = reactor
        self._ready = False
        self._gone = False
        self._waiter: Deferred[LinkProtocol] | None = None
        self._direct = False
        self._timer: Any = None
        self._linger: Any = None

    # -- Verbs

    def send_create(self, circ_id: int, message: bytes) -> None:
        """Ask the peer for a circuit with 512 bytes."""
        self.core.send_create(circ_id, message)
        self._owner.turn.add(self)

    def send_created(self, circ_id: int, message: bytes) -> None:
        """Accept the peer's circuit with 512 bytes."""
        self.core.send_created(circ_id, message)
        self._owner.turn.add(self)

    def send_cells(self, circ_id: int, cells: list[Cell]) -> None:
        """Send cells of a circuit, in order."""
        if cells:
            self.core.send_cells(circ_id, cells)
            self._owner.turn.add(self)

    def send_destroy(self, circ_id: int) -> None:
        """Destroy a circuit."""
        self.core.send_destroy(circ_id)
        self._owner.turn.add(self)

    def close(self, why: str = "the link was closed by this side") -> None:
        """Close the link; what was sent has two seconds to leave, the owner hears of it at once."""
        if self._gone:
            return
        transport: Any = self.transport
        if transport is not None:
            while data := self.core.data_to_send():
                transport.write(data)
            transport.unregisterProducer()
            transport.loseConnection()
            self._linger = self._reactor.callLater(LINGER, transport.abortConnection)
        self.core.close()
        self._end(LinkError(why))

    def flush(self) -> None:
        """Write now what the transport takes; the rest waits in the core, where circuits take turns."""
        while not self.paused and not self._gone and self.transport is not None:
            data = self.core.data_to_send(MAX_RECORD_FRAMES)
            if not data:
                break
            self._write(data)

    def _write(self, data: bytes) -> None:
        transport: Any = self.transport
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
        transport.bufferSize = READ_SIZE
        self.peer_address = _address(transport.getPeer())
        self._arm()
        # Only a socket of our own tells at once when it has nothing left; others ask a pull producer without end.
        transport.registerProducer(self, not self._direct)
        self.flush()

    def dataReceived(self, data: bytes) -> None:
        if self._gone:
            return
        turn = self._owner.turn
        turn.begin()
        try:
            self._handle(self.core.receive_data(data, self._reactor.seconds()))
        finally:
            turn.add(self)
            turn.end()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
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

    def _handle(self, events: list[LinkEvent]) -> None:
        if not events:
            return
        closed = events.pop() if isinstance(events[-1], LinkClosed) else None
        if events:
            if isinstance(events[0], LinkReady):
                self._became_ready()
            if not self._gone:
                self._owner.link_events(self, events)
        if isinstance(closed, LinkClosed):
            transport: Any = self.transport
            if transport is not None:
                transport.unregisterProducer()
                transport.abortConnection()
            self._end(closed.error)

    def _became_ready(self) -> None:
        self._ready = True
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
        if self._ready:
            self._owner.link_closed(self, error)

    def when_ready(self) -> Deferred[LinkProtocol]:
        """Fires when the handshake is done; fails with :class:`LinkError`. Cancelling closes the connection."""
        self._waiter = Deferred(lambda _: self.close("the handshake was not finished in time"))
        return self._waiter


class LinkFactory(Factory):
    """Makes the links that others open to this node."""

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
    ) -> None:
        self._identity = identity
        self._owner = owner
        self._reactor = reactor
        self._rng = rng
        self._wall_clock = wall_clock
        self._aegis = aegis

    def buildProtocol(self, addr: IAddress | None) -> LinkProtocol:
        core = Link.responder(
            self._identity,
            rng=self._rng,
            now=self._reactor.seconds(),
            wall_clock=self._wall_clock,
            aegis=self._aegis,
            seen=_address(addr),
        )
        return LinkProtocol(core, self._owner, self._reactor)


class _Connecting(Factory):
    noisy = False

    def __init__(self, make: Callable[[], LinkProtocol]) -> None:
        self._make = make

    def buildProtocol(self, addr: IAddress | None) -> LinkProtocol:
        return self._make()


def connect_link(
    reactor: Any,
    endpoint: IStreamClientEndpoint,
    node_id: NodeId,
    owner: LinkOwner,
    *,
    identity: SigningKey | None = None,
    rng: Rng,
    aegis: bool = True,
    timeout: float = LINK_TIMEOUT,
) -> Deferred[LinkProtocol]:
    """Open a link to *node_id*.

    :param identity: a node's own identity, which it proves to the other
    :return: fires when the handshake is done; cancellable; fails with :class:`LinkError`
    """

    def make() -> LinkProtocol:
        core = Link.initiator(node_id, rng=rng, now=reactor.seconds(), identity=identity, aegis=aegis)
        return LinkProtocol(core, owner, reactor)

    def failed(failure: Failure) -> Failure:
        if failure.check(CancelledError):
            why = f"no link handshake within {timeout:.0f} s"
        elif failure.check(CryptoError):
            why = "its identity is no key"
        else:
            why = failure.getErrorMessage()
        return Failure(LinkError(f"no link to node {node_id.short}: {why}"))

    deferred: Deferred[Any] = endpoint.connect(_Connecting(make))
    deferred.addCallback(lambda protocol: protocol.when_ready())
    timer = reactor.callLater(timeout, deferred.cancel)

    def done(result: Any) -> Any:
        if timer.active():
            timer.cancel()
        return result

    return deferred.addBoth(done).addErrback(failed)


def link_endpoint(reactor: Any, address: Address, timeout: float = LINK_TIMEOUT) -> IStreamClientEndpoint:
    """The TCP endpoint of an address; nothing is resolved."""
    kind = TCP4ClientEndpoint if len(address.ip) == 4 else TCP6ClientEndpoint
    return kind(reactor, address.host, address.port, timeout=timeout)


class _Nobody:
    """The owner of a link that is only tried."""

    def __init__(self, reactor: Any) -> None:
        self.turn = Turn(reactor)

    def link_events(self, link: LinkProtocol, events: list[LinkEvent]) -> None:
        """Nothing is expected."""

    def link_closed(self, link: LinkProtocol, error: TorpydoError) -> None:
        """Nothing depends on it."""


def probe_link(
    reactor: Any, address: Address, node_id: NodeId, *, rng: Rng, timeout: float = LINK_TIMEOUT
) -> Deferred[None]:
    """Try whether *node_id* answers at *address*: a whole handshake, then the link is closed.

    :return: cancellable; fails with :class:`LinkError`
    """
    endpoint = link_endpoint(reactor, address, timeout)
    return connect_link(reactor, endpoint, node_id, _Nobody(reactor), rng=rng, timeout=timeout).addCallback(
        lambda link: link.close()
    )


def _address(address: Any) -> Address | None:
    host = getattr(address, "host", None)
    port = getattr(address, "port", None)
    if not isinstance(host, str) or not isinstance(port, int):
        return None
    try:
        return Address.parse(host.partition("%")[0], port)
    except ValueError:
        return None
