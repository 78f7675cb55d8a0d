"""One exchange on one stream: bytes between a transport and :class:`torpydo.peers.Exchange`. Decides nothing.

What is written is one HELLO with one WANT or one RECORDS, and then the stream ends: nothing here can grow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from torpydo.errors import RemoteProtocolError
from torpydo.peers import Exchange

__all__ = ["ExchangeProtocol", "PeerFactory"]

ANSWER: Final = 30.0
"""Seconds that an exchange may take once the stream is open."""
INCOMING: Final = 32
"""Streams of others at one time: one more, and the oldest makes room, or a few that say nothing would shut the door."""


class ExchangeProtocol(Protocol):
    """One end of an exchange.

    :param heard: called after everything that has come
    :ivar done: fires when the stream has ended: ``True`` if the exchange was whole
    """

    log = Logger()

    def __init__(self, reactor: Any, exchange: Exchange, heard: Callable[[], None]) -> None:
        self._reactor = reactor
        self._heard = heard
        self._timer: IDelayedCall | None = None
        self._broken = self._whole = False
        self.exchange = exchange
        self.done: Deferred[bool] = Deferred()

    def connectionMade(self) -> None:
        if self._broken:
            # It had to make room before it was there.
            self.abort()
            return
        self._timer = self._reactor.callLater(ANSWER, self.abort)
        self._send()

    def dataReceived(self, data: bytes) -> None:
        if self._broken:
            return
        try:
            self.exchange.receive_data(data)
        except RemoteProtocolError as error:
            self.log.debug("an exchange with a peer was ended: {why}", why=str(error))
            self.abort()
        else:
            self._whole = self.exchange.is_over
            self._send()
        self._heard()

    def _send(self) -> None:
        assert self.transport is not None
        data = self.exchange.take_bytes()
        if data:
            self.transport.write(data)
        if self.exchange.is_over:
            self.transport.loseConnection()

    def abort(self) -> None:
        """End it at once; nothing that still comes counts."""
        self._broken = True
        if self.transport is not None:
            # Twisted's interface of a plain transport does not name it; every stream has it.
            transport: Any = self.transport
            transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        self.done.callback(self._whole)


class PeerFactory(Factory):
    """What an application serves at the port that its records name: answers peers that ask.

    :param make: an exchange for one who comes; ``None`` while nobody is answered
    """

    noisy = False

    def __init__(self, reactor: Any, make: Callable[[], Exchange | None], heard: Callable[[], None]) -> None:
        self._reactor = reactor
        self._make = make
        self._heard = heard
        # The oldest comes first.
        self._open: dict[ExchangeProtocol, None] = {}

    def __len__(self) -> int:
        return len(self._open)

    def buildProtocol(self, addr: IAddress | None) -> ExchangeProtocol | None:
        """One for a stream that has come; ``None`` refuses it."""
        exchange = self._make()
        if exchange is None:
            return None
        if len(self._open) >= INCOMING:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.abort()
        protocol = ExchangeProtocol(self._reactor, exchange, self._heard)
        self._open[protocol] = None
        protocol.done.addCallback(lambda _: self._open.pop(protocol, None))
        return protocol

    def close(self) -> None:
        """End all that are open."""
        for protocol in list(self._open):
            protocol.abort()
