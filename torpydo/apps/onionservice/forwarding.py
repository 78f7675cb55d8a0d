"""What becomes of a stream that a client has opened to a service: a program's own protocol, or a local connection."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProtocolFactory, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from torpydo.apps.relay import Relay
from torpydo.apps.streams import StreamFactory, StreamProtocol
from torpydo.client import IncomingStream

__all__ = ["FactoryTarget", "ForwardTarget", "OnionAddress"]


@implementer(IAddress)
class OnionAddress:
    """Where a service listens, for programs that ask.

    :ivar host: its name
    :ivar port: the port
    """

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OnionAddress) and (self.host, self.port) == (other.host, other.port)

    def __hash__(self) -> int:
        return hash((self.host, self.port))

    def __repr__(self) -> str:
        return f"OnionAddress({self.host!r}, {self.port})"


class FactoryTarget:
    """Streams become protocols of a factory.

    :param where: what the factory is told about the other side
    """

    def __init__(self, factory: IProtocolFactory, where: IAddress) -> None:
        self._factory = factory
        self._where = where

    def take(self, stream: IncomingStream) -> None:
        """Let the factory's next protocol have it."""
        protocol = self._factory.buildProtocol(self._where)
        if protocol is None:
            stream.refuse()
        else:
            stream.accept(protocol)


class ForwardTarget:
    """Each stream becomes a connection to an endpoint: any local program.

    :param clock: keeps time
    """

    log = Logger()

    def __init__(self, endpoint: IStreamClientEndpoint, clock: Any) -> None:
        self._endpoint = endpoint
        self._clock = clock

    def take(self, stream: IncomingStream) -> None:
        """Connect, and join the two; a client whose connection cannot be opened is refused."""
        local = StreamProtocol(lambda local: self._join(stream, local))
        opening: Deferred[Any] = self._endpoint.connect(StreamFactory(local))
        # Given up by the client before it is open.
        stream.ended = opening.cancel
        opening.addErrback(self._not_open, stream)

    def _not_open(self, failure: Failure, stream: IncomingStream) -> None:
        self.log.debug("the local program was not reached: {why}", why=failure.getErrorMessage())
        stream.refuse()

    def _join(self, stream: IncomingStream, local: StreamProtocol) -> None:
        def opened(remote: StreamProtocol) -> None:
            relay = Relay(local.wire, remote.wire, self._clock)
            local.owner, remote.owner = relay.near, relay.far

        stream.ended = None
        stream.accept(StreamProtocol(opened))
        if local.owner is None:
            # The client had given up.
            local.wire.abort()
