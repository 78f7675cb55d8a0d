"""A connection through a fault proxy: its two ends, and what Twisted makes of the faults that lines do.

Called by faultproxy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError, ConnectionDone
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IPullProducer, IStreamClientEndpoint
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from torpydo.net import was_reset
from torpydo.testing.faultline import Line, Signal
from torpydo.testing.faults import Fault
from torpydo.testing.records import record_readers
from torpydo.tpdp import Link


class Proxy(Protocol):
    """What a connection asks of its proxy."""

    reactor: Any
    target: IStreamClientEndpoint
    capacity: int
    unreached: int

    def plan(self, number: int) -> tuple[Sequence[Fault], Sequence[Fault]]:
        """What is to happen to a new connection: to what the source sends, and to what the target sends."""


@implementer(IHalfCloseableProtocol, IPullProducer)
class _End(TwistedProtocol):
    """One of the two connections. As a pull producer it is asked for more when everything was written, and so for one
    piece at a time: a piece is a write, and what is reset was sent before.

    :param line: takes what comes here
    """

    def __init__(self, proxied: ProxiedConnection, line: Line) -> None:
        self.proxied = proxied
        self.line = line
        self.room = False
        self.gone = False
        self.shut = False
        self.reading = True

    @property
    def tcp(self) -> Any:
        """The transport."""
        return self.transport

    def connectionMade(self) -> None:
        self.tcp.setTcpNoDelay(True)
        self.proxied.made(self)
        self.tcp.registerProducer(self, False)

    def dataReceived(self, data: bytes) -> None:
        self.line.receive(data, self.proxied.now)
        self.proxied.pump()

    def readConnectionLost(self) -> None:
        if was_reset(self.transport):
            self.tcp.abortConnection()
            return
        self.line.receive_end(self.proxied.now)
        self.proxied.pump()

    def writeConnectionLost(self) -> None:
        """It was asked for."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.gone = True
        self.room = False
        self.line.receive_end(self.proxied.now, reset=not reason.check(ConnectionDone))
        self.proxied.lost(self)

    def resumeProducing(self) -> None:
        """Everything was written."""
        self.room = True
        self.proxied.pump()

    def stopProducing(self) -> None:
        """connectionLost follows."""
        self.room = False

    def shut_down(self) -> None:
        """Write nothing more."""
        self.shut = True
        self.tcp.unregisterProducer()
        self.tcp.loseWriteConnection()

    def close(self, *, reset: bool = False) -> None:
        """End the connection."""
        if self.gone or self.transport is None:
            return
        self.tcp.unregisterProducer()
        self.tcp.abortConnection() if reset else self.tcp.loseConnection()


class _Joining(Factory):
    noisy = False

    def __init__(self, end: _End) -> None:
        self._end = end

    def buildProtocol(self, addr: IAddress | None) -> TwistedProtocol:
        return self._end


@attrs.define(eq=False)
class ProxiedConnection:
    """One connection through a proxy: the source has connected to the proxy, and the proxy to the target.

    :ivar number: 1 for the first that the proxy accepted
    :ivar to_target: what the source sends
    :ivar to_source: what the target sends
    """

    number: int
    proxy: Proxy = attrs.field(repr=False)
    to_target: Line = attrs.field(factory=Line, init=False)
    to_source: Line = attrs.field(factory=Line, init=False)
    source: _End = attrs.field(init=False, repr=False)
    _target: _End = attrs.field(init=False, repr=False)
    _connecting: Deferred[Any] | None = attrs.field(default=None, init=False, repr=False)
    _timer: Any = attrs.field(default=None, init=False, repr=False)
    _pumping: bool = attrs.field(default=False, init=False, repr=False)
    _closed: bool = attrs.field(default=False, init=False, repr=False)
    _over: Deferred[None] = attrs.field(factory=Deferred, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.source = _End(self, self.to_target)
        self._target = _End(self, self.to_source)

    @property
    def peer(self) -> IAddress:
        """Who has connected."""
        address: IAddress = self.source.tcp.getPeer()
        return address

    @property
    def now(self) -> float:
        """The time of the proxy's reactor."""
        seconds: float = self.proxy.reactor.seconds()
        return seconds

    def set(self, to_target: Sequence[Fault] = (), to_source: Sequence[Fault] = ()) -> None:
        """Do these faults to this connection from now on, and no others.

        :raises FaultError: see :meth:`Line.set`
        """
        self.to_target.set(to_target, self.now)
        self.to_source.set(to_source, self.now)
        self.pump()

    def know(self, link: Link) -> None:
        """Learn where records end, from either end of the link that this connection carries.

        :raises FaultError: if that end has no keys; and later, if something was under way on the link
        """
        self.to_target.records, self.to_source.records = record_readers(link)

    # -- What happens

    def made(self, end: _End) -> None:
        """One of the two connections is there; when it is the source's, the proxy connects to the target."""
        if end is self._target:
            return
        self.set(*self.proxy.plan(self.number))
        if self._closed:
            self._target.gone = True
            return
        self._connecting = self.proxy.target.connect(_Joining(self._target))
        self._connecting.addErrback(self._unreached)

    def _unreached(self, failure: Failure) -> None:
        self._connecting = None
        self._target.gone = True
        if not failure.check(CancelledError, ConnectingCancelledError):
            self.proxy.unreached += 1
            self.close(reset=True)
        self.lost(self._target)

    def lost(self, end: _End) -> None:
        """One of the two connections is gone."""
        into = self.to_source if end is self.source else self.to_target
        into.abandon()
        if end is self.source:
            self._give_up()
        self.pump()

    def _give_up(self) -> None:
        if self._connecting is not None and not self._connecting.called:
            self._connecting.cancel()

    def pump(self) -> None:
        """Do everything that is due, and set the timer."""
        if self._pumping:
            return
        self._pumping = True
        try:
            for line, source, sink in self._ways():
                self._move(line, sink)
                self._hold_up(line, source)
        finally:
            self._pumping = False
        self._settle()

    def _ways(self) -> tuple[tuple[Line, _End, _End], ...]:
        return (self.to_target, self.source, self._target), (self.to_source, self._target, self.source)

    def _move(self, line: Line, sink: _End) -> None:
        while not sink.gone and (sink.room or (line.stops and not line.delivered)):
            action = line.take(self.now)
            if action is None:
                return
            if isinstance(action, bytes):
                sink.room = False
                sink.tcp.write(action)
            elif action is Signal.EOF:
                sink.room = False
                sink.shut_down()
            else:
                self.close(reset=action is Signal.RESET)
                return

    def _hold_up(self, line: Line, source: _End) -> None:
        reading = not line.frozen and line.held < self.proxy.capacity
        if reading != source.reading and source.transport is not None and not source.gone:
            source.reading = reading
            source.tcp.resumeProducing() if reading else source.tcp.pauseProducing()

    def _settle(self) -> None:
        """See what is over, and when there is something to do again."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if self.source.gone and self._target.gone:
            if not self._over.called:
                self._over.callback(None)
            return
        if self.source.shut and self._target.shut:
            self.close()
            return
        for line, source, sink in self._ways():
            if source.gone and not line.keeps:
                sink.close()
        dues = [line.next_due() for line, _, sink in self._ways() if sink.room]
        due = min((due for due in dues if due is not None), default=None)
        if due is not None:
            self._timer = self.proxy.reactor.callLater(max(0.0, due - self.now), self.pump)

    def close(self, *, reset: bool = False) -> None:
        """End both connections."""
        self._closed = True
        self._give_up()
        self.source.close(reset=reset)
        self._target.close(reset=reset)

    def when_over(self) -> Deferred[None]:
        """Fires when both connections are gone; for one caller."""
        return self._over
